"""`bench --tune`: the settings of ONNX Runtime that are fastest here, found by measuring.

One kind of setting after another is tried on what was best so far: threads, waiting awake, pinning,
how work is dealt out. In each trial all candidates run in one interleaved measurement. What was
found is then measured against the defaults once more, alone: a winner among many may have been
lucky. It is kept if it is faster beyond noise and its masks are the same to the pixel.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal

import msgspec

from edge_runtime.artifacts import read_manifest, write_text_atomic
from edge_runtime.backends.base import open_backend
from edge_runtime.backends.settings import OrtSettings
from edge_runtime.bench.conditions import usable_cores
from edge_runtime.bench.figures import Ratio, paired_ratio
from edge_runtime.bench.frames import Pictures
from edge_runtime.bench.measure import Hooks, Measurement
from edge_runtime.bench.opened import open_model
from edge_runtime.bench.options import BenchOptions, WarmUpPlan
from edge_runtime.bench.subject import masks_hash
from edge_runtime.bench.tuned import Machine, Tuned, TuningStore, this_machine
from edge_runtime.errors import OptionError
from edge_runtime.stop import Stop, signals
from edge_runtime.zoo import resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.bench.bench import Progress

SCHEMA: Literal["hyperseg-edge.tune/1"] = "hyperseg-edge.tune/1"
DEFAULTS = OrtSettings()
DURATION_S = 40.0
WARMUP = WarmUpPlan(queries=5)
WORTH = 0.98
"""Ratio above which a gain is not worth settings of its own."""
BLOCK_BASE = 4
"""What ONNX Runtime's documentation proposes."""


@dataclass(frozen=True)
class Trial:
    """Settings that were measured."""

    stage: str
    """``threads``, ``spinning``, ``pinned``, ``block base`` or ``confirm``."""
    settings: OrtSettings
    against: OrtSettings
    """What was best until then; the defaults in ``confirm``."""
    ratio: Ratio
    same_masks: bool

    @property
    def faster(self) -> bool:
        """Beyond noise, and with the same masks."""
        return self.same_masks and self.ratio.high is not None and self.ratio.high < 1


@dataclass(frozen=True, kw_only=True)
class TuneReport:
    """What was tried and what is kept."""

    schema: Literal["hyperseg-edge.tune/1"] = SCHEMA
    model: str
    model_sha256: str
    machine: Machine
    trials: tuple[Trial, ...]
    settings: OrtSettings | None
    """Null: the defaults were not beaten, and nothing is kept."""
    file: str | None
    """Where the settings are kept."""

    def to_json(self) -> str:
        """The report as JSON text, ending with a newline."""
        return msgspec.json.encode(self).decode() + "\n"

    def write(self, path: Path) -> None:
        """Write the report so that the file is either the old one or the complete new one.

        Raises:
            OptionError: the file cannot be written.
        """
        write_text_atomic(path, self.to_json())


def thread_counts(cores: int) -> list[int]:
    """Worth trying: powers of two, all cores, and one core left for decoding."""
    powers = {1 << exponent for exponent in range(cores.bit_length())}
    return sorted(count for count in powers | {cores - 1, cores} if 1 <= count <= cores)


def candidates(stage: str, best: OrtSettings, cores: int) -> list[OrtSettings]:
    """The settings of one stage, `best` not among them; nothing where there is no choice."""
    threads = best.threads or cores
    if stage == "threads":
        return [OrtSettings(count) for count in thread_counts(cores)]
    if threads < 2:
        return []
    return {
        "spinning": [replace(best, spinning="within-run")],
        "pinned": [replace(best, threads=threads, pinned=True)],
        "block base": [replace(best, block_base=BLOCK_BASE)],
    }[stage]


STAGES = ("threads", "spinning", "pinned", "block base")


def tune(options: BenchOptions, progress: Progress) -> TuneReport:
    """Find and keep settings for one ONNX model.

    Args:
        options: the model, pictures, `duration_s` of all together, where settings are kept.
        progress: is told how it goes.

    Raises:
        OptionError: several models, an engine, or options that leave nothing to find.
        HypersegError: the model cannot be opened, or the settings cannot be kept.
        KeyboardInterrupt: Ctrl-C; what was kept before stays.
    """
    path, manifest = _subject(options)
    store, machine = TuningStore(options.tuning_folder), this_machine()
    with signals(Stop()) as stop:
        stop.awaited = True
        tuner = _Tuner(path, options, progress, stop)
        best = DEFAULTS
        for stage in STAGES:
            best = tuner.try_stage(stage, best)
        settings = tuner.confirmed(best)
    file = None
    if settings is None:
        # What an earlier tuning kept is not faster either, or it would have been found again.
        store.forget(manifest.sha256, machine)
    else:
        ratio = tuner.trials[-1].ratio.median
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        tuned = Tuned("hyperseg-edge.tuning/1", manifest.sha256, machine, settings, ratio, now)
        file = str(store.keep(tuned))
    return TuneReport(
        model=manifest.name, model_sha256=manifest.sha256, machine=machine,
        trials=tuple(tuner.trials), settings=settings, file=file,
    )  # fmt: skip


def _subject(options: BenchOptions) -> tuple[Path, Manifest]:
    if len(options.models) != 1:
        raise OptionError(f"--tune takes one model; {len(options.models)} were given")
    if options.iterations or options.sustained_s or options.threads:
        raise OptionError("--tune finds the threads itself and takes --duration alone")
    path = resolve_model(options.models[0])
    manifest = read_manifest(path)
    if manifest.kind != "onnx":
        raise OptionError(
            f"{path.name} is of kind {manifest.kind!r}: settings of ONNX Runtime are tuned for "
            "ONNX models; an engine was tuned when it was built"
        )
    return path, manifest


class _Tuner:
    """Runs trials, and keeps an account of them."""

    def __init__(self, path: Path, options: BenchOptions, progress: Progress, stop: Stop) -> None:
        self.trials: list[Trial] = []
        self._path, self._progress, self._stop = path, progress, stop
        self._cores = usable_cores()
        self._pictures = Pictures(options.source, options.frames)
        # The stages and the confirmation, which counts twice.
        limit_s = (options.duration_s or DURATION_S) / (len(STAGES) + 2)
        self._options = replace(options, duration_s=limit_s, warmup=WARMUP)

    def try_stage(self, stage: str, best: OrtSettings) -> OrtSettings:
        """The best settings after one more stage."""
        others = [one for one in candidates(stage, best, self._cores) if one != best]
        if not others:
            return best
        found = self._compare(stage, best, others, self._options)
        faster = [trial for trial in found if trial.faster]
        return min(faster, key=lambda trial: trial.ratio.median).settings if faster else best

    def confirmed(self, best: OrtSettings) -> OrtSettings | None:
        """`best` if it beats the defaults once more, by enough to be worth it."""
        if best == DEFAULTS:
            return None
        length_s = 2 * (self._options.duration_s or DURATION_S)
        options = replace(self._options, duration_s=length_s)
        (trial,) = self._compare("confirm", DEFAULTS, [best], options)
        return best if trial.faster and trial.ratio.median <= WORTH else None

    def _compare(
        self,
        stage: str,
        best: OrtSettings,
        others: Sequence[OrtSettings],
        options: BenchOptions,
    ) -> list[Trial]:
        self._progress.phase(f"trying {stage}: {'; '.join(map(str, others))}")
        hooks = Hooks(self._stop.requested, self._progress.tick)
        with ExitStack() as stack:
            opened = [
                open_model(str(settings), self._path, stack, _opener(settings), self._pictures)
                for settings in (best, *others)
            ]
            subjects = [one.subject for one in opened]
            measurement = Measurement(subjects, options, hooks)
            measurement.warm_up()
            measurement.run()
            if self._stop.requested():
                raise KeyboardInterrupt
            masks = [masks_hash(one.masks) for one in opened]
            base = subjects[0].values["wall"]
            trials = [
                Trial(stage, settings, best, paired_ratio(one.values["wall"], base), same)
                for settings, one, same in zip(
                    others, subjects[1:], [m == masks[0] for m in masks[1:]], strict=True
                )
            ]
        self.trials += trials
        return trials


def _opener(settings: OrtSettings) -> Callable[[Path, Manifest], Backend]:
    def opener(path: Path, manifest: Manifest) -> Backend:
        return open_backend(path, manifest, settings=settings)

    return opener
