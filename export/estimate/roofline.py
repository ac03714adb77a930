"""From operators and a device's peaks to a range of times.

The fast end: every operator takes the longer of its arithmetic at the full dense tensor-core peak
and its traffic at the full memory bandwidth. All values are taken to pass through memory between
operators; a network so small that they stay in the GPU's cache may be faster.

The slow end: a quarter of the arithmetic peak (small channel counts do not fill tensor cores),
depthwise convolutions on CUDA cores, generated weights and everything that is no convolution or
matrix product in FP16 under INT8, 60 % of the bandwidth, and 5 us for each kernel.

In both, operators that work on each value alone are fused into the one before and cost nothing, as
TensorRT mostly does. A well-built engine is expected between the two; neither is a measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from export.estimate.devices import BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from export.estimate.devices import Device, Precision
    from export.estimate.trace import Operator

ARITHMETIC_SHARE = 0.25
BANDWIDTH_SHARE = 0.6
KERNEL_S = 5e-6

ASSUMPTIONS = (
    "fast end: each operator at the longer of dense tensor-core peak and memory bandwidth; values "
    "pass through memory between operators, so a network that fits the cache may be faster",
    f"slow end: {ARITHMETIC_SHARE:.0%} of the arithmetic peak, {BANDWIDTH_SHARE:.0%} of the "
    f"bandwidth, {KERNEL_S * 1e6:g} us a kernel, depthwise convolutions on CUDA cores",
    "operators on single values are fused; under INT8 the slow end computes generated weights and "
    "moves values in FP16",
    "the network alone, batch 1, highest power mode, no throttling; decoding, copies, drawing and "
    "other programs are not in it",
)


@dataclass(frozen=True)
class Estimate:
    """Of one network on one device; milliseconds."""

    device: str
    precision: Precision
    fast_ms: float
    """Lower end of the range."""
    slow_ms: float
    """Upper end."""
    bound: Literal["arithmetic", "memory"]
    """What takes most of the fast end."""

    def cameras_fps(self, cameras: int) -> tuple[float, float]:
        """Pictures a second for each of so many cameras in turns: slow end, fast end."""
        return 1e3 / (self.slow_ms * cameras), 1e3 / (self.fast_ms * cameras)


def traffic_bytes(operators: Sequence[Operator], precision: Precision) -> int:
    """Bytes that the operators of the fast end read and write."""
    each = BYTES[precision]
    return sum(_bytes(one, each, each) for one in operators if one.kind != "pointwise")


def estimate(operators: Sequence[Operator], device: Device, precision: Precision) -> Estimate:
    """The range of times for one picture."""
    each = BYTES[precision]
    fast = slow = arithmetic = 0.0
    for one in operators:
        if one.kind == "pointwise":
            continue
        compute_s = one.macs / device.tensor_macs(precision)
        traffic_s = _bytes(one, each, each) / device.bandwidth
        fast += max(compute_s, traffic_s)
        arithmetic += compute_s if compute_s >= traffic_s else 0.0
        slow += _slow_s(one, device, precision)
    return Estimate(
        device.name,
        precision,
        fast * 1e3,
        slow * 1e3,
        "arithmetic" if arithmetic > fast / 2 else "memory",
    )


def _bytes(one: Operator, activation: int, weight: int) -> int:
    return one.activations * activation + one.weights * weight + one.plain_bytes


def _slow_s(one: Operator, device: Device, precision: Precision) -> float:
    """Of one kernel at the slow end."""
    if precision == "int8" and (one.kind == "move" or one.generated):
        precision = "fp16"
    peak = device.tensor_macs(precision)
    if precision == "fp32" or one.depthwise:
        peak = device.cuda_macs
    compute_s = one.macs / (peak * ARITHMETIC_SHARE)
    each = BYTES[precision]
    traffic_s = _bytes(one, each, each) / (device.bandwidth * BANDWIDTH_SHARE)
    return max(compute_s, traffic_s) + KERNEL_S
