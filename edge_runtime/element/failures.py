"""From exceptions to error messages on the bus: the bindings would only print and forget them."""

from __future__ import annotations

import functools
import traceback
from typing import TYPE_CHECKING, Any, TypeVar

from edge_runtime.errors import ArtifactError, BackendError, HypersegError, OptionError
from edge_runtime.gst import GLib, Gst

if TYPE_CHECKING:
    from collections.abc import Callable

    Method = TypeVar("Method", bound=Callable[..., Any])


def guarded(failed: object) -> Callable[[Method], Method]:
    """Make a virtual method post what it raises, and return `failed` then."""

    def decorate(method: Method) -> Method:
        @functools.wraps(method)
        def guard(self: Any, *arguments: Any) -> Any:
            try:
                return method(self, *arguments)
            except Exception as error:  # noqa: BLE001  (the message is how it is passed on)
                post_error(self, error)
                return failed

        return guard  # type: ignore[return-value]

    return decorate


def post_error(element: Any, error: Exception) -> None:
    """Post an error message; the traceback of a defect of ours goes into its debug text."""
    if isinstance(error, HypersegError):
        text, debug = str(error), ""
    else:
        text, debug = f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
    quark, code = _code(error)
    _post(element, Gst.Message.new_error, quark, code, " ".join(text.split()), debug)


def post_info(element: Any, line: str) -> None:
    """Post a line about something that is no fault; may be called from any thread."""
    quark, code = Gst.LibraryError.quark(), Gst.LibraryError.SETTINGS
    _post(element, Gst.Message.new_info, quark, code, line, line)  # gst-launch shows the latter


def post_format_warning(element: Any, text: str) -> None:
    """Post that a format was refused; upstream may still offer another, or fail."""
    quark, code = Gst.StreamError.quark(), Gst.StreamError.FORMAT
    _post(element, Gst.Message.new_warning, quark, code, text)


def post_format_error(element: Any, text: str) -> None:
    """Post that the format of the stream cannot be taken."""
    quark, code = Gst.StreamError.quark(), Gst.StreamError.FORMAT
    _post(element, Gst.Message.new_error, quark, code, text)


def _post(element: Any, make: Any, quark: Any, code: Any, text: str, debug: str = "") -> None:
    element.post_message(make(element, GLib.Error.new_literal(quark, text, code), debug))


def _code(error: Exception) -> tuple[Any, Any]:
    """Domain and code as GStreamer's own elements choose them."""
    if isinstance(error, ArtifactError):
        return Gst.ResourceError.quark(), Gst.ResourceError.OPEN_READ
    if isinstance(error, OptionError):
        return Gst.LibraryError.quark(), Gst.LibraryError.SETTINGS
    if isinstance(error, BackendError):
        return Gst.LibraryError.quark(), Gst.LibraryError.FAILED
    if isinstance(error, HypersegError):
        return Gst.LibraryError.quark(), Gst.LibraryError.INIT
    return Gst.CoreError.quark(), Gst.CoreError.FAILED
