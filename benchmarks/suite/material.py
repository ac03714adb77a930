"""What the parts work on: a clip of our street as H.264, and pictures of it as PNG.

``python -m benchmarks.suite.material FOLDER --frames N --pictures N``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2

from benchmarks.suite.places import CLIP, PICTURES
from edge_runtime.demo import DemoOptions, write_clip
from edge_runtime.street import StreetCamera, StreetOptions

STRIDE = 15
"""Frames of the drive from one picture to the next, so that they differ."""


def write_pictures(folder: Path, count: int) -> None:
    """Write pictures of two streets by turns, 384x512."""
    folder.mkdir()
    cameras = [StreetCamera(StreetOptions(size=(384, 512), seed=seed)) for seed in (1000, 1001)]
    for number in range(count):
        picture, _ = cameras[number % 2].frame(number // 2 * STRIDE)
        _, png = cv2.imencode(".png", picture)
        (folder / f"{number:04d}.png").write_bytes(png.tobytes())


def main() -> None:
    """Make both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--pictures", type=int, required=True)
    options = parser.parse_args()
    write_clip(
        options.folder / CLIP,
        DemoOptions(options.folder, frames=options.frames, size=(360, 640)),
    )
    write_pictures(options.folder / PICTURES, options.pictures)


if __name__ == "__main__":
    main()
