"""Options of `hyperseg import`: frozen, with each default written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.artifacts import Head, ResizeMode

Layout = Literal["NCHW", "NHWC"]
Color = Literal["RGB", "BGR"]
Triple = tuple[float, float, float]

IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of RGB in 0..1 that networks pretrained on ImageNet expect."""


@dataclass(frozen=True)
class ImportOptions:
    """What is to be known of a foreign graph that the graph itself does not say.

    Raises:
        OptionError: the output is no ``.onnx`` file in an existing folder, or a value cannot work.
    """

    output: Path
    """Where the model goes; its manifest goes beside it."""
    classes: str
    """A built-in label set's name, a file, or names separated by commas, in channel order."""
    palette: str | None = None
    """A built-in label set's name, a file, or ``#rrggbb`` colours separated by commas; None takes
    the label set's own, or one made up."""
    mean: Triple | None = None
    """Subtracted from the frame, in units of `value_range`; None for a graph that takes uint8."""
    std: Triple | None = None
    """Divides what is left, in units of `value_range`."""
    value_range: Literal[1, 255] = 1
    """Largest value of a white pixel before `mean` and `std`: frames are scaled to 0..1 or kept."""
    color: Color = "RGB"
    """Channel order the network was trained with."""
    layout: Layout | None = None
    """Of the graph's input; None reads it off the shape."""
    size: tuple[int, int] | None = None
    """(height, width) of the frame; needed where the graph leaves it open."""
    head: Head = "mask"
    """What the model puts out: ``mask``, uint8 class ids; ``logits``, scores at frame size."""
    tensor: str | None = None
    """Which of the graph's outputs; None takes the only one that fits the classes."""
    align_corners: bool = False
    """How scores are upsampled: by corners, as the trainer's own code may do, or by pixel areas."""
    resize: ResizeMode = "stretch"
    """How the runtime brings frames of other sizes to the input."""
    name: str | None = None
    """Model name; None takes the output's stem."""
    license: str = ""
    """Licence of the weights."""
    frames: int = 2
    """Frames on which the result is compared with the graph fed by hand."""

    def __post_init__(self) -> None:
        if self.output.suffix != ".onnx":
            raise OptionError(f"output {self.output} must end in .onnx")
        if not self.output.parent.is_dir():
            raise OptionError(f"cannot write {self.output}: no folder {self.output.parent}")
        if self.frames < 1:
            raise OptionError(f"--frames is {self.frames}; at least one is compared")
        self._check_normalisation()

    def _check_normalisation(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise OptionError("--mean and --std belong together; give both or, for uint8, none")
        if self.mean is None or self.std is None:
            return
        if not all(value > 0 for value in self.std):
            raise OptionError(f"--std is {self.std}; every deviation must be above 0")
        largest = max(*self.mean, *self.std)
        if self.value_range == 1 and largest > 1:
            raise OptionError(
                f"--mean and --std go up to {largest:g}, but frames are scaled to 0..1; if the "
                "network was trained on 0..255, add --range 255"
            )

    def normalisation(self) -> tuple[Triple, Triple] | None:
        """(mean, std) for frames scaled to 0..1, or None if none was given."""
        if self.mean is None or self.std is None:
            return None
        return _divided(self.mean, self.value_range), _divided(self.std, self.value_range)


def _divided(values: Triple, by: int) -> Triple:
    first, second, third = values
    return first / by, second / by, third / by


def parse_triple(text: str) -> Triple:
    """Three numbers separated by commas.

    Raises:
        OptionError: it is something else.
    """
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"{text!r} is not three numbers separated by commas, such as 0.485,0.456,0.406"
        ) from None
    return first, second, third
