"""All checks in order, and their report."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from edge_runtime import __version__
from edge_runtime.device import Device
from edge_runtime.doctor.camera_checks import check_cameras
from edge_runtime.doctor.finding import Finding, Status
from edge_runtime.doctor.gst_checks import check_gstreamer
from edge_runtime.doctor.host_checks import check_container, check_services
from edge_runtime.doctor.inference_checks import check_inference
from edge_runtime.doctor.limit_checks import check_disk, check_limits, check_memory
from edge_runtime.doctor.power_checks import check_power
from edge_runtime.doctor.python_checks import check_interpreter, check_packages
from edge_runtime.doctor.subject_checks import check_model, check_source
from edge_runtime.errors import EXIT_FOUND

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.doctor.machine import Machine

SCHEMA: Literal["hyperseg-edge.doctor/1"] = "hyperseg-edge.doctor/1"
CHECKS = (
    check_interpreter,
    check_packages,
    check_gstreamer,
    check_inference,
    check_cameras,
    check_power,
    check_disk,
    check_memory,
    check_limits,
    check_container,
    check_services,
)
"""A new check is a function and its name here."""


@dataclass(frozen=True)
class Diagnosis:
    """The report of one examination."""

    version: str
    device: Device
    verdict: Status
    """The worst of all findings."""
    took_s: float
    findings: tuple[Finding, ...]
    schema: Literal["hyperseg-edge.doctor/1"] = SCHEMA

    @property
    def exit_code(self) -> int:
        """0 unless something does not work."""
        return EXIT_FOUND if self.verdict == "problem" else 0

    def count(self, status: Status) -> int:
        """How many findings are of that kind."""
        return Counter(finding.status for finding in self.findings)[status]

    def to_json(self) -> str:
        """The report as JSON, with a final newline."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode() + "\n"


def examine(machine: Machine, source: str | None = None, model: str | None = None) -> Diagnosis:
    """Look at a machine; nothing on it is changed.

    Args:
        machine: this one, or recorded files of another.
        source: that a run is to read; None looks at none.
        model: that it is to use; None looks at none.
    """
    begin = time.monotonic()
    findings = tuple(_findings(machine, source, model))
    worst: Status = "ok"
    for status in ("warning", "problem"):
        if any(finding.status == status for finding in findings):
            worst = status
    return Diagnosis(
        version=__version__,
        device=machine.device,
        verdict=worst,
        took_s=round(time.monotonic() - begin, 3),
        findings=findings,
    )


def _findings(machine: Machine, source: str | None, model: str | None) -> Iterator[Finding]:
    for check in CHECKS:
        yield from check(machine)
    if source is not None:
        yield from check_source(machine, source)
    if model is not None:
        yield from check_model(machine, model)
