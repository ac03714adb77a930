"""A model file as ONNX Runtime should get it: rewritten, or as it is and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.backends.blocked.model_file import missing_onnx, pieces, rewritten

if TYPE_CHECKING:
    from pathlib import Path

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
    """For people; empty if the model has no convolution that could be rewritten."""
    gates: int = 0
    """How many are folded into weights, see `edge_runtime.backends.blocked.optimised`."""

    @property
    def rewritten(self) -> bool:
        """Whether anything differs from the file."""
        return self.model is not None or self.gates > 0

    def __str__(self) -> str:
        gates = "gates folded into weights" if self.gates else ""
        return "; ".join(filter(None, (self.words, gates)))


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
    if reason := missing_onnx():
        return plain(reason)
    from edge_runtime.backends.blocked.probe import machine_block
    from edge_runtime.backends.blocked.rewrite import rewrite

    block = machine_block()
    if block is None:
        return plain("onnxruntime has no blocked ones here")
    model, levels = rewritten(path, lambda found: rewrite(found, block, threads))
    if not levels:
        return plain("not of the known form")
    return Prepared(model, f"convolutions in blocks of {block}")


def plain(reason: str) -> Prepared:
    """The file as it is, though it might have been rewritten."""
    return Prepared(None, f"plain convolutions: {reason}")


def most_groups(path: Path) -> int:
    """The largest number of groups of any convolution in a model file; 0 without one."""
    found = (match for piece in pieces(path) for match in GROUPS.findall(piece))
    return max(map(_varint, found), default=0)


def _varint(data: bytes) -> int:
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(data))
