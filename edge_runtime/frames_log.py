"""The per-frame log: one line of JSON per result, with the names of the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge_runtime.errors import SinkError
from edge_runtime.line_file import LineFile
from edge_runtime.timing import DEVICE_COPIES, LATENCIES, STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.result import Result


class FramesLog:
    """Writes ``FILE.part`` and renames it when the run is over. A context manager and a callable.

    A full disk ends the run; the lines before it are kept, each of them whole.

    Args:
        path: the final file; None logs nothing.
        has_device_copies: whether the backend has the stages h2d and d2h.
    """

    def __init__(self, path: Path | None, *, has_device_copies: bool) -> None:
        self._path = path
        self._part = None if path is None else path.with_name(path.name + ".part")
        self._missing = () if has_device_copies else DEVICE_COPIES
        self._file: LineFile | None = None
        self._has_failed = False
        self._encode = msgspec.json.Encoder().encode

    def __enter__(self) -> Self:
        if self._part is not None:
            try:
                self._file = LineFile(self._part)
            except OSError as error:
                raise self._failure(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is None or self._part is None or self._path is None:
            return
        try:
            self._file.close()
            if self._file.is_empty and (error is not None or self._has_failed):
                # The run never began: an older log is worth more than an empty one.
                self._part.unlink()
                return
            self._part.replace(self._path)
        except OSError as failure:
            raise SinkError(
                f"cannot complete {self._path}: {failure.strerror or failure}; what was logged is "
                f"in {self._part.name}"
            ) from failure

    def __call__(self, result: Result) -> None:
        """Write one line.

        Raises:
            SinkError: the disk is full.
        """
        if self._file is None:
            return
        try:
            self._file.append(self._encode(result_record(result, self._missing)) + b"\n")
        except OSError as error:
            self._has_failed = True
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> SinkError:
        return SinkError(
            f"cannot write {self._path}: {error.strerror or error}; choose another --frames-log"
        )


def result_record(result: Result, missing: Sequence[str] = ()) -> dict[str, Any]:
    """State, stamps and latencies of a result under the names of the report, without its mask.

    Args:
        result: one result; without a latency where it was not inferred or not published yet.
        missing: stages that its backend does not have.
    """
    stamps = result.stamps
    latency: dict[str, Any] | None = None
    if stamps is not None and stamps.publish:
        latency = _milliseconds(LATENCIES, stamps.latencies_ns())
        latency["stages"] = _milliseconds(STAGES, stamps.stages_ns()) | dict.fromkeys(missing)
    return {
        "index": result.index,
        "pts_ns": result.pts_ns,
        "state": result.state,
        "stale": result.stale,
        "reason": result.reason,
        "model": result.model,
        "timestamp_source": result.timestamp_source,
        "t_capture": result.capture_ns,
        "t_publish": stamps and (stamps.publish or None),
        "latency_ms": latency,
    }


def _milliseconds(names: tuple[str, ...], values_ns: tuple[int, ...]) -> dict[str, Any]:
    return {name: value * 1e-6 for name, value in zip(names, values_ns, strict=True)}
