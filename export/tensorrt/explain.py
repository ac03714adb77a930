"""A plan in words: what is done, what is left out and why, and the same build with trtexec."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from edge_runtime.engines.identity import (
    AMPERE_PLUS,
    SAME_COMPUTE_CAPABILITY,
    VERSION_COMPATIBLE,
)

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.engines.gpu import Gpu
    from edge_runtime.engines.identity import EngineIdentity
    from export.tensorrt.capabilities import Capabilities
    from export.tensorrt.plan import BuildPlan

LABELS = {
    "tensorrt_rtx": (
        "built ahead of time by TensorRT-RTX, not executed here; says nothing about TensorRT or a "
        "Jetson"
    ),
}
"""What has to be said of an engine that nothing of its builder's kind has run."""
HARDWARE_WORDS = {
    AMPERE_PLUS: "ampere+",
    SAME_COMPUTE_CAPABILITY: "sameComputeCapability",
}
"""trtexec's names of hardware compatibility levels."""
_GPUS = {
    None: "the GPU it is built on",
    AMPERE_PLUS: "GPUs of compute capability 8.0 and later",
    SAME_COMPUTE_CAPABILITY: "GPUs of the compute capability it is built on",
}


def label(plan: BuildPlan) -> str:
    """Where the engine runs, in one line."""
    if plan.runtime in LABELS:
        return LABELS[plan.runtime]
    version = "the TensorRT version it is built with"
    if VERSION_COMPATIBLE in plan.builder_flags:
        version += ", and later ones of that major version,"
    return f"runs on {_GPUS[plan.hardware_level]} and with {version} only"


def trtexec_command(plan: BuildPlan, output: Path, can: Capabilities) -> list[str]:
    """The command line that builds the same engine; an unknown flag would make it fail.

    Args:
        plan: what is built.
        output: where the engine goes.
        can: decides which flags the tool of that version knows.
    """
    if plan.runtime == "tensorrt_rtx":
        command = ["tensorrt_rtx", f"--onnx={plan.onnx}", f"--saveEngine={output}"]
        if plan.targets:
            command.append(f"--computeCapabilities={','.join(plan.targets).replace('.', '')}")
        return [*command, "--skipInference"]
    command = ["trtexec", f"--onnx={plan.onnx}", f"--saveEngine={output}", "--skipInference"]
    if plan.typing == "strong" and can.weak_typing:
        command.append("--stronglyTyped")
    command += [f"--{flag.lower()}" for flag in plan.builder_flags if flag in ("FP16", "INT8")]
    if plan.calibration_cache:
        command.append(f"--calib={plan.calibration_cache}")
    if plan.dla_core is not None:
        command += [f"--useDLACore={plan.dla_core}", "--allowGPUFallback"]
    if plan.workspace_mib is not None:
        command.append(f"--memPoolSize=workspace:{plan.workspace_mib}M")
    if plan.timing_cache:
        command.append(f"--timingCacheFile={plan.timing_cache}")
    if VERSION_COMPATIBLE in plan.builder_flags:
        command.append("--versionCompatible")
    if plan.hardware_level:
        command.append(f"--hardwareCompatibilityLevel={HARDWARE_WORDS[plan.hardware_level]}")
    return [*command, "--profilingVerbosity=detailed"]


def explain(
    plan: BuildPlan,
    identity: EngineIdentity,
    output: Path,
    can: Capabilities,
    gpu: Gpu | None,
    steps: tuple[str, ...] = (),
) -> list[tuple[str, str]]:
    """The plan as (title, text) rows.

    Args:
        plan: what is built.
        identity: what the engine will be bound to.
        output: where it goes.
        can: capabilities of the TensorRT that builds.
        gpu: this machine's GPU; None for none.
        steps: what happens before the build.
    """
    device = "none: built ahead of time, without a GPU" if can.targets else "none found"
    rows = [
        ("model", f"{plan.onnx} ({identity.onnx_sha256[:12]}...)"),
        *(("before", step) for step in steps),
        ("builder", f"{plan.runtime} {plan.version}, found by its names: {_traits(can)}"),
        ("GPU", device if gpu is None else f"{gpu.name}, {gpu.compute_capability}"),
        ("precision", f"{plan.precision}, {plan.typing} typing"),
        ("network flags", ", ".join(plan.network_flags) or "none"),
        ("builder flags", ", ".join(plan.builder_flags) or "none"),
        ("workspace", _or(plan.workspace_mib, "TensorRT's own limit", " MiB")),
        ("timing cache", plan.timing_cache or "none"),
    ]
    if can.targets:
        rows.append(("targets", ", ".join(identity.targets)))
    if plan.hardware_level:
        rows.append(("portability", plan.hardware_level.lower().replace("_", "-")))
    if plan.dla_core is not None:
        rows.append(("DLA", f"core {plan.dla_core}; what it cannot do moves to the GPU silently"))
    rows += [("left out", f"{item.what}: {item.why}") for item in plan.dropped]
    key, place = identity.key, output
    if steps:
        # What is made before the build is a part of the identity.
        key = "known once the FP16 graph is made"
        place = output.with_name(f"<key>{output.suffix}") if output.stem == identity.key else output
    return [
        *rows,
        ("engine", str(place)),
        ("cache key", key),
        ("by hand", shlex.join(trtexec_command(plan, output, can))),
        ("note", label(plan)),
    ]


def _traits(can: Capabilities) -> str:
    traits = [
        "strong and weak typing" if can.weak_typing else "strong typing only",
        "calibrators" if can.calibrators else "no calibrators",
        "timing cache" if can.timing_cache else "no timing cache on this path",
    ]
    return ", ".join(traits)


def _or(value: int | None, otherwise: str, unit: str) -> str:
    return otherwise if value is None else f"{value}{unit}"
