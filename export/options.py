"""Options of the export stage: frozen, with each default written once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.artifacts import Head, ResizeMode
    from edge_runtime.pixels import YuvFormat

Storage = Literal["float32", "float16"]


@dataclass(frozen=True)
class ExportOptions:
    """What to make of a checkpoint.

    Raises:
        OptionError: the output is no ``.onnx`` file in an existing folder.
    """

    output: Path
    """Where the ONNX model goes; its manifest goes beside it."""
    size: tuple[int, int] | None = None
    """(height, width) of the frame input; None takes the size the network was trained for."""
    head: Head = "mask"
    """``mask``: uint8 train ids; ``logits``: float scores at full resolution."""
    resize: ResizeMode = "stretch"
    """How the runtime brings frames of other sizes to the input; stated in the manifest."""
    name: str | None = None
    """Model name; None takes the checkpoint's."""
    license: str | None = None
    """Licence of the weights for the manifest; None takes the checkpoint's."""
    precision: Literal["fp32", "fp16"] = "fp32"
    """What the graph computes in; its inputs and outputs are the same."""
    frames: str | None = None
    """What an FP16 graph is measured and verified on: any source of `run`; None draws frames."""
    preset: str | None = None
    """Of an official ``.pth``; None finds it from the file's keys."""
    yuv: YuvFormat | None = None
    """Pixels of the frame input, for which the first convolution is rewritten; None takes RGB."""
    store: Storage = "float32"
    """Type of the weights in the file: ``float16`` halves it; what is computed stays float32."""
    parity_frames: int = 2
    """Frames on which the result is compared with the checkpoint in float64."""

    def __post_init__(self) -> None:
        if self.output.suffix != ".onnx":
            raise OptionError(f"output {self.output} must end in .onnx")
        if not self.output.parent.is_dir():
            raise OptionError(f"cannot write {self.output}: no folder {self.output.parent}")
        if self.parity_frames < 1:
            raise OptionError(f"parity_frames is {self.parity_frames}; at least one is compared")
        if self.frames is not None and self.precision != "fp16":
            raise OptionError(
                "--frames are what an FP16 graph is verified on: add --precision fp16"
            )


def only_precision(options: ExportOptions) -> ExportOptions:
    """Output, precision and frames of `options`, all else as it is by default."""
    return ExportOptions(options.output, precision=options.precision, frames=options.frames)


def only_input(options: ExportOptions) -> ExportOptions:
    """Output and frame input of `options`, all else as it is by default."""
    return ExportOptions(options.output, yuv=options.yuv)
