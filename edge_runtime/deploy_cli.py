"""The verb `deploy`: from here to a device in one command, and back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting
from edge_runtime.completion import candidates
from edge_runtime.shared_options import (
    FILE,
    account_option,
    calibration_option,
    into_option,
    run_arguments,
    secrets_option,
    service_option,
    signing_key_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.cli_options import Output


@click.command()
@click.argument("device")
@click.argument("model", required=False, shell_complete=candidates.models)
@run_arguments
@calibration_option
@signing_key_option
@service_option
@account_option
@secrets_option("What {secret:NAME} in the service's run stands for; FILE is the device's.")
@click.option("--no-engine", is_flag=True, help="Build no TensorRT engine there.")
@click.option("--selftest", is_flag=True, help="Also run `hyperseg selftest` there: minutes.")
@click.option("--rollback", "goes_back", is_flag=True, help="Go back to the release before.")
@into_option(" on the device")
@click.option(
    "--hyperseg", "program", default="hyperseg", show_default=True, metavar="PATH",
    help="The command on the device.",
)  # fmt: skip
@click.option(
    "--ssh-config", type=FILE, metavar="F",
    help="For ssh, in place of ~/.ssh/config: port, key, jump host.",
)  # fmt: skip
@click.option(
    "--limit", "limit_kbps", type=int, metavar="KB",
    help="Take no more than so many kB/s of the link.",
)  # fmt: skip
@click.option("--report", type=FILE, metavar="F.json", help="Write what the device reported.")
@reporting
def deploy(
    device: str,
    model: str | None,
    arguments: tuple[str, ...],
    calibration: Path | None,
    key: Path | None,
    service: str | None,
    account: str | None,
    secrets: tuple[str, ...],
    no_engine: bool,
    selftest: bool,
    goes_back: bool,
    into: str | None,
    program: str,
    ssh_config: Path | None,
    limit_kbps: int | None,
    report: Path | None,
    output: Output,
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
    from edge_runtime.progress import steps
    from edge_runtime.zoo import resolve_model

    target = Target(device, ssh_config, program, limit_kbps)
    if goes_back:
        if model is not None:
            raise OptionError("--rollback takes no MODEL: it goes back to the release before")
        said = go_back(target, into)
        output.deliver_facts("rollback", {"device": device, "said": said})
        output.tell(said)
        return
    if model is None:
        raise OptionError("which model? hyperseg deploy DEVICE MODEL")
    if (arguments or account) and service is None:
        raise OptionError("arguments of a run, and --as, go with --service NAME")
    contents = Contents(resolve_model(model), calibration, key)
    options = DeployOptions(into, not no_engine, selftest, service, arguments, secrets, account)
    progress = partial(steps, f"deploying to {device}", quiet=output.quiet)
    done = run(target, contents, options, progress)
    if report is not None:
        write_text_atomic(report, done.to_json() + "\n")
    output.deliver(done.to_json)
    for line in lines(done):
        output.tell(line)
