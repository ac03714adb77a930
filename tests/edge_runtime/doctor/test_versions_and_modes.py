"""Versions compared as packaging does, and a camera's answers taken apart."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from edge_runtime.doctor import v4l2
from edge_runtime.doctor.machine import Machine
from edge_runtime.doctor.python_checks import check_pins, check_requirements, fits
from edge_runtime.doctor.v4l2 import Mode, query, read_modes

PARTS = st.lists(st.integers(0, 30), min_size=1, max_size=3)


@given(have=PARTS, want=PARTS, sign=st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
def test_versions_are_compared_as_packaging_does(have, want, sign):
    version, bound = (".".join(map(str, part)) for part in (have, want))
    assert fits(version, f"{sign}{bound}") == SpecifierSet(f"{sign}{bound}").contains(version)


def test_what_is_missing_or_too_old_is_a_problem():
    machine = Machine(package={"click": "10.0", "numpy": "2.1.0"}.get)
    wanted = ["click<9,>=8.2", "numpy<3,>=1.26", "rich<16,>=13"]
    found = [(f.status, f.seen) for f in check_requirements(machine, wanted)]
    assert found == [
        ("problem", "click 10.0"),
        ("problem", "rich is missing"),
    ]


def test_pins_count_for_the_python_that_runs():
    machine = Machine(package={"numpy": "2.2.6", "torch": "2.13.0+cpu", "rich": "14.0"}.get)
    newer, older = (f'numpy=={v} ; python_version {m}' for v, m in
                    (("2.4.6", '>= "3.10"'), ("1.0", '< "3.10"')))  # fmt: skip
    (found,) = check_pins(machine, [newer, older, "torch==2.13.0", "rich==15.0.0", "absent==1"])
    assert found.status == "warning"
    assert found.seen == "2 not as tested: numpy 2.2.6 (2.4.6), rich 14.0 (15.0.0)"


@pytest.mark.parametrize(
    ("number", "form"),
    [
        (v4l2.QUERYCAP, v4l2.CAPABILITY),
        (v4l2.ENUM_FMT, v4l2.FORMAT),
        (v4l2.ENUM_SIZES, v4l2.SIZE),
        (v4l2.ENUM_INTERVALS, v4l2.INTERVAL),
    ],
)
def test_the_size_of_each_structure_is_the_one_in_its_number(number, form):
    assert number >> 16 & 0x3FFF == form.size
    assert number >> 8 & 0xFF == ord("V")


YUYV, MJPG = (int.from_bytes(name, "little") for name in (b"YUYV", b"MJPG"))


def driver(number, given_bytes):
    """A driver with YUYV in one size at two rates, and MJPG in a range of sizes."""
    if number == v4l2.QUERYCAP:
        return v4l2.CAPABILITY.pack(b"uvcvideo", b"HD Cam", b"usb", 1, 0x84A00001, 0x04200001)
    if number == v4l2.ENUM_FMT:
        index, kind, *_ = v4l2.FORMAT.unpack(given_bytes)
        assert kind == 1
        pixels = answer_at(index, [YUYV, MJPG])
        return v4l2.FORMAT.pack(index, kind, 0, b"text", pixels, 0, 0, 0, 0)
    if number == v4l2.ENUM_SIZES:
        index, pixels, *_ = v4l2.SIZE.unpack(given_bytes)
        sizes = {YUYV: [(1, 640, 480, 0, 0, 0, 0)], MJPG: [(3, 160, 1920, 8, 120, 1080, 8)]}
        return v4l2.SIZE.pack(index, pixels, *answer_at(index, sizes[pixels]), 0, 0)
    index, pixels, width, height, *_ = v4l2.INTERVAL.unpack(given_bytes)
    rates = {YUYV: [(1, 1, 15), (1, 1, 30)], MJPG: []}
    rate = answer_at(index, rates[pixels])
    return v4l2.INTERVAL.pack(index, pixels, width, height, *rate, *[0] * 6)


def answer_at(index, answers):
    if index >= len(answers):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return answers[index]


def test_a_cameras_answers_are_taken_apart():
    told = query(driver)
    assert (told.name, told.driver, told.captures) == ("HD Cam", "uvcvideo", True)
    assert told.modes == (Mode("YUYV", 480, 640, 30.0), Mode("MJPG", 1080, 1920, None))


def test_a_node_for_metadata_has_no_modes():
    def metadata(number, given_bytes):
        assert number == v4l2.QUERYCAP
        return v4l2.CAPABILITY.pack(b"uvcvideo", b"HD Cam", b"usb", 1, 0x84A00001, 0x04A00000)

    assert not query(metadata).captures


def test_what_is_no_camera_has_no_modes(tmp_path):
    (tmp_path / "video0").touch()
    assert read_modes(tmp_path / "video0") is None
    assert read_modes(tmp_path / "none") is None
