"""A GPU that is shut to a user, and the versions that a recorded board's reports name."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from edge_runtime.doctor.examine import examine
from edge_runtime.doctor.inference_checks import check_inference
from edge_runtime.doctor.machine import Machine
from edge_runtime.engines.gpu import NoGpu
from tests.edge_runtime.doctor.machines import NOTHING, ORIN, REFUSED, jetson, only
from tests.edge_runtime.telemetry.boards import Writer

STRANGER = 12_345


@pytest.fixture
def board(tmp_path):
    """An Orin whose GPU refuses a user in no group; its nodes have the modes of JetPack 6."""
    machine = jetson(tmp_path, gpu=lambda: REFUSED, uid=STRANGER, groups=frozenset())
    write = Writer(machine.root)
    for name, mode in (("nvmap", 0o440), ("dri/renderD128", 0o660), ("dri/renderD129", 0o660)):
        write(f"dev/{name}", "")
        (machine.root / "dev" / name).chmod(mode)
    return machine


def gpu_of(machine):
    return only(check_inference(machine), "inference.gpu")


def test_a_user_outside_of_the_groups_is_told_to_join_them(board):
    found = gpu_of(board)
    assert found.status == "problem"
    assert "cuInit: 801 (CUDA_ERROR_NOT_SUPPORTED)" in found.seen
    for node in ("/dev/nvmap", "/dev/dri/renderD128", "/dev/dri/renderD129"):
        assert node in found.seen
    assert found.fix.startswith("sudo usermod -aG ")
    assert found.fix.count(",") == 0, "one group has all nodes here and is named once"
    assert "reinstall" not in found.fix


def test_each_group_is_named_once(board):
    if os.geteuid() != 0:
        pytest.skip("only root gives files to groups")
    os.chown(board.root / "dev/nvmap", 0, 44)
    for name in ("renderD128", "renderD129"):
        os.chown(board.root / "dev/dri" / name, 0, 54_321)
    assert gpu_of(board).fix.endswith(",54321 $USER  # then log in again")
    (board.root / ".dockerenv").touch()
    assert gpu_of(board).fix == ("docker run --runtime nvidia --group-add 44 --group-add 54321 ...")
    member = replace(board, groups=frozenset({44}))
    assert gpu_of(member).fix == "docker run --runtime nvidia --group-add 54321 ..."


@pytest.mark.parametrize("change", [{"uid": 0}, {"groups": True}])
def test_who_may_open_the_nodes_is_told_of_the_driver(board, change):
    if "groups" in change:
        change = {"groups": frozenset({(board.root / "dev/nvmap").stat().st_gid})}
    found = gpu_of(replace(board, **change))
    assert found.status == "problem"
    assert "cuInit: 801" in found.seen
    assert "reinstall nvidia-l4t-cuda" in found.fix


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (NOTHING, "not-applicable"),
        (NoGpu("cuInit: 100 (CUDA_ERROR_NO_DEVICE)", 100), "not-applicable"),
        (NoGpu("cuInit: 803 (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH)", 803), "warning"),
    ],
)
def test_a_pc_says_what_its_driver_answered(answer, status, tmp_path):
    found = gpu_of(Machine(root=tmp_path, gpu=lambda: answer))
    assert found.status == status
    assert answer.reason in found.seen


@pytest.mark.parametrize(
    ("board_name", "jetpack", "cuda"),
    [("orin-nano", "6.1 or 6.2", "12.6"), ("thor", "7.0", "13.0")],
)
def test_a_boards_report_names_jetpack_cuda_and_tensorrt(board_name, jetpack, cuda, tmp_path):
    device = examine(jetson(tmp_path, board_name)).device
    assert (device.jetpack, device.cuda, device.tensorrt) == (jetpack, cuda, "10.3.0")


def test_tensorrt_rtx_is_not_taken_for_tensorrt(tmp_path):
    machine = jetson(tmp_path, gpu=lambda: ORIN, package={"tensorrt_rtx": "1.2.0.54"}.get)
    assert machine.device.tensorrt == "RTX 1.2.0.54"
    assert replace(machine, package={}.get).device.tensorrt is None


def test_an_unknown_release_has_no_jetpack(tmp_path):
    machine = jetson(tmp_path)
    Writer(machine.root)("etc/nv_tegra_release", "# R99 (release), REVISION: 1.0, GCID: 1")
    assert machine.device.l4t == "99.1.0"
    assert machine.device.jetpack is None
