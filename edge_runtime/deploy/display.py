"""A deployment's report for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_runtime.deploy.device import DeployReport


def lines(report: DeployReport) -> list[str]:
    """What became of a bundle, one fact a line."""
    proof, device = report.proof, report.device
    agreement = "nothing to compare with" if proof.agreement is None else f"{proof.agreement:.4f}"
    found = [
        f"release   {report.key} ({report.name}), "
        f"{'signed by a trusted key' if report.signed else 'no signature was required'}",
        f"previous  {report.previous or 'none'}",
        f"device    {device.model}; {device.soc}",
        f"infers    {report.engine}",
        f"proof     agreement {agreement} on the golden frame, {proof.median_ms:.1f} ms an "
        f"inference ({proof.backend})",
    ]
    if report.selftest is not None:
        found.append("selftest  passed; its account is in the report (--report)")
    if report.service is not None:
        found.append(f"service   {report.service} runs it")
    return found
