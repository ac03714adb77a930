"""`bench`: open models, warm them up, measure them in one interleaved run, and look at the masks.

The masks of the pictures are taken before and after: their hash stands beside the speed.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol

from edge_runtime.artifacts import created_by_this_command
from edge_runtime.backends.base import open_backend
from edge_runtime.backends.settings import OrtSettings
from edge_runtime.bench.conditions import Tapped, look, together
from edge_runtime.bench.figures import distribute, paired_ratio, summarise
from edge_runtime.bench.frames import Pictures
from edge_runtime.bench.judge import drift, warnings
from edge_runtime.bench.measure import Hooks, Measurement
from edge_runtime.bench.memory import model_peak_mb
from edge_runtime.bench.opened import compare_masks, labelled, open_model
from edge_runtime.bench.report import BenchReport, Identity, ModelFigures
from edge_runtime.bench.subject import METRICS
from edge_runtime.bench.tuned import open_tuned
from edge_runtime.device import describe_device
from edge_runtime.engines.identity import identity_of
from edge_runtime.errors import BackendError
from edge_runtime.redact import public_command
from edge_runtime.stop import Stop, signals
from edge_runtime.telemetry.sampler import Sampler, find_sensors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.bench.measure import Warmed
    from edge_runtime.bench.opened import Opened
    from edge_runtime.bench.options import BenchOptions

DEFAULTS = OrtSettings()


class Progress(Protocol):
    """Is told what goes on; it draws between two queries and never during one."""

    def phase(self, text: str) -> None:
        """Something else begins."""
        ...

    def tick(self, share: float) -> None:
        """So much of the measurement is done, 0..1."""
        ...


class Quiet:
    """Shows nothing."""

    def phase(self, text: str) -> None:
        """Nothing."""

    def tick(self, share: float) -> None:
        """Nothing."""


def bench(options: BenchOptions, progress: Progress | None = None) -> BenchReport:
    """Measure models.

    Args:
        options: which, on what, how long.
        progress: is told how it goes.

    Returns:
        The report; after Ctrl-C of what was measured until then.

    Raises:
        HypersegError: a model or source cannot be opened, or an engine failed.
        KeyboardInterrupt: Ctrl-C before there were figures.
    """
    progress = progress or Quiet()
    conditions = look()
    told: list[str] = []
    opener = _opener(options, told)
    pictures = Pictures(options.source, options.frames)
    with signals(Stop()) as stop, ExitStack() as stack:
        opened = []
        for label, path in labelled(options.models).items():
            progress.phase(f"opening {label}")
            opened.append(open_model(label, path, stack, opener, pictures))
        taps = [Tapped(sensors) for sensors in find_sensors()]
        sampler = Sampler(taps)
        hooks = Hooks(stop.requested, progress.tick, lambda: together(taps))
        measurement = Measurement([one.subject for one in opened], options, hooks)
        stop.awaited = True
        progress.phase("warming up")
        warmed = measurement.warm_up()
        if stop.requested():
            raise KeyboardInterrupt
        progress.phase("measuring")
        with sampler:
            measurement.run()
        models = [
            _figures(one, warm, opened[0], measurement)
            for one, warm in zip(opened, warmed, strict=True)
        ]
        device, telemetry = describe_device(), sampler.summary()
        if not stop.requested():
            progress.phase("measuring memory")
            paths = [one.path for one in opened]
            models = [_with_memory(one, path) for one, path in zip(models, paths, strict=True)]
    return BenchReport(
        created_by=created_by_this_command(),
        created_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        ended="interrupted" if stop.requested() else "complete",
        device=device,
        conditions=conditions,
        pictures="a drawn street" if options.source is None else public_command(options.source),
        frames=len(opened[0].subject.frames),
        seed=options.seed,
        seconds=measurement.seconds,
        models=tuple(models),
        telemetry=telemetry,
        warnings=(*told, *warnings(models, conditions, device, telemetry)),
    )


def _opener(options: BenchOptions, told: list[str]) -> Callable[[Path, Manifest], Backend]:
    def opener(path: Path, manifest: Manifest) -> Backend:
        if not options.tuned:
            return open_backend(path, manifest, threads=options.threads)
        folder = options.tuning_folder
        return open_tuned(path, manifest, threads=options.threads, warn=told.append, folder=folder)

    return opener


def _figures(one: Opened, warmed: Warmed, first: Opened, measurement: Measurement) -> ModelFigures:
    subject, backend = one.subject, one.subject.network.backend
    missing = subject.unmeasured
    settings: OrtSettings = getattr(backend, "settings", DEFAULTS)
    is_tuned: bool = getattr(backend, "tuned", False)
    curve = measurement.curve[subject.label]
    return ModelFigures(
        label=subject.label,
        identity=Identity(
            file=one.path.name,
            sha256=one.manifest.sha256,
            name=one.manifest.name,
            kind=one.manifest.kind,
            precision=_precision(one),
            backend=backend.name,
            input=one.manifest.inputs[0].shape,
            threads=settings.threads,
            tuning=settings.as_words() if is_tuned else None,
            cuda_graph=getattr(backend, "graph_note", None),
        ),
        load_ms=one.load_ms,
        warmup=warmed,
        queries=subject.queries,
        throughput_qps=subject.queries / (subject.busy_ns * 1e-9),
        metrics_ms={
            name: None if name in missing else summarise(subject.values[name]) for name in METRICS
        },
        not_measured=missing,
        masks=compare_masks(one, first),
        ratio=None
        if one is first
        else paired_ratio(subject.values["wall"], first.subject.values["wall"]),
        curve=curve,
        drift=drift(curve),
        distribution=distribute(subject.values["latency"]),
    )


def _with_memory(figures: ModelFigures, path: Path) -> ModelFigures:
    """The figures of a model with its peak memory, or with the reason why there is none."""
    try:
        peak_mb = model_peak_mb(path, threads=figures.identity.threads)
    except BackendError as error:
        reasons = {**figures.not_measured, "memory": str(error)}
        return replace(figures, not_measured=reasons)
    return replace(figures, peak_memory_mb=peak_mb)


def _precision(one: Opened) -> str:
    if one.manifest.kind == "engine":
        return identity_of(one.path, one.manifest).precision
    return str(one.manifest.options.get("precision", "fp32"))
