# %% [markdown]
# # Is it worth choosing which weights go?
#
# Two ways of pruning LeNet-300-100 on a third of MNIST, magnitude and chance, at three sparsities with three seeds: what is
# planned, the table, the answer, the chart. It takes about a minute on two cores. Open it as a notebook (VS Code,
# Jupyter with jupytext) or run `python examples/compare.py [FOLDER]`; the files go to FOLDER.

# %%
import sys
from pathlib import Path

from prunery.lab.budgets import epochs_of, shown_by
from prunery.lab.engines.local import run
from prunery.lab.plan import plan
from prunery.lab.spec import from_plain, plain
from prunery.lab.store import Store
from prunery.report.figures.all import first
from prunery.report.results.study import load
from prunery.report.text import sentences, tables
from prunery.report.write import write

folder = Path(sys.argv[1] if sys.argv[1:] and not sys.argv[1].startswith("-") else "compare")

# %% [markdown]
# ## What is compared
#
# A spec is data: a task, methods, sparsities, seeds. Both methods prune the trained network and fine-tune what is left.

# %%
after = {"name": "finetune", "training": {"epochs": 1, "learning_rate": 0.05}}
spec = from_plain(
    {
        "name": "chance-or-magnitude",
        "question": "Is it worth choosing which weights go?",
        "task": {
            "model": "lenet300",
            "data": "mnist",
            "images": 20_000,
            "training": {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.1, "lr_schedule": "cosine"},
        },
        "methods": [
            {"criterion": "magnitude", "recovery": after},
            {"criterion": "random", "recovery": after},
        ],
        "sparsities": ["80%", "95%", "98%"],
        "seeds": 3,
    }
)

# %% [markdown]
# ## What will run
#
# The dense network of each seed is trained once for all methods. Two controls come without asking: the dense network
# trained for as long, and each method's masks shuffled within their layers.

# %%
planned = plan(spec)
print(f"{len(planned.steps)} steps for {len(planned.cells)} measured networks")
print("epochs in all:", epochs_of(spec))
print(shown_by(spec, None))

# %% [markdown]
# ## Run it
#
# Stop it whenever you like; run the cell again and it goes on.

# %%
store = Store(folder / "runs")
store.save_study(spec.name, plain(spec))
outcome = run(planned, store)
print(f"{len(outcome.done)} steps done, {len(outcome.cached)} were there")

# %% [markdown]
# ## The table and the answer
#
# A cell is a mean over seeds with its 95 % interval. Differences are paired by seed.

# %%
study = load(store, spec.name)
print(tables.markdown(tables.accuracy(study.frame, study.groups)))
for sentence in sentences.answers(study.groups, study.effects):
    print("-", sentence)

# %% [markdown]
# ## The chart
#
# A chart is an Altair chart: a notebook shows it, `save` writes PNG, SVG or PDF.

# %%
chart = first(study).whole()
chart.save(folder / "accuracy.png", scale_factor=2)
chart

# %% [markdown]
# ## The whole report
#
# The page, and every table as Markdown, LaTeX and CSV. `prunery report` writes the same; `figures=True` adds every figure.

# %%
files = write(store, folder / "report")
print(len(files), "files in", folder / "report")
