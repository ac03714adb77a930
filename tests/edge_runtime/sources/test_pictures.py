"""Memory of pictures goes round, and never while anybody holds a part of it."""

import gc

import numpy as np
import pytest

from edge_runtime.sources.pictures import KEPT, PicturePool

SHAPE = (4, 6, 3)


def address(array):
    return array.ctypes.data


@pytest.fixture
def pool():
    return PicturePool()


def test_memory_that_was_let_go_is_lent_again(pool):
    first = pool.take(SHAPE)
    place = address(first)
    del first

    again = pool.take(SHAPE)

    assert address(again) == place
    assert (again.shape, again.dtype) == (SHAPE, np.uint8)
    assert again.flags.c_contiguous
    assert again.flags.writeable


@pytest.mark.parametrize(
    "part",
    [
        lambda picture: picture,
        lambda picture: picture[1:3, ::2],
        lambda picture: picture[1:][1:, 0],
        lambda picture: picture.reshape(-1).view(np.int8),
        lambda picture: memoryview(picture),
        lambda picture: np.asarray(picture).T,
        lambda picture: np.frombuffer(picture, np.uint8),
    ],
    ids=["itself", "slice", "slice of a slice", "view", "memoryview", "transposed", "buffer"],
)
def test_a_picture_is_never_overwritten_while_a_part_of_it_is_held(pool, part):
    # given a consumer that keeps a part
    picture = pool.take(SHAPE)
    picture[:] = 7
    kept = part(picture)
    del picture
    gc.collect()

    # when many more pictures are made
    for _ in range(2 * KEPT):
        pool.take(SHAPE)[:] = 99

    # then
    assert set(np.asarray(kept).view(np.uint8).ravel().tolist()) == {7}


def test_pictures_that_are_held_at_once_share_nothing(pool):
    pictures = [pool.take(SHAPE) for _ in range(3)]

    assert len({address(picture) for picture in pictures}) == 3


def test_memory_of_another_size_is_let_go(pool):
    pool.take(SHAPE)[:] = 1

    larger = pool.take((8, 6, 3))

    assert larger.shape == (8, 6, 3)
    assert not pool._free


def test_what_waits_is_bounded(pool):
    pictures = [pool.take(SHAPE) for _ in range(2 * KEPT)]
    del pictures

    assert len(pool._free) == KEPT
