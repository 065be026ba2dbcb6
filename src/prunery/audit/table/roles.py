"""What each column of a results table is, by its name and by what stands in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from prunery.audit.table.words import plain

# role of a column, and the names (lower case, words joined by _) that have it; the first match counts
_NAMES: tuple[tuple[str, str], ...] = (
    ("report", r"report|paper|study|source|publication|experiment|experiment_name"),
    ("table", r"table|figure|fig|section|tab"),
    ("seed", r"seeds?|run|trial|repeat|replicate|rep|fold|random_seed|run_id"),
    ("note", r"notes?|comments?|remarks?|(.*_)?keys?|id|hash|url|link|path|file|date|timestamp|status"),
    ("note", r"commit|citation|doi|reference|row|index|unnamed.*|\d{0}|selection|unit|role_note"),
    (
        "origin",
        r"(is_)?pre_?train(ed|ing)?(_(on|data\w*|weights))?|upstream(_\w+)?|transfer(red)?_from|(source|init(ial\w*)?)_(data\w*|task)",
    ),
    ("dataset", r"data|dataset(_name)?|data_set|benchmark|task|target|(target|downstream)_(data\w*|task)"),
    ("model", r"(base_)?(model(_name)?|net|network|arch|architecture|backbone)"),
    ("method", r"method(_name)?|pruning_method|algorithm|pruner|strategy|approach|technique|criterion"),
    ("layer", r"layer(_name)?|module(_name)?|parameter_name"),
    ("metric", r"metric(_name)?|measure|quantity"),
    ("value", r"value|result|measured"),
    ("note", r".*verdict|.*comment.*"),
    ("kept", r"kept|kept_weights|nonzeros?|nnz|weights_(kept|left)"),
    ("total", r"total|total_weights|weights_total"),
    (
        "count",
        r"collapsed|diverged|failed|blocked|missing|n|n_seeds|num_seeds|n_runs|runs|num_runs|trials|repeats|n_\w*seeds?|k|.*_n",
    ),
    ("layer_share", r".*layer.*(compress|densit|sparsit|kept|prun).*|.*(compress|densit|sparsit).*layer.*"),
    ("sparsity", r"(\w+_)?sparsit(y|ies)(_\w+)?|pruned(_(pct|percent|fraction|weights|ratio))?|amount"),
    ("sparsity", r"(filters?|channels?|weights?|params?)_(pruned|removed)(_\w+)?"),
    (
        "sparsity",
        r"prun(ing|e)_(ratio|rate|amount|level|fraction|percent(age)?)(_\w+)?|percent_pruned|removed(_\w+)?",
    ),
    ("density", r"(\w+_)?density(_\w+)?|(weights?_|params?_|percent_)?(remaining|left)(_\w+)?|keep_ratio"),
    ("density", r"kept_(fraction|percent|pct|ratio)|percent_kept|fraction_(kept|remaining)"),
    ("exponent", r"compression_exponent|exponent|log10_compression"),
    ("ratio", r"compression_(ratio|rate|factor)|cr|times_smaller"),
    ("compression", r"compression|comp|comp_ratio"),
    ("rounds", r"(pruning_|n_)?(rounds|cuts)"),
    (
        "epochs",
        r"((total|train|training|finetune|fine_tune|fine_tuning|retrain|retraining|ft)_)?epochs?(_\w+)?",
    ),
    ("cost", r"samples|steps|iterations|budget|(training|scoring|train|retraining)_(macs|flops)(_\w+)?"),
    ("cost", r"(macs|flops)_(training|scoring|train|retraining)(_\w+)?"),
    ("chance", r".*chance.*"),
    ("images", r"(n_)?(test|eval)_(images|samples|size|examples)|n_test"),
)
_SETTINGS = re.compile(
    r"(learning_rate|lr|weight_decay|wd|momentum|batch(_size)?|temperature|width|depth|threads|device|dtype"
    r"|precision|image_size|resolution|alpha|beta|gamma|lambda|level|stage|version|rewind|warmup)(_\w+)?"
    r"|(\w+_)?(coeff?s?|coefficients?|penalty|lambda|hyper_?param\w*)(_\w+)?"
    r"|(\w+_)?(loss|reg\w*|distill\w*|kl|kd|l1|l2)_(weight|begin|start|end|saturate|scale|factor|strength)"
)
_SPREAD = re.compile(r"(^|_)(sd|std|stdev|stddev|se|sem|ci|ci95|half_width|interval|pm|variance|var)(_|$)")
_BOUND = re.compile(r"(^|_)(low|high|lower|upper|min|max|best|worst|p|p_value|holm|median|iqr)(_|$)")
_BEFORE = re.compile(
    r"(^|_)(dense|base|baseline|original|unpruned|before(?=$|_(prun|compress|cut|sparsif)))(_|$)"
)
_DELTA = re.compile(
    r"(^|_)(delta|diff|difference|drop|gain|gap|change|improvement|loss_of|vs|to)(_|$)|^[Δδ]"
    r"|^d_?(acc|accuracy|top_?\d|err|error)(_|$)"
)
_DERIVED = re.compile(r"reduc|saving|saved|speed_?up|efficiency|acceleration|(^|_)(red|decreased?)(_|$)")
_GONE = re.compile(r"prun|remov|(^|_)cut(_|$)|dropped|zero|mask")  # of a cost, in %: what is gone
_ACCURACY = re.compile(r"(^|_)(acc|accuracy|accuracies|top_?1|top_?5|top_?3)(_|$|\d)")
_SHORT = re.compile(r"(?:^|_)(?:acc|accuracy|prec|precision)_?([15])(?:_percent)?$")  # acc5 is top-5
_ERROR = re.compile(r"(^|_)(err|error|error_rate|misclassification)(_|$)")
_MACS = re.compile(r"(^|_)[mg]?(mac|macs|flop|flops|madd|madds|maccs)(_|$)")
_PARAMS = re.compile(r"(^|_)[mk]?(param|params|parameters|nnz|nonzeros?|weights)(_|$)")
_TIME = re.compile(r"(^|_)(seconds?|secs?|time|times|latency|runtime|duration|ms|minutes|hours)(_|$)|^s$")
_FRACTION = re.compile(r"(^|_)(fraction|ratio|share|relative|percent|pct|rel)(_|$)")
_LOST = re.compile(r"(acc|accuracy|top_?\d)_(loss|lost|decrease|degradation)(_|$)")
_NO_ACCURACY = re.compile(  # numbers about an accuracy
    r"(^|_)(relative|rel|normali[sz]ed|retained|retention|preserved)(_|$)|_(epochs?|steps?|iterations?|rank)$"
    r"|_(ratio|of_(the_)?(dense|baseline|original|full)(_\w+)?)$"
)
_OTHER = re.compile(  # lower is better, or no percentage
    r"(^|_)(fid|kid|lpips|perplexity|perplexities|ppl|wer|cer|ter|psnr|ssim|nll|bpc|bpb|mse|rmse|mae|ece|brier|barrier"
    r"|(word|character|squared|absolute|calibration|reconstruction|approximation)_error)(_|$)"
)
SUPERCLASS = re.compile(r"(^|_)(super_?class|coarse)(_|$)")
CLASSES = re.compile(r"(n_|num_|number_of_)?(classes|labels)")
_LESS = re.compile(r"compress|↓.*percent")  # of a cost: what is saved, or how many times less
_COSTS = {"time": "speed|latency|time", "macs": "mac|flop|madd", "params": "param|weight"}
SIZE = re.compile(r"(^|_)(size|[mk]b)(_|$)")
_POWER = re.compile(r"\de-?\d")
_AT = re.compile(r"\b(?:acc|accuracy|prec|precision)\s*@\s*(\d)\b", re.IGNORECASE)
_OF_USER = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(\(.*\))?")
_OF_SPARSITY = ("layer_share", "sparsity", "density")
_LAYER_SHARE = re.compile(r"layer.*(compress|densit|sparsit|kept|prun)|(compress|densit|sparsit).*layer")


@dataclass(frozen=True)
class Metric:
    """What a number measures: accuracy, macs, macs_fraction, params, time, layer_share, loss, other."""

    name: str
    kind: str
    k: int | None = None
    split: str = ""
    factor: float = 1.0  # printed number times this is in %, MACs, weights or seconds
    error: bool = False  # printed as an error rate
    flops: bool = False  # two operations a MAC may have been counted
    variant: str = ""  # dense, effective: not what is kept

    @property
    def sort(self) -> tuple[str, int | None, str, str]:
        """What two numbers share that can be compared."""
        return (self.kind, self.k, self.split, self.name if self.kind == "other" else "")


@lru_cache(maxsize=1 << 14)
def role(name: str) -> str | None:
    """Return the role that a header's name alone gives, or None."""
    known = (r for r, pattern in _NAMES if re.fullmatch(pattern, plain(name)))
    named = next(known, None)
    if named in _OF_SPARSITY and of_user(name):
        return "unread"
    strength = named in ("sparsity", "density") and _POWER.search(name)  # of a penalty: `Sparsity (1e-5)`
    return None if strength else named


def of_user(name: str) -> bool:
    """Return whether a header is `package.module:row`: a measure of the author, whatever its words say."""
    return _OF_USER.fullmatch(name.strip()) is not None


def is_setting(name: str) -> bool:
    """Return whether a header names a setting, so that two values of it are two configurations."""
    return _SETTINGS.fullmatch(plain(name)) is not None


def aside(name: str) -> str | None:
    """Return spread, bound, delta or derived if the name says that the number belongs to another one."""
    text = plain(name)
    about = _ACCURACY.search(text) is not None
    cost = _MACS.search(text) or _PARAMS.search(text)
    if about and (_LOST.search(text) or "↓" in name):
        return "delta"
    if re.search(r"(^|_)(acc|accuracy)_(err|error)(_|$)", text):
        return "spread"
    if cost and "percent" in text and _GONE.search(text):
        return "derived"
    if (about and _NO_ACCURACY.search(text)) or (
        cost and _LESS.search(text if "↓" not in name else f"↓{text}")
    ):
        return "derived"
    for kind, pattern in (("spread", _SPREAD), ("bound", _BOUND), ("delta", _DELTA), ("derived", _DERIVED)):
        if pattern.search(text):
            return kind
    return None


def costs_of(name: str) -> list[str]:
    """Return the kinds of costs that a derived column may be of: `FLOPs reduction`, `speedup`."""
    return [kind for kind, words in _COSTS.items() if re.search(words, plain(name))]


def short(name: str) -> bool:
    """Return whether a header is like `acc5`: top-5, or the fifth of several."""
    return _SHORT.search(plain(name)) is not None


def numbered(names: Sequence[str]) -> bool:
    """Return whether accuracies are counted: `acc2` beside `acc1` and `acc5` is a run, a task or a fold."""
    matches = [re.search(r"(?:^|_)(?:acc|accuracy|prec|precision)_?(\d+)$", plain(n)) for n in names]
    return any(m is not None and m[1] not in ("1", "3", "5") for m in matches)


@lru_cache(maxsize=1 << 14)
def metric(name: str) -> Metric | None:
    """Return what a header, or an entry of a metric column, measures; None if the name does not say."""
    text = plain(name)
    if "layer" in text and _LAYER_SHARE.search(text):
        return Metric(name, "layer_share")
    if _OTHER.search(text):
        return Metric(name, "other")
    if aside(name) in ("delta", "derived") and not _TIME.search(text):
        return None
    wrong = _ERROR.search(text) is not None and aside(name) != "spread"
    if wrong or _ACCURACY.search(text) or _AT.search(name) or _SHORT.search(text):
        before = "dense" if _BEFORE.search(text) and not wrong else ""
        return Metric(name, "accuracy", _k(name), _split(text), error=wrong, variant=before)
    if _MACS.search(text):
        return _macs(name, text)
    if re.search(r"(^|_)loss(_|$)", text):
        return Metric(name, "loss", split=_split(text))
    if _TIME.search(text):
        return Metric(name, "time", factor=_seconds(text), split=_split(text))
    if _PARAMS.search(text):
        return Metric(name, "params", factor=_large(text), variant=_variant(text))
    return None


def _macs(name: str, text: str) -> Metric:
    flops = "flop" in text
    if (role(name) or "") == "cost":
        return Metric(name, "other")
    if _FRACTION.search(text):
        factor = 0.01 if re.search("percent|pct", text) else 1.0
        return Metric(name, "macs_fraction", factor=factor, flops=flops, variant=_variant(text))
    return Metric(name, "macs", factor=_large(text), flops=flops, variant=_variant(text))


def _variant(text: str) -> str:
    match = re.search(r"(dense|total|original|baseline|full|before|effective)", text)
    return "" if match is None else "effective" if match[1] == "effective" else "dense"


def _k(name: str) -> int | None:
    match = re.search(r"top_?(\d)", plain(name)) or _AT.search(name) or _SHORT.search(plain(name))
    return int(match[1]) if match else None


def _split(text: str) -> str:
    match = re.search(r"(^|_)(train|training|val|valid|validation|test)(_|$)", text)
    if match is None:
        return ""
    return {"tr": "train", "va": "validation", "te": "test"}[match[2][:2]]


def _large(text: str) -> float:
    if re.search(r"(^|_)(millions?|m)(_|$)|(^|_)m(mac|flop|madd|param)", text):
        return 1e6
    if re.search(r"(^|_)(billions?|g)(_|$)|(^|_)g(mac|flop|madd)", text):
        return 1e9
    return 1e3 if re.search(r"(^|_)(thousands?|k)(_|$)|(^|_)kparam", text) else 1.0


def _seconds(text: str) -> float:
    units = (("ms|milliseconds", 1e-3), ("minutes|min", 60.0), ("hours|h", 3600.0))
    return next((f for unit, f in units if re.search(rf"(^|_)({unit})(_|$)", text)), 1.0)


def level(name: str) -> tuple[str, str] | None:
    """Return (what is measured, sparsity as text) of a header like `90 %`, `s=0.9`, `10x`, `top1@90%`."""
    match = re.fullmatch(
        r"(?P<what>.*?)[\s_@=:(\[-]*(?P<level>\d+(?:\.\d+)?\s*(?:%|x|×)?)[\s)\]]*(?:sparse|sparsity|pruned)?",
        name.strip(),
        re.IGNORECASE,
    )
    if match is None or _POWER.search(name):
        return None
    what = re.sub(r"[\s_@=:(\[-]+$", "", match["what"])
    return what, match["level"].replace("×", "x").replace(" ", "")


def levels(names: Sequence[str], *, beside: bool = False) -> dict[str, tuple[str, str]]:
    """Return the headers that are sparsities, each with what is measured and the sparsity's text.

    `beside`: the table has a column of sparsities, so that a number alone is an epoch, a task or a step.
    """
    headers = {name: parts for name in names if (parts := level(name)) and _may_be_level(name, *parts)}
    if beside:
        headers = {name: (what, text) for name, (what, text) in headers.items() if _says_level(what, text)}
    bare = sorted(float(text) for _, text in headers.values() if text.isdigit())
    counting = bare and bare == [bare[0] + i for i in range(len(headers))]
    return {} if len(headers) < 2 or counting else headers


def _says_level(what: str, text: str) -> bool:
    """Return whether a header calls itself a sparsity: `90%`, `10x`, `sparsity_90`."""
    return text[-1] in "%x" or re.search("spars|dens|prun|comp", plain(what)) is not None


def _may_be_level(name: str, what: str, text: str) -> bool:
    number = float(text.rstrip("%x"))
    if of_user(name) and re.search("spars|dens", plain(what)):
        return False
    if re.fullmatch(
        r"top_?|seed|run|trial|fold|rep|epochs?|n|k|resnet|vgg|lenet|cifar|mnist|c|p|conv", plain(what)
    ):
        return False
    if (
        _AT.search(name)
        or re.search(r"top_?[135]$", plain(name))
        or _SHORT.search(plain(name))
        or (role(name) is not None and not re.search("spars|dens", plain(what)))
    ):
        return False
    plausible = what == "" or re.search(r"spars|dens|prun|^s$|^p$|comp|acc|top|err|flop|mac", plain(what))
    return bool(plausible) and 0 <= number <= 1000
