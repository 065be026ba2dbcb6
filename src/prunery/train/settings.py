"""The settings of one training phase: plain frozen data, importable without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from prunery.errors import SpecError
from prunery.registry import nearest

# A setting that means something under one value of another setting only: it may not be given beside
# the other values, and goes when `merged` changes the choice it belongs to.
_BELONGS = {
    "momentum": "optimizer",
    "nesterov": "optimizer",
    "milestones": "lr_schedule",
    "gamma": "lr_schedule",
}
_OWNER = {"optimizer": "sgd", "lr_schedule": "step"}

STORED = {"lr_schedule": "schedule"}
"""How keys, stored specs and records spell a setting that has another name now; specs may still write it."""


class Training(BaseModel):
    """One training phase. Everything random in it is drawn from the seed that `fit` is given.

    Weight decay acts on every trained parameter, biases and norms too, as `torch.optim` does by default:
    added to the gradient for sgd and adam, decoupled for adamw.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    epochs: int = Field(ge=0)
    """Passes over the training split; 0 trains nothing."""
    optimizer: Literal["sgd", "adam", "adamw"]
    """The update rule, as in torch.optim."""
    learning_rate: float = Field(gt=0, allow_inf_nan=False)
    """The highest learning rate: after warm-up, before any decay."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of sgd (adam and adamw keep torch's betas, 0.9 and 0.999)."""
    nesterov: bool = False
    """Nesterov's momentum, for sgd."""
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight decay of all parameters, in torch's convention of the optimiser."""
    lr_schedule: Literal["constant", "cosine", "step", "linear"] = Field(
        default="constant",
        validation_alias=AliasChoices("lr_schedule", "schedule"),
        serialization_alias="schedule",
    )
    """Of the learning rate: constant; to 0 along a half cosine or line; or times gamma at milestones. The old
    key `schedule` is read too."""
    warmup: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Epochs (a part of one is fine) over which the learning rate rises linearly to its highest."""
    milestones: tuple[int, ...] = Field(default=(), strict=False)
    """Whole epochs after which the learning rate is multiplied by gamma, for the lr_schedule step."""
    gamma: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """The factor at each milestone, for the lr_schedule step."""
    batch: int = Field(default=128, ge=1)
    """Examples per step; the last batch of an epoch may be smaller and is never dropped."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Probability spread evenly over all classes in the target; the training loss includes it."""
    augmentation: Literal["none", "flip", "crop_flip"] = "none"
    """Random changes to training images: none, mirrored, or cropped after padding by 4 and mirrored."""
    clip_norm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The largest L2 norm of all gradients together; None does not clip."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What forward and backward passes compute in: bfloat16 is torch's autocast. Weights, gradients, the
    optimiser's state, norms' statistics and the loss stay float32, and so does all that is measured."""
    stop_at: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    """The validation accuracy in % at which training ends, after an epoch that reaches it; `epochs` is then
    the most that it takes, and what the learning-rate schedule is laid out for. None trains all epochs."""
    select: Literal["last", "validation"] = "last"
    """Which epoch's weights stay: the last, or the most correct on validation (the earliest of equals)."""

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        problems = [text for check in _CHECKS for text in check(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def reads_validation(self) -> bool:
        """Return whether anything is chosen by the validation split."""
        return self.select == "validation" or self.stop_at is not None

    def stored(self) -> dict[str, Any]:
        """Return the settings as plain data, spelt as keys and records spell them (see `STORED`)."""
        return self.model_dump(mode="json", by_alias=True)


def stored_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return some settings under the names that keys and records use."""
    return {STORED.get(name, name): value for name, value in settings.items()}


def current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return some settings under the names of the fields of `Training`."""
    now = {old: name for name, old in STORED.items()}
    return {now.get(name, name): value for name, value in settings.items()}


def default_of(name: str) -> Any:
    """Return the default of a setting, by either of its names."""
    return Training.model_fields[next(iter(current_names({name: None})))].default


def merged(training: Training, overrides: Mapping[str, Any]) -> Training:
    """`training` with some settings replaced; SpecError for an unknown setting or a value that cannot be.

    Where the override names another optimiser or lr_schedule, settings that belong to the old one only
    (momentum, milestones, ...) fall back to their defaults.
    """
    overrides = current_names(overrides)
    for name in overrides:
        if name not in Training.model_fields:
            raise SpecError(
                f"the training setting {name!r}",
                f"there is none of that name{nearest(name, Training.model_fields)}",
                f"use one of: {', '.join(Training.model_fields)}",
            )
    kept = training.model_dump()
    for name, choice in _BELONGS.items():
        if overrides.get(choice, kept[choice]) != kept[choice]:
            del kept[name]
    try:
        return Training(**{**kept, **overrides})
    except ValidationError as error:
        raise SpecError(f"the training settings {dict(overrides)!r}", _text(error), "correct them") from None


def _text(error: ValidationError) -> str:
    lines = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}".lstrip(": ") for e in error.errors())
    return "; ".join(lines).replace("Value error, ", "")


def _strays(training: Training) -> Iterator[str]:
    for name, choice in _BELONGS.items():
        owner, chosen = _OWNER[choice], getattr(training, choice)
        if chosen != owner and getattr(training, name) != Training.model_fields[name].default:
            yield f"{name} is a setting of {choice} '{owner}', and {choice} is '{chosen}': leave it out"


def _nesterov_problem(training: Training) -> Iterator[str]:
    if training.nesterov and training.momentum == 0:
        yield "nesterov needs a momentum above 0"


def _milestone_problems(training: Training) -> Iterator[str]:
    steps = training.milestones
    if training.lr_schedule == "step" and not steps:
        yield "the lr_schedule 'step' needs milestones: the epochs after which gamma applies"
    if list(steps) != sorted(set(steps)):
        yield f"milestones {list(steps)} are not in rising order"
    if training.epochs and steps and not 0 < min(steps) <= max(steps) < training.epochs:
        yield f"milestones {list(steps)} do not all lie inside the {training.epochs} epochs"


def _warmup_problem(training: Training) -> Iterator[str]:
    if training.epochs and training.warmup >= training.epochs:
        yield f"a warm-up of {training.warmup:g} epochs leaves nothing of {training.epochs} epochs"


_CHECKS: tuple[Callable[[Training], Iterator[str]], ...] = (
    _strays,
    _nesterov_problem,
    _milestone_problems,
    _warmup_problem,
)
