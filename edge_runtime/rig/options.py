"""Options of a run with several cameras. Their defaults are written here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

from edge_runtime.errors import OptionError
from edge_runtime.options import RunOptions
from edge_runtime.policy import parse_policy
from edge_runtime.redact import redact
from edge_runtime.sinks.spec import parse_sink

PLACE = "{camera}"
"""Stands for a camera's name in sinks and in the frames log."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
"""What may be a camera's name: it becomes part of names of files."""

Sources = Sequence[str] | Mapping[str, str]
"""Texts of sources, each with or without ``NAME=`` before it, or sources by camera name."""


@dataclass(frozen=True)
class RigOptions:
    """How one network is run on several cameras.

    Raises:
        OptionError: a value that cannot work.
    """

    run: RunOptions = field(default_factory=RunOptions)
    """What holds for every camera. ``{camera}`` in its sinks and its frames log is the camera's
    name; the report is one file for all."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """By camera, for those that differ from the policy of `run`."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """By camera: a share of the network where it is too slow for all. 1 unless it is said."""
    match_ms: float | None = None
    """Deliver sets of results, one per camera, whose capture times lie within so many
    milliseconds. None makes no sets."""

    def __post_init__(self) -> None:
        for text in self.policies.values():
            parse_policy(text)
        for name, weight in self.weights.items():
            if not (weight > 0 and isfinite(weight)):
                raise OptionError(f"weight {name}={weight:g}: expected a number above 0")
        if self.match_ms is not None and not (self.match_ms > 0 and isfinite(self.match_ms)):
            raise OptionError(f"match {self.match_ms:g} ms: expected milliseconds above 0")


def name_cameras(sources: Sources) -> dict[str, str]:
    """The text of each source by its camera's name: ``NAME=SOURCE``, else ``camera1`` and so on.

    A file that lies there under the whole text is a source and no name.

    Raises:
        OptionError: none at all, a name that cannot be one, or one that is used twice.
    """
    if isinstance(sources, Mapping):
        pairs = list(sources.items())
    else:
        pairs = [_split(text, number) for number, text in enumerate(sources, start=1)]
    if not pairs:
        raise OptionError("no source; expected one at least, such as test: or front=rtsp://...")
    named: dict[str, str] = {}
    for name, text in pairs:
        if not NAME.fullmatch(name):
            raise OptionError(f"camera name {name!r}: expected letters, digits, '_' and '-'")
        if name in named:
            raise OptionError(
                f"two cameras are called {name!r} ({redact(named[name])}, {redact(text)}); give "
                "each its own name, as in front=SOURCE"
            )
        named[name] = text
    return named


def is_named(text: str) -> bool:
    """Whether a source's text begins with the name of its camera."""
    name, equals, rest = text.partition("=")
    return bool(equals and rest and NAME.fullmatch(name)) and not _is_file(text)


def needs_rig(sources: Sequence[str], options: RigOptions) -> bool:
    """Whether a run is more than one source without a name."""
    run = options.run
    named = any(PLACE in text for text in (*run.sinks, str(run.frames_log)))
    single = options.policies or options.weights or options.match_ms is not None
    return len(sources) > 1 or is_named(sources[0]) or named or bool(single)


def split_policies(texts: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """The policy of all cameras, if any, and those of single ones, from ``[NAME=]POLICY`` each."""
    general, single = None, {}
    for text in texts:
        name, equals, policy = text.partition("=")
        if equals and name != "deadline":
            single[name] = policy
        else:
            general = text
    return general, single


def split_weights(texts: Sequence[str]) -> dict[str, float]:
    """Weights by camera, from ``NAME=NUMBER`` each.

    Raises:
        OptionError: one cannot be read.
    """
    weights = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise OptionError(f"weight {text!r}: expected NAME=NUMBER, as in front=2") from None
    return weights


def camera_options(options: RigOptions, names: Sequence[str]) -> dict[str, RunOptions]:
    """The options of each camera, its name written into them.

    Raises:
        OptionError: a policy or weight of no camera, or outputs that all cameras would write to.
    """
    for kind, given in (("policy", options.policies), ("weight", options.weights)):
        for name in given:
            if name not in names:
                raise OptionError(f"{kind} for {name!r}: the cameras are {', '.join(names)}")
    if len(names) > 1:
        _check_places(options.run)
    return {
        name: replace(
            options.run,
            policy=options.policies.get(name, options.run.policy),
            sinks=tuple(_fill(text, name) for text in options.run.sinks),
            frames_log=_fill_path(options.run.frames_log, name),
        )
        for name in names
    }


def _split(text: str, number: int) -> tuple[str, str]:
    if not is_named(text):
        return f"camera{number}", text
    name, _, source = text.partition("=")
    return name, source


def _is_file(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or not even text
        return False


def _check_places(options: RunOptions) -> None:
    for text in options.sinks:
        if parse_sink(text).path is not None and PLACE not in text:
            raise OptionError(
                f"sink {text!r} would be written by all cameras; put {PLACE} into its name, as in "
                f"overlay-{PLACE}.mp4"
            )
    log = options.frames_log
    if log is not None and PLACE not in str(log):
        raise OptionError(
            f"frames log {log} would be written by all cameras; put {PLACE} into its name, as in "
            f"frames-{PLACE}.jsonl"
        )


def _fill(text: str, name: str) -> str:
    return text.replace(PLACE, name)


def _fill_path(path: Path | None, name: str) -> Path | None:
    return None if path is None else Path(_fill(str(path), name))
