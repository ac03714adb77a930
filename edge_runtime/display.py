"""What a run shows: a live line on stderr, and a table at the end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_runtime.timing import LATENCIES

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.copies import Copies
    from edge_runtime.report import Dropped, LatencyReport, Outages
    from edge_runtime.rig.lane import Lane
    from edge_runtime.timing import Distribution

REFRESH_HZ = 4
PLAIN_INTERVAL_S = 5.0
COLUMNS = ("mean", "p50", "p90", "p95", "p99", "p999", "max")
DISTURBING_SHARE = 0.01
"""Above this share of the frame time the instrumentation is named in the table's footer."""


class LiveLine:
    """One line about the last 10 s: redrawn in place on a terminal, else printed every 5 s.

    It is drawn by a thread of its own, so that writing to a slow terminal delays no frame.
    """

    def __init__(self, lane: Lane, console: Console | None = None) -> None:
        self._lane = lane
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._print_plain, name="live line", daemon=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self.line,
                console=self._console,
                refresh_per_second=REFRESH_HZ,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        else:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            self._over.set()
            self._thread.join()

    def line(self) -> Text:
        """The line as it stands now."""
        return Text(describe(self._lane), no_wrap=True, overflow="ellipsis")

    def _print_plain(self) -> None:
        while not self._over.wait(PLAIN_INTERVAL_S):
            self._console.print(self.line(), soft_wrap=True)


def describe(lane: Lane) -> str:
    """How a camera did in the last 10 s, in one line."""
    now = lane.snapshot()
    queue = lane.source.counters.dropped_queue
    return (
        f"{_signal(lane)}{now.fps:6.1f} frames/s   latency p50 {_ms(now.p50_ms)} "
        f"p95 {_ms(now.p95_ms)} ms   age {_ms(now.age_ms)} ms   "
        f"dropped: queue {queue} stale {now.dropped_stale} sink {now.dropped_sink}"
    )


def _signal(lane: Lane) -> str:
    """How the source is doing, unless it is well."""
    state, outage = lane.source.state, lane.source.outage
    if outage is None:
        return "" if state == "up" else f"{state}   "
    return f"no signal, {state} ({outage.cause}, tried {outage.failed_attempts} times)   "


def print_report(report: LatencyReport, console: Console | None = None) -> None:
    """Print latencies, stages, drops and where the figures come from."""
    console = console or Console()
    console.print(_table(report))
    for sentence in _footer(report):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _table(report: LatencyReport) -> Table:
    latency = report.latency_ms
    rows: dict[str, Distribution | None] = {name: getattr(latency, name) for name in LATENCIES}
    table = Table(title="Latency in ms, from capture to publish", title_justify="left")
    table.add_column("")
    for column in ("n", *COLUMNS):
        table.add_column("p99.9" if column == "p999" else column, justify="right")
    for name, figures in rows.items():
        _add_row(table, name, figures)
    table.add_section()
    for name, figures in latency.stages.items():
        _add_row(table, f"  {name}", figures)
    return table


def _add_row(table: Table, name: str, figures: Distribution | None) -> None:
    if figures is not None:
        table.add_row(name, str(figures.n), *(_ms(getattr(figures, key)) for key in COLUMNS))


def _footer(report: LatencyReport) -> list[str]:
    frames, source, model = report.frames, report.source, report.model
    dropped = frames.dropped
    shape = "x".join(map(str, model.input))
    lines = [
        f"Frames: {frames.captured} captured, {frames.inferred} inferred, {frames.published} "
        f"published, {frames.late} late; dropped: queue {dropped.queue}, stale {dropped.stale}, "
        f"sink {dropped.sink}, source gap {dropped.source_gap}{_lost_frames(dropped)}; in flight "
        f"at the end {frames.in_flight}.",
        f"Rate: {_number(report.fps.publish)} results/s of {_number(report.fps.source)} frames/s "
        f"in {report.duration_s:.1f} s. Jitter: mean {_ms(report.jitter_ms.mean)}, max "
        f"{_ms(report.jitter_ms.max)} ms.",
        f"Clock: {source.timestamp_source}. Source: {source.uri}, policy {source.policy}.",
        f"Model: {model.name}, {shape}, {model.backend}.",
        _warmup_sentence(report),
        _copies_sentence(report.copies),
    ]
    if report.outages.count or report.outages.irregular:
        lines.append(_outage_sentence(report.outages))
    lines += [
        f"Sink {sink.sink}: {sink.consumed} results, {sink.dropped} dropped because it was busy."
        for sink in report.sinks
    ]
    if dropped.queue and source.policy != "every":
        lines.append(
            f"Results were slower than the source: of {_number(report.fps.source)} frames/s "
            f"{_number(report.fps.infer)} were segmented, older ones were dropped for newer."
        )
    lines += _telemetry_sentences(report)
    share = report.instrumentation.share
    if share is not None and share > DISTURBING_SHARE:
        lines.append(f"Measuring itself took {share:.1%} of the time.")
    return lines


def _lost_frames(dropped: Dropped) -> str:
    named = {
        "damaged": dropped.damaged,
        "repeated": dropped.repeated,
        "lost with their source": dropped.outage,
    }
    return "".join(f", {name} {count}" for name, count in named.items() if count)


def _outage_sentence(outages: Outages) -> str:
    causes = ", ".join(f"{count} {cause}" for cause, count in outages.causes.items())
    irregular = ", ".join(f"{count} {kind}" for kind, count in outages.irregular.items())
    text = f"Signal: {outages.count} outages"
    if outages.count:
        text += (
            f" ({causes}), {outages.total_s:.1f} s in all, longest {outages.longest_s:.1f} s; "
            f"{outages.reconnects} reconnected, {outages.failed_attempts} attempts in vain"
        )
    return f"{text}; irregular frames: {irregular or 'none'}."


def _telemetry_sentences(report: LatencyReport) -> list[str]:
    power, heat, device = report.power_w, report.temperature_c, report.device
    parts = []
    if power.mean is not None and power.max is not None:
        parts.append(f"{power.mean:.1f} W mean, {power.max:.1f} W at most")
    for name, celsius in (("GPU", heat.gpu_max), ("CPU", heat.cpu_max)):
        if celsius is not None:
            parts.append(f"{name} up to {celsius:.0f} C")
    clocks = report.telemetry.clocks_mhz
    parts += [f"{n} clock {c.min:.0f} to {c.max:.0f} MHz" for n, c in clocks.items()]
    if device.power_mode is not None:
        locked = ", clocks locked" if device.jetson_clocks else ""
        parts.append(f"power mode {device.power_mode}{locked}")
    lines = [f"Machine: {'; '.join(parts)}."] if parts else []
    lines += [
        f"Sensors of {name} failed at times, and are missing there: {reason}."
        for name, reason in report.telemetry.failed.items()
    ]
    if report.throttled:
        events = report.telemetry.throttle_events or {}
        named = ", ".join(f"{name} {count} times" for name, count in events.items())
        lines.append(f"THROTTLED: {named}. These are the figures of a machine slowed down.")
    return lines


def _warmup_sentence(report: LatencyReport) -> str:
    warmup = report.warmup
    if not warmup.frames:
        return "Warm-up: no frame was published."
    first = f"{warmup.frames} frames, the first took {_ms(warmup.first_ms)} ms in the engine"
    if warmup.converged:
        return f"Warm-up: {first}; they are not in the figures."
    if report.latency_ms.result.n == warmup.frames - 1:
        return f"Warm-up: {first}; not over when the run ended: the figures hold all but the first."
    return f"Warm-up: {first}; not stable within 30 s, the figures begin after that."


def _copies_sentence(copies: Copies) -> str:
    if not copies.frames:
        return "Copies: no frame reached the network."
    each = 1.0 / copies.frames
    text = (
        f"Copies per frame: {copies.host_copies * each:.3g} in host memory "
        f"({copies.host_copy_bytes * each * 1e-6:.2f} MB), "
        f"{copies.host_to_device_copies * each:.3g} to the device, "
        f"{copies.device_to_host_copies * each:.3g} from it"
    )
    if copies.nvmm_frames:
        text += f"; {copies.nvmm_frames} of {copies.frames} frames stayed in NVMM memory"
    return f"{text}."


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
