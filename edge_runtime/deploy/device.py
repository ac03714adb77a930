"""What happens on the device: receive, verify, build, prove, switch, restart; or go back."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edge_runtime import __version__
from edge_runtime.artifacts import read_manifest
from edge_runtime.deploy import signing
from edge_runtime.deploy.forms import PARTS
from edge_runtime.deploy.index import CALIBRATION, GOLDEN, MODEL
from edge_runtime.deploy.proof import LEAST_AGREEMENT, Proof, check_golden
from edge_runtime.deploy.releases import ENGINE, Release, Releases, served_in
from edge_runtime.deploy.selftest import run_selftest
from edge_runtime.deploy.units import (
    Service,
    check_noted,
    check_service,
    forget_service,
    read_service,
    start,
    withdraw,
    write_unit,
)
from edge_runtime.device import Device, describe_device
from edge_runtime.engines.choice import RUNTIMES, engine_precision
from edge_runtime.engines.gpu import NoGpu, ask_gpu
from edge_runtime.engines.locks import folder_lock
from edge_runtime.errors import (
    ArtifactError,
    BackendError,
    DeployError,
    HypersegError,
    OptionError,
)
from edge_runtime.service.command import program
from edge_runtime.service.places import Manager

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCHEMA: Literal["hyperseg-edge.deploy/1"] = "hyperseg-edge.deploy/1"
ALL_USERS = Path("/etc/hyperseg/trusted_keys")
ON_CPU = "ONNX Runtime on the CPU"
BUILT_HERE = "TensorRT engine, built here"


@dataclass(frozen=True)
class InstallOptions:
    """How a bundle is installed."""

    home: Path
    keys: Path | None = None
    """File of trusted public keys; None takes `trusted_file`, if there is one."""
    engine: bool = True
    """False: no engine is built even where one could be."""
    selftest: bool = False
    """Also run ``hyperseg selftest``, which takes minutes and needs the package that builds."""
    service: Service | None = None
    consume: bool = False
    """Remove the bundle afterwards, whatever became of it: it was gathered for this only."""


@dataclass(frozen=True)
class DeployReport:
    """What became of a bundle on a device."""

    key: str
    """Of the release that is current now."""
    name: str
    previous: str | None
    signed: bool
    """Whether a trusted key's signature was found; False: none was required."""
    engine: str
    """What infers, and where that is the CPU, why."""
    proof: Proof
    service: str | None
    """Name of the systemd unit that was started."""
    device: Device
    selftest: dict[str, Any] | None = None
    """What ``hyperseg selftest`` wrote; null where it was not asked for."""
    version: str = __version__
    schema: Literal["hyperseg-edge.deploy/1"] = SCHEMA

    def to_json(self) -> str:
        """One line of JSON."""
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True)
class Receipt:
    """What a device has of a bundle that is to be sent."""

    incoming: str
    """Absolute folder for the bundle's parts."""
    version: str
    have: list[str] = field(default_factory=list)
    """Parts that need not be sent again."""
    manager: Manager = "system"
    """Whose service ``--service`` would be; earlier versions did not say."""


def trusted_file() -> Path:
    """Public keys that every bundle must be signed with one of, if this file exists.

    One for the whole machine comes before the user's own.
    """
    if ALL_USERS.exists():
        return ALL_USERS
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "hyperseg" / "trusted_keys"


def trusted_keys(given: Path | None) -> list[str]:
    """The keys that count here; none: signatures are not required.

    Raises:
        OptionError: a file of keys that cannot be read or holds none.
    """
    if given is not None:
        return signing.read_keys(given)
    place = trusted_file()
    return signing.read_keys(place) if place.exists() else []


def receive(home: Path, key: str) -> Receipt:
    """Make room for a bundle's parts, and say which of them are there from an earlier attempt.

    Raises:
        OptionError: `key` is none, or the place cannot be written.
    """
    releases = Releases(home)
    incoming = releases.incoming(key)
    try:
        (incoming / PARTS).mkdir(parents=True, exist_ok=True)
        for other in incoming.parent.iterdir():
            if other != incoming:  # of a bundle that was never completed
                shutil.rmtree(other, ignore_errors=True)
        parts = sorted(path.name for path in (incoming / PARTS).iterdir())
    except OSError as error:
        raise OptionError(f"cannot use {incoming}: {error.strerror}; choose --into") from error
    return Receipt(
        incoming=str(incoming.absolute()),
        version=__version__,
        have=[name for name in parts if len(name) == 64],
        manager="system" if os.getuid() == 0 else "user",
    )


def install(bundle: Path, options: InstallOptions, say: Callable[[str], None]) -> DeployReport:
    """Verify, unpack, build, prove, and only then switch; on any error all is as it was.

    Args:
        bundle: folder, tar file or gathered parts.
        options: how.
        say: takes a line about each step.

    Raises:
        ArtifactError: the bundle is refused, and nothing of it is left.
        DeployError: the model does not prove itself here, or the service does not start.
        OptionError: an option cannot work here.
    """
    try:
        keys = trusted_keys(options.keys)
        if options.service is not None:
            check_service(options.service, options.home)
        else:
            check_noted(options.home)
        releases = Releases(options.home)
        releases.prepare()
        with folder_lock(options.home, lambda: say("waiting for another installation")):
            release = releases.add(bundle, keys)
            say(f"verified {release.key}")
            try:
                report = _prove_and_switch(releases, release, options, bool(keys), say)
            except BaseException:
                releases.discard(release)
                raise
            releases.prune()
            return report
    finally:
        if options.consume and bundle.is_file():
            bundle.unlink(missing_ok=True)
        elif options.consume:
            shutil.rmtree(bundle, ignore_errors=True)


def _prove_and_switch(
    releases: Releases,
    release: Release,
    options: InstallOptions,
    signed: bool,
    say: Callable[[str], None],
) -> DeployReport:
    provided, proof = _provide_proven(release, options, say)
    if not proof.passed:
        raise DeployError(
            f"the model agrees with its sender on {proof.agreement:.3f} of the golden frame's "
            f"pixels here; expected {LEAST_AGREEMENT}: not installed"
        )
    account = None
    if options.selftest:
        say("self-test; this takes minutes")
        account = run_selftest(release.folder / MODEL)
    say(f"proved: {proof.agreement or 1:.4f} of the golden frame agrees")
    earlier = read_service(options.home)
    before = releases.switch(release.key)
    try:
        unit = _restart(releases, options.service or earlier, provided.served)
    except BaseException:  # also Ctrl-C while systemd waits for the first mask
        releases.restore(before)
        with suppress(HypersegError):  # what is told is why the new one failed
            if options.service is not None and options.service != earlier:
                withdraw(options.service)
        if earlier is None:
            forget_service(options.home)
        with suppress(HypersegError):
            _restart(releases, earlier)
        raise
    if provided.served != ENGINE:  # a later restart shall not choose one that was not wanted
        release.drop_engine()
    return DeployReport(
        key=release.key,
        name=read_manifest(release.folder / MODEL, verify=False).name,
        previous=releases.previous,
        signed=signed,
        engine=provided.words,
        proof=proof,
        service=unit,
        device=describe_device(),
        selftest=account,
    )


def _restart(releases: Releases, service: Service | None, served: str | None = None) -> str | None:
    """Let the service run what is current now; without one or the other, nothing.

    Args:
        releases: of the device.
        service: to be started again.
        served: the file of the release that it runs; None: its engine where there is one.
    """
    if service is None or releases.current is None:
        return None
    if served is None:
        served = served_in(releases.current_link)
    write_unit(service, releases.home, releases.current_link / served)
    return start(service)


def rollback(home: Path) -> tuple[str, str]:
    """Go back to the release before, and restart the service that runs it.

    Returns:
        Keys of the release that is left and the one that is used now.

    Raises:
        DeployError: there is none, or the service does not start with it.
        OptionError: nothing was ever installed there, or the service could not be written again;
            nothing has moved.
    """
    releases = Releases(home)
    with folder_lock(home):
        check_noted(home)
        left, used = releases.rollback()
        _restart(releases, read_service(home))
        return left, used


@dataclass(frozen=True)
class _Provided:
    """What of a release shall infer here."""

    served: str
    """Name of the file."""
    words: str
    is_older: bool = False
    """An engine that was built when the release was installed before."""


def _provide_proven(
    release: Release, options: InstallOptions, say: Callable[[str], None]
) -> tuple[_Provided, Proof]:
    """What shall infer, and how it does on the golden frame.

    An engine of an earlier installation that does not run any more is built anew.
    """
    golden = release.folder / GOLDEN
    wanted = golden if golden.exists() else None
    provided = _provide(release, options, say)
    try:
        return provided, check_golden(release.folder / provided.served, wanted)
    except (ArtifactError, BackendError) as error:
        if not provided.is_older:
            raise
        say(f"the engine that was built here before does not run any more: {error}")
    provided = _build(release, say)
    return provided, check_golden(release.folder / provided.served, wanted)


def _provide(release: Release, options: InstallOptions, say: Callable[[str], None]) -> _Provided:
    """The engine where one is or can be built, or else the model; in words, why."""
    if not options.engine:
        return _Provided(MODEL, f"{ON_CPU}: no engine was wanted")
    reason = _why_no_engine()
    if reason is not None:
        return _Provided(MODEL, f"{ON_CPU}: {reason}")
    if release.served == ENGINE:
        return _Provided(ENGINE, BUILT_HERE, is_older=True)
    return _build(release, say)


def _build(release: Release, say: Callable[[str], None]) -> _Provided:
    say("building an engine; this takes minutes")
    command = build_command(release.folder)
    done = subprocess.run([*program(), *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise DeployError(f"no engine could be built ({lines[-1]}); --no-engine goes without")
    return _Provided(ENGINE, BUILT_HERE)


def build_command(folder: Path) -> Sequence[str]:
    """Arguments of ``hyperseg`` that build the engine of a release."""
    manifest = read_manifest(folder / MODEL, verify=False)
    table = folder / CALIBRATION
    precision = "int8" if table.exists() else engine_precision(manifest)
    command = ["build", str(folder / MODEL), "-o", str(folder / ENGINE), "--precision", precision]
    if table.exists():
        command += ["--typing", "weak", "--calibration-cache", str(table)]
    return command


def _why_no_engine() -> str | None:
    from importlib.util import find_spec

    if isinstance(gpu := ask_gpu(), NoGpu):
        return "no NVIDIA GPU answers here" + (f" ({gpu.reason})" if gpu.code else "")
    if find_spec(RUNTIMES[0]) is None:
        return "this Python has no TensorRT"
    if find_spec("export") is None:
        return "the package that builds engines is not installed here"
    return None
