"""The metrics of what all cameras share: the engine that serves, and the sensors of the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import InfoMetricFamily

from edge_runtime import __version__
from edge_runtime.compose import describe_model
from edge_runtime.engines.identity import OPTIONS_KEY
from edge_runtime.prometheus.cameras import PREFIX, counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from edge_runtime.rig.engine import Engine
    from edge_runtime.telemetry.sampler import Sampler

BELOW_LOCK = "clock-below-lock"


def program_families() -> Iterator[Metric]:
    """Who speaks."""
    yield InfoMetricFamily(f"{PREFIX}_build", "This program.", {"version": __version__})


def engine_families(engine: Engine) -> Iterator[Metric]:
    """What serves, how often it was exchanged, how often it failed."""
    network = engine.network
    model = describe_model(network.manifest, network.backend.name)
    identity = network.manifest.options.get(OPTIONS_KEY)
    built = identity if isinstance(identity, dict) else {}
    yield InfoMetricFamily(
        f"{PREFIX}_engine",
        "The model or engine that serves now.",
        {
            "sha256": network.manifest.sha256,
            "model": model.name,
            "precision": model.precision or "",
            "backend": model.backend,
            "tensorrt": str(built.get("runtime_version") or ""),
            "gpu": str(built.get("gpu") or ""),
        },
    )
    reloads = counter("engine_reloads", "Models that were to take over, by outcome.", "result")
    for result in ("served", "refused", "rolled-back"):
        reloads.add_metric([result], engine.change_counts[result])
    errors = counter("inference_errors", "Inferences that failed.")
    errors.add_metric([], engine.failures)
    yield from (reloads, errors)


def sensor_families(sampler: Sampler) -> Iterator[Metric]:
    """What the sensors of the machine said last; a metric without sensors has no values."""
    now = sampler.latest
    power = gauge("power_watts", "By rail; a GPU's own sensor is GPU.", "rail")
    for rail, watts in now.rails_w.items():
        power.add_metric([rail], watts)
    heat = gauge("temperature_celsius", "By zone.", "zone")
    for zone, celsius in now.temperatures_c.items():
        heat.add_metric([zone], celsius)
    clocks = gauge("clock_hertz", "By unit.", "unit")
    for unit, mhz in now.clocks_mhz.items():
        clocks.add_metric([unit], mhz * 1e6)
    throttling = counter(
        "throttle_events",
        "How often heat, current or power slowed the machine down during this run.",
        "kind",
    )
    counts = sampler.throttle_counts
    if counts is not None:
        # One kind is there from the start, so that the first event of another shows as a rise.
        for kind, count in {BELOW_LOCK: 0, **counts}.items():
            throttling.add_metric([kind], count)
    memory = gauge("gpu_memory_bytes", "Memory of the GPU that this process uses.")
    if now.gpu_memory_mb is not None:
        memory.add_metric([], now.gpu_memory_mb * 1e6)
    yield from (power, heat, clocks, throttling, memory)
