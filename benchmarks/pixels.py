"""CPU time a frame of a whole run: an RGB model, and its form that takes the camera's own pixels.

    python -m benchmarks.pixels street-edge-n --input nv12 --frame 480x640 --frame 1080x1920

The form is made of the model first. Both runs take the same raw frames from memory, scale them and
infer on one thread, and are interleaved; the source's own work is in both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.paired import ratio, report, summary
from edge_runtime import RunOptions, run
from edge_runtime.pixels import YuvFormat
from edge_runtime.sizes import parse_size
from edge_runtime.street import StreetCamera, StreetOptions
from edge_runtime.yuv import from_rgb
from edge_runtime.zoo import resolve_model
from export.yuv import make_yuv


def main() -> None:
    """Interleave rounds of both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="an RGB model")
    parser.add_argument("--input", choices=("nv12", "yuy2"), default="nv12")
    parser.add_argument("--frame", type=parse_size, action="append", help="HxW of the camera")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    yuv, rgb = YuvFormat(options.input), resolve_model(options.model)
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "own.onnx"
        make_yuv(rgb, own, yuv)
        rows = [
            _compared(rgb, own, raw_source(Path(folder), yuv, size, options.frames), size, options)
            for size in options.frame or [(480, 640)]
        ]
    report({"model": options.model, "input": str(yuv), "frames": rows}, options.json)


def _compared(
    rgb: Path, own: Path, source: str, size: tuple[int, int], options: argparse.Namespace
) -> dict[str, Any]:
    before, after = [], []
    for number in range(options.rounds + 1):
        taken = [cpu_ms(model, source) for model in (rgb, own)]
        if number:  # the first round warms up
            before.append(taken[0])
            after.append(taken[1])
    return {
        "frame": "x".join(map(str, size)),
        "rgb_ms": summary(before),
        "own_ms": summary(after),
        "saved_ms": summary([one - other for one, other in zip(before, after, strict=True)]),
        "own_over_rgb": ratio(after, before),
    }


def raw_source(folder: Path, yuv: YuvFormat, size: tuple[int, int], frames: int) -> str:
    """Launch text of a camera that delivers one raw street picture again and again."""
    picture, _ = StreetCamera(StreetOptions(size=size)).frame(0)
    rows = from_rgb(np.ascontiguousarray(picture[..., ::-1]), yuv)
    path = folder / f"{size[0]}x{size[1]}.raw"
    path.write_bytes(rows.tobytes())
    return (
        f"launch:filesrc location={path} blocksize={rows.size} num-buffers=1 "
        f"! rawvideoparse format={yuv.pixels} height={size[0]} width={size[1]} "
        f"colorimetry={yuv.matrix} ! imagefreeze num-buffers={frames}"
    )


def cpu_ms(model: Path, source: str) -> float:
    """CPU time of this process a frame, between the first and the last result."""
    stamps: list[float] = []
    options = RunOptions(policy="every", quiet=True, threads=1)
    run(str(model), source, options, on_result=lambda _: stamps.append(time.process_time()))
    return (stamps[-1] - stamps[0]) / (len(stamps) - 1) * 1e3


if __name__ == "__main__":
    main()
