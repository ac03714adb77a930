"""Training on CamVid in runs of some minutes that stop, travel and go on exactly.

Each preset and seed is a run of ``hyperseg train`` with bf16 autocast and a compiled network (maps
are channels-last anyway). A run that is there is continued. Weights of the best step are written as
float16 in pieces, with the curve and the IoU of every class.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.account import OutOfTimeError, arguments, conduct
from benchmarks.gpu.travel import PIECE_MB, bytes_of, split
from benchmarks.gpu.verbs import DRY_TRAINING, hyperseg, records, small_street
from edge_runtime.errors import OptionError
from training.state import holds_run, load_state

if TYPE_CHECKING:
    from benchmarks.gpu.account import Account

MARGIN_S = 45.0
"""Kept of the time for validating, saving and writing weights."""
TRAVELS = ("state.pt", "checkpoint.safetensors", "last.safetensors", "log.jsonl")


def train(options: argparse.Namespace, account: Account, run: Path, preset: str, seed: int) -> None:
    """Begin or continue one run until it is finished or its time is over."""
    run.mkdir(parents=True, exist_ok=True)
    command = ["train", "--resume", "auto", "--run", str(run), "--data", options.data]
    command += ["--seed", str(seed)]
    if account.dry:
        command += [*DRY_TRAINING, "--steps", "2", "--minutes", "2"]
    else:
        minutes = min(options.each, (account.seconds_left - MARGIN_S) / 60)
        if minutes <= 0:
            raise OutOfTimeError
        command += ["--preset", preset, "--device", "cuda", "--precision", options.precision]
        command += ["--workers", str(options.workers), "--minutes", f"{minutes:.2f}"]
        command += ["--compile"] if options.compile else []
    hyperseg(account, *command, *options.train)


def described(run: Path) -> dict[str, Any]:
    """What a run has come to: speed, curve, best classes, and the size of what must travel."""
    state = load_state(run)
    trained, scored = records(run, "train"), records(run, "val")
    best = max(scored, key=lambda record: float(record["miou"]), default={})
    speeds = [record["images_per_s"] for record in trained[1:] or trained]
    return {
        "step": state.step,
        "steps": state.options["steps"],
        "seconds": round(state.seconds, 1),
        "images_per_s": round(statistics.median(speeds), 1) if speeds else None,
        "waiting_for_data": round(statistics.mean(r["wait"] for r in trained), 3)
        if trained
        else None,
        "best": best,
        "curve": [{"step": r["step"], "miou": r["miou"]} for r in scored],
        "loss": [{"step": r["step"], "loss": r["loss"]} for r in trained],
        "to_continue_bytes": {n: bytes_of(run / n) for n in TRAVELS if (run / n).exists()},
    }


def pack(run: Path, folder: Path) -> dict[str, int]:
    """Write the best weights as float16 safetensors, in pieces; bytes by file."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(run / "checkpoint.safetensors")
    small = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    if not all(bool(torch.isfinite(value).all()) for value in small.values()):
        raise OptionError(f"a weight of {run} is beyond float16; bring the checkpoint as it is")
    with tempfile.TemporaryDirectory() as aside:
        whole = Path(aside) / f"{run.name}.fp16.safetensors"
        save_file(small, whole)
        written = split(whole, folder, int(PIECE_MB * 1e6))
    manifest = run / "checkpoint.safetensors.json"
    (folder / f"{run.name}.json").write_bytes(manifest.read_bytes())
    return {path.name: path.stat().st_size for path in written}


def measure(options: argparse.Namespace, account: Account) -> None:
    """Every preset with every seed."""
    with tempfile.TemporaryDirectory() as aside:
        if account.dry:
            options.data, options.runs = small_street(Path(aside) / "street"), Path(aside) / "runs"
            options.presets, options.seeds = ["street-n"], [0]
        if options.data is None:
            raise OptionError("give --data, such as camvid:DIR")
        source = Path(options.data.partition(":")[2])
        account.row("travels", options.data, bytes=bytes_of(source))
        for seed in options.seeds:
            for preset in options.presets:
                account.check_time()
                run = options.runs / f"{preset}-seed{seed}"
                try:
                    train(options, account, run, preset, seed)
                finally:  # a run that was cut off has figures too
                    _keep(account, run)


def _keep(account: Account, run: Path) -> None:
    if not holds_run(run):
        return
    row = described(run)
    if (run / "checkpoint.safetensors").is_file():
        row["float16_bytes"] = pack(run, run / "packed")
    account.row("runs", run.name, **row)


def main() -> int:
    """Train until the minutes are over."""
    parser = arguments(__doc__, 9)
    parser.add_argument("presets", nargs="*", default=["edge-s", "edge-n", "camvid-s", "camvid-l"])
    parser.add_argument("--data", metavar="camvid:DIR")
    parser.add_argument("--runs", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--each", type=float, default=8.0, help="minutes of a run at most")
    parser.add_argument("--precision", default="bf16", choices=["bf16", "fp32", "fp16"])
    parser.add_argument("--workers", type=int, default=max((os.cpu_count() or 2) - 2, 1))
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:cut])
    options.train = given[cut + 1 :]
    return conduct("training", options, measure)


if __name__ == "__main__":
    sys.exit(main())
