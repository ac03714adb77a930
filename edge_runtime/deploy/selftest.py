"""``hyperseg selftest`` of a release, and why it did not pass."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge_runtime.errors import DeployError
from edge_runtime.service.command import program


@dataclass(frozen=True)
class _Entry:
    step: str
    what: str
    status: str
    reason: str = ""


@dataclass(frozen=True)
class _Account:
    entries: list[_Entry]


def run_selftest(model: Path) -> dict[str, Any]:
    """Build, prove and measure a model, which takes minutes.

    Returns:
        What the self-test wrote.

    Raises:
        DeployError: it does not pass; names what failed.
    """
    with tempfile.TemporaryDirectory(prefix="hyperseg-selftest-") as folder:
        account = Path(folder) / "selftest.json"
        command = ["selftest", str(model), "-o", str(account), "--duration", "1"]
        done = subprocess.run([*program(), *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = _failures(account) or _last_words(done)
            raise DeployError(f"the self-test does not pass here: {reason}; not installed")
        return msgspec.json.decode(account.read_bytes(), type=dict[str, Any])


def _failures(account: Path) -> str:
    """The entries that failed, in one line; empty without an account or with none in it."""
    try:
        entries = msgspec.json.decode(account.read_bytes(), type=_Account).entries
    except (OSError, msgspec.MsgspecError):  # it ended before it could write one
        return ""
    failed = [entry for entry in entries if entry.status == "failed"]
    return "; ".join(
        f"{entry.step} {entry.what}" + (f" ({entry.reason})" if entry.reason else "")
        for entry in failed
    )


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
    return lines[-1].removeprefix("hyperseg: error: ")
