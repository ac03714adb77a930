"""Latency of models as they are shipped, and beside it what is known of their accuracy.

Each is run as the runtime runs it, by turns with the others; its memory is that of a process of its
own. The mIoU is that of the model's card, or else of its manifest, with what it was measured on:
figures of different data say nothing of each other.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.paired import interleaved, report, summary
from edge_runtime.artifacts import read_manifest
from edge_runtime.backends.base import EngineStamps, open_backend
from edge_runtime.bench.memory import model_peak_mb
from edge_runtime.zoo import list_models, resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.artifacts import Manifest

CARD = ".md"
"""Suffix of a model card in place of the model's own."""


def miou_of(path: Path, manifest: Manifest) -> dict[str, float]:
    """mIoU, 0..1, by what it was measured on; empty if nobody wrote it down."""
    found = {one.data: one.value for one in manifest.metrics if one.name == "miou"}
    card = path.with_suffix(CARD)
    if card.is_file():
        data = manifest.labels.name
        read = miou_of_card(card.read_text(encoding="utf-8"))
        if "test" in read:  # what it was not trained on decides
            return {f"{data} test": read["test"]}
        return {f"{data} {split}": value for split, value in read.items()} or found
    return found


def miou_of_card(text: str) -> dict[str, float]:
    """mIoU, 0..1, by split, from the table of accuracies of a card of `hyperseg card`."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    head = next((row for row in rows if row[:1] == ["class"]), [])
    last = next((row for row in rows if row[:1] == ["**mIoU**"]), [])
    return {
        column.partition(",")[0]: float(value) / 100
        for column, value in zip(head[1:], last[1:], strict=False)
    }


def runner(path: Path, manifest: Manifest, threads: int, stack: ExitStack) -> Callable[[], None]:
    """One inference of a model that stays open until `stack` closes, on noise."""
    backend = stack.enter_context(open_backend(path, manifest, threads=threads))
    feed = backend.feeds[manifest.inputs[0].name]
    feed[:] = np.random.default_rng(0).integers(0, 256, feed.shape, np.uint8)
    stamps = EngineStamps()
    return lambda: backend.infer(stamps)


def measure(paths: list[Path], rounds: int, threads: int) -> dict[str, Any]:
    """All models by turns."""
    manifests = [read_manifest(path) for path in paths]
    with ExitStack() as stack:
        calls = [
            runner(path, manifest, threads, stack)
            for path, manifest in zip(paths, manifests, strict=True)
        ]
        times = interleaved(calls, rounds)
    return {
        path.stem: {
            "size": list(manifest.input_size),
            "gmacs": None if manifest.macs is None else manifest.macs / 1e9,
            "threads": threads,
            "milliseconds": summary(found),
            "miou": miou_of(path, manifest),
            "peak_mb": model_peak_mb(path, threads=threads),
        }
        for path, manifest, found in zip(paths, manifests, times, strict=True)
    }


def main() -> None:
    """Measure the shipped models, or those given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="files or names  [default: the shipped ones]")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    paths = [resolve_model(text) for text in options.models]
    paths = paths or [model.path for model in list_models()]
    report(measure(paths, options.rounds, options.threads), options.json)


if __name__ == "__main__":
    main()
