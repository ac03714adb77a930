"""Sizes of pictures as people write them: height first, as in ``360x640``."""

from __future__ import annotations

import re

from edge_runtime.errors import OptionError

_FORM = re.compile(r"0*([1-9][0-9]{0,5})[xX]0*([1-9][0-9]{0,5})")


def parse_size(text: str) -> tuple[int, int]:
    """``HxW`` as (height, width) in pixels.

    Raises:
        OptionError: it is something else, or a side is 0.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise OptionError(
            f"size {text!r} is not understood; expected HxW in whole pixels, such as 360x640"
        )
    return int(found[1]), int(found[2])
