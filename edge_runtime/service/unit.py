"""The systemd unit of a run: told when it is ready, watched, restarted, and shut in.

What a directive means is said by ``systemd.service(5)``, ``systemd.exec(5)`` and
``systemd.resource-control(5)``; comments in the unit say why it is as it is here.
"""

from __future__ import annotations

import grp
import pwd
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError
from edge_runtime.service.command import ROOT, program
from edge_runtime.service.places import STATUS_VARIABLE, unit_name
from edge_runtime.sinks.blackbox.spool import KEPT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge_runtime.service.command import Command
    from edge_runtime.service.places import Manager

NEW_ACCOUNT = "sudo useradd --system --shell /usr/sbin/nologin {}"
GROUPS = ("video", "render")
"""Own cameras and GPUs; those that exist are given to the service."""
DEVICES = ("char-video4linux", "char-media", "char-drm", "char-nvidia*", "char-nvhost*",
           "char-host1x*", "char-tegra*", "char-nvgpu*", "char-nvmap*", "char-nvsciipc*",
           "char-*.gpu", "char-*.ga10b", "char-*.gv11b", "char-????:??:??.?",
           "/dev/nvmap")  # fmt: skip
"""Cameras and GPUs by the names of ``/proc/devices``; those that are missing are passed over.

A Jetson's GPU driver goes by the name of its device there: ``17000000.gpu`` (Orin, JetPack 6 and
7), ``17000000.ga10b`` (Orin, 5), ``17000000.gv11b`` (Xavier), ``0000:01:00.0`` (Thor's, on PCI).
"""


@dataclass(frozen=True)
class UnitOptions:
    """How a run is kept as a service.

    Raises:
        OptionError: a value that cannot work.
    """

    manager: Manager = "system"
    account: str | None = None
    """User that it runs as; None takes one that exists only meanwhile (``DynamicUser=``), which
    has a ``/tmp`` of its own and cannot be given that of the machine."""
    watchdog_s: float = 30.0
    """A loop that hangs so long is killed and started again."""
    memory_max: str | None = None
    """Such as ``2G``; None sets no limit."""
    secrets: Mapping[str, Path] = field(default_factory=dict)
    """Files by the name that ``{secret:NAME}`` uses."""

    def __post_init__(self) -> None:
        if not 2 <= self.watchdog_s < float("inf"):
            raise OptionError(f"watchdog {self.watchdog_s:g} s: expected seconds, 2 at least")
        if self.account is not None and self.manager == "user":
            raise OptionError("a user's manager runs it as that user; leave the account away")
        for name, file in self.secrets.items():
            _check_secret(name, file)

    @property
    def has_passing_account(self) -> bool:
        """Whether systemd makes an account for it, which exists only while it runs."""
        return self.manager == "system" and self.account is None


def make_unit(name: str, command: Command, options: UnitOptions) -> str:
    """The text of the unit file.

    Raises:
        OptionError: the name cannot be one, a secret is not given, or an account is needed that
            exists before the service.
    """
    missing = sorted(command.secrets - set(options.secrets))
    if missing:
        raise OptionError(f"no secret {missing[0]!r}; give --secret {missing[0]}=FILE")
    if options.has_passing_account and (reason := command.shared_tmp) is not None:
        raise OptionError(
            f"{reason}, and the account that systemd makes for a service (DynamicUser=) has a /tmp "
            f"of its own: give --as USER, such as one made by `{NEW_ACCOUNT.format('hyperseg')}`"
        )
    sections = {
        "Unit": _unit(name, command, options.manager),
        "Service": _service(name, command, options),
        "Install": ["WantedBy=" + _target(options.manager)],
    }
    return (
        "\n\n".join("\n".join([f"[{title}]", *lines]) for title, lines in sections.items()) + "\n"
    )


def require_account(name: str | None) -> None:
    """Refuse an account that a service cannot run as.

    Raises:
        OptionError: this machine has none of that name.
    """
    if name is None or name.isdecimal():
        return
    try:
        pwd.getpwnam(name)
    except KeyError:
        command = NEW_ACCOUNT.format(shlex.quote(name))
        raise OptionError(f"no account {name!r} here; make it: {command}") from None


def require_folders(folders: Iterable[Path]) -> None:
    """Refuse outputs in folders that a service, which sees the file system read-only, cannot make.

    Raises:
        OptionError: naming the first that is not there.
    """
    for folder in folders:
        if not folder.is_dir():
            raise OptionError(
                f"no folder {folder}, where an output is to lie; make it, writable for the account "
                "of the service, or give an output a relative name: it then lies in the service's "
                "own folder"
            )


def quote(word: str) -> str:
    """A word of ExecStart= that systemd takes literally."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    word = word.replace("\n", "\\n").replace("\t", "\\t")
    is_plain = word and not set(word) & set(" '\";")
    return word if is_plain else f'"{word}"'


def _target(manager: Manager) -> str:
    return "multi-user.target" if manager == "system" else "default.target"


def _check_secret(name: str, file: Path) -> None:
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise OptionError(f"secret {name}: cannot read {file}: {error.strerror}") from error
    if mode & 0o077:
        raise OptionError(f"secret {name}: others may read {file}; chmod 600 {file}")


def _unit(name: str, command: Command, manager: Manager) -> list[str]:
    about = f"hyperseg {name}: {Path(command.model).name} on {', '.join(command.sources)}"
    order = ["Wants=network-online.target", "After=network-online.target nvargus-daemon.service"]
    return [
        "Description=" + " ".join(about.replace("%", "%%").split()),
        *(order if manager == "system" else []),
        "# After 5 failures within 60 s it stays down until somebody looks.",
        "StartLimitIntervalSec=60",
        "StartLimitBurst=5",
    ]


def _service(name: str, command: Command, options: UnitOptions) -> list[str]:
    start = program()
    lines = [
        "# Ready with the first published mask; the watchdog hears of a loop that goes round.",
        "Type=notify",
        "NotifyAccess=main",
        "ExecStart=" + " ".join(quote(word) for word in (*start, *command.words)),
        "# A new model file is proven aside and taken over without losing a frame.",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "TimeoutStartSec=120",
        f"WatchdogSec={options.watchdog_s:g}",
        "Restart=on-failure",
        "RestartSec=2",
        "# 2 is a mistake in the command, which no restart corrects.",
        "RestartPreventExitStatus=2",
        "# The run itself ends its helpers, and completes its files.",
        "KillMode=mixed",
        "TimeoutStopSec=60",
        *_folders(name, command, options),
    ]
    if start[1:]:
        lines.append(f"Environment={quote(f'PYTHONPATH={ROOT}')}")
    lines += [f"LoadCredential={key}:{file.absolute()}" for key, file in options.secrets.items()]
    if options.memory_max is not None:
        lines.append(f"MemoryMax={options.memory_max}")
    lines.append("NoNewPrivileges=yes")
    if options.manager == "system":
        lines += [*_account(options.account), *_hardening(command), *_devices()]
    return lines


def _folders(name: str, command: Command, options: UnitOptions) -> Iterator[str]:
    own = unit_name(name)
    yield "# Outputs without a folder lie in the state folder, engines in the cache folder."
    yield f"StateDirectory={own}"
    yield f"WorkingDirectory=%S/{own}"
    yield f"CacheDirectory={own}"
    yield f"Environment=XDG_CACHE_HOME=%C/{own}"
    yield f"RuntimeDirectory={own}"
    yield f"Environment={STATUS_VARIABLE}=%t/{own}/status.json"
    if options.has_passing_account:
        yield "# There a black box leaves its last seconds to the start after a kill: systemd"
        yield "# empties the shared memory of an account that exists only meanwhile."
        yield "RuntimeDirectoryPreserve=yes"
        yield f"Environment={KEPT_VARIABLE}=%t/{own}"
    if command.written:
        # "-": a disk that is not mounted is told by the run in its own words, not by systemd.
        places = (quote(f"-{folder}") for folder in command.written)
        yield "ReadWritePaths=" + " ".join(places)


def _account(account: str | None) -> Iterator[str]:
    yield "DynamicUser=yes" if account is None else f"User={account}"
    groups = [name for name in GROUPS if _has_group(name)]
    if groups:
        yield f"SupplementaryGroups={' '.join(groups)}"


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _hardening(command: Command) -> list[str]:
    lines = ["ProtectSystem=strict", "ProtectHome=read-only"]
    if command.shared_tmp is None:
        lines.append("PrivateTmp=yes")
    else:
        lines += ["# The socket of CSI cameras, or a file of this run, lies in /tmp.",
                  "PrivateTmp=no"]  # fmt: skip
    return [
        *lines,
        "ProtectProc=invisible",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectControlGroups=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "LockPersonality=yes",
        "CapabilityBoundingSet=",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallErrorNumber=EPERM",
        # Masks in shared memory are meant for the programs of other accounts.
        "UMask=0022" if command.shares_masks else "UMask=0027",
        "# MemoryDenyWriteExecute= is not set: GStreamer and GPU drivers compile while they run.",
    ]


def _devices() -> list[str]:
    return [
        "# Cameras and GPUs only.",
        "DevicePolicy=closed",
        *(f"DeviceAllow={device} rw" for device in DEVICES),
    ]
