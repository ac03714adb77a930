"""Options of a run. Their defaults are written here and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edge_runtime.errors import OptionError
from edge_runtime.places import require_distinct
from edge_runtime.policy import parse_policy
from edge_runtime.prometheus.address import parse_listen
from edge_runtime.sinks.spec import SCHEMES, parse_sink
from edge_runtime.supervision.options import SupervisionOptions
from edge_runtime.web.options import WebOptions

MAX_THREADS = 1024
Rebuild = Literal["auto", "never"]


@dataclass(frozen=True)
class RunOptions:
    """How a network is run on a source.

    Raises:
        OptionError: a value that cannot work, or two outputs to one file.
    """

    policy: str | None = None
    """``every``, ``latest`` or ``deadline=MS``; None takes ``latest`` for a live source and
    ``every`` for a file."""
    sinks: tuple[str, ...] = ()
    """Where results go besides the callback, each as `edge_runtime.sinks.spec.SCHEMES` says. None
    at all is ``null``."""
    duration_s: float | None = None
    """Ends the run so many seconds after its first frame; None runs to the end of the stream."""
    report: Path | None = None
    """Where to write the latency report: JSON, or a page if its name ends in ``.html``."""
    frames_log: Path | None = None
    """Where to write one line of JSON per frame."""
    rules: Path | None = None
    """Regions and rules (JSON), told by the sinks that tell results to other programs."""
    threads: int | None = None
    """CPU threads for one inference; None leaves it to the engine."""
    rebuild: Rebuild | None = None
    """Run on a TensorRT engine of the model. One that is missing or does not fit is built in the
    background while ONNX Runtime, or the old engine, serves (``auto``), or the run is refused
    (``never``). None runs the model itself."""
    store: Path | None = None
    """Folder of engines; None takes the user's cache folder."""
    watch_model: bool = False
    """Take a new model over without an interruption when the model's file and manifest change, or
    on SIGHUP. It must fit the pictures, masks and classes that the run was started with."""
    status: Path | None = None
    """File that is told once a second how the run is doing, for `hyperseg service health`."""
    metrics: str | None = None
    """Serve metrics for Prometheus at ``[ADDR:]PORT``; without ADDR to this machine only."""
    web: WebOptions | None = None
    """Serve a page with the live overlay and all figures there."""
    quiet: bool = False
    """Show no live line on stderr."""
    with_picture: bool = False
    """Give results the full-size picture even if no sink needs it."""
    open_timeout_s: float = 10.0
    """How long the source's first frame may take."""
    zero_copy: bool = False
    """On a Jetson, hand frames from NVMM memory to a TensorRT engine without a copy, where that
    works; see `edge_runtime.nvmm`."""
    supervision: SupervisionOptions = field(default_factory=SupervisionOptions)
    """What is done about a live source that fails."""

    def __post_init__(self) -> None:
        if self.policy is not None:
            parse_policy(self.policy)
        if self.duration_s is not None and not 0 < self.duration_s < float("inf"):
            raise OptionError(f"duration {self.duration_s:g} s: expected seconds above 0")
        if not 0 < self.open_timeout_s < float("inf"):
            raise OptionError(f"open timeout {self.open_timeout_s:g} s: expected seconds above 0")
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise OptionError(
                f"threads {self.threads}: expected 1 to {MAX_THREADS}, or none for automatic"
            )
        if self.metrics is not None:
            parse_listen(self.metrics)
        require_distinct(self.outputs())
        self._check_rules()

    def outputs(self) -> list[Path]:
        """Every file or folder that is written, as absolute paths without links."""
        paths = [spec.path for spec in map(parse_sink, self.sinks)] + [
            self.report,
            self.frames_log,
            self.status,
        ]
        return [Path(os.path.realpath(path)) for path in paths if path is not None]

    def _check_rules(self) -> None:
        if self.rules is None or any(parse_sink(text).scheme.tells_rules for text in self.sinks):
            return
        kinds = [f"{kind}:" for kind, scheme in SCHEMES.items() if scheme.tells_rules]
        raise OptionError(
            f"rules {self.rules} would be told to nobody; add a --sink of {', '.join(kinds)}"
        )
