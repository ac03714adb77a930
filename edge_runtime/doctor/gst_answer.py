"""What GStreamer says of itself, without the registry cache being written."""

from __future__ import annotations

import filecmp
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from edge_runtime.doctor import gst_probe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RegistryState = Literal["current", "stale", "absent"]
PATIENCE_S = 20.0
"""A first look at all plugins takes seconds; a plugin that hangs takes for ever."""


@dataclass(frozen=True)
class GstAnswer:
    """GStreamer as a process that starts now would find it."""

    error: str | None = None
    """Why it does not load; the rest then says nothing."""
    version: str = ""
    bindings: str = ""
    """Where the Python package ``gi`` lies."""
    elements: frozenset[str] = frozenset()
    """Those asked for that there are."""
    plugins: int = 0
    blacklisted: tuple[str, ...] = ()
    """Files of plugins that crashed or did not load, and are passed over from then on."""
    loads_python: bool = False
    """Whether there is the loader of plugins that are written in Python."""
    took_s: float = 0.0
    """What loading it took, s."""
    registry: str = ""
    registry_state: RegistryState = "current"
    """``stale``: plugins have changed since; the next start looks at them again."""


def registry_file(environ: Mapping[str, str], cache: Path) -> Path:
    """Where GStreamer keeps its registry."""
    for variable in ("GST_REGISTRY_1_0", "GST_REGISTRY"):
        if named := environ.get(variable):
            return Path(named)
    return cache / "gstreamer-1.0" / f"registry.{platform.machine()}.bin"


def ask_gstreamer(
    python: str,
    elements: Sequence[str],
    environ: Mapping[str, str],
    cache: Path,
    *,
    afresh: bool = False,
    patience_s: float = PATIENCE_S,
) -> GstAnswer:
    """Start a process that loads GStreamer with a copy of the registry.

    Args:
        python: the interpreter to ask.
        elements: names to look for.
        environ: its environment.
        cache: the user's cache folder.
        afresh: take no copy: look at every plugin, as after the registry was removed.
        patience_s: after which it is ended.
    """
    registry = registry_file(environ, cache)
    with tempfile.TemporaryDirectory(prefix="hyperseg-doctor-") as folder:
        copy = Path(folder) / "registry.bin"
        known = not afresh and _copied(registry, copy)
        variables = {**environ, "GST_REGISTRY": str(copy), "GST_REGISTRY_1_0": str(copy)}
        answer = _ask(python, elements, variables, patience_s)
        state: RegistryState = "absent"
        if known:
            is_same = copy.exists() and filecmp.cmp(registry, copy, shallow=False)
            state = "current" if is_same else "stale"
    return replace(answer, registry=str(registry), registry_state=state)


def _copied(registry: Path, copy: Path) -> bool:
    try:
        shutil.copyfile(registry, copy)
    except OSError:
        return False
    return True


def _ask(
    python: str, elements: Sequence[str], environ: Mapping[str, str], patience_s: float
) -> GstAnswer:
    try:
        done = subprocess.run(
            [python, str(Path(gst_probe.__file__)), *elements],
            env=dict(environ),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return GstAnswer(error=f"it did not load within {patience_s:g} s")
    except OSError as error:
        return GstAnswer(error=f"{python}: {error.strerror}")
    last = done.stdout.strip().splitlines()[-1:] or [""]
    try:
        return msgspec.json.decode(last[0], type=GstAnswer)
    except msgspec.MsgspecError:
        lines = done.stderr.strip().splitlines() or ["it said nothing"]
        return GstAnswer(error=f"loading it ended with {done.returncode}: {lines[-1]}")
