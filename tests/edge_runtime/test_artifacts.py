"""Artefacts are read back as written, or refused in one line; never half, never another's."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.artifacts import (
    FORMAT_VERSION,
    Manifest,
    Metric,
    Parent,
    Parity,
    atomic_file,
    created_by_this_command,
    encode_manifest,
    manifest_path,
    read_manifest,
    sha256_of,
    write_artifact,
    write_text_atomic,
)
from edge_runtime.errors import ArtifactError, ManifestError, OptionError


def rewrite(path: Path, **changes: Any) -> None:
    place = manifest_path(path)
    place.write_text(json.dumps({**json.loads(place.read_text()), **changes}))


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_round_trip_keeps_every_field(make_model, manifest: Manifest) -> None:
    # given a manifest with all of its parts
    fields = {
        "options": {"width": 1.5, "grid": [4, 8], "nested": {"a": None}},
        "parents": (Parent("checkpoint", "tiny.pt", "0" * 64),),
        "parity": Parity(
            "torch float64", 3, 1e-9, 1e-6, 12.5, 0.999, 1e-7, chaotic=False, passed=True
        ),
        "metrics": (Metric("mIoU", 0.71, "street test"),),
        "notes": "für Größe: 路",
    }
    # when it is written and read
    path = make_model("tiny", b"graph", **fields)
    found = read_manifest(path, kind="onnx")
    # then nothing changed, and the hash is that of the file
    assert found == replace(manifest, name="tiny", sha256=sha256_of(path), **fields)
    assert found.input_size == (64, 128)


def test_json_is_sorted_at_every_level_and_ends_with_a_newline(make_model) -> None:
    path = make_model(options={"z": 1, "a": {"d": 1, "b": 2}})
    text = manifest_path(path).read_text(encoding="utf-8")

    levels: list[list[str]] = []
    json.loads(text, object_pairs_hook=lambda pairs: levels.append([key for key, _ in pairs]))

    assert text.endswith("}\n")
    assert len(levels) > 5
    assert all(keys == sorted(keys) for keys in levels)


def test_writing_the_same_twice_gives_the_same_bytes(make_model) -> None:
    first = manifest_path(make_model()).read_bytes()
    assert manifest_path(make_model()).read_bytes() == first


@pytest.mark.parametrize("position", [0, 7, -1])
def test_one_flipped_bit_is_refused_unless_the_hash_is_not_wanted(make_model, position) -> None:
    path = make_model(content=b"some graph bytes")
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)

    with pytest.raises(ManifestError, match="does not belong to"):
        read_manifest(path)
    assert read_manifest(path, verify=False).name == "tiny"


def test_truncated_file_is_refused(make_model) -> None:
    path = make_model(content=b"x" * 3_000_000)  # more than one piece of the hash
    os.truncate(path, 2_999_999)
    with pytest.raises(ManifestError, match="does not belong to"):
        read_manifest(path)


def test_files_that_are_no_model(tmp_path: Path, make_model) -> None:
    empty = make_model("empty")
    empty.write_bytes(b"")
    with pytest.raises(ArtifactError, match="0 bytes"):
        read_manifest(empty)
    with pytest.raises(ArtifactError, match="is a folder"):
        read_manifest(tmp_path)
    with pytest.raises(ArtifactError, match="neither a file nor a shipped model"):
        read_manifest(tmp_path / "none.onnx")
    with pytest.raises(ArtifactError, match="cannot read"):
        read_manifest(tmp_path / ("n" * 300))


def test_missing_manifest(make_model) -> None:
    path = make_model()
    manifest_path(path).unlink()
    with pytest.raises(ManifestError, match=r"has no manifest tiny\.onnx\.json") as caught:
        read_manifest(path)
    # another tool's model has none to copy
    assert "`hyperseg import` makes one" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "format version"),
        ({"kind": "poem"}, "Invalid enum value 'poem'"),
        ({"inputs": "none"}, r"\$\.inputs"),
        ({"preprocess": {"mean": [0, 0], "std": [1, 1, 1]}}, r"\$\.preprocess\.mean"),
        ({"labels": {"name": "x", "names": ["a", "b"], "palette": [[0, 0, 0]]}}, "2 names but 1"),
        ({"labels": {"name": "x", "names": ["a"], "palette": [[0, 0, 999]]}}, "not an RGB colour"),
        ({"parameters": "many"}, r"\$\.parameters"),
    ],
)
def test_manifest_with_a_wrong_field_names_it(make_model, changes, complaint) -> None:
    path = make_model()
    rewrite(path, **changes)
    with pytest.raises(ManifestError, match=complaint) as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)


def test_other_kind_is_refused(make_model) -> None:
    with pytest.raises(ArtifactError, match="of kind 'onnx'; expected 'checkpoint'"):
        read_manifest(make_model(), kind="checkpoint")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe{}", b"{}", b'{"options":' + b'{"a":' * 100_000],
    ids=["empty", "cut", "array", "null", "not-utf8", "no-fields", "nested-100000-deep"],
)
def test_garbage_manifest(make_model, content) -> None:
    path = make_model()
    manifest_path(path).write_bytes(content)
    with pytest.raises(ManifestError, match="not a hyperseg manifest"):
        read_manifest(path)


@given(content=st.binary(max_size=200), start=st.integers(0, 900))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_overwritten_manifest_is_read_or_refused_but_never_crashes(make_model, content, start):
    path = make_model()
    place = manifest_path(path)
    whole = place.read_bytes()
    place.write_bytes(whole[:start] + content + whole[start + len(content) :])
    try:
        found = read_manifest(path)
    except ArtifactError:
        return
    assert found.sha256 == sha256_of(path)


def test_input_size_wants_one_frame_input(manifest: Manifest) -> None:
    with pytest.raises(ManifestError, match="expected one"):
        _ = replace(manifest, inputs=()).input_size


def test_failing_writer_leaves_the_old_file_and_no_remains(tmp_path: Path) -> None:
    place = tmp_path / "report.json"
    write_text_atomic(place, "old")

    def fail_half_way() -> None:
        with atomic_file(place) as part:
            part.write_text("new, but")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()

    assert place.read_text() == "old"
    assert names_in(tmp_path) == ["report.json"]


@pytest.mark.parametrize("folder", ["missing", "file", "/proc"])
def test_unwritable_folder(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OptionError, match=r"cannot write .*m\.json"):
        write_text_atomic(tmp_path / folder / "m.json", "{}")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; /proc stands in for it")
def test_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(OptionError, match="Permission denied"):
        write_text_atomic(tmp_path / "m.json", "{}")


def test_name_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OptionError, match="cannot write"):
        write_text_atomic(tmp_path / "taken", "{}")
    assert names_in(tmp_path) == ["taken"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from edge_runtime.artifacts import write_text_atomic
from edge_runtime.errors import OptionError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_text_atomic(Path(sys.argv[1]), "n" * 100_000)
except OptionError as error:
    sys.exit(str(error))
"""


def test_disk_that_fills_up_leaves_the_old_file(tmp_path: Path, repository: Path) -> None:
    # given a file, and a process that may write no more than 4096 bytes
    place = tmp_path / "model.onnx.json"
    place.write_text("old")
    # when it writes more
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(place)],
        cwd=repository, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    # then it says so, and the old file is there alone
    assert done.returncode == 1
    assert done.stderr.startswith(f"cannot write {place}: File too large")
    assert place.read_text() == "old"
    assert names_in(tmp_path) == [place.name]


WRITER = """
import sys
from itertools import count
from pathlib import Path
from edge_runtime.artifacts import read_manifest, write_artifact
path = Path(sys.argv[1])
manifest = read_manifest(path)
print("ready", flush=True)
for number in count():
    part = path.with_suffix(".part")
    part.write_bytes(str(number).encode() * 50_000)
    write_artifact(part, path, manifest)
"""


def test_killed_writer_leaves_old_new_or_a_refusal(make_model, repository: Path) -> None:
    # given a process that writes one artefact after another over the same path
    path = make_model(content=b"0" * 50_000)
    outcomes = {"accepted": 0, "refused": 0}
    draw = random.Random(7)
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            cwd=repository, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert writer.stdout is not None
        with writer, writer.stdout:
            assert writer.stdout.readline() == "ready\n"
            # when it is killed at any moment
            time.sleep(draw.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
        # then the file is whole, and it is described by its own manifest or refused
        content = path.read_bytes()
        number = content[: len(content) // 50_000]
        assert content == number * 50_000
        try:
            assert read_manifest(path).sha256 == sha256_of(path)
            outcomes["accepted"] += 1
        except ManifestError:
            outcomes["refused"] += 1
            make_model(content=b"0" * 50_000)
    assert sum(outcomes.values()) == 12


def test_manifest_of_another_model_is_refused_between_the_two_renames(
    tmp_path: Path, make_model, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a writer that dies after the model's rename, before the manifest's
    path = make_model(content=b"old")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge_runtime.artifacts.write_text_atomic", die)
    (tmp_path / "new.part").write_bytes(b"new")
    with pytest.raises(KeyboardInterrupt):
        write_artifact(tmp_path / "new.part", path, manifest)
    # then the new model is not run under the old one's description
    assert path.read_bytes() == b"new"
    with pytest.raises(ManifestError, match="does not belong to"):
        read_manifest(path)


def test_a_manifest_tells_neither_secrets_nor_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.argv",
        ["/usr/bin/hyperseg", "calibrate", "/home/me/x.onnx", "--frames", "rtsp://me:hush@cam/a"],
    )

    command = created_by_this_command().command

    assert command == "hyperseg calibrate x.onnx --frames rtsp:a"


def test_encoding_is_readable_text(manifest: Manifest) -> None:
    assert encode_manifest(manifest).startswith('{\n  "created_by": {')
