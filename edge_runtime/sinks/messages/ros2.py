"""Results as a ROS 2 node. rclpy comes with ROS, not from PyPI, and is imported when one is opened.

This module has not been run against a ROS installation yet; see docs/messages.md.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import DependencyError, SinkError
from edge_runtime.result import FrameMasks
from edge_runtime.sinks.messages.message import Messenger, encode
from edge_runtime.sinks.messages.ros2_messages import DiagnosticsPace, fill_diagnostics, fill_image

if TYPE_CHECKING:
    from edge_runtime.overlay import Overlay
    from edge_runtime.result import Result
    from edge_runtime.sinks.spec import SinkContext, SinkSpec

QUEUE_DEPTH = 10


class Ros2Sink:
    """Publishes ``~/mask``, ``~/overlay`` if asked for, ``~/result`` and ``/diagnostics``.

    A result without a mask has no image: an older mask is never sent again.

    Args:
        label: as the user named the sink.
        node_name: name of the node, and `frame_id` of its images.
        messenger: makes the messages.
        overlay: draws; None publishes no overlay.
    """

    def __init__(
        self, label: str, node_name: str, messenger: Messenger, overlay: Overlay | None
    ) -> None:
        self.label = label
        self._node_name = node_name
        self._messenger = messenger
        self._overlay = overlay
        self._pace = DiagnosticsPace()
        self._masks = FrameMasks()
        self._context: Any = None
        self._node: Any = None
        self._types: Any = None
        self._publishers: dict[str, Any] = {}

    def open(self) -> None:
        """Start the node, in a ROS context of its own that leaves Ctrl-C to the run.

        Raises:
            DependencyError: there is no ROS 2 in this environment.
            SinkError: ROS refuses the node.
        """
        rclpy, types = _import_ros()
        self._types = types
        try:
            self._context = rclpy.Context()
            rclpy.init(args=[], context=self._context)
            self._node = rclpy.create_node(self._node_name, context=self._context)
            topics = {"mask": types.Image, "result": types.String}
            if self._overlay is not None:
                topics["overlay"] = types.Image
            for topic, kind in topics.items():
                # As cameras do: a slow receiver loses images instead of delaying us.
                qos = types.sensor_qos if kind is types.Image else QUEUE_DEPTH
                self._publishers[topic] = self._node.create_publisher(kind, f"~/{topic}", qos)
            self._publishers["diagnostics"] = self._node.create_publisher(
                types.DiagnosticArray, "/diagnostics", QUEUE_DEPTH
            )
        except Exception as error:
            self.close()
            raise SinkError(f"sink {self.label}: ROS 2 refused the node: {error}") from error

    def consume(self, result: Result) -> None:
        """Publish one result."""
        message = self._messenger.message(result)
        now_ns = self._node.get_clock().now().nanoseconds
        stamp_ns = now_ns - round(message.age_ms * 1e6)
        mask = self._masks.of(result)
        if mask is not None:
            self._publish_image("mask", mask, stamp_ns)
            if self._overlay is not None:
                self._publish_image("overlay", self._overlay.draw(result), stamp_ns)
        text = self._types.String()
        text.data = encode(message).decode()
        self._publishers["result"].publish(text)
        if self._pace.is_due(message, time.monotonic_ns()):
            diagnostics, types = self._types.DiagnosticArray(), self._types
            fill_diagnostics(diagnostics, message, now_ns, types.DiagnosticStatus, types.KeyValue)
            self._publishers["diagnostics"].publish(diagnostics)

    def close(self) -> None:
        """Take the node down."""
        if self._node is not None:
            self._node.destroy_node()
            self._node = None
        if self._context is not None:
            self._context.try_shutdown()
            self._context = None

    discard = close

    def _publish_image(self, topic: str, pixels: Any, stamp_ns: int) -> None:
        image = self._types.Image()
        fill_image(image, pixels, stamp_ns, self._node_name)
        self._publishers[topic].publish(image)


def ros2(spec: SinkSpec, context: SinkContext) -> Ros2Sink:
    """The sink ``ros2:NODE`` or, with the overlay, ``ros2-overlay:NODE``."""
    overlay = None
    if spec.wants_picture:
        from edge_runtime.overlay import Overlay

        overlay = Overlay(context.labels)
    return Ros2Sink(spec.text, spec.rest, Messenger.of(context), overlay)


class _Types:
    """The message types and settings of ROS that are used."""

    def __init__(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import Image
        from std_msgs.msg import String

        self.Image, self.String = Image, String
        self.DiagnosticArray = DiagnosticArray
        self.DiagnosticStatus, self.KeyValue = DiagnosticStatus, KeyValue
        self.sensor_qos = qos_profile_sensor_data


def _import_ros() -> tuple[Any, _Types]:
    try:
        import rclpy

        return rclpy, _Types()
    except ImportError as error:
        raise DependencyError(
            f"no ROS 2 here ({error}): install ros-base with diagnostic-msgs of your ROS release "
            "and `source /opt/ros/RELEASE/setup.sh`; its Python must be the one of this program"
        ) from error
