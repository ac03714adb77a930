"""Names of cameras that last: plugged in again, ``/dev/video0`` may be ``/dev/video1``."""

from __future__ import annotations

from pathlib import Path

V4L = Path("/dev/v4l")


def stable_device(device: Path, names: Path = V4L) -> Path:
    """The name of a camera's port, which stays when the camera is unplugged and plugged in again.

    Args:
        device: such as ``/dev/video0``, or already a lasting name.
        names: where the system keeps links with lasting names.

    Returns:
        Its link in ``by-path``, else in ``by-id``, else `device` itself.
    """
    if device.is_relative_to(names):
        return device
    try:
        target = device.resolve(strict=True)
    except OSError:
        return device
    for kind in ("by-path", "by-id"):
        for link in sorted((names / kind).glob("*")):
            if link.resolve() == target:
                return link
    return device
