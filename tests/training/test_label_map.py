"""Whatever a label file stores becomes train ids, or an error that says what was probably meant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge_runtime.labels import CITYSCAPES_19, LabelSet
from tests.training.labelled import write_colours, write_ids
from training.data.label_map import LabelMap, identity_map, read_rgb
from training.data.problems import DataError

AB = LabelSet("ab", ("a", "b"), ((255, 0, 0), (0, 0, 255)))
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)
COLOURS = {RED: 0, BLUE: 1, WHITE: 255}


def test_ids_are_read_from_palette_grey_bilevel_and_16_bit_files(tmp_path: Path) -> None:
    label_map = LabelMap(AB, {0: 0, 1: 1, 300: 255})
    bits = np.array([[0, 1], [1, 0]], np.uint8)
    write_ids(tmp_path / "p.png", bits)
    Image.fromarray(bits).save(tmp_path / "l.png")
    Image.fromarray(bits.astype(bool)).save(tmp_path / "1.png")
    Image.fromarray(np.array([[0, 300]], np.uint16)).save(tmp_path / "16.png")

    for name in ("p.png", "l.png", "1.png"):
        np.testing.assert_array_equal(label_map.read(tmp_path / name), bits)
    assert label_map.read(tmp_path / "16.png").tolist() == [[0, 255]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_decoded(tmp_path: Path, mode: str) -> None:
    path = write_colours(tmp_path / "m.png", [[RED, BLUE], [WHITE, RED]])
    with Image.open(path) as picture:
        picture.convert(mode).save(path)

    train_ids = LabelMap(AB, {}, COLOURS).read(path)

    assert train_ids.tolist() == [[0, 1], [255, 0]]
    assert train_ids.dtype == np.uint8


def test_a_palette_file_counts_by_colour_only_on_request(tmp_path: Path) -> None:
    # given: stored id 1 is shown in the palette's second colour
    path = write_ids(tmp_path / "m.png", [[1]])
    second = (20, 10, 5)

    assert LabelMap(AB, {1: 0}, {second: 1}).read(path).tolist() == [[0]]
    assert LabelMap(AB, {1: 0}, {second: 1}, expand_palette=True).read(path).tolist() == [[1]]


def test_unlisted_ids_take_the_fallback(tmp_path: Path) -> None:
    path = write_ids(tmp_path / "m.png", [[7, 9]])

    assert LabelMap(AB, {7: 1}, other=255).read(path).tolist() == [[1, 255]]


@settings(max_examples=30, deadline=None)
@given(
    stored=st.lists(st.integers(0, 255), min_size=1, max_size=40, unique=True),
    seed=st.integers(0, 2**16),
)
def test_any_id_map_is_followed_and_every_other_id_is_refused(
    tmp_path_factory: pytest.TempPathFactory, stored: list[int], seed: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "m.png"
    rng = np.random.default_rng(seed)
    targets = {code: int(rng.integers(0, 2)) for code in stored}
    ids = rng.choice(stored, (5, 7)).astype(np.uint8)
    Image.fromarray(ids).save(path)

    assert LabelMap(AB, targets).read(path).tolist() == [[targets[int(i)] for i in r] for r in ids]

    missing = int(ids[0, 0])
    del targets[missing]
    with pytest.raises(DataError) as caught:
        LabelMap(AB, targets).read(path)
    assert caught.value.problem.ids == ((str(missing), int((ids == missing).sum())),)


@pytest.mark.parametrize(
    ("classes", "ids", "remedy"),
    [
        (3, [0, 255], r'"id_map": \{"255": "ignore"\}'),
        (2, [0, 255], "did you mean 1"),
        (3, [1, 2, 3], "if ids start at 1, subtract 1"),
        (19, [7, 26, 33, 23], "look like Cityscapes labelIds"),
        (4, [0, 60, 120, 180], "multiples of 60.*divide by 60"),
        (3, list(range(60)), "grey levels.*nearest-neighbour"),
        (3, [0, 5, 9], "relabel them, or add them"),
        (3, [0, 40], "relabel them, or add them"),
    ],
)
def test_remedies_of_unknown_ids(tmp_path: Path, classes: int, ids: list[int], remedy: str) -> None:
    labels = CITYSCAPES_19 if classes == 19 else LabelSet("x", tuple("abcd"[:classes]),
                                                          ((0, 0, 0),) * classes)  # fmt: skip
    path = write_ids(tmp_path / "m.png", [ids])
    label_map = LabelMap(labels, {i: i for i in range(classes)})

    with pytest.raises(DataError, match=remedy):
        label_map.read(path)


@pytest.mark.parametrize(
    ("colours", "remedy"),
    [
        ([[RED, (0, 0, 0)]], "if it means ignored"),
        ([[RED, (9, 9, 9)]], "colour_map"),
        ([[(i, i, i) for i in range(60)]], "anti-aliasing"),
    ],
)
def test_remedies_of_unknown_colours(tmp_path: Path, colours: object, remedy: str) -> None:
    path = write_colours(tmp_path / "m.png", colours)

    with pytest.raises(DataError, match=rf"#[0-9a-f]{{6}} \(1 px\).*{remedy}"):
        LabelMap(AB, {}, COLOURS).read(path)


def test_a_jpeg_label_is_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "m.jpg")

    with pytest.raises(DataError, match="JPEG file, whose compression changes ids"):
        LabelMap(AB, identity_map(2)).read(tmp_path / "m.jpg")


def test_an_image_of_more_than_8_bits_is_refused(tmp_path: Path) -> None:
    # given: what PIL would silently clip to white
    Image.fromarray(np.full((2, 2), 5000, np.uint16)).save(tmp_path / "m.png")

    with pytest.raises(DataError, match="more than 8 bits"):
        read_rgb(tmp_path / "m.png")


@pytest.mark.filterwarnings("ignore")  # PIL warns of much that it then refuses or reads
@settings(max_examples=60, deadline=None)
@given(
    suffix=st.sampled_from(["png", "jpg", "bmp"]),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), max_size=6),
    length=st.floats(0, 1),
)
def test_damaged_files_are_refused_or_read_but_never_crash(
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    flips: list[tuple[float, int]],
    length: float,
) -> None:
    path = tmp_path_factory.mktemp("bad") / f"m.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (16, 24))
    Image.fromarray(noise.astype(np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    for place, bits in flips:
        content[int(place * len(content))] ^= bits
    path.write_bytes(content[: int(length * len(content))])

    for read in (read_rgb, LabelMap(AB, identity_map(2)).read):
        try:
            read(path)
        except DataError as error:
            message = str(error)
        else:
            message = str(path)
        assert str(path) in message
