"""The site builds without a warning and needs nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("MkDocs is not installed: scripts/setup dev brings it")
    place = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)],
        cwd=repository, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=\"(https?:[^\"]*)\"")
    found = {
        (page.name, url) for page in site.rglob("*.html") for url in loads.findall(page.read_text())
    }
    assert found == set()


def test_readme_is_a_page_whose_links_stay_on_the_site(site: Path) -> None:
    overview = (site / "overview.html").read_text(encoding="utf-8")
    assert 'href="cameras.html"' in overview
    assert 'href="docs/' not in overview


def test_docstrings_become_pages(site: Path) -> None:
    text = (site / "api" / "run.html").read_text(encoding="utf-8")
    assert 'id="edge_runtime.options.RunOptions"' in text
    assert "duration_s" in text
