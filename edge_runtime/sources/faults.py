"""What GStreamer complains about, in one line that says what to do."""

from __future__ import annotations

import re
import time
from typing import Any

from edge_runtime.errors import SourceError
from edge_runtime.gst import ELEMENT_PACKAGES, GLib, Gst, GstPbutils
from edge_runtime.redact import redact

_RESOURCE = "gst-resource-error-quark"
_STREAM = "gst-stream-error-quark"

_HINTS = {
    (_RESOURCE, int(Gst.ResourceError.NOT_FOUND)): "check the name, and that it is connected",
    (_RESOURCE, int(Gst.ResourceError.BUSY)): "another program holds it: close that first",
    (_RESOURCE, int(Gst.ResourceError.OPEN_READ)): "check address, cable and permissions",
    (_RESOURCE, int(Gst.ResourceError.OPEN_READ_WRITE)): "check address, port and network",
    (_RESOURCE, int(Gst.ResourceError.NOT_AUTHORIZED)): (
        "check user and password: scheme://user:password@host/path, special characters as %XX"
    ),
    (_STREAM, int(Gst.StreamError.TYPE_NOT_FOUND)): "damaged, or no video",
    (_STREAM, int(Gst.StreamError.WRONG_TYPE)): "expected a video",
}
"""What helps, by domain and code of the error."""

_CODEC_PACKAGES = (
    "apt-get install gstreamer1.0-libav gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
    "gstreamer1.0-plugins-ugly"
)

_JETSON_ONLY = "it comes with NVIDIA's Jetson Linux (nvidia-l4t-gstreamer) and exists nowhere else"

ERROR_DELAY_S = 0.5
"""How long the message of an error may come after its effect."""


class BusWatch:
    """Empties a pipeline's bus and remembers what was wrong."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self._kinds = (
            Gst.MessageType.ERROR
            | Gst.MessageType.WARNING
            | Gst.MessageType.ELEMENT
            | Gst.MessageType.EOS
        )
        self._error: str | None = None
        self._unlinked = False
        self._warning: str | None = None
        self._missing: list[tuple[str, str]] = []
        self.ended = False
        """Whether every branch reached the end of the stream."""

    def drain(self) -> None:
        """Read all waiting messages."""
        # Messages of other kinds are thrown away on the way: a bus nobody reads only grows.
        while (message := self._bus.pop_filtered(self._kinds)) is not None:
            self._note(message)

    def await_error(self) -> None:
        """Read messages until there is an error: a failed change of state may come before it."""
        deadline = time.monotonic() + ERROR_DELAY_S
        self.drain()
        while self._error is None and time.monotonic() < deadline:
            time.sleep(ERROR_DELAY_S / 100)
            self.drain()

    def _note(self, message: Any) -> None:
        if message.type == Gst.MessageType.ERROR:
            # The first error is the cause; what follows are its consequences.
            if self._error is None:
                error, debug = message.parse_error()
                self._error = _describe(error, debug)
                self._unlinked = error.matches(
                    Gst.CoreError.quark(), Gst.CoreError.MISSING_PLUGIN
                ) or "reason not-linked" in (debug or "")
        elif message.type == Gst.MessageType.WARNING:
            self._warning = _describe(*message.parse_warning())
        elif message.type == Gst.MessageType.EOS:
            self.ended = True
        elif GstPbutils.is_missing_plugin_message(message):
            detail = GstPbutils.missing_plugin_message_get_installer_detail(message)
            name = GstPbutils.missing_plugin_message_get_description(message)
            self._missing.append((str(name), str(detail)))

    @property
    def error(self) -> str | None:
        """The first error in one line without credentials, or None."""
        if self._error is None:
            return None
        # Decoders of sound may be missing as well, but do not matter.
        needed = [name for name, detail in self._missing if "audio/" not in detail]
        if needed:
            return f"no {needed[0]} is installed; {_CODEC_PACKAGES}"
        return "there is no video in it" if self._unlinked else self._error

    @property
    def reason(self) -> str:
        """The error or else the last warning, for messages that already say what failed."""
        return self.error or self._warning or "GStreamer gives no reason"


def _describe(error: Any, debug: str | None) -> str:
    """The error's text, its cause where GStreamer adds one, and what helps against it."""
    _, _, cause = (debug or "").partition("\n")
    text = error.message.rstrip(".")
    cause = " ".join(cause.split())
    if cause and cause not in text:
        text += f" ({cause.rstrip('.')})"
    text = redact(text)
    hint = _HINTS.get((error.domain, error.code))
    return f"{text}; {hint}" if hint else text


def parse_pipeline(uri: str, launch: str) -> Any:
    """The pipeline of a launch text.

    Raises:
        SourceError: the text has a fault or names an element that is not installed.
    """
    try:
        return Gst.parse_launch(launch)
    except GLib.Error as error:
        raise SourceError(f"cannot open {uri}: {redact(_parse_fault(error))}") from None


def _parse_fault(error: Any) -> str:
    named = re.search(r'no element "([^"]+)"', error.message)
    if named is None:
        return f"{error.message}; try the text with gst-launch-1.0"
    name = named[1]
    if name.startswith("nv"):
        return f"GStreamer has no element {name!r}: {_JETSON_ONLY}"
    if name in ELEMENT_PACKAGES:
        return f"GStreamer has no element {name!r}: apt-get install {ELEMENT_PACKAGES[name]}"
    return f"GStreamer has no element {name!r}; check its spelling: gst-inspect-1.0 | grep {name}"
