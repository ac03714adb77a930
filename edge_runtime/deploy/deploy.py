"""Send a bundle to a device and let it install itself there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import msgspec

from edge_runtime.deploy.bundle import Contents, make, write_parts
from edge_runtime.deploy.connection import connect
from edge_runtime.deploy.device import DeployReport, Receipt
from edge_runtime.deploy.forms import PARTS
from edge_runtime.deploy.index import INDEX, SIGNATURE
from edge_runtime.deploy.scratch import scratch
from edge_runtime.deploy.units import check_arguments, parse_secrets
from edge_runtime.errors import DeployError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from edge_runtime.deploy.bundle import Made
    from edge_runtime.deploy.connection import Connection, Target


T = TypeVar("T")


@dataclass(frozen=True)
class DeployOptions:
    """What is to become of a bundle on the device."""

    into: str | None = None
    """Folder of releases on the device; None leaves it to the device."""
    engine: bool = True
    selftest: bool = False
    service: str | None = None
    arguments: tuple[str, ...] = ()
    """Of the service's run, after the model."""
    secrets: tuple[str, ...] = ()
    """``NAME=FILE`` of the device each."""
    account: str | None = None
    """That the service runs as; None leaves it to the device."""


def deploy(
    target: Target,
    contents: Contents,
    options: DeployOptions,
    progress: Callable[[], AbstractContextManager[Callable[[str], None]]],
) -> DeployReport:
    """Make a bundle, send what the device lacks of it, and let the device install it.

    Args:
        target: the device.
        contents: of the bundle.
        options: what is to become of it there.
        progress: entered once the device is reached, as ssh may ask for a password at the terminal
            before; gives what takes a line.

    Raises:
        ArtifactError: the model cannot be bundled.
        DeployError: the device is not reached, or refuses; it runs what it ran before.
        OptionError: an option that cannot work.
    """
    if options.service is not None:
        check_arguments(options.arguments)
        parse_secrets(options.secrets)
    with scratch("hyperseg-deploy") as folder:
        made = make(contents, folder)
        staged = folder / "bundle"
        staged.mkdir()
        write_parts(made, staged)
        with connect(target) as device, progress() as say:
            return _hand_over(device, made, staged, options, say)


def _hand_over(
    device: Connection, made: Made, staged: Path, options: DeployOptions, say: Callable[[str], None]
) -> DeployReport:
    into = () if options.into is None else ("--into", options.into)
    answer = device.hyperseg("bundle", "receive", made.signed.key, *into)
    receipt = _decode(answer, Receipt)
    if options.account is not None and receipt.manager == "user":
        raise OptionError(
            f"--as {options.account}: {device.target.host} makes a user's own service, which runs "
            "as that user; deploy to root@HOST, or leave --as away"
        )
    _send(device, made, staged, receipt, say)
    words = ["bundle", "install", receipt.incoming, "--consume", "--json", *into]
    if not options.engine:
        words.append("--no-engine")
    if options.selftest:
        words.append("--selftest")
    if options.service is not None:
        for secret in options.secrets:
            words += ["--secret", secret]
        if options.account is not None:
            words += ["--as", options.account]
        words += ["--service", options.service, "--", *options.arguments]
    return _decode(device.hyperseg(*words, told=say), DeployReport)


def rollback(target: Target, into: str | None) -> str:
    """Let a device go back to the release before; what it says about that.

    Raises:
        DeployError: the device is not reached, or has no release before the current one.
    """
    with connect(target) as device:
        words = () if into is None else ("--into", into)
        return device.hyperseg("bundle", "rollback", *words).strip()


def _send(
    device: Connection, made: Made, staged: Path, receipt: Receipt, say: Callable[[str], None]
) -> None:
    index, have = made.signed.index, set(receipt.have)
    sizes = {
        part: entry.part_bytes(number)
        for entry in index.files
        for number, part in enumerate(entry.parts)
    }
    lacking = [part for part in sizes if part not in have]
    size = sum(sizes[part] for part in lacking) / 1e6
    kept = f"; {len(sizes) - len(lacking)} were there already" if have & set(sizes) else ""
    names = [f"{PARTS}/{part}" for part in lacking]
    small = [INDEX] if made.signed.signature is None else [INDEX, SIGNATURE]
    by = device.send(staged, [*names, *small], receipt.incoming)
    say(f"sent {len(lacking)} of {len(sizes)} parts, {size:.1f} MB, by {by}{kept}")


def _decode(text: str, kind: type[T]) -> T:
    lines = text.strip().splitlines() or [""]
    try:
        return msgspec.json.decode(lines[-1], type=kind)
    except msgspec.MsgspecError as error:
        raise DeployError(
            f"the device answered {lines[-1][:80]!r} ({error}); is hyperseg-edge there as new as "
            "here?"
        ) from error
