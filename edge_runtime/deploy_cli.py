"""The verb `deploy`: from here to a device in one command, and back."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("device")
@click.argument("model", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- RUN ARGS...]")
@click.option(
    "--calibration", type=click.Path(path_type=Path, dir_okay=False), metavar="CACHE",
    help="TensorRT calibration table, where ranges are not in the model.",
)  # fmt: skip
@click.option(
    "--key", type=click.Path(path_type=Path, dir_okay=False), metavar="KEY",
    help="Sign with this Ed25519 key (ssh-keygen -t ed25519).",
)  # fmt: skip
@click.option(
    "--service", metavar="NAME", help="Run it as this systemd service; run's arguments follow --."
)
@click.option(
    "--secret", "secrets", multiple=True, metavar="NAME=FILE",
    help="What {secret:NAME} in the service's run stands for; FILE is the device's.",
)  # fmt: skip
@click.option("--no-engine", is_flag=True, help="Build no TensorRT engine there.")
@click.option("--selftest", is_flag=True, help="Also run `hyperseg selftest` there: minutes.")
@click.option("--rollback", "goes_back", is_flag=True, help="Go back to the release before.")
@click.option(
    "--into", metavar="DIR",
    help="Folder of releases on the device.  [default: /var/lib/hyperseg for root, else "
    "~/.local/share/hyperseg]",
)  # fmt: skip
@click.option(
    "--hyperseg", "program", default="hyperseg", show_default=True, metavar="PATH",
    help="The command on the device.",
)  # fmt: skip
@click.option(
    "--ssh-config", type=click.Path(path_type=Path, dir_okay=False), metavar="F",
    help="For ssh, in place of ~/.ssh/config: port, key, jump host.",
)  # fmt: skip
@click.option(
    "--limit", "limit_kbps", type=int, metavar="KB",
    help="Take no more than so many kB/s of the link.",
)  # fmt: skip
@click.option(
    "--report", type=click.Path(path_type=Path, dir_okay=False), metavar="F.json",
    help="Write what the device reported.",
)  # fmt: skip
def deploy(
    device: str,
    model: str | None,
    arguments: tuple[str, ...],
    calibration: Path | None,
    key: Path | None,
    service: str | None,
    secrets: tuple[str, ...],
    no_engine: bool,
    selftest: bool,
    goes_back: bool,
    into: str | None,
    program: str,
    ssh_config: Path | None,
    limit_kbps: int | None,
    report: Path | None,
) -> None:
    """Bring MODEL to DEVICE ([user@]host) over OpenSSH: sent, verified, built, proven, switched.

    An interrupted transfer goes on where it stopped. Whatever fails leaves the device with the
    release it had. hyperseg-edge has to be installed there.
    """
    from edge_runtime.artifacts import write_text_atomic
    from edge_runtime.deploy.bundle import Contents
    from edge_runtime.deploy.connection import Target
    from edge_runtime.deploy.deploy import DeployOptions
    from edge_runtime.deploy.deploy import deploy as run
    from edge_runtime.deploy.deploy import rollback as go_back
    from edge_runtime.deploy.display import lines
    from edge_runtime.errors import OptionError
    from edge_runtime.zoo import resolve_model

    target = Target(device, ssh_config, program, limit_kbps)
    if goes_back:
        if model is not None:
            raise OptionError("--rollback takes no MODEL: it goes back to the release before")
        click.echo(go_back(target, into))
        return
    if model is None:
        raise OptionError("which model? hyperseg deploy DEVICE MODEL")
    if arguments and service is None:
        raise OptionError("arguments of a run go with --service NAME")
    contents = Contents(resolve_model(model), calibration, key)
    options = DeployOptions(into, not no_engine, selftest, service, arguments, secrets)
    done = run(target, contents, options, lambda line: click.echo(line, err=True))
    if report is not None:
        write_text_atomic(report, done.to_json() + "\n")
    for line in lines(done):
        click.echo(line)
