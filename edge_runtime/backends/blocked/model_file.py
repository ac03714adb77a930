"""A model file, looked through for what may be rewritten, and rewritten.

Whatever cannot be done to it is left undone: ONNX Runtime says what is wrong with a file, or runs
it as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import onnx

PIECE = 1 << 20
OVERLAP = 64
"""Bytes; what is looked for is shorter."""


def pieces(path: Path) -> Iterator[bytes]:
    """A file's bytes piece by piece, each with the end of the one before; fewer if it breaks off.

    Read and not mapped: a file that shrinks under a mapping, as one that is being replaced in
    place does, ends the process.
    """
    before = b""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                yield before + piece
                before = (before + piece)[-OVERLAP:]
    except OSError:
        return


def missing_onnx() -> str:
    """Why onnx cannot be used; empty if it can."""
    try:
        import onnx  # noqa: F401
    except ModuleNotFoundError:
        return "onnx is not installed"
    # A protobuf of another version shows itself in many ways, and none is worth losing the run.
    except Exception as error:  # noqa: BLE001
        return f"onnx does not load ({type(error).__name__})"
    return ""


def rewritten(path: Path, change: Callable[[onnx.ModelProto], int]) -> tuple[bytes, int]:
    """A model file's content after a change.

    Args:
        path: the file; it is only read.
        change: changes the model and says in how many places.

    Returns:
        The content and the number of changes; nothing and 0 if there were none, or if the file
        cannot be read, is damaged, or has its weights in other files, which are found by the path.
    """
    import onnx
    from google.protobuf.message import Error

    try:
        model = onnx.load(path, load_external_data=False)
        changes = 0 if _in_other_files(model) else change(model)
        return (model.SerializeToString() if changes else b""), changes
    except (Error, OSError, MemoryError, ValueError, TypeError, LookupError):
        return b"", 0


def _in_other_files(model: onnx.ModelProto) -> bool:
    from onnx import TensorProto

    return any(t.data_location == TensorProto.EXTERNAL for t in model.graph.initializer)
