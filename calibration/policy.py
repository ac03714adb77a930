"""Where Q/DQ pairs go: one set of rules over the deploy graph, for every stage that needs them.

All policies quantise symmetrically, weights per output channel, and leave biases, network outputs
and generated weights alone. They differ in what the engine needs around an operator:

- ``trt-gpu``: int8 with zero point 0 on the inputs of convolutions, and on the residual branch of
  an Add, so that the other branch's convolution fuses with it. Small convolutions stay float.
- ``trt-dla``: as above, on every tensor of the static part: DLA has no float path to fall back to.
- ``ort-cpu``: uint8 (zero point 0 for tensors that cannot be negative, else 128, the same grid as
  int8) on inputs and outputs of convolutions, both branches of an Add and all parts of a Concat:
  ONNX Runtime fuses an operator only if all around it is quantised, and drops a ReLU in front of
  a zero point of 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from calibration.graph import GraphView, Read
from calibration.operators import (
    ACTIVATIONS,
    refusal,
    residual_branch,
    scale_groups,
    sign_and_bound,
    static_nodes,
    weight_axis,
)
from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import onnx

PolicyName = Literal["trt-gpu", "trt-dla", "ort-cpu"]


@dataclass(frozen=True)
class Policy:
    """What an engine wants around its quantised operators."""

    name: PolicyName
    unsigned: bool
    """uint8 with zero point 0 or 128; otherwise int8 with zero point 0."""
    both_branches: bool
    """Quantise both inputs of an Add, not only the residual one."""
    outputs: bool
    """Quantise what a quantised operator puts out, for all who read it."""
    everything: bool
    """Quantise every tensor of the static part of the network."""
    image_conv: bool
    """Quantise the convolution that reads the image: few channels suit no INT8 kernel on a CPU."""
    dynamic: Literal["Conv", "MatMul"]
    """Which operator with generated weights can be had in INT8 on request: TensorRT knows the
    product of two quantised tensors from attention, ONNX Runtime gains from the convolution."""
    small_channels: int
    """Convolutions with fewer channels in or out stay float; 0 keeps none back."""


POLICIES: dict[str, Policy] = {
    "trt-gpu": Policy(
        "trt-gpu",
        unsigned=False,
        both_branches=False,
        outputs=False,
        everything=False,
        image_conv=True,
        dynamic="MatMul",
        small_channels=16,
    ),
    "trt-dla": Policy(
        "trt-dla",
        unsigned=False,
        both_branches=True,
        outputs=True,
        everything=True,
        image_conv=True,
        dynamic="MatMul",
        small_channels=0,
    ),
    "ort-cpu": Policy(
        "ort-cpu",
        unsigned=True,
        both_branches=True,
        outputs=True,
        everything=False,
        image_conv=False,
        dynamic="Conv",
        small_channels=0,
    ),
}
"""The policies by name."""
assert set(POLICIES) == set(get_args(PolicyName))


@dataclass(frozen=True)
class QuantizedTensor:
    """One run-time tensor that gets a Q/DQ pair."""

    name: str
    signed: bool
    """False if the graph shows that no value is negative."""
    bound: float | None
    """Largest value the graph allows, such as 6 behind a ReLU6; None if there is no limit."""
    group: str
    """Tensors of one group share a scale; the name of its first member."""
    reads: tuple[Read, ...]
    """The uses that read the dequantised tensor."""


@dataclass(frozen=True)
class QuantizedWeight:
    """One constant that gets a Q/DQ pair."""

    name: str
    axis: int
    """The axis with a scale per index."""
    reads: tuple[Read, ...]


@dataclass(frozen=True)
class Placement:
    """All Q/DQ pairs of a graph under a policy."""

    policy: Policy
    tensors: tuple[QuantizedTensor, ...]
    weights: tuple[QuantizedWeight, ...]
    quantized: tuple[str, ...]
    """Operators with constant weights that compute in INT8, by their first output."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Weighted operators that stay float, by their first output, and why."""
    spare: tuple[QuantizedTensor, ...] = ()
    """Tensors that get a pair once some of `quantized` are kept float too."""

    @property
    def measured(self) -> tuple[QuantizedTensor, ...]:
        """Whose ranges are wanted: enough for this placement with any more operators excluded."""
        return (*self.tensors, *self.spare)


def place(
    model: onnx.ModelProto,
    policy: Policy,
    *,
    exclude: Collection[str] = (),
    dynamic: bool = False,
) -> Placement:
    """Decide where the Q/DQ pairs of a graph go.

    Args:
        model: a deploy graph without Q/DQ nodes.
        policy: whose rules.
        exclude: nodes (by first output), or prefixes of weight names ending in ``.``, kept float.
        dynamic: also quantise operators with generated weights, both operands per tensor.

    Raises:
        OptionError: `exclude` names what the graph does not have.
        ArtifactError: the graph contradicts itself.
    """
    view = GraphView(model)
    _check_names(view, exclude)
    plan = _Plan(view, policy)
    for node in view.nodes.values():
        reason = refusal(view, node, policy, dynamic)
        if reason is None and _excluded(view, node, exclude):
            reason = "excluded by name"
        if reason is None:
            plan.take(node)
        elif reason:
            plan.skipped[node.output[0]] = reason
    plan.close()
    return plan.result()


class _Plan:
    """The placement while it is being made."""

    def __init__(self, view: GraphView, policy: Policy) -> None:
        self.view, self.policy = view, policy
        self.taken: list[str] = []
        self.skipped: dict[str, str] = {}
        self.reads: dict[str, set[Read]] = {}
        self.spare: dict[str, set[Read]] = {}
        self.weights: dict[str, tuple[int, set[Read]]] = {}

    def take(self, node: onnx.NodeProto) -> None:
        """Quantise a weighted operator."""
        self.taken.append(node.output[0])
        for index, name in enumerate(node.input[:2]):
            read = Read(node.output[0], index)
            axis = weight_axis(self.view, node, index)
            if axis is None:
                self._read(name, read)
            else:
                self.weights.setdefault(name, (axis, set()))[1].add(read)
        if self.policy.outputs:
            self._all_reads(self._behind(node.output[0]))

    def close(self) -> None:
        """Add what follows from the operators taken: branches, joins, everything."""
        if self.policy.everything:
            for node in static_nodes(self.view):
                for name in (*node.input, *node.output):
                    self._all_reads(name)
        for node in self.view.nodes.values():
            if node.op_type == "Add":
                self._add(node)
        if self.policy.outputs:
            for node in self.view.nodes.values():
                if node.op_type == "Concat":
                    self._concat(node)

    def result(self) -> Placement:
        """What was decided, in the order of the graph."""
        groups = scale_groups(self.view, {*self.reads, *self.spare})
        weights = [
            QuantizedWeight(name, axis, tuple(sorted(reads)))
            for name, (axis, reads) in self.weights.items()
        ]
        return Placement(
            self.policy, self._tensors(self.reads, groups), tuple(weights), tuple(self.taken),
            self.skipped, self._tensors(self.spare, groups),
        )  # fmt: skip

    def _tensors(
        self, placed: Mapping[str, set[Read]], groups: Mapping[str, str]
    ) -> tuple[QuantizedTensor, ...]:
        tensors = []
        for name in (*self.view.inputs, *self.view.producers):
            if name in placed:
                signed, bound = sign_and_bound(self.view, name)
                reads = tuple(sorted(placed[name]))
                tensors.append(QuantizedTensor(name, signed, bound, groups[name], reads))
        return tuple(tensors)

    def _read(self, name: str, read: Read) -> None:
        self.reads.setdefault(name, set()).add(read)

    def _all_reads(self, name: str) -> None:
        view = self.view
        if name in view.outputs or not view.is_float(name) or view.constant(name) is not None:
            return
        for read in view.readers.get(name, ()):
            self._read(name, read)

    def _behind(self, name: str) -> str:
        """The tensor behind the activation that fuses with the operator that makes `name`."""
        reader = self.view.sole_reader(name)
        fused = reader is not None and reader.op_type in ACTIVATIONS
        return reader.output[0] if reader is not None and fused else name

    def _add(self, node: onnx.NodeProto) -> None:
        residual = residual_branch(self.view, node, self.taken)
        if residual is None:
            return
        for index, name in enumerate(node.input):
            if self.policy.both_branches or index == residual:
                self._read(name, Read(node.output[0], index))
            elif self._could_be_residual(node, index):
                self.spare.setdefault(name, set()).add(Read(node.output[0], index))
        if self.policy.outputs:
            self._all_reads(self._behind(node.output[0]))

    def _could_be_residual(self, node: onnx.NodeProto, index: int) -> bool:
        """Whether an input that fuses becomes the residual one once its operator is float."""
        without = [name for name in self.taken if name != node.input[index]]
        return residual_branch(self.view, node, without) == index

    def _concat(self, node: onnx.NodeProto) -> None:
        """Quantise the parts if the whole is read quantised."""
        if node.output[0] in self.reads:
            for index, name in self.view.run_time_inputs(node):
                self._read(name, Read(node.output[0], index))


def _check_names(view: GraphView, exclude: Collection[str]) -> None:
    for name in exclude:
        known = name in view.nodes or any(
            weight.startswith(name) for weight in view.initializers if name.endswith(".")
        )
        if not known:
            raise OptionError(
                f"no operator {name!r} in the graph; name an operator's first output, or a prefix "
                "of weight names that ends in '.'"
            )


def _excluded(view: GraphView, node: onnx.NodeProto, exclude: Collection[str]) -> bool:
    if node.output[0] in exclude:
        return True
    prefixes = tuple(name for name in exclude if name.endswith("."))
    return any(name.startswith(prefixes) for name in node.input[1:2]) if prefixes else False
