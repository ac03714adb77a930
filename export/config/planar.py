"""A model's graph with the input and output that other runtimes expect.

They feed float32 (1, 3, H, W) where ours takes uint8 (1, H, W, 3), and they read class ids as
int32 or one score a class where ours gives uint8. Normalisation stays inside the graph, and values
stay 0..255, so that the arithmetic between input and mask is the very same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edge_runtime.errors import ArtifactError, ParityError

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Head, Manifest

Form = Literal["mask", "mask-nhwc", "scores"]
"""int32 ids (1, H, W); the same as (1, H, W, 1); float32 (1, C, H, W), greatest for the class."""

INPUT = "frame_nchw"
OUTPUTS: dict[Form, str] = {"mask": "mask", "mask-nhwc": "mask_nhwc", "scores": "scores"}
_IDS = "hyperseg_ids"
PARITY_FRAMES = 2


def planar_graph(
    graph: onnx.ModelProto, manifest: Manifest, head: Head, form: Form
) -> onnx.ModelProto:
    """A copy of `graph` that takes `INPUT` and gives ``OUTPUTS[form]``.

    Args:
        graph: of a model of ours, uint8 (1, H, W, 3) in.
        manifest: its manifest.
        head: what it gives.
        form: what is wanted.

    Raises:
        ArtifactError: something other than a type conversion reads the frame or writes the mask.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(graph)
    height, width = manifest.input_size
    _planar_input(made.graph, manifest.inputs[0].name, (height, width))
    answer = made.graph.output[0].name
    tail = _Tail(made.graph)
    if head == "mask":
        ids = _ids_of_mask(made.graph, answer)
    else:
        ids = "" if form == "scores" else _ids_of_logits(tail, answer)
    classes = len(manifest.labels)
    shapes: dict[Form, tuple[int, ...]] = {
        "mask": (1, height, width),
        "mask-nhwc": (1, height, width, 1),
        "scores": (1, classes, height, width),
    }
    if form == "mask":
        tail.add("Identity", [ids], OUTPUTS[form])
    elif form == "mask-nhwc":
        tail.add("Unsqueeze", [ids, tail.constant("channel", [3])], OUTPUTS[form])
    elif head == "logits":
        tail.add("Softmax", [answer], OUTPUTS[form], axis=1)
    else:
        _one_hot(tail, ids, classes)
    element = onnx.TensorProto.FLOAT if form == "scores" else onnx.TensorProto.INT32
    del made.graph.output[:]
    made.graph.output.append(
        onnx.helper.make_tensor_value_info(OUTPUTS[form], element, shapes[form])
    )
    return _checked(made)


class _Tail:
    """Adds nodes and constants at the end of a graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        import onnx

        node = onnx.helper.make_node(operator, inputs, [output], name=output, **attributes)
        self._graph.node.append(node)
        return output

    def constant(self, name: str, values: object, dtype: type[np.generic] = np.int64) -> str:
        import onnx

        full = f"hyperseg_{name}"
        self._graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, dtype), full))
        return full


def _planar_input(graph: onnx.GraphProto, name: str, size: tuple[int, int]) -> None:
    import onnx

    readers = [node.op_type for node in graph.node if name in node.input]
    if not readers or set(readers) != {"Cast"}:
        raise ArtifactError(
            f"the frame {name!r} is read by {sorted(set(readers))}; expected a conversion (Cast) "
            "only: export the model with this version"
        )
    planar = onnx.helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, (1, 3, *size))
    kept = [value for value in graph.input if value.name != name]
    del graph.input[:]
    graph.input.extend([planar, *kept])
    # The conversion that reads `name` turns from uint8 -> float into float -> float: nothing.
    turn = onnx.helper.make_node("Transpose", [INPUT], [name], name=INPUT, perm=[0, 2, 3, 1])
    graph.node.insert(0, turn)


def _ids_of_mask(graph: onnx.GraphProto, mask: str) -> str:
    """Let the conversion that makes the uint8 mask make int32 instead; gives its name.

    TensorRT has uint8 only at a network's ends, so a second conversion behind it would not build.
    """
    import onnx

    (writer,) = [node for node in graph.node if mask in node.output]
    if writer.op_type != "Cast" or any(mask in node.input for node in graph.node):
        raise ArtifactError(
            f"the mask {mask!r} is written by {writer.op_type!r}; expected a conversion (Cast) at "
            "the end: export the model with this version"
        )
    for attribute in writer.attribute:
        if attribute.name == "to":
            attribute.i = onnx.TensorProto.INT32
    writer.output[0] = _IDS
    return _IDS


def _ids_of_logits(tail: _Tail, logits: str) -> str:
    import onnx

    best = tail.add("ArgMax", [logits], "hyperseg_best", axis=1, keepdims=0)
    return tail.add("Cast", [best], _IDS, to=onnx.TensorProto.INT32)


def _one_hot(tail: _Tail, ids: str, classes: int) -> None:
    """1.0 for a pixel's class, 0.0 for the others."""
    import onnx

    each = tail.constant("classes", np.arange(classes).reshape(1, classes, 1, 1), np.int32)
    channel = tail.add("Unsqueeze", [ids, tail.constant("channel", [1])], "hyperseg_ids_nchw")
    same = tail.add("Equal", [channel, each], "hyperseg_same")
    tail.add("Cast", [same], OUTPUTS["scores"], to=onnx.TensorProto.FLOAT)


def _checked(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    del model.graph.value_info[:]  # notes on types that are no longer so
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ArtifactError(f"the graph cannot take planar float frames: {error}") from error
    return model


def class_ids(answer: NDArray[Any]) -> NDArray[Any]:
    """The (H, W) class ids in an answer of any `Form` or head."""
    if answer.dtype == np.float32:
        ids: NDArray[Any] = answer[0].argmax(0)
        return ids
    return answer.reshape(answer.shape[1:3])


def require_parity(
    original: onnx.ModelProto,
    planar: onnx.ModelProto,
    manifest: Manifest,
    encode: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
) -> float:
    """Run both in ONNX Runtime on frames; share of pixels with the same class.

    Args:
        original: the model as it is.
        planar: what `planar_graph` made of it.
        manifest: of the original.
        encode: the other runtime's way from a (H, W, 3) frame to (1, 3, H, W).

    Raises:
        ParityError: more than one pixel in ten thousand differs.
    """
    from export.probe_frames import frames_for
    from export.sessions import GraphRun

    before, after = GraphRun(original), GraphRun(planar)
    same = total = 0
    for frame in frames_for(manifest, None, PARITY_FRAMES):
        (ours,) = before({manifest.inputs[0].name: frame[None]}).values()
        (theirs,) = after({INPUT: encode(frame)}).values()
        equal = class_ids(ours) == class_ids(theirs)
        same, total = same + int(equal.sum()), total + equal.size
    agreement = same / total
    if agreement < 0.9999:
        raise ParityError(
            f"the model for planar float frames agrees with {manifest.name} in {agreement:.4%} of "
            "the pixels only, expected 99.99 %; nothing was written"
        )
    return agreement


def planar(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A (H, W, 3) uint8 frame as float32 (1, 3, H, W) of 0..255, as nvinfer feeds it."""
    return np.ascontiguousarray(frame.transpose(2, 0, 1)[None], np.float32)
