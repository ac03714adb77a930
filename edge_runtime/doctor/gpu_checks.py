"""The GPU: whether it answers, and if not, whether it is only shut to this user."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from edge_runtime.doctor.camera_checks import group_name, may_open
from edge_runtime.doctor.finding import absent, ok, problem, warning
from edge_runtime.doctor.host_checks import container_of
from edge_runtime.engines.gpu import NO_DEVICE, Gpu

if TYPE_CHECKING:
    from edge_runtime.doctor.finding import Finding
    from edge_runtime.doctor.machine import Machine
    from edge_runtime.engines.gpu import NoGpu

CHECK = "inference.gpu"
NODES = {"dev/nvmap": False, "dev/dri/renderD*": True}
"""What CUDA opens on a Jetson, and whether to write; they belong to ``video`` and ``render``."""


def check_gpu(machine: Machine, gpu: Gpu | NoGpu) -> Finding:
    """What answers, or why nothing does."""
    if isinstance(gpu, Gpu):
        return ok(
            CHECK,
            f"{gpu.name}, compute capability {gpu.compute_capability}, {gpu.memory_mib} MiB, "
            f"driver for CUDA {gpu.cuda}",
        )
    if machine.is_jetson:
        return _silent_jetson(machine, gpu)
    if gpu.code in (None, NO_DEVICE):
        seen = f"no NVIDIA GPU, or no driver ({gpu.reason}); ONNX Runtime infers on the CPU"
        return absent(CHECK, seen)
    return warning(
        CHECK, f"the driver does not start ({gpu.reason}); ONNX Runtime infers on the CPU",
        "it does, or is not installed",
        "nvidia-smi  # after an update of the driver: sudo reboot",
    )  # fmt: skip


def _silent_jetson(machine: Machine, gpu: NoGpu) -> Finding:
    seen, shut = f"a Jetson whose GPU does not answer ({gpu.reason})", _shut_nodes(machine)
    if not shut:
        return problem(
            CHECK, seen, "libcuda.so.1 answers",
            "# in a container: docker run --runtime nvidia; elsewhere: sudo apt-get install "
            "--reinstall nvidia-l4t-cuda",
        )  # fmt: skip
    groups = list(dict.fromkeys(shut.values()))
    named = ", ".join(f"{node} (group {group_name(gid)})" for node, gid in shut.items())
    if container_of(machine) is None:
        fix = f"sudo usermod -aG {','.join(map(group_name, groups))} $USER  # then log in again"
    else:
        added = " ".join(f"--group-add {gid}" for gid in groups)
        fix = f"docker run --runtime nvidia {added} ..."
    return problem(CHECK, f"{seen}: this user may not open {named}", "this user in the groups", fix)


def _shut_nodes(machine: Machine) -> dict[str, int]:
    """Nodes that this user may not open, though their group may, and that group's number."""
    shut = {}
    for pattern, writes in NODES.items():
        for node in sorted(machine.root.glob(pattern)):
            info = node.stat()
            wanted = stat.S_IRGRP | (stat.S_IWGRP if writes else 0)
            is_shut = not may_open(info, machine.uid, machine.groups, writes=writes)
            if is_shut and info.st_mode & wanted == wanted:
                shut[f"/{node.relative_to(machine.root)}"] = info.st_gid
    return shut
