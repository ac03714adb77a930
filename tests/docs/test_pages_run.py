"""What a page marks with `run` works as it is typed, and prints what the page shows."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import blocks, page_id, pages, pattern


@dataclass(frozen=True)
class Step:
    script: str
    shown: tuple[str, ...] = ()
    """Lines that the page shows of its output."""


def steps(page: Path) -> list[Step]:
    found: list[Step] = []
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.mark == "run":
            found.append(Step(block.text))
        elif block.mark == "output":
            assert found, f"{page}: output before anything was run"
            found[-1] = Step(found[-1].script, tuple(block.text.splitlines()))
    return found


def missing_line(shown: tuple[str, ...], *streams: str) -> str | None:
    """The first line of a page that no stream has, in its order; None if all were printed."""
    at = [0] * len(streams)
    for line in shown:
        if not line.strip() or line.strip() == "...":
            continue
        for number, stream in enumerate(streams):
            if found := pattern(line).search(stream, at[number]):
                at[number] = found.end()
                break
        else:
            return line
    return None


RUNNABLE = [page for page in pages() if steps(page)]


def test_pages_are_run() -> None:
    assert {"docs/laptop.md", "docs/dataset.md", "docs/int8.md", "docs/latency.md"} <= {
        page_id(page) for page in RUNNABLE
    }


@pytest.mark.gst
@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=page_id)
def test_page_works_as_typed(page: Path, repository: Path, tmp_path: Path) -> None:
    # given a folder that has of a checkout what pages name
    for name in ("scripts", "docs"):
        (tmp_path / name).symlink_to(repository / name)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    binaries = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": binaries, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    for step in steps(page):
        # when its blocks are typed one after the other
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", step.script],
            cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        # then each succeeds and prints what is shown
        printed = done.stdout + done.stderr
        assert done.returncode == 0, f"{step.script}\n{printed}"
        missing = missing_line(step.shown, done.stdout, done.stderr)
        assert missing is None, f"{step.script} did not print {missing!r} but\n{printed}"


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        (("Rate: 50 of 50.0 frames/s", "Clock: file"), None),
        (("Clock: file", "Rate: 1 of 2 frames/s"), "Rate: 1 of 2 frames/s"),
        (("...", "Rate: ... frames/s"), None),
        (("Rate: 1 frames/s",), "Rate: 1 frames/s"),
        (("Clock: file", "drawing", "Rate: 1 of 2"), "Rate: 1 of 2"),
        (("Rate: 1 of 2", "drawing", "Clock: file"), None),
    ],
)
def test_shown_lines_are_looked_for(shown: tuple[str, ...], missing: str | None) -> None:
    stdout, stderr = "Rate: 3   of 17.5 frames/s\nClock: file.\n", "drawing\n"
    assert missing_line(shown, stdout, stderr) == missing
