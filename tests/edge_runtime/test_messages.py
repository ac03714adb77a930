"""The JSON that receivers get: complete, typed, bounded, and without secrets."""

import json
from pathlib import Path

import msgspec
import pytest

from edge_runtime.errors import OptionError
from edge_runtime.redact import redact
from edge_runtime.sinks.messages.address import (
    Endpoint,
    parse_broker,
    parse_endpoint,
    without_credentials,
)
from edge_runtime.sinks.messages.message import (
    SHORTENINGS,
    Message,
    RuleEvent,
    encode,
    encode_within,
    event_messages,
    schema,
)
from edge_runtime.sinks.messages.udp import MAX_DATAGRAM_BYTES
from edge_runtime.sinks.spec import parse_sink
from tests.results import NOW_NS, WALL_NS, make_messenger, make_result
from tests.scripted import MS

DOCS = Path(__file__).parents[2] / "docs"


def crowded(rules=64, regions=64):
    """As many regions, rules and long names as a rules file may have."""
    polygon = [[0, 0], [1, 0], [1, 1], [0, 1]]
    return {
        "regions": [{"name": f"{n:02d}{'r' * 62}", "polygon": polygon} for n in range(regions)],
        "rules": [
            {"name": f"{n:02d}{'ü' * 62}", "class": "Road", "min_ratio": 0.5} for n in range(rules)
        ],
    }


def test_message_says_what_the_result_is():
    message = make_messenger().message(make_result(columns=5))

    assert json.loads(encode(message)) == {
        "schema": "hyperseg-result/1",
        "camera": "test:",
        "model": "net",
        "index": 0,
        "name": None,
        "pts_ns": 0,
        "capture_ns": NOW_NS - 20 * MS,
        "timestamp_source": "driver",
        "sent_unix_ms": WALL_NS // MS,
        "age_ms": 20.0,
        "state": "ok",
        "late": False,
        "reason": None,
        "classes": {"Road": 0.75, "Pedestrian": 0.25},
        "regions": {"corridor": {"Road": 0.75, "Pedestrian": 0.25}},
        "rules": {"person-ahead": {"state": "raised", "ratio": 0.25, "since_ns": NOW_NS - 20 * MS}},
        "events": [{"rule": "person-ahead", "state": "raised", "before": "unknown", "ratio": 0.25}],
        "omitted": [],
    }


def test_a_result_without_a_mask_has_no_shares_and_unknown_rules():
    messenger = make_messenger()
    messenger.message(make_result(0, 5))

    message = messenger.message(make_result(1, None, state="no-signal", reason="unplugged"))

    assert (message.state, message.reason) == ("no-signal", "unplugged")
    assert message.classes is message.regions is None
    assert message.rules["person-ahead"].state == "unknown"
    assert [(event.before, event.state) for event in message.events] == [("raised", "unknown")]


def test_messages_and_events_come_back_as_they_went():
    message = make_messenger().message(make_result(columns=5))
    (event,) = event_messages(message)

    assert msgspec.json.decode(encode(message), type=Message) == message
    assert msgspec.json.decode(encode(event), type=RuleEvent) == event
    assert (event.rule, event.index, event.camera) == ("person-ahead", 0, "test:")


def test_the_schema_in_the_docs_is_the_one_of_the_code():
    path = DOCS / "messages.schema.json"

    assert path.read_bytes() == schema(), (
        "write it again: python -c 'import sys; "
        "from edge_runtime.sinks.messages.message import schema; "
        f"sys.stdout.buffer.write(schema())' > {path.name}"
    )


def test_every_field_is_documented_and_in_the_schema():
    document = json.loads(schema())
    described = (DOCS / "messages.md").read_text(encoding="utf-8")

    for kind in (Message, RuleEvent):
        definition = document["$defs"][kind.__name__]
        names = [field.encode_name for field in msgspec.structs.fields(kind)]
        assert definition["required"] == names
        assert [name for name in names if f"`{name}`" not in described] == []
    assert [name for name in SHORTENINGS if f"`{name}`" not in described] == []


def test_a_message_that_fits_is_left_alone():
    message = make_messenger().message(make_result(columns=5))

    assert encode_within(message, MAX_DATAGRAM_BYTES) == encode(message)


@pytest.mark.parametrize(
    ("limit", "omitted"),
    [
        (1399, ["regions"]),
        (700, ["regions", "classes", "rules"]),
        (600, ["regions", "classes", "rules", "events"]),
    ],
)
def test_detail_is_left_out_in_the_stated_order(limit, omitted):
    message = make_messenger(crowded(rules=2, regions=8)).message(make_result(columns=5))

    raw = encode_within(message, limit)

    kept = msgspec.json.decode(raw, type=Message)
    assert len(raw) <= limit
    assert list(kept.omitted) == omitted
    assert kept.index == message.index
    assert (kept.regions is None, kept.classes is None) == (True, "classes" in omitted)
    assert kept.events == (() if "events" in omitted else message.events)


def test_the_worst_message_still_fits_a_datagram():
    # given names that JSON can only spell with six bytes a character, and as many as may be
    messenger = make_messenger(crowded(), camera="\x01" * 5000, model="\x02" * 5000)
    result = make_result(2**62, 5, name="\x03" * 5000, reason="\x04" * 5000, pts_ns=2**62)

    raw = encode_within(messenger.message(result), MAX_DATAGRAM_BYTES)

    assert len(raw) <= MAX_DATAGRAM_BYTES
    assert msgspec.json.decode(raw, type=Message).omitted == SHORTENINGS


def test_names_that_are_no_text_do_not_break_a_message():
    message = make_messenger(camera="cam\udcff").message(make_result(name="image\udcff"))

    assert json.loads(encode(message))["name"] == "image?"


def test_credentials_of_a_camera_never_get_into_a_message():
    messenger = make_messenger(camera="rtsp://admin:s3cret@10.0.0.7/live")
    reason = "cannot open rtsp://admin:s3cret@10.0.0.7/live: 401"

    raw = encode(messenger.message(make_result(columns=None, state="no-signal", reason=reason)))

    assert b"s3cret" not in raw
    assert b"10.0.0.7" in raw


# Addresses


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("robot:5000", Endpoint("robot", 5000)),
        ("10.0.0.1:65535", Endpoint("10.0.0.1", 65535)),
        ("[::1]:5000", Endpoint("::1", 5000)),
        ("[fe80::1%eth0]:1", Endpoint("fe80::1%eth0", 1)),
    ],
)
def test_endpoint_is_read_and_written(text, endpoint):
    assert parse_endpoint(text) == endpoint
    assert str(endpoint) == text


@pytest.mark.parametrize(
    "text",
    ["", "robot", "robot:", ":5000", "robot:0", "robot:65536", "robot:-1", "::1:5000", "[::1]",
     "a b:5", "robot:5x", "robot:5/", "robot:99999999999999999999", "user@robot:5"],
)  # fmt: skip
def test_no_endpoint_is_one_line(text):
    with pytest.raises(OptionError, match=r"^sink 'udp:") if text else pytest.raises(OptionError):
        parse_sink(f"udp:{text}")


def test_broker_with_everything_and_with_little():
    full = parse_broker("//me:p%40s%2Fs@[::1]:1884/cars/3", 1883)
    bare = parse_broker("broker/car", 1883)

    assert full.endpoint == Endpoint("::1", 1884)
    assert (full.topic, full.user, full.password) == ("cars/3", "me", "p@s/s")
    assert (bare.endpoint.port, bare.topic, bare.user, bare.password) == (1883, "car", None, None)
    assert "p@s/s" not in repr(full)


@pytest.mark.parametrize(
    "rest",
    ["", "broker", "broker/", "broker/a/", "broker//a", "broker/a+", "broker/#", "broker/$SYS",
     "broker:x/a", "/topic", "me:hunter2@broker", "me:hun/ter2@broker/a", "//me:hunter2@/a",
     "me:hunter2@broker:0/a", "me:hunter2@broker/a\nb", "me:hunter2 @bro ker/a",
     "me:hunter2@broker/" + "a" * 2000],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["mqtt", "mqtts"])
def test_no_broker_is_one_line_without_the_password(kind, rest):
    with pytest.raises(OptionError) as caught:
        parse_sink(f"{kind}:{rest}")

    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["mqtt://me:hunter2@broker/car", "mqtt:me:hunter2@broker/car", "mqtts:hunter2@broker/car",
     "mqtt:me:hun@ter2/hunter2@broker/car", "mqqt:me:hunter2@broker/car"],
)  # fmt: skip
def test_label_of_a_sink_shows_the_broker_only(text):
    label = without_credentials(text)

    assert label.endswith("***@broker/car")
    assert "hunter2" not in label
    if not text.startswith("mqqt"):
        assert "hunter2" not in redact(f"cannot open {text}: why")
