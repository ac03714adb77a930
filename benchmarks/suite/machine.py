"""When, where and on what code figures were taken."""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.paired import provenance
from edge_runtime.bench.conditions import look
from edge_runtime.engines.gpu import query_gpu

ROOT = Path(__file__).resolve().parents[2]
NOT_CODE = "benchmarks/results"
"""Results that were not committed yet are no change of the code."""


def circumstances() -> dict[str, Any]:
    """The part of a run's line that is no figure."""
    told, conditions, gpu = provenance(), look(), query_gpu()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "cpu": told["cpu"],
            "system": told["system"],
            **asdict(conditions),
            "busy": conditions.busy,
            "gpu": None if gpu is None else gpu.name,
        },
        "versions": told["packages"],
        "commit": _git("rev-parse", "HEAD"),
        "changed": _changed(),
    }


def _changed() -> bool | None:
    """Whether files of the repository differ from the commit; None where there is none."""
    listed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{NOT_CODE}")
    return None if listed is None else listed != ""


def _git(*arguments: str) -> str | None:
    """What git says; None without git, or outside of a repository."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
