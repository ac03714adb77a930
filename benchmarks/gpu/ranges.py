"""Calibration ranges computed on CUDA against those of ONNX Runtime on the CPU.

The same frames pass through the same graph: once by `calibration.ranges.collect`, once by torch on
the GPU with the histogram made there. Ranges of every method are compared; TF32 is off.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch

from benchmarks.gpu.account import arguments, conduct
from benchmarks.gpu.clock import numerics
from benchmarks.gpu.onnx_torch import TorchGraph
from calibration.histogram import BINS, TensorStatistics
from calibration.methods import METHODS, choose_ranges
from calibration.policy import POLICIES, place
from calibration.qdq import strip
from calibration.ranges import collect
from calibration.samples import SampleOptions, gather
from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import ArtifactError
from edge_runtime.stored_weights import unpack_weights
from edge_runtime.zoo import resolve_model

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.gpu.account import Account
    from calibration.frames import FrameSet

DRY_FRAMES = 2
TOLERANCE = 1e-4
"""Float tolerance of a largest magnitude, relative."""


class DeviceStatistics:
    """`calibration.histogram.TensorStatistics` of one tensor, counted on the tensor's device."""

    def __init__(self) -> None:
        self.host = TensorStatistics()

    def add(self, values: Tensor) -> None:
        """Take in one frame's values, of any shape.

        Raises:
            ArtifactError: NaN or infinity.
        """
        flat = values.reshape(-1).float()
        low, high = (float(value) for value in torch.stack(torch.aminmax(flat)).tolist())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ArtifactError("a tensor holds NaN or infinity")
        amax = max(-low, high)
        # Its extremes alone set the range, the averages and the counts of frames.
        ends = TensorStatistics.add
        kept = self.host.counts
        self.host.counts = np.zeros_like(kept)
        before = self.host.exponent
        ends(self.host, np.array([low, high], np.float32))
        grown = self.host.exponent - before
        self.host.counts = _widened(kept, grown)
        if amax == 0.0:
            self.host.counts[0] += flat.numel()
            return
        factor = BINS * math.ldexp(1.0, -self.host.exponent)
        bins = (flat.abs() * np.float32(factor).item()).to(torch.int64)
        self.host.counts += torch.bincount(bins, minlength=BINS).cpu().numpy()


def _widened(counts: np.ndarray[Any, Any], doublings: int) -> np.ndarray[Any, Any]:
    """The same values in bins that are 2 ** `doublings` as wide."""
    for _ in range(min(doublings, BINS.bit_length())):
        merged = counts[0::2] + counts[1::2]
        counts = np.concatenate((merged, np.zeros_like(merged)))
    return counts


def collect_on(
    device: torch.device, model: onnx.ModelProto, names: list[str], frames: FrameSet
) -> tuple[dict[str, TensorStatistics], float]:
    """Statistics of the named tensors, and the seconds it took."""
    graph = TorchGraph(model, device)
    found = {name: DeviceStatistics() for name in names}
    began = time.perf_counter()
    with torch.inference_mode():
        for index in range(len(frames)):
            _, frame = frames.read(index)
            for name, values in graph.run(frame, names).items():
                found[name].add(values)
    return {name: one.host for name, one in found.items()}, time.perf_counter() - began


def measure(options: argparse.Namespace, account: Account) -> None:
    """Both ways on the same frames, then the GPU alone on many."""
    path = resolve_model(options.model)
    manifest = read_manifest(path, kind="onnx")
    model = strip(unpack_weights(onnx.load_model(path)))
    placement = place(model, POLICIES[options.policy])
    names = [tensor.name for tensor in placement.tensors]
    few, many = (DRY_FRAMES, 0) if account.dry else (options.compared, options.samples)
    with tempfile.TemporaryDirectory() as aside, numerics("fp32"):
        frames = gather(SampleOptions(options.frames, few), manifest, Path(aside) / "few")
        ours, seconds = collect_on(account.device, model, names, frames)
        began = time.perf_counter()
        theirs = collect(model, names, frames, threads=options.threads).tensors
        cpu_seconds = time.perf_counter() - began
        account.row(
            "time", f"{len(frames)} images", cuda_s=seconds, onnxruntime_cpu_s=cpu_seconds,
            tensors=len(names), onnxruntime_threads=options.threads,
        )  # fmt: skip
        for method in METHODS:
            account.row(
                "ranges", method,
                **compared(*(choose_ranges(placement, s, method) for s in (ours, theirs))),
            )  # fmt: skip
        if many:
            account.check_time()
            frames = gather(SampleOptions(options.frames, many), manifest, Path(aside) / "many")
            _, seconds = collect_on(account.device, model, names, frames)
            account.row("time", f"{len(frames)} images, CUDA alone", cuda_s=seconds)


def compared(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, Any]:
    """How far the ranges of all tensors are from each other, relative."""
    apart = {name: abs(ours[name] - value) / value for name, value in theirs.items()}
    worst = max(apart, key=lambda name: apart[name])
    return {
        "tensors": len(apart),
        "within_tolerance": sum(value <= TOLERANCE for value in apart.values()),
        "tolerance": TOLERANCE,
        "worst_relative": apart[worst],
        "worst_tensor": worst,
    }


def main() -> int:
    """Compare on one model."""
    parser = arguments(__doc__, 6)
    parser.add_argument("model", nargs="?", default="street-edge-n", help="FP32 model")
    parser.add_argument("--frames", default="street:", help="what to calibrate on")
    parser.add_argument("--compared", type=int, default=32, help="images of the comparison")
    parser.add_argument("--samples", type=int, default=512, help="images of the time on CUDA")
    parser.add_argument("--policy", default="trt-gpu", choices=list(POLICIES))
    parser.add_argument("--threads", type=int, help="of ONNX Runtime")
    return conduct("ranges", parser.parse_args(), measure)


if __name__ == "__main__":
    sys.exit(main())
