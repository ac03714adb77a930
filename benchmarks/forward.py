"""One network, several engines, the same frame by turns: PyTorch eager, ONNX Runtime FP32 and INT8.

PyTorch runs the network as it is trained, ONNX Runtime its deployment form, of which the INT8 graph
is quantised for this CPU. All take a uint8 frame and give a uint8 mask, upsampling and argmax
included; weights are random with calibrated batch norms, ranges those of one frame. Peak memory is
that of a process of its own with nothing but that engine and network; PyTorch's also holds what
builds the network.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.forms import ReferenceForm, calibrated
from benchmarks.graphs import ort_int8, write_model
from benchmarks.models import runner
from benchmarks.paired import interleaved, ratio, report, summary
from edge_runtime.allocator import keep_freed_memory
from edge_runtime.artifacts import read_manifest
from edge_runtime.bench.memory import INFERENCES, model_peak_mb, peak_mb
from edge_runtime.engines.gpu import query_gpu
from edge_runtime.sizes import parse_size
from export.to_onnx import to_onnx

TORCH, FP32, INT8 = "torch_eager", "onnxruntime_fp32", "onnxruntime_int8"
ENGINE = "tensorrt_engine"


class Subject:
    """A preset at a size.

    Args:
        text: ``PRESET`` or ``PRESET@HxW``.
    """

    def __init__(self, text: str) -> None:
        name, _, size = text.partition("@")
        self.net = calibrated(name)
        self.size = parse_size(size) if size else self.net.config.train_size
        self.form = ReferenceForm(self.net).eval()

    @property
    def frame(self) -> torch.Tensor:
        """(1, H, W, 3) uint8 noise."""
        noise = np.random.default_rng(0).integers(0, 256, (1, *self.size, 3), np.uint8)
        return torch.from_numpy(noise)


def measure(text: str, rounds: int, threads: int) -> dict[str, Any]:
    """One preset on all engines that are here."""
    subject = Subject(text)
    frame = subject.frame
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        exact = to_onnx(subject.net, subject.size, "mask")
        graphs = {FP32: exact, INT8: ort_int8(exact, subject.net.config, subject.size)}
        paths = {
            name: write_model(graph, Path(place) / f"{name}.onnx", subject.net.config, text)
            for name, graph in graphs.items()
        }
        calls = [runner(path, read_manifest(path), threads, stack) for path in paths.values()]
        with torch.inference_mode():
            times = interleaved([lambda: subject.form(frame), *calls], rounds)
        peaks = {name: model_peak_mb(path, threads=threads) for name, path in paths.items()}
    names = [TORCH, FP32, INT8]
    gpu = query_gpu()
    return {
        "size": list(subject.size),
        "threads": threads,
        "milliseconds": {name: summary(found) for name, found in zip(names, times, strict=True)},
        "over_first": {
            name: ratio(found, times[0]) for name, found in zip(names[1:], times[1:], strict=True)
        },
        "peak_mb": {TORCH: torch_peak_mb(text, threads), **peaks},
        "not_measured": {
            ENGINE: "no GPU" if gpu is None else "on a GPU: python -m benchmarks.gpu --only rtx"
        },
    }


def torch_peak_mb(text: str, threads: int) -> float:
    """Peak memory of PyTorch with this network alone, in MB."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.forward", text, "--alone", "--threads", str(threads)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return float(done.stdout)


def run_alone(text: str) -> None:
    """A few inferences in PyTorch, and the memory that this process had at most."""
    subject = Subject(text)
    with torch.inference_mode():
        for _ in range(INFERENCES):
            subject.form(subject.frame)
    print(f"{peak_mb():.1f}")


def main() -> None:
    """Measure presets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="+", metavar="PRESET[@HxW]")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--alone", action="store_true", help="tell PyTorch's peak memory only")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    if options.alone:
        run_alone(options.presets[0])
        return
    report(
        {text: measure(text, options.rounds, options.threads) for text in options.presets},
        options.json,
    )


if __name__ == "__main__":
    main()
