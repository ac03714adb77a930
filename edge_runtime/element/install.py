"""The plugin file by which gst-launch finds the element, and the proof that it does.

GStreamer's Python loader (``libgstpython.so``) runs the distribution's own Python in the process of
gst-launch and knows of no virtual environment. So the plugin file carries the folders that this
installation imports from. What the loader found is kept in GStreamer's registry, failures too;
the registry is a cache and is removed whenever the plugin file changes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.element import NAME
from edge_runtime.errors import DependencyError, OptionError

PLUGIN_FILE = "hyperseg_plugin.py"
"""The loader imports it by its bare name, so the name has to be ours alone."""
LOADER_PACKAGE = "gstreamer1.0-python3-plugin-loader"
TIMEOUT_S = 120.0
"""Patience with gst-inspect, which reads every plugin once after the registry was removed."""

_TEMPLATE = '''\
"""Gives hyperseg-edge's element to GStreamer; written by `hyperseg element install`.

Write it anew after moving the installation or changing the version of Python.
"""

import site
import sys

FOLDERS = {folders!r}
VERSION = {version!r}

if sys.version_info[:2] != VERSION:
    sys.stderr.write(
        "{name}: GStreamer's Python is %d.%d, the installation's is %d.%d; install hyperseg-edge "
        "with the distribution's own python3\\n" % (*sys.version_info[:2], *VERSION)
    )
else:
    before = list(sys.path)
    for folder in FOLDERS:
        site.addsitedir(folder)
    # The installation's own packages come before the distribution's, as in its environment.
    sys.path[:] = [path for path in sys.path if path not in before] + before
    try:
        from edge_runtime.element.filter import HypersegFilter
        from gi.repository import Gst

        __gstelementfactory__ = ("{name}", Gst.Rank.NONE, HypersegFilter)
    except Exception as error:
        sys.stderr.write(
            "{name}: hyperseg-edge does not load (%s); run `hyperseg element install` again\\n"
            % error
        )
'''


def default_folder() -> Path:
    """The user's folder of plugins, which the loader looks through unasked."""
    return Path.home() / ".gstreamer-1.0" / "plugins"


def install(folder: Path) -> Path:
    """Write the plugin file and remove the registry.

    Args:
        folder: of plugins; the loader reads ``folder/python/*.py``.

    Returns:
        The plugin file.

    Raises:
        OptionError: it cannot be written.
    """
    place = folder.absolute() / "python" / PLUGIN_FILE
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make {place.parent}: {error.strerror}") from None
    write_text_atomic(place, plugin_text())
    forget_registry()
    return place


def plugin_text() -> str:
    """The plugin file of this installation."""
    root = Path(__file__).resolve().parents[2]
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), str(root)]
    return _TEMPLATE.format(
        folders=tuple(dict.fromkeys(folders)), version=tuple(sys.version_info[:2]), name=NAME
    )


def forget_registry() -> None:
    """Remove GStreamer's registry, so that the next program looks at all plugins anew."""
    for variable in ("GST_REGISTRY_1_0", "GST_REGISTRY"):
        if named := os.environ.get(variable):
            Path(named).unlink(missing_ok=True)
            return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gstreamer-1.0"
    for registry in cache.glob("registry.*.bin"):
        registry.unlink(missing_ok=True)


@dataclass(frozen=True)
class Inspection:
    """What gst-inspect said."""

    found: bool
    output: str
    complaint: str
    """The first line that the plugin file has written to stderr, or nothing."""


def check(folder: Path | None = None) -> Inspection:
    """Prove in another process that GStreamer's tools find the element.

    Args:
        folder: of plugins, as given to `install`; None leaves the search to the environment.

    Raises:
        DependencyError: they do not; the message names the link that is broken.
    """
    tool = shutil.which("gst-inspect-1.0")
    if tool is None:
        raise DependencyError("gst-inspect-1.0 is missing: apt-get install gstreamer1.0-tools")
    inspection = _inspect(tool, NAME, folder)
    if not inspection.found:
        # What once failed to load stays missing in the registry after it was mended.
        forget_registry()
        inspection = _inspect(tool, NAME, folder)
    if inspection.found:
        return inspection
    if not _inspect(tool, "python", folder).found:
        raise DependencyError(
            f"GStreamer has no loader of Python plugins: apt-get install {LOADER_PACKAGE}"
        )
    if inspection.complaint:
        raise DependencyError(f"the loader refused the plugin file: {inspection.complaint}")
    raise DependencyError(
        f"GStreamer does not find {NAME}: run `hyperseg element install`, and with another folder "
        "than the default one set GST_PLUGIN_PATH as it says"
    )


def _inspect(tool: str, name: str, folder: Path | None) -> Inspection:
    environment = dict(os.environ)
    # The loader's own Python must not take over what ours was started with.
    for variable in ("PYTHONHOME", "PYTHONPATH"):
        environment.pop(variable, None)
    if folder is not None:
        paths = [str(folder.absolute()), environment.get("GST_PLUGIN_PATH", "")]
        environment["GST_PLUGIN_PATH"] = os.pathsep.join(filter(None, paths))
    try:
        done = subprocess.run(
            [tool, name],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise DependencyError(
            f"`gst-inspect-1.0 {name}` did not end within {TIMEOUT_S:g} s; run it by hand"
        ) from None
    found = re.search(rf"^{NAME}: .*$", done.stderr, re.MULTILINE)
    return Inspection(done.returncode == 0, done.stdout, found.group() if found else "")
