"""Algorithm 1 gives the published divisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.model.channel_division import divide_channels, divide_channels_legacy

PUBLISHED = [
    # preset, signal channels, generated weights, unit, channels
    ("cityscapes-m", 1280, [5248, 3008, 704, 2352, 4216], 32, [416, 224, 128, 192, 320]),
    ("cityscapes-s", 1280, [4160, 992, 208, 3676], 32, [576, 128, 64, 512]),
    ("camvid-s", 1280, [5248, 3008, 704, 2352, 1892], 64, [448, 256, 256, 192, 128]),
    (
        "camvid-l", 1280, [5248, 3008, 704, 2352, 2068, 1764], 64,
        [384, 192, 256, 192, 128, 128],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "channels", "weights", "unit", "expected"), PUBLISHED)
def test_published_divisions(name, channels, weights, unit, expected):
    assert divide_channels(channels, weights, unit) == expected


@pytest.mark.parametrize(
    "weights",
    [[9408, 4488, 6624, 1716, 992, 902], [9408, 4496, 6624, 1728, 992, 912]],
    ids=["exact", "rounded to groups"],
)
def test_the_published_legacy_division(weights):
    assert divide_channels_legacy(1536, weights, 16) == [592, 272, 416, 96, 48, 112]


def test_equal_layers_share_equally():
    assert divide_channels(256, [100, 100, 400], 16) == [48, 48, 160]


@given(
    st.lists(st.integers(1, 10_000), min_size=1, max_size=6),
    st.sampled_from([8, 16, 64]),
    st.integers(0, 30),
)
def test_every_layer_gets_whole_units_and_no_channel_is_given_twice(weights, unit, spare):
    channels = unit * (len(weights) + spare)
    shares = divide_channels(channels, weights, unit)
    assert all(share >= unit and share % unit == 0 for share in shares)
    # What equal members cannot share evenly stays unused, as in the published rule.
    assert channels - unit * (len(weights) - 1) <= sum(shares) <= channels


@pytest.mark.parametrize("divide", [divide_channels, divide_channels_legacy])
@pytest.mark.parametrize(("channels", "unit"), [(1281, 64), (128, 64)])
def test_too_few_or_uneven_channels_are_refused(divide, channels, unit):
    with pytest.raises(ValueError, match="multiple of 64"):
        divide(channels, [5, 6, 7], unit)
