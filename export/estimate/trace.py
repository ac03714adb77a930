"""A network's operators with their multiply-accumulates and the elements they read and write.

The deployment form is traced on torch's meta device: shapes are computed, values are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from export.deploy import DeployHyperSeg
from training.model.config import check_size
from training.model.hyperseg import HyperSeg

if TYPE_CHECKING:
    from training.model.config import HyperSegConfig

Kind = Literal["product", "move", "pointwise"]


@dataclass(frozen=True)
class Operator:
    """One operator of the network, at batch 1."""

    name: str
    kind: Kind
    """A convolution or matrix product; one that moves or reduces values, such as a resize; or one
    that works on each value alone."""
    macs: int
    activations: int
    """Floating point values read and written that are no weights."""
    weights: int
    """Constant values read."""
    plain_bytes: int
    """Of integers read and written, whose size does not depend on the precision."""
    depthwise: bool = False
    """A convolution with one channel a group: no work for tensor cores."""
    generated: bool = False
    """A product of two activations: weights that the network makes for each picture."""


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects `operators` while a network runs on the meta device.

    Args:
        constants: parameters and buffers; what is computed of them alone is folded away.
    """

    def __init__(self, constants: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[Operator] = []
        # By identity, and held, so that no number is given to another tensor.
        self._constants = {id(tensor): tensor for tensor in constants}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator and take note of it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        outputs = _tensors(result)
        inputs = _tensors((args, kwargs))
        if all(id(tensor) in self._constants for tensor in inputs):
            self._constants |= {id(tensor): tensor for tensor in outputs}
        elif not func.is_view:
            self._note(func, args, kwargs, result, inputs, outputs)
        return result

    def _note(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
        inputs: list[torch.Tensor],
        outputs: list[torch.Tensor],
    ) -> None:
        count = flop_registry.get(func.overloadpacket)
        macs = 0 if count is None else int(count(*args, **kwargs, out_val=result)) // 2
        constant = [tensor for tensor in inputs if id(tensor) in self._constants]
        moving = [tensor for tensor in inputs if id(tensor) not in self._constants] + outputs
        kind: Kind = "move"
        if count is not None:
            kind = "product"
        elif torch.Tag.pointwise in func.tags:
            kind = "pointwise"
        operands = [tensor for tensor in inputs if tensor.dim() > 1]
        self.operators.append(
            Operator(
                name=str(func.overloadpacket).removeprefix("aten."),
                kind=kind,
                macs=macs,
                activations=sum(t.numel() for t in moving if t.is_floating_point()),
                weights=sum(t.numel() for t in constant),
                plain_bytes=sum(
                    t.numel() * min(t.element_size(), 4)
                    for t in moving
                    if not t.is_floating_point()
                ),
                depthwise=_is_depthwise(func, args),
                generated=kind == "product"
                and not any(id(tensor) in self._constants for tensor in operands),
            )
        )


def _is_depthwise(func: Any, args: tuple[Any, ...]) -> bool:
    if func.overloadpacket is not torch.ops.aten.convolution:
        return False
    groups, weight = args[8], args[1]
    return bool(groups > 1 and weight.shape[1] == 1)


def _tensors(value: Any) -> list[torch.Tensor]:
    """All tensors in nested lists, tuples and dictionaries."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return _tensors(list(value.values()))
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


@lru_cache(maxsize=64)
def trace(config: HyperSegConfig, size: tuple[int, int]) -> tuple[Operator, ...]:
    """The operators of the deployment form, from a uint8 frame to a uint8 mask.

    Args:
        config: of the network.
        size: (height, width).

    Raises:
        OptionError: the size does not fit the network.
    """
    check_size(config, *size)
    with torch.device("meta"), torch.no_grad():
        network = DeployHyperSeg(HyperSeg(config).eval(), size, "mask")
        frame = torch.zeros(1, *size, 3, dtype=torch.uint8)
        tracer = Tracer([*network.parameters(), *network.buffers()])
        with tracer:
            network(frame)
    return tuple(tracer.operators)
