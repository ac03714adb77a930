r"""What the generated decoder weights are worth: one encoder under several heads, trained alike.

Each preset gets the same data, the same options and the same number of steps; the run folders
stay, and a run that is there already, or was interrupted, is continued. Then all are exported,
scored on one split in float and in INT8 by the same ONNX Runtime, and timed by turns.

    python -m benchmarks.heads edge-n edge-n+fpn=64 edge-n+static --data camvid:DIR --split val \
        --size 384x512 --runs runs/heads --json F.json -- --steps 1000 --precision bf16
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import onnx

from benchmarks.int8 import session
from benchmarks.int8_accuracy import EveryNth
from benchmarks.paired import interleaved, ratio, report, summary
from calibration.calibrate import calibrate
from calibration.judge import Runner, judge
from calibration.labelled import open_labelled
from calibration.options import CalibrateOptions
from calibration.samples import SampleOptions
from edge_runtime.allocator import keep_freed_memory
from edge_runtime.artifacts import read_manifest
from edge_runtime.sizes import parse_size
from export.export import export
from export.options import ExportOptions
from export.probe_frames import probe_frames


def train(preset: str, data: str, run: Path, options: list[str]) -> Path:
    """The checkpoint of a run to its end, begun or continued."""
    command = [sys.executable, "-m", "edge_runtime.cli", "train", "--resume", "auto"]
    command += ["--preset", preset, "--data", data, "--run", str(run), *options]
    subprocess.run(command, check=True)
    return run / "checkpoint.safetensors"


def score(model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The mIoU in float and with everything that ``policy`` allows in INT8."""
    made = model.with_suffix(".int8.onnx")
    manifest = read_manifest(model, kind="onnx")
    data = open_labelled(options.data, options.split, manifest.input_size)
    samples = SampleOptions(options.data, options.samples)
    how = CalibrateOptions(made, samples, policy=options.policy, threads=options.threads)
    facts = calibrate(model, how).report
    fp32, int8 = (Runner(onnx.load_model(path), options.threads) for path in (model, made))
    verdict = judge(fp32, int8, EveryNth(data, options.every), manifest)
    return {
        "parameters": manifest.parameters,
        "macs": manifest.macs,
        "miou": verdict.fp32.miou,
        "iou": verdict.fp32.iou,
        "int8_miou": verdict.int8.miou,
        "int8_drop_points": verdict.drop,
        "int8_macs_share": facts["macs_share_int8"],
    }


def take_turns(paths: list[Path], options: argparse.Namespace) -> list[list[float]]:
    """Milliseconds of each model, round by round, on one frame."""
    sessions = [session(path, options.threads) for path in paths]
    source = sessions[0].get_inputs()[0]
    frame = probe_frames(tuple(source.shape[1:3]), 1, (0.5,) * 3, (0.3,) * 3)[0][None]
    return interleaved(
        [partial(s.run, None, {source.name: frame}) for s in sessions], options.rounds
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every preset's figures; times are compared with the first one's."""
    models = {}
    for preset in options.presets:
        run = options.runs / preset
        run.mkdir(parents=True, exist_ok=True)
        models[preset] = run / "model.onnx"
        checkpoint = train(preset, options.data, run, options.train)
        export(checkpoint, ExportOptions(models[preset], name=preset, size=options.size))
    figures = {preset: score(model, options) for preset, model in models.items()}
    for kind, suffix in (("ms", ".onnx"), ("int8_ms", ".int8.onnx")):
        times = take_turns([m.with_suffix(suffix) for m in models.values()], options)
        for preset, found in zip(models, times, strict=True):
            figures[preset] |= {kind: summary(found), f"{kind}_over_first": ratio(found, times[0])}
    return {"data": options.data.partition(":")[0], "split": options.split, "presets": figures}


def main() -> None:
    """Train, score and time the presets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--data", required=True, help="camvid:DIR")
    parser.add_argument("--split", default="val")
    parser.add_argument(
        "--size",
        type=parse_size,
        required=True,
        help="HxW of all models: times and scores of different sizes say nothing",
    )
    parser.add_argument("--every", type=int, default=1, help="score each n-th image only")
    parser.add_argument("--runs", type=Path, default=Path("runs/heads"))
    parser.add_argument("--policy", default="trt-gpu")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:cut])
    options.train = given[cut + 1 :]
    keep_freed_memory()
    report(measure(options), options.json)


if __name__ == "__main__":
    main()
