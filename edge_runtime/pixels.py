"""The form in which a model takes its frames, when it is not RGB: as cameras deliver them.

A model with such an input converts the colours itself, as part of its first convolution
(`export.yuv`), and nothing converts them on the CPU. `edge_runtime.yuv` has the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edge_runtime.errors import ArtifactError

if TYPE_CHECKING:
    from edge_runtime.artifacts import Manifest

PixelFormat = Literal["nv12", "yuy2"]
Matrix = Literal["bt601", "bt709"]
Range = Literal["limited", "full"]


@dataclass(frozen=True)
class YuvFormat:
    """What the bytes of such a frame mean.

    - ``nv12``: H rows of W bytes luma, then H/2 rows of U and V by turns, one pair for 2x2 pixels.
    - ``yuy2``: H rows of Y U Y V, one U and V for two pixels side by side.
    """

    pixels: PixelFormat
    matrix: Matrix = "bt601"
    """Standard of the colours: BT.601 (cameras, SD video) or BT.709 (HD video)."""
    range: Range = "limited"
    """``limited``: luma 16 to 235, chroma 16 to 240; ``full``: 0 to 255."""

    def __str__(self) -> str:
        return f"{self.pixels.upper()} {self.matrix} {self.range}"

    def rows(self, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, bytes a row) of a frame of (height, width) pixels, both even."""
        height, width = size
        return (height * 3 // 2, width) if self.pixels == "nv12" else (height, width * 2)

    def size(self, rows: tuple[int, int]) -> tuple[int, int]:
        """(height, width) in pixels of a frame of (rows, bytes a row)."""
        count, length = rows
        return (count * 2 // 3, length) if self.pixels == "nv12" else (count, length // 2)


def require_rgb(manifest: Manifest, remedy: str = "give its RGB form") -> None:
    """Refuse a model that takes YUV, where only pictures can be given.

    Args:
        manifest: of the model.
        remedy: what to do instead.

    Raises:
        ArtifactError: it takes YUV.
    """
    yuv = manifest.preprocess.yuv
    if yuv is not None:
        raise ArtifactError(
            f"model {manifest.name!r} takes {yuv} frames, and this works on RGB ones; {remedy}"
        )
