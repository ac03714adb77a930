"""What messages in a recording look like: Foxglove's image, and our result as JSON."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

IMAGE = "foxglove.CompressedImage"
RESULT = "hyperseg.Result"
FRAME_ID = "camera"

_NUMBER_OR_NULL = {"type": ["number", "null"]}
_INTEGER_OR_NULL = {"type": ["integer", "null"]}
_TEXT_OR_NULL = {"type": ["string", "null"]}

RESULT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": RESULT,
    "description": "One published result. Times t_* are CLOCK_MONOTONIC nanoseconds.",
    "type": "object",
    "properties": {
        "index": {"type": "integer", "description": "Number of the frame at its source."},
        "pts_ns": {**_INTEGER_OR_NULL, "description": "Presentation time of the stream."},
        "state": {"enum": ["ok", "stale", "no-signal"]},
        "stale": {"type": "boolean", "description": "The deadline has passed."},
        "reason": {**_TEXT_OR_NULL, "description": "Why there is no signal."},
        "timestamp_source": {"type": "string", "description": "The clock of t_capture."},
        "t_capture": {"type": "integer"},
        "t_publish": _INTEGER_OR_NULL,
        "latency_ms": {
            "type": ["object", "null"],
            "properties": {
                **dict.fromkeys(("result", "pipeline", "engine", "age_at_infer"), _NUMBER_OR_NULL),
                "stages": {"type": "object", "additionalProperties": _NUMBER_OR_NULL},
            },
        },
    },
}


def result_schema() -> bytes:
    """The JSON schema of results."""
    return json.dumps(RESULT_SCHEMA).encode()


def image_schema() -> bytes:
    """`IMAGE` as a serialised protobuf FileDescriptorSet."""
    stamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(stamp)
    return bytes(descriptor_pb2.FileDescriptorSet(file=[stamp, _image_file()]).SerializeToString())


def compressed_image(time_ns: int, data: bytes, encoding: str) -> bytes:
    """A message of the schema `IMAGE`.

    Args:
        time_ns: since the epoch.
        data: the encoded picture.
        encoding: ``jpeg`` or ``png``.
    """
    message = _image_class()(data=data, format=encoding, frame_id=FRAME_ID)
    message.timestamp.FromNanoseconds(time_ns)
    return bytes(message.SerializeToString())


def _image_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="foxglove/CompressedImage.proto",
        package="foxglove",
        syntax="proto3",
        dependency=["google/protobuf/timestamp.proto"],
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name="CompressedImage")
    # Numbers as Foxglove published them.
    for name, number, kind in (
        ("timestamp", 1, kinds.TYPE_MESSAGE),
        ("frame_id", 4, kinds.TYPE_STRING),
        ("data", 2, kinds.TYPE_BYTES),
        ("format", 3, kinds.TYPE_STRING),
    ):
        field = message.field.add(
            name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL, json_name=name
        )
        if kind == kinds.TYPE_MESSAGE:
            field.type_name = ".google.protobuf.Timestamp"
    return file


@cache
def _image_class() -> Any:
    # A pool of its own: another library may have brought Foxglove's schemas into the common one.
    pool = descriptor_pool.DescriptorPool()
    stamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(stamp)
    pool.Add(stamp)
    pool.Add(_image_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(IMAGE))
