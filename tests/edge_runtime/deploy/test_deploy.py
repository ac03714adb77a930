"""The whole way, to a real sshd on loopback: sent, killed, resumed, switched, refused, and back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from edge_runtime.cli import main
from edge_runtime.deploy.connection import Target
from edge_runtime.errors import OptionError
from edge_runtime.zoo import resolve_model
from tests.edge_runtime.deploy import sshd

SOURCE = resolve_model("street-edge-n")


@pytest.fixture
def device(tmp_path, repository):
    """(arguments that reach the device, its folder of releases)."""
    sshd.require_sshd()
    program = sshd.write_program(tmp_path, repository)
    into = tmp_path / "into"
    with sshd.running(tmp_path) as config:
        yield ["--ssh-config", str(config), "--hyperseg", str(program), "--into", str(into)], into


def changed_model(folder: Path) -> Path:
    """The shipped model under another description."""
    copy = folder / "model" / SOURCE.name
    copy.parent.mkdir()
    shutil.copy(SOURCE, copy)
    given = json.loads(SOURCE.with_name(f"{SOURCE.name}.json").read_text())
    copy.with_name(f"{copy.name}.json").write_text(json.dumps({**given, "notes": "changed"}))
    return copy


def current(into: Path) -> str:
    """Key of the release that is used."""
    return (into / "current").readlink().name


def kill_while_sending(arguments: list[str], incoming: Path, temporary: Path) -> None:
    """Start a slow deployment and kill all of it once a part has arrived."""
    temporary.mkdir()
    command = [sys.executable, "-m", "edge_runtime.cli", "deploy", *arguments, "--limit", "1000"]
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        for _ in range(1200):
            if any(len(path.name) == 64 for path in incoming.glob("*/parts/*")):
                break
            if process.poll() is not None:
                raise AssertionError(f"it ended by itself: {process.stderr.read()!r}")
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def without_rsync(tmp_path, monkeypatch):
    """Programs as on a machine that lacks it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("ssh", "sftp", "ssh-keygen"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tools))
        yield patch


@pytest.mark.slow
def test_deploy_change_kill_resume_refuse_and_roll_back(device, tmp_path, capsys, without_rsync):
    arguments, into = device
    report = tmp_path / "report.json"

    # a first release by sftp, with its report brought back
    code = main(["deploy", "device", "street-edge-n", *arguments, "--report", str(report)])
    told = capsys.readouterr().err
    assert code == 0, told
    assert ", by sftp" in told
    first = json.loads(report.read_text())
    assert first["proof"]["passed"]
    assert (first["previous"], first["signed"]) == (None, False)
    assert current(into) == first["key"]

    # a changed model, killed while it is sent: what runs goes on
    without_rsync.undo()
    model = changed_model(tmp_path)
    aside = tmp_path / "aside"
    kill_while_sending(["device", str(model), *arguments], into / "incoming", aside)
    assert list(aside.glob("hyperseg-deploy-*"))
    without_rsync.setenv("TMPDIR", str(aside))
    without_rsync.setattr(tempfile, "tempdir", None)
    assert current(into) == first["key"]
    assert list((into / "incoming").glob("*/parts/*"))

    # the same again, signed for a device that has keys now, goes on where it stopped
    ours = sshd.make_key(tmp_path / "ours")
    trusted = tmp_path / "device-home/hyperseg/trusted_keys"
    trusted.parent.mkdir(exist_ok=True)
    shutil.copy(ours.with_suffix(".pub"), trusted)
    signed = [*arguments, "--key", str(ours), "--report", str(report)]
    assert main(["deploy", "device", str(model), *signed]) == 0
    assert " were there already" in capsys.readouterr().err
    second = json.loads(report.read_text())
    assert (second["previous"], second["signed"]) == (first["key"], True)
    assert current(into) == second["key"] != first["key"]
    assert not list(aside.glob("hyperseg-deploy-*"))
    assert list((into / "incoming").iterdir()) == []

    # without a signature nothing is taken, and nothing is left
    assert main(["deploy", "device", "street-edge-n", *arguments]) == 2
    err = capsys.readouterr().err.splitlines()
    assert err[-1].startswith("hyperseg: error: device: the bundle is not signed")
    assert list((into / "incoming").iterdir()) == []
    assert current(into) == second["key"]

    # and back
    assert main(["deploy", "device", "--rollback", *arguments]) == 0
    assert f"back from {second['key']} to {first['key']}" in capsys.readouterr().out
    assert current(into) == first["key"]


def test_a_host_that_is_not_the_known_one_is_not_talked_to(device, tmp_path, capsys):
    arguments, into = device
    other = sshd.make_key(tmp_path / "other").with_suffix(".pub").read_text()
    known = tmp_path / "known_hosts"
    known.write_text(f"{known.read_text().split()[0]} {other}")

    assert main(["deploy", "device", "--rollback", *arguments]) == 2

    err = capsys.readouterr().err
    assert err.startswith("hyperseg: error: cannot reach device: ")
    assert "Host key verification failed" in err
    assert err.count("\n") == 1
    assert not into.exists()


def test_a_device_without_hyperseg_is_told_so(device, capsys):
    arguments, _ = device
    arguments[3] = "/opt/no/hyperseg"
    assert main(["deploy", "device", "--rollback", *arguments]) == 2
    assert "has no command '/opt/no/hyperseg'; install hyperseg-edge" in capsys.readouterr().err


def test_an_account_for_a_user_s_service_is_refused_before_anything_is_sent(
    device, tmp_path, capsys
):
    # given a device whose user is not root
    arguments, into = device
    receipt = {"incoming": str(into), "version": "0", "manager": "user"}
    (tmp_path / "hyperseg").write_text(f"#!/bin/sh\ncat <<'.'\n{json.dumps(receipt)}\n.\n")
    service = ["--service", "front", "--as", "robot", "--", "csi://0"]

    assert main(["deploy", "device", "street-edge-n", *arguments, *service]) == 2

    err = capsys.readouterr().err
    assert "--as robot: device makes a user's own service" in err
    assert "deploy to root@HOST" in err
    assert not into.exists()


@pytest.mark.parametrize("host", ["-oProxyCommand=reboot", "", "a b"])
def test_hosts_that_ssh_would_take_for_options(host):
    with pytest.raises(OptionError, match=r"expected \[user@\]host"):
        Target(host)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["robot"], "which model?"),
        (["robot", "street-edge-n", "--rollback"], "takes no MODEL"),
        (["robot", "street-edge-n", "--", "test:"], "go with --service"),
        (["robot", "none.onnx"], "no model 'none.onnx'"),
        (["robot", "street-edge-n", "--limit", "0"], "expected 1 at least"),
        (["robot", "street-edge-n", "--ssh-config", "/none"], "no ssh configuration"),
        (["robot", "street-edge-n", "--service", "x", "--", "rtsp://me:geheim@h/x"], "***@h/x"),
        (
            ["robot", "street-edge-n", "--service", "x", "--secret", "A=b", "--", "test:"],
            "expected NAME=/absolute",
        ),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert main(["deploy", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "geheim" not in err
    assert err.count("\n") == 1
