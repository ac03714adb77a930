"""Options of the training verbs: frozen, with each default written once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

Schedule = Literal["poly", "cosine"]
LossName = Literal["bootstrapped", "ce"]
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class AugmentOptions:
    """Random views of a training image."""

    crop: tuple[int, int] = (320, 448)
    """(height, width) of what the network sees, in pixels."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the random zoom, drawn on a log scale; above 1 things appear larger."""
    flip: float = 0.5
    """Probability of a left-right mirror image."""
    jitter: float = 0.25
    """Strength of random brightness, contrast, saturation and tint; 0 is off."""
    blur: float = 0.1
    """Probability of a light Gaussian blur."""
    noise: float = 0.1
    """Probability of light Gaussian sensor noise."""

    def __post_init__(self) -> None:
        _require(min(self.crop) >= 8, f"crop {self.crop} is too small; give at least 8x8")
        low, high = self.scale
        _require(
            0.05 <= low <= high <= 20, f"scale {self.scale} is not an ordered range in 0.05..20"
        )
        for name in ("flip", "blur", "noise", "jitter"):
            value = getattr(self, name)
            _require(0 <= value <= 1, f"{name} is {value}; expected 0..1")


@dataclass(frozen=True)
class TrainOptions:
    """Everything a training run depends on, except the files it reads.

    Raises:
        OptionError: a value or a combination of values that cannot work.
    """

    preset: str
    """Name of the network in `training.presets`."""
    data: str
    """Data set, as in ``camvid:DIR``, ``folder:DIR`` or ``street:``."""
    encoder_weights: str | None = None
    """Pre-trained encoder: a weights file, ``imagenet`` (installed package), or none."""
    steps: int = 4000
    """Optimiser steps of the whole schedule."""
    batch: int = 6
    """Images per step."""
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    lr: float = 1e-3
    """Peak learning rate of AdamW."""
    encoder_lr_scale: float = 0.5
    """Learning rate of the encoder (parameters named ``backbone.*``) relative to `lr`."""
    weight_decay: float = 1e-4
    """Decoupled weight decay of convolution weights; biases and BatchNorm have none."""
    schedule: Schedule = "poly"
    """How the learning rate falls to 0 over `steps`."""
    poly_power: float = 0.9
    """Exponent of the polynomial schedule."""
    warmup: int = 100
    """Steps over which the learning rate rises linearly; at most a tenth of `steps` is used."""
    loss: LossName = "bootstrapped"
    """``bootstrapped`` averages over hard pixels only, ``ce`` over all."""
    hard_threshold: float = 0.3
    """Cross-entropy (nats) above which a pixel is hard."""
    hard_min: int = 4096
    """Pixels per image that always count, hard or not."""
    class_weights: float = 0.3
    """Weight of a class: (median frequency / its frequency) to this power; 0 is off."""
    clip: float = 5.0
    """Largest norm of the gradient."""
    ema: float = 0.998
    """Decay of the averaged weights that are validated and kept; 0 is off."""
    precision: Precision = "fp32"
    """``bf16`` (autocast; weights stay fp32) takes 0.7 to 0.8 of the time of ``fp32`` on a CPU with
    avx512_bf16, and is slow on a CPU without."""
    seed: int = 0
    """Of initial weights, sample order and augmentation."""
    size: tuple[int, int] | None = None
    """(height, width) the network is validated at; None: that of the first validation image,
    rounded up to what the network takes."""
    validate_every: int = 500
    """Steps between validations; the last step is always validated."""
    save_every: int = 200
    """Steps between saved states, from which `--resume` continues."""
    log_every: int = 20
    """Steps between progress lines."""
    workers: int = 1
    """Threads that prepare batches ahead; 0 prepares them in the training thread."""
    threads: int | None = None
    """CPU threads of torch; None leaves it to torch."""
    device: str = "auto"
    """``cpu``, ``cuda``, or ``auto``: CUDA if there is one."""
    minutes: float | None = None
    """Stop after this many minutes; the schedule does not shrink, `--resume` continues it."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every", "save_every", "log_every", "hard_min"):
            _require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; expected >= 1")
        for name in ("warmup", "workers", "seed", "weight_decay", "class_weights"):
            _require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; expected >= 0")
        for name in ("lr", "encoder_lr_scale", "poly_power", "clip", "hard_threshold"):
            _require(getattr(self, name) > 0, f"{name} is {getattr(self, name)}; expected > 0")
        _require(0 <= self.ema < 1, f"ema is {self.ema}; expected 0 (off) up to below 1")
        _require(self.threads is None or self.threads >= 1, "threads must be at least 1")
        _require(self.minutes is None or self.minutes > 0, "minutes must be positive")

    @property
    def warmup_steps(self) -> int:
        """`warmup`, shortened for short runs."""
        return min(self.warmup, self.steps // 10)

    def lineage(self) -> dict[str, Any]:
        """The options that decide the resulting weights, as plain JSON values.

        A resumed run must agree with its beginning in all of these.
        """
        values = asdict(self)
        return {name: _plain(value) for name, value in values.items() if name not in HOW_NOT_WHAT}

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> TrainOptions:
        """Options from flat values, such as a command line's, or from a stored `lineage`."""
        values = {name: _tuples(value) for name, value in values.items()}
        views = dict(values.pop("augment", {}))
        for field_ in fields(AugmentOptions):
            if field_.name in values:
                views[field_.name] = values.pop(field_.name)
        return cls(**values, augment=AugmentOptions(**views))


HOW_NOT_WHAT = frozenset({"save_every", "log_every", "workers", "threads", "device", "minutes"})
"""Options that may change between the parts of a resumed run."""


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    """The reverse of `_plain`."""
    if isinstance(value, dict):
        return {name: _tuples(inner) for name, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value


def parse_size(text: str) -> tuple[int, int]:
    """``HxW`` as (height, width).

    Raises:
        OptionError: it is something else.
    """
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise OptionError(f"size {text!r} is not understood; expected HxW, such as 360x640")
    return int(height), int(width)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise OptionError(message)
