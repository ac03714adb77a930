"""The toy training run, loaded from its file, as it is also run as a program."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOY = Path(__file__).with_name("toy.py")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What data checks remember stays in the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    return _load(TOY)


@pytest.fixture(scope="session")
def colours() -> ModuleType:
    return _load(TOY.with_name("colours.py"))


def _load(place: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(place.stem, place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
