"""Copies of pixels are counted where they are made, and are as few as the documentation says."""

import io
import json
from dataclasses import asdict

import numpy as np
import pytest
from rich.console import Console

from edge_runtime.copies import Copies
from edge_runtime.display import print_report
from edge_runtime.loop import LoopOptions
from edge_runtime.policy import EVERY
from edge_runtime.rig.slot import Slot
from edge_runtime.runner import execute
from edge_runtime.video import Frame, SourceRequest
from tests.scripted import SIZE, FakeClock, ScriptedBackend, ScriptedSource

FRAMES = 5
INPUT_BYTES = SIZE[0] * SIZE[1] * 3
PICTURE = (8, 12)
PICTURE_BYTES = PICTURE[0] * PICTURE[1] * 3


def run_on_pattern(*, resize="stretch", with_picture=False, size=PICTURE):
    """A real pipeline in front of a scripted engine."""
    pytest.importorskip("gi")
    from edge_runtime.sources import open_source

    backend = ScriptedBackend(FakeClock(), infer_ms=0.0)
    text = f"test:bars?size={size[0]}x{size[1]}&frames={FRAMES}&fps=100"
    request = SourceRequest(SIZE, resize=resize, latest=False, with_picture=with_picture)
    with backend:
        options = LoopOptions(policy=EVERY)
        return execute(backend, open_source(text, request), backend.manifest, options).report


@pytest.mark.gst
def test_on_the_default_path_a_frame_is_mapped_once_and_copied_once():
    report = run_on_pattern()

    assert report.frames.inferred == FRAMES
    assert report.copies == Copies(
        frames=FRAMES,
        host_pixel_maps=FRAMES,
        host_copies=FRAMES,
        host_copy_bytes=FRAMES * INPUT_BYTES,
    )


@pytest.mark.gst
def test_a_full_picture_costs_one_map_and_one_copy_more():
    copies = run_on_pattern(with_picture=True).copies

    assert (copies.host_pixel_maps, copies.host_copies) == (2 * FRAMES, 2 * FRAMES)
    assert copies.host_copy_bytes == FRAMES * (INPUT_BYTES + PICTURE_BYTES)


@pytest.mark.gst
def test_black_borders_cost_one_copy_of_what_lies_between_them():
    copies = run_on_pattern(resize="letterbox", size=(8, 8)).copies

    content = SIZE[0] * SIZE[0] * 3
    assert (copies.host_pixel_maps, copies.host_copies) == (FRAMES, 2 * FRAMES)
    assert copies.host_copy_bytes == FRAMES * (INPUT_BYTES + content)


def a_frame(index):
    return Frame(index, None, np.zeros((*SIZE, 3), np.uint8), PICTURE, 0, 0, 0, 0)


def test_a_cameras_thread_costs_one_copy_also_of_a_frame_that_was_replaced():
    slot = Slot()

    slot.put(a_frame(0), lossless=False)
    slot.put(a_frame(1), lossless=False)

    taken = slot.take()
    assert taken.index == 1
    assert (taken.copies.host_copies, taken.copies.host_copy_bytes) == (2, 2 * INPUT_BYTES)


class CopyingBackend(ScriptedBackend):
    """Says that it transferred two inputs and one output."""

    def infer(self, stamps):
        super().infer(stamps)
        stamps.host_to_device_copies, stamps.device_to_host_copies = 2, 1


def test_transfers_of_an_engine_are_counted_per_inference():
    clock = FakeClock()
    with CopyingBackend(clock) as backend:
        source = ScriptedSource(clock, count=FRAMES, latest=False)
        options = LoopOptions(policy=EVERY, clock=clock)
        copies = execute(backend, source, backend.manifest, options).report.copies

    assert (copies.host_to_device_copies, copies.device_to_host_copies) == (2 * FRAMES, FRAMES)


def test_copies_add_up():
    total = Copies(frames=1, host_copies=2)

    total.add(Copies(frames=3, nvmm_frames=1, host_copy_bytes=7))

    assert total == Copies(frames=4, nvmm_frames=1, host_copies=2, host_copy_bytes=7)


def test_the_report_and_its_summary_name_them():
    clock = FakeClock()
    with ScriptedBackend(clock) as backend:
        source = ScriptedSource(clock, count=FRAMES, latest=False)
        options = LoopOptions(policy=EVERY, clock=clock)
        report = execute(backend, source, backend.manifest, options).report

    assert json.loads(report.to_json())["copies"] == asdict(report.copies)
    text = io.StringIO()
    print_report(report, Console(file=text, width=200))
    assert "Copies per frame: 1 in host memory (0.00 MB), 0 to the device, 0 from it." in (
        text.getvalue()
    )
