"""Containers and their sockets, the camera service of a Jetson, systemd and our own services."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.doctor.finding import absent, ok, problem, warning
from edge_runtime.telemetry.sysfs import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.doctor.finding import Finding
    from edge_runtime.doctor.machine import Machine

ARGUS = "tmp/argus_socket"
NODES = ("dev/nvmap", "dev/nvhost-ctrl", "dev/nvhost-ctrl-gpu", "dev/nvgpu", "dev/host1x-fence")
"""Which of them there are depends on the JetPack; without any there is no GPU."""
UNITS = "etc/systemd/system"


def container_of(machine: Machine) -> str | None:
    """What kind of container this is; None outside of one."""
    for file, name in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if machine.path(file).exists():
            return name
    match = re.search(r"container=([^\0\n]+)", machine.text("proc/1/environ") or "")
    if match:
        return match[1]
    groups = re.search(r"docker|kubepods|containerd|lxc", machine.text("proc/1/cgroup") or "")
    return groups[0] if groups else None


def check_container(machine: Machine) -> Iterator[Finding]:
    """What has to be handed into a container."""
    kind = container_of(machine)
    if kind is None:
        yield absent("container", "not in a container")
    else:
        yield ok("container.kind", kind)
    if not machine.is_jetson:
        yield absent("container.nodes", "not a Jetson")
        return
    nodes = [f"/{name}" for name in NODES if machine.path(name).exists()]
    if nodes:
        yield ok("container.nodes", ", ".join(nodes))
    else:
        yield problem(
            "container.nodes", "none of a Jetson's devices is here", "/dev/nvhost* or /dev/nvgpu",
            "docker run --runtime nvidia ..." if kind else "sudo reboot  # then: dmesg | grep nv",
        )  # fmt: skip
    yield _argus(machine, kind)


def _argus(machine: Machine, container: str | None) -> Finding:
    """CSI cameras are reached through a service of the host."""
    if machine.path(ARGUS).exists():
        return ok("container.argus", "/tmp/argus_socket is there")
    return warning(
        "container.argus",
        "no /tmp/argus_socket",
        "the socket of nvargus-daemon, if CSI cameras are to be read",
        "docker run --runtime nvidia -v /tmp/argus_socket:/tmp/argus_socket ..."
        if container
        else "sudo systemctl restart nvargus-daemon",
    )


def check_services(machine: Machine) -> Iterator[Finding]:
    """systemd, its watchdog, and the units that ``hyperseg service install`` wrote."""
    if not machine.path("run/systemd/system").is_dir():
        yield absent("service.systemd", "systemd does not run this machine")
        return
    yield ok("service.systemd", "systemd runs this machine")
    yield from _watchdog(machine)
    units = sorted(machine.path(UNITS).glob("hyperseg-*.service"))
    if not units:
        yield absent("service.units", "no run is installed as a service")
    for unit in units:
        yield _unit(machine, unit)


def _watchdog(machine: Machine) -> Iterator[Finding]:
    """The hardware's watchdog starts a machine again whose kernel or systemd hangs."""
    if not list(machine.path("dev").glob("watchdog*")):
        yield absent("service.watchdog", "no hardware watchdog")
        return
    files = [machine.path("etc/systemd/system.conf")]
    files += sorted(machine.path("etc/systemd/system.conf.d").glob("*.conf"))
    text = "\n".join(read_text(file) or "" for file in files)
    set_to = re.findall(r"^\s*RuntimeWatchdogSec\s*=\s*(\S+)", text, re.M)
    if set_to and set_to[-1] not in ("0", "off"):
        yield ok("service.watchdog", f"RuntimeWatchdogSec={set_to[-1]}")
    else:
        yield warning(
            "service.watchdog", "there is a hardware watchdog that nobody uses",
            "RuntimeWatchdogSec=, which starts a hanging machine again",
            "sudo mkdir -p /etc/systemd/system.conf.d && printf "
            "'[Manager]\\nRuntimeWatchdogSec=30s\\n' | sudo tee "
            "/etc/systemd/system.conf.d/watchdog.conf && sudo systemctl daemon-reexec",
        )  # fmt: skip


def _unit(machine: Machine, unit: Path) -> Finding:
    check, text = f"service.{unit.stem}", read_text(unit)
    if text is None:
        return absent(check, f"{unit.name} may not be read by this user")
    start = re.search(r"^ExecStart=(.+)$", text, re.M)
    program = _first_word(start[1]) if start else ""
    name = unit.stem.removeprefix("hyperseg-")
    if not program or not machine.path(program.lstrip("/")).exists():
        return problem(
            check, f"{unit.name} starts {program or 'nothing'}, which is not there",
            "an installed hyperseg", f"hyperseg service install {name} -- run ...",
        )  # fmt: skip
    if not re.search(r"^WatchdogSec=(?!0$)\S+", text, re.M):
        return warning(
            check, f"{unit.name} is not watched: a run that hangs stays", "WatchdogSec=",
            f"hyperseg service install {name} -- run ...",
        )  # fmt: skip
    if re.search(r"^DynamicUser=yes$", text, re.M) and re.search(r"^PrivateTmp=no$", text, re.M):
        return problem(
            check, f"{unit.name} has DynamicUser= and so a /tmp of its own; it needs the machine's",
            "User=", f"hyperseg service install {name} --as USER -- run ...",
        )  # fmt: skip
    return ok(check, f"{unit.name} starts {program}, watched")


def _first_word(command: str) -> str:
    try:
        return next(iter(shlex.split(command)), "").lstrip("-@:+!")
    except ValueError:  # quotes that do not close
        return ""
