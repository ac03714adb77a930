"""Fill ROS 2 messages. The messages come from the caller: nothing here needs ROS to be installed.

Fields are set as `sensor_msgs/Image`, `diagnostic_msgs/DiagnosticArray` and `std_msgs/Header` have
had them since ROS 2 Foxy.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from edge_runtime.sinks.messages.message import Message

OK, WARN, ERROR, STALE = b"\x00", b"\x01", b"\x02", b"\x03"
"""`diagnostic_msgs/DiagnosticStatus.level`, of type ``byte``."""
RESULT_LEVELS = {"ok": OK, "stale": WARN, "no-signal": ERROR}
RULE_LEVELS = {"clear": OK, "raised": WARN, "unknown": STALE}
DIAGNOSTICS_PERIOD_NS = 10**9
"""Diagnostics are repeated so often, and told at once when a state changes."""


def fill_header(header: Any, stamp_ns: int, frame_id: str) -> None:
    """Fill a `std_msgs/Header`.

    Args:
        header: the message.
        stamp_ns: when the frame was captured, nanoseconds of the ROS clock.
        frame_id: name of the camera's coordinate frame.
    """
    header.stamp.sec, header.stamp.nanosec = divmod(max(stamp_ns, 0), 10**9)
    header.frame_id = frame_id


def fill_image(image: Any, pixels: NDArray[np.uint8], stamp_ns: int, frame_id: str) -> None:
    """Fill a `sensor_msgs/Image`.

    Args:
        image: the message.
        pixels: (height, width) uint8, sent as ``mono8``, or (height, width, 3) uint8 BGR, as
            ``bgr8``; copied.
        stamp_ns: when the frame was captured, nanoseconds of the ROS clock.
        frame_id: name of the camera's coordinate frame.
    """
    fill_header(image.header, stamp_ns, frame_id)
    image.height, image.width = pixels.shape[:2]
    image.encoding = "mono8" if pixels.ndim == 2 else "bgr8"
    image.is_bigendian = 0
    image.step = pixels.shape[1] * (1 if pixels.ndim == 2 else 3)
    # rclpy takes an array as it is, but checks bytes one by one: a second for a full HD frame.
    image.data = array("B", pixels.tobytes())


def fill_diagnostics(
    diagnostics: Any,
    message: Message,
    stamp_ns: int,
    new_status: Callable[[], Any],
    new_value: Callable[[], Any],
) -> None:
    """Fill a `diagnostic_msgs/DiagnosticArray`: one status of the results, and one per rule.

    Args:
        diagnostics: the message.
        message: what is told of the result.
        stamp_ns: of now, nanoseconds of the ROS clock.
        new_status: makes an empty `diagnostic_msgs/DiagnosticStatus`.
        new_value: makes an empty `diagnostic_msgs/KeyValue`.
    """
    fill_header(diagnostics.header, stamp_ns, "")

    def status(level: bytes, name: str, text: str, values: dict[str, str]) -> Any:
        filled = new_status()
        filled.level, filled.name, filled.message = level, f"hyperseg: {name}", text
        filled.hardware_id = message.camera
        filled.values = [_key_value(new_value(), key, value) for key, value in values.items()]
        return filled

    level = WARN if message.late else RESULT_LEVELS[message.state]
    text = message.reason or (f"{message.state}, late" if message.late else message.state)
    values = {
        "model": message.model,
        "index": str(message.index),
        "age_ms": f"{message.age_ms:.1f}",
        "timestamp_source": message.timestamp_source,
    }
    diagnostics.status = [status(level, "segmentation", text, values)] + [
        status(RULE_LEVELS[rule.state], f"rule {name}", rule.state, _ratio(rule.ratio))
        for name, rule in message.rules.items()
    ]


class DiagnosticsPace:
    """Decides which results are told as diagnostics too: changes, and one a second."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._states: tuple[object, ...] = ()

    def is_due(self, message: Message, now_ns: int) -> bool:
        """Whether this one is; it is then taken as told."""
        states = (message.state, message.late, *(rule.state for rule in message.rules.values()))
        is_recent = self._last_ns is not None and now_ns - self._last_ns < DIAGNOSTICS_PERIOD_NS
        if is_recent and states == self._states:
            return False
        self._last_ns, self._states = now_ns, states
        return True


def _ratio(ratio: float | None) -> dict[str, str]:
    return {} if ratio is None else {"ratio": f"{ratio:.6f}"}


def _key_value(pair: Any, key: str, value: str) -> Any:
    pair.key, pair.value = key, value
    return pair
