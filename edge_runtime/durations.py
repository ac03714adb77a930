"""Lengths of time as people write them: ``90s``, ``30m``, ``24h``, ``1h30m``, or plain seconds."""

from __future__ import annotations

import re
from math import isfinite

import click

from edge_runtime.errors import OptionError

_UNITS_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
_PARTS = re.compile(rf"(?:{_PART.pattern})+")


def parse_duration(text: str) -> float:
    """Seconds.

    Raises:
        OptionError: it cannot be read, or it is not above 0.
    """
    compact = text.strip().lower()
    if _PARTS.fullmatch(compact):
        seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(compact))
    else:
        try:
            seconds = float(compact)
        except ValueError:
            raise OptionError(
                f"duration {text!r}: expected seconds or a time such as 90s, 30m, 24h or 1h30m"
            ) from None
    if not (isfinite(seconds) and seconds > 0):
        raise OptionError(f"duration {text!r}: expected a time above 0")
    return seconds


def duration(value: str | float) -> float:
    """The ``type`` of an option of the command line that is a length of time; gives seconds.

    Raises:
        click.BadParameter: as `parse_duration`.
    """
    try:
        return parse_duration(str(value))
    except OptionError as error:
        raise click.BadParameter(str(error)) from None
