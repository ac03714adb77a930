"""The arguments of benchmarks that calibrate a model and score it on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def labelled_arguments(
    parser: argparse.ArgumentParser, model: str = "FLOAT.onnx", *, samples: int = 64, every: int = 1
) -> None:
    """Add what they have in common: model, frames, data, threads and where the figures go.

    Args:
        parser: gets them.
        model: what is said of the model.
        samples: frames to calibrate on, unless given.
        every: score each n-th image only, unless given.
    """
    parser.add_argument("model", type=Path, help=model)
    parser.add_argument("--frames", required=True, help="as for hyperseg calibrate")
    parser.add_argument("--samples", type=int, default=samples)
    parser.add_argument("--data", required=True, help="labelled images: camvid:DIR, ...")
    parser.add_argument("--split", default="val")
    parser.add_argument("--every", type=int, default=every, help="score each n-th image only")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
