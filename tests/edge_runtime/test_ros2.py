"""`ros2:NODE` as far as it goes without ROS: what is filled in, and what is said when it is absent.

The messages here are the fields of the public definitions, not rclpy; where the package `rosbags`
is installed they are its types, and are also serialised as ROS would.
"""

import importlib.util
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from edge_runtime.errors import DependencyError, OptionError
from edge_runtime.sinks.messages.ros2_messages import (
    ERROR,
    OK,
    STALE,
    WARN,
    DiagnosticsPace,
    fill_diagnostics,
    fill_image,
)
from edge_runtime.sinks.outlets import open_outlets
from edge_runtime.sinks.spec import parse_sink
from tests.results import make_context, make_messenger, make_result

STAMP_NS = 1_700_000_000 * 10**9 + 123_456_789


def message_class(*names, **parts):
    """A message that has these fields and takes no other."""

    class Message:
        __slots__ = (*names, *parts)

        def __init__(self):
            for name, part in parts.items():
                setattr(self, name, part())

    return Message


Time = message_class("sec", "nanosec")
Header = message_class("frame_id", stamp=Time)
Image = message_class("height", "width", "encoding", "is_bigendian", "step", "data", header=Header)
DiagnosticArray = message_class("status", header=Header)
DiagnosticStatus = message_class("level", "name", "message", "hardware_id", "values")
KeyValue = message_class("key", "value")


def diagnostics_of(message):
    filled = DiagnosticArray()
    fill_diagnostics(filled, message, STAMP_NS, DiagnosticStatus, KeyValue)
    return filled


def test_a_mask_is_a_mono8_image_with_the_stamp_of_its_frame():
    image = Image()
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)

    fill_image(image, mask, STAMP_NS, "front")

    assert (image.header.stamp.sec, image.header.stamp.nanosec) == (1_700_000_000, 123_456_789)
    assert image.header.frame_id == "front"
    assert (image.height, image.width, image.step, image.encoding) == (3, 4, 4, "mono8")
    assert image.data.typecode == "B"
    assert np.array_equal(np.reshape(image.data, (3, 4)), mask)


def test_an_overlay_is_bgr8_even_if_it_is_a_part_of_a_larger_picture():
    image = Image()
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)[1:3, 1:4]

    fill_image(image, picture, 0, "front")

    assert (image.height, image.width, image.step, image.encoding) == (2, 3, 9, "bgr8")
    assert np.array_equal(np.reshape(image.data, (2, 3, 3)), picture)


@pytest.mark.parametrize(
    ("fields_", "level", "text"),
    [
        ({}, OK, "ok"),
        ({"late": True}, WARN, "ok, late"),
        ({"columns": None}, WARN, "stale"),
        ({"columns": None, "state": "no-signal", "reason": "unplugged"}, ERROR, "unplugged"),
    ],
)
def test_diagnostics_say_how_the_camera_is(fields_, level, text):
    (status, _) = diagnostics_of(make_messenger().message(make_result(**fields_))).status

    assert (status.level, status.message) == (level, text)
    assert (status.name, status.hardware_id) == ("hyperseg: segmentation", "test:")
    assert {pair.key: pair.value for pair in status.values}["age_ms"] == "20.0"


@pytest.mark.parametrize(("columns", "level"), [(0, OK), (5, WARN), (None, STALE)])
def test_each_rule_has_a_status_of_its_own(columns, level):
    (_, status) = diagnostics_of(make_messenger().message(make_result(columns=columns))).status

    assert (status.name, status.level) == ("hyperseg: rule person-ahead", level)
    assert [pair.key for pair in status.values] == ([] if columns is None else ["ratio"])


def test_diagnostics_are_told_at_changes_and_once_a_second():
    messenger, pace = make_messenger(), DiagnosticsPace()
    # given 2.5 s at 10 results a second, with a person from 1.25 s on
    due = [
        pace.is_due(messenger.message(make_result(n, 5 if n > 12 else 0)), n * 10**8)
        for n in range(25)
    ]

    assert [n for n, told in enumerate(due) if told] == [0, 10, 13, 23]


def test_what_is_filled_in_is_what_ros_defines():
    if importlib.util.find_spec("rosbags") is None:
        pytest.skip("pip install rosbags: it has the definitions of ROS messages")
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)

    def empty(name):
        kind = store.types[name]
        made = object.__new__(kind)
        for field in fields(kind):
            if "header" in field.name.lower():
                made.header = empty("std_msgs/msg/Header")
                made.header.stamp = empty("builtin_interfaces/msg/Time")
        return made

    image, diagnostics = (
        empty("sensor_msgs/msg/Image"),
        empty("diagnostic_msgs/msg/DiagnosticArray"),
    )
    fill_image(image, np.arange(12, dtype=np.uint8).reshape(3, 4), STAMP_NS, "front")
    fill_diagnostics(
        diagnostics,
        make_messenger().message(make_result(columns=5)),
        STAMP_NS,
        lambda: empty("diagnostic_msgs/msg/DiagnosticStatus"),
        lambda: empty("diagnostic_msgs/msg/KeyValue"),
    )
    # rosbags spells `byte` as int and `uint8[]` as numpy, where rclpy has bytes and array.
    image.data = np.frombuffer(image.data, np.uint8)
    for status in diagnostics.status:
        status.level = status.level[0]

    for message in (image, diagnostics):
        assert is_dataclass(message)
        raw = store.serialize_cdr(message, message.__msgtype__)
        again = store.deserialize_cdr(raw, message.__msgtype__)
        assert again.header == message.header
    assert again.status[1].level == store.types["diagnostic_msgs/msg/DiagnosticStatus"].WARN
    assert again.status[1].values[0].value == "0.250000"


@pytest.mark.skipif(importlib.util.find_spec("rclpy") is not None, reason="ROS 2 is here")
@pytest.mark.parametrize("kind", ["ros2", "ros2-overlay"])
def test_without_ros_one_line_says_what_to_do(kind):
    run = open_outlets([parse_sink(f"{kind}:front")], make_context(), stopping=bool)

    with pytest.raises(DependencyError, match=r"no ROS 2 here .*source /opt/ros/RELEASE"), run:
        pass


@pytest.mark.parametrize("name", ["1front", "front camera", "front/left", "frönt", "a" * 256])
def test_no_node_name_is_one_line(name):
    with pytest.raises(OptionError, match="a ROS node has a name of letters"):
        parse_sink(f"ros2:{name}")


def test_only_the_overlay_needs_the_picture():
    assert not parse_sink("ros2:front").wants_picture
    assert parse_sink("ros2-overlay:front").wants_picture
