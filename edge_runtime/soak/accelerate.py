"""Sources for an accelerated soak: they wait for nothing but the network."""

from __future__ import annotations

from pathlib import Path

from edge_runtime.errors import OptionError
from edge_runtime.redact import redact
from edge_runtime.soak.options import EQUIVALENT_FPS
from edge_runtime.sources.cameras import PATTERNS, TEST_SIZE
from edge_runtime.sources.options import parse_options

COVERS = (
    "the same loop, pipeline, network, sinks and accounting as a run",
    "every frame is decoded or made, scaled, segmented and handed to the sinks",
)
LEAVES_OUT_ACCELERATED = (
    "live sources: their clocks, supervision and reconnection, and the dropping of frames",
    "what takes time and not frames: heat, clocks, timers, the growth of log files",
)
LEAVES_OUT = ("what did not happen in this time, such as faults that no source had",)


def accelerated(text: str) -> str:
    """The source as an accelerated soak opens it.

    Args:
        text: colour bars (``test:bars``, which then come without a pace), a file, or a launch text.

    Raises:
        OptionError: it is live, and cannot be hurried.
        SourceError: an unknown option of the colour bars.
    """
    kind, _, query = text.removeprefix("test:").partition("?")
    if text.startswith("test:") and kind in PATTERNS:
        options = parse_options(text, query, ("size", "fps", "frames"))
        height, width = options.size or TEST_SIZE
        return (
            f"launch:videotestsrc pattern={PATTERNS[kind]} num-buffers={options.frames or -1} "
            f"! video/x-raw,format=I420,height={height},width={width},"
            f"framerate={options.fps or EQUIVALENT_FPS:g}/1"
        )
    if text.startswith("launch:") or " ! " in text or _is_file(text):
        return text
    raise OptionError(
        f"source {redact(text)!r} has a pace of its own, which an accelerated soak cannot change; "
        "give test:bars, a file or a launch text, or leave --accelerated out"
    )


def _is_file(text: str) -> bool:
    try:
        return not text.startswith("/dev/") and Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or not even text
        return False
