"""Half-size model files: weights stored as float16 and cast back to float32 when a model is loaded.

The arithmetic stays float32 (engines fold the casts once, at load), so only the rounding of the
weights to 11 bits is lost; what that does to the masks is measured and written into the manifest.
An FP16 graph, which also computes in float16, is another thing (`export.fp16`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import ParityError
from edge_runtime.stored_weights import SUFFIX

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

_MIN_ELEMENTS = 64
"""Smaller tensors (scales, shapes, biases of few channels) are not worth a node."""


@dataclass(frozen=True)
class StorageLoss:
    """What storing the weights as float16 does to the answers."""

    pixels_changed: float
    """Share of mask pixels that differ from the float32 file's, 0..1."""
    frames: int


def pack_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large float32 initializers are float16 with a Cast behind each.

    Raises:
        ParityError: a weight is beyond float16's range.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    packed = onnx.ModelProto()
    packed.CopyFrom(graph)
    casts = []
    for tensor in packed.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < _MIN_ELEMENTS:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(_to_float16(name, values), name + SUFFIX))
        casts.append(helper.make_node("Cast", [name + SUFFIX], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *packed.graph.node]
    del packed.graph.node[:]
    packed.graph.node.extend(nodes)
    onnx.checker.check_model(packed, full_check=True)
    return packed


def measure_loss(
    graph: onnx.ModelProto, packed: onnx.ModelProto, frames: NDArray[np.uint8]
) -> StorageLoss:
    """Run both files on (N, 1, H, W, 3) uint8 frames and count the mask pixels that change.

    A head of logits is decided by argmax first.
    """
    import onnxruntime

    def masks(model: onnx.ModelProto) -> NDArray[np.int64]:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        outputs = [np.asarray(session.run(None, {name: frame})[0]) for frame in frames]
        return np.stack([o.argmax(1) if o.ndim == 4 else o for o in outputs]).astype(np.int64)

    changed = float((masks(graph) != masks(packed)).mean())
    return StorageLoss(changed, len(frames))


def _to_float16(name: str, values: NDArray[np.float32]) -> NDArray[np.float16]:
    peak = float(np.abs(values).max())
    if peak > float(np.finfo(np.float16).max):
        raise ParityError(
            f"weight {name} reaches {peak:.3g}, beyond float16 (65504); export with --store float32"
        )
    return values.astype(np.float16)
