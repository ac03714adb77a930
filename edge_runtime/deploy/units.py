"""The systemd service that runs the current release."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.deploy.index import MODEL
from edge_runtime.errors import DeployError, OptionError
from edge_runtime.service.command import parse_command
from edge_runtime.service.places import Manager, unit_name, unit_path
from edge_runtime.service.unit import (
    UnitOptions,
    make_unit,
    require_account,
    require_folders,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_runtime.service.command import Command

NOTE = "service.json"
SYSTEMD = Path("/run/systemd/system")


@dataclass(frozen=True)
class Service:
    """A run of the current release, kept by systemd."""

    name: str
    manager: Manager
    arguments: tuple[str, ...]
    """What follows the model in ``hyperseg run MODEL ...``."""
    secrets: dict[str, Path] = field(default_factory=dict)
    """Files on the device, by the name that ``{secret:NAME}`` uses."""
    account: str | None = None
    """That it runs as; None lets systemd make one, or is the user whose service it is."""


def check_service(service: Service, home: Path) -> None:
    """Refuse before anything is touched what could not work afterwards.

    Raises:
        OptionError: no systemd here, a name that is none, arguments of no run, an account that is
            not there or not given and needed, or an output in a folder that is not there.
    """
    if not SYSTEMD.is_dir():
        raise OptionError("--service needs systemd, which does not run this device")
    _require_one(read_service(home), service, home)
    require_account(service.account)
    command = _command(service, home / "current" / MODEL)
    _unit_text(service, command)
    require_folders(command.written)


def _require_one(noted: Service | None, service: Service, home: Path) -> None:
    """Refuse a second service of the same releases, which later ones would not restart both."""
    if noted is None or (noted.name, noted.manager) == (service.name, service.manager):
        return
    if unit_path(noted.name, noted.manager).exists():
        flag = " --user" if noted.manager == "user" else ""
        raise OptionError(
            f"the service {noted.name!r} runs the releases in {home}, and would keep its old model "
            f"if {service.name!r} did: give that name, first `hyperseg service uninstall "
            f"{noted.name}{flag}`, or another folder with --into"
        )


def check_noted(home: Path) -> None:
    """Refuse a service of an earlier release that could not be written again.

    An earlier version may have written what this one knows not to work.

    Raises:
        OptionError: why, and how to go on.
    """
    service = read_service(home)
    if service is None:
        return
    try:
        check_service(service, home)
    except OptionError as error:
        raise OptionError(
            f"service {service.name!r} could not be restarted, so nothing was done: {error}; say "
            f"anew how it runs: hyperseg deploy DEVICE MODEL --service {service.name} "
            "[--as USER] -- ARGS"
        ) from error


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse arguments of no run, and credentials, before they are sent anywhere.

    Raises:
        OptionError: they are such.
    """
    parse_command(("run", MODEL, *arguments))


def parse_secrets(texts: Sequence[str]) -> dict[str, Path]:
    """Read ``NAME=FILE`` texts.

    Raises:
        OptionError: a text is none.
    """
    found = {}
    for text in texts:
        name, _, file = text.partition("=")
        if not name or not file.startswith("/"):
            raise OptionError(f"secret {text!r}: expected NAME=/absolute/file/on/the/device")
        found[name] = Path(file)
    return found


def write_unit(service: Service, home: Path, model: Path) -> None:
    """Write the unit file, and a note by which the next release and a rollback find it.

    Args:
        service: to be written.
        home: folder of the releases.
        model: that it runs, by way of the link ``current``.

    Raises:
        OptionError: the unit cannot be written.
    """
    place = unit_path(service.name, service.manager)
    if service.manager == "user":
        place.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(place, _unit_text(service, _command(service, model)))
    write_text_atomic(home / NOTE, msgspec.json.encode(service, enc_hook=str).decode() + "\n")


def read_service(home: Path) -> Service | None:
    """The service of an earlier release; None without one."""
    try:
        return msgspec.json.decode((home / NOTE).read_bytes(), type=Service, dec_hook=_decode)
    except (OSError, msgspec.MsgspecError):
        return None


def forget_service(home: Path) -> None:
    """Let later releases know of no service; its unit file stays, for whoever looks why."""
    (home / NOTE).unlink(missing_ok=True)


def start(service: Service) -> str:
    """Start the service, or start it again; its unit is ready with its first mask.

    Returns:
        The unit's name.

    Raises:
        DeployError: it does not become ready.
    """
    unit = unit_name(service.name)
    tool = shutil.which("systemctl")
    if tool is None:
        raise DeployError("systemctl is missing; the service was not started")
    for command in (["daemon-reload"], ["enable", unit], ["restart", unit]):
        done = _control(tool, service, *command)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            flag = "--user " if service.manager == "user" else ""
            raise DeployError(
                f"{unit} did not start ({lines[0]}); see: journalctl {flag}-u {unit} -n 50"
            )
    return unit


def withdraw(service: Service) -> None:
    """Stop a service that did not prove itself, and let no start of the machine bring it back.

    Its unit file stays, for whoever looks why.
    """
    if (tool := shutil.which("systemctl")) is not None:
        _control(tool, service, "disable", "--now", unit_name(service.name))


def _control(tool: str, service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    user = ["--user"] if service.manager == "user" else []
    return subprocess.run([tool, *user, *words], capture_output=True, text=True, check=False)


def _decode(kind: type, value: object) -> object:
    assert kind is Path, f"a note of a service with {kind}"
    return Path(str(value))


def _command(service: Service, model: Path) -> Command:
    return parse_command(("run", str(model), *service.arguments))


def _unit_text(service: Service, command: Command) -> str:
    options = UnitOptions(service.manager, service.account, secrets=service.secrets)
    return make_unit(service.name, command, options)
