"""YUV frames: what their bytes mean, and what a manifest says of them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.artifacts import (
    Manifest,
    TensorSpec,
    encode_manifest,
    manifest_path,
    read_manifest,
)
from edge_runtime.errors import ArtifactError, ManifestError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.golden import check_fits, golden_input
from edge_runtime.pixels import YuvFormat, require_rgb
from edge_runtime.yuv import as_input, black_frame, from_rgb, planes, to_rgb
from edge_runtime.zoo import resolve_model

FORMATS = [
    YuvFormat(*words)
    for words in itertools.product(("nv12", "yuy2"), ("bt601", "bt709"), ("limited", "full"))
]
COLOURS = {
    # (R, G, B): Y, U, V by matrix and range, from the tables of ITU-R BT.601 and BT.709.
    ("bt601", "limited"): {
        (255, 255, 255): (235, 128, 128),
        (0, 0, 0): (16, 128, 128),
        (255, 0, 0): (81, 90, 240),
        (0, 255, 0): (145, 54, 34),
        (0, 0, 255): (41, 240, 110),
    },
    ("bt709", "limited"): {
        (255, 0, 0): (63, 102, 240),
        (0, 255, 0): (173, 42, 26),
        (0, 0, 255): (32, 240, 118),
    },
    ("bt601", "full"): {(255, 255, 255): (255, 128, 128), (255, 0, 0): (76, 85, 255)},
}


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_manifest(resolve_model("street-edge-n"))


def with_yuv(manifest: Manifest, yuv: YuvFormat) -> Manifest:
    spec = TensorSpec("frame", (1, *yuv.rows(manifest.input_size)), "uint8")
    preprocess = replace(manifest.preprocess, yuv=yuv)
    return replace(manifest, preprocess=preprocess, inputs=(spec,))


@pytest.mark.parametrize("pixels", ["nv12", "yuy2"])
@pytest.mark.parametrize(("matrix", "spread"), COLOURS)
def test_colours_are_those_of_the_standards(matrix, spread, pixels):
    for colour, expected in COLOURS[matrix, spread].items():
        yuv = YuvFormat(pixels, matrix, spread)
        rows = from_rgb(np.full((2, 4, 3), colour, np.uint8), yuv)
        assert [set(plane.ravel()) for plane in planes(rows, yuv)] == [{v} for v in expected]


@pytest.mark.parametrize("yuv", FORMATS, ids=str)
def test_flat_colours_come_back(yuv):
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    picture = colours.repeat(2, 0).repeat(2, 1)
    assert np.abs(to_rgb(from_rgb(picture, yuv), yuv) - picture).max() < 2.0


@pytest.mark.parametrize(
    ("pixels", "code"), [("nv12", cv2.COLOR_YUV2RGB_NV12), ("yuy2", cv2.COLOR_YUV2RGB_YUY2)]
)
def test_any_bytes_become_the_colours_that_opencv_makes_of_them(pixels, code):
    yuv = YuvFormat(pixels)
    rows = np.random.default_rng(1).integers(0, 256, yuv.rows((32, 48)), np.uint8)
    # OpenCV takes luma below black for black; the graph does not.
    luma = planes(rows, yuv)[0]
    luma[...] = np.maximum(luma, 16)
    theirs = cv2.cvtColor(rows.reshape(32, 48, 2) if pixels == "yuy2" else rows, code)
    assert np.abs(np.clip(to_rgb(rows, yuv), 0, 255) - theirs).max() < 1.5


@pytest.mark.parametrize("yuv", FORMATS, ids=str)
def test_rows_and_size_say_the_same_and_black_is_black(yuv):
    rows = black_frame(yuv, (6, 10))
    assert rows.shape == yuv.rows((6, 10))
    assert yuv.size(rows.shape) == (6, 10)
    assert np.abs(to_rgb(rows, yuv)).max() < 1e-9


@given(
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_an_even_letterbox_lies_on_even_pixels_inside_the_input(frame, tiles):
    network = tiles[0] * 32, tiles[1] * 32
    top, left, height, width = FrameGeometry(frame, network, "letterbox", even=True).content
    assert not any(edge % 2 for edge in (top, left, height, width))
    assert height >= 2 <= width
    assert top + height <= network[0]
    assert left + width <= network[1]
    plain = FrameGeometry(frame, network, "letterbox").content
    assert abs(plain[2] - height) <= 2 >= abs(plain[3] - width)


@pytest.mark.parametrize("yuv", FORMATS[::3], ids=str)
def test_a_manifest_keeps_the_format_and_knows_the_size(yuv, manifest, tmp_path):
    yuv_manifest = with_yuv(manifest, yuv)
    read = msgspec.json.decode(encode_manifest(yuv_manifest), type=Manifest)
    assert read == yuv_manifest
    assert read.input_size == manifest.input_size
    assert golden_input(read).shape == read.inputs[0].shape[1:]


def test_a_manifest_from_before_is_one_of_rgb(manifest):
    # given: one that was written before there were others
    facts = msgspec.json.decode(encode_manifest(manifest))
    del facts["preprocess"]["yuv"]

    read = msgspec.json.decode(msgspec.json.encode(facts), type=Manifest)

    assert read == manifest
    assert manifest.preprocess.yuv is None
    picture = golden_input(manifest)
    assert picture.shape == (*manifest.input_size, 3)
    assert as_input(picture, manifest.preprocess) is picture


def test_a_format_that_nobody_knows_is_refused(manifest, tmp_path):
    model = tmp_path / "m.onnx"
    model.write_bytes(b"model")
    text = encode_manifest(with_yuv(manifest, YuvFormat("nv12"))).replace('"nv12"', '"nv21"')
    manifest_path(model).write_text(text, encoding="utf-8")
    with pytest.raises(ManifestError, match=r"nv21.*yuv\.pixels"):
        read_manifest(model, verify=False)


def test_a_run_does_not_exchange_its_model_for_one_of_other_pixels(manifest):
    with pytest.raises(ArtifactError, match=r"pixel format \(NV12 bt601 limited\) differs.*RGB"):
        check_fits(manifest, with_yuv(manifest, YuvFormat("nv12")))


def test_what_works_on_pictures_only_refuses_it_in_one_line(manifest):
    require_rgb(manifest)
    with pytest.raises(ArtifactError, match="takes YUY2 bt709 full frames") as caught:
        require_rgb(with_yuv(manifest, YuvFormat("yuy2", "bt709", "full")))
    assert "\n" not in str(caught.value)
