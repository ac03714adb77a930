"""The camera that fails on purpose: its schedules, and what each fault does to a real pipeline."""

from __future__ import annotations

import time
from itertools import islice, pairwise
from pathlib import Path

import pytest

from edge_runtime.errors import SourceEndedError, SourceError
from edge_runtime.sources import SourceOpener, open_source
from edge_runtime.sources.devices import stable_device
from edge_runtime.sources.fault import KINDS, InjectedFault, parse_schedule
from edge_runtime.sources.fault_script import FaultScript
from edge_runtime.sources.ledger import Entry, FrameLedger
from edge_runtime.sources.open import plan_source
from edge_runtime.video import SourceRequest

NETWORK = (48, 80)
CAMERA = "test:bars?size=60x80&fps=50"


def test_a_schedule_names_faults_by_kind_amount_start_and_duration() -> None:
    schedule = parse_schedule("unplug@12.5,jitter=0.2@3+1.5")

    assert schedule.planned == (
        InjectedFault("jitter", 3.0, 1.5, 0.2),
        InjectedFault("unplug", 12.5, KINDS["unplug"].duration_s, 0.0),
    )
    assert schedule.may_occur == {"jitter", "unplug"}
    assert list(schedule.faults()) == list(schedule.planned)


def test_drawn_faults_are_the_same_for_the_same_seed() -> None:
    def first(text: str) -> list[InjectedFault]:
        return list(islice(parse_schedule(text).faults(), 200))

    assert first("every=10,seed=3") == first("every=10,seed=3")
    assert first("every=10,seed=3") != first("every=10,seed=4")
    assert {fault.kind for fault in first("every=10")} == set(KINDS)
    assert {fault.kind for fault in first("every=10,kinds=stall/eos")} == {"stall", "eos"}
    starts = [fault.start_s for fault in first("every=10")]
    assert starts == sorted(starts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fault:test:", "expected fault:SCHEDULE:SOURCE"),
        ("fault::test:", "expected fault:SCHEDULE:SOURCE"),
        ("fault:stall@5:", "expected fault:SCHEDULE:SOURCE"),
        ("fault:blink@5:test:", "no fault 'blink'; expected one of stall, hang"),
        ("fault:stall@x:test:", "'x' is no number"),
        ("fault:stall@nan:test:", "no usable number"),
        ("fault:stall@-1:test:", "expected seconds above 0"),
        ("fault:stall@5+0:test:", "expected seconds above 0"),
        ("fault:eos@5+3:test:", "eos happens at one time"),
        ("fault:stall=2@5:test:", "stall takes no amount"),
        ("fault:drop=2@5:test:", "amount 2, expected 0 to 1"),
        ("fault:seed=3:test:", "has no fault in it"),
        ("fault:every=0:test:", "expected seconds above 0"),
        ("fault:every=9,kinds=stall/blink:test:", "no fault 'blink'"),
        ("fault:every=9,seed=x:test:", "seed='x'"),
        ("fault:stall:test:", "'stall' cannot be read"),
        ("fault:stall@5:fault:eos@6:test:", "into one schedule"),
        ("fault:stall@5:nowhere.mp4", "no source 'nowhere.mp4'"),
        ("fault:size@5:csi://0", "leave it out"),
    ],
)
@pytest.mark.gst
def test_a_schedule_that_cannot_be_read_says_what_was_expected(text: str, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        plan_source(text)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.gst
def test_credentials_of_the_wrapped_source_stay_secret() -> None:
    plan = plan_source("fault:stall@5:rtsp://admin:s3cret@10.0.0.5/live")

    assert plan.uri == "fault:stall@5:rtsp://***@10.0.0.5/live"
    with pytest.raises(SourceError) as caught:
        plan_source("fault:rtsp://admin:s3cret@10.0.0.5/live")
    assert "s3cret" not in str(caught.value)


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def script(text: str) -> tuple[FaultScript, Clock]:
    clock = Clock()
    return FaultScript(parse_schedule(text), clock), clock


def test_an_unplugged_camera_cannot_be_opened_until_it_is_back() -> None:
    faults, clock = script("unplug@5+3")
    opening = faults.open("cam")

    clock.now_s += 4.9
    assert opening.judge().fate == "pass"
    clock.now_s += 0.2
    assert opening.judge().fate == "unplug"
    with pytest.raises(SourceError, match=r"cannot open cam: unplugged .* another 2\.9 s"):
        faults.open("cam")
    clock.now_s += 3.0
    assert opening.judge().fate == "unplug", "the old opening stays dead"
    assert faults.open("cam").judge().fate == "pass"


def test_a_stall_ends_by_itself_and_a_hang_when_it_is_opened_again() -> None:
    faults, clock = script("stall@1+2,hang@10")
    opening = faults.open("cam")

    clock.now_s += 2
    assert opening.judge().fate == "withhold"
    assert faults.open("cam").judge().fate == "withhold"
    clock.now_s += 1.1
    assert opening.judge().fate == "pass"
    clock.now_s += 500
    assert opening.judge().fate == "withhold"
    assert faults.open("cam").judge().fate == "pass"


def test_only_the_next_opening_starts_slowly() -> None:
    faults, clock = script("slow-start@5+3")
    assert faults.open("cam").judge().fate == "pass"
    clock.now_s += 60

    slow = faults.open("cam")

    assert slow.judge().fate == "withhold"
    clock.now_s += 3.1
    assert slow.judge().fate == "pass"
    assert faults.open("cam").judge().fate == "pass"


def test_jumps_of_the_presentation_time_stay_and_add_up() -> None:
    faults, clock = script("pts-jump=10@1,pts-jump=-3@2")
    opening = faults.open("cam")
    shifts = []

    for _ in range(4):
        shifts.append(opening.judge().pts_shift_s)
        clock.now_s += 1

    assert shifts == [0.0, 10.0, 7.0, 7.0]


def look(
    schedule: str, seconds: float = 1.6, inner: str = CAMERA, *, latest: bool = False
) -> tuple[list[tuple[float, object]], object]:
    """Frames of a faulty camera with the time of their reading, and the source."""
    seen = []
    begin = time.monotonic()
    with open_source(f"fault:{schedule}:{inner}", SourceRequest(NETWORK, latest=latest)) as source:
        while time.monotonic() - begin < seconds and not source.ended:
            frame = source.read(0.1)
            if frame is not None:
                seen.append((time.monotonic() - begin, frame))
    return seen, source


def gap(seen: list[tuple[float, object]]) -> float:
    times = [at for at, _ in seen]
    return max(after - before for before, after in pairwise(times))


@pytest.mark.gst
@pytest.mark.parametrize("fault", ["stall@0.5+0.6", "hang@0.5", "slow-start@0+0.6"])
def test_silent_faults_post_nothing(fault: str) -> None:
    seen, source = look(fault)

    assert not source.ended
    assert len(seen) > 10
    if fault.startswith("stall"):
        assert gap(seen) > 0.5
    elif fault.startswith("hang"):
        assert seen[-1][0] < 1.2
    else:
        assert seen[0][0] > 0.55


@pytest.mark.gst
def test_an_unplugged_camera_fails_on_the_bus() -> None:
    with pytest.raises(SourceError, match=r"failed after \d+ frames: The device was unplugged"):
        look("unplug@0.5")


@pytest.mark.gst
def test_an_injected_end_is_no_end() -> None:
    with pytest.raises(SourceEndedError, match="ended the stream"):
        look("eos@0.5")


@pytest.mark.gst
def test_late_frames_keep_their_order_and_number() -> None:
    calm, _ = look("stall@60")
    late, source = look("jitter=0.2@0.2+5")
    burst, _ = look("burst=0.3@0.2+5")

    assert gap(late) > 2 * 0.02
    assert gap(burst) > 0.25
    assert len(late) > len(calm) - 25
    assert [frame.index for _, frame in late] == list(range(len(late)))
    assert source.counters.source_gap == 0


@pytest.mark.gst
def test_dropped_frames_are_gaps_in_the_cameras_numbers() -> None:
    _, source = look("drop=0.5@0.2+5")

    assert source.counters.source_gap > 10


@pytest.mark.gst
def test_damaged_frames_are_marked_and_noise() -> None:
    seen, _ = look("corrupt=0.5@0.2+5")

    damaged = [frame for _, frame in seen if frame.damaged]
    assert 10 < len(damaged) < len(seen) - 10


@pytest.mark.gst
def test_the_size_changes_and_changes_back() -> None:
    seen, _ = look("size=0.5@0.4+0.4")

    sizes = [frame.size for _, frame in seen]
    assert [size for i, size in enumerate(sizes) if i == 0 or size != sizes[i - 1]] == [
        (60, 80),
        (30, 40),
        (60, 80),
    ]
    assert {frame.image.shape for _, frame in seen} == {(*NETWORK, 3)}


@pytest.mark.gst
@pytest.mark.parametrize(("fault", "low", "high"), [
    ("pts-jump=10@0.5", 9.5, 11.0),
    ("pts-jump=-0.3@0.8", -0.4, -0.1),
    ("pts-jump=-99@0.8", -1.6, -0.3),
])  # fmt: skip
def test_the_presentation_time_jumps(fault: str, low: float, high: float) -> None:
    seen, _ = look(fault)

    times = [frame.pts_ns for _, frame in seen]
    steps = [(after - before) * 1e-9 for before, after in pairwise(times)]
    jump = max(steps, key=abs)
    assert low < jump < high
    assert min(times) >= 0


@pytest.mark.gst
def test_presentation_times_repeat_or_go_missing() -> None:
    repeated, _ = look("pts-repeat@0.4+0.5")
    missing, _ = look("pts-missing@0.4+0.5")

    times = [frame.pts_ns for _, frame in repeated]
    assert sum(before == after for before, after in pairwise(times)) > 10
    assert sum(frame.pts_ns is None for _, frame in missing) > 10
    assert missing[-1][1].pts_ns is not None


@pytest.mark.gst
@pytest.mark.parametrize("fault", ["pts-repeat@0+9", "pts-missing@0+9"])
def test_a_frame_that_comes_while_another_is_taken_keeps_its_own_stamps(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given frames that share a time, and a reader that is held up between pulling and taking
    take = FrameLedger.take

    def take_late(ledger: FrameLedger, buffer: int, *, newest: bool) -> Entry | None:
        time.sleep(0.05)
        return take(ledger, buffer, newest=newest)

    monkeypatch.setattr(FrameLedger, "take", take_late)
    seen, source = look(fault, 1.0, latest=True)

    frames = [frame for _, frame in seen]
    assert len(frames) > 5
    assert all(frame.ready_ns <= frame.dequeue_ns for frame in frames)
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    in_flight = source.counters.captured - source.counters.dropped_queue - len(frames)
    assert 0 <= in_flight <= 3


@pytest.mark.gst
def test_a_file_can_fail_as_well(clip: Path) -> None:
    with pytest.raises(SourceError, match="unplugged"):
        look("unplug@0.2", inner=str(clip), latest=True)


@pytest.mark.gst
def test_closing_does_not_wait_for_a_frame_that_is_held_back() -> None:
    begin = time.monotonic()
    with open_source(f"fault:jitter=60@0+60:{CAMERA}", SourceRequest(NETWORK)) as source:
        source.read(0.3)

    assert time.monotonic() - begin < 5


@pytest.mark.gst
def test_what_goes_wrong_goes_on_while_the_source_is_closed() -> None:
    opener = SourceOpener(f"fault:unplug@0.3+0.6:{CAMERA}", SourceRequest(NETWORK))
    with opener.first() as source, pytest.raises(SourceError, match="unplugged"):
        list(iter(lambda: source.read(1.0), None))

    with pytest.raises(SourceError, match="unplugged"), opener():
        pass
    time.sleep(0.7)
    with opener(2.0) as source:
        assert source.read(2.0) is not None


def make_device(folder: Path, *links: str) -> Path:
    device = folder / "video7"
    device.touch()
    for link in links:
        path = folder / "v4l" / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(device)
    return device


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        (("by-id/usb-cam", "by-path/pci-usb-0:1"), "v4l/by-path/pci-usb-0:1"),
        (("by-id/usb-cam",), "v4l/by-id/usb-cam"),
        ((), "video7"),
    ],
)
def test_a_camera_is_opened_again_by_the_name_of_its_port(
    tmp_path: Path, links: tuple[str, ...], expected: str
) -> None:
    device = make_device(tmp_path, *links)

    assert stable_device(device, tmp_path / "v4l") == tmp_path / expected


def test_a_lasting_name_stays_and_other_cameras_links_do_not_count(tmp_path: Path) -> None:
    device = make_device(tmp_path, "by-path/one")
    other = tmp_path / "video8"
    other.touch()
    names = tmp_path / "v4l"

    assert stable_device(names / "by-path/one", names) == names / "by-path/one"
    assert stable_device(other, names) == other
    assert stable_device(tmp_path / "video9", names) == tmp_path / "video9"
    # and it finds the camera under its new number
    (names / "by-path/one").unlink()
    (names / "by-path/one").symlink_to(other)
    assert stable_device(other, names) == names / "by-path/one"
    assert stable_device(device, names) == device
