"""Load one engine with TensorRT-RTX and run it once: prints JSON with every word it logged.

``python -m benchmarks.gpu.rtx_load ENGINE``. Inputs are zeros; the outputs are not looked at.
"""

from __future__ import annotations

import json
import math
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.backends.tensorrt.engine import load_runtime
from edge_runtime.backends.tensorrt.layout import io_tensors
from edge_runtime.backends.tensorrt.memory import open_memory
from edge_runtime.errors import HypersegError


def run(path: Path, said: list[str]) -> str:
    """How far it came.

    Args:
        path: the engine file.
        said: filled with what the library logs, severity first.
    """
    trt = load_runtime("tensorrt_rtx")
    logger = _logger(trt, said)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        return "refused to load"
    context = engine.create_execution_context()
    if context is None:
        return "loaded, but gave no context"
    inputs, outputs = io_tensors(trt, engine)
    with closing(open_memory()) as memory:
        for spec in (*inputs, *outputs):
            size = math.prod(spec.shape) * np.dtype(spec.dtype).itemsize
            context.set_tensor_address(spec.name, memory.allocate(size))
        stream, done = memory.stream(), memory.event()
        if not context.execute_async_v3(stream):
            return "loaded, but did not run"
        memory.record(done, stream)
        memory.wait(done)
        del context
    return "ran"


def _logger(trt: Any, said: list[str]) -> Any:
    class Keep(trt.ILogger):  # type: ignore[misc]  # its class is known at run time only
        """Keeps everything from warnings up."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if level not in (trt.ILogger.Severity.VERBOSE, trt.ILogger.Severity.INFO):
                said.append(f"{level.name}: {' '.join(message.split())}")

    return Keep()


def main() -> int:
    """Try it and print what came of it."""
    said: list[str] = []
    try:
        outcome = run(Path(sys.argv[1]), said)
    except HypersegError as error:
        outcome = f"failed: {error}"
    print(json.dumps({"outcome": outcome, "log": said}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
