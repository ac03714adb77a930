"""INT8 accuracy, ours beside ONNX Runtime's own static quantisation, on the same images.

Every model is calibrated on the same frames and scored on the same labelled images by the same
ONNX Runtime. The rival is given symmetric, per-channel Q/DQ, with each of its calibration methods,
on every operator it knows (its default), on convolutions with what joins them, and on convolutions
alone. A graph that it writes but cannot run is told as such.
"""

from __future__ import annotations

import argparse
import logging
import math
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from benchmarks.labelled import labelled_arguments
from benchmarks.paired import report
from calibration.calibrate import calibrate
from calibration.cli import ROUNDING_NAMES
from calibration.judge import Runner, judge
from calibration.labelled import open_labelled
from calibration.options import CalibrateOptions
from calibration.policy import POLICIES
from calibration.qdq import strip
from calibration.samples import SampleOptions, gather, refuse_shared
from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import BackendError
from edge_runtime.stored_weights import unpack_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calibration.frames import FrameSet
    from calibration.labelled import Labelled
    from edge_runtime.labels import LabelSet

RIVAL_METHODS = ("MinMax", "Entropy", "Percentile")
RIVAL_OPERATORS: dict[str, list[str] | None] = {
    "all operators": None,
    "convolutions and joins": ["Conv", "Clip", "Relu", "Add", "Concat"],
    "convolutions": ["Conv"],
}
FRAMES_AT_ONCE = 4
"""Frames whose activations the rival may hold; it keeps those of all frames if not told."""


@dataclass(frozen=True)
class EveryNth:
    """Each n-th of some labelled images."""

    whole: Labelled
    step: int

    @property
    def name(self) -> str:
        """With what was left out."""
        return self.whole.name if self.step == 1 else f"{self.whole.name}, 1 of {self.step}"

    @property
    def labels(self) -> LabelSet:
        """See `Labelled.labels`."""
        return self.whole.labels

    def __len__(self) -> int:
        return -(-len(self.whole) // self.step)

    def file(self, index: int) -> Path | None:
        """See `Labelled.file`."""
        return self.whole.file(index * self.step)

    def read(self, index: int) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
        """See `Labelled.read`."""
        return self.whole.read(index * self.step)


class Reader:
    """Frames as `onnxruntime.quantization` reads them."""

    def __init__(self, name: str, frames: FrameSet) -> None:
        self._name, self._frames = name, frames
        self.set_range(0, len(frames))

    def __len__(self) -> int:
        return len(self._frames)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Go on with these frames."""
        self._left = iter(range(start_index, end_index))

    def get_next(self) -> dict[str, Any] | None:
        """The next frame's feed; None at the end."""
        index = next(self._left, None)
        return None if index is None else {self._name: self._frames.read(index)[1][None]}


def rival(
    source: Path, target: Path, frames: FrameSet, method: str, operators: list[str] | None
) -> onnx.ModelProto:
    """ONNX Runtime's quantised form of a model."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    CalibrationDataReader.register(Reader)
    quantize_static(
        str(source),
        str(target),
        Reader(onnx.load_model(source).graph.input[0].name, frames),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=operators,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod[method],
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "CalibTensorRangeSymmetric": True,
            # Its name says MinMax; it holds for every method.
            "CalibStridedMinMax": math.gcd(len(frames), FRAMES_AT_ONCE),
        },
    )
    return onnx.load_model(target)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The float model's mIoU, and every INT8 form's with its drop."""
    manifest = read_manifest(options.model, kind="onnx")
    float_model = unpack_weights(strip(onnx.load_model(options.model)))
    source = folder / "float.onnx"
    onnx.save_model(float_model, source)
    chosen = SampleOptions(options.frames, options.samples)
    data = EveryNth(open_labelled(options.data, options.split, manifest.input_size), options.every)
    frames = gather(chosen, manifest, folder / "frames")
    refuse_shared(frames, data, manifest)
    fp32 = Runner(float_model, options.threads)
    figures: dict[str, Any] = {"model": manifest.name, "model_sha256": manifest.sha256}
    figures |= {"data": data.name, "images": len(data)}
    figures |= {"calibrated_on": len(frames), "measured_with": fp32.name, "int8": {}}

    def score(name: str, model: onnx.ModelProto, **facts: Any) -> None:
        verdict = judge(fp32, Runner(model, options.threads), data, manifest)
        figures["fp32_miou"] = verdict.fp32.miou
        found = {"miou": verdict.int8.miou, "miou_drop_points": verdict.drop, **facts}
        figures["int8"][name] = found
        print(f"{name}: mIoU {100 * verdict.int8.miou:.2f}, drop {verdict.drop:.2f}", flush=True)

    for policy, rounding in product(options.policy, options.rounding):
        made = folder / "ours.onnx"
        how = CalibrateOptions(
            made, chosen, policy=policy, rounding=rounding, threads=options.threads
        )
        facts = calibrate(options.model, how).report
        shares = ("macs_share_int8", "macs_share_int8_by_part")
        score(
            f"hyperseg {policy}, {rounding} rounding", onnx.load_model(made),
            method=facts["method"], **{name: facts[name] for name in shares},
        )  # fmt: skip
    for method in options.rival:
        for label in options.rival_operators:
            made = rival(source, folder / "rival.onnx", frames, method, RIVAL_OPERATORS[label])
            name = f"onnxruntime quantize_static {method}, {label}"
            try:
                score(name, made)
            except (BackendError, Fail) as error:
                figures["int8"][name] = {"does_not_run": str(error).strip()}
    return figures


def main() -> None:
    """Compare on one labelled split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    labelled_arguments(parser)
    parser.add_argument("--policy", nargs="*", choices=list(POLICIES), default=list(POLICIES))
    parser.add_argument("--rounding", nargs="*", choices=ROUNDING_NAMES, default=("nearest",))
    parser.add_argument("--rival", nargs="*", choices=RIVAL_METHODS, default=RIVAL_METHODS)
    parser.add_argument(
        "--rival-operators", nargs="*", choices=list(RIVAL_OPERATORS), default=list(RIVAL_OPERATORS)
    )
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # the rival warns of each run
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options, Path(folder))
    report(figures, options.json)


if __name__ == "__main__":
    main()
