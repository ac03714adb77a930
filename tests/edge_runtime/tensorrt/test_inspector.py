"""Inspector JSON in the documented forms, to a table and to a verdict.

The layers are in the form that NVIDIA documents; they were not recorded from an engine here.
"""

from __future__ import annotations

import json

import pytest

from edge_runtime.backends.tensorrt.inspector import read_inspector, require_precision
from edge_runtime.errors import BackendError


def layer(kind: str, before: str, after: str, **more: object) -> dict[str, object]:
    return {
        "Name": f"{kind} layer",
        "LayerType": kind,
        "Inputs": [{"Name": "in", "Dimensions": [1, 3, 8, 8], "Format/Datatype": before}],
        "Outputs": [{"Name": "out", "Dimensions": [1, 3, 8, 8], "Format/Datatype": after}],
        "TacticName": "sm80_xmma_fprop",
        **more,
    }


INT8_CONV = layer(
    "CaskConvolution", "Thirty-two wide channel vectorized row major Int8 format.", "Int8",
    ParameterType="Convolution", Weights={"Type": "Int8", "Count": 131072},
    Bias={"Type": "Float", "Count": 256},
)  # fmt: skip
HALF_CONV = layer("CaskConvolution", "Channel major FP16 format where channel % 8 == 0", "Half")
FLOAT_CONV = layer("CaskConvolution", "Row major linear FP32", "Row major linear FP32")
REFORMAT = layer("Reformat", "Row major linear FP32", "Half", ParameterType="Reformat")
MYELIN = layer("gemm", "Half NHWC8", "Half", Metadata="[ONNX Layer: node_conv2d]")
CORRELATION = layer("correlation", "Int8", "Half", Metadata="[ONNX Layer: stem/Conv]")


DLA = {**layer("DLA", "UInt8", "Half"), "Name": "{ForeignNode[Conv_0...Concat_198]}"}
DLA_INT8 = {
    **DLA, "Inputs": [{"Name": "to nvm", "Format/Datatype": "Thirty-two wide row major Int8"}],
}  # fmt: skip
MYELIN_WHOLE = {
    **layer("Myelin", "Row major linear FP16 format", "UInt8"), "Name": "{ForeignNode[a...b]}",
}  # fmt: skip
DLA_MUTE = {"Name": "{ForeignNode[Conv_0...Conv_9]}", "LayerType": "DLA"}
"""After NVIDIA/TensorRT#3143, where a part on a DLA is one layer of that name."""


def inspected(*layers: object, **more: object) -> str:
    return json.dumps({"Layers": list(layers), "Bindings": ["frame", "mask"], **more})


@pytest.mark.parametrize(
    ("found", "precision", "computes"),
    [
        (INT8_CONV, "int8", True),
        (HALF_CONV, "fp16", True),
        (FLOAT_CONV, "fp32", True),
        (MYELIN, "fp16", True),
        (CORRELATION, "int8", True),
        (REFORMAT, "fp32", False),
        (DLA, "fp16", True),
        (DLA_INT8, "int8", True),
        (MYELIN_WHOLE, "fp16", True),
        (DLA_MUTE, "unknown", True),
        (layer("kgen", "BFloat16", "BFloat16"), "bf16", False),
        (layer("kgen", "UInt8", "Half"), "uint8", False),
        ({"Name": "shuffle", "LayerType": "Shuffle"}, "unknown", False),
    ],
)
def test_a_layer_has_the_precision_it_computes_in(found, precision, computes):
    (row,) = read_inspector(inspected(found)).layers
    assert (row.precision, row.computes) == (precision, computes)


def test_only_what_computes_is_counted():
    table = read_inspector(inspected(INT8_CONV, INT8_CONV, HALF_CONV, REFORMAT))
    assert table.counts() == {"fp16": 1, "int8": 2}
    assert table.counts(computing=False) == {"fp16": 1, "fp32": 1, "int8": 2}


def test_version_11s_form_is_read_too():
    text = json.dumps(
        {"Layers": [HALF_CONV], "I/O Tensors": [{"Name": "frame", "DataType": "UInt8"}]}
    )
    assert read_inspector(text).counts() == {"fp16": 1}


@pytest.mark.parametrize(
    ("asked", "layers"),
    [
        ("fp32", [FLOAT_CONV]),
        ("fp16", [FLOAT_CONV, HALF_CONV]),
        ("int8", [INT8_CONV, HALF_CONV]),
        ("fp16", [REFORMAT, DLA]),
        ("int8", [REFORMAT, DLA_INT8]),
    ],
)
def test_what_was_asked_for_and_built_is_accepted(asked, layers):
    require_precision(read_inspector(inspected(*layers)), asked)


@pytest.mark.parametrize(
    ("asked", "layers"),
    [
        ("fp16", [FLOAT_CONV, REFORMAT]),
        ("int8", [HALF_CONV, FLOAT_CONV]),
        ("int8", [DLA]),
        ("fp16", [DLA_MUTE]),
        # A quantiser that writes INT8 does not make the convolution behind it one.
        ("int8", [layer("Reformat", "Float", "Int8"), FLOAT_CONV]),
    ],
)
def test_a_silent_fall_back_is_an_error(asked, layers):
    with pytest.raises(BackendError, match=rf"{asked.upper()} was asked for but not built"):
        require_precision(read_inspector(inspected(*layers)), asked)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("[1, 2]", "no layers"),
        ('{"Layers": []}', "no layers"),
        ('{"Layers": ["conv1", "conv2"]}', "names of 2 layers but no types"),
    ],
)
def test_what_says_nothing_about_precisions_is_refused(text, message):
    with pytest.raises(BackendError, match=message):
        read_inspector(text)
