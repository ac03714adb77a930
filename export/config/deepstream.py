"""DeepStream: a configuration of nvinfer, the model in the form nvinfer feeds, a pipeline.

Keys are those of nvinfer's own parser (``gstnvinfer_property_parser.h``). nvinfer computes
``net-scale-factor * (x - offset)`` and hands planar float32 on; with a factor of 1 and no offsets
that is the frame as it is, and the normalisation inside the graph does the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from export.config.planar import OUTPUTS, planar, planar_graph, require_parity
from export.config.subject import Plan, graph_of

if TYPE_CHECKING:
    import onnx

    from export.config.planar import Form
    from export.config.subject import Subject
    from export.precision import Precision

NETWORK_MODES: dict[Precision, int] = {"fp32": 0, "int8": 1, "fp16": 2}
"""nvinfer's ``network-mode`` by the precision that the graph carries."""
SEGMENTATION, OTHER = 2, 100
"""nvinfer's ``network-type``: it takes the scores apart itself, or hands the tensors on."""


def plan_deepstream(subject: Subject, *, scores: bool = False) -> Plan:
    """What DeepStream needs for the model.

    Args:
        subject: an ONNX model.
        scores: let a model that gives class ids give one score a class instead, so that nvinfer
            makes segmentation metadata that nvsegvisual draws.

    Raises:
        ArtifactError: it is an engine, or its graph cannot be adapted.
        ParityError: the adapted graph does not agree with the model.
    """
    from export.precision import graph_precision

    graph = graph_of(subject, "DeepStream")
    form: Form = "scores" if scores or subject.head == "logits" else "mask"
    made = planar_graph(graph, subject.manifest, subject.head, form)
    agreement = require_parity(graph, made, subject.manifest, planar)
    precision = graph_precision(graph)
    properties = nvinfer_properties(subject, form, precision)
    config = f"config_infer_{subject.name}.txt"
    plan = Plan(
        files={
            config: _key_file(subject, properties),
            "labels.txt": subject.labels_text,
            "pipeline.sh": pipeline(subject, config, form),
        },
        binaries={f"{subject.name}.onnx": lambda path: _save(made, str(path))},
        notes=[
            f"{subject.name}.onnx takes float32 (1, 3, H, W) of 0..255 in place of uint8 "
            f"(1, H, W, 3), as nvinfer feeds it; it agrees in {agreement:.4%} of the pixels"
        ],
    )
    _explain(plan, subject, form, precision)
    return plan


def nvinfer_properties(subject: Subject, form: Form, precision: Precision) -> dict[str, str]:
    """The ``[property]`` group: key to value."""
    manifest = subject.manifest
    height, width = manifest.input_size
    letterbox = int(manifest.preprocess.resize == "letterbox")
    mode = {0: "fp32", 1: "int8", 2: "fp16"}[NETWORK_MODES[precision]]
    properties = {
        "gpu-id": "0",
        "gie-unique-id": "1",
        "process-mode": "1",
        "batch-size": "1",
        "onnx-file": f"{subject.name}.onnx",
        "model-engine-file": f"{subject.name}.onnx_b1_gpu0_{mode}.engine",
        "labelfile-path": "labels.txt",
        "infer-dims": f"3;{height};{width}",
        "network-input-order": "0",
        "network-mode": str(NETWORK_MODES[precision]),
        "network-type": str(SEGMENTATION if form == "scores" else OTHER),
        "num-detected-classes": str(len(manifest.labels)),
        "model-color-format": "0" if manifest.preprocess.color == "RGB" else "1",
        "net-scale-factor": "1.0",
        "maintain-aspect-ratio": str(letterbox),
        "symmetric-padding": str(letterbox),
        "output-blob-names": OUTPUTS[form],
    }
    if form == "scores":
        # nvinfer takes the greatest score above the threshold: a softmax's is above 0, and of
        # ids taken apart one is 1 and the others are 0.
        threshold = "0.0" if subject.head == "logits" else "0.5"
        return properties | {"segmentation-threshold": threshold, "segmentation-output-order": "0"}
    return properties | {"output-tensor-meta": "1"}


def _key_file(subject: Subject, properties: dict[str, str]) -> str:
    lines = [
        f"# nvinfer's configuration for {subject.name} ({subject.manifest.sha256[:12]}).",
        "# Paths are relative to this file. The engine is built at the first start.",
        "[property]",
        *(f"{key}={value}" for key, value in properties.items()),
    ]
    return "\n".join(lines) + "\n"


def pipeline(subject: Subject, config: str, form: Form) -> str:
    """A shell script: a video through nvinfer; with scores, what it saw as out.avi."""
    height, width = subject.manifest.input_size
    if form == "scores":
        tail = f"""nvsegvisual width={width} height={height} batch-size=1 ! nvvideoconvert ! \\
    'video/x-raw,format=I420' ! jpegenc ! avimux ! filesink location=out.avi"""
    else:
        tail = "fakesink sync=false"
    return f"""#!/bin/sh
# {subject.name} in DeepStream: sh pipeline.sh file:///path/to/video.mp4 [WIDTH HEIGHT]
# WIDTH and HEIGHT are the video's own, so that the muxer leaves the picture as it is.
set -eu
uri=${{1:?give the URI of a video}} width=${{2:-1920}} height=${{3:-1080}}
CDPATH='' cd -- "$(dirname -- "$0")"
exec gst-launch-1.0 -e uridecodebin uri="$uri" ! m.sink_0 \\
    nvstreammux name=m batch-size=1 width="$width" height="$height" ! \\
    nvinfer config-file-path={config} ! \\
    {tail}
"""


def _explain(
    plan: Plan, subject: Subject, form: Form, precision: Literal["fp32", "fp16", "int8"]
) -> None:
    name = subject.name
    if form == "mask":
        plan.notes.append(
            "the model gives class ids, so nvinfer hands them on as NvDsInferTensorMeta (layer "
            "'mask', INT32, H x W) and nvsegvisual has nothing to draw; --scores gives it that"
        )
    elif subject.head == "mask":
        height, width = subject.manifest.input_size
        size = len(subject.manifest.labels) * height * width * 4 / 1e6
        plan.notes.append(
            f"scores are {size:.0f} MB a frame that nvinfer copies and searches on the CPU; "
            "without --scores it is one INT32 a pixel"
        )
    if precision == "int8":
        plan.notes.append(
            "nvinfer builds no INT8 engine without a calibration file; build this one first: "
            f"trtexec --onnx={name}.onnx --stronglyTyped "
            f"--saveEngine={name}.onnx_b1_gpu0_int8.engine"
        )


def _save(model: onnx.ModelProto, path: str) -> None:
    import onnx

    onnx.save(model, path)
