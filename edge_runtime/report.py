"""The latency report: one JSON object per run, schema ``hyperseg-edge.latency/1``.

A value that the platform lacks is null. Milliseconds throughout; see `edge_runtime.timing` for what
each latency and stage is. A percentile is null when the sample is too small for it: n < 10/(1 - p).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from edge_runtime.copies import Copies
from edge_runtime.device import Device
from edge_runtime.history import LatencyHistory
from edge_runtime.report_file import ReportFile
from edge_runtime.telemetry.summary import Telemetry
from edge_runtime.timing import Distribution

if TYPE_CHECKING:
    from edge_runtime.video import TimestampSource

SCHEMA: Literal["hyperseg-edge.latency/1"] = "hyperseg-edge.latency/1"
Ending = Literal["end", "duration", "interrupted", "terminated", "error"]
"""End of the stream, its duration was over, Ctrl-C, SIGTERM, or a source, engine or sink failed."""
ModelEvent = Literal["served", "refused", "rolled-back"]
"""It took over; it did not; it did and failed, and the one before it serves again."""


@dataclass(frozen=True)
class Model:
    """What was run."""

    name: str
    backend: str
    onnx_sha256: str | None
    precision: str | None
    calib_sha256: str | None
    input: tuple[int, ...]
    engine_sha256: str | None = None


@dataclass(frozen=True)
class ModelChange:
    """A model that was to take over under the run, which goes on meanwhile."""

    t_s: float
    """Seconds since the first frame."""
    event: ModelEvent
    model: str
    """Start of its file's sha256, as results name it; its file's name if it could not be read."""
    reason: str | None = None
    """Why it was refused or failed."""


@dataclass(frozen=True)
class SourceBlock:
    """What it was run on."""

    uri: str | None = None
    """Without credentials."""
    caps: str | None = None
    fps_nominal: float | None = None
    timestamp_source: TimestampSource | None = None
    """The clock every latency in this report starts from. Where it changed during the run, the one
    of most frames; those of other clocks are counted but in no latency."""
    policy: str | None = None


@dataclass(frozen=True)
class Dropped:
    """Frames that were not published, by cause."""

    source_gap: int = 0
    """Numbered by the camera but never delivered; not part of `captured`."""
    queue: int = 0
    """Replaced by a newer frame before they were read."""
    damaged: int = 0
    """Marked as damaged by the decoder of a live source."""
    repeated: int = 0
    """Came with the presentation time of the frame before: a source that hangs."""
    outage: int = 0
    """Were under way when their source was lost."""
    stale: int = 0
    """Older than the deadline when inference would have started."""
    sink: int = 0
    """Inferred, but no consumer had room."""


@dataclass(frozen=True)
class Frames:
    """Frames by fate.

    ``captured = inferred + in_flight + dropped.(queue + stale + damaged + repeated + outage)``, and
    ``inferred = published + dropped.sink``.
    """

    captured: int = 0
    inferred: int = 0
    published: int = 0
    dropped: Dropped = Dropped()
    late: int = 0
    """Published after their deadline."""
    in_flight: int = 0
    """Captured but without a fate when the run ended."""


@dataclass(frozen=True)
class Fps:
    """Frames per second of the whole run."""

    source: float | None = None
    infer: float | None = None
    publish: float | None = None


@dataclass(frozen=True)
class Warmup:
    """The first frames; they are in no latency figure if the warm-up converged."""

    frames: int = 0
    first_ms: float | None = None
    """Engine latency of the very first frame."""
    converged: bool = False
    """False: latency was not stable within 30 s, or the run ended before it was. In the latter case
    the figures hold all frames but the first."""


@dataclass(frozen=True)
class LatencyMs:
    """Distributions in milliseconds."""

    result: Distribution
    """Capture to publish."""
    pipeline: Distribution
    """Arrival to publish."""
    engine: Distribution
    """h2d + infer + d2h."""
    age_at_infer: Distribution
    """Capture to the start of the network."""
    stages: dict[str, Distribution | None]
    """The eight of `edge_runtime.timing.STAGES` add up to `result`; `enqueue` overlaps `infer` and
    `render` comes after publish. Null: there is no such stage."""
    clamped: int = 0
    """Durations counted at 1 us or 60 s in the percentiles because they lay outside."""


@dataclass(frozen=True)
class Jitter:
    """Change of the interval between publications, ``abs(diff(diff(t_publish)))``, in ms."""

    mean: float | None = None
    p99: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class Power:
    """Watts; null without sensors."""

    mean: float | None = None
    max: float | None = None
    rails: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Temperature:
    """Celsius; null without sensors."""

    gpu_max: float | None = None
    cpu_max: float | None = None


@dataclass(frozen=True)
class Clocks:
    """MHz; null without sensors."""

    gpu_min: float | None = None


@dataclass(frozen=True)
class Memory:
    """MB (10^6 bytes)."""

    rss_start: float | None = None
    rss_end: float | None = None
    gpu_peak: float | None = None


@dataclass
class Fault:
    """Something that went wrong during the run."""

    t_s: float
    """Seconds since the first frame."""
    kind: str
    recovered_after_s: float | None = None
    """Seconds since the last good frame; null: it never did."""
    reason: str | None = None
    """What is known of the cause, in one line without credentials."""


@dataclass(frozen=True)
class Outages:
    """Times without signal of a live source, each from its last good frame to its next one."""

    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0
    reconnects: int = 0
    """How many ended when the source was opened again; the others ended by themselves."""
    failed_attempts: int = 0
    """How often the source was opened in vain."""
    causes: dict[str, int] = field(default_factory=dict)
    """``stall``: silence; ``lost``: an error; ``end``: the sender ended the stream."""
    irregular: dict[str, int] = field(default_factory=dict)
    """Episodes in which frames came, but not as they should: ``pts-jump``, ``size-change``,
    ``damaged``, ``repeated``."""


@dataclass(frozen=True)
class SinkBlock:
    """One sink's share. A result that one of several sinks refused still counts as published."""

    sink: str
    consumed: int
    dropped: int


@dataclass(frozen=True)
class Instrumentation:
    """What the measuring itself costs per frame."""

    mean_ms: float | None = None
    share: float | None = None
    """Of the mean time between publications, 0..1."""


@dataclass(frozen=True, kw_only=True)
class LatencyReport(ReportFile):
    """Everything that is known about one run."""

    schema: Literal["hyperseg-edge.latency/1"] = SCHEMA
    run_id: str
    started_at: str
    """UTC wall clock of the start, ISO 8601; all other times are monotonic."""
    duration_s: float
    """From the first frame to the end."""
    device: Device
    model: Model
    """The one that the run began with."""
    source: SourceBlock
    frames: Frames
    fps: Fps
    warmup: Warmup
    latency_ms: LatencyMs
    jitter_ms: Jitter
    power_w: Power = Power()
    temperature_c: Temperature = Temperature()
    clocks_mhz: Clocks = Clocks()
    throttle_events: int | None = None
    """Null where nothing would tell."""
    throttled: bool | None = None
    """Whether heat, current or power slowed the machine down: its figures are not those of another
    run that was not."""
    telemetry: Telemetry = field(default_factory=Telemetry)
    memory_mb: Memory
    ended: Ending | Literal["running"]
    """``running``: taken while the run went on, so the frames may not add up to the last one."""
    faults: tuple[Fault, ...] = ()
    """The first of them; `faults_total` counts all."""
    faults_total: int = 0
    outages: Outages = Outages()
    model_changes: tuple[ModelChange, ...] = ()
    """The newest of them; the latencies are those of all models together."""
    sinks: tuple[SinkBlock, ...] = ()
    instrumentation: Instrumentation = Instrumentation()
    copies: Copies = field(default_factory=Copies)
    history: LatencyHistory | None = None

    def to_json(self) -> str:
        """The report as JSON text, ending with a newline."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"
