"""What a camera can do, by the questions of ``linux/videodev2.h``.

Asking does not disturb a stream. The structures are the same on 32- and 64-bit machines, so they
are written out as formats.
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from fcntl import ioctl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Question = Callable[[int, bytes], bytes]
    """An ioctl's number and structure; the structure as the driver filled it in."""

QUERYCAP, CAPABILITY = 0x80685600, struct.Struct("=16s32s32s3I12x")
ENUM_FMT, FORMAT = 0xC0405602, struct.Struct("=3I32s5I")
ENUM_SIZES, SIZE = 0xC02C564A, struct.Struct("=11I")
ENUM_INTERVALS, INTERVAL = 0xC034564B, struct.Struct("=13I")
CAPTURE, CAPTURE_PLANES, HAS_DEVICE_CAPS = 0x1, 0x1000, 0x80000000
DISCRETE = 1
"""Type of a size or interval that is one value and no range."""
MOST = 64
"""Answers taken per question: a driver that counts on for ever ends here."""


@dataclass(frozen=True)
class Mode:
    """A picture format of a camera."""

    pixels: str
    """Four characters, such as ``YUYV`` or ``MJPG``."""
    height: int
    width: int
    fps: float | None
    """Highest rate; None where the driver does not say, or names a range."""

    def __str__(self) -> str:
        rate = "" if self.fps is None else f" at {self.fps:g}"
        return f"{self.pixels} {self.height}x{self.width}{rate}"


@dataclass(frozen=True)
class CameraModes:
    """What a device says of itself."""

    name: str
    driver: str
    captures: bool
    """False for nodes that give metadata or are encoders and decoders."""
    modes: tuple[Mode, ...] = ()


def read_modes(device: Path) -> CameraModes | None:
    """Ask a camera; None if it cannot be opened or does not answer."""
    try:
        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return query(lambda number, given: ioctl(handle, number, given))
    except OSError:
        return None
    finally:
        os.close(handle)


def query(ask: Question) -> CameraModes:
    """Put the questions.

    Args:
        ask: raises `OSError` as ``ioctl`` does; EINVAL ends a list.

    Raises:
        OSError: it is no video device.
    """
    driver, card, _, _, both, own = CAPABILITY.unpack(ask(QUERYCAP, bytes(CAPABILITY.size)))
    flags = own if both & HAS_DEVICE_CAPS else both
    kind = 9 if flags & CAPTURE_PLANES else 1
    captures = bool(flags & (CAPTURE | CAPTURE_PLANES))
    modes = tuple(_modes(ask, kind)) if captures else ()
    return CameraModes(_words(card), _words(driver), captures, modes)


def _modes(ask: Question, kind: int) -> Iterator[Mode]:
    formats = _listed(ask, ENUM_FMT, FORMAT, (kind, 0, b"", 0, 0, 0, 0, 0))
    for _, _, _, _, pixels, *_ in formats:
        name = pixels.to_bytes(4, "little").decode("ascii", "replace").strip()
        sizes = _listed(ask, ENUM_SIZES, SIZE, (pixels, *[0] * 9))
        for _, _, shape, *values in sizes:
            # A range is told by its largest: least width, most, step, and the same of heights.
            width, height = values[:2] if shape == DISCRETE else (values[1], values[4])
            yield Mode(name, height, width, _rate(ask, pixels, width, height))


def _rate(ask: Question, pixels: int, width: int, height: int) -> float | None:
    answers = _listed(ask, ENUM_INTERVALS, INTERVAL, (pixels, width, height, *[0] * 9))
    rates = [
        below / above
        for _, _, _, _, shape, above, below, *_ in answers
        if shape == DISCRETE and above
    ]
    return max(rates, default=None)


def _listed(
    ask: Question, number: int, form: struct.Struct, given: tuple[object, ...]
) -> list[tuple[int, ...]]:
    """All answers to a question that is put with a growing index before the rest."""
    found = []
    for index in range(MOST):
        try:
            found.append(form.unpack(ask(number, form.pack(index, *given))))
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                break
            raise
    return found


def _words(text: bytes) -> str:
    return text.partition(b"\0")[0].decode(errors="replace").strip()
