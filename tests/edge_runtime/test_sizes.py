"""Sizes as people write them."""

import pytest

from edge_runtime.errors import OptionError
from edge_runtime.sizes import parse_size
from edge_runtime.sources.options import parse_options


@pytest.mark.parametrize("text", ["360x640", "360X640", "0360x0640"])
def test_height_comes_first_and_the_cross_may_be_large(text):
    assert parse_size(text) == (360, 640)
    assert parse_options("test:", f"size={text}", ("size",)).size == (360, 640)


@pytest.mark.parametrize(
    "text",
    ["", "x", "360", "360x", "x640", "0x640", "360x0", "0x0", "-1x2", "1.5x2", "1x2x3", " 1x2",
     "1x2\n", "\u0661x2", "9" * 5000 + "x1"],
)  # fmt: skip
def test_what_is_no_size_is_refused(text):
    with pytest.raises(OptionError, match="is not understood; expected HxW in whole pixels"):
        parse_size(text)
