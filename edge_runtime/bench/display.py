"""What a bench shows: progress on stderr, a table per model, and what speaks against the figures.

The progress bar has no thread of its own: it is drawn between two rounds, a few times a second.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.bench.figures import Ratio
    from edge_runtime.bench.report import BenchReport, ModelFigures
    from edge_runtime.bench.tune import TuneReport

REDRAW_S = 0.25
CURVE_ROWS = 12
ROWS = {"latency": "latency", "h2d": "  h2d", "compute": "  compute", "d2h": "  d2h",
        "enqueue": "enqueue", "wall": "wall", "copy_in": "copy in", "decode": "decode"}  # fmt: skip
COLUMNS = ("mean", "p50", "p90", "p95", "p99", "min", "max")


class Bar:
    """A line about what goes on, on a terminal; elsewhere one line per phase.

    Args:
        console: of stderr.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
            console=self._console, auto_refresh=False, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)
        self._next_s = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def phase(self, text: str) -> None:
        """Something else begins."""
        if not self._console.is_terminal:
            self._console.print(f"hyperseg: {text}", highlight=False, markup=False, soft_wrap=True)
            return
        self._bar.update(self._task, description=text, total=None)
        self._bar.refresh()

    def tick(self, share: float) -> None:
        """So much is done, 0..1; 0 where it is not known."""
        if not self._console.is_terminal or time.monotonic() < self._next_s:
            return
        self._bar.update(self._task, completed=share, total=1.0 if share else None)
        self._bar.refresh()
        self._next_s = time.monotonic() + REDRAW_S


def print_bench(report: BenchReport, console: Console | None = None) -> None:
    """Print latencies, ratios, masks, the curve, and where the figures come from."""
    console = console or Console()
    for figures in report.models:
        console.print(_table(figures))
        if figures.curve:
            console.print(_curve(figures))
        for line in _notes(figures):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    if len(report.models) > 1:
        console.print(_ratios(report))
    for line in _footer(report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_tuning(report: TuneReport, console: Console | None = None) -> None:
    """Print what was tried, and what is kept."""
    console = console or Console()
    title = f"{report.model}: time by that of the best settings before"
    table = Table(title=title, title_justify="left")
    for column in ("trial", "settings", "ratio", "95 % interval"):
        table.add_column(column, justify="right" if column == "ratio" else "left")
    for trial in report.trials:
        interval = _interval(trial.ratio) if trial.same_masks else "OTHER MASKS"
        table.add_row(trial.stage, str(trial.settings), f"{trial.ratio.median:.3f}", interval)
    console.print(table)
    kept = "Nothing is kept: the defaults were not beaten beyond noise."
    if report.settings is not None:
        kept = (
            f"Kept for this model on this machine: {report.settings}. `run` and `bench` use it; "
            f"--threads wins. Remove {report.file} to forget it."
        )
    console.print(kept, highlight=False, markup=False, soft_wrap=True)


def _interval(ratio: Ratio) -> str:
    if ratio.low is None or ratio.high is None:
        return "too few rounds"
    same = "" if ratio.differs else ", no difference"
    return f"{ratio.low:.3f} to {ratio.high:.3f}{same}"


def _table(figures: ModelFigures) -> Table:
    table = Table(title=f"{figures.label}, ms per query", title_justify="left")
    table.add_column("")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name, shown in ROWS.items():
        found = figures.metrics_ms[name]
        # On a CPU compute and wall are the latency itself; the JSON has them.
        same = name != "latency" and found == figures.metrics_ms["latency"]
        if found is not None and not same:
            values = {"p50": found.median, **found.percentiles}
            cells = [values.get(key, getattr(found, key, None)) for key in COLUMNS]
            table.add_row(shown, *map(_ms, cells))
    return table


def _curve(figures: ModelFigures) -> Table:
    """At most `CURVE_ROWS` windows, evenly chosen; the JSON has all."""
    table = Table(title=f"{figures.label}, over time (wall)", title_justify="left")
    for column in ("s", "queries", "p50 ms", "p99 ms", "clocks MHz", "hottest C", "W", "throttled"):
        table.add_column(column, justify="right")
    step = max(-(-len(figures.curve) // CURVE_ROWS), 1)
    for window in figures.curve[step - 1 :: step]:
        clocks = ", ".join(f"{n} {mhz:.0f}" for n, mhz in window.clocks_mhz.items())
        hottest = max(window.temperatures_c.values(), default=None)
        table.add_row(
            f"{window.t_s:.0f}", str(window.queries), _ms(window.p50_ms), _ms(window.p99_ms),
            clocks or "-", "-" if hottest is None else f"{hottest:.0f}",
            "-" if window.power_w is None else f"{window.power_w:.1f}",
            ", ".join(window.throttling) or "-",
        )  # fmt: skip
    return table


def _notes(figures: ModelFigures) -> list[str]:
    identity, masks, warmup = figures.identity, figures.masks, figures.warmup
    given = identity.threads is not None and identity.tuning is None
    threads = f", {identity.threads} threads" if given else ""
    lines = [
        f"{figures.queries} queries, {figures.throughput_qps:.1f}/s one at a time; loaded in "
        f"{figures.load_ms:.0f} ms, {warmup.queries} queries of warm-up, the first "
        f"{_ms(warmup.first_ms)} ms.",
        f"Ran on {identity.backend}{threads}; {identity.precision}; "
        f"input {'x'.join(map(str, identity.input))}.",
        f"Masks {masks.hash[:12]}, {masks.classes} classes"
        f"{'' if masks.unchanged else ', NOT the same after the measurement'}.",
    ]
    if figures.peak_memory_mb is not None:
        lines.append(
            f"Peak memory {figures.peak_memory_mb:.0f} MB, of a process with this model alone."
        )
    if figures.drift is not None:
        lines.append(f"Last quarter of the curve over the first: {figures.drift:.3f}.")
    reasons: dict[str, list[str]] = {}
    for name, reason in figures.not_measured.items():
        reasons.setdefault(reason, []).append(name)
    lines += [f"Not measured: {', '.join(names)} ({why})." for why, names in reasons.items()]
    return lines


def _ratios(report: BenchReport) -> Table:
    first = report.models[0]
    table = Table(title=f"Time by that of {first.label}, paired by round", title_justify="left")
    for column in ("", "ratio", "95 % interval", "rounds", "masks alike"):
        table.add_column(column, justify="left" if not column else "right")
    for figures in report.models[1:]:
        ratio, alike = figures.ratio, figures.masks.agreement
        assert ratio is not None
        table.add_row(
            figures.label, f"{ratio.median:.3f}", _interval(ratio), str(ratio.rounds),
            "-" if alike is None else f"{alike:.2%}",
        )  # fmt: skip
    return table


def _footer(report: BenchReport) -> list[str]:
    device, conditions = report.device, report.conditions
    told = [device.soc or device.model or "unknown machine"]
    if device.power_mode is not None:
        told.append(f"power mode {device.power_mode}")
    if device.jetson_clocks:
        told.append("clocks locked")
    governors = ", ".join(conditions.governors) or "not told by this kernel"
    told.append(f"governor {governors}")
    if conditions.load is not None:
        told.append(f"load before {conditions.load:.1f}")
    lines = [
        f"Machine: {'; '.join(told)}.",
        f"Clock: {report.clock}.",
        f"Pictures: {report.frames} of {report.pictures}. Measured for {report.seconds:.1f} s.",
    ]
    if report.ended == "interrupted":
        lines.append("INTERRUPTED: these are the figures until then.")
    return lines + [f"Warning: {text}." for text in report.warnings]


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value < 100 else f"{value:.1f}"
