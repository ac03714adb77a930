"""A real sshd on loopback, as an unprivileged process would run it, with keys of its own."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SSHD = Path("/usr/sbin/sshd")


def require_sshd() -> None:
    if not SSHD.exists() or shutil.which("ssh") is None:
        pytest.skip("no sshd: apt-get install openssh-server")


def make_key(path: Path) -> Path:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True
    )
    return path


@contextmanager
def running(folder: Path) -> Iterator[Path]:
    """Start it; gives the client's configuration, in which the host is called ``device``."""
    host_key, user_key = make_key(folder / "host_key"), make_key(folder / "user_key")
    authorized = folder / "authorized_keys"
    authorized.write_text(user_key.with_suffix(".pub").read_text())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = folder / "sshd_config"
    server.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {host_key}\nPidFile none\n"
        f"AuthorizedKeysFile {authorized}\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    )
    public = host_key.with_suffix(".pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    client = folder / "ssh_config"
    client.write_text(
        f"Host device\nHostName 127.0.0.1\nPort {port}\nUser {getpass.getuser()}\n"
        f"IdentityFile {user_key}\nIdentitiesOnly yes\nIdentityAgent none\nBatchMode yes\n"
        f"UserKnownHostsFile {folder / 'known_hosts'}\nGlobalKnownHostsFile /dev/null\n"
        "StrictHostKeyChecking yes\n"
    )
    if Path("/run").stat().st_uid == 0 and getpass.getuser() == "root":
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd of root shuts its helpers in
    with (folder / "sshd.log").open("w") as log:
        process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(server)], stderr=log)
        try:
            _wait(port, process, folder)
            yield client
        finally:
            process.terminate()
            process.wait(10)


def _wait(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            pytest.skip(f"sshd does not run here: {(folder / 'sshd.log').read_text().strip()}")
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("sshd did not listen within 10 s")


def write_program(folder: Path, repository: Path) -> Path:
    """The device's ``hyperseg``: another process, with another home."""
    home = folder / "device-home"
    home.mkdir()
    script = folder / "hyperseg"
    script.write_text(
        f"#!/bin/sh\nexport HOME={home} XDG_CONFIG_HOME={home} XDG_DATA_HOME={home} "
        f"PYTHONPATH={repository} OMP_NUM_THREADS=1\n"
        f'exec {sys.executable} -m edge_runtime.cli "$@"\n'
    )
    script.chmod(0o755)
    return script
