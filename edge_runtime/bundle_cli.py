"""The verb `bundle`: a model with all that belongs to it as one verified thing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edge_runtime.deploy.index import SignedIndex
    from edge_runtime.service.places import Manager

_BUNDLE = click.argument("bundle", type=click.Path(path_type=Path))
_KEYS = click.option(
    "--key", "keys", type=click.Path(path_type=Path, dir_okay=False), metavar="F.pub",
    help="Public Ed25519 keys, of which one must have signed it.  "
    "[default: the trusted_keys of this machine, if there are]",
)  # fmt: skip
_INTO = click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder of releases.  [default: /var/lib/hyperseg for root, else "
    "~/.local/share/hyperseg]",
)  # fmt: skip


@click.group()
def bundle() -> None:
    """Make, verify and install bundles, for devices without a network too."""


@bundle.command()
@click.argument("model")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="F.tar|DIR",
    help="A name that ends in .tar makes one file, any other a folder.",
)  # fmt: skip
@click.option(
    "--calibration", type=click.Path(path_type=Path, dir_okay=False), metavar="CACHE",
    help="TensorRT calibration table, where ranges are not in the model.",
)  # fmt: skip
@click.option(
    "--key", type=click.Path(path_type=Path, dir_okay=False), metavar="KEY",
    help="Sign with this Ed25519 key (ssh-keygen -t ed25519).",
)  # fmt: skip
def create(model: str, output: Path, calibration: Path | None, key: Path | None) -> None:
    """Bundle MODEL: file, manifest, golden mask, sums, signature."""
    import tempfile

    from edge_runtime.deploy.bundle import Contents, make, write_folder, write_tar
    from edge_runtime.zoo import resolve_model

    with tempfile.TemporaryDirectory(prefix="hyperseg-bundle-") as aside:
        made = make(Contents(resolve_model(model), calibration, key), Path(aside))
        write = write_tar if output.suffix == ".tar" else write_folder
        write(made, output)
    _print(made.signed)


@bundle.command()
@_BUNDLE
@_KEYS
def verify(bundle: Path, keys: Path | None) -> None:
    """Check every byte of BUNDLE against its index, and the index against keys."""
    from edge_runtime.deploy.bundle import verify as run
    from edge_runtime.deploy.device import trusted_keys

    trusted = trusted_keys(keys)
    signed = run(bundle, trusted)
    words = "signed by a trusted key" if trusted else "no signature was required"
    click.echo(f"{signed.index.name} {signed.key}: whole and unaltered; {words}")


@bundle.command()
@_BUNDLE
def show(bundle: Path) -> None:
    """List what BUNDLE says it holds; nothing is verified."""
    from edge_runtime.deploy.forms import open_form

    with open_form(bundle) as form:
        _print(form.signed)


@bundle.command()
@_BUNDLE
@_INTO
@_KEYS
@click.option("--no-engine", is_flag=True, help="Build no TensorRT engine.")
@click.option("--selftest", is_flag=True, help="Also run `hyperseg selftest`: minutes.")
@click.option(
    "--service", metavar="NAME", help="Run it as this systemd service; run's arguments follow --."
)
@click.option(
    "--secret", "secrets", multiple=True, metavar="NAME=FILE",
    help="What {secret:NAME} in the service's run stands for; FILE is the device's.",
)  # fmt: skip
@click.option("--consume", is_flag=True, help="Remove BUNDLE afterwards, whatever becomes of it.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one line of JSON.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- RUN ARGS...]")
def install(
    bundle: Path,
    into: Path | None,
    keys: Path | None,
    no_engine: bool,
    selftest: bool,
    service: str | None,
    secrets: tuple[str, ...],
    consume: bool,
    as_json: bool,
    arguments: tuple[str, ...],
) -> None:
    """Verify BUNDLE, prove its model here, and switch to it; else all stays as it is."""
    import os

    from edge_runtime.deploy.device import InstallOptions
    from edge_runtime.deploy.device import install as run
    from edge_runtime.deploy.releases import default_home
    from edge_runtime.deploy.units import Service, parse_secrets
    from edge_runtime.errors import OptionError

    kept = None
    if service is not None:
        manager: Manager = "system" if os.getuid() == 0 else "user"
        kept = Service(service, manager, arguments, parse_secrets(secrets))
    elif arguments:
        raise OptionError("arguments of a run go with --service NAME")
    home = (into or default_home()).absolute()
    options = InstallOptions(home, keys, not no_engine, selftest, kept, consume)
    report = run(bundle.absolute(), options, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(report.to_json())
        return
    from edge_runtime.deploy.display import lines

    for line in lines(report):
        click.echo(line)


@bundle.command()
@_INTO
def rollback(into: Path | None) -> None:
    """Go back to the release that was used before."""
    from edge_runtime.deploy.device import rollback as run
    from edge_runtime.deploy.releases import default_home

    left, used = run((into or default_home()).absolute())
    click.echo(f"back from {left} to {used}")


@bundle.command(hidden=True)
@click.argument("key")
@_INTO
def receive(key: str, into: Path | None) -> None:
    """Make room for a bundle that `hyperseg deploy` is about to send."""
    import msgspec

    from edge_runtime.deploy.device import receive as run
    from edge_runtime.deploy.releases import default_home

    click.echo(msgspec.json.encode(run((into or default_home()).absolute(), key)).decode())


def _print(signed: SignedIndex) -> None:
    state = "not signed" if signed.signature is None else "signed"
    click.echo(f"{signed.index.name}, bundle {signed.key}, {state}")
    for entry in signed.index.files:
        click.echo(f"  {entry.sha256[:12]}  {entry.bytes:>12,} bytes  {entry.name}")
