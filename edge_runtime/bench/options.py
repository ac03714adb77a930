"""Options of a bench. Their defaults are written here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.durations import parse_duration
from edge_runtime.errors import OptionError
from edge_runtime.options import MAX_THREADS

if TYPE_CHECKING:
    from pathlib import Path

UNTIL_STABLE = "until-stable"
DURATION_S = 10.0
MIN_QUERIES = 10
"""Of each model, however short the duration, as trtexec does."""
MAX_MODELS = 16
USUAL_WINDOWS = 60
SHORTEST_WINDOW_S, LONGEST_WINDOW_S = 1.0, 60.0


@dataclass(frozen=True)
class WarmUpPlan:
    """How long models run before anything counts; without either until they are stable."""

    queries: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> WarmUpPlan:
        """``until-stable``, a number of queries, or a time such as ``2s``.

        Raises:
            OptionError: it is none of these.
        """
        compact = text.strip().lower()
        if compact == UNTIL_STABLE:
            return cls()
        if compact.isdecimal():
            return cls(queries=int(compact))
        try:
            return cls(seconds=parse_duration(compact))
        except OptionError:
            raise OptionError(
                f"warm-up {text!r}: expected {UNTIL_STABLE}, a number of queries such as 50, or a "
                "time such as 2s"
            ) from None


@dataclass(frozen=True)
class BenchOptions:
    """What is measured, on what, and for how long.

    Raises:
        OptionError: a value or a combination that cannot work.
    """

    models: tuple[str, ...]
    """Model or engine files, or names of shipped models; others are compared with the first."""
    iterations: int | None = None
    """Counted queries of each model."""
    duration_s: float | None = None
    """Length of the measurement, of all models together; without either 10 s."""
    sustained_s: float | None = None
    """Instead of these: measure so long, and keep the curve."""
    window_s: float | None = None
    """Of the curve; None takes a sixtieth of it, 1 to 60 s."""
    warmup: WarmUpPlan = WarmUpPlan()
    source: str | None = None
    """Where pictures come from, any source of `run`; None draws a street."""
    frames: int = 8
    """Different pictures, taken by turns."""
    threads: int | None = None
    """CPU threads for one inference; None takes what was tuned here, else leaves it to the engine.
    """
    tuned: bool = True
    """Use what `hyperseg bench --tune` has found for a model on this machine."""
    tuning_folder: Path | None = None
    """Where that is kept; None takes the user's cache."""
    seed: int = 0
    """Of the order of the models in each round."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.models) <= MAX_MODELS:
            raise OptionError(f"{len(self.models)} models: give 1 to {MAX_MODELS}")
        given = [self.iterations, self.duration_s, self.sustained_s]
        if sum(value is not None for value in given) > 1:
            raise OptionError("give one of --iterations, --duration and --sustained")
        if self.iterations is not None and self.iterations < 1:
            raise OptionError(f"iterations {self.iterations}: expected 1 or more")
        for name in ("duration_s", "sustained_s", "window_s"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds < float("inf"):
                raise OptionError(f"{name.removesuffix('_s')} {seconds:g} s: expected above 0")
        if self.window_s is not None and self.sustained_s is None:
            raise OptionError("--window divides the curve of --sustained; give that too")
        if self.frames < 1:
            raise OptionError(f"frames {self.frames}: expected 1 or more")
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise OptionError(f"threads {self.threads}: expected 1 to {MAX_THREADS}")

    @property
    def limit_s(self) -> float | None:
        """When measuring ends; None where queries are counted instead."""
        if self.iterations is not None:
            return None
        return self.sustained_s or self.duration_s or DURATION_S

    @property
    def window_length_s(self) -> float | None:
        """Of one point of the curve; None without one."""
        if self.sustained_s is None:
            return None
        usual = min(max(self.sustained_s / USUAL_WINDOWS, SHORTEST_WINDOW_S), LONGEST_WINDOW_S)
        return self.window_s or usual
