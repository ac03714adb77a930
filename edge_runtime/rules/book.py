"""All rules of a run, judged on each result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.rules.regions import RegionGrid
from edge_runtime.rules.spec import FRAME, RuleSet, read_rules
from edge_runtime.rules.watch import Event, RuleState, Watch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

    from edge_runtime.labels import LabelSet
    from edge_runtime.result import Result

DECIMALS = 6
"""Of a ratio by class; one pixel of a 1000 x 1000 mask."""


@dataclass(frozen=True)
class Evaluation:
    """What the rules say about one result."""

    ratios: Mapping[str, float] | None
    """Share of each class in the frame, 0..1; classes without a pixel are absent. None without a
    mask."""
    regions: Mapping[str, Mapping[str, float]] | None
    """The same for each region, without the whole frame."""
    states: Mapping[str, RuleState] = field(default_factory=dict)
    """Every rule by its name, in the order of the file."""
    events: tuple[Event, ...] = ()
    """The rules whose state changed with this result."""


class RuleBook:
    """Judges results one after the other; it remembers, so give each consumer its own.

    Args:
        rules: regions and rules; none at all still gives the classes' shares in the frame.
        labels: the classes of the model.

    Raises:
        OptionError: a rule names a class that `labels` does not have.
    """

    def __init__(self, rules: RuleSet, labels: LabelSet) -> None:
        rules.check_classes(labels)
        self._names = labels.names
        self._grid = RegionGrid(rules.regions, len(labels))
        self._watches = [Watch(rule) for rule in rules.rules]
        self._classes = {
            rule.name: [labels.names.index(name) for name in dict.fromkeys(rule.class_names)]
            for rule in rules.rules
        }

    @classmethod
    def from_file(cls, path: Path | None, labels: LabelSet) -> Self:
        """The rules of a file; None is no rules.

        Raises:
            OptionError: the file cannot be read, is malformed or does not fit the model.
        """
        return cls(RuleSet() if path is None else read_rules(path, labels), labels)

    def evaluate(self, result: Result) -> Evaluation:
        """Judge one result.

        The clock of rules is `Result.capture_ns`, but the presentation time for a file, which may
        be run faster or slower than it was filmed. A result without a mask is never taken as
        clear: its rules are ``unknown``, at once without a signal, and after `Rule.hold_s` if
        frames are merely stale.
        """
        time_ns = _time_ns(result)
        if result.mask is None:
            hold = result.state == "stale"
            return self._evaluation(
                None, None, [watch.miss(time_ns, hold=hold) for watch in self._watches]
            )
        shares = self._grid.ratios(result.mask, result.geometry)
        judged = [watch.see(self._ratio(watch, shares), time_ns) for watch in self._watches]
        by_region = {name: self._named(share) for name, share in shares.items()}
        return self._evaluation(by_region.pop(FRAME), by_region, judged)

    def _ratio(self, watch: Watch, shares: Mapping[str, NDArray[np.float64]]) -> float:
        return float(shares[watch.rule.region][self._classes[watch.rule.name]].sum())

    def _named(self, share: NDArray[np.float64]) -> dict[str, float]:
        return {
            self._names[number]: round(float(share[number]), DECIMALS)
            for number in share.nonzero()[0]
        }

    def _evaluation(
        self,
        ratios: Mapping[str, float] | None,
        regions: Mapping[str, Mapping[str, float]] | None,
        judged: list[tuple[RuleState, Event | None]],
    ) -> Evaluation:
        return Evaluation(
            ratios,
            regions,
            {w.rule.name: state for w, (state, _) in zip(self._watches, judged, strict=True)},
            tuple(event for _, event in judged if event is not None),
        )


def _time_ns(result: Result) -> int:
    if result.timestamp_source == "file" and result.pts_ns is not None:
        return result.pts_ns
    return result.capture_ns
