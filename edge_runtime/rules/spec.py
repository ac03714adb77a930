"""The rules file: named regions of the frame, and rules about the classes seen in them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.errors import OptionError
from edge_runtime.suggest import suggestion

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.labels import LabelSet

FORMAT_VERSION = 1
FRAME = "frame"
"""Name of the region that is always there: the whole frame."""
MAX_FILE_BYTES = 1 << 20
MAX_NAME = 64
MAX_ENTRIES = 64
"""Most regions, and most rules: each is looked at on every frame."""
LEAST_AREA = 1e-6
"""Of the frame, in which a polygon with less is a line."""


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A polygon in the frame, whatever size the frame has."""

    name: str
    polygon: tuple[tuple[float, float], ...]
    """Corners (x, y), 0..1 of the frame's width and height from its top left corner."""

    def __post_init__(self) -> None:
        _check_name("region", self.name)
        if self.name == FRAME:
            raise OptionError(f"region {FRAME!r} is always the whole frame; choose another name")
        if len(self.polygon) < 3:
            raise OptionError(
                f"region {self.name!r} has {len(self.polygon)} corners; a polygon has at least 3"
            )
        for x, y in self.polygon:
            if not (0 <= x <= 1 and 0 <= y <= 1):
                raise OptionError(
                    f"region {self.name!r}: corner [{x:g}, {y:g}] is outside of the frame; "
                    "corners are [x, y] in 0..1 of its width and height"
                )
        if self._area() < LEAST_AREA:
            raise OptionError(
                f"region {self.name!r} is empty: its corners lie on one line, or its edges cross"
            )

    def _area(self) -> float:
        closed = pairwise((*self.polygon, self.polygon[0]))
        return abs(math.fsum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in closed)) / 2


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A condition on the share that some classes have in a region."""

    name: str
    classes: str | tuple[str, ...] = msgspec.field(name="class")
    """One class or several, whose shares are added."""
    region: str = FRAME
    min_ratio: float | None = None
    """The rule is raised at this share of the region or above."""
    max_ratio: float | None = None
    """The rule is raised at this share of the region or below; give one of the two."""
    clear_ratio: float | None = None
    """A raised rule clears only beyond this share; None is the share that raises it."""
    for_s: float = 0.0
    """How long the condition must hold before the rule is raised."""
    clear_s: float = 0.0
    """How long it must not hold before the rule is cleared."""
    hold_s: float = 0.0
    """How long a state is still believed while frames are too old to be judged (``stale``)."""

    def __post_init__(self) -> None:
        _check_name("rule", self.name)
        if not self.class_names:
            raise OptionError(f"rule {self.name!r} names no class")
        if (self.min_ratio is None) == (self.max_ratio is None):
            raise OptionError(f"rule {self.name!r}: give either min_ratio or max_ratio")
        if self.min_ratio is not None and not 0 < self.min_ratio <= 1:
            raise OptionError(
                f"rule {self.name!r}: min_ratio {self.min_ratio:g}; expected above 0, up to 1"
            )
        for field in ("max_ratio", "clear_ratio"):
            if (value := getattr(self, field)) is not None and not 0 <= value < 1:
                raise OptionError(f"rule {self.name!r}: {field} {value:g}; expected 0..1, below 1")
        for field in ("for_s", "clear_s", "hold_s"):
            if not 0 <= (value := getattr(self, field)) < math.inf:
                raise OptionError(f"rule {self.name!r}: {field} {value:g}; expected seconds from 0")
        self._check_clear_ratio()

    def _check_clear_ratio(self) -> None:
        clear = self.clear_ratio
        if clear is None:
            return
        if self.min_ratio is not None and clear > self.min_ratio:
            raise OptionError(
                f"rule {self.name!r}: clear_ratio {clear:g} is above min_ratio {self.min_ratio:g}; "
                "it would clear what it raises"
            )
        if self.max_ratio is not None and clear < self.max_ratio:
            raise OptionError(
                f"rule {self.name!r}: clear_ratio {clear:g} is below max_ratio {self.max_ratio:g}; "
                "it would clear what it raises"
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, always as a tuple."""
        return (self.classes,) if isinstance(self.classes, str) else self.classes

    def raises_at(self, ratio: float) -> bool:
        """Whether a share of 0..1 meets the condition."""
        if self.min_ratio is not None:
            return ratio >= self.min_ratio
        assert self.max_ratio is not None
        return ratio <= self.max_ratio

    def clears_at(self, ratio: float) -> bool:
        """Whether a share of 0..1 lets a raised rule clear."""
        if self.raises_at(ratio):
            return False
        if self.clear_ratio is None:
            return True
        return ratio < self.clear_ratio if self.min_ratio is not None else ratio > self.clear_ratio


class RuleSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rules file holds."""

    regions: tuple[Region, ...] = ()
    rules: tuple[Rule, ...] = ()
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise OptionError(
                f"format version {self.format_version}; this version reads {FORMAT_VERSION}"
            )
        names = [region.name for region in self.regions]
        _check_distinct("region", names)
        _check_distinct("rule", [rule.name for rule in self.rules])
        for rule in self.rules:
            if rule.region not in (known := [FRAME, *names]):
                raise OptionError(
                    f"rule {rule.name!r}: no region {rule.region!r}; "
                    f"{suggestion(rule.region, known)}"
                )

    def check_classes(self, labels: LabelSet) -> None:
        """Raise `OptionError` if a rule names a class that `labels` does not have."""
        for rule in self.rules:
            for name in rule.class_names:
                if name not in labels.names:
                    raise OptionError(
                        f"rule {rule.name!r}: {labels.name} has no class {name!r}; "
                        f"{suggestion(name, labels.names)}"
                    )


def read_rules(path: Path, labels: LabelSet) -> RuleSet:
    """The rules file at `path`, JSON, checked against the classes of the model.

    Raises:
        OptionError: it cannot be read, is malformed, contradicts itself or names an unknown class.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise OptionError(f"cannot read the rules file {path}: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise OptionError(f"rules file {path} has more than {MAX_FILE_BYTES} bytes")
    try:
        rules = msgspec.json.decode(raw, type=RuleSet)
        rules.check_classes(labels)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise OptionError(f"{path} is not a rules file: {error}; see docs/messages.md") from error
    except OptionError as error:
        raise OptionError(f"rules file {path}: {error}") from error
    return rules


def _check_name(kind: str, name: str) -> None:
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable():
        raise OptionError(
            f"{kind} {name[:MAX_NAME]!r}: a name is 1 to {MAX_NAME} printable characters"
        )


def _check_distinct(kind: str, names: list[str]) -> None:
    if len(names) > MAX_ENTRIES:
        raise OptionError(f"{len(names)} {kind}s; at most {MAX_ENTRIES} are looked at")
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"{kind} {name!r} is there twice; give each its own name")
