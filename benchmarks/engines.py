"""Does TensorRT-RTX take every preset's deployment graph? Build time and size, on the CPU.

The engines are parsed and built ahead of time for one compute capability and never executed: this
says nothing about TensorRT or a Jetson. Weights are random, which changes neither operators nor
shapes. The INT8 graphs have ranges of one frame.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.forms import calibrated
from benchmarks.graphs import one_frame_ranges, quantised
from benchmarks.paired import report
from edge_runtime.errors import HypersegError
from export.fp16 import prepared, to_fp16
from export.fp16_policy import out_of_range
from export.tensorrt.trial import try_graph
from export.to_onnx import to_onnx
from training.presets import PRESETS, preset

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx


def graphs(name: str) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The preset's FP32, FP16 and Q/DQ graphs at its training size."""
    config = preset(name)
    exact = to_onnx(calibrated(name), config.train_size, "mask")
    yield "fp32", exact
    source = prepared(exact)
    found = one_frame_ranges(source, config, config.train_size)
    yield "fp16", to_fp16(source, out_of_range(source, found))
    yield "int8", quantised(exact, found, "trt-gpu")


def row(precision: str, graph: onnx.ModelProto) -> dict[str, Any]:
    """One engine's figures, or why there is none."""
    start = time.perf_counter()
    try:
        trial = try_graph(graph, precision)  # type: ignore[arg-type]
    except HypersegError as error:
        return {"accepted": False, "why": str(error)}
    result = trial.result
    return {
        "accepted": trial.accepted,
        "why": [refusal.text for refusal in result.refusals],
        "nodes": len(graph.graph.node),
        "onnx_mb": round(trial.onnx_mb, 1),
        "engine_mb": round((result.engine_bytes or 0) / 1e6, 1),
        "parse_s": round(result.parse_s, 2),
        "build_s": round(result.build_s or 0.0, 2),
        "with_process_s": round(time.perf_counter() - start, 2),
        "layers": result.layers,
        "warnings": [text for severity, text in result.messages if severity == "WARNING"],
    }


def main() -> None:
    """Build them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="*", default=list(PRESETS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    import tensorrt_rtx

    found: dict[str, Any] = {
        "tensorrt_rtx": tensorrt_rtx.__version__,
        "label": "parsed and built ahead of time on the CPU for 8.6; never executed",
    }
    for name in options.presets:
        for precision, graph in graphs(name):
            found[f"{name} {precision}"] = figures = row(precision, graph)
            verdict = "accepted" if figures["accepted"] else figures["why"]
            print(name, precision, verdict, file=sys.stderr, flush=True)
    report(found, options.json)


if __name__ == "__main__":
    main()
