# Everything on a fresh machine: `make demo` and `make test` each build .venv and run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STORE ?= runs/demo

.PHONY: demo test lint docs install clean

# torch goes first and pinned: any package asking for a plain torch would pull the newest build.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("prunery needs Python 3.11 or newer; run: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,ray,export,runtime]'
	touch $@

install: $(VENV)/.installed

demo: install
	$(BIN)/prunery demo --store $(STORE)

test: install
	$(BIN)/python -m pytest -n 2 --durations=15

lint: install
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy

docs: install
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build
	@echo docs/_build/index.html

clean:
	rm -rf $(VENV) runs build dist src/*.egg-info docs/_build docs/methods.md
