"""Masks as PNG images of class ids, one per frame."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import cv2

from edge_runtime.errors import SinkError
from edge_runtime.result import FrameMasks

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.result import Result
    from edge_runtime.sinks.spec import SinkContext, SinkSpec


class MaskImages:
    """Writes each mask at the size of its frame: ``NNNNNN.png``, or under its image's name.

    Frames without a mask get no file, and a folder that was made for no file at all is removed.

    Args:
        label: as the user named the sink.
        folder: made if it does not exist.
    """

    def __init__(self, label: str, folder: Path) -> None:
        self.label = label
        self._folder = folder
        self._part = folder / ".mask.part"
        self._made: list[Path] = []
        self._masks = FrameMasks()

    def open(self) -> None:
        """Make the folder.

        Raises:
            SinkError: it cannot be made or written to.
        """
        try:
            self._made = [p for p in (self._folder, *self._folder.parents) if not p.exists()]
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._remove_empty()
            raise SinkError(
                f"cannot make the folder {self._folder}: {error.strerror}; choose another masks:DIR"
            ) from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise SinkError(f"folder {self._folder} is not writable; choose another masks:DIR")

    def consume(self, result: Result) -> None:
        """Write one mask, whole or not at all."""
        mask = self._masks.of(result)
        if mask is None:
            return
        _, png = cv2.imencode(".png", mask)
        self._part.write_bytes(png.data)
        self._part.replace(self._folder / f"{result.name or f'{result.index:06d}'}.png")

    def close(self) -> None:
        """Each file is complete when it appears; only an empty folder is left to remove."""
        self._remove_empty()

    def discard(self) -> None:
        """Remove the mask that could not be written."""
        self._part.unlink(missing_ok=True)
        self._remove_empty()

    def _remove_empty(self) -> None:
        with suppress(OSError):
            for folder in self._made:
                folder.rmdir()


def masks(spec: SinkSpec, context: SinkContext) -> MaskImages:
    """The sink ``masks:DIR``."""
    del context
    assert spec.path is not None
    return MaskImages(spec.text, spec.path)
