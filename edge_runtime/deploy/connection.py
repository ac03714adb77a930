"""A device over OpenSSH: one connection, authenticated once, shared by all that follows.

Whether a host is the one it says it is decides OpenSSH by the user's own configuration and
``known_hosts``; no option here weakens that.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.deploy.scratch import scratch
from edge_runtime.errors import DependencyError, DeployError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

UNREACHED = 255
"""Exit code of ssh itself."""
NOT_FOUND = 127
CONNECT_S = 15
SETTLE_S = 10
"""How long the shared connection outlives a command."""


@dataclass(frozen=True)
class Target:
    """Where and how a device is reached.

    Raises:
        OptionError: a host that OpenSSH would take for an option, or no host.
    """

    host: str
    """``[user@]host``, or a name of the user's ``~/.ssh/config``."""
    config: Path | None = None
    """Configuration file for ssh instead of the user's."""
    program: str = "hyperseg"
    """The command on the device; a non-interactive shell may know only its whole path."""
    limit_kbps: int | None = None
    """Most that a transfer takes of the link, kB/s; None sets no limit."""

    def __post_init__(self) -> None:
        if not self.host or self.host.startswith("-") or any(c.isspace() for c in self.host):
            raise OptionError(f"device {self.host!r}: expected [user@]host")
        if self.limit_kbps is not None and self.limit_kbps < 1:
            raise OptionError(f"limit {self.limit_kbps} kB/s: expected 1 at least")


class Connection:
    """An open connection.

    Args:
        target: the device.
        control: socket by which commands share it.
    """

    def __init__(self, target: Target, control: Path) -> None:
        self.target = target
        self._options = [
            *(["-F", str(target.config)] if target.config is not None else []),
            "-o", f"ControlPath={control}", "-o", f"ConnectTimeout={CONNECT_S}",
            "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4",
        ]  # fmt: skip

    def open(self) -> None:
        """Authenticate; ssh asks for passwords at the terminal.

        Raises:
            DeployError: the device is not reached, not the one that is known, or refuses us.
        """
        # The process that stays in the background would hold a pipe open: errors go to a file.
        with tempfile.TemporaryFile("w+", errors="replace") as errors:
            done = subprocess.run(
                ["ssh", *self._options, "-o", "ControlMaster=yes",
                 "-o", f"ControlPersist={SETTLE_S}", "-N", "-f", "--", self.target.host],
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, check=False,
            )  # fmt: skip
            errors.seek(0)
            lines = errors.read().strip().splitlines()
        if done.returncode != 0:
            raise DeployError(self._reason(UNREACHED, lines))

    def hyperseg(self, *words: str, told: Callable[[str], None] | None = None) -> str:
        """Run ``hyperseg`` on the device.

        Args:
            words: its arguments, taken literally.
            told: takes what it says meanwhile, line by line.

        Returns:
            What it printed.

        Raises:
            DeployError: the device is not reached, has no hyperseg, or that failed.
        """
        command = shlex.join([self.target.program, *words])
        # A pipe that nobody empties meanwhile could stop the device.
        with tempfile.TemporaryFile("w+", errors="replace") as printed:
            process = subprocess.Popen(
                ["ssh", *self._options, "--", self.target.host, command],
                stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.PIPE,
                text=True, errors="replace",
            )  # fmt: skip
            with process:
                assert process.stderr is not None
                lines = []
                for line in process.stderr:
                    lines.append(line.rstrip())
                    if told is not None and not line.startswith(("hyperseg: error:", "ssh:")):
                        told(line.rstrip("\n"))
            printed.seek(0)
            answer = printed.read()
        if process.returncode != 0:
            raise DeployError(self._reason(process.returncode, [line for line in lines if line]))
        return answer

    def _reason(self, code: int, lines: list[str]) -> str:
        host, last = self.target.host, lines[-1] if lines else f"exit code {code}"
        if code == UNREACHED:
            return f"cannot reach {host}: {last}"
        if code == NOT_FOUND:
            return (
                f"{host} has no command {self.target.program!r}; install hyperseg-edge there, or "
                "name its path: --hyperseg /opt/hyperseg/venv/bin/hyperseg"
            )
        return f"{host}: {last.removeprefix('hyperseg: error: ')}"

    def send(self, folder: Path, names: Sequence[str], target: str) -> str:
        """Send files; each appears at its place only when it is complete.

        Args:
            folder: where they lie here.
            names: relative to it.
            target: absolute folder on the device.

        Returns:
            ``rsync`` or ``sftp``: what sent them.

        Raises:
            DeployError: the transfer broke off; what has arrived stays for the next attempt.
        """
        if shutil.which("rsync") and self._has_rsync():
            shell = shlex.join(["ssh", *self._options])
            command = ["rsync", "--recursive", "--protect-args", "--files-from=-", "--rsh", shell]
            if self.target.limit_kbps is not None:
                command.append(f"--bwlimit={self.target.limit_kbps}")
            place = f"{self._copy_host()}:{target}/"
            self._transfer([*command, "--", f"{folder}/", place], "\n".join(names) + "\n")
            return "rsync"
        quoted = [(_sftp(str(folder / name)), _sftp(f"{target}/{name}")) for name in names]
        batch = "".join(
            f'put {here} {there[:-1]}.tmp"\nrename {there[:-1]}.tmp" {there}\n'
            for here, there in quoted
        )
        limit = self.target.limit_kbps
        options = [*self._options, *([] if limit is None else ["-l", str(limit * 8)])]
        self._transfer(["sftp", *options, "-q", "-b", "-", "--", self._copy_host()], batch)
        return "sftp"

    def _has_rsync(self) -> bool:
        done = subprocess.run(
            ["ssh", *self._options, "--", self.target.host, "command -v rsync"],
            capture_output=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        return done.returncode == 0

    def _copy_host(self) -> str:
        """Colons of an address would begin a path."""
        user, at, host = self.target.host.rpartition("@")
        return f"{user}{at}[{host}]" if ":" in host else self.target.host

    def _transfer(self, command: list[str], given: str) -> None:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, errors="replace", check=False
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise DeployError(
                f"the transfer to {self.target.host} broke off ({lines[0]}); the same command "
                "goes on where it stopped"
            )

    def close(self) -> None:
        """End the shared connection."""
        subprocess.run(
            ["ssh", *self._options, "-O", "exit", "--", self.target.host],
            capture_output=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip


@contextmanager
def connect(target: Target) -> Iterator[Connection]:
    """Connect to a device.

    Raises:
        DeployError: see `Connection.open`.
        DependencyError: no OpenSSH client here.
        OptionError: no such configuration file.
    """
    for tool in ("ssh", "sftp"):
        if shutil.which(tool) is None:
            raise DependencyError(f"{tool} is missing: apt-get install openssh-client")
    if target.config is not None and not target.config.is_file():
        raise OptionError(f"no ssh configuration {target.config}")
    with scratch("hs", Path("/tmp")) as folder:  # sockets: short names
        connection = Connection(target, folder / "c")
        connection.open()
        try:
            yield connection
        finally:
            connection.close()


def _sftp(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
