"""From what a user types to a source of frames."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from edge_runtime.errors import SourceError
from edge_runtime.redact import redact
from edge_runtime.sources.cameras import plan_csi, plan_rtsp, plan_test, plan_v4l2
from edge_runtime.sources.devices import stable_device
from edge_runtime.sources.fault import KINDS, SCHEME, parse_schedule, split_fault
from edge_runtime.sources.fault_script import FaultScript
from edge_runtime.sources.files import URI_DECODER, plan_path
from edge_runtime.sources.plan import SourcePlan
from edge_runtime.suggest import hint

if TYPE_CHECKING:
    from edge_runtime.video import Source, SourceRequest

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):", re.IGNORECASE)
"""Two letters at least: ``C:`` is a drive."""

_RTSP = ("rtsp", "rtsps", "rtspt", "rtspu", "rtsph")
SCHEMES = ("test", "v4l2", "csi", "rtsp", "file", "fault", "launch")
"""What those may have meant who wrote another."""


def open_source(text: str, request: SourceRequest) -> Source:
    """The source that `text` names; it opens when entered as a context manager.

    Args:
        text: a path or file:// URI of a video, an image or a folder of images; ``rtsp://...``;
            ``/dev/video0`` or ``v4l2:///dev/video0``; ``csi://0``; ``test:`` (a street),
            ``test:bars`` or ``test:smpte``, with options as in ``test:?size=540x960&fps=30``;
            ``fault:SCHEDULE:SOURCE``, a source with faults (`edge_runtime.sources.fault`);
            any other URI GStreamer reads; or a GStreamer launch text, recognised by `` ! `` or a
            leading ``launch:``, whose last open pad gives raw or encoded video.
        request: how the frames are wanted.

    Raises:
        SourceError: nothing can be opened by this name.
        OptionError: a test street that cannot be drawn.
        DependencyError: GStreamer or a part of it is missing.
    """
    return SourceOpener(text, request).first()


class SourceOpener:
    """Opens one source again and again: a camera by its lasting name, faults where they stood.

    Args:
        text: as for `open_source`.
        request: how the frames are wanted.

    Raises:
        SourceError: nothing can be opened by this name.
        OptionError: a test street that cannot be drawn.
    """

    def __init__(self, text: str, request: SourceRequest) -> None:
        self._plan = plan_source(text)
        self._text = _lasting(text.strip(), self._plan)
        self._request = request

    @property
    def uses_argus(self) -> bool:
        """Whether a Jetson's capture service is behind it."""
        return self._plan.end_before_stop

    def first(self) -> Source:
        """The source as it was named."""
        return self._source(self._plan, self._request)

    def __call__(self, open_timeout_s: float | None = None) -> Source:
        """The source anew; it opens when entered.

        Args:
            open_timeout_s: how long its first frame may take, if shorter than was requested.

        Raises:
            SourceError: it is not there.
        """
        request = self._request
        if open_timeout_s is not None:
            limit_s = min(request.open_timeout_s, open_timeout_s)
            request = replace(request, open_timeout_s=limit_s)
        plan = replace(plan_source(self._text), faults=self._plan.faults)
        return self._source(plan, request)

    @staticmethod
    def _source(plan: SourcePlan, request: SourceRequest) -> Source:
        from edge_runtime.sources.pipeline import GstSource

        return GstSource(plan, request)


def _lasting(text: str, plan: SourcePlan) -> str:
    """`text` with a camera's device replaced by a name that stays with its port."""
    device = plan.properties.get("device")
    if not isinstance(device, str):
        return text
    return text.replace(device, str(stable_device(Path(device))), 1)


def plan_source(text: str) -> SourcePlan:
    """What `open_source` would open for `text`; the file or device must exist.

    Raises:
        SourceError: nothing can be opened by this name.
    """
    text = text.strip()
    if not text:
        raise SourceError("the source is empty; expected a path or URI, such as test:")
    if text.startswith(SCHEME):
        return plan_fault(text)
    if text.startswith("launch:"):
        return _plan_launch(text.removeprefix("launch:").strip())
    if _exists(text) and not text.startswith("/dev/"):
        return plan_path(Path(text))
    if " ! " in text:
        return _plan_launch(text)
    found = _SCHEME.match(text)
    return _plan_uri(text, found[1].lower()) if found else _plan_place(text)


def plan_fault(text: str) -> SourcePlan:
    """``fault:SCHEDULE:SOURCE``: SOURCE, with faults.

    Raises:
        SourceError: the schedule or the source cannot be read, or they do not go together.
    """
    written, inner = split_fault(text)
    schedule = parse_schedule(written)
    if inner.startswith(SCHEME):
        raise SourceError(f"{redact(text)}: write the faults of both into one schedule")
    plan = plan_source(inner)
    changes_size = "size" in schedule.may_occur
    if changes_size and "memory:NVMM" in plan.launch:
        raise SourceError(
            f"{plan.uri}: the fault 'size' cannot act on its frames, which stay in NVMM memory; "
            f"leave it out, as in kinds={'/'.join(kind for kind in KINDS if kind != 'size')}"
        )
    from edge_runtime.sources.fault_element import fault_launch

    return replace(
        plan,
        uri=f"{SCHEME}{written}:{plan.uri}",
        launch=plan.launch + fault_launch(changes_size=changes_size),
        arrives_at_source=False,
        numbers_frames=True,
        faults=FaultScript(schedule),
    )


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, as launch texts are, or not even text
        return False


def _plan_place(text: str) -> SourcePlan:
    return plan_v4l2(text) if text.startswith("/dev/") else plan_path(Path(text))


def _plan_uri(uri: str, scheme: str) -> SourcePlan:
    if scheme == "file":
        return _plan_file(uri)
    if scheme == "test":
        return plan_test(uri)
    if scheme == "v4l2":
        return plan_v4l2(uri)
    if scheme == "csi":
        return plan_csi(uri)
    if scheme in _RTSP:
        return plan_rtsp(uri)
    return _plan_other(uri, scheme)


def _plan_file(uri: str) -> SourcePlan:
    try:
        place = urlsplit(uri)
    except ValueError:  # an unfinished [address]
        place = None
    if place is None or place.netloc not in ("", "localhost"):
        raise SourceError(f"{redact(uri)}: a file URI names no host; expected file:///path/to/file")
    return plan_path(Path(unquote(place.path)))


def _plan_other(uri: str, scheme: str) -> SourcePlan:
    from edge_runtime.gst import Gst

    if not Gst.uri_protocol_is_supported(Gst.URIType.SRC, scheme):
        raise SourceError(
            f"no source {redact(uri)!r}: neither a file nor a URI that GStreamer reads here; "
            f"{hint(scheme, SCHEMES)}expected a path, rtsp://, v4l2:///dev/video0, csi://0, test: "
            "or a launch text"
        )
    return SourcePlan(
        uri=redact(uri),
        launch=URI_DECODER,
        properties={"uri": uri, "caps": "video/x-raw(ANY)"},
    )


def _plan_launch(text: str) -> SourcePlan:
    if not text:
        raise SourceError("launch: is empty; expected elements such as launch:videotestsrc")
    return SourcePlan(uri=redact(f"launch:{text}"), launch=f"{text} ! decodebin")
