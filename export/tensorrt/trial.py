"""Does TensorRT-RTX take a graph? Parsed and built ahead of time on the CPU, and thrown away."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.tensorrt.capabilities import load, probe
from export.tensorrt.child import run_child
from export.tensorrt.options import BuildOptions
from export.tensorrt.plan import make_plan

if TYPE_CHECKING:
    import onnx

    from export.precision import Precision
    from export.tensorrt.worker import Result


@dataclass(frozen=True)
class Trial:
    """One graph and what came of it."""

    precision: str
    onnx_mb: float
    result: Result

    @property
    def accepted(self) -> bool:
        """Whether an engine was built."""
        return self.result.engine_bytes is not None


def try_graph(
    graph: onnx.ModelProto, precision: Precision, targets: tuple[str, ...] = ("8.6",)
) -> Trial:
    """Parse and build a graph with TensorRT-RTX; no GPU is needed and nothing is executed.

    Args:
        graph: of that precision in its own types.
        precision: what it is.
        targets: compute capabilities to build for.

    Raises:
        DependencyError: TensorRT-RTX is not installed.
        BackendError: the builder crashed, was killed, or failed.
    """
    with tempfile.TemporaryDirectory(prefix="hyperseg-trial-") as name:
        folder = Path(name)
        source = folder / "graph.onnx"
        source.write_bytes(graph.SerializeToString())
        options = BuildOptions(source, precision, "tensorrt_rtx", targets=targets)
        can = probe(load("tensorrt_rtx"))
        plan = make_plan(options, source, precision, can, None, folder)
        result = run_child(plan, folder, folder / "plan")
        return Trial(precision, source.stat().st_size / 1e6, result)
