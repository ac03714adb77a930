"""`compare`: two reports of one kind, figure by figure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edge_runtime.compare.bootstrap import interval_percent
from edge_runtime.compare.figures import Figure, bench_figures, eval_figures, latency_figures
from edge_runtime.errors import OptionError
from edge_runtime.page.files import complete

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Verdict = Literal["better", "worse", "same"]
SCHEMA: Literal["hyperseg-edge.comparison/1"] = "hyperseg-edge.comparison/1"
EVALUATION = "evaluation"
_EVAL_SAME = ("protocol", "classes", "dataset", "split", "images", "label_sizes")
METHODS = {
    "latency": "moving-block bootstrap over windows of time after the warm-up, 2000 resamples, "
    "95 % confidence",
    "bench": "the same over the windows of a sustained measurement; without one nothing is tested",
    EVALUATION: "none: both reports are of the same images, so the difference holds for those; "
    "whether it would for others, one confusion matrix cannot tell",
}


@dataclass(frozen=True)
class Difference:
    """One figure of two reports."""

    name: str
    unit: str
    ours: float | None
    """Of the first report."""
    theirs: float | None
    change_percent: float | None
    """From the first to the second; null where one is missing or the first is 0."""
    interval_percent: tuple[float, float] | None
    """Of the change, at 95 % confidence; null where the reports hold nothing to test it by."""
    verdict: Verdict | None
    """``same``: no change, or one that chance explains; null where it cannot be told."""
    judged: bool
    """Whether ``--fail-if-worse`` looks at it."""

    def worse_by_percent(self) -> float:
        """How much worse the second is, or 0."""
        if self.verdict != "worse" or self.change_percent is None:
            return 0.0
        return abs(self.change_percent)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two reports side by side."""

    schema: Literal["hyperseg-edge.comparison/1"] = SCHEMA
    kind: str
    ours: str
    """Name of the first report."""
    theirs: str
    method: str
    """How differences were tested."""
    remarks: tuple[str, ...]
    """What else differs between the two, and may be the cause."""
    figures: tuple[Difference, ...]

    def to_json(self) -> str:
        """The comparison as JSON text, ending with a newline."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"

    @property
    def undecided(self) -> list[str]:
        """Names of judged figures that could be tested, had the runs lasted longer."""
        return [figure.name for figure in self.figures if figure.judged and figure.verdict is None]

    def failures(self, limit_percent: float) -> list[Difference]:
        """Judged figures that are worse by more than so much, and not by chance."""
        return [
            figure
            for figure in self.figures
            if figure.judged and figure.worse_by_percent() > limit_percent
        ]


def compare(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], names: tuple[str, str] = ("A", "B")
) -> Comparison:
    """Compare two reports of `hyperseg run`, `soak`, `bench` or `eval`.

    Args:
        ours: the first report, as its JSON reads.
        theirs: the second.
        names: of the two.

    Raises:
        OptionError: they are of different kinds, of an unknown one, incomplete, or measure
            different things.
    """
    kinds = kind_of(ours, names[0]), kind_of(theirs, names[1])
    if kinds[0] != kinds[1]:
        raise OptionError(f"{names[0]} is a report of kind {kinds[0]} and {names[1]} of {kinds[1]}")
    kind = kinds[0]
    (first, before), (figures, after) = (
        _read(kind, report, name) for report, name in zip((ours, theirs), names, strict=True)
    )
    _require_comparable(kind, ours, theirs)
    second = {figure.name: figure for figure in figures}
    pairs = [(f, second[f.name]) for f in first if f.name in second]
    if not any(figure.judged for figure, _ in pairs):
        raise OptionError(f"{names[0]} and {names[1]} have no camera or model of the same name")
    return Comparison(
        kind=kind,
        ours=names[0],
        theirs=names[1],
        method=METHODS["latency" if kind in ("cameras", "soak") else kind],
        remarks=_remarks(before, after),
        figures=tuple(_difference(*pair) for pair in pairs if _is_known(*pair)),
    )


def kind_of(report: Mapping[str, Any], name: str) -> str:
    """``latency``, ``cameras``, ``soak``, ``bench`` or ``evaluation``.

    Raises:
        OptionError: it is none of them.
    """
    schema = report.get("schema")
    for kind in ("latency", "cameras", "soak", "bench"):
        if schema == f"hyperseg-edge.{kind}/1":
            return kind
    if "miou" in report and "confusion" in report:
        return EVALUATION
    raise OptionError(
        f"{name} is no report of `hyperseg run`, `soak`, `bench` or `eval` (schema {schema!r})"
    )


def _read(
    kind: str, report: Mapping[str, Any], name: str
) -> tuple[list[Figure], dict[str, object]]:
    """All that is compared of a report: its figures, and what may explain them."""
    with complete(name):
        figures, conditions = _figures(kind, report), _conditions(kind, report)
        for figure in figures:
            if figure.value is not None and not math.isfinite(figure.value):
                raise ValueError(f"{figure.name} is {figure.value}")
    return figures, conditions


def _runs(kind: str, report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The latency reports within one, by camera."""
    if kind == "latency":
        return [("", report)]
    if kind == "soak" and report["run"] is not None:
        return [("", report["run"])]
    many = report if kind == "cameras" else report["cameras"]
    return [(c["name"], c["report"]) for c in (many or {"cameras": ()})["cameras"]]


def _figures(kind: str, report: Mapping[str, Any]) -> list[Figure]:
    if kind == "bench":
        return list(bench_figures(report))
    if kind == EVALUATION:
        return list(eval_figures(report))
    return [
        figure
        for name, run in _runs(kind, report)
        for figure in latency_figures(run, f"{name}: " if name else "")
    ]


def _require_comparable(kind: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    if kind == EVALUATION:
        for key in _EVAL_SAME:
            if ours.get(key) != theirs.get(key):
                raise OptionError(
                    f"the evaluations differ in {key}; evaluate both on the same data by one "
                    "protocol"
                )
        return
    if kind == "bench":
        return
    others = dict(_runs(kind, theirs))
    for name, run in _runs(kind, ours):
        clocks = {one["source"]["timestamp_source"] for one in (run, others.get(name, run))}
        if len(clocks) > 1:
            raise OptionError(
                f"latencies start from different clocks ({', '.join(sorted(map(str, clocks)))}), "
                "so they are different things; compare runs on one kind of source"
            )


def _is_known(ours: Figure, theirs: Figure) -> bool:
    return ours.value is not None and theirs.value is not None


def _difference(ours: Figure, theirs: Figure) -> Difference:
    assert ours.value is not None
    assert theirs.value is not None
    change = 100 * (theirs.value / ours.value - 1) if ours.value else None
    interval = None
    if ours.sample is not None and theirs.sample is not None and ours.window_s == theirs.window_s:
        weights = None
        if ours.sample.weights is not None and theirs.sample.weights is not None:
            weights = (ours.sample.weights, theirs.sample.weights)
        interval = interval_percent(
            ours.sample.values, theirs.sample.values, ours.sample.statistic, weights
        )
    return Difference(
        name=ours.name,
        unit=ours.unit,
        ours=ours.value,
        theirs=theirs.value,
        change_percent=change,
        interval_percent=interval,
        verdict=_verdict(ours, theirs.value - ours.value, interval),
        judged=ours.judged,
    )


def _verdict(
    figure: Figure, difference: float, interval: tuple[float, float] | None
) -> Verdict | None:
    if interval is None and figure.sample is not None:
        return None
    if difference == 0 or (interval is not None and interval[0] <= 0 <= interval[1]):
        return "same"
    return "worse" if (difference > 0) == (figure.better == "lower") else "better"


def _conditions(kind: str, report: Mapping[str, Any]) -> dict[str, object]:
    """What may explain a difference."""
    if kind in ("bench", EVALUATION):
        device = report.get("device") or {}
        named: dict[str, object] = {f"device {key}": value for key, value in device.items()}
        for model in report.get("models", ()):
            named[f"{model['label']}: backend"] = model["identity"]["backend"]
        return named | {key: report.get(key) for key in ("engine", "size", "resize")}
    found: dict[str, object] = {}
    for name, run in _runs(kind, report):
        prefix = f"{name}: " if name else ""
        found |= {f"device {key}": value for key, value in run["device"].items()}
        for block, keys in (
            ("model", ("name", "backend", "precision", "input", "onnx_sha256", "engine_sha256")),
            ("source", ("uri", "fps_nominal", "policy", "timestamp_source")),
        ):
            found |= {f"{prefix}{block} {key}": run[block][key] for key in keys}
        found[f"{prefix}throttled"] = run["throttled"]
        found[f"{prefix}warm-up stable"] = run["warmup"]["converged"]
    return found


def _remarks(ours: Mapping[str, object], theirs: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(
        f"{key}: {_short(ours[key], theirs[key])} and {_short(theirs[key], ours[key])}"
        for key in ours
        if key in theirs and ours[key] != theirs[key]
    )


def _short(value: object, other: object) -> str:
    """A value in words, cut where it is long, but not before it differs from the other."""
    text = "not known" if value is None else str(value)
    pairs = zip(text, str(other), strict=False)
    same = next((place for place, (one, two) in enumerate(pairs) if one != two), 0)
    length = max(16, same + 12)
    return text if len(text) <= max(40, length) else f"{text[:length]}..."


def worst(differences: Sequence[Difference]) -> str:
    """The worst of them in words, for an error line."""
    return "; ".join(
        f"{figure.name} is worse by {figure.worse_by_percent():.1f} %" for figure in differences
    )
