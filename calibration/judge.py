"""What quantisation costs, measured by running both graphs in ONNX Runtime on the same frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from calibration.samples import network_frame
from edge_runtime.errors import BackendError, GateError, OptionError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.metrics import ConfusionMatrix

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from calibration.frames import FrameSet
    from calibration.labelled import Labelled
    from edge_runtime.artifacts import Manifest
    from edge_runtime.metrics import Scores

WORST_KEPT = 8
"""Frames named in a report, worst first."""


class Runner:
    """A graph in ONNX Runtime on the CPU, from a frame to a mask.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
    """

    def __init__(self, model: onnx.ModelProto, threads: int | None) -> None:
        import onnxruntime as ort

        from edge_runtime.backends.ort import session_options

        self.name = f"ONNX Runtime {ort.__version__} CPU"
        try:
            self._session = ort.InferenceSession(
                model.SerializeToString(),
                session_options(ort, threads),
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise BackendError(f"onnxruntime refuses the graph: {error}") from error
        self._input = self._session.get_inputs()[0].name

    def mask(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 frame -> (H, W) uint8 train ids, of a mask head or a logits head."""
        output = self._session.run(None, {self._input: frame[None]})[0][0]
        return np.asarray(output if output.ndim == 2 else output.argmax(0), np.uint8)


@dataclass(frozen=True)
class WorstFrame:
    """A frame on which two models differ much."""

    index: int
    """In the labelled images."""
    name: str
    agreement: float
    """Share of the pixels, 0..1, with the same class."""


@dataclass(frozen=True)
class Verdict:
    """Both models on one labelled split."""

    data: str
    fp32: Scores
    int8: Scores
    worst: tuple[WorstFrame, ...]
    """Worst first."""

    @property
    def drop(self) -> float:
        """Of the mIoU, in percentage points; negative for a gain."""
        return 100.0 * (self.fp32.miou - self.int8.miou)

    def as_json(self) -> dict[str, Any]:
        """Plain values for a report."""
        classes = {
            name: _difference(value, self.int8.iou[name]) for name, value in self.fp32.iou.items()
        }
        return {
            "data": self.data,
            "fp32": self.fp32.as_json(),
            "int8": self.int8.as_json(),
            "miou_drop_points": self.drop,
            "iou_drop_points": classes,
            "worst_frames": [
                {"frame": frame.name, "agreement": frame.agreement} for frame in self.worst
            ],
        }


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else 100.0 * (before - after)


def agreement(reference: Runner, other: Runner, frames: FrameSet, count: int) -> float:
    """Share of pixels, 0..1, with the same class on up to `count` evenly picked frames."""
    picked = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int))
    shares = []
    for index in picked:
        _, frame = frames.read(int(index))
        shares.append(float(np.mean(reference.mask(frame) == other.mask(frame))))
    return float(np.mean(shares))


def require_classes(data: Labelled, manifest: Manifest) -> None:
    """Refuse data whose classes are not the model's.

    Raises:
        OptionError: naming both.
    """
    if manifest.labels.names != data.labels.names:
        raise OptionError(
            f"the model predicts {manifest.labels.name} but {data.name} is labelled with "
            f"{data.labels.name}; choose data with the model's classes"
        )


def judge(fp32: Runner, int8: Runner, data: Labelled, manifest: Manifest) -> Verdict:
    """Score both models at the labels' own resolution.

    Raises:
        OptionError: the data's classes are not the model's.
        SourceError: an image or label cannot be read.
    """
    require_classes(data, manifest)
    matrices = ConfusionMatrix(data.labels), ConfusionMatrix(data.labels)
    shares = []
    for index in range(len(data)):
        name, image, labels = data.read(index)
        height, width = labels.shape
        geometry = FrameGeometry((height, width), manifest.input_size, manifest.preprocess.resize)
        frame = network_frame(image, manifest)
        masks = [geometry.mask_to_frame(runner.mask(frame)) for runner in (fp32, int8)]
        for matrix, mask in zip(matrices, masks, strict=True):
            matrix.update(labels, mask)
        shares.append(WorstFrame(index, name, float(np.mean(masks[0] == masks[1]))))
    worst = sorted(shares, key=lambda frame: frame.agreement)[:WORST_KEPT]
    return Verdict(data.name, matrices[0].scores(), matrices[1].scores(), tuple(worst))


def require_gate(verdict: Verdict | None, gate: float) -> None:
    """Refuse a model that loses more than the gate; one that was not judged passes.

    Args:
        verdict: of the INT8 model.
        gate: accepted drop of the mIoU in percentage points.

    Raises:
        GateError: it loses more.
    """
    if verdict is not None and not verdict.drop <= gate:
        raise GateError(
            f"mIoU drops by {verdict.drop:.2f} points on {verdict.data} "
            f"({100 * verdict.fp32.miou:.2f} -> {100 * verdict.int8.miou:.2f}), more than the "
            f"gate of {gate:g}; no model was written: try --mixed, another --method, or train "
            "with QAT"
        )
