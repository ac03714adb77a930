"""The part of Triton's ``model_config.proto`` that is written here, for protobuf's own parser.

Names, types and repetition are the published schema's; text format has no need of its numbers.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
KINDS = {
    "string": Field.TYPE_STRING,
    "int32": Field.TYPE_INT32,
    "uint32": Field.TYPE_UINT32,
    "int64": Field.TYPE_INT64,
    "bool": Field.TYPE_BOOL,
}
DATA_TYPES = (
    "INVALID", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "FP32", "FP64", "STRING", "BF16",
)  # fmt: skip
MESSAGES = {
    "ModelInput": "string name, DataType data_type, int64[] dims",
    "ModelOutput": "string name, DataType data_type, int64[] dims, string label_filename",
    "ModelParameter": "string string_value",
    "WarmupInput": "DataType data_type, int64[] dims, bool zero_data, bool random_data",
    "WarmupEntry": "string key, WarmupInput value",
    "ModelWarmup": "string name, uint32 batch_size, WarmupEntry[] inputs, uint32 count",
    "ParameterEntry": "string key, ModelParameter value",
    "ModelConfig": (
        "string name, string platform, string backend, int32 max_batch_size, ModelInput[] input, "
        "ModelOutput[] output, ModelWarmup[] model_warmup, ParameterEntry[] parameters, "
        "string default_model_filename"
    ),
}


def model_config() -> Any:
    """The message class ``ModelConfig``; its maps are lists of key and value."""
    file = descriptor_pb2.FileDescriptorProto(
        name="triton_part.proto", package="triton_part", syntax="proto3"
    )
    file.enum_type.add(name="DataType").value.extend(
        descriptor_pb2.EnumValueDescriptorProto(name=f"TYPE_{name}", number=number)
        for number, name in enumerate(DATA_TYPES)
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, text in enumerate(fields.split(", "), 1):
            _add_field(message, number, *text.split())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("triton_part.ModelConfig")
    return message_factory.GetMessageClass(found)


def _add_field(message: Any, number: int, kind: str, name: str) -> None:
    repeated = kind.endswith("[]")
    field = message.field.add(
        name=name,
        number=number,
        label=Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL,
    )
    kind = kind.removesuffix("[]")
    if kind in KINDS:
        field.type = KINDS[kind]
    else:
        field.type = Field.TYPE_ENUM if kind == "DataType" else Field.TYPE_MESSAGE
        field.type_name = f".triton_part.{kind}"
