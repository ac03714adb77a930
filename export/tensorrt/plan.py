"""From options, graph and capabilities to the exact build, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.engines.identity import VERSION_COMPATIBLE
from edge_runtime.errors import OptionError
from export.tensorrt.options import AUTO, MIN_WORKSPACE_MIB, NO_CACHE

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.engines.gpu import Gpu
    from export.precision import Precision
    from export.tensorrt.capabilities import Capabilities
    from export.tensorrt.options import BuildOptions

DEFAULT_TARGETS = ("8.0", "8.6", "8.9", "12.0+")
"""What TensorRT-RTX builds for if no target is named, as NVIDIA documents it."""
SMALL_BOARD_MIB = 9 * 1024
"""Boards sold with 8 GB and less share them with the host."""


@dataclass(frozen=True)
class Dropped:
    """Something asked for, or usual elsewhere, that this TensorRT lacks."""

    what: str
    why: str


@dataclass(frozen=True)
class BuildPlan:
    """All that the builder is told; it crosses the process boundary as JSON."""

    runtime: str
    version: str
    onnx: str
    precision: str
    typing: str
    network_flags: tuple[str, ...]
    builder_flags: tuple[str, ...]
    workspace_mib: int | None
    timing_cache: str | None
    dla_core: int | None
    targets: tuple[str, ...]
    """Compute capabilities to set; empty for the builder's own choice."""
    hardware_level: str | None
    calibration_cache: str | None
    dropped: tuple[Dropped, ...] = ()

    @property
    def settings(self) -> tuple[str, ...]:
        """Everything that changes the engine's bytes, for its identity."""
        named = [*self.builder_flags]
        if self.workspace_mib is not None:
            named.append(f"workspace={self.workspace_mib}MiB")
        if self.hardware_level is not None:
            named.append(f"hardware={self.hardware_level}")
        return tuple(sorted(named))


def make_plan(
    options: BuildOptions,
    onnx: Path,
    found: Precision,
    can: Capabilities,
    gpu: Gpu | None,
    caches: Path,
) -> BuildPlan:
    """The build that `options` ask for.

    Args:
        options: as given by the user.
        onnx: the graph to build from.
        found: the precision that graph carries in its types.
        can: what the installed TensorRT offers.
        gpu: this machine's GPU; None for none.
        caches: folder of timing caches.

    Raises:
        OptionError: it cannot be built so; the message says how it can.
    """
    check_typing(options, found, can)
    check_dla(options, can)
    dropped: list[Dropped] = []
    return BuildPlan(
        runtime=can.runtime,
        version=can.version,
        onnx=str(onnx),
        precision=options.precision,
        typing=options.typing,
        network_flags=_network_flags(options, can, dropped),
        builder_flags=_builder_flags(options, can, dropped),
        workspace_mib=_workspace(options, gpu),
        timing_cache=_timing_cache(options, can, gpu, caches, dropped),
        dla_core=options.dla_core,
        targets=_targets(options, can),
        hardware_level=_hardware(options, can, gpu),
        calibration_cache=None if options.calibration_cache is None
        else str(options.calibration_cache),
        dropped=tuple(dropped),
    )  # fmt: skip


def check_typing(options: BuildOptions, found: Precision, can: Capabilities) -> None:
    """Precision, typing and graph must fit each other.

    Raises:
        OptionError: they do not; the message says what to do instead.
    """
    here = f"{can.runtime} {can.version}"
    if can.weak_typing and not can.typed_flag:
        raise OptionError(f"{here} came, needs TensorRT 10 (JetPack 6.1 or newer)")
    if options.typing == "weak" and not can.weak_typing:
        raise OptionError(
            f"{here} has no weak typing (it ended with TensorRT 10): precision lies in the graph; "
            "leave --typing away"
        )
    if options.precision == "int8" and found != "int8":
        if options.typing == "strong":
            raise OptionError(
                f"INT8 was asked for, but {options.model.name} has no Q/DQ nodes and {here} takes "
                f"precision from the graph: make an INT8 model first, `hyperseg calibrate "
                f"{options.model.name} --frames FRAMES -o int8.onnx`, and build that"
            )
        if options.calibration_cache is None:
            raise OptionError(
                "INT8 without Q/DQ nodes needs --calibration-cache: without ranges TensorRT would "
                "calibrate on nothing; `hyperseg calibrate` makes them"
            )
    if options.precision == "int8" or found == "fp32":
        return
    if found != options.precision:
        raise OptionError(
            f"{options.model.name} is {found.upper()} in its own types, so it cannot be built as "
            f"{options.precision.upper()}: ask for --precision {found}, or give its FP32 model"
        )


def check_dla(options: BuildOptions, can: Capabilities) -> None:
    """Refuse what a deep-learning accelerator cannot do.

    Raises:
        OptionError: there is none, or it cannot run this.
    """
    if options.dla_core is None:
        return
    if can.runtime == "tensorrt_rtx":
        raise OptionError("TensorRT-RTX serves GPUs only and has no DLA: leave --dla away")
    if can.dla_cores <= options.dla_core:
        raise OptionError(
            f"no DLA core {options.dla_core} here ({can.dla_cores} found): Orin Nano has none, and "
            "of TensorRT only 10 up to 10.7 and 11.4.1 on AGX Orin serve it; leave --dla away"
        )
    if options.precision == "fp32":
        raise OptionError("a DLA computes in FP16 or INT8 only: ask for --precision fp16 or int8")
    if can.weak_typing and options.typing == "strong":
        raise OptionError(
            f"on tensorrt {can.version} the DLA needs --typing weak: give both, --dla "
            f"{options.dla_core} --typing weak (strongly typed networks reach it from 11.4.1 on)"
        )


def _network_flags(
    options: BuildOptions, can: Capabilities, dropped: list[Dropped]
) -> tuple[str, ...]:
    if options.typing == "weak":
        return ()
    if can.typed_flag:
        return ("STRONGLY_TYPED",)
    dropped.append(Dropped("STRONGLY_TYPED", "this TensorRT knows no other typing"))
    return ()


def _builder_flags(
    options: BuildOptions, can: Capabilities, dropped: list[Dropped]
) -> tuple[str, ...]:
    flags = []
    if options.typing == "weak":
        flags += {"fp32": [], "fp16": ["FP16"], "int8": ["FP16", "INT8"]}[options.precision]
    elif options.precision != "fp32":
        why = "the graph's types and Q/DQ nodes decide" if can.weak_typing else (
            "removed with weak typing in TensorRT 11; the graph's types decide"
        )  # fmt: skip
        names = "FP16, INT8 and calibrator" if options.precision == "int8" else "FP16"
        dropped.append(Dropped(f"builder flags {names}", why))
    if options.dla_core is not None:
        flags.append("GPU_FALLBACK")
    if options.version_compatible:
        if can.runtime == "tensorrt_rtx":
            raise OptionError(
                "an engine of TensorRT-RTX runs with the very release that built it: leave "
                "--version-compatible away"
            )
        flags.append(VERSION_COMPATIBLE)
    return tuple(sorted(flags))


def _workspace(options: BuildOptions, gpu: Gpu | None) -> int | None:
    if options.workspace_mib is not None:
        if gpu is not None and options.workspace_mib >= gpu.memory_mib:
            raise OptionError(
                f"workspace {options.workspace_mib} MiB does not fit {gpu.name} with "
                f"{gpu.memory_mib} MiB: give a quarter of that or less"
            )
        return options.workspace_mib
    if gpu is None or not gpu.integrated or gpu.memory_mib > SMALL_BOARD_MIB:
        return None
    # The host lives in the same memory; the builder itself also needs a part of it.
    return max(gpu.memory_mib // 8, MIN_WORKSPACE_MIB)


def _timing_cache(
    options: BuildOptions,
    can: Capabilities,
    gpu: Gpu | None,
    caches: Path,
    dropped: list[Dropped],
) -> str | None:
    if options.timing_cache == NO_CACHE:
        return None
    if not can.timing_cache:
        why = "an ahead-of-time build times nothing, and attaching a cache would ask for a GPU"
        dropped.append(Dropped("timing cache", why))
        return None
    if options.timing_cache != AUTO:
        return options.timing_cache
    if gpu is None:
        dropped.append(Dropped("timing cache", "no GPU here whose timings it could hold"))
        return None
    device = "".join(c if c.isalnum() else "-" for c in gpu.name).strip("-").lower()
    return str(caches / f"{can.runtime}-{can.version}-{device}-{gpu.compute_capability}.timing")


def _targets(options: BuildOptions, can: Capabilities) -> tuple[str, ...]:
    for target in options.targets:
        if not can.targets:
            raise OptionError(
                f"{can.runtime} {can.version} builds for its own GPU only: leave --target away"
            )
        if target not in can.targets:
            raise OptionError(
                f"no target {target!r}: {can.runtime} {can.version} builds for "
                f"{', '.join(can.targets)}; a Jetson needs --runtime tensorrt on the device itself"
            )
    return tuple(sorted(set(options.targets), key=can.targets.index))


def _hardware(options: BuildOptions, can: Capabilities, gpu: Gpu | None) -> str | None:
    if options.hardware == "none":
        return None
    if gpu is not None and gpu.integrated:
        raise OptionError(
            "NVIDIA supports hardware compatibility on graphics cards, not on a Jetson: leave "
            "--hardware away and build on each kind of board"
        )
    level = options.hardware.upper().replace("-", "_")
    if level not in can.hardware_levels:
        raise OptionError(
            f"{can.runtime} {can.version} has no hardware compatibility {options.hardware!r}; "
            f"it has {', '.join(can.hardware_levels).lower().replace('_', '-') or 'none'}"
        )
    return level
