"""Frames of a pool that are known to the device: registering one anew takes many milliseconds."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")

CAPACITY = 32
"""More than any pool of a camera or decoder holds."""


class Registrar(Protocol[T]):
    """Makes images known to the device."""

    def register(self, egl_image: int) -> T:
        """Make an image known."""
        ...

    def unregister(self, registered: T) -> None:
        """Undo it."""
        ...


@dataclass(frozen=True)
class _Entry(Generic[T]):
    egl_image: int
    registered: T


class Registrations(Generic[T]):
    """A cache by file descriptor, valid only while the descriptor still has the same image.

    A descriptor's number is used again after its buffer is gone, so the number alone proves
    nothing. The one not used for longest makes room.

    Args:
        registrar: does the work.
        capacity: how many are kept.
    """

    def __init__(self, registrar: Registrar[T], capacity: int = CAPACITY) -> None:
        self.hits = 0
        self.misses = 0
        self._registrar = registrar
        self._capacity = capacity
        self._entries: OrderedDict[int, _Entry[T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, fd: int, egl_image: int) -> T:
        """The registration of an image, made if need be.

        Args:
            fd: descriptor of the buffer.
            egl_image: address of its image.

        Raises:
            BridgeError: the registrar's; the cache holds nothing of this descriptor then.
        """
        entry = self._entries.get(fd)
        if entry is not None and entry.egl_image == egl_image:
            self.hits += 1
            self._entries.move_to_end(fd)
            return entry.registered
        self.misses += 1
        if entry is not None:
            self._drop(fd)
        while len(self._entries) >= self._capacity:
            self._drop(next(iter(self._entries)))
        registered = self._registrar.register(egl_image)
        self._entries[fd] = _Entry(egl_image, registered)
        return registered

    def clear(self) -> None:
        """Undo all."""
        while self._entries:
            self._drop(next(iter(self._entries)))

    def _drop(self, fd: int) -> None:
        self._registrar.unregister(self._entries.pop(fd).registered)
