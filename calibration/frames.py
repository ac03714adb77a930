"""Frames as the network receives them, and the sets of them that calibration works on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edge_runtime.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.geometry import FrameGeometry


class FrameSet(Protocol):
    """Frames by number; reading one twice gives the same."""

    @property
    def hashes(self) -> Sequence[str]:
        """Hex sha256 of each frame's pixels."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[str, NDArray[np.uint8]]:
        """(name, (height, width, 3) uint8 frame in the network's colour order)."""
        ...


@dataclass(frozen=True)
class Sample:
    """One frame chosen for calibration."""

    name: str
    """Of its file, or its number in the stream."""
    sha256: str
    """Of its pixels as the network receives them."""
    file_sha256: str = ""
    """Of the file it came from; empty for a frame of a stream."""


class StoredFrames:
    """Chosen frames in a folder, one losslessly compressed picture each.

    Args:
        folder: where they lie.
        samples: what they are, in order.
    """

    def __init__(self, folder: Path, samples: Sequence[Sample]) -> None:
        self._folder, self.samples = folder, tuple(samples)

    @property
    def hashes(self) -> tuple[str, ...]:
        """See `FrameSet.hashes`."""
        return tuple(sample.sha256 for sample in self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> tuple[str, NDArray[np.uint8]]:
        """See `FrameSet.read`.

        Raises:
            SourceError: the stored picture is gone or was altered.
        """
        import cv2

        sample = self.samples[index]
        path = stored_at(self._folder, sample.sha256)
        stored = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if stored is None or pixel_hash(frame := np.asarray(stored, np.uint8)) != sample.sha256:
            raise SourceError(
                f"{path}, stored for {sample.name!r}, is missing or was altered; delete "
                f"{self._folder} and start again"
            )
        return sample.name, frame


def store(folder: Path, frame: NDArray[np.uint8]) -> str:
    """Write a frame into `folder`; returns the sha256 of its pixels.

    Raises:
        SourceError: it cannot be written.
    """
    import cv2

    digest = pixel_hash(frame)
    path = stored_at(folder, digest)
    if not path.exists() and not cv2.imwrite(str(path), frame, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
        raise SourceError(f"cannot write {path}; is the disk full?")
    return digest


def stored_at(folder: Path, digest: str) -> Path:
    """Where a frame of this hash is stored."""
    return folder / f"{digest[:32]}.png"


def pixel_hash(frame: NDArray[np.uint8]) -> str:
    """Hex sha256 of a frame's shape and pixels."""
    digest = hashlib.sha256(repr(frame.shape).encode())
    digest.update(np.ascontiguousarray(frame).tobytes())
    return digest.hexdigest()


def fit(image: NDArray[np.uint8], geometry: FrameGeometry) -> NDArray[np.uint8]:
    """A picture scaled into the network input; black where letterboxing leaves room.

    Args:
        image: (H, W, 3) uint8, (H, W) being ``geometry.frame``.
        geometry: where it goes.

    Returns:
        (height, width, 3) uint8 of ``geometry.network``.
    """
    import cv2

    top, left, height, width = geometry.content
    if image.shape[:2] != (height, width):
        shrinking = image.shape[0] >= height and image.shape[1] >= width
        method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
    if (height, width) == geometry.network:
        return image
    frame = np.zeros((*geometry.network, 3), np.uint8)
    frame[top : top + height, left : left + width] = image
    return frame
