"""How often the pixels of a camera's frames were mapped and copied on their way to the network.

Each count is made where the copy is made. What GStreamer does before a frame reaches us (decoding,
scaling, converting) writes new pixels and is not a copy; its time is in the stage ``arrival``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Copies:
    """Counts of one frame, or of one camera over a run.

    On the CPU each frame is mapped once and copied once, into the network's input. One copy more
    comes with: black borders (letterbox), a full picture (which is also mapped), and the hand-over
    from a camera's thread where there are several cameras.
    """

    frames: int = 0
    """Frames that were laid into the network's input, those found too old right after included."""
    nvmm_frames: int = 0
    """Of them, those that went from NVMM memory into the network's input on the device."""
    checked_frames: int = 0
    """Frames on which the way through NVMM was compared with the default way; each costs a
    ``device_to_host_copy``, and was copied by the default way as well."""
    host_pixel_maps: int = 0
    """Buffers of pixels that were mapped into the host's memory."""
    host_copies: int = 0
    """Pictures copied from host memory to host memory."""
    host_copy_bytes: int = 0
    host_to_device_copies: int = 0
    """Inputs transferred to the device, each by one copy."""
    device_to_host_copies: int = 0
    """Outputs, and pictures to be compared, transferred from the device, each by one copy."""
    array_flatten_copies: int = 0
    """Pictures copied for no other reason than to have rows without padding."""

    def add(self, other: Copies) -> None:
        """Add the counts of `other` to these."""
        for field in _NAMES:
            setattr(self, field, getattr(self, field) + getattr(other, field))

    def copied(self, size: int) -> None:
        """Count a copy of a picture of `size` bytes within host memory."""
        self.host_copies += 1
        self.host_copy_bytes += size


_NAMES = tuple(field.name for field in fields(Copies))
