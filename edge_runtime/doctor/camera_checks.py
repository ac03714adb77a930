"""Cameras: which there are, what they can do, who may open them, and who has."""

from __future__ import annotations

import grp
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.doctor.finding import absent, ok, problem, warning
from edge_runtime.sources.devices import stable_device

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.doctor.finding import Finding
    from edge_runtime.doctor.machine import Machine
    from edge_runtime.doctor.v4l2 import CameraModes

SHOWN = 4
"""Modes in a line; `--json` has no more either: ``v4l2-ctl --list-formats-ext`` lists all."""


def check_cameras(machine: Machine) -> Iterator[Finding]:
    """Every node of Video4Linux; a camera has several, of which the first captures."""
    devices = sorted(machine.path("dev").glob("video[0-9]*"), key=_number)
    if not devices:
        yield absent("cameras", "no /dev/video*: no USB camera is plugged in, or none is handed in")
        return
    busy = holders(machine)
    for device in devices:
        yield from check_camera(machine, device, busy.get(f"/dev/{device.name}", []))


def check_camera(machine: Machine, device: Path, users: list[str]) -> Iterator[Finding]:
    """One node.

    Args:
        machine: it belongs to.
        device: below the machine's root.
        users: processes that have it open.
    """
    check = f"cameras.{device.name}"
    info = device.stat()
    if not may_open(info, machine.uid, machine.groups):
        group = group_name(info.st_gid)
        yield problem(
            check, f"/dev/{device.name} may be opened by group {group} only", "this user in it",
            f"sudo usermod -aG {group} $USER  # then log in again",
        )  # fmt: skip
        return
    told = machine.modes(device)
    if told is not None and not told.captures:
        return
    name = _lasting_name(machine, device)
    seen = f"{name}: {_described(told)}"
    if users:
        yield warning(
            check, f"{seen}; opened by {', '.join(users)}", "nobody else has it open",
            f"fuser -v /dev/{device.name}  # and end that program",
        )  # fmt: skip
    elif told is None:
        yield problem(
            check, f"{name} does not answer", "it says what it can do",
            f"v4l2-ctl -d /dev/{device.name} --all  # unplug it and plug it in again",
        )  # fmt: skip
    else:
        yield ok(check, seen)


def may_open(
    info: os.stat_result, uid: int, groups: frozenset[int], *, writes: bool = True
) -> bool:
    """Whether mode bits let a user read and write; access control lists are not looked at.

    Args:
        info: of the node.
        uid: the user.
        groups: that the user is in.
        writes: without it reading is enough.
    """
    if uid == 0:
        return True
    wanted = stat.S_IROTH | (stat.S_IWOTH if writes else 0)
    if info.st_uid == uid:
        wanted <<= 6
    elif info.st_gid in groups:
        wanted <<= 3
    return info.st_mode & wanted == wanted


def _described(told: CameraModes | None) -> str:
    if told is None:
        return "no answer"
    best = sorted(told.modes, key=lambda mode: (mode.height * mode.width, mode.fps or 0.0))
    shown = "; ".join(str(mode) for mode in reversed(best[-SHOWN:])) or "no modes"
    more = f" and {len(best) - SHOWN} more" if len(best) > SHOWN else ""
    return f"{told.name} ({told.driver}): {shown}{more}"


def _lasting_name(machine: Machine, device: Path) -> Path:
    lasting = stable_device(device.resolve(), machine.path("dev/v4l").resolve())
    return Path("/") / lasting.relative_to(machine.root.resolve())


def holders(machine: Machine) -> dict[str, list[str]]:
    """Processes by the video device that they have open, as far as this user may see them."""
    found: dict[str, list[str]] = {}
    for process in machine.path("proc").glob("[0-9]*"):
        for device in _open_devices(process):
            name = (machine.text(f"proc/{process.name}/comm") or "?").strip()
            found.setdefault(device, []).append(f"{name} ({process.name})")
    return {device: sorted(set(names)) for device, names in found.items()}


def _open_devices(process: Path) -> Iterator[str]:
    try:
        handles = list((process / "fd").iterdir())
    except OSError:  # another user's, or gone
        return
    for handle in handles:
        try:
            target = os.readlink(handle)  # noqa: PTH115  # a text such as "socket:[1]", no path
        except OSError:
            continue
        if target.startswith("/dev/video"):
            yield target


def group_name(gid: int) -> str:
    """A group's name, or its number where it has none here."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _number(device: Path) -> int:
    digits = device.name.removeprefix("video")
    return int(digits) if digits.isdecimal() else 0
