"""TensorRT-RTX on this GPU, which it may not support: what it says, or parity and latency.

First the whole of ``hyperseg selftest`` (engines of FP32, FP16 and INT8, built here, compared with
the ONNX model, timed by trtexec's definitions). Then engines built ahead of time for stated compute
capabilities are given to TensorRT-RTX itself, each in a process of its own, and every word it logs
is kept. A result of TensorRT-RTX is none of TensorRT.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.gpu.account import arguments, conduct
from edge_runtime.errors import DependencyError, HypersegError
from edge_runtime.zoo import resolve_model

if TYPE_CHECKING:
    from benchmarks.gpu.account import Account

RUNTIME: Literal["tensorrt_rtx"] = "tensorrt_rtx"
SUPPORTED = "8.6"
"""A compute capability that every TensorRT-RTX builds for."""
LOAD_LIMIT_S = 300
KEPT = 4000
"""Characters of a process's last words."""


def selftest(options: argparse.Namespace, account: Account) -> None:
    """The owner's own test, with the runtime named; each of its steps becomes a row."""
    with tempfile.TemporaryDirectory() as aside:
        told = Path(aside) / "selftest.json"
        command = [sys.executable, "-m", "edge_runtime.cli", "selftest", options.model]
        command += ["--runtime", RUNTIME, "-o", str(told), "--duration", f"{options.duration}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False,
                timeout=max(account.seconds_left, 1),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            account.skip("selftest", "whole", "did not end in the time that was left")
            return
        if not told.exists():
            account.skip("selftest", "whole", done.stderr.strip()[-KEPT:] or f"{done.returncode}")
            return
        found = json.loads(told.read_bytes())
    for entry in found["entries"]:
        name = f"{entry['step']} {entry['what']}"
        if entry["status"] == "done":
            account.row("selftest", name, **entry["result"])
        else:
            account.skip("selftest", name, f"{entry['status']}: {entry['reason']}")
    if "parity" in found:
        account.row("selftest", "parity, in full", **found["parity"])


def ahead_of_time(options: argparse.Namespace, account: Account) -> None:
    """An engine a target, built by our own adapter and loaded by TensorRT-RTX directly."""
    from export.tensorrt.build import build, prepare
    from export.tensorrt.options import BuildOptions

    own = [account.facts["gpu"]["compute_capability"]] if account.facts["gpu"] else []
    for target in options.targets or dict.fromkeys([*own, SUPPORTED]):
        account.check_time()
        name = f"compute capability {target}"
        with tempfile.TemporaryDirectory() as aside:
            wanted = BuildOptions(
                model=resolve_model(options.model), precision="fp16", runtime=RUNTIME,
                targets=(target,), output=Path(aside) / "ahead.engine",
            )  # fmt: skip
            try:
                built = build(prepare(wanted))
            except HypersegError as error:
                account.skip("ahead of time", name, f"not built: {error}")
                continue
            size = built.path.stat().st_size
            account.row("ahead of time", name, engine_bytes=size, **load_alone(built.path))


def load_alone(engine: Path) -> dict[str, Any]:
    """What TensorRT-RTX makes of an engine file, in a process that may crash."""
    command = [sys.executable, "-m", "benchmarks.gpu.rtx_load", str(engine)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LOAD_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"exit_code": None, "said": f"did not end within {LOAD_LIMIT_S} s"}
    lines = done.stdout.strip().splitlines()
    try:
        told: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    except ValueError:  # it died while speaking
        told = {"stdout": done.stdout[-KEPT:]}
    return {"exit_code": done.returncode, "said": done.stderr[-KEPT:], **told}


def measure(options: argparse.Namespace, account: Account) -> None:
    """Try everything, and keep the words of every refusal."""
    from export.tensorrt.capabilities import load

    try:
        version = str(load(RUNTIME).__version__)
    except DependencyError as error:
        account.skip("runtime", RUNTIME, str(error))
        return
    gpu = account.facts["gpu"] or {}
    account.row(
        "runtime", RUNTIME, version=version, compute_capability=gpu.get("compute_capability")
    )
    ahead_of_time(options, account)
    account.check_time()
    if account.dry:
        account.skip("selftest", "whole", "left out of a dry run: it takes minutes on a CPU")
        return
    selftest(options, account)


def main() -> int:
    """Try one model."""
    parser = arguments(__doc__, 9)
    parser.add_argument("model", nargs="?", default="street-edge-n", help="FP32 model to build")
    parser.add_argument("--duration", type=float, default=3.0, help="seconds of each latency")
    parser.add_argument(
        "--targets", nargs="+", default=[], metavar="CC",
        help="compute capabilities to build for ahead of time  [default: this GPU's, and 8.6]",
    )  # fmt: skip
    return conduct("rtx", parser.parse_args(), measure)


if __name__ == "__main__":
    sys.exit(main())
