"""GStreamer: its bindings, its registry, and the elements that a run is made of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.doctor.finding import absent, ok, problem, warning
from edge_runtime.doctor.machine import nearest_folder
from edge_runtime.element import NAME as OUR_ELEMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.doctor.finding import Finding
    from edge_runtime.doctor.gst_answer import GstAnswer
    from edge_runtime.doctor.machine import Machine

BINDINGS = "apt-get install python3-gi python3-gst-1.0 gir1.2-gst-plugins-base-1.0"
PLUGIN = Path("python/hyperseg_plugin.py")
SLOW_S = 3.0
OLDEST = (1, 20)


@dataclass(frozen=True)
class Need:
    """Elements of which one is enough."""

    what: str
    any_of: tuple[str, ...]
    package: str
    """Of Debian and Ubuntu."""
    must: bool = True
    """False: only some runs need it."""


NEEDS = (
    Need("base", ("decodebin",), "gstreamer1.0-plugins-base"),
    Need("conversion", ("videoconvert",), "gstreamer1.0-plugins-base"),
    Need("scaling", ("videoscale",), "gstreamer1.0-plugins-base"),
    Need("hand-over", ("appsink",), "gstreamer1.0-plugins-base"),
    Need("usb-cameras", ("v4l2src",), "gstreamer1.0-plugins-good"),
    Need("rtsp-cameras", ("rtspsrc",), "gstreamer1.0-plugins-good", must=False),
    Need("decode-jpeg", ("nvjpegdec", "jpegdec", "avdec_mjpeg"), "gstreamer1.0-plugins-good"),
    Need(
        "decode-h264",
        ("nvv4l2decoder", "nvh264dec", "vah264dec", "vaapih264dec", "avdec_h264", "openh264dec"),
        "gstreamer1.0-libav",
    ),
    Need(
        "decode-h265",
        ("nvv4l2decoder", "nvh265dec", "vah265dec", "vaapih265dec", "avdec_h265", "libde265dec"),
        "gstreamer1.0-libav",
        must=False,
    ),
    Need(
        "encode-h264",
        ("nvv4l2h264enc", "x264enc", "openh264enc"),
        "gstreamer1.0-plugins-ugly",
        must=False,
    ),
    Need("parse-h264", ("h264parse",), "gstreamer1.0-plugins-bad"),
    Need("mp4", ("mp4mux",), "gstreamer1.0-plugins-good", must=False),
)
"""What runs on every machine."""
JETSON_NEEDS = (
    Need("nvv4l2decoder", ("nvv4l2decoder",), "nvidia-l4t-gstreamer"),
    Need("nvvidconv", ("nvvidconv", "nvvideoconvert"), "nvidia-l4t-gstreamer"),
    Need("nvarguscamerasrc", ("nvarguscamerasrc",), "nvidia-l4t-gstreamer", must=False),
)
"""A Jetson's own hardware."""


def check_gstreamer(machine: Machine) -> Iterator[Finding]:
    """All of it, from one question to one process."""
    needs = (*NEEDS, *JETSON_NEEDS)
    names = sorted({name for need in needs for name in need.any_of} | {OUR_ELEMENT})
    answer = machine.gstreamer(machine, names)
    if answer.error is not None:
        yield problem(
            "gstreamer.bindings", answer.error, "GStreamer loads",
            f"{BINDINGS}, and make the environment with --system-site-packages: scripts/setup",
        )  # fmt: skip
        return
    yield _version(answer)
    yield from _registry(answer)
    yield from _blacklist(answer)
    yield from _plugin_file(machine, answer)
    yield from _elements(answer, NEEDS)
    if machine.is_jetson:
        yield from _elements(answer, JETSON_NEEDS)
        yield _encoder(machine, answer)
    else:
        yield absent("elements.jetson", "not a Jetson")


def _version(answer: GstAnswer) -> Finding:
    seen = f"GStreamer {answer.version}, {answer.plugins} plugins, loaded in {answer.took_s:.1f} s"
    if tuple(int(part) for part in answer.version.split(".")[:2]) < OLDEST:
        return problem("gstreamer.version", seen, "1.20 or newer", "# upgrade the distribution")
    return ok("gstreamer.version", f"{seen}; bindings: {Path(answer.bindings).parent}")


def _registry(answer: GstAnswer) -> Iterator[Finding]:
    place = Path(answer.registry)
    nearest = nearest_folder(place)
    if not os.access(nearest, os.W_OK):
        yield warning(
            "gstreamer.registry", f"{place} cannot be written",
            "writable: otherwise every start looks at all plugins again",
            f"sudo chown -R $USER {nearest}  # or set GST_REGISTRY to a place that can be written",
        )  # fmt: skip
    elif answer.registry_state == "current":
        yield ok("gstreamer.registry", f"{place} is current")
    elif answer.took_s < SLOW_S:
        yield ok("gstreamer.registry", f"{answer.registry_state}; the next start renews {place}")
    else:
        yield warning(
            "gstreamer.registry", f"{answer.registry_state}: the next start takes "
            f"{answer.took_s:.0f} s to renew {place}", "current", "gst-inspect-1.0 > /dev/null",
        )  # fmt: skip


def _blacklist(answer: GstAnswer) -> Iterator[Finding]:
    if not answer.blacklisted:
        yield ok("gstreamer.blacklist", "no plugin is blacklisted")
        return
    shown = ", ".join(answer.blacklisted[:4]) + (" ..." if len(answer.blacklisted) > 4 else "")
    yield warning(
        "gstreamer.blacklist",
        f"{len(answer.blacklisted)} plugins did not load and are passed over: {shown}",
        "none; what is missing for one is said by: ldd FILE | grep 'not found'",
        f"rm -f {answer.registry} && gst-inspect-1.0 -b",
    )


def _plugin_file(machine: Machine, answer: GstAnswer) -> Iterator[Finding]:
    """A plugin of Python that once failed stays unknown until the registry is removed."""
    folders = [machine.home / ".gstreamer-1.0" / "plugins"]
    folders += [Path(p) for p in machine.environ.get("GST_PLUGIN_PATH", "").split(":") if p]
    place = next((folder / PLUGIN for folder in folders if (folder / PLUGIN).exists()), None)
    if place is None:
        yield absent("gstreamer.element", f"{OUR_ELEMENT} is not installed for gst-launch")
    elif OUR_ELEMENT in answer.elements:
        yield ok("gstreamer.element", f"gst-launch finds {OUR_ELEMENT} ({place})")
    elif not answer.loads_python:
        yield problem(
            "gstreamer.element", f"{place} is there, its loader is not", "the loader of plugins",
            "apt-get install gstreamer1.0-python3-plugin-loader && hyperseg element install",
        )  # fmt: skip
    else:
        yield problem(
            "gstreamer.element", f"{place} is there, but the registry knows no {OUR_ELEMENT}",
            "a plugin that once failed to load is remembered as such until the registry is removed",
            f"rm -f {answer.registry} && hyperseg element install",
        )  # fmt: skip


def _elements(answer: GstAnswer, needs: tuple[Need, ...]) -> Iterator[Finding]:
    for need in needs:
        check = f"elements.{need.what}"
        there = [name for name in need.any_of if name in answer.elements]
        if there:
            yield ok(check, ", ".join(there))
            continue
        seen, expected = "none is installed", " or ".join(need.any_of)
        report = problem if need.must else warning
        yield report(check, seen, expected, f"sudo apt-get install {need.package}")


def _encoder(machine: Machine, answer: GstAnswer) -> Finding:
    if "nvv4l2h264enc" in answer.elements and machine.path("dev/v4l2-nvenc").exists():
        return ok("elements.nvenc", "nvv4l2h264enc and its hardware")
    return absent("elements.nvenc", "no encoding hardware (as on Orin Nano); the CPU encodes")
