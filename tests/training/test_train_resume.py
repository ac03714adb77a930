"""An interrupted run ends with the same bits as one that was left alone."""

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

import pytest
import torch
from safetensors.torch import load_file

from edge_runtime.errors import ArtifactError, OptionError
from training.state import check_same_run, load_state

TOY = Path(__file__).with_name("toy.py")


class CrashError(Exception):
    """Stands for whatever ends a process without warning."""


def at_step(number, act):
    def report(line):
        if line.split()[:2] == ["step", f"{number}/8"]:
            act()

    return report


def crash():
    raise CrashError


def assert_same_run(one, other):
    """Weights, averages, optimiser, kept checkpoints and log are bit-equal."""
    first, second = load_state(one), load_state(other)
    assert (first.step, first.best_miou, first.best_step) == (
        second.step,
        second.best_miou,
        second.best_step,
    )
    for name in ("net", "averaged"):
        a, b = getattr(first, name), getattr(second, name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), name
    for index, moments in first.optimizer["state"].items():
        for key, value in moments.items():
            assert torch.equal(value, second.optimizer["state"][index][key])
    for name in ("checkpoint.safetensors", "last.safetensors"):
        a, b = load_file(one / name), load_file(other / name)
        assert all(torch.equal(a[key], b[key]) for key in a), name
    assert losses(one) == losses(other)


def losses(folder):
    lines = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [(record["step"], record["loss"]) for record in lines if record["kind"] == "train"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("step", [1, 4, 5, 7])
def test_resume_is_exact(toy, tmp_path, step, precision):
    # given: a run of 8 steps, and one that dies at `step`; states were saved at 0, 2, 3, 4, 6
    toy.run(tmp_path / "whole", precision=precision)
    with pytest.raises(CrashError):
        toy.run(tmp_path / "parts", precision=precision, report=at_step(step, crash))
    assert load_state(tmp_path / "parts").step < 8

    # when
    outcome = toy.run(tmp_path / "parts", precision=precision, resume=True, workers=0)

    # then
    assert outcome.step == 8
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_best_checkpoint_survives_the_interruption(toy, tmp_path):
    # given: a learning rate that ruins the network, so that the best step is an early one
    ruinous = {"lr": 20.0, "clip": 1e9, "ema": 0.0, "validate_every": 1}
    best_step = toy.run(tmp_path / "whole", **ruinous).best_step
    assert best_step < 7
    with pytest.raises(CrashError):
        toy.run(tmp_path / "parts", report=at_step(8, crash), **ruinous)

    toy.run(tmp_path / "parts", resume=True, **ruinous)

    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_sigterm_saves_where_it_stops(toy, tmp_path):
    toy.run(tmp_path / "whole")

    outcome = toy.run(
        tmp_path / "parts", report=at_step(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    )

    assert (outcome.stopped, outcome.step) == ("terminated", 5)
    assert load_state(tmp_path / "parts").step == 5
    toy.run(tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_time_limit_ends_cleanly_with_usable_weights(toy, tmp_path):
    toy.run(tmp_path / "whole")

    outcome = toy.run(tmp_path / "parts", minutes=1e-9)

    assert outcome.stopped == "time limit"
    assert outcome.step < 8
    assert (tmp_path / "parts" / "checkpoint.safetensors").exists()
    toy.run(tmp_path / "parts", resume=True, minutes=100)
    whole, parts = (load_state(tmp_path / name).net for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def program(folder, *arguments):
    command = [sys.executable, str(TOY), str(folder), *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def kill_after(process, lines):
    """Kill somewhere in the step that follows the given number of lines."""
    for number, _ in enumerate(process.stdout, 1):
        if number == lines:
            time.sleep(random.random() * 0.03)
            break
    process.kill()
    process.wait(120)


@pytest.mark.slow
def test_kill_at_a_random_step_loses_nothing(tmp_path):
    # given: a run of 40 steps, and one that is killed twice
    with program(tmp_path / "whole") as whole:
        assert whole.wait(120) == 0
    for arguments in ((), ("--resume",)):
        with program(tmp_path / "parts", *arguments) as process:
            kill_after(process, random.randint(2, 15))
        assert process.returncode == -signal.SIGKILL
    assert load_state(tmp_path / "parts").step < 40

    # when
    with program(tmp_path / "parts", "--resume") as last:
        assert last.wait(120) == 0

    # then
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.slow
def test_kill_while_saving_loses_nothing(toy, tmp_path):
    # given: a run that does little but save, in full view of the killer
    busy = {"steps": 150, "save_every": 50, "validate_every": 70}
    toy.run(tmp_path / "whole", **busy)
    place = tmp_path / "parts"
    with program(place, "steps=150", "validate_every=70", "save_every=1", "--quick") as process:
        while process.poll() is None and not (place / "state.previous.pt").exists():
            time.sleep(0.001)
        while process.poll() is None and not any(place.glob(".state.pt.*.part")):
            pass
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert load_state(place).step < 150

    # when
    toy.run(place, resume=True, workers=0, **busy)

    # then
    assert_same_run(tmp_path / "whole", place)
    assert not list(place.glob(".*"))


def test_other_options_are_refused_by_name(toy, tmp_path):
    toy.run(tmp_path)

    with pytest.raises(OptionError, match=r"cannot resume: lr was 0.02, now 0.01; give"):
        toy.run(tmp_path, resume=True, lr=0.01)


def test_missing_state_is_said(toy, tmp_path):
    with pytest.raises(ArtifactError, match=r"has no state.pt to resume; start it without"):
        toy.run(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"PK\x03\x04 rubbish", "cannot be read")],
)
def test_damaged_state_is_said(toy, tmp_path, content, message):
    (tmp_path / "state.pt").write_bytes(content)

    with pytest.raises(ArtifactError, match=message):
        toy.run(tmp_path, resume=True)


def test_state_of_another_version_is_refused(toy, tmp_path):
    torch.save({"format_version": 99}, tmp_path / "state.pt")

    with pytest.raises(ArtifactError, match="format version 99; this version reads 1"):
        toy.run(tmp_path, resume=True)


def test_a_state_with_more_in_it_than_this_version_knows_is_refused(toy, tmp_path):
    toy.run(tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)  # noqa: TID251 (just written)
    for name in ("state.pt", "state.previous.pt"):
        torch.save({**state, "warp": 1}, tmp_path / name)

    with pytest.raises(ArtifactError, match=r"written by another version .*'warp'; continue the"):
        toy.run(tmp_path, resume=True)


def test_damaged_state_gives_way_to_the_one_before(toy, tmp_path):
    # given: a run of 8 steps whose last state rots
    toy.run(tmp_path / "whole")
    toy.run(tmp_path / "parts")
    path = tmp_path / "parts" / "state.pt"
    path.write_bytes(path.read_bytes()[:-1000])
    lines = []

    # when
    toy.run(tmp_path / "parts", resume=True, report=lines.append)

    # then
    assert "cannot be read" in lines[0]
    assert lines[0].endswith("taking the state before it, of step 6")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_state_of_an_earlier_version_resumes_exactly(toy, tmp_path):
    # given: a state as it was before options and parts were added
    toy.run(tmp_path / "whole")
    toy.run(tmp_path / "parts", minutes=1e-9)
    path = tmp_path / "parts" / "state.pt"
    values = torch.load(path, weights_only=True)  # noqa: TID251 (edited below)
    for name in ("scaler", "auxiliary"):
        del values[name]
    for name in ADDED:
        del values["options"][name]
    for name in ("scale_law", "scale_probability", "rotate", "hue", "rare_crops", "class_mix"):
        del values["options"]["augment"][name]
    torch.save(values, path)

    # when
    toy.run(tmp_path / "parts", resume=True)

    # then
    whole, parts = (load_state(tmp_path / name).net for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


ADDED = (
    "train_split", "skip_unreadable", "accumulate", "optimizer", "betas", "lr_hold",
    "label_smoothing", "aux", "teacher", "distill", "distill_weight", "distill_temperature",
    "lovasz",
)  # fmt: skip


def test_state_of_a_later_version_is_refused_by_the_option_it_names(toy, tmp_path):
    toy.run(tmp_path, steps=1)
    state = load_state(tmp_path)

    with pytest.raises(OptionError, match="has no training option warp"):
        check_same_run(replace(state, options={**state.options, "warp": 1}), state.options)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [4000, 12000])
def test_full_disk_is_said_and_leaves_what_was_there(toy, tmp_path, limit):
    # given: a run of some steps, whose process then may write no more than so many bytes a file
    toy.run(tmp_path, minutes=1e-9, save_every=1)
    before = {name: (tmp_path / name).read_bytes() for name in KEPT}
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[1]); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        "import toy; sys.exit(toy.program(sys.argv[2], '--resume', 'steps=8', 'save_every=1', "
        "'validate_every=3'))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(TOY.parent), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )

    # then
    assert ended.returncode == 2, ended.stderr
    assert "cannot write" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert {name: (tmp_path / name).read_bytes() for name in KEPT} == before
    assert not list(tmp_path.glob(".state*"))


KEPT = ("state.pt", "checkpoint.safetensors")


def test_folder_that_vanishes_is_said_and_its_state_stays_good(toy, tmp_path):
    # given: a drive that is unplugged in the middle of a run
    here, away = tmp_path / "run", tmp_path / "away"

    # when
    with pytest.raises(OptionError, match=r"cannot write .*"):
        toy.run(here, report=at_step(5, lambda: here.rename(away)))

    # then
    assert load_state(away).step == 4
    toy.run(away, resume=True)
    assert load_state(away).step == 8


def test_folder_that_is_not_writable_is_said(toy, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    toy.run(tmp_path, minutes=1e-9)
    before = (tmp_path / "state.pt").read_bytes()
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OptionError, match="cannot write"):
            toy.run(tmp_path, resume=True)
    finally:
        tmp_path.chmod(0o700)
    assert (tmp_path / "state.pt").read_bytes() == before


def test_log_drops_what_was_lost_and_lines_cut_short(toy, tmp_path):
    with pytest.raises(CrashError):
        toy.run(tmp_path, report=at_step(6, crash), validate_every=100, save_every=4)
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"kind": "train", "st')

    toy.run(tmp_path, resume=True, validate_every=100, save_every=4)

    assert [step for step, _ in losses(tmp_path)] == list(range(1, 9))


def test_a_run_of_what_its_preset_was_before_is_refused_in_one_line(toy, tmp_path):
    toy.run(tmp_path, steps=2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(ArtifactError, match="trains another network than toy is now"):
        toy.run(tmp_path, resume=True, net=toy.SmoothNet, steps=2)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
