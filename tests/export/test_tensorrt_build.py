"""Engines really built: by TensorRT-RTX, ahead of time, on the CPU. None is executed here."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge_runtime.artifacts import (
    TensorSpec,
    encode_manifest,
    manifest_path,
    read_manifest,
    write_artifact,
)
from edge_runtime.cli import main
from edge_runtime.engines.store import EngineStore, open_engine
from edge_runtime.errors import BackendError, ManifestError, OptionError
from edge_runtime.zoo import resolve_model
from export.fp16 import to_fp16
from export.half import make_half
from export.tensorrt.build import build, check, prepare
from export.tensorrt.options import BuildOptions
from tests.export.graphs import node, segmenter

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: extra [rtx]")
RTX = {"runtime": "tensorrt_rtx", "targets": ("8.6",)}
SIZE = 64


@pytest.fixture
def write(tmp_path, manifest):
    """An ONNX artefact of a graph: ``write("m", graph)``."""

    def make(name: str, graph: onnx.ModelProto) -> Path:
        part, path = tmp_path / "part", tmp_path / f"{name}.onnx"
        part.write_bytes(graph.SerializeToString())
        inputs = (TensorSpec("frame", (1, SIZE, SIZE, 3), "uint8"),)
        write_artifact(part, path, replace(manifest, inputs=inputs))
        return path

    return make


@pytest.fixture
def small(write) -> Path:
    return write("small", segmenter(size=SIZE))


def prepared(path: Path, output: Path, **options):
    return prepare(BuildOptions(path, output=output, **{**RTX, **options}))


def quantised() -> onnx.ModelProto:
    """The segmenter with a Q/DQ pair before its second convolution."""
    middle = [
        node("Relu", "a", "r"), node("QuantizeLinear", "r s z", "q"),
        node("DequantizeLinear", "q s z", "b"),
    ]  # fmt: skip
    return segmenter(middle=middle, size=SIZE, s=np.float32(0.05), z=np.int8(0))


@pytest.mark.parametrize(("precision", "kinds"), [("fp32", {"fp32": 2}), ("fp16", {"fp16": 2})])
def test_an_engine_and_what_it_is(small, tmp_path, precision, kinds):
    output = tmp_path / "s.engine"
    built = build(prepared(small, output, precision=precision))
    assert built.precisions.layers == kinds
    engine = open_engine(output)
    assert engine.identity.precision == precision
    assert engine.identity.runtime == "tensorrt_rtx"
    assert engine.identity.targets == ("8.6",)
    assert engine.identity.onnx_sha256 == read_manifest(small).sha256
    assert engine.manifest.options["executed"] is False
    assert "not executed here" in engine.manifest.options["label"]
    assert engine.manifest.labels == read_manifest(small).labels
    names = {path.name for path in tmp_path.iterdir()} - {"small.onnx", "small.onnx.json"}
    half = {"s.fp16.onnx", "s.fp16.onnx.json"} if precision == "fp16" else set()
    assert names == {"s.engine", "s.engine.json", *half}


def test_an_int8_graph_is_built_as_int8(write, tmp_path):
    source = write("q", quantised())
    built = build(prepared(source, tmp_path / "q.engine", precision="int8"))
    assert built.precisions.layers == {"fp32": 1, "int8": 1}


def test_an_fp16_graph_is_built_as_it_is(write, tmp_path):
    source = write("h", to_fp16(segmenter(size=SIZE)))
    built = build(prepared(source, tmp_path / "h.engine"))
    assert built.precisions.layers == {"fp16": 2}
    assert not (tmp_path / "h.fp16.onnx").exists()


def test_the_second_build_is_the_first_one(small, tmp_path):
    output = tmp_path / "s.engine"
    options = prepared(small, output, precision="fp32")
    first = build(options)
    stamp = output.stat().st_mtime_ns
    again = build(options)
    assert again.reused
    assert again.manifest.sha256 == first.manifest.sha256
    assert again.precisions == first.precisions
    assert output.stat().st_mtime_ns == stamp
    forced = build(prepared(small, output, precision="fp32", force=True))
    assert not forced.reused


@pytest.mark.parametrize("damage", [b"", b"rubbish"])
def test_a_damaged_engine_is_built_anew(small, tmp_path, damage):
    output = tmp_path / "s.engine"
    options = prepared(small, output, precision="fp32")
    build(options)
    output.write_bytes(damage)
    assert not build(options).reused
    open_engine(output)


def test_why_an_engine_is_built_anew_is_said_in_words(small, tmp_path):
    output = tmp_path / "s.engine"
    build(prepared(small, output, precision="fp32"))
    told: list[str] = []
    build(prepared(small, output, precision="fp32", targets=("8.9",)), told.append)
    assert "building anew: the list of compute capabilities was 8.6 and is 8.9 here" in told
    output.write_bytes(b"rubbish")
    build(prepared(small, output, precision="fp32", targets=("8.9",)), told.append)
    assert any("does not belong to" in line for line in told)


def test_without_an_output_the_store_keeps_it(small, tmp_path):
    store = tmp_path / "store"
    options = prepare(BuildOptions(small, precision="fp32", store=store, **RTX))
    told: list[str] = []
    built = build(options, told.append)
    assert told[0].endswith("has no engine of this model")
    assert built.path.parent == store
    assert EngineStore(store).find(options.identity).path == built.path


def test_a_dry_run_parses_and_leaves_nothing(small, tmp_path):
    before = sorted(tmp_path.iterdir())
    for precision in ("fp32", "fp16"):
        result = check(prepared(small, tmp_path / "s.engine", precision=precision))
        assert result.layers == {precision: 2}
        assert result.build_s is None
    assert sorted(tmp_path.iterdir()) == before


def test_what_the_parser_refuses_is_named_by_node(write, tmp_path):
    middle = [node("Relu", "a", "r"), node("DeformConv", "r w off", "b", pads=[1, 1, 1, 1])]
    graph = segmenter(
        middle=middle, size=SIZE, w=np.ones((8, 8, 3, 3), np.float32),
        off=np.zeros((1, 18, SIZE, SIZE), np.float32), opset=19,
    )  # fmt: skip
    source = write("deform", graph)
    with pytest.raises(BackendError, match=r"refuses node 'n_b' \(DeformConv\)"):
        check(prepared(source, tmp_path / "d.engine", precision="fp32"))
    with pytest.raises(BackendError, match="refuses node"):
        build(prepared(source, tmp_path / "d.engine", precision="fp32"))
    assert not list(tmp_path.glob("*d.engine*"))


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0])
def test_a_killed_builder_leaves_the_previous_engine(tmp_path, delay_s):
    """kill -9 at many points of a build; either it had finished, or nothing has changed."""
    model_path, output = resolve_model("street-edge-n"), tmp_path / "s.engine"
    output.write_bytes(b"the previous engine")
    manifest_path(output).write_text("its manifest")

    def end(pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def kill(pid: int) -> None:
        threading.Timer(delay_s, end, (pid,)).start()

    options = prepare(
        BuildOptions(model_path, output=output, precision="fp32", runtime="tensorrt_rtx")
    )
    fate = "built"
    try:
        build(options, started=kill)
    except BackendError as error:
        fate = str(error)
    if fate == "built":
        open_engine(output)
    else:
        assert "was killed: most often the system ran out of memory" in fate
        assert output.read_bytes() == b"the previous engine"
        assert manifest_path(output).read_text() == "its manifest"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.engine", "s.engine.json"]


def test_a_crashed_builder_is_one_line(small, tmp_path):
    def crash(pid: int) -> None:
        os.kill(pid, signal.SIGSEGV)

    with pytest.raises(BackendError, match=r"builder crashed \(Segmentation fault\)"):
        build(prepared(small, tmp_path / "s.engine", precision="fp32"), started=crash)
    assert not list(tmp_path.glob("*s.engine*"))


def test_too_little_memory_is_one_line(tmp_path):
    """The address space of the builder alone is limited, so that an allocation really fails."""

    def limit(pid: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_AS, (600 << 20, 600 << 20))

    options = prepare(
        BuildOptions(
            resolve_model("street-edge-n"), output=tmp_path / "s.engine", precision="fp32",
            runtime="tensorrt_rtx",
        )
    )  # fmt: skip
    with pytest.raises(BackendError) as caught:
        build(options, started=limit)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


COMMAND = """
import sys
from edge_runtime.cli import main
sys.exit(main(sys.argv[1:]))
"""


def hyperseg(*words: str, **settings) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings,
    )  # fmt: skip


def build_words(output: Path, precision: str = "fp32") -> list[str]:
    return [
        "build", "street-edge-n", "--runtime", "tensorrt_rtx", "--precision", precision,
        "-o", str(output),
    ]  # fmt: skip


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_child(process: subprocess.Popen) -> int:
    for _ in range(600):
        if found := children(process.pid):
            return found[0]
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError("no child was started")


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_the_child_never_outlives_the_command(tmp_path, sent, code):
    process = hyperseg(*build_words(tmp_path / "s.engine"))
    child = wait_for_child(process)
    time.sleep(0.3)
    process.send_signal(sent)
    assert process.wait(60) == code
    process.communicate()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            break
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()
    assert not (tmp_path / "s.engine").exists()
    # and the next build sweeps what a kill -9 had to leave
    assert main(build_words(tmp_path / "s.engine")) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.engine", "s.engine.json"]


def test_two_builds_at_once_make_one_engine(tmp_path):
    output = tmp_path / "s.engine"
    both = [hyperseg(*build_words(output)) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    texts = [out for out, _ in answers]
    assert sorted("is there already" in text for text in texts) == [False, True]
    open_engine(output)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    """A file-size limit stops the child's write as a full disk does."""

    def limit(pid: int) -> None:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    options = prepare(
        BuildOptions(
            resolve_model("street-edge-n"), output=tmp_path / "s.engine", precision="fp32",
            runtime="tensorrt_rtx",
        )
    )  # fmt: skip
    with pytest.raises(BackendError, match=r"cannot write .*(File too large|No space)"):
        build(options, started=limit)
    assert not list(tmp_path.iterdir())


def test_a_really_full_disk_is_one_line(tmp_path):
    """On a small file system of its own, where this user may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = textwrap.dedent(f"""
        mount -t tmpfs -o size=2m none {disk} || exit 77
        {sys.executable} -c '{COMMAND}' {" ".join(build_words(disk / "s.engine"))}
        code=$?; ls -A {disk} >&2; exit $code
    """)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this user may not mount a file system")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("hyperseg: error:")


def test_a_build_needs_neither_torch_nor_onnxruntime(small, tmp_path):
    """As on a Jetson: both are out of reach, in the command and in the builder's process."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import sys\nfor name in ('torch', 'onnxruntime', 'onnxscript', 'onnxsim'):\n"
        "    sys.modules[name] = None\n"
    )
    path = os.pathsep.join([str(blocked), os.environ.get("PYTHONPATH", "")])
    common = ["build", str(small), "--runtime", "tensorrt_rtx"]
    settings = {"env": {**os.environ, "PYTHONPATH": path}}
    done = hyperseg(*common, "--precision", "fp32", "-o", str(tmp_path / "a.engine"), **settings)
    _, error = done.communicate(timeout=120)
    assert done.returncode == 0, error
    open_engine(tmp_path / "a.engine")
    # an FP32 model cannot be made FP16 without onnxruntime, and the message says where it can
    done = hyperseg(*common, "--precision", "fp16", "-o", str(tmp_path / "b.engine"), **settings)
    _, error = done.communicate(timeout=120)
    assert done.returncode == 2
    assert "hyperseg export small.onnx --precision fp16" in error


def test_another_models_fp16_graph_is_not_taken(small, write, tmp_path):
    build(prepared(small, tmp_path / "s.engine"))
    other = write("other", segmenter(size=SIZE, gain=2.0))
    with pytest.raises(OptionError, match="of another model"):
        build(prepared(other, tmp_path / "s.engine"))


def test_the_fp16_graph_decides_on_the_engine(small, tmp_path):
    """Another FP16 graph of the same model, with its own verdict, is another engine."""
    output, half = tmp_path / "s.engine", tmp_path / "s.fp16.onnx"
    first = build(prepared(small, output))
    assert open_engine(output).identity.fp16_sha256 == read_manifest(half).sha256
    assert build(prepared(small, output)).reused
    keep_changed(half, lambda graph: setattr(graph.graph, "name", "another"))
    told: list[str] = []

    second = build(prepared(small, output), told.append)

    assert not second.reused
    assert any("the FP16 graph on the way was" in line for line in told)
    assert second.manifest.options["engine_key"] != first.manifest.options["engine_key"]
    assert second.manifest.parents[0].sha256 == read_manifest(half).sha256


def test_in_the_store_the_fp16_graph_decides_too(small, tmp_path):
    store = tmp_path / "store"
    wanted = BuildOptions(small, store=store, **RTX)
    first = build(prepare(wanted))
    assert build(prepare(wanted)).reused
    (half,) = store.glob("*.fp16.onnx")
    keep_changed(half, lambda graph: setattr(graph.graph, "name", "another"))
    second = build(prepare(wanted))
    assert not second.reused
    assert second.path != first.path
    assert second.path.stem == second.manifest.options["engine_key"]


def keep_changed(path: Path, edit, **options) -> None:
    """Replace a model by an edited one that its manifest vouches for."""
    graph, manifest = onnx.load(path), read_manifest(path)
    edit(graph)
    part = path.with_name("part")
    part.write_bytes(graph.SerializeToString())
    write_artifact(part, path, replace(manifest, options={**manifest.options, **options}))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda half, _: keep_changed(half, lambda _: None, fp16=None), "without the verdict"),
        (
            lambda half, _: keep_changed(half, lambda _: None, fp16={"passed": False}),
            "without the verdict",
        ),
        (lambda half, small: keep_changed(half, as_in(small)), "not FP16"),
        (lambda half, _: half.write_bytes(half.read_bytes() + b"\0"), "does not belong to"),
    ],
)
def test_what_lies_in_the_place_of_the_fp16_graph_is_not_taken_on_trust(
    small, tmp_path, spoil, complaint
):
    small_half = make_half(small, tmp_path / "s.fp16.onnx")
    assert small_half.options["fp16"]["passed"] is True
    spoil(tmp_path / "s.fp16.onnx", small)
    with pytest.raises((OptionError, ManifestError), match=complaint):
        build(prepared(small, tmp_path / "s.engine"))
    assert not (tmp_path / "s.engine").exists()


def as_in(path: Path):
    """An edit that makes a graph the one of that file."""
    return lambda graph: graph.CopyFrom(onnx.load(path))


def test_an_fp16_graph_of_another_version_is_made_anew(small, tmp_path):
    half = tmp_path / "s.fp16.onnx"
    made = make_half(small, half)
    older = replace(made, created_by=replace(made.created_by, version="0.0.9"))
    manifest_path(half).write_text(encode_manifest(older))
    told: list[str] = []

    built = build(prepared(small, tmp_path / "s.engine"), told.append)

    assert "making s.fp16.onnx anew: version 0.0.9 made it" in told
    assert read_manifest(half).created_by.version == made.created_by.version
    assert built.manifest.parents[0].sha256 == read_manifest(half).sha256


def test_where_none_can_be_made_an_fp16_graph_of_another_version_is_taken(
    small, tmp_path, monkeypatch
):
    half = tmp_path / "s.fp16.onnx"
    made = make_half(small, half)
    older = replace(made, created_by=replace(made.created_by, version="0.0.9"))
    manifest_path(half).write_text(encode_manifest(older))
    told: list[str] = []
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    built = build(prepared(small, tmp_path / "s.engine"), told.append)

    assert "taking s.fp16.onnx as it is: making one needs onnxruntime" in told
    assert built.manifest.parents[0].sha256 == made.sha256


def test_the_key_that_is_shown_is_the_engines_own(small, tmp_path, capsys):
    output = tmp_path / "s.engine"
    words = ["build", str(small), "--runtime", "tensorrt_rtx", "--target", "8.6"]
    assert main([*words, "--explain"]) == 0
    assert "known once the FP16 graph is made" in capsys.readouterr().out
    assert main([*words, "-o", str(output)]) == 0
    assert open_engine(output).identity.key in capsys.readouterr().out


def test_a_model_that_was_changed_is_refused(small, tmp_path):
    small.write_bytes(small.read_bytes() + b"\0")
    with pytest.raises(ManifestError):
        prepared(small, tmp_path / "s.engine")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--precision", "int8"], "hyperseg calibrate"),
        (["--typing", "weak"], "no weak typing"),
        (["--dla", "0"], "has no DLA"),
        (["--target", "8.7"], "no target '8.7'"),
        (["--as", "10.3.0"], "--as goes with --explain"),
        (["--workspace", "1"], "at least 16"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, words, complaint):
    common = ["build", "street-edge-n", "--runtime", "tensorrt_rtx"]
    assert main([*common, *words, "-o", str(tmp_path / "x.engine")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("hyperseg: error:")
    assert complaint in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", ["10.3.0", "10.16.1.11", "11.4.0.106"])
def test_a_jetsons_build_is_explained_on_a_workstation(tmp_path, capsys, version):
    words = ["build", "street-edge-n", "--explain", "--as", version]
    assert main([*words, "-o", str(tmp_path / "x.engine")]) == 0
    text = capsys.readouterr().out
    assert version in text
    assert "cache key" in text
    assert ("--stronglyTyped" in text) == version.startswith("10")
    assert not list(tmp_path.iterdir())
