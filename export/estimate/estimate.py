"""`estimate`: a model or preset, at a size, on devices; and how cost grows with what is chosen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import msgspec

from edge_runtime.artifacts import check_readable, read_manifest, write_text_atomic
from edge_runtime.errors import ArtifactError, OptionError
from edge_runtime.zoo import resolve_model
from export.estimate.devices import DEVICES, PRECISIONS, device
from export.estimate.roofline import ASSUMPTIONS, Estimate, estimate, traffic_bytes
from export.estimate.trace import trace
from training.model.config import HyperSegConfig
from training.presets import PRESETS, preset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from export.estimate.devices import Device, Precision

SCHEMA: Literal["hyperseg-edge.estimate/1"] = "hyperseg-edge.estimate/1"
SCALES = (0.5, 0.75, 1.0, 1.5, 2.0)
CLASSES = (2, 8, 19, 64, 150)
GRIDS = (1, 2, 4, 8)
CAMERAS = (1, 2, 4, 8)
SWEEP_PRECISION: Precision = "fp16"
MAX_CAMERAS = 64


@dataclass(frozen=True)
class Point:
    """One network of a sweep."""

    axis: Literal["resolution", "classes", "grid", "cameras"]
    value: str
    macs: int
    """Of all cameras' pictures together."""
    estimates: list[Estimate]
    """Of FP16, one for each device; of all cameras' pictures together."""


@dataclass(frozen=True, kw_only=True)
class EstimateReport:
    """Everything that is estimated about one network. None of it was measured."""

    schema: Literal["hyperseg-edge.estimate/1"] = SCHEMA
    measured: Literal[False] = False
    subject: str
    size: tuple[int, int]
    """(height, width)."""
    classes: int
    cameras: int
    macs: int
    """Multiply-accumulates for one picture."""
    operators: int
    """Of the deployment form, without those that are fused."""
    traffic_mb: dict[Precision, float]
    """MB (10^6 bytes) that they read and write for one picture."""
    devices: list[Device]
    estimates: list[Estimate]
    """For one picture."""
    assumptions: tuple[str, ...] = ASSUMPTIONS
    sweep: list[Point] = field(default_factory=list)

    def to_json(self) -> str:
        """The report as JSON text, ending with a newline."""
        return msgspec.json.encode(self).decode() + "\n"

    def write(self, path: Path) -> None:
        """Write the report so that the file is either the old one or the complete new one.

        Raises:
            OptionError: the file cannot be written.
        """
        write_text_atomic(path, self.to_json())


def estimate_report(
    subject: str,
    targets: Sequence[str] = (),
    *,
    size: tuple[int, int] | None = None,
    cameras: int = 1,
    sweep: bool = False,
) -> EstimateReport:
    """Estimate a network.

    Args:
        subject: a model or checkpoint of ours, the name of a shipped model, or of a preset.
        targets: names of devices; none takes all.
        size: (height, width); None takes the model's own, or that of the preset's training.
        cameras: that share the network.
        sweep: also the cost against resolution, classes, grid and cameras.

    Raises:
        ArtifactError: it is none of these, damaged, or its manifest describes no network of ours.
        OptionError: no such target, a size that does not fit, or cameras out of range.
    """
    if not 1 <= cameras <= MAX_CAMERAS:
        raise OptionError(f"cameras {cameras}: expected 1 to {MAX_CAMERAS}")
    devices = [device(name) for name in targets or DEVICES]
    config, own_size = network_of(subject)
    size = size or own_size
    operators = trace(config, size)
    return EstimateReport(
        subject=subject,
        size=size,
        classes=config.num_classes,
        cameras=cameras,
        macs=sum(one.macs for one in operators),
        operators=sum(one.kind != "pointwise" for one in operators),
        traffic_mb={p: traffic_bytes(operators, p) * 1e-6 for p in PRECISIONS},
        devices=devices,
        estimates=[estimate(operators, one, p) for one in devices for p in PRECISIONS],
        sweep=_sweep(config, size, devices) if sweep else [],
    )


def network_of(subject: str) -> tuple[HyperSegConfig, tuple[int, int]]:
    """The configuration of a network, and the (height, width) it is meant for.

    Raises:
        ArtifactError: there is none of that name, or none described in its manifest.
        OptionError: a variation of a preset that does not exist.
    """
    if subject.partition("+")[0] in PRESETS:
        config = preset(subject)
        return config, config.train_size
    path = resolve_model(subject, others=PRESETS)
    check_readable(path)
    manifest = read_manifest(path)
    try:
        config = msgspec.convert(manifest.options["network"], HyperSegConfig)
    except (KeyError, msgspec.ValidationError, OptionError) as error:
        raise ArtifactError(
            f"{path.name} does not say which network of ours it is, and only those are estimated; "
            "give a preset, or measure it with `hyperseg bench`"
        ) from error
    return config, manifest.input_size if manifest.inputs else config.train_size


def _sweep(config: HyperSegConfig, size: tuple[int, int], devices: Sequence[Device]) -> list[Point]:
    points = []
    for scale in SCALES:
        step = config.size_multiple
        height, width = (max(round(edge * scale / step), 1) * step for edge in size)
        points += _point("resolution", f"{height}x{width}", config, (height, width), devices)
    for classes in CLASSES:
        # Labels are named after their classes; how many there are is all that costs anything.
        other = replace(config, num_classes=classes, labels="")
        points += _point("classes", str(classes), other, size, devices)
    if config.decoder.weights == "patch":
        points += _point("grid", "by size", _with_grid(config, None), size, devices)
        for grid in GRIDS:
            points += _point("grid", f"{grid}x{grid}", _with_grid(config, grid), size, devices)
    for cameras in CAMERAS:
        points += _point("cameras", str(cameras), config, size, devices, cameras)
    return points


def _with_grid(config: HyperSegConfig, grid: int | None) -> HyperSegConfig:
    return replace(config, decoder=replace(config.decoder, patch_grid=grid))


def _point(
    axis: Literal["resolution", "classes", "grid", "cameras"],
    value: str,
    config: HyperSegConfig,
    size: tuple[int, int],
    devices: Sequence[Device],
    cameras: int = 1,
) -> list[Point]:
    """One point, or none where such a network cannot be built at this size."""
    try:
        operators = trace(config, size) * cameras
    except OptionError:
        return []
    found = [estimate(operators, one, SWEEP_PRECISION) for one in devices]
    return [Point(axis, value, sum(one.macs for one in operators), found)]
