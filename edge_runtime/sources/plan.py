"""What a source needs of its pipeline: the result of reading its URI, before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_runtime.sources.fault_script import FaultScript
    from edge_runtime.sources.feed import Pictures

SOURCE_NAME = "edge_source"
"""Name of the element that a plan's `properties` belong to."""


@dataclass(frozen=True)
class SourcePlan:
    """How to get raw video out of a source."""

    uri: str
    """With credentials removed."""
    launch: str
    """GStreamer launch text that ends in raw video, of system memory or NVMM."""
    properties: Mapping[str, object] = field(default_factory=dict)
    """Properties of the element `SOURCE_NAME`; those it does not have are left out."""
    clock: Literal["driver", "ntp", "arrival", "file"] | None = None
    """Where capture stamps come from; None: see what the pipeline turns out to be."""
    arrives_at_source: bool = False
    """Frames arrive where `SOURCE_NAME` hands them over, not behind the decoder."""
    numbers_frames: bool = False
    """Where frames arrive, their buffers' offsets are the camera's own frame numbers."""
    ends: bool = True
    """False: an end of stream is a fault of the sender, not an end."""
    timeless: bool = False
    """Presentation times are made up by us and mean nothing."""
    end_before_stop: bool = False
    """The capture service wants an end of stream before it is closed."""
    faults: FaultScript | None = None
    """What goes wrong on purpose; `launch` then ends in the elements of the fault injector."""
    pictures: Pictures | None = None
    """What is fed into `SOURCE_NAME`, if that is an appsrc."""
    names: tuple[str, ...] = ()
    """Name of each frame by index, for images."""
