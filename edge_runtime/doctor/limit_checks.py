"""What the system grants: disk, shared memory, memory, processors and open files."""

from __future__ import annotations

import os
import re
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.doctor.finding import absent, ok, problem, warning
from edge_runtime.doctor.machine import nearest_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.doctor.finding import Finding
    from edge_runtime.doctor.machine import Machine

MIB = 1 << 20
LEAST_DISK, GOOD_DISK = 200 * MIB, 2048 * MIB
GOOD_SHM = 128 * MIB
GOOD_MEMORY = 512 * MIB
GOOD_FILES, GOOD_TASKS = 1024, 128


@dataclass(frozen=True)
class Grant:
    """What the control groups of this process leave of the machine; None: no limit."""

    cores: float | None
    memory: int | None
    """Bytes."""
    tasks: int | None


def check_disk(machine: Machine) -> Iterator[Finding]:
    """Where engines are cached, and where outputs with relative names go."""
    yield _place(machine, "disk.cache", machine.cache / "hyperseg", "engines are kept there")
    yield _place(machine, "disk.outputs", machine.cwd, "outputs with relative names go there")


def _place(machine: Machine, check: str, place: Path, use: str) -> Finding:
    nearest = nearest_folder(place)
    space = machine.space(nearest)
    if space is None:
        return problem(check, f"{nearest} does not answer", "a file system", f"df {nearest}")
    seen = f"{place}: {space.free / MIB:,.0f} MiB free; {use}"
    if space.read_only or not os.access(nearest, os.W_OK):
        return problem(
            check, f"{nearest} cannot be written; {use}", "writable",
            f"sudo chown $USER {nearest}  # or set XDG_CACHE_HOME, or change to another folder",
        )  # fmt: skip
    if space.free < LEAST_DISK or space.free_files == 0:
        return problem(check, seen, f"{GOOD_DISK // MIB} MiB", f"du -xh {nearest} | sort -h | tail")
    if space.free < GOOD_DISK:
        return warning(check, seen, f"{GOOD_DISK // MIB} MiB", f"du -xh {nearest} | sort -h | tail")
    return ok(check, seen)


def check_memory(machine: Machine) -> Iterator[Finding]:
    """Memory, and the shared memory that the sink ``shm:`` and camera services use."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", machine.text("proc/meminfo") or "", re.M)
    if match is None:
        yield absent("limits.memory", "the machine does not tell")
    else:
        free = int(match[1]) * 1024
        seen = f"{free / MIB:,.0f} MiB available"
        expected, fix = f"{GOOD_MEMORY // MIB} MiB", "ps -eo rss,pid,comm --sort -rss | head"
        yield (
            ok("limits.memory", seen)
            if free >= GOOD_MEMORY
            else warning("limits.memory", seen, expected, fix)
        )
    shared = machine.space(machine.path("dev/shm"))
    if shared is None:
        yield problem(
            "limits.shm", "no /dev/shm", "a tmpfs: shm: writes there",
            "sudo mount -t tmpfs -o size=256m tmpfs /dev/shm",
        )  # fmt: skip
    elif shared.free < GOOD_SHM:
        yield warning(
            "limits.shm", f"{shared.free / MIB:,.0f} of {shared.total / MIB:,.0f} MiB free",
            f"{GOOD_SHM // MIB} MiB", "# in a container: docker run --shm-size=256m; elsewhere: "
            "sudo mount -o remount,size=256m /dev/shm",
        )  # fmt: skip
    else:
        yield ok("limits.shm", f"{shared.free / MIB:,.0f} MiB free")


def check_limits(machine: Machine) -> Iterator[Finding]:
    """Processors, threads, memory and files that this process may use."""
    grant = granted(machine)
    if grant.cores is not None and grant.cores < machine.cores:
        threads = max(1, int(grant.cores))
        yield warning(
            "limits.processors",
            f"{machine.cores} are shown, a control group grants {grant.cores:g}",
            "no more threads than processors: surplus ones only wait",
            f"hyperseg run --threads {threads} ...",
        )
    else:
        yield ok("limits.processors", f"{machine.cores} usable")
    if grant.memory is not None and grant.memory < GOOD_MEMORY:
        yield warning(
            "limits.memory-group", f"a control group grants {grant.memory / MIB:,.0f} MiB",
            f"{GOOD_MEMORY // MIB} MiB", "# docker run --memory 1g, or MemoryMax= of the unit",
        )  # fmt: skip
    if grant.tasks is not None and grant.tasks < GOOD_TASKS:
        yield warning(
            "limits.threads", f"a control group grants {grant.tasks} threads", str(GOOD_TASKS),
            f"# docker run --pids-limit {GOOD_TASKS * 4}, or TasksMax= of the unit",
        )  # fmt: skip
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < GOOD_FILES:
        yield warning(
            "limits.files", f"{files} open files (at most {most})", str(GOOD_FILES),
            f"ulimit -n {GOOD_FILES}",
        )  # fmt: skip
    else:
        yield ok("limits.files", f"{files} open files")


def granted(machine: Machine) -> Grant:
    """The tightest limits on the way from this process's control group to the root."""
    text = machine.text("proc/self/cgroup") or ""
    match = re.search(r"^0::(/.*)$", text, re.M)
    own = (match[1] if match else "/").strip("/")
    folders = [Path(own), *Path(own).parents] if own else [Path()]
    cores: list[float] = []
    memory: list[int] = []
    tasks: list[int] = []
    for folder in folders:
        group = f"sys/fs/cgroup/{folder}"
        quota, _, period = (machine.text(f"{group}/cpu.max") or "max 1").partition(" ")
        if quota.isdecimal() and period.isdecimal():
            cores.append(int(quota) / int(period))
        for name, found in (("memory.max", memory), ("pids.max", tasks)):
            value = machine.text(f"{group}/{name}") or "max"
            if value.isdecimal():
                found.append(int(value))
    if not cores:  # version 1 of control groups
        quota = machine.text("sys/fs/cgroup/cpu/cpu.cfs_quota_us") or "-1"
        period = machine.text("sys/fs/cgroup/cpu/cpu.cfs_period_us") or "0"
        if quota.isdecimal() and period.isdecimal() and int(period):
            cores.append(int(quota) / int(period))
    return Grant(min(cores, default=None), min(memory, default=None), min(tasks, default=None))
