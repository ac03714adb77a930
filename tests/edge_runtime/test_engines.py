"""Engines on disk: identity, store, locks; every way one may not be loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import fields, replace

import msgspec
import pytest

from edge_runtime.artifacts import manifest_path, write_artifact
from edge_runtime.engines.identity import (
    OPTIONS_KEY,
    EngineIdentity,
    differences,
    identity_of,
    misfits,
    tuned_for,
)
from edge_runtime.engines.locks import folder_lock
from edge_runtime.engines.store import EngineStore, open_engine, sweep, this_platform
from edge_runtime.errors import ArtifactError, ManifestError, OptionError
from tests.edge_runtime.identities import ORIN

HERE = {
    "runtime": "tensorrt", "version": "10.3.0", "platform": this_platform(),
    "gpu": "Orin", "compute_capability": "8.7",
}  # fmt: skip


@pytest.fixture
def add(tmp_path, manifest):
    """Put an engine of some bytes into a store: ``add(identity)``."""
    store = EngineStore(tmp_path / "store")

    def make(identity: EngineIdentity = ORIN, content: bytes = b"plan" * 100):
        part = store.prepare() / "part"
        part.write_bytes(content)
        options = {OPTIONS_KEY: msgspec.to_builtins(identity)}
        described = replace(manifest, kind="engine", options=options)
        write_artifact(part, store.place(identity), described)
        return store, open_engine(store.place(identity))

    return make


def test_what_is_added_is_found_by_its_identity_and_by_no_other(add):
    store, engine = add()
    assert store.find(ORIN).path == engine.path
    assert engine.path.name == f"{ORIN.key}.engine"
    assert store.find(replace(ORIN, runtime_version="10.16.2")) is None


def test_the_plan_file_is_pure(add):
    _, engine = add(content=b"\x00plan\xff")
    assert engine.path.read_bytes() == b"\x00plan\xff"


@pytest.mark.parametrize("field", [item.name for item in fields(EngineIdentity)])
def test_every_field_changes_the_address_and_is_named_in_words(field):
    value = {"targets": ("8.6",), "flags": ("FP16",), "dla_core": 1}.get(field, "another")
    other = replace(ORIN, **{field: value})
    assert other.key != ORIN.key
    (words,) = differences(ORIN, other)
    assert "was" in words
    assert "here" in words


def test_engines_that_were_built_before_later_fields_keep_their_address():
    known = replace(ORIN, platform="linux-aarch64")
    assert known.key == "5c78bb03da2364680de00177d6b54258be30b8a8f3d83891cd2f307803d623e5"


def test_the_address_stays_the_same_between_processes():
    code = (
        "import msgspec, sys; from edge_runtime.engines.identity import EngineIdentity;"
        "print(msgspec.json.decode(sys.stdin.buffer.read(), type=EngineIdentity).key)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=msgspec.json.encode(ORIN),
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.decode().strip() == ORIN.key


def test_an_engine_fits_where_it_was_built():
    assert misfits(ORIN, **HERE) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "10.16.2"}, "the runtime's version was 10.3.0 and is 10.16.2 here"),
        ({"gpu": "Thor", "compute_capability": "11.0"}, "the GPU was Orin and is Thor here"),
        ({"gpu": None, "compute_capability": None}, "is none here"),
        ({"platform": "linux-riscv64"}, "the platform was"),
        ({"runtime": "tensorrt_rtx"}, "the runtime was tensorrt and is tensorrt_rtx here"),
    ],
)
def test_a_foreign_engine_is_explained_in_words(change, words):
    assert words in "; ".join(misfits(ORIN, **{**HERE, **change}))


@pytest.mark.parametrize(
    ("flags", "here", "fits"),
    [
        ((), {"version": "10.3.0.1"}, False),
        (("VERSION_COMPATIBLE",), {"version": "10.3.0"}, True),
        (("VERSION_COMPATIBLE",), {"version": "10.16.1.11"}, True),
        (("VERSION_COMPATIBLE",), {"version": "10.2.0"}, False),
        (("VERSION_COMPATIBLE",), {"version": "11.3.0"}, False),
        (("VERSION_COMPATIBLE",), {"version": "10.4.0-rc"}, False),
        (("VERSION_COMPATIBLE",), {"gpu": "Thor"}, False),
        (("hardware=AMPERE_PLUS",), {"gpu": "Thor", "compute_capability": "11.0"}, True),
        (("hardware=AMPERE_PLUS",), {"gpu": "Turing", "compute_capability": "7.5"}, False),
        (("hardware=AMPERE_PLUS",), {"version": "10.4.0"}, False),
        (("hardware=SAME_COMPUTE_CAPABILITY",), {"gpu": "twin"}, True),
        (("hardware=SAME_COMPUTE_CAPABILITY",), {"compute_capability": "8.6"}, False),
    ],
)
def test_an_engine_fits_as_far_as_its_flags_say(flags, here, fits):
    built = replace(ORIN, flags=flags)
    assert (misfits(built, **{**HERE, **here}) == []) == fits


@pytest.mark.parametrize(
    ("flags", "built", "here", "told"),
    [
        ((), 16, 16, []),
        ((), 16, 4, ["the GPU's number of multiprocessors was 16 and is 4 here"]),
        ((), 16, None, []),
        ((), None, 4, []),
        (("hardware=SAME_COMPUTE_CAPABILITY",), 16, 4, []),
    ],
)
def test_an_engine_tuned_for_another_board_or_power_mode_is_told(flags, built, here, told):
    engine = replace(ORIN, flags=flags, multiprocessors=built)
    assert tuned_for(engine, here) == told


def test_an_engine_from_before_multiprocessors_were_noted_is_read(manifest, tmp_path):
    fields = {**msgspec.to_builtins(ORIN)}
    del fields["multiprocessors"]
    old = identity_of(tmp_path / "a.engine", replace(manifest, options={OPTIONS_KEY: fields}))
    assert tuned_for(old, 4) == []


@pytest.mark.parametrize(
    ("targets", "capability", "fits"),
    [
        (("8.6",), "8.6", True),
        (("8.6",), "8.9", False),
        (("8.0", "8.6", "8.9", "12.0+"), "12.1", True),
        (("8.0", "8.6", "8.9", "12.0+"), "9.0", False),
        (("8.0", "8.6", "8.9", "12.0+"), "11.0", False),
        (("8.6",), None, False),
    ],
)
def test_an_ahead_of_time_engine_fits_its_targets_whatever_the_card(targets, capability, fits):
    built = replace(ORIN, gpu=None, compute_capability=None, targets=targets)
    here = {**HERE, "gpu": "some card", "compute_capability": capability}
    assert (misfits(built, **here) == []) == fits


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content + b"\0",
        lambda content: bytes([content[0] ^ 1]) + content[1:],
        lambda content: b"another engine",
    ],
)
def test_a_changed_engine_is_not_loaded(add, damage):
    store, engine = add()
    engine.path.write_bytes(damage(engine.path.read_bytes()))
    with pytest.raises(ManifestError, match=r"an engine is code.*not loaded"):
        store.find(ORIN)
    with pytest.raises(ManifestError):
        open_engine(engine.path)


def test_an_empty_engine_is_not_loaded(add):
    store, engine = add()
    engine.path.write_bytes(b"")
    with pytest.raises(ManifestError, match="0 bytes"):
        store.find(ORIN)


def test_an_engine_without_manifest_is_not_loaded(add):
    store, engine = add()
    manifest_path(engine.path).unlink()
    with pytest.raises(ManifestError, match="no manifest"):
        store.find(ORIN)


def test_a_manifest_without_engine_is_explained(add):
    store, engine = add()
    engine.path.unlink()
    with pytest.raises(ManifestError, match="hyperseg build"):
        store.find(ORIN)


def test_an_engine_under_a_foreign_name_is_refused(add):
    store, engine = add()
    thor = replace(ORIN, gpu="Thor", compute_capability="11.0")
    for source, target in (
        (engine.path, store.place(thor)),
        (manifest_path(engine.path), manifest_path(store.place(thor))),
    ):
        target.write_bytes(source.read_bytes())
    with pytest.raises(ManifestError, match="the GPU was Orin and is Thor here"):
        store.find(thor)


@pytest.mark.parametrize(
    ("options", "words"), [({}, "does not say what it was built for"),
                           ({"engine": {"gpu": 3}}, "malformed")]
)  # fmt: skip
def test_a_manifest_without_identity_is_refused(add, options, words):
    _, engine = add()
    place = manifest_path(engine.path)
    facts = json.loads(place.read_text())
    place.write_text(json.dumps({**facts, "options": options}))
    with pytest.raises(ManifestError, match=words):
        open_engine(engine.path)


def test_a_model_is_no_engine(make_model):
    with pytest.raises(ArtifactError, match="kind 'onnx'; expected 'engine'"):
        open_engine(make_model())


def test_why_there_is_none_names_what_the_nearest_differs_in(add):
    store, _ = add()
    add(replace(ORIN, precision="int8", runtime_version="8.6"))
    wanted = replace(ORIN, l4t="36.5.0")
    assert store.why_missing(wanted) == (
        "the nearest engine differs: the L4T release was 36.4.3 and is 36.5.0 here"
    )
    assert "no engine of this model" in store.why_missing(replace(ORIN, onnx_sha256="b" * 64))


def test_damaged_engines_are_passed_over_in_the_list(add):
    store, engine = add()
    add(replace(ORIN, cuda="13.0"))
    engine.path.write_bytes(b"x")
    assert [found.identity.cuda for found in store.engines()] == ["13.0"]


def test_the_cache_is_for_this_user_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert EngineStore().prepare().stat().st_mode & 0o077 == 0


def test_a_store_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="choose another --store"):
        EngineStore(tmp_path / "file" / "store").prepare()


HOLD = """
import sys, time
from pathlib import Path
from edge_runtime.engines.locks import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_a_killed_process_leaves_no_lock(tmp_path):
    process = holder(tmp_path)
    waited = []
    process.kill()
    process.wait()
    with folder_lock(tmp_path, lambda: waited.append(1)):
        assert list(tmp_path.iterdir()) == []
    assert not waited
    process.stdout.close()


def test_the_second_one_waits_and_is_told(tmp_path):
    process = holder(tmp_path)
    moments = []

    def waiting() -> None:
        moments.append(time.monotonic())
        process.kill()

    with folder_lock(tmp_path, waiting):
        assert len(moments) == 1
    process.wait()
    process.stdout.close()


def test_a_folder_that_is_missing_has_no_lock(tmp_path):
    with pytest.raises(OptionError, match="No such file"), folder_lock(tmp_path / "none"):
        pass


def test_sweeping_removes_leftovers_of_that_name_only(tmp_path):
    (tmp_path / ".a.engine.x1").mkdir()
    (tmp_path / ".a.engine.x1" / "plan").write_bytes(b"half")
    (tmp_path / ".a.engine.q.part").write_bytes(b"half")
    (tmp_path / ".b.engine.x1").mkdir()
    (tmp_path / "a.engine").write_bytes(b"whole")
    sweep(tmp_path, "a.engine")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.engine.x1", "a.engine"]


def test_the_leaf_stays_light():
    code = (
        "import sys, edge_runtime.engines.store, edge_runtime.engines.gpu;"
        "print(*sorted({'torch', 'onnx', 'onnxruntime', 'tensorrt', 'tensorrt_rtx', 'numpy'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ},
    )  # fmt: skip
    assert done.stdout.split() == []
