"""What a reader of a bench must be told before the figures are believed."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from edge_runtime.bench.figures import UNSTABLE
from edge_runtime.bench.report import STEADY_AGREEMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.bench.conditions import Conditions
    from edge_runtime.bench.measure import Window
    from edge_runtime.bench.report import ModelFigures
    from edge_runtime.device import Device
    from edge_runtime.telemetry.summary import Telemetry

MIN_WINDOWS = 8
STEADY_GOVERNOR = "performance"


def drift(curve: Sequence[Window]) -> float | None:
    """How much slower the last quarter of a curve is than the first: 1.1 is 10 %."""
    if len(curve) < MIN_WINDOWS:
        return None
    quarter = len(curve) // 4
    first = median(window.p50_ms for window in curve[:quarter])
    return median(window.p50_ms for window in curve[-quarter:]) / first


def warnings(
    models: Sequence[ModelFigures], conditions: Conditions, device: Device, telemetry: Telemetry
) -> tuple[str, ...]:
    """In one line each, what speaks against the figures."""
    found = [text for figures in models for text in _of_model(figures)]
    if conditions.busy:
        found.append(
            f"the machine was busy before: load {conditions.load:.1f} on {conditions.cores} cores; "
            "close other programs"
        )
    if other := [name for name in conditions.governors if name != STEADY_GOVERNOR]:
        found.append(
            f"the frequency governor is {', '.join(other)}: clocks follow the load; "
            f"`cpupower frequency-set -g {STEADY_GOVERNOR}` fixes them"
        )
    if device.jetson_clocks is False:
        found.append("clocks are not locked: run `sudo jetson_clocks`")
    found += [
        f"sensors of {name} failed at times, and are missing there: {reason}"
        for name, reason in telemetry.failed.items()
    ]
    if telemetry.throttle_events:
        named = ", ".join(f"{name} {n} times" for name, n in telemetry.throttle_events.items())
        found.append(f"THROTTLED: {named}; these are the figures of a machine slowed down")
    return tuple(found)


def _of_model(figures: ModelFigures) -> list[str]:
    label, metrics, masks = figures.label, figures.metrics_ms, figures.masks
    found = []
    latency = metrics["latency"]
    if latency is not None and latency.variation > UNSTABLE:
        found.append(f"{label}: latency varies by {latency.variation:.1%}; see the percentiles")
    if figures.warmup.stable is False:
        found.append(f"{label}: not stable within the warm-up's 30 s; the figures begin after that")
    found += _of_copies(figures)
    if not masks.unchanged:
        found.append(f"{label}: its masks of the same pictures differ after the measurement")
    if masks.classes == 1:
        found.append(f"{label}: all masks are one class: is it the right model and source?")
    if masks.agreement is not None and masks.agreement < STEADY_AGREEMENT:
        found.append(
            f"{label}: only {masks.agreement:.1%} of its mask is like the first model's: this is "
            "the speed of a network that says something else"
        )
    return found


def _of_copies(figures: ModelFigures) -> list[str]:
    names = ("h2d", "compute", "d2h")
    h2d, compute, d2h = (figures.metrics_ms[name] for name in names)
    if h2d is None or compute is None or d2h is None:
        return []
    if max(h2d.median, d2h.median) < compute.median:
        return []
    return [f"{figures.label}: the transfers take as long as the network"]
