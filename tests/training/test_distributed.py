"""Two processes train what one would; when one dies the other ends with one line."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from edge_runtime.errors import HypersegError, OptionError
from training.distributed import RankError, Ranks
from training.state import load_state

TOY = Path(__file__).with_name("toy.py")
PATIENCE_S = 120
"""Far more than anything here takes: a process that hangs is what it is for."""
pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**more: object) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
        **{name: str(value) for name, value in more.items()},
    }


def start(folder, *arguments, size=2):
    """The processes of one run, as torchrun would start them."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, str(TOY), str(folder), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(
                RANK=rank,
                LOCAL_RANK=rank,
                WORLD_SIZE=size,
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
            ),
        )
        for rank in range(size)
    ]


def finish(processes):
    """(exit code, stdout, stderr) of each; none may hang."""
    ended = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=PATIENCE_S)
            ended.append((process.returncode, out, err))
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return ended


def train_together(folder, *arguments):
    ended = finish(start(folder, *arguments))
    assert [code for code, _, _ in ended] == [0, 0], ended
    return ended


@pytest.mark.parametrize("loss", ["ce", "bootstrapped", "ohem"])
def test_two_processes_equal_one(toy, tmp_path, loss):
    # given: everything random in the data, a step in parts, a parameter nothing depends on
    options = {"loss": loss, "accumulate": 2, "rare_crops": 0.5}
    outcome = toy.run(tmp_path / "one", net=toy.SmoothNet, **options)

    # when
    arguments = ["steps=8", "save_every=2", "validate_every=3", f'loss="{loss}"', "accumulate=2"]
    train_together(tmp_path / "two", "--smooth", *arguments, "rare_crops=0.5")

    # then
    one, two = (load_state(tmp_path / name) for name in ("one", "two"))
    assert one.options == two.options
    for name, value in one.net.items():
        torch.testing.assert_close(two.net[name], value, rtol=1e-4, atol=1e-5)
    assert two.best_miou == pytest.approx(outcome.best_miou, abs=0.02)
    moved = load_file(tmp_path / "two" / "last.safetensors")
    assert not torch.equal(moved["head.weight"], toy_start(toy)["head.weight"])


def toy_start(toy):
    torch.manual_seed(0)
    return toy.SmoothNet().state_dict()


def test_torchrun_starts_it_and_one_process_speaks(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]

    ended = subprocess.run(
        [*command, str(TOY), str(tmp_path / "run"), "steps=4"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(),
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    steps = [line for line in ended.stdout.splitlines() if line.startswith("step ")]
    assert len(steps) == 4
    assert load_state(tmp_path / "run").step == 4


def test_resume_is_exact_with_two_processes(tmp_path):
    # given: dropout and batch statistics, which each process has of its own
    train_together(tmp_path / "whole", "steps=12")
    killed = start(tmp_path / "parts", "steps=12")
    for line in killed[0].stdout:
        if line.split()[1].startswith("7/"):
            break
    for process in killed:
        process.kill()
    for process in killed:
        process.communicate()
    assert load_state(tmp_path / "parts").step < 12

    # when
    train_together(tmp_path / "parts", "steps=12", "--resume")

    # then
    whole, parts = (load_state(tmp_path / name) for name in ("whole", "parts"))
    assert whole.rng.keys() == {"cpu", "cpu:1"}
    assert not torch.equal(whole.rng["cpu"], whole.rng["cpu:1"])
    for states in (
        (whole.net, parts.net),
        (whole.averaged, parts.averaged),
        (whole.rng, parts.rng),
    ):
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("victim", [0, 1])
def test_death_of_one_ends_the_other_with_one_line(tmp_path, victim):
    # given
    both = start(tmp_path, "steps=100000", "save_every=5")
    for line in both[0].stdout:
        if line.split()[1].startswith("10/"):
            break

    # when
    both[victim].send_signal(signal.SIGKILL)
    ended = finish(both)

    # then
    code, _, err = ended[1 - victim]
    assert ended[victim][0] == -signal.SIGKILL
    assert code == 2, ended
    message = [line for line in err.splitlines() if line.startswith("toy: error:")]
    assert len(message) == 1
    assert "lost the others" in message[0]
    assert "continue with --resume" in message[0]
    assert "Traceback" not in err
    assert load_state(tmp_path).step >= 5


def test_end_alone_loses_no_output_and_does_not_shut_the_interpreter_down():
    # given: an end whose shutdown would show, as gloo's threads show it now and then
    program = (
        "import atexit, os\n"
        "from training.distributed import RankError, end_alone\n"
        "atexit.register(os.abort)\n"
        "print('step 7', end='')\n"
        "end_alone(RankError('lost\\nthe others'), 'toy')\n"
    )

    # when
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(),
        check=False,
    )

    # then
    assert ended.returncode == 2
    assert ended.stdout == "step 7"
    assert ended.stderr == "toy: error: lost the others\n"


def test_end_alone_says_so_though_nobody_reads_the_rest():
    program = (
        "import atexit, os, sys\n"
        "from training.distributed import RankError, end_alone\n"
        "atexit.register(os.abort)\n"
        "print('step 7')\n"
        "end_alone(RankError('lost the others'), 'toy')\n"
    )
    reader, writer = os.pipe()
    os.close(reader)

    ended = subprocess.run(
        [sys.executable, "-c", program],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        env=environment(PYTHONUNBUFFERED=""),
        check=False,
    )
    os.close(writer)

    assert (ended.returncode, ended.stderr) == (2, "toy: error: lost the others\n")


def test_signal_to_one_stops_both_at_the_same_step(tmp_path):
    both = start(tmp_path, "steps=100000")
    for line in both[0].stdout:
        if line.split()[1].startswith("5/"):
            break

    both[1].send_signal(signal.SIGTERM)
    ended = finish(both)

    assert [code for code, _, _ in ended] == [0, 0], ended
    assert 5 <= load_state(tmp_path).step < 100000


def test_batch_that_does_not_divide_is_refused_by_both(tmp_path):
    ended = finish(start(tmp_path, "batch=3"))

    for code, _, err in ended:
        assert code == 2
        assert "a batch of 3 does not divide among 2 processes" in err
        assert "Traceback" not in err


def test_share_of_one_process_is_the_batch():
    assert Ranks().share(6, 2) == 6
    with pytest.raises(OptionError, match="multiple of 8"):
        Ranks(0, 4).share(12, 2)


def test_alone_nothing_is_exchanged():
    ranks = Ranks()
    tensor = torch.arange(3.0)

    assert ranks.sum(1.5, 2) == [1.5, 2]
    assert ranks.any(True)
    assert not ranks.any(False)
    assert ranks.gather("a") == ["a"]
    assert ranks.join(tensor) is tensor
    assert ranks.add_up(tensor) is tensor
    assert ranks.from_main(lambda: 7) == 7


def test_only_a_lost_connection_is_taken_for_one():
    ranks = Ranks(0, 2)

    with (
        pytest.raises(RankError, match=r"0 of 2 lost the others \(Read error: gone\): one"),
        ranks.guarded(),
    ):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Read error: gone. See logs.")
    with pytest.raises(RuntimeError, match="shapes"), ranks.guarded():
        raise RuntimeError("shapes do not match")
    assert issubclass(RankError, HypersegError)
