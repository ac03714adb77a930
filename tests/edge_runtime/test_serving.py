"""What serves a run with ``--rebuild``: the choice in words, and real builds in the background.

Engines are built by TensorRT-RTX ahead of time and executed nowhere; ONNX Runtime really serves.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from edge_runtime.artifacts import read_manifest, write_artifact
from edge_runtime.backends.base import EngineStamps
from edge_runtime.cli import main
from edge_runtime.engines.background import NICENESS, BackgroundBuild
from edge_runtime.engines.choice import Machine, choose, engine_precision
from edge_runtime.engines.gpu import Gpu, query_gpu
from edge_runtime.engines.identity import OPTIONS_KEY, EngineIdentity
from edge_runtime.engines.store import EngineStore, this_platform
from edge_runtime.errors import BackendError, DependencyError, OptionError
from edge_runtime.options import RunOptions
from edge_runtime.serving import serve
from edge_runtime.zoo import resolve_model

ORIN = Machine("tensorrt", "10.3.0", Gpu("Orin", "8.7", 7620, integrated=True, cuda="12.6"), "36.4")
CARD = Gpu("RTX A4000", "8.6", 16000, integrated=False, cuda="13.0")
BUILT = EngineIdentity(
    onnx_sha256="a" * 64, precision="fp16", typing="strong", runtime="tensorrt",
    runtime_version="10.3.0", platform=this_platform(), gpu="Orin", compute_capability="8.7",
    cuda="12.6", l4t="36.4",
)  # fmt: skip
WAIT_S = 120.0


@pytest.fixture
def model(manifest):
    """A model's manifest with the hash that `BUILT` was built of."""
    return replace(manifest, sha256="a" * 64)


@pytest.fixture
def store(tmp_path):
    return EngineStore(tmp_path / "store")


@pytest.fixture
def add(store, manifest):
    """Put bytes with the manifest of an engine into the store; they are no engine to execute."""

    def make(**fields: object) -> Path:
        identity = replace(BUILT, **fields)
        part = store.prepare() / "part"
        part.write_bytes(b"plan")
        options = {OPTIONS_KEY: msgspec.to_builtins(identity)}
        write_artifact(
            part, store.place(identity), replace(manifest, kind="engine", options=options)
        )
        return store.place(identity)

    return make


def test_an_engine_that_fits_serves_and_nothing_is_to_build(store, add, model):
    path = add()
    choice = choose(store, model, "fp16", ORIN)
    assert choice.engine.path == path
    assert choice.reason is None


def test_an_empty_store_says_so(store, model):
    choice = choose(store, model, "fp16", ORIN)
    assert choice.engine is None
    assert choice.reason == f"{store.folder} has no FP16 engine of tiny"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"runtime_version": "8.6"}, "the runtime's version was 8.6 and is 10.3.0 here"),
        ({"gpu": "Thor", "compute_capability": "11.0"}, "the GPU was Thor and is Orin here"),
        ({"platform": "linux-mips"}, "the platform was linux-mips"),
    ],
)
def test_a_foreign_engine_does_not_serve_and_is_explained(store, add, model, fields, words):
    add(**fields)
    choice = choose(store, model, "fp16", ORIN)
    assert choice.engine is None
    assert choice.reason.startswith("the engine here does not fit: ")
    assert words in choice.reason


@pytest.mark.parametrize("fields", [{"onnx_sha256": "b" * 64}, {"precision": "int8"}])
def test_an_engine_of_another_model_or_precision_is_not_looked_at(store, add, model, fields):
    add(**fields)
    assert choose(store, model, "fp16", ORIN).reason.endswith("has no FP16 engine of tiny")


@pytest.mark.parametrize(("field", "value"), [("l4t", "35.0"), ("cuda", "12.2")])
def test_an_engine_from_before_an_update_serves_and_is_to_build_anew(
    store, add, model, field, value
):
    old = add(**{field: value})
    choice = choose(store, model, "fp16", ORIN)
    assert choice.engine.path == old
    assert f"was {value} and is" in choice.reason
    # and once the new one is there, nothing is to do any more
    new = add()
    choice = choose(store, model, "fp16", ORIN)
    assert choice.engine.path == new
    assert choice.reason is None


def test_of_fitting_engines_the_newest_serves(store, add, model):
    paths = [add(), add(flags=("workspace=64MiB",)), add(flags=("workspace=32MiB",))]
    for number, path in enumerate(paths):
        os.utime(path, (1000 - number, 1000 - number))
    assert choose(store, model, "fp16", ORIN).engine.path == paths[0]


def test_a_changed_engine_never_serves(store, add, model):
    add().write_bytes(b"rubbish")
    choice = choose(store, model, "fp16", ORIN)
    assert choice.engine is None
    assert "an engine is code" in choice.reason


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        ({}, "fp16"), ({"precision": "fp16"}, "fp16"), ({"precision": "int8"}, "int8"),
        ({"precision": "int8 and fp16"}, "int8"), ({"quantization": {}}, "int8"),
    ],
)  # fmt: skip
def test_the_engine_of_an_int8_model_is_int8(manifest, options, precision):
    assert engine_precision(replace(manifest, options=options)) == precision


def test_what_is_lacking_is_one_line(capsys):
    if find_spec("tensorrt") or (find_spec("tensorrt_rtx") and query_gpu() is not None):
        pytest.skip("nothing is lacking here")
    assert main(["run", "street-edge-n", "test:bars", "--rebuild", "auto", "--quiet"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("hyperseg: error: --rebuild needs ")
    assert "without --rebuild the model runs on ONNX Runtime" in line


def test_an_engine_file_is_not_rebuilt(tmp_path, manifest):
    described = replace(manifest, kind="engine")
    with (
        pytest.raises(OptionError, match="needs the ONNX model"),
        serve(tmp_path / "a.engine", described, RunOptions(rebuild="auto"), print),
    ):
        pass


def test_never_refuses_and_names_the_command(tmp_path, make_model, store):
    path = make_model()
    options = RunOptions(rebuild="never", store=store.folder)
    with (
        pytest.raises(BackendError, match=r"no engine of tiny\.onnx loads here: .* has no FP16.*"
                      r"`hyperseg build .*tiny\.onnx --precision fp16 --runtime tensorrt --store"),
        serve(path, read_manifest(path), options, print, ORIN),
    ):  # fmt: skip
        pass
    assert not store.folder.exists()


# --- real builds from here on


def rtx() -> Machine:
    module = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: [rtx]")
    pytest.importorskip("onnx", reason="the builder reads models with onnx")
    return Machine("tensorrt_rtx", str(module.__version__), CARD)


def wait_for(told: list[str], word: str) -> str:
    """The line with that word, once it is said."""
    give_up = time.monotonic() + WAIT_S
    while time.monotonic() < give_up:
        if found := [line for line in told if word in line]:
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"{word!r} was never said: {told}")


def test_onnxruntime_serves_while_an_engine_is_built_and_the_next_start_finds_it(store):
    machine, told = rtx(), []
    path = resolve_model("street-edge-n")
    manifest = read_manifest(path)
    options = RunOptions(rebuild="auto", store=store.folder, threads=1)

    with serve(path, manifest, options, told.append, machine) as served:
        assert "has no FP16 engine of" in told[0]
        assert "onnxruntime" in told[0]
        assert served.manifest == manifest
        mask = served.backend.fetches["mask"]
        mask[...] = 255
        served.backend.infer(EngineStamps())
        assert mask.max() < len(manifest.labels.names)
        end = wait_for(told, "the engine is built")

    assert end.endswith("the next start runs on it")
    choice = choose(store, manifest, "fp16", machine)
    assert choice.reason is None
    assert choice.engine.identity.targets
    # and the next start opens that engine, as far as a machine without GPU can
    if query_gpu() is None:
        with (
            pytest.raises(DependencyError),
            serve(path, manifest, options, told.append, machine),
        ):
            pass
        assert len(told) == 2


def test_a_card_that_the_built_engine_does_not_serve_is_told_so(store):
    machine, told = replace(rtx(), gpu=replace(CARD, compute_capability="7.5")), []
    path = resolve_model("street-edge-n")
    options = RunOptions(rebuild="auto", store=store.folder, threads=1)
    with serve(path, read_manifest(path), options, told.append, machine):
        end = wait_for(told, "the engine is built")
    assert "built for compute capability 8.0, 8.6" in end
    assert "the GPU here has 7.5" in end


def test_a_build_that_fails_is_told_and_the_run_goes_on(store, tmp_path):
    machine, told = rtx(), []
    source = resolve_model("street-edge-n")
    path = tmp_path / "m.onnx"
    part = tmp_path / "part"
    part.write_bytes(source.read_bytes())
    manifest = write_artifact(part, path, read_manifest(source))
    (tmp_path / "file").write_text("")
    options = RunOptions(rebuild="auto", store=tmp_path / "file" / "store", threads=1)
    with serve(path, manifest, options, told.append, machine) as served:
        assert wait_for(told, "was not built").startswith("the engine was not built: cannot make")
        served.backend.infer(EngineStamps())


def build(store: EngineStore, told: list[str]) -> BackgroundBuild:
    arguments = ["street-edge-n", "--runtime", "tensorrt_rtx", "--store", str(store.folder)]
    return BackgroundBuild(arguments, told.append, lambda: "good")


def test_a_run_that_ends_early_leaves_neither_process_nor_engine(store):
    rtx()
    told: list[str] = []
    with build(store, told) as running:
        assert os.getpriority(os.PRIO_PROCESS, running.process.pid) >= NICENESS
        assert running.process.poll() is None
    assert running.process.returncode is not None
    (line,) = told
    assert line.startswith("the run ended before its engine was built")
    assert "`hyperseg build street-edge-n --runtime tensorrt_rtx --store" in line
    assert not list(store.folder.glob("*.engine"))


def test_a_killed_background_build_is_told(store):
    rtx()
    told: list[str] = []
    with build(store, told) as running:
        os.kill(running.process.pid, signal.SIGKILL)
        assert "was not built: its builder ended with exit code -9" in wait_for(told, "not built")
    assert len(told) == 1


@pytest.mark.gpu
def test_an_engine_that_does_not_load_is_built_anew(store, tmp_path):
    """Whole and of the right identity, but not an engine: TensorRT itself refuses it."""
    trt = pytest.importorskip("tensorrt", reason="TensorRT is not installed")
    gpu = query_gpu()
    path = resolve_model("street-edge-n")
    manifest = read_manifest(path)
    identity = replace(
        BUILT, onnx_sha256=manifest.sha256, runtime_version=str(trt.__version__), gpu=gpu.name,
        compute_capability=gpu.compute_capability, cuda=gpu.cuda, l4t=None,
    )  # fmt: skip
    part = store.prepare() / "part"
    part.write_bytes(b"rubbish")
    options = {OPTIONS_KEY: msgspec.to_builtins(identity)}
    described = replace(manifest, kind="engine", options=options)
    write_artifact(part, store.place(identity), described)
    told: list[str] = []
    machine = Machine("tensorrt", str(trt.__version__), gpu)
    with ExitStack() as stack:
        serving = serve(
            path, manifest, RunOptions(rebuild="auto", store=store.folder), told.append, machine
        )
        served = stack.enter_context(serving)
        assert served.manifest == manifest
        assert "cannot load" in told[0]
