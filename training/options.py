"""Options of the training verbs: frozen, with each default written once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge_runtime.errors import OptionError
from training.data.augment_options import AugmentOptions as AugmentOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

Schedule = Literal["poly", "cosine"]
LossName = Literal["bootstrapped", "ce", "ohem"]
OptimizerName = Literal["adam", "adamw", "sgd"]
Precision = Literal["fp32", "bf16", "fp16"]
TrainSplit = Literal["train", "trainval"]
Distillation = Literal["cwd", "logits"]


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
    train_split: TrainSplit = "train"
    """``trainval`` also trains on the val split. Its score then says nothing about new pictures, so
    nothing is chosen by it: the last weights are the checkpoint."""
    skip_unreadable: bool = False
    """Leave out pairs of which a file cannot be decoded, naming them, instead of stopping."""
    encoder_weights: str | None = None
    """Pre-trained encoder: a weights file, ``imagenet`` (installed package), or none."""
    init: str | None = None
    """Checkpoint of the same network, perhaps with other classes, to start from instead of an
    encoder's weights only."""
    terms: str = ""
    """Licences of `init` and `teacher`, which bind the weights as that of the data does. Found when
    the run begins, as is the next."""
    val_known: str | None = None
    """Label set on whose val split `init`, or what that started from, was trained."""
    qat: str | None = None
    """Report of ``hyperseg calibrate`` on an export of `init`: train with the network rounded where
    that report quantises it."""
    steps: int = 4000
    """Optimiser steps of the whole schedule."""
    batch: int = 6
    """Images per step, of all processes and parts together."""
    accumulate: int = 1
    """Parts in which a step's images pass through the network, to need less memory. Batch norms,
    and with the loss ``ohem`` the choice of hard pixels, see a part and not the whole batch."""
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    optimizer: OptimizerName = "adamw"
    """``adam`` has its weight decay in the gradient, ``adamw`` beside it; ``sgd`` has Nesterov's
    momentum."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decays of Adam's two moments; the first is the momentum of ``sgd``."""
    lr: float = 1e-3
    """Peak learning rate."""
    encoder_lr_scale: float = 0.5
    """Learning rate of the encoder (parameters named ``backbone.*``) relative to `lr`."""
    weight_decay: float = 1e-4
    """Weight decay of convolution weights; biases and BatchNorm have none."""
    schedule: Schedule = "poly"
    """How the learning rate falls to 0 over `steps`."""
    poly_power: float = 0.9
    """Exponent of the polynomial schedule."""
    lr_hold: int = 1
    """Steps between two falls of the schedule, such as those of an epoch."""
    warmup: int = 100
    """Steps over which the learning rate rises linearly; at most a tenth of `steps` is used."""
    loss: LossName = "bootstrapped"
    """``bootstrapped`` averages over each image's hard pixels, ``ohem`` over the hard pixels of the
    whole batch, ``ce`` over all pixels."""
    hard_threshold: float = 0.3
    """Cross-entropy (nats) above which a pixel is hard."""
    hard_min: int = 4096
    """Pixels per image that always count, hard or not."""
    lovasz: float = 0.0
    """Weight of the Lovász-softmax loss, which stands for 1 - mIoU, beside `loss`; 0 is off."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes."""
    class_weights: float | tuple[float, ...] = 0.3
    """Weight of a class: (median frequency / its frequency) to this power, 0 being off; or the
    weights themselves, in the order of the train ids."""
    aux: float = 0.0
    """Weight of the loss of a light head on the encoder's features at stride 16, which exists in
    training only; 0 is off."""
    teacher: str | None = None
    """Network to learn from besides the labels: a checkpoint, or an ONNX model with a logits
    head."""
    distill: Distillation = "cwd"
    """What is imitated: ``cwd``, where in the picture each channel is strong (channel-wise
    distillation); ``logits``, the class probabilities of each pixel."""
    distill_weight: float = 3.0
    """Weight of the imitation beside the loss on the labels."""
    distill_temperature: float = 4.0
    """Divides the logits of both networks before they are compared."""
    clip: float = 5.0
    """Largest norm of the gradient; 0 is off."""
    ema: float = 0.998
    """Decay of the averaged weights that are validated and kept; 0 is off."""
    precision: Precision = "fp32"
    """``bf16`` (autocast; weights stay fp32) takes 0.7 to 0.8 of the time of ``fp32`` on a CPU with
    avx512_bf16, and is slow on a CPU without. ``fp16`` scales the loss against underflow; it is
    meant for GPUs without bf16."""
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
    """``cpu``, ``cuda``, or ``auto``: CUDA if there is one. Each of several processes has a GPU of
    its own, unless one is named for all, as in ``cuda:0``."""
    compile: bool = False
    """Have torch compile the network of a step: about a minute at the start, quicker steps then."""
    minutes: float | None = None
    """Stop after this many minutes; the schedule does not shrink, `--resume` continues it."""
    tensorboard: bool = False
    """Also write the curves for TensorBoard, into the run folder."""

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            _require(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; expected >= 1")
        for name in _AT_LEAST_ZERO:
            _require(getattr(self, name) >= 0, f"{name} is {getattr(self, name)}; expected >= 0")
        for name in ("lr", "encoder_lr_scale", "poly_power", "hard_threshold"):
            _require(getattr(self, name) > 0, f"{name} is {getattr(self, name)}; expected > 0")
        _require(self.distill_temperature > 0, "distill_temperature must be positive")
        _require(
            self.qat is None or self.init is not None,
            "qat starts from a trained network: give its checkpoint with --init",
        )
        for name in ("ema", "label_smoothing"):
            value = getattr(self, name)
            _require(0 <= value < 1, f"{name} is {value}; expected 0 (off) up to below 1")
        _require(
            all(0 <= beta < 1 for beta in self.betas), f"betas are {self.betas}; expected 0..1"
        )
        weights = self.class_weights
        listed = weights if isinstance(weights, tuple) else (weights,)
        _require(min(listed, default=-1) >= 0, f"class_weights is {weights}; expected >= 0")
        _require(
            self.batch % self.accumulate == 0,
            f"a batch of {self.batch} does not divide into {self.accumulate} equal parts; choose "
            "--batch as a multiple of --accumulate",
        )
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
        """Options from flat values, such as a command line's, or from a stored `lineage`.

        What a lineage of an earlier version does not name takes its default, which is always what
        that version did.

        Raises:
            OptionError: a name that is no option, or see the class.
        """
        values = {name: _tuples(value) for name, value in values.items()}
        views = dict(values.pop("augment", {}))
        for field_ in fields(AugmentOptions):
            if field_.name in values:
                views[field_.name] = values.pop(field_.name)
        known = {field_.name for owner in (cls, AugmentOptions) for field_ in fields(owner)}
        unknown = sorted((values.keys() | views.keys()) - known)
        _require(
            not unknown,
            f"this version has no training option {', '.join(unknown)}; continue the run with the "
            "version that began it",
        )
        return cls(**values, augment=AugmentOptions(**views))


HOW_NOT_WHAT = frozenset(
    {
        "save_every",
        "log_every",
        "workers",
        "threads",
        "device",
        "compile",
        "minutes",
        "tensorboard",
    }
)
"""Options that may change between the parts of a resumed run, which need not take them over."""

_AT_LEAST_ZERO = (
    "warmup", "workers", "seed", "weight_decay", "clip", "aux", "lovasz", "distill_weight",
)  # fmt: skip
_AT_LEAST_ONE = (
    "steps", "batch", "accumulate", "validate_every", "save_every", "log_every", "hard_min",
    "lr_hold",
)  # fmt: skip


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


def parse_class_weights(text: str) -> float | tuple[float, ...]:
    """A strength, a list such as ``1,2.5,0.3``, or a JSON file with such a list.

    Raises:
        OptionError: it is none of these.
    """
    place = Path(text)
    try:
        if place.is_file():
            listed = json.loads(place.read_bytes())
            return tuple(float(value) for value in listed)
        values = tuple(float(part) for part in text.split(","))
    except (OSError, ValueError, TypeError) as error:
        raise OptionError(
            f"class weights {text!r} are not understood ({error}); expected one number, numbers "
            "between commas, or a JSON file with a list of numbers"
        ) from error
    return values if len(values) > 1 else values[0]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise OptionError(message)
