"""Temporary folders of killed processes go, and nobody else's."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.deploy.scratch import scratch, sweep

HOLDER = """
import sys, time
from pathlib import Path
from edge_runtime.deploy.scratch import scratch
with scratch("probe", Path(sys.argv[1])) as folder:
    print(folder, flush=True)
    time.sleep(60)
"""


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_a_folder_is_gone_with_its_block(tmp_path: Path) -> None:
    with scratch("probe", tmp_path) as folder:
        (folder / "a").touch()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    # given a process that works in its folder
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        # then others leave that alone while it runs
        sweep("probe", tmp_path)
        assert left.is_dir()
        # when it is killed
        process.send_signal(signal.SIGKILL)
    assert left.is_dir()
    # then the next one removes it
    with scratch("probe", tmp_path) as folder:
        assert [entry.name for entry in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    "name",
    ["probe", "probe-x-1", "probe-{pid}", "probe-{pid}-a.b", "other-{pid}-abc", "my-probe-{pid}-a"],
)
def test_other_names_are_left(tmp_path: Path, name: str) -> None:
    place = tmp_path / name.format(pid=dead_pid())
    place.mkdir()
    sweep("probe", tmp_path)
    assert place.is_dir()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    (target / "inner").mkdir(parents=True)
    (tmp_path / f"probe-{dead_pid()}-abc").symlink_to(target)
    sweep("probe", tmp_path)
    assert (target / "inner").is_dir()


def test_a_folder_that_is_locked_is_in_use_whatever_its_number_says(tmp_path: Path) -> None:
    # given a process of another container: it runs, under a number that is free here
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER.replace("with scratch", f"import os\nos.getpid = lambda: "
         f"{dead_pid()}\nwith scratch"), str(tmp_path)],
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        used = Path(process.stdout.readline().strip())
        sweep("probe", tmp_path)
        assert used.is_dir()
        process.kill()


def test_a_place_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    sweep("probe", tmp_path / "nowhere")
