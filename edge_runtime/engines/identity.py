"""What an engine is bound to, and in words why one does not fit.

An engine runs on the GPU, TensorRT version and platform it was built for, unless its flags say that
more was asked for. All of that, and all that decided on its arithmetic, is its identity; the
identity's hash is its address.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.errors import ManifestError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_runtime.artifacts import Manifest

OPTIONS_KEY = "engine"
"""Where an engine's manifest keeps its identity: ``options["engine"]``."""
VERSION_COMPATIBLE = "VERSION_COMPATIBLE"
"""Flag of an engine that later versions of the same major version load too."""
AMPERE_PLUS, SAME_COMPUTE_CAPABILITY = "AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY"
"""Hardware levels of an engine that other GPUs load too: all from Ampere on, or all of its kind."""
_AMPERE = "8.0+"


@dataclass(frozen=True)
class EngineIdentity:
    """Everything that makes one engine another than the next."""

    onnx_sha256: str
    """Of the graph it was built from."""
    precision: str
    """``fp32``, ``fp16`` or ``int8``, as asked for and found in the engine."""
    typing: str
    """``strong``: the graph's own types; ``weak``: the builder's flags."""
    runtime: str
    """Python package that built it: ``tensorrt`` or ``tensorrt_rtx``."""
    runtime_version: str
    """In full: engines do not move between versions, unless `version_compatible`."""
    platform: str
    """Such as ``linux-aarch64``."""
    gpu: str | None = None
    """Name of the GPU it was built on; null for an engine built ahead of time without one."""
    compute_capability: str | None = None
    cuda: str | None = None
    l4t: str | None = None
    targets: tuple[str, ...] = ()
    """Compute capabilities it was built for ahead of time, ``12.0+`` meaning that and later ones;
    empty for the GPU it was built on."""
    dla_core: int | None = None
    flags: tuple[str, ...] = ()
    """Builder flags and settings that change the engine, sorted."""
    calibration_key: str | None = None
    """sha256 of the calibration cache; null where ranges lie in the graph."""
    fp16_sha256: str | None = None
    """Of the FP16 graph that was made of an FP32 model on the way; null where there was none."""
    multiprocessors: int | None = None
    """That the GPU it was built on had then, in its power mode; null in engines built before this
    was noted."""

    @property
    def version_compatible(self) -> bool:
        """Whether later versions load it, if they are allowed to run the code that it brings."""
        return VERSION_COMPATIBLE in self.flags

    @property
    def key(self) -> str:
        """Hex sha256 of all fields: the engine's address."""
        values = msgspec.to_builtins(self)
        for name in _LATER:  # so that what was built before has the address that it had
            if values[name] is None:
                del values[name]
        return hashlib.sha256(msgspec.json.encode(values, order="sorted")).hexdigest()


_LATER = ("fp16_sha256", "multiprocessors")
"""Fields that the first engines did not have."""
_WORDS = {
    "onnx_sha256": "the ONNX model",
    "precision": "the precision",
    "typing": "the typing",
    "runtime": "the runtime",
    "runtime_version": "the runtime's version",
    "platform": "the platform",
    "gpu": "the GPU",
    "compute_capability": "the GPU's compute capability",
    "cuda": "the CUDA version",
    "l4t": "the L4T release",
    "targets": "the list of compute capabilities",
    "dla_core": "the DLA core",
    "flags": "the list of builder flags",
    "calibration_key": "the calibration cache",
    "multiprocessors": "the GPU's number of multiprocessors",
    "fp16_sha256": "the FP16 graph on the way",
}


def differences(built: EngineIdentity, wanted: EngineIdentity) -> list[str]:
    """In words, field by field, what an engine has and what is wanted here."""
    found = []
    for item in fields(EngineIdentity):
        have, want = getattr(built, item.name), getattr(wanted, item.name)
        if have != want:
            words = f"{_WORDS[item.name]} was {_shown(have)} and is {_shown(want)} here"
            found.append(words)
    return found


def misfits(
    built: EngineIdentity,
    *,
    runtime: str,
    version: str,
    platform: str,
    gpu: str | None,
    compute_capability: str | None,
) -> list[str]:
    """In words, why an engine cannot run here; empty if nothing speaks against it.

    Unlike `differences` this judges an engine without knowing what it should have been built of.

    Args:
        built: the engine's identity.
        runtime: package that would load it.
        version: of that package, in full.
        platform: of this machine, such as ``linux-x86_64``.
        gpu: name of this machine's GPU; None for none.
        compute_capability: of that GPU.
    """
    pairs: list[tuple[str, str | None, str | None]] = [
        ("runtime", built.runtime, runtime),
        ("platform", built.platform, platform),
    ]
    if not (built.version_compatible and _is_later(built.runtime_version, version)):
        pairs.append(("runtime_version", built.runtime_version, version))
    targets = _targets(built)
    if not targets:
        pairs += [
            ("gpu", built.gpu, gpu),
            ("compute_capability", built.compute_capability, compute_capability),
        ]
    found = [
        f"{_WORDS[name]} was {_shown(have)} and is {_shown(want)} here"
        for name, have, want in pairs
        if have != want
    ]
    if targets and not any(_serves(target, compute_capability) for target in targets):
        found.append(
            f"it was built for compute capability {_shown(targets)} and the GPU here has "
            f"{_shown(compute_capability)}"
        )
    return found


def tuned_for(built: EngineIdentity, multiprocessors: int | None) -> list[str]:
    """In words, that an engine loads here but was tuned for more or fewer multiprocessors.

    It may be another board (an Orin Nano, NX and AGX all call their GPU Orin) or another power mode
    of this one, most of which switch multiprocessors off.

    Args:
        built: the engine's identity.
        multiprocessors: of the GPU here as it is now; None: not known.
    """
    if _targets(built) or None in (built.multiprocessors, multiprocessors):
        return []
    return differences(built, replace(built, multiprocessors=multiprocessors))


def identity_of(path: Path, manifest: Manifest) -> EngineIdentity:
    """The identity in an engine's manifest.

    Raises:
        ManifestError: it is missing or malformed.
    """
    try:
        return msgspec.convert(manifest.options[OPTIONS_KEY], EngineIdentity)
    except KeyError:
        raise ManifestError(
            f"{path}: its manifest does not say what it was built for; build it anew"
        ) from None
    except msgspec.ValidationError as error:
        raise ManifestError(f"{path}: its manifest's identity is malformed: {error}") from error


def _targets(built: EngineIdentity) -> tuple[str, ...]:
    """Compute capabilities it loads on whatever the GPU; empty: on GPUs like its builder's only."""
    if built.targets:
        return built.targets
    if f"hardware={AMPERE_PLUS}" in built.flags:
        return (_AMPERE,)
    if f"hardware={SAME_COMPUTE_CAPABILITY}" in built.flags and built.compute_capability:
        return (built.compute_capability,)
    return ()


def _is_later(built: str, here: str) -> bool:
    """Whether `here` is `built` or a later version of the same major version."""
    try:
        older, newer = _numbers(built), _numbers(here)
    except ValueError:
        return False
    return older[0] == newer[0] and older <= newer


def _serves(target: str, capability: str | None) -> bool:
    if capability is None:
        return False
    if target.endswith("+"):
        return _numbers(capability) >= _numbers(target[:-1])
    return capability == target


def _numbers(dotted: str) -> tuple[int, ...]:
    return tuple(int(part) for part in dotted.split("."))


def _shown(value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    text = str(value)
    return f"{text[:12]}..." if len(text) == 64 else text
