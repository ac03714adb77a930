"""Published peaks of devices, and what is derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_runtime.errors import OptionError
from edge_runtime.suggest import suggestion

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class Device:
    """Peaks of one module's GPU, as its maker publishes them for the highest power mode."""

    name: str
    title: str
    sparse_int8_tops: float
    """Tensor cores of the GPU, structured sparsity counted: twice what a dense network can use."""
    fp32_tflops: float
    """CUDA cores."""
    bandwidth_gbs: float
    """Of the memory that CPU and GPU share, 10^9 bytes a second."""
    source: str
    """Where the figures were published, and when."""

    def tensor_macs(self, precision: Precision) -> float:
        """Dense multiply-accumulates a second on tensor cores; FP32 means TF32 there.

        Derived: dense is half of sparse, FP16 half of INT8, TF32 half of FP16, and a
        multiply-accumulate is two operations.
        """
        int8 = self.sparse_int8_tops * 1e12 / 2 / 2
        return int8 / {"int8": 1, "fp16": 2, "fp32": 4}[precision]

    @property
    def cuda_macs(self) -> float:
        """FP32 multiply-accumulates a second on CUDA cores."""
        return self.fp32_tflops * 1e12 / 2

    @property
    def bandwidth(self) -> float:
        """Bytes a second."""
        return self.bandwidth_gbs * 1e9


DEVICES = {
    device.name: device
    for device in (
        Device(
            "orin-nano", "Jetson Orin Nano 8GB, Super mode (MAXN SUPER)",
            sparse_int8_tops=67, fp32_tflops=2.09, bandwidth_gbs=102,
            source="NVIDIA, Jetson Orin Nano Super Developer Kit datasheet, December 2024: 67 "
            "sparse INT8 TOPS, 102 GB/s; FP32 of 1024 CUDA cores at 1.02 GHz",
        ),
        Device(
            "agx-orin", "Jetson AGX Orin 64GB (MAXN)",
            sparse_int8_tops=170, fp32_tflops=5.3, bandwidth_gbs=204.8,
            source="NVIDIA, Jetson AGX Orin Series Technical Brief v1.2, July 2022: 275 sparse "
            "INT8 TOPS, of which 170 on the GPU and 105 on two DLAs that are left out here; 5.3 "
            "FP32 TFLOPS, 204.8 GB/s",
        ),
        Device(
            "thor", "Jetson AGX Thor, T5000 (MAXN)",
            sparse_int8_tops=1035, fp32_tflops=8.06, bandwidth_gbs=273,
            source="NVIDIA, Jetson T5000 datasheet, August 2025: 2070 sparse FP4 TFLOPS, 273 GB/s; "
            "sparse FP8 is half of that and INT8 is taken to be as fast as FP8; FP32 of 2560 CUDA "
            "cores at 1.575 GHz",
        ),
    )
}  # fmt: skip
"""By the name that is typed."""


def device(name: str) -> Device:
    """The device of that name.

    Raises:
        OptionError: there is none.
    """
    try:
        return DEVICES[name]
    except KeyError:
        raise OptionError(f"no target {name!r}; {suggestion(name, DEVICES)}") from None
