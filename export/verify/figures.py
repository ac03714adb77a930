"""How far a form's answers are from the reference's, and how far rounding alone moves them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from export.scores import non_finite
from export.verify.options import GATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Scores = NDArray[np.floating[Any]]
    Mask = NDArray[np.uint8]

CLEAR = 8.0
"""Pixels whose two best classes are so many of the floor's largest errors apart must not flip."""
FEWEST_FLIPS = 1e-4
"""Share of flipped pixels that the floor is taken to have at least: its own are few."""
CHAOTIC = 0.1
"""Noise floor over the scores (root mean squares) from which errors decide nothing."""
BORDER_PX = 2
"""A pixel so near to another class counts as boundary."""


@dataclass(frozen=True)
class Answer:
    """What one form gives for one frame."""

    mask: Mask
    """(H, W) uint8 class ids."""
    scores: Scores | None = None
    """(C, H, W) the class scores, where the form shows them."""
    coarse: Scores | None = None
    """The scores that it decided by where they are of another size."""

    @property
    def shown(self) -> NDArray[Any] | None:
        """The scores that it decided by, of whichever size."""
        return self.coarse if self.scores is None else self.scores

    @property
    def non_finite(self) -> int:
        """How many of its scores are NaN or infinite."""
        return 0 if self.shown is None else non_finite(self.shown)


@dataclass(frozen=True)
class Figures:
    """Differences from the reference over all frames; null without scores that are numbers."""

    frames: int
    max_abs_error: float | None
    mean_abs_error: float | None
    rms_error: float | None
    sqnr_db: float | None
    """Signal to error, 20 log10 of the ratio of root mean squares; null for no error at all."""
    agreement: float
    """Share of pixels, 0..1, whose class is the same."""
    clear_agreement: float
    """The same where the reference is beyond the reach of rounding (`CLEAR`)."""
    boundary_agreement: float | None
    """The same within `BORDER_PX` of another class; null if there is one class only."""
    non_finite: int = 0
    """How many scores are NaN or infinite."""


@dataclass
class Tally:
    """Sums of differences, frame by frame."""

    frames: int = 0
    values: int = 0
    largest: float = 0.0
    error_sum: float = 0.0
    error_square: float = 0.0
    signal_square: float = 0.0
    pixels: int = 0
    same: int = 0
    clear: int = 0
    clear_same: int = 0
    border: int = 0
    border_same: int = 0
    non_finite: int = 0
    scored: bool = field(default=True)

    def add(self, reference: Answer, found: Answer, clear: NDArray[np.bool_] | None = None) -> None:
        """Take in one frame.

        Args:
            reference: the first form's answer.
            found: this form's.
            clear: (H, W), pixels of the reference that rounding cannot flip.
        """
        self.frames += 1
        same = reference.mask == found.mask
        self.pixels, self.same = self.pixels + same.size, self.same + int(same.sum())
        if clear is not None:
            self.clear, self.clear_same = (
                self.clear + int(clear.sum()),
                self.clear_same + int(same[clear].sum()),
            )
        border = boundary(reference.mask)
        self.border += int(border.sum())
        self.border_same += int(same[border].sum())
        broken = found.non_finite
        self.non_finite += broken
        if reference.scores is None or found.scores is None:
            self.scored = False
            return
        if broken:
            # Sums would be NaN, which no comparison finds too large.
            return
        wide = reference.scores.astype(np.float64)
        error = found.scores.astype(np.float64) - wide
        self.values += error.size
        self.largest = max(self.largest, float(np.abs(error).max()))
        self.error_sum += float(np.abs(error).sum())
        self.error_square += float(np.square(error).sum())
        self.signal_square += float(np.square(wide).sum())

    @property
    def rms(self) -> float:
        """Root mean square error of the scores."""
        return math.sqrt(self.error_square / self.values) if self.values else 0.0

    @property
    def signal(self) -> float:
        """Root mean square of the reference's scores."""
        return math.sqrt(self.signal_square / self.values) if self.values else 0.0

    @property
    def flips(self) -> float:
        """Share of pixels, 0..1, whose class differs."""
        return 1 - self.same / self.pixels if self.pixels else 0.0

    def figures(self) -> Figures:
        """The summary."""
        scored = self.scored and self.values > 0 and not self.non_finite
        ratio = self.signal / self.rms if self.rms else None
        return Figures(
            frames=self.frames,
            max_abs_error=self.largest if scored else None,
            mean_abs_error=self.error_sum / self.values if scored else None,
            rms_error=self.rms if scored else None,
            sqnr_db=20 * math.log10(ratio) if scored and ratio else None,
            agreement=1 - self.flips,
            clear_agreement=self.clear_same / self.clear if self.clear else 1.0,
            boundary_agreement=self.border_same / self.border if self.border else None,
            non_finite=self.non_finite,
        )


@dataclass(frozen=True)
class Floor:
    """What rounding alone does to the reference's answers in one precision."""

    rms: float
    """Change of the scores, root mean square."""
    largest: float
    signal: float
    """The scores themselves, root mean square."""
    flips: float
    """Share of pixels, 0..1, that change class."""
    non_finite: int = 0
    """How many scores become NaN or infinite."""

    @staticmethod
    def of(tallies: Sequence[Tally]) -> Floor:
        """The highest of several trials."""
        return Floor(
            rms=max(t.rms for t in tallies),
            largest=max(t.largest for t in tallies),
            signal=max(t.signal for t in tallies),
            flips=max(t.flips for t in tallies),
            non_finite=max(t.non_finite for t in tallies),
        )

    def finer(self, ratio: float) -> Floor:
        """The floor of a precision that rounds `ratio` times as coarsely."""
        return replace(
            self, rms=self.rms * ratio, largest=self.largest * ratio, flips=self.flips * ratio
        )


@dataclass(frozen=True)
class Verdict:
    """Whether a form passes, and by which of its gates not."""

    status: str
    """``passed``, ``failed`` or ``undecided``: the network is chaotic in this precision."""
    reasons: tuple[str, ...] = ()


def judge(tally: Tally, floor: Floor, *, allowance: float = GATE) -> Verdict:
    """Compare a form's differences with those that rounding alone makes.

    Args:
        tally: of the form.
        floor: in the form's precision, on the same frames.
        allowance: how many floors are allowed.
    """
    if tally.non_finite:
        return Verdict("failed", (f"{tally.non_finite} scores are NaN or infinite",))
    if floor.non_finite:
        return Verdict(
            "undecided", (f"rounding alone makes {floor.non_finite} scores NaN or infinite",)
        )
    if floor.signal and floor.rms > CHAOTIC * floor.signal:
        share = floor.rms / floor.signal
        return Verdict(
            "undecided", (f"rounding alone moves the scores by {100 * share:.0f} % of their size",)
        )
    reasons = []
    if tally.scored and tally.rms > allowance * floor.rms:
        reasons.append(
            f"error is {_times(tally.rms, floor.rms)} noise floors, at most {allowance:g}"
        )
    limit = allowance * max(floor.flips, FEWEST_FLIPS)
    if tally.flips > limit:
        reasons.append(
            f"{100 * tally.flips:.3g} % of the pixels change class, at most {100 * limit:.3g} %"
        )
    if tally.clear_same < tally.clear:
        lost = tally.clear - tally.clear_same
        reasons.append(f"{lost} pixels change class that rounding cannot change")
    return Verdict("failed" if reasons else "passed", tuple(reasons))


def _times(value: float, floor: float) -> str:
    return f"{value / floor:.3g}" if floor else "infinitely many"


def clear_pixels(reference: Answer, largest_noise: float) -> NDArray[np.bool_]:
    """(H, W) where the reference's two best classes are further apart than noise reaches."""
    if reference.scores is None or len(reference.scores) < 2:
        return np.zeros(reference.mask.shape, bool)
    best = np.partition(reference.scores, -2, axis=0)
    apart: NDArray[np.bool_] = best[-1] - best[-2] > CLEAR * largest_noise
    return apart


def boundary(mask: Mask, reach: int = BORDER_PX) -> NDArray[np.bool_]:
    """(H, W) pixels with another class within `reach` pixels across or down."""
    near = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        for step in range(1, reach + 1):
            ahead = [slice(None), slice(None)]
            behind = [slice(None), slice(None)]
            ahead[axis], behind[axis] = slice(step, None), slice(None, -step)
            differs = mask[tuple(ahead)] != mask[tuple(behind)]
            near[tuple(ahead)] |= differs
            near[tuple(behind)] |= differs
    return near
