"""How cost grows with resolution, classes, patch grid and cameras, and whether estimates see it.

Every variant of one network runs by turns with the network itself, in ONNX Runtime as FP32. Two
laws are fitted: time = a + b x, over multiply-accumulates and over pixels; and the roofline of
`hyperseg estimate`, whose device is this processor, its two peaks found on the sizes alone. How far
that is off on sizes, classes and grids is the error of the estimate's form, not of its peaks.

Cameras are measured through the whole runtime, each with colour bars that wait for nobody.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.forms import calibrated
from benchmarks.graphs import write_model
from benchmarks.models import runner
from benchmarks.paired import interleaved, ratio, report, summary
from benchmarks.scaling_fits import fits, roofline_errors
from edge_runtime import RigOptions, RunOptions, run_many
from edge_runtime.allocator import keep_freed_memory
from edge_runtime.artifacts import read_manifest
from edge_runtime.sizes import parse_size
from edge_runtime.soak.accelerate import accelerated
from export.estimate.trace import trace
from export.to_onnx import to_onnx
from training.presets import preset

if TYPE_CHECKING:
    from export.estimate.trace import Operator
    from training.model.config import HyperSegConfig

BASE = "base"
STRIDE = 32
"""Of the map that has one set of weights in each of its pixels, if no grid is given."""
SCALES = (0.5, 0.75, 1.5, 2.0)
CLASSES = (2, 64, 150)
GRIDS = (1, 2, 4, 8)
CAMERAS = (1, 2, 4)
QUICK_SCALES, QUICK_CLASSES, QUICK_GRIDS, QUICK_CAMERAS = (0.5, 2.0), (64,), (1, 8), (1, 2)
CAMERA_FRAMES = 60
"""Of each camera in a round."""


@dataclass(frozen=True)
class Variant:
    """One network at one size."""

    axis: str
    value: str
    config: HyperSegConfig
    size: tuple[int, int]

    @property
    def name(self) -> str:
        """Axis and value."""
        return self.axis if self.axis == BASE else f"{self.axis} {self.value}"

    @property
    def operators(self) -> tuple[Operator, ...]:
        """As `hyperseg estimate` counts them."""
        return trace(self.config, self.size)

    @property
    def gmacs(self) -> float:
        """10^9 multiply-accumulates."""
        return sum(one.macs for one in self.operators) * 1e-9

    @property
    def patches(self) -> int:
        """That have weights of their own."""
        grid = self.config.decoder.patch_grid
        if grid is not None:
            return grid * grid
        return (self.size[0] // STRIDE) * (self.size[1] // STRIDE)

    @property
    def megapixels(self) -> float:
        """10^6 pixels of the picture."""
        return self.size[0] * self.size[1] * 1e-6


def variants(name: str, size: tuple[int, int], *, quick: bool) -> list[Variant]:
    """The network itself, and what differs from it in one thing."""
    config = preset(name)
    scales, classes, grids = (
        (QUICK_SCALES, QUICK_CLASSES, QUICK_GRIDS) if quick else (SCALES, CLASSES, GRIDS)
    )
    found = [Variant(BASE, "", config, size)]
    for scale in scales:
        step = config.size_multiple
        height, width = (max(round(edge * scale / step), 1) * step for edge in size)
        found.append(Variant("resolution", f"{height}x{width}", config, (height, width)))
    for count in classes:
        other = replace(config, num_classes=count, labels="")
        found.append(Variant("classes", str(count), other, size))
    for grid in grids:
        decoder = replace(config.decoder, patch_grid=grid)
        found.append(Variant("grid", f"{grid}x{grid}", replace(config, decoder=decoder), size))
    return found


def write(variant: Variant, folder: Path) -> Path:
    """The deployment graph of a variant with random weights, as an artefact."""
    side = max(128, STRIDE * (variant.config.decoder.patch_grid or 1))
    graph = to_onnx(calibrated(variant.config, side), variant.size, "mask")
    path = folder / f"{variant.name.replace(' ', '-')}.onnx"
    return write_model(graph, path, variant.config, variant.name)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All variants by turns, then the cameras, and what the figures follow."""
    chosen = variants(options.preset, parse_size(options.size), quick=options.quick)
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        paths = []
        for one in chosen:
            print(f"exporting {one.name}", file=sys.stderr, flush=True)
            paths.append(write(one, Path(place)))
        calls = [runner(path, read_manifest(path), options.threads, stack) for path in paths]
        times = interleaved(calls, options.rounds)
        cameras = measure_cameras(paths[0], options)
    points: dict[str, dict[str, Any]] = {
        one.name: {
            "axis": one.axis,
            "gmacs": one.gmacs,
            "megapixels": one.megapixels,
            "classes": one.config.num_classes,
            "patches": one.patches,
            "milliseconds": summary(found),
            "over_base": ratio(found, times[0]),
        }
        for one, found in zip(chosen, times, strict=True)
    }
    medians = [point["milliseconds"]["median"] for point in points.values()]
    return {
        "preset": options.preset,
        "threads": options.threads,
        "points": {**points, **cameras},
        "fits": fits({**points, **cameras}),
        "estimate": roofline_errors(chosen, medians),
    }


def measure_cameras(model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds for one picture of each camera, for several numbers of cameras by turns."""
    counts = QUICK_CAMERAS if options.quick else CAMERAS
    rounds = 2 if options.quick else 4
    times: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            times[count].append(set_ms(model, count, options.threads))
    return {
        f"cameras {count}": {
            "axis": "cameras",
            "cameras": count,
            "milliseconds": summary(found),
            "over_base": ratio(found, times[counts[0]]),
        }
        for count, found in times.items()
    }


def set_ms(model: Path, cameras: int, threads: int) -> float:
    """Milliseconds of the whole runtime for one picture of each camera, without the first."""
    source = accelerated(f"test:bars?size=360x640&frames={CAMERA_FRAMES}")
    stamps: list[int] = []
    run_many(
        model,
        {f"camera{number}": source for number in range(cameras)},
        RigOptions(RunOptions(policy="every", quiet=True, threads=threads)),
        on_result=lambda camera, result: stamps.append(time.monotonic_ns()),
    )
    rest = stamps[cameras - 1 :]
    return (rest[-1] - rest[0]) * 1e-6 / (CAMERA_FRAMES - 1)


def print_points(figures: dict[str, Any]) -> None:
    """The short table, on stderr: the JSON is on stdout."""
    console = Console(stderr=True)
    table = Table("variant", title=f"{figures['preset']}, {figures['threads']} thread(s)")
    for column in ("GMAC", "ms", "by base"):
        table.add_column(column, justify="right")
    for name, point in figures["points"].items():
        gmacs = point.get("gmacs")
        table.add_row(
            name,
            "" if gmacs is None else f"{gmacs:.2f}",
            f"{point['milliseconds']['median']:.1f}",
            f"{point['over_base']['median']:.2f}",
        )
    console.print(table)
    for name, fit in figures["fits"].items():
        console.print(
            f"ms = {fit['a_ms']:.2f} + {fit['b_ms']:.2f} {fit['x']} ({name}): "
            f"off by {fit['largest_error']:.0%} at most",
            highlight=False,
        )
    found = figures["estimate"]
    console.print(
        f"the estimate's form, {found['gmacs_a_second']:.0f} GMAC/s and "
        f"{found['gigabytes_a_second']:.0f} GB/s: off by {found['largest_error_fitted']:.0%} at "
        f"most on the sizes, {found['largest_error_held_out']:.0%} on classes and grids",
        highlight=False,
    )


def main() -> None:
    """Measure one preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="edge-n")
    parser.add_argument("--size", default="256x512", help="of the network itself, HxW")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="fewer variants")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    keep_freed_memory()
    figures = measure(options)
    print_points(figures)
    report(figures, options.json)


if __name__ == "__main__":
    main()
