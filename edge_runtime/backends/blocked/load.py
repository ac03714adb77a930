"""A model file as ONNX Runtime should get it: rewritten, or as it is and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

LEAST_GROUPS = 4096
"""Groups of a convolution from which a rewrite is thought of: one per patch and channel are more,
and no encoder's depthwise convolution has as many."""
GROUPS = re.compile(rb"\x0a\x05group\x18([\x80-\xff]{0,8}[\x00-\x7f])")
"""An attribute as protobuf writes it: its name, then its value, seven bits a byte."""


@dataclass(frozen=True)
class Prepared:
    """What to open, and what to say of it."""

    model: bytes | None
    """The rewritten model; None to open the file."""
    words: str
    """For people; empty if the model has nothing that could be rewritten."""


AS_IT_IS = Prepared(None, "")


def prepare(path: Path, threads: int) -> Prepared:
    """Rewrite a model's generated convolutions for this machine.

    The file's bytes are looked at first: most models have no such convolution, and shall not pay
    for an import of onnx.

    Args:
        path: the file; it is only read. One that is damaged is left to ONNX Runtime to refuse.
        threads: that share an operator's work.
    """
    if most_groups(path) < LEAST_GROUPS:
        return AS_IT_IS
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        return plain("onnx is not installed")
    from edge_runtime.backends.blocked.probe import machine_block
    from edge_runtime.backends.blocked.rewrite import rewrite

    block = machine_block()
    if block is None:
        return plain("onnxruntime has no blocked ones here")
    try:
        model = onnx.load(path, load_external_data=False)
        # What lies in other files is found by the path, which bytes do not have.
        levels = 0 if _in_other_files(model) else rewrite(model, block, threads)
    except (DecodeError, ValueError, TypeError, LookupError):
        return AS_IT_IS
    if not levels:
        return AS_IT_IS
    return Prepared(model.SerializeToString(), f"convolutions in blocks of {block}")


def plain(reason: str) -> Prepared:
    """The file as it is, though it might have been rewritten."""
    return Prepared(None, f"plain convolutions: {reason}")


def most_groups(path: Path) -> int:
    """The largest number of groups of any convolution in a model file; 0 without one."""
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
            return max((_varint(match) for match in GROUPS.findall(data)), default=0)
    except (OSError, ValueError):  # it cannot be read, or is empty
        return 0


def _varint(data: bytes) -> int:
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data))


def _in_other_files(model: onnx.ModelProto) -> bool:
    from onnx import TensorProto

    return any(t.data_location == TensorProto.EXTERNAL for t in model.graph.initializer)
