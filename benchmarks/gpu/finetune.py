"""Quantisation-aware fine-tuning of an edge model on CUDA: INT8 mIoU before and after, per class.

Export, calibrate and score; train on with the INT8 rounding of that calibration; export again and
score with the ranges that were learned. INT8 is computed and scored by ONNX Runtime on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.account import arguments, conduct
from benchmarks.gpu.verbs import DRY_TRAINING, hyperseg, records, small_street
from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from benchmarks.gpu.account import Account

NO_GATE = "100"
MARGIN_S = 120.0
"""Kept of the time for the export and the score after training."""
CHECKPOINT = "checkpoint.safetensors"


def calibrated(
    account: Account, options: argparse.Namespace, checkpoint: Path, folder: Path, *more: str
) -> tuple[Path, dict[str, Any]]:
    """The report of an export's calibration, and both models' scores."""
    folder.mkdir(parents=True, exist_ok=True)
    model, report = folder / "net.onnx", folder / "report.json"
    size = ["--size", options.size] if options.size else []
    hyperseg(account, "export", str(checkpoint), "-o", str(model), *size)
    hyperseg(
        account, "calibrate", str(model), "--frames", options.data, "--samples",
        str(options.samples), "--policy", options.policy, "--data", options.data, "--split",
        options.split, "--gate", NO_GATE, "--report", str(report),
        "-o", str(folder / "int8.onnx"), *more,
    )  # fmt: skip
    accuracy = json.loads(report.read_bytes())["accuracy"]
    return report, {name: accuracy[name] for name in ("data", "fp32", "int8")}


def measure(options: argparse.Namespace, account: Account) -> None:
    """Before, training, after."""
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        if account.dry:
            options.data, options.size, options.samples = small_street(folder / "s"), "64x128", 4
            options.policy, options.split = "ort-cpu", "val"
            start = folder / "start"
            hyperseg(
                account, "train", "--data", options.data, "--run", str(start), *DRY_TRAINING,
                "--steps", "2",
            )  # fmt: skip
            options.checkpoint, preset, runs = start / CHECKPOINT, "street-n", folder
        else:
            if options.data is None or options.checkpoint is None:
                raise OptionError("give --data camvid:DIR and --checkpoint FILE.safetensors")
            preset = read_manifest(options.checkpoint, kind="checkpoint").preset or options.preset
            runs = options.runs
        run = runs / f"{preset}-qat"
        # It stays beside the run, which goes on only with the report that it began with.
        report, before = calibrated(account, options, options.checkpoint, run / "before")
        account.row("int8", "before", **before)
        _train(account, options, preset, report, run)
        trained = records(run, "train")
        account.row(
            "training", preset, steps=trained[-1]["step"], curve=records(run, "val"),
            images_per_s=[record["images_per_s"] for record in trained],
        )  # fmt: skip
        ranges = run / f"{CHECKPOINT}.ranges.json"
        _, after = calibrated(
            account, options, run / CHECKPOINT, run / "after", "--ranges", str(ranges)
        )
        account.row("int8", "after", **after)


def _train(
    account: Account, options: argparse.Namespace, preset: str, report: Path, run: Path
) -> None:
    run.mkdir(parents=True, exist_ok=True)
    command = ["train", "--resume", "auto", "--run", str(run), "--data", options.data]
    command += ["--init", str(options.checkpoint), "--qat", str(report)]
    if account.dry:
        hyperseg(account, *command, *DRY_TRAINING, "--steps", "2")
        return
    minutes = max((account.seconds_left - MARGIN_S) / 60, 0.5)
    hyperseg(
        account, *command, "--preset", preset, "--device", "cuda", "--precision", "fp32",
        "--workers", str(options.workers), "--steps", str(options.steps), "--lr", str(options.lr),
        "--minutes", f"{minutes:.2f}",
    )  # fmt: skip


def main() -> int:
    """Fine-tune one checkpoint."""
    parser = arguments(__doc__, 9)
    parser.add_argument("--data", metavar="camvid:DIR")
    parser.add_argument("--checkpoint", type=Path, help="of the FP32 model, from hyperseg train")
    parser.add_argument("--preset", default="edge-s", help="if the checkpoint names none")
    parser.add_argument("--runs", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--split", default="test", help="to score on; training must not know it")
    parser.add_argument("--size", help="of the export, HxW; the checkpoint's own if not given")
    parser.add_argument("--policy", default="trt-gpu")
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--workers", type=int, default=max((os.cpu_count() or 2) - 2, 1))
    return conduct("finetune", parser.parse_args(), measure)


if __name__ == "__main__":
    sys.exit(main())
