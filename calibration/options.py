"""Options of the calibration stage: frozen, with each default written once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from calibration.methods import METHODS
from calibration.policy import POLICIES
from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

    from calibration.labelled import Split
    from calibration.methods import Method
    from calibration.policy import PolicyName
    from calibration.samples import SampleOptions

METHOD_CHOICES = (*METHODS, "auto")

Rounding = Literal["auto", "adaptive", "nearest"]


@dataclass(frozen=True)
class CalibrateOptions:
    """How to make an INT8 model of a float one.

    Raises:
        OptionError: the output is no ``.onnx`` file in an existing folder, or an unknown choice.
    """

    output: Path
    """Where the INT8 model goes; its manifest goes beside it."""
    samples: SampleOptions
    """What to calibrate on."""
    method: Method | Literal["auto"] = "auto"
    """How ranges are chosen; ``auto`` tries all and keeps the one nearest to the float model."""
    policy: PolicyName = "ort-cpu"
    """For which engine the pairs are placed."""
    exclude: tuple[str, ...] = ()
    """Operators kept float, see `calibration.policy.place`."""
    dynamic: bool = False
    """Also quantise operators with generated weights."""
    data: str | None = None
    """Labelled images to judge by, as `calibration.labelled.open_labelled` takes them."""
    split: Split = "val"
    """Which of them."""
    gate: float = 0.5
    """Largest accepted drop of the mIoU, in percentage points."""
    mixed: bool = False
    """Keep the worst blocks float until the gate is met."""
    sensitivity: bool = False
    """Measure what each block loses alone, even where nothing has to stay float."""
    rounding: Rounding = "auto"
    """Which way weights are rounded: ``adaptive`` fits the choice to the frames; ``auto`` does so
    too, except where the ranges were learned: weights are then rounded as they were trained."""
    store: Literal["float32", "int8"] = "float32"
    """How quantised weights are stored: ``int8`` makes a file a third of the size, from which
    the float model cannot be had again."""
    fp16: Path | None = None
    """The model's FP16 form, with its manifest, to be scored beside."""
    ranges: Path | None = None
    """A table of ranges that go before those of the frames."""
    save_ranges: Path | None = None
    """Where to write the ranges that were used."""
    report: Path | None = None
    """Where to write the JSON report; a page for people is written beside it."""
    threads: int | None = None
    """CPU threads; None leaves it to ONNX Runtime."""

    def __post_init__(self) -> None:
        if self.output.suffix != ".onnx":
            raise OptionError(f"output {self.output} must end in .onnx")
        for path in (self.output, self.report, self.save_ranges):
            if path is not None and not path.parent.is_dir():
                raise OptionError(f"cannot write {path}: no folder {path.parent}")
        if self.method not in METHOD_CHOICES:
            raise OptionError(f"method {self.method!r}; choose from {', '.join(METHOD_CHOICES)}")
        if self.policy not in POLICIES:
            raise OptionError(f"policy {self.policy!r}; choose from {', '.join(POLICIES)}")
        if self.mixed and self.data is None:
            raise OptionError("--mixed needs labels to search by: give --data")
        if self.fp16 is not None and (self.data is None or self.report is None):
            raise OptionError("--fp16 is scored for the report: give --data and --report too")
        if self.report is not None and self.report.suffix == ".html":
            raise OptionError(
                f"report {self.report} is JSON; the page {self.report.name} is written beside it: "
                "give --report FILE.json"
            )
        if not (math.isfinite(self.gate) and self.gate >= 0):
            raise OptionError(
                f"--gate is {self.gate}; give the accepted drop in points, such as 0.5"
            )
