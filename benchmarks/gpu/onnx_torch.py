"""The graphs that `hyperseg export` writes, computed by torch on any device, tensor by tensor.

So the tensors of a graph can be had on a GPU under their own names, without ONNX Runtime's CUDA
build. Only the operators of our float graphs are known; anything else is refused by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from edge_runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx
    from torch import Tensor

ONNX_TYPES = {1: torch.float32, 2: torch.uint8, 3: torch.int8, 6: torch.int32, 7: torch.int64,
              9: torch.bool, 10: torch.float16}  # fmt: skip


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **given: Any) -> Tensor:
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    padding: int | tuple[int, int] = (top, left)
    if (top, left) != (bottom, right):
        x, padding = F.pad(x, (left, right, top, bottom)), 0
    return F.conv2d(
        x, weight, bias, tuple(given.get("strides", (1, 1))), padding,
        tuple(given.get("dilations", (1, 1))), given.get("group", 1),
    )  # fmt: skip


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return torch.clamp(x, low, high)


def _resize(
    x: Tensor, roi: Any = None, scales: Tensor | None = None, sizes: Tensor | None = None,
    **given: Any,
) -> Tensor:  # fmt: skip
    wanted = (
        _ints(sizes)[2:]
        if sizes is not None
        else [round(edge * s) for edge, s in zip(x.shape[2:], _floats(scales)[2:], strict=True)]
    )
    how = (given["mode"], given.get("coordinate_transformation_mode", b"half_pixel"))
    if how == (b"linear", b"half_pixel"):
        return F.interpolate(x, wanted, mode="bilinear", align_corners=False)
    if how == (b"nearest", b"asymmetric") and given.get("nearest_mode") == b"floor":
        return F.interpolate(x, wanted, mode="nearest")
    raise BackendError(f"Resize {how} is not known here")


def _slice(
    x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:  # fmt: skip
    count = len(starts)
    along = _ints(axes) if axes is not None else list(range(count))
    by = _ints(steps) if steps is not None else [1] * count
    for axis, start, end, step in zip(along, _ints(starts), _ints(ends), by, strict=True):
        cut = [slice(None)] * x.ndim
        cut[axis] = slice(start, end, step)
        x = x[tuple(cut)]
    return x


def _reshape(x: Tensor, shape: Tensor, allowzero: int = 0) -> Tensor:
    wanted = _ints(shape)
    if not allowzero:
        wanted = [x.shape[i] if edge == 0 else edge for i, edge in enumerate(wanted)]
    return x.reshape(wanted)


def _reduce_mean(x: Tensor, axes: Tensor, keepdims: int = 1, **given: Any) -> Tensor:
    return x.mean(_ints(axes), keepdim=bool(keepdims))


def _gather(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    length = x.shape[axis]
    if indices.ndim == 0:
        return x.select(axis, int(indices) % length)
    flat = torch.index_select(x, axis, (indices.reshape(-1) % length).to(x.device))
    return flat.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


def _unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(_ints(axes)):
        x = x.unsqueeze(axis)
    return x


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    wanted = _ints(shape)
    return x.expand(torch.broadcast_shapes(x.shape, torch.Size(wanted)))


def _argmax(x: Tensor, axis: int = 0, keepdims: int = 1, **given: Any) -> Tensor:
    return x.argmax(axis, keepdim=bool(keepdims))


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add,
    "ArgMax": _argmax,
    "Cast": lambda x, to, **given: x.to(ONNX_TYPES[to]),
    "Clip": _clip,
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Conv": _conv,
    "Expand": _expand,
    "Gather": _gather,
    "Identity": lambda x: x,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "ReduceMean": _reduce_mean,
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Transpose": lambda x, perm: x.permute(perm),
    "Unsqueeze": _unsqueeze,
}


class TorchGraph:
    """One float graph on one device.

    Args:
        model: as `hyperseg export` wrote it, weights in float32.
        device: where it is computed.

    Raises:
        BackendError: it has an operator that is not known here.
    """

    def __init__(self, model: onnx.ModelProto, device: torch.device) -> None:
        from onnx import helper, numpy_helper

        unknown = {node.op_type for node in model.graph.node} - {*OPERATORS, "Constant"}
        if unknown:
            raise BackendError(f"operators {', '.join(sorted(unknown))} are not known here")
        self._input = model.graph.input[0].name
        self._device = device
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes = []
        for node in model.graph.node:
            given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                constants[node.output[0]] = given["value"]
            else:
                self._nodes.append((node.op_type, list(node.input), node.output[0], given))
        self._constants: dict[str, Tensor] = {}
        for name, tensor in constants.items():
            values = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
            # Shapes, axes and indices are read by the host.
            on = device if values.is_floating_point() else torch.device("cpu")
            self._constants[name] = values.to(on)

    @torch.inference_mode()
    def run(self, frame: np.ndarray[Any, Any], names: Sequence[str]) -> dict[str, Tensor]:
        """The named tensors for one frame, on the device.

        Args:
            frame: (H, W, 3) uint8.
            names: of tensors of the graph.
        """
        values: dict[str, Tensor] = dict(self._constants)
        values[self._input] = torch.from_numpy(np.array(frame))[None].to(self._device)
        for kind, sources, target, given in self._nodes:
            inputs = [values[source] if source else None for source in sources]
            values[target] = OPERATORS[kind](*inputs, **given)
        return {name: values[name] for name in names}


def _ints(values: Tensor | None) -> list[int]:
    assert values is not None
    return [int(value) for value in values.reshape(-1).tolist()]


def _floats(values: Tensor | None) -> list[float]:
    assert values is not None
    return [float(value) for value in values.reshape(-1).tolist()]
