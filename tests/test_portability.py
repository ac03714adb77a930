"""What scripts say of other machines: the check fails on what a Jetson could not install."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

SCRIPTS = ("check_portability", "emulated_aarch64")
CONSTRAINTS = "constraints/pinned.txt"


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_sound_shell(repository, name):
    script = repository / "scripts" / name
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)


@pytest.fixture
def copy(repository, tmp_path) -> Path:
    """A checkout with one small module of each package."""
    if not (repository / ".venv/bin/uv").exists():
        pytest.skip("uv is not in .venv: scripts/setup dev brings it")
    for name in ("pyproject.toml", CONSTRAINTS, "scripts/check_portability"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(repository / name, tmp_path / name)
    for package in ("edge_runtime", "export", "calibration", "training"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text('__version__ = "0"\n')
    (tmp_path / ".venv").symlink_to(repository / ".venv")
    return tmp_path


def check(copy: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "scripts/check_portability"],
        cwd=copy,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


NOWHERE = {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"}


def test_without_the_index_it_says_what_it_skipped(copy):
    done = check(copy, **NOWHERE)
    assert done.returncode == 0, done.stderr
    assert "skipped what a Jetson would install" in done.stderr
    assert "http://127.0.0.1:9/simple does not answer" in done.stderr


@pytest.mark.parametrize("line", ["import tomllib", "from datetime import UTC", "type A = int"])
def test_what_python_310_has_not_is_found(copy, line):
    (copy / "edge_runtime" / "young.py").write_text(line + "\n")
    done = check(copy, **NOWHERE)
    assert done.returncode != 0
    assert "young.py" in done.stdout + done.stderr


def test_a_pin_without_a_wheel_for_a_jetson_is_found(copy):
    # Given a machine that reaches the index
    try:
        urllib.request.urlopen("https://pypi.org/simple/click/", timeout=10).close()
    except (urllib.error.URLError, TimeoutError) as error:
        pytest.skip(f"no package index within reach: {error}")
    # and a pin of what has no release for Python 3.10
    pins = (copy / CONSTRAINTS).read_text()
    (copy / CONSTRAINTS).write_text(pins.replace('numpy==2.2.6 ; python_version < "3.11"', ""))
    with (copy / CONSTRAINTS).open("a") as stream:
        stream.write('\nnumpy==2.4.6 ; python_version < "3.11"\n')
    # When the check runs, then it names it
    done = check(copy)
    assert done.returncode != 0
    assert "numpy==2.4.6" in done.stderr
