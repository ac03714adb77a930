"""Is the model for YUV frames the model for RGB frames behind a colour conversion?

1. *The rewriting*, in float64: the new convolutions on a frame's bytes against the old one on the
   normalised colours of the same bytes, converted one pixel at a time. All behind it is unchanged.
2. *The graph*, as ONNX Runtime computes it: masks of the new graph against those of the old one,
   fed with the same unclipped colours.

A converter clips colours to 0..255 where bytes stand for none; the graph cannot. That is no error
of the rewriting, and what it does to masks is in ``docs/yuv.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.errors import ParityError
from edge_runtime.yuv import from_rgb, planes, to_rgb
from export.probe_frames import probe_frames
from export.scores import scores_of
from export.sessions import GraphRun

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest, Preprocess
    from edge_runtime.pixels import YuvFormat
    from export.precision import Precision
    from export.yuv import Front
    from export.yuv_kernels import Kernel, YuvKernels

    Array = NDArray[np.float64]

REWRITE_GATE = 1e-12
"""Allowed error of the rewriting in float64, over the largest value it puts out."""
AGREEMENT_GATES: dict[Precision, float] = {"fp32": 0.999, "int8": 0.98}
"""Share of the masks' pixels that must be the same. FP32 rounds the two forms differently, and a
quantiser behind it makes a whole step of that now and then."""


@dataclass(frozen=True)
class YuvVerdict:
    """How a model for YUV frames compares with its RGB form on the same colours."""

    frames: int
    rewrite_error: float
    """Largest difference of the first convolution in float64, over its largest value."""
    max_abs_error: float
    """Largest difference of the scores as ONNX Runtime computes them."""
    max_abs_reference: float
    """Largest magnitude of the scores."""
    agreement: float
    """Share of mask pixels, 0..1, that are the same."""


def compare(
    rgb: onnx.ModelProto,
    rewritten: onnx.ModelProto,
    front: Front,
    kernels: YuvKernels,
    manifest: Manifest,
    yuv: YuvFormat,
    frames: int,
) -> YuvVerdict:
    """Ask both questions.

    Args:
        rgb: the graph for RGB frames.
        rewritten: the one for YUV frames.
        front: of `rgb`.
        kernels: of the front of `rewritten`.
        manifest: of `rgb`.
        yuv: the format of the frames.
        frames: how many drawn ones to compare on.

    Raises:
        BackendError: onnxruntime refuses a graph.
    """
    name, output = rgb.graph.input[0].name, rgb.graph.output[0].name
    scores = scores_of(rgb)
    before = GraphRun(_with_float_input(rgb, front), shown=[scores], threads=1)
    after = GraphRun(rewritten, shown=[scores], threads=1)
    preprocess = manifest.preprocess
    rewrite, error, largest, same = 0.0, 0.0, 0.0, []
    for picture in probe_frames(manifest.input_size, frames, preprocess.mean, preprocess.std):
        rows = from_rgb(picture, yuv)
        colours = to_rgb(rows, yuv)
        # Not `max`: it would lose a NaN.
        here = rewriting_error(rows, front.kernel, kernels, preprocess, yuv)
        rewrite = float(np.maximum(rewrite, here))
        old = before({front.nodes[0].output[0]: colours[None].astype(np.float32)})
        new = after({name: rows[None]})
        error = float(np.maximum(error, np.abs(old[scores] - new[scores]).max()))
        largest = max(largest, float(np.abs(old[scores]).max()))
        same.append(float((_mask(old[output]) == _mask(new[output])).mean()))
    return YuvVerdict(frames, rewrite, error, largest, float(np.mean(same)))


def require(verdict: YuvVerdict, precision: Precision) -> None:
    """Raise `ParityError` unless the two forms are the same network."""
    gate = AGREEMENT_GATES.get(precision, 1.0)
    sound = verdict.rewrite_error <= REWRITE_GATE and np.isfinite(verdict.max_abs_error)
    if not (sound and verdict.agreement >= gate):
        raise ParityError(
            f"the graph for YUV frames is not the one for RGB frames: rewriting error "
            f"{verdict.rewrite_error:.3g}, {100 * verdict.agreement:.3f} % of the pixels agree; "
            "nothing was written"
        )


def rewriting_error(
    rows: NDArray[np.uint8],
    rgb: Kernel,
    kernels: YuvKernels,
    preprocess: Preprocess,
    yuv: YuvFormat,
) -> float:
    """Largest difference of the two forms' first convolution on one frame, over its largest value.

    Args:
        rows: the frame, as `YuvFormat.rows` says.
        rgb: the convolution on normalised colours.
        kernels: the same on YUV.
        preprocess: says how colours are normalised.
        yuv: the frame's format.
    """
    colours = (to_rgb(rows, yuv) / 255.0 - np.array(preprocess.mean)) / np.array(preprocess.std)
    expected = convolve(colours.transpose(2, 0, 1), rgb)
    luma, *chroma = (
        plane - grey for plane, grey in zip(planes(rows, yuv), kernels.grey, strict=True)
    )
    if yuv.pixels == "nv12":
        maps = [luma[None], np.stack(chroma)]
    else:
        maps = [np.stack([luma[:, ::2], chroma[0], luma[:, 1::2], chroma[1]])]
    found = sum(convolve(one, part) for one, part in zip(maps, kernels.parts, strict=True))
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def convolve(values: Array, kernel: Kernel) -> Array:
    """A convolution of (inputs, H, W) float64, (outputs, H', W'), tap by tap."""
    top, left, bottom, right = kernel.pads
    padded = np.pad(values, ((0, 0), (top, bottom), (left, right)))
    taps = kernel.weight.shape[2:]
    down, across = kernel.strides
    height, width = (
        (edge - tap) // step + 1
        for edge, tap, step in zip(padded.shape[1:], taps, kernel.strides, strict=True)
    )
    out: Array = np.zeros((kernel.weight.shape[0], height, width))
    for row, column in np.ndindex(*taps):
        seen = padded[
            :, row : row + down * (height - 1) + 1 : down,
            column : column + across * (width - 1) + 1 : across,
        ]  # fmt: skip
        out += np.tensordot(kernel.weight[:, :, row, column], seen, 1)
    return out


def _mask(output: NDArray[Any]) -> NDArray[Any]:
    return output.argmax(1) if output.ndim == 4 else output


def _with_float_input(rgb: onnx.ModelProto, front: Front) -> onnx.ModelProto:
    """A copy that takes colours as float32, which may lie outside 0 to 255."""
    import onnx

    cast = front.nodes[0]
    copy = onnx.ModelProto()
    copy.CopyFrom(rgb)
    nodes = [node for node in copy.graph.node if node.output[0] != cast.output[0]]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    entry = copy.graph.input[0]
    entry.name = cast.output[0]
    entry.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return copy
