"""Memory of full pictures that goes round instead of being made anew for each frame.

A picture is its consumers' to keep, and nobody tells when the last one has let go of it. So the
memory is lent through an array that Python itself watches: once that array and all views of it are
gone, the memory may be lent again, and not before.
"""

from __future__ import annotations

import weakref
from collections import deque
from math import prod

import numpy as np
from numpy.typing import NDArray

KEPT = 8
"""Memories that wait to be lent again, at most: consumers that let go of many at once, such as a
queue that is emptied, do not leave all of them behind."""


class PicturePool:
    """Lends arrays of uint8. Arrays may come back in any thread."""

    def __init__(self) -> None:
        self._free: deque[bytearray] = deque(maxlen=KEPT)

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """An array that nobody else holds, its content arbitrary; the taker's as long as it likes.

        Args:
            shape: of the array.
        """
        size = prod(shape)
        memory = self._lent_before(size)
        if memory is None:
            memory = bytearray(size)
        # A bytearray is no array, so that every view holds this array and not the memory alone.
        array: NDArray[np.uint8] = np.ndarray(shape, np.uint8, memory)
        weakref.finalize(array, self._free.append, memory).atexit = False
        return array

    def _lent_before(self, size: int) -> bytearray | None:
        while self._free:
            memory = self._free.pop()
            if len(memory) == size:  # another size is that of frames before, and is let go
                return memory
        return None
