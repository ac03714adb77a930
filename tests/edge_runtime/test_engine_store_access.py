"""Who may read a store of engines, and what is said to those who may not."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge_runtime.artifacts import write_artifact
from edge_runtime.engines.choice import Machine, choose
from edge_runtime.engines.gpu import Gpu
from edge_runtime.engines.identity import OPTIONS_KEY
from edge_runtime.engines.store import EngineStore
from edge_runtime.errors import OptionError
from tests.edge_runtime.identities import ORIN


@pytest.fixture
def stranger():
    """Become a user who owns nothing, where that can be left again."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    yield
    os.seteuid(0)


@pytest.fixture
def public():
    """A folder that everybody may pass, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def common(public, manifest):
    """A store that was named, with an engine in it, made with the usual umask."""
    before = os.umask(0o022)
    try:
        store = EngineStore(public / "engines")
        part = store.prepare() / "part"
        part.write_bytes(b"plan")
        options = {OPTIONS_KEY: msgspec.to_builtins(ORIN)}
        write_artifact(part, store.place(ORIN), replace(manifest, kind="engine", options=options))
    finally:
        os.umask(before)
    return store


def test_a_store_that_was_named_is_read_by_other_users_too(common, stranger):
    assert common.folder.stat().st_mode & 0o777 == 0o755
    assert common.find(ORIN).identity == ORIN
    assert [engine.identity for engine in common.engines()] == [ORIN]


@pytest.fixture
def shut(common):
    """The same store, closed to all but its owner's root."""
    common.folder.chmod(0)
    yield common
    common.folder.chmod(0o755)


def test_a_store_that_may_not_be_read_is_told_from_an_empty_one(shut, manifest, stranger):
    machine = Machine("tensorrt", "10.3.0", Gpu("Orin", "8.7", 7620, integrated=True, cuda="12.6"))
    for ask in (
        lambda: choose(shut, manifest, "fp16", machine),
        lambda: shut.find(ORIN),
        lambda: list(shut.engines()),
    ):
        with pytest.raises(OptionError) as caught:
            ask()
        assert f"uid {os.geteuid()}: Permission denied" in str(caught.value)
        assert f"sudo chmod 755 {shut.folder}" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.fixture
def walled(common, public):
    """The same store in a folder that only root passes."""
    public.chmod(0)
    yield common
    public.chmod(0o755)


def test_the_folder_that_is_closed_above_a_store_is_named(walled, public, stranger):
    with pytest.raises(OptionError, match=f"because {public} is closed to it"):
        list(walled.engines())


def test_a_store_that_is_not_there_is_empty(tmp_path):
    (tmp_path / "file").touch()
    for name in ("none", "file", "file/below"):
        assert list(EngineStore(tmp_path / name).engines()) == []
