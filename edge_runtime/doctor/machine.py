"""The machine that is examined: this one, or files that were recorded on another."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.device import describe_device, package_version
from edge_runtime.doctor.gst_answer import GstAnswer, ask_gstreamer
from edge_runtime.doctor.v4l2 import CameraModes, read_modes
from edge_runtime.engines.gpu import Gpu, NoGpu, ask_gpu
from edge_runtime.telemetry.sysfs import read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_runtime.device import Device


@dataclass(frozen=True)
class Interpreter:
    """The Python that runs us."""

    version: tuple[int, int, int]
    executable: str
    prefix: str
    base_prefix: str

    @classmethod
    def this(cls) -> Interpreter:
        """The running one."""
        return cls(sys.version_info[:3], sys.executable, sys.prefix, sys.base_prefix)

    @property
    def in_venv(self) -> bool:
        """Whether it is a virtual environment's."""
        return self.prefix != self.base_prefix


@dataclass(frozen=True)
class Space:
    """What a file system has."""

    free: int
    """Bytes that this user may still write."""
    total: int
    """Bytes."""
    free_files: int | None
    """None: the file system does not count files."""
    read_only: bool


def space_of(place: Path) -> Space | None:
    """The space of the file system that holds `place`; None if it cannot be asked."""
    try:
        told = os.statvfs(place)
    except OSError:
        return None
    return Space(
        free=told.f_bavail * told.f_frsize,
        total=told.f_blocks * told.f_frsize,
        free_files=told.f_favail if told.f_files else None,
        read_only=bool(told.f_flag & os.ST_RDONLY),
    )


def nearest_folder(place: Path) -> Path:
    """`place`, or the folder above it that exists and may be looked at."""
    for folder in (place, *place.parents):
        try:
            if folder.exists():
                return folder
        except OSError:  # in a folder that is shut to us
            continue
    return Path(place.anchor)


def _these_cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@dataclass(frozen=True)
class Machine:
    """All that checks may ask. The defaults are this machine and this process."""

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    python: Interpreter = field(default_factory=Interpreter.this)
    uid: int = field(default_factory=os.getuid)
    groups: frozenset[int] = field(
        default_factory=lambda: frozenset([*os.getgroups(), os.getgid()])
    )
    cores: int = field(default_factory=_these_cores)
    """That this process may run on."""
    cwd: Path = field(default_factory=Path.cwd)
    """Where outputs with relative names lie."""
    home: Path = field(default_factory=Path.home)
    package: Callable[[str], str | None] = package_version
    gpu: Callable[[], Gpu | NoGpu] = ask_gpu
    gstreamer: Callable[[Machine, Sequence[str]], GstAnswer] = field(
        default_factory=lambda: _ask_this_gstreamer
    )
    modes: Callable[[Path], CameraModes | None] = read_modes
    space: Callable[[Path], Space | None] = space_of

    @property
    def device(self) -> Device:
        """The board, its releases and its power mode."""
        gpu = self.gpu()
        cuda = gpu.cuda if isinstance(gpu, Gpu) else None
        return describe_device(self.root, self.package, lambda: cuda)

    @property
    def is_jetson(self) -> bool:
        """Whether it is an NVIDIA Jetson, or a container on one."""
        model = self.text("proc/device-tree/model") or ""
        return "jetson" in model.lower() or self.text("etc/nv_tegra_release") is not None

    @property
    def cache(self) -> Path:
        """The user's cache folder."""
        named = self.environ.get("XDG_CACHE_HOME")
        return Path(named) if named else self.home / ".cache"

    def path(self, name: str) -> Path:
        """A file by its name below the root, without a leading slash."""
        return self.root / name

    def text(self, name: str) -> str | None:
        """A file's text without white space and NULs around it; None if it cannot be read."""
        text = read_text(self.root / name)
        return None if text is None else text.strip("\0 \n")


def _ask_this_gstreamer(machine: Machine, elements: Sequence[str]) -> GstAnswer:
    return ask_gstreamer(machine.python.executable, elements, machine.environ, machine.cache)
