"""The verb `bundle`: a model with all that belongs to it as one verified thing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.cli_options import reporting
from edge_runtime.command_group import SuggestingGroup
from edge_runtime.shared_options import (
    FILE,
    account_option,
    calibration_option,
    into_option,
    model_argument,
    run_arguments,
    secrets_option,
    service_option,
    signing_key_option,
)

if TYPE_CHECKING:
    from edge_runtime.cli_options import Output
    from edge_runtime.deploy.index import SignedIndex
    from edge_runtime.service.places import Manager

_BUNDLE = click.argument("bundle", type=click.Path(path_type=Path))
_KEYS = click.option(
    "--key", "keys", type=FILE, metavar="F.pub",
    help="Public Ed25519 keys, of which one must have signed it.  "
    "[default: the trusted_keys of this machine, if there are]",
)  # fmt: skip
_INTO = into_option("", click.Path(path_type=Path, file_okay=False))


@click.group(cls=SuggestingGroup)
def bundle() -> None:
    """Make, verify and install bundles, for devices without a network too."""


@bundle.command()
@model_argument
@click.option(
    "-o", "--output", "place", type=click.Path(path_type=Path), required=True, metavar="F.tar|DIR",
    help="A name that ends in .tar makes one file, any other a folder.",
)  # fmt: skip
@calibration_option
@signing_key_option
@reporting
def create(
    model: str, place: Path, calibration: Path | None, key: Path | None, output: Output
) -> None:
    """Bundle MODEL: file, manifest, golden mask, sums, signature."""
    import tempfile

    from edge_runtime.deploy.bundle import Contents, make, write_folder, write_tar
    from edge_runtime.zoo import resolve_model

    with tempfile.TemporaryDirectory(prefix="hyperseg-bundle-") as aside:
        made = make(Contents(resolve_model(model), calibration, key), Path(aside))
        write = write_tar if place.suffix == ".tar" else write_folder
        write(made, place)
    _report(made.signed, output)


@bundle.command()
@_BUNDLE
@_KEYS
@reporting
def verify(bundle: Path, keys: Path | None, output: Output) -> None:
    """Check every byte of BUNDLE against its index, and the index against keys."""
    from edge_runtime.deploy.bundle import verify as run
    from edge_runtime.deploy.device import trusted_keys

    trusted = trusted_keys(keys)
    signed = run(bundle, trusted)
    words = "signed by a trusted key" if trusted else "no signature was required"
    output.deliver_facts("bundle-verified", {**_facts(signed), "trusted": bool(trusted)})
    output.tell(f"{signed.index.name} {signed.key}: whole and unaltered; {words}")


@bundle.command()
@_BUNDLE
@reporting
def show(bundle: Path, output: Output) -> None:
    """List what BUNDLE says it holds; nothing is verified."""
    from edge_runtime.deploy.forms import open_form

    with open_form(bundle) as form:
        _report(form.signed, output)


@bundle.command()
@_BUNDLE
@_INTO
@_KEYS
@click.option("--no-engine", is_flag=True, help="Build no TensorRT engine.")
@click.option("--selftest", is_flag=True, help="Also run `hyperseg selftest`: minutes.")
@service_option
@account_option
@secrets_option("What {secret:NAME} in the service's run stands for; FILE is the device's.")
@click.option("--consume", is_flag=True, help="Remove BUNDLE afterwards, whatever becomes of it.")
@reporting
@run_arguments
def install(
    bundle: Path,
    into: Path | None,
    keys: Path | None,
    no_engine: bool,
    selftest: bool,
    service: str | None,
    account: str | None,
    secrets: tuple[str, ...],
    consume: bool,
    arguments: tuple[str, ...],
    output: Output,
) -> None:
    """Verify BUNDLE, prove its model here, and switch to it; else all stays as it is."""
    import os

    from edge_runtime.deploy.device import InstallOptions
    from edge_runtime.deploy.device import install as run
    from edge_runtime.deploy.display import lines
    from edge_runtime.deploy.releases import default_home
    from edge_runtime.deploy.units import Service, parse_secrets
    from edge_runtime.errors import OptionError
    from edge_runtime.progress import steps

    kept = None
    if service is not None:
        manager: Manager = "system" if os.getuid() == 0 else "user"
        kept = Service(service, manager, arguments, parse_secrets(secrets), account)
    elif arguments or account:
        raise OptionError("arguments of a run, and --as, go with --service NAME")
    home = (into or default_home()).absolute()
    options = InstallOptions(home, keys, not no_engine, selftest, kept, consume)
    with steps("installing", quiet=output.quiet) as say:
        report = run(bundle.absolute(), options, say)
    output.deliver(report.to_json)
    for line in lines(report):
        output.tell(line)


@bundle.command()
@_INTO
@reporting
def rollback(into: Path | None, output: Output) -> None:
    """Go back to the release that was used before."""
    from edge_runtime.deploy.device import rollback as run
    from edge_runtime.deploy.releases import default_home

    left, used = run((into or default_home()).absolute())
    output.deliver_facts("rollback", {"left": left, "current": used})
    output.tell(f"back from {left} to {used}")


@bundle.command(hidden=True)
@click.argument("key")
@_INTO
def receive(key: str, into: Path | None) -> None:
    """Make room for a bundle that `hyperseg deploy` is about to send."""
    import msgspec

    from edge_runtime.deploy.device import receive as run
    from edge_runtime.deploy.releases import default_home

    click.echo(msgspec.json.encode(run((into or default_home()).absolute(), key)).decode())


def _facts(signed: SignedIndex) -> dict[str, Any]:
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(signed.index)
    return {**facts, "key": signed.key, "signed": signed.signature is not None}


def _report(signed: SignedIndex, output: Output) -> None:
    output.deliver_facts("bundle", _facts(signed))
    state = "not signed" if signed.signature is None else "signed"
    output.tell(f"{signed.index.name}, bundle {signed.key}, {state}")
    for entry in signed.index.files:
        output.tell(f"  {entry.sha256[:12]}  {entry.bytes:>12,} bytes  {entry.name}")
