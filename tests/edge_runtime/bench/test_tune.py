"""`hyperseg bench --tune`: what is tried, what is kept, and what is believed later."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.artifacts import read_manifest
from edge_runtime.backends.ort import OnnxRuntimeBackend, pinning
from edge_runtime.backends.settings import OrtSettings
from edge_runtime.bench import tune as tuning
from edge_runtime.bench.bench import Quiet
from edge_runtime.bench.measure import Measurement
from edge_runtime.bench.opened import Opened
from edge_runtime.bench.options import BenchOptions
from edge_runtime.bench.subject import Subject
from edge_runtime.bench.tune import candidates, thread_counts, tune
from edge_runtime.bench.tuned import Tuned, TuningStore, open_tuned, this_machine
from edge_runtime.cli import main
from edge_runtime.errors import OptionError
from edge_runtime.options import RunOptions
from edge_runtime.rig.engine import Network
from edge_runtime.serving import serve
from tests.edge_runtime.bench.models import write
from tests.scripted import SIZE, FakeClock, ScriptedBackend, scripted_manifest

pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytest.importorskip("onnxruntime", reason="scripts/setup runtime brings it")

DEFAULTS = OrtSettings()
ONE_THREAD = OrtSettings(1, block_base=2)


@pytest.fixture
def model(tmp_path):
    return write(tmp_path, "one")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """The user's cache is never touched, and holds nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/hyperseg/tuning"


def keep(model: Path, settings: OrtSettings = ONE_THREAD, **changes: object) -> Path:
    """Settings as `--tune` would keep them."""
    sha = read_manifest(model).sha256
    fields = {"model_sha256": sha, "machine": this_machine(), "settings": settings}
    tuned = Tuned(
        schema="hyperseg-edge.tuning/1", ratio=0.9, found_at="2026-01-01", **{**fields, **changes}
    )
    return TuningStore().keep(tuned).replace(TuningStore().place(sha, this_machine()))


# --- what is tried


@pytest.mark.parametrize(
    ("cores", "counts"),
    [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 5, 6]), (8, [1, 2, 4, 7, 8]), (12, [1, 2, 4, 8, 11, 12])],
)
def test_thread_counts_that_are_tried(cores, counts):
    assert thread_counts(cores) == counts


def test_one_thread_leaves_nothing_else_to_try():
    for stage in ("spinning", "pinned", "block base"):
        assert candidates(stage, OrtSettings(1), 8) == []
        assert candidates(stage, DEFAULTS, 1) == []


def test_stages_build_on_what_was_best():
    best = OrtSettings(4, "within-run")
    assert candidates("pinned", best, 8) == [OrtSettings(4, "within-run", pinned=True)]
    assert candidates("pinned", DEFAULTS, 8) == [OrtSettings(8, pinned=True)]
    assert candidates("block base", best, 8) == [OrtSettings(4, "within-run", block_base=4)]


@pytest.mark.parametrize(
    ("threads", "cores", "text"),
    [(3, [0, 2, 5, 7], "3;6"), (2, [0, 1], "2"), (3, [0, 1], ""), (1, [0, 1], "")],
)
def test_threads_are_pinned_to_usable_cores_and_the_first_is_left_to_the_caller(
    threads, cores, text
):
    assert pinning(threads, cores) == text


@pytest.mark.parametrize(
    "fields", [{"threads": 0}, {"block_base": 0}, {"pinned": True}, {"threads": 1, "pinned": True}]
)
def test_settings_that_cannot_work_are_refused(fields):
    with pytest.raises(OptionError, match="expected"):
        OrtSettings(**fields)


# --- what is kept


@pytest.fixture
def scripted(monkeypatch, model):
    """Tuning on a virtual clock and 4 cores: ``scripted(milliseconds of settings)``."""
    clock = FakeClock()
    rng = np.random.default_rng(0)

    def run(cost, masks=lambda settings: 0):
        def open_model(label, path, stack: ExitStack, opener, pictures):
            (settings,) = [cell.cell_contents for cell in opener.__closure__]
            noisy = [cost(settings) * float(rng.lognormal(0, 0.02)) for _ in range(5000)]
            backend = stack.enter_context(ScriptedBackend(clock, infer_ms=noisy))
            frames = [np.full((*SIZE, 3), 1, np.uint8)]
            network = Network(backend, scripted_manifest())
            mask = np.full(SIZE, masks(settings), np.uint8)
            return Opened(
                Subject(label, network, frames, clock), scripted_manifest(), path, 0.0, [mask]
            )

        monkeypatch.setattr(tuning, "open_model", open_model)
        monkeypatch.setattr(tuning, "usable_cores", lambda: 4)
        monkeypatch.setattr(tuning, "Measurement", partial(Measurement, clock=clock))
        return tune(BenchOptions((str(model),), duration_s=60.0), Quiet())

    return run


def test_the_best_of_all_stages_is_kept_and_found_again(scripted, model, cache):
    # given a machine that likes three threads that wait awake, and no pinning
    def cost(settings: OrtSettings) -> float:
        threads = {1: 30.0, 2: 20.0, 3: 12.0, 4: 16.0}[settings.threads or 4]
        spinning = 0.9 if settings.spinning == "within-run" else 1.0
        return threads * spinning * (1.1 if settings.pinned else 1.0)

    report = scripted(cost)

    assert report.settings == OrtSettings(3, "within-run")
    last = report.trials[-1]
    assert (last.stage, last.against) == ("confirm", DEFAULTS)
    assert last.ratio.median == pytest.approx(12 * 0.9 / 16, rel=0.02)
    assert [path.parent for path in [Path(report.file or "")]] == [cache]
    assert TuningStore().find(read_manifest(model).sha256, pytest.fail) == report.settings
    assert json.loads(report.to_json())["schema"] == "hyperseg-edge.tune/1"


def test_defaults_that_nothing_beats_are_left_and_old_settings_forgotten(scripted, model):
    old = keep(model)
    report = scripted(lambda settings: 10.0 + (settings != DEFAULTS))
    assert (report.settings, report.file) == (None, None)
    assert not old.exists()


def test_a_gain_of_one_percent_is_not_worth_settings(scripted):
    report = scripted(lambda settings: 9.9 if settings.threads == 2 else 10.0)
    assert report.settings is None


def test_settings_that_change_the_masks_are_not_kept_however_fast(scripted):
    report = scripted(
        lambda settings: 5.0 if settings.threads == 2 else 10.0,
        masks=lambda settings: int(settings.threads == 2),
    )
    assert report.settings is None
    assert [t.same_masks for t in report.trials if t.settings.threads == 2] == [False]


def test_tuning_a_real_model_gives_a_sound_account(model, capsys):
    assert (
        main(["bench", "--tune", str(model), "--duration", "0.6", "--frames", "1", "--json", "-"])
        == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == "one"
    assert all(trial["same_masks"] for trial in report["trials"])
    assert all(trial["ratio"]["rounds"] >= 10 for trial in report["trials"])
    assert (report["file"] is None) == (report["settings"] is None)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["{model}", "{model}"], "--tune takes one model; 2 were given"),
        (["{model}", "--threads", "1"], "finds the threads itself"),
        (["{model}", "--sustained", "1m"], "takes --duration alone"),
    ],
)
def test_options_that_tuning_cannot_take(model, arguments, line, capsys):
    filled = [text.format(model=model) for text in arguments]
    assert main(["bench", "--tune", *filled, "--quiet"]) == 2
    assert line in capsys.readouterr().err


# --- what is believed


def open_here(model: Path, threads: int | None = None) -> tuple[OnnxRuntimeBackend, list[str]]:
    told: list[str] = []
    backend = open_tuned(model, read_manifest(model), threads=threads, warn=told.append)
    assert isinstance(backend, OnnxRuntimeBackend)
    return backend, told


def test_a_model_that_was_never_tuned_runs_on_the_defaults(model):
    backend, told = open_here(model)
    assert (backend.settings, backend.tuned, told) == (DEFAULTS, False, [])


def test_kept_settings_are_used_and_said(model):
    keep(model)
    backend, told = open_here(model)
    assert (backend.settings, backend.tuned, told) == (ONE_THREAD, True, [])
    assert backend.name.endswith("(CPU; tuned: threads 1, block base 2)")


def test_threads_that_are_asked_for_win_over_kept_settings(model):
    keep(model)
    backend, _ = open_here(model, threads=2)
    assert (backend.settings, backend.tuned) == (OrtSettings(2), False)
    assert "tuned" not in backend.name


def test_a_run_uses_kept_settings(model):
    keep(model)
    with serve(model, read_manifest(model), RunOptions(), pytest.fail) as served:
        assert "tuned: threads 1" in served.backend.name


def test_bench_uses_kept_settings_unless_told_not_to(model, capsys):
    keep(model)
    found = []
    for arguments in ([], ["--untuned"], ["--threads", "1"]):
        quick = ["--iterations", "2", "--warmup", "1", "--json", "-", "--quiet"]
        assert main(["bench", str(model), *quick, *arguments]) == 0
        identity = json.loads(capsys.readouterr().out)["models"][0]["identity"]
        found.append((identity["threads"], identity["tuning"]))
    assert found == [(1, {"threads": "1", "block base": "2"}), (None, None), (1, None)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "truncated"),
        (b"\xff\x00", "invalid"),
        (b"[" * 10_000, ""),
        (b" " * 70_000, "longer than 65536 bytes"),
        (b"{}", "missing required field"),
    ],
)
def test_a_damaged_file_is_ignored_with_a_warning(model, content, reason):
    keep(model).write_bytes(content)
    backend, (told,) = open_here(model)
    assert backend.settings == DEFAULTS
    assert "is ignored" in told
    assert reason in told
    assert "\n" not in told


def test_settings_that_cannot_work_are_ignored_with_a_warning(model):
    path = keep(model)
    path.write_text(path.read_text().replace('"threads":1,', '"threads":100000,'))
    backend, (told,) = open_here(model)
    assert backend.settings == DEFAULTS
    assert "threads 100000: expected 1 to 1024" in told


def test_a_file_from_another_machine_or_model_is_ignored_with_a_warning(model):
    machine = replace(this_machine(), soc="Orin")
    for changes, reason in (
        ({"machine": machine}, "of another machine (soc 'Orin'"),
        ({"model_sha256": "0" * 64}, "of another model"),
    ):
        keep(model, **changes)
        backend, (told,) = open_here(model)
        assert backend.settings == DEFAULTS
        assert reason in told


def test_a_folder_in_place_of_the_file_is_no_failure(model):
    path = keep(model)
    path.unlink()
    path.mkdir()
    assert open_here(model)[0].settings == DEFAULTS
