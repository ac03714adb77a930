"""Two processes on one GPU against one process: the same data, the same loss curve.

Both train in fp32 without TF32, from the same weights, on the same batches; the two exchange
gradients through gloo, and share batch norm statistics. What is left is the order of sums.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.account import arguments, conduct
from benchmarks.gpu.verbs import DRY_TRAINING, PROGRAM, call, records, small_street
from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from benchmarks.gpu.account import Account

LAUNCH = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
          "--no-python", "--")  # fmt: skip
EXACT = {"NVIDIA_TF32_OVERRIDE": "0", "GLOO_SOCKET_IFNAME": "lo"}


def measure(options: argparse.Namespace, account: Account) -> None:
    """Train both ways and lay the curves beside each other."""
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        if account.dry:
            data = small_street(folder / "street")
            how = [*DRY_TRAINING, "--steps", "3", "--batch", "4"]
        else:
            if options.data is None:
                raise OptionError("give --data, such as camvid:DIR")
            data = options.data
            how = ["--preset", options.preset, "--batch", str(options.batch), "--log-every", "1",
                   "--device", "cuda:0", "--steps", str(options.steps),
                   "--encoder-weights", "none"]  # fmt: skip
        command = [*PROGRAM, "train", "--data", data, *how, "--precision", "fp32"]
        command += ["--validate-every", "1000000", "--save-every", "1000000"]
        curves = {}
        for name, launch in (("one process", ()), ("two processes", LAUNCH)):
            account.check_time()
            run = folder / name.replace(" ", "-")
            call(account, [*launch, *command, "--run", str(run)], EXACT)
            curves[name] = [record["loss"] for record in records(run, "train")]
            speeds = [record["images_per_s"] for record in records(run, "train")]
            scored = [record["miou"] for record in records(run, "val")]
            account.row("runs", name, loss=curves[name], images_per_s=speeds, miou=scored)
        account.row("curves", "two against one", **apart(*curves.values()))


def apart(one: list[float], two: list[float]) -> dict[str, Any]:
    """How far two loss curves are from each other, relative, first and worst.

    Raises:
        OptionError: they are of different length.
    """
    if len(one) != len(two) or not one:
        raise OptionError(f"curves of {len(one)} and {len(two)} steps cannot be compared")
    differences = [abs(b - a) / abs(a) for a, b in zip(one, two, strict=True)]
    return {"steps": len(one), "first": differences[0], "worst": max(differences)}


def main() -> int:
    """Compare on one preset."""
    parser = arguments(__doc__, 6)
    parser.add_argument("--data", metavar="camvid:DIR")
    parser.add_argument("--preset", default="edge-n")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=60)
    return conduct("processes", parser.parse_args(), measure)


if __name__ == "__main__":
    sys.exit(main())
