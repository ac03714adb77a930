"""How many channels a block has on this machine, found by computing one convolution."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.backends.blocked.emit import DOMAIN, Emitter
from edge_runtime.backends.ort import error_types, session_options

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCKS = (16, 8)
"""Those that ONNX Runtime is built with."""
CHANNELS, USED = 32, 20
"""Of the convolution, and of what is read of it: a block must end between them in either case."""
SIDE = 5
LIMITS = (0.0, 0.5)
TOLERANCE = 1e-5
OPSET, IR_VERSION = 18, 9


@cache
def machine_block() -> int | None:
    """Channels of a block here; None where ONNX Runtime has no blocked convolution.

    The convolution, its activation and `ReorderOutput` are computed with data laid out for each
    size, and believed only if the result is that of the plain arithmetic.
    """
    return next((block for block in BLOCKS if _equal(block)), None)


def _equal(block: int) -> bool:
    import onnxruntime as ort

    rng = np.random.default_rng(0)
    pixels, weights = (
        rng.standard_normal((CHANNELS, side, side)).astype(np.float32) for side in (SIDE, 3)
    )
    bias = rng.standard_normal(CHANNELS).astype(np.float32)
    feeds = {"x": _laid_out(pixels, block)[None], "w": _laid_out(weights, block)[:, None]}
    try:
        session = ort.InferenceSession(
            _model(feeds, bias), session_options(ort, 1), providers=["CPUExecutionProvider"]
        )
        found = session.run(None, feeds)[0]
    except error_types():
        return False
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3), (1, 2))
    wanted = np.einsum("cyxij,cij->yxc", windows, weights) + bias
    wanted = wanted[None, ..., :USED].clip(*LIMITS)
    return bool(found.shape == wanted.shape and abs(found - wanted).max() < TOLERANCE)


def _laid_out(channels: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """(C, H, W), with the values of a block side by side in memory."""
    blocked = channels.reshape(CHANNELS // block, block, -1).transpose(0, 2, 1)
    return np.ascontiguousarray(blocked).reshape(channels.shape)


def _model(feeds: dict[str, NDArray[Any]], bias: NDArray[np.float32]) -> bytes:
    from onnx import TensorProto, helper

    emit = Emitter("probe")
    made = emit.node(
        "Conv", "x", "w", emit.constant(bias), domain=DOMAIN, group=CHANNELS, kernel_shape=[3, 3],
        activation="Clip", activation_params=list(LIMITS),
    )  # fmt: skip
    emit.node("ReorderOutput", made, domain=DOMAIN, output="y", channels=USED, channels_last=1)
    graph = helper.make_graph(
        emit.nodes,
        "probe",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in feeds.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        emit.constants,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(model.SerializeToString())
