"""What TensorRT says while an engine is loaded and run: errors are kept, warnings are passed on."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

KEPT = 8
"""Latest errors that are kept for the message of ours that explains them."""


class Messages:
    """What one engine's TensorRT has said.

    Args:
        name: of the engine, for the lines that are passed on.
        warn: takes each warning once, from any thread.
    """

    def __init__(self, name: str, warn: Callable[[str], None]) -> None:
        self.errors: deque[str] = deque(maxlen=KEPT)
        self._name, self._warn = name, warn
        self._warned: set[str] = set()

    def error(self, text: str) -> None:
        """Keep an error."""
        self.errors.append(" ".join(text.split()))

    def warning(self, text: str) -> None:
        """Pass a warning on, unless it was before."""
        line = " ".join(text.split())
        if line not in self._warned:
            self._warned.add(line)
            self._warn(f"{self._name}: TensorRT warns: {line}")


def logger(trt: ModuleType, messages: Messages) -> Any:
    """A logger for TensorRT that prints nothing.

    Args:
        trt: the imported bindings.
        messages: told of errors and warnings.
    """
    severity = trt.ILogger.Severity

    class Listener(trt.ILogger):  # type: ignore[name-defined, misc]
        """Passes errors and warnings to `messages`."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if level in (severity.ERROR, severity.INTERNAL_ERROR):
                messages.error(message)
            elif level == severity.WARNING:
                messages.warning(message)

    return Listener()
