"""The verb `service`: a run that is started with the machine, watched, and started again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting
from edge_runtime.command_group import SuggestingGroup
from edge_runtime.completion import candidates
from edge_runtime.errors import EXIT_FOUND, OptionError
from edge_runtime.service.places import STATUS_VARIABLE, status_path, unit_name, unit_path
from edge_runtime.shared_options import FILE, account_option, secrets_option

if TYPE_CHECKING:
    from edge_runtime.cli_options import Output
    from edge_runtime.service.places import Manager

MAX_AGE_S = 10.0

_USER = click.option(
    "--user", "manager", flag_value="user", help="A service of your own, not of the system."
)
_SYSTEM = click.option("--system", "manager", flag_value="system", default="system", hidden=True)
_FOLDER = click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the unit file.  [default: /etc/systemd/system, or that of your own units]",
)

_NAME = click.argument("name", shell_complete=candidates.services)


@click.group(cls=SuggestingGroup)
def service() -> None:
    """Keep a run as a systemd service: ready, watched, restarted, shut in."""


@service.command()
@click.argument("name")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- run ARGS...")
@_USER
@_SYSTEM
@_FOLDER
@account_option
@click.option(
    "--watchdog", "watchdog_s", type=float, default=30.0, show_default=True, metavar="S",
    help="Kill and start again a run that hangs for S seconds.",
)  # fmt: skip
@click.option("--memory-max", metavar="SIZE", help="Such as 2G: more memory than this kills it.")
@secrets_option(
    "What {secret:NAME} in a source or sink stands for; FILE is readable by its owner only."
)
@reporting
def install(
    name: str,
    words: tuple[str, ...],
    manager: Manager,
    folder: Path | None,
    account: str | None,
    watchdog_s: float,
    memory_max: str | None,
    secrets: tuple[str, ...],
    output: Output,
) -> None:
    """Write the unit file of NAME and say how it is started.

    What stands behind -- is a run as it would be typed. Files that it reads get absolute names;
    outputs with relative ones lie in the service's own folder.
    """
    # Imported here: `hyperseg service health` is run every few seconds.
    from edge_runtime.artifacts import write_text_atomic
    from edge_runtime.service.command import parse_command
    from edge_runtime.service.unit import UnitOptions, make_unit, require_account, require_folders

    options = UnitOptions(manager, account, watchdog_s, memory_max, _split_secrets(secrets))
    command = parse_command(words)
    text = make_unit(name, command, options)
    place = unit_path(name, manager, folder)
    if folder is None:  # else it may be meant for another machine
        require_account(account)
        require_folders(command.written)
    if manager == "user" and folder is None:
        place.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(place, text)
    flag = " --user" if manager == "user" else ""
    start = f"systemctl{flag} daemon-reload && systemctl{flag} enable --now {unit_name(name)}"
    output.deliver_facts("service", {"unit": unit_name(name), "file": place, "next": start})
    output.tell(f"wrote {place}; start it now and with the machine:")
    output.tell(start)


@service.command()
@_NAME
@_USER
@_SYSTEM
@_FOLDER
@reporting
def show(name: str, manager: Manager, folder: Path | None, output: Output) -> None:
    """Print the unit file of NAME."""
    place = _installed(name, manager, folder)
    text = place.read_text(encoding="utf-8")
    output.deliver_facts("service", {"unit": unit_name(name), "file": place, "text": text})
    output.tell(text, nl=False)


@service.command()
@_NAME
@_USER
@_SYSTEM
@_FOLDER
@reporting
def uninstall(name: str, manager: Manager, folder: Path | None, output: Output) -> None:
    """Remove the unit file of NAME; what the service has written stays."""
    place = _installed(name, manager, folder)
    try:
        place.unlink()
    except OSError as error:
        raise OptionError(f"cannot remove {place}: {error.strerror}") from error
    flag = " --user" if manager == "user" else ""
    command = f"systemctl{flag} disable --now {unit_name(name)}; systemctl{flag} daemon-reload"
    output.deliver_facts("service", {"unit": unit_name(name), "removed": place, "next": command})
    output.tell(f"removed {place}; end it, too:")
    output.tell(command)


@service.command()
@_NAME
@_USER
@_SYSTEM
@reporting
def status(name: str, manager: Manager, output: Output) -> None:
    """Say how the running service NAME is doing."""
    import msgspec

    from edge_runtime.service.status import read_status

    found = read_status(status_path(name, manager))
    output.deliver_facts("service-status", msgspec.to_builtins(found))
    output.tell(f"{found.state}, process {found.pid}, model {found.model}")
    for camera in found.cameras:
        title = f"{camera.name}: " if camera.name else ""
        age = "no mask yet" if camera.age_s is None else f"last mask {camera.age_s:.2f} s old"
        output.tell(f"{title}{camera.signal}, {camera.fps:.1f} fps, {age}")


@service.command()
@click.argument("name", required=False, shell_complete=candidates.services)
@_USER
@_SYSTEM
@click.option(
    "--status", "file", type=FILE, envvar=STATUS_VARIABLE,
    metavar="F.json", help=f"Status file of a run, instead of NAME.  [env var: {STATUS_VARIABLE}]",
)  # fmt: skip
@click.option(
    "--max-age", "max_age_s", type=float, default=MAX_AGE_S, show_default=True, metavar="S",
    help="Greatest age of the last mask.",
)  # fmt: skip
@reporting
@click.pass_context
def health(
    ctx: click.Context,
    name: str | None,
    manager: Manager,
    file: Path | None,
    max_age_s: float,
    output: Output,
) -> None:
    """Exit with 0 if the last mask is young enough, else with 1 and the reason."""
    from edge_runtime.service.status import illness, read_status

    if name is not None:
        file = status_path(name, manager)
    if file is None:
        raise OptionError(f"whose health? Give NAME, --status F.json or ${STATUS_VARIABLE}")
    try:
        reason = illness(read_status(file), max_age_s)
    except OptionError as error:
        reason = str(error)
    output.deliver_facts("health", {"healthy": reason is None, "reason": reason})
    output.tell("healthy" if reason is None else f"unhealthy: {reason}")
    ctx.exit(0 if reason is None else EXIT_FOUND)


def _installed(name: str, manager: Manager, folder: Path | None) -> Path:
    place = unit_path(name, manager, folder)
    if not place.is_file():
        raise OptionError(f"no service {name!r}: there is no {place}")
    return place


def _split_secrets(texts: tuple[str, ...]) -> dict[str, Path]:
    secrets = {}
    for text in texts:
        name, _, file = text.partition("=")
        if not name or not file:
            raise OptionError(f"secret {text!r}: expected NAME=FILE")
        secrets[name] = Path(file)
    return secrets
