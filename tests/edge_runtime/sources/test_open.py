"""What a text stands for, told without opening anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import SourceError
from edge_runtime.redact import redact
from edge_runtime.service.secrets import reveal
from edge_runtime.sources.images import images_in
from edge_runtime.sources.ledger import CAPACITY, FrameLedger
from edge_runtime.sources.open import plan_source


@pytest.mark.parametrize(
    ("text", "element", "clock"),
    [
        ("rtsp://10.0.0.5/stream", "rtspsrc", "ntp"),
        ("rtspu://10.0.0.5/stream", "rtspsrc", "ntp"),
        ("csi://1?size=720x1280&fps=60", "nvarguscamerasrc", "arrival"),
        ("test:", "appsrc", "arrival"),
        ("test:bars?fps=10", "videotestsrc", "arrival"),
        ("launch:fakesrc", "fakesrc", None),
        ("videotestsrc ! identity", "videotestsrc", None),
    ],
)
def test_the_form_of_a_source_decides_its_pipeline(
    text: str, element: str, clock: str | None
) -> None:
    plan = plan_source(text)

    assert plan.launch.startswith(element)
    assert plan.clock == clock


def test_a_camera_is_asked_for_size_and_rate() -> None:
    plan = plan_source("csi://0?size=720x1280&fps=29.97")

    assert "height=720,width=1280,framerate=2997/100" in plan.launch


def test_a_file_named_like_a_launch_text_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a ! b.mp4").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)

    plan = plan_source("a ! b.mp4")

    assert plan.properties["uri"] == (tmp_path / "a ! b.mp4").as_uri()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("launch:", "empty"),
        ("nowhere.mp4", "no source 'nowhere.mp4'"),
        ("/dev/video98", "no camera '/dev/video98': No such file"),
        ("v4l2:///dev/video98?size=1x", "size='1x' cannot be read; give HEIGHTxWIDTH"),
        ("csi://front", "which sensor"),
        ("test:snow", "no test picture 'snow'; expected test:, test:bars, test:smpte"),
        ("test:?xyzzy=3", "unknown option 'xyzzy'; expected one of size, fps, seed, frames"),
        ("test:?sped=3", "unknown option 'sped'; did you mean 'seed'?"),
        ("test:?fps=0", "fps='0' cannot be read"),
        ("test:?fps=nan", "fps='nan' cannot be read"),
        ("test:?size=0x9", "size='0x9' cannot be read"),
        ("test:?frames=-1", "frames='-1' cannot be read"),
        ("test:bars?seed=1", "unknown option 'seed'"),
        ("x" * 5000, "name too long"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        plan_source(text)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_come_in_natural_order_without_hidden_and_other_files(tmp_path: Path) -> None:
    for name in ("f10.png", "f9.PNG", "F1.jpg", ".f0.png", "notes.txt", "f9b.webp"):
        (tmp_path / name).touch()
    (tmp_path / "f3.png").mkdir()

    names = [path.name for path in images_in(tmp_path)]

    assert names == ["F1.jpg", "f9.PNG", "f9b.webp", "f10.png"]


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://admin:s3cret@cam.local:554/live",
        "rtsp://admin:s3cret@with@at@cam.local/live",
        "rtsp://admin:s3cret/with/slash@cam.local/live",
        "rtsp://s3cret@cam.local/live",
        "rtsp://cam.local/user=admin&password=s3cret&channel=1",
        "http://cam.local/video?token=s3cret",
        "rtsp://cam.local/user=admin_password=s3cret_channel=1_stream=0.sdp",
        "http://cam.local/video?access_token=s3cret",
        "http://cam.local/snapshot.cgi?loginuse=admin&loginpas=s3cret",
        "srt://cam.local:7001?mode=caller&passphrase=s3cret",
        "rtmp://cam.local/live stream-key=s3cret",
        'rtspsrc location="rtsp://a:s3cret@cam.local/x" user-pw=s3cret ! decodebin',
        "user-pw='s3cret with blanks' ! cam.local",
        "first rtsp://a:s3cret@b/ then rtsp://c:s3cret@cam.local/",
    ],
)
def test_no_form_of_credentials_survives(text: str) -> None:
    shown = redact(text)

    assert "s3cret" not in shown
    assert "cam.local" in shown
    assert redact(shown) == shown


@pytest.mark.parametrize("secret", ["t0p-s3cret", "a=b&c%40d"])
def test_a_secret_is_hidden_wherever_it_stands(
    secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given one in a word that no list names, and the file of it gone since
    monkeypatch.setattr("edge_runtime.redact._revealed", set())
    (tmp_path / "CAM").write_text(f"{secret}\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    source = reveal("http://cam.local/{secret:CAM}/live?who={secret:CAM}", environ)
    (tmp_path / "CAM").unlink()

    shown = redact(f"cannot open {source}")

    assert secret in source
    assert shown == "cannot open http://cam.local/***/live?who=***"


@pytest.mark.parametrize("text", ["/data/a b@c.mp4", "rtsp://cam.local:554/live", "csi://0"])
def test_text_without_credentials_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_plan_shows_no_credentials() -> None:
    plan = plan_source("rtsp://admin:s3cret@cam.local/live")

    assert "s3cret" not in plan.uri
    assert "s3cret" in str(plan.properties["location"])
    assert "s3cret" not in plan_source("rtspsrc location=rtsp://a:s3cret@b/ ! queue").uri


class TestLedger:
    def test_frames_dropped_on_the_way_are_counted(self) -> None:
        ledger = FrameLedger()
        for number in range(5):
            ledger.arrived(number * 10, number, number, "arrival")
            ledger.ready(number * 10, number + 1, (4, 6), buffer=number)

        entry = ledger.take(3, newest=True)

        assert entry is not None
        assert (entry.index, entry.ready_ns, entry.size) == (3, 4, (4, 6))
        assert (ledger.counters.captured, ledger.counters.dropped_queue) == (5, 3)

    @pytest.mark.parametrize("pts", [None, 0], ids=["no time", "always the same time"])
    def test_frames_without_a_time_of_their_own_pair_up_by_order(self, pts: int | None) -> None:
        ledger = FrameLedger()
        for number in range(3):
            ledger.arrived(pts, number, number, "arrival")
        for number in range(3):
            ledger.ready(pts, 10 + number, (4, 6), buffer=number)

        taken = [ledger.take(number, newest=False) for number in range(3)]

        assert [(e.index, e.ready_ns) for e in taken if e] == [(0, 10), (1, 11), (2, 12)]
        assert ledger.counters.dropped_queue == 0

    @pytest.mark.parametrize("pts", [None, 0], ids=["no time", "always the same time"])
    def test_a_frame_that_comes_between_pulling_and_taking_is_not_mistaken(
        self, pts: int | None
    ) -> None:
        # given a frame that was pulled, and another that became ready before its entry was taken
        ledger = FrameLedger()
        for number in range(2):
            ledger.arrived(pts, number, number, "arrival")
            ledger.ready(pts, 10 + number, (4, 6), buffer=number)

        taken = [ledger.take(number, newest=True) for number in range(2)]

        assert [(e.index, e.ready_ns) for e in taken if e] == [(0, 10), (1, 11)]
        assert ledger.counters.dropped_queue == 0

    def test_memory_that_went_round_belongs_to_its_newest_frame(self) -> None:
        # given a frame that the appsink dropped, whose buffer is used again two frames later
        ledger = FrameLedger()
        for number, buffer in enumerate((1, 2, 1, 3)):
            ledger.arrived(None, number, number, "arrival")
            ledger.ready(None, 10 + number, (4, 6), buffer=buffer)

        entry = ledger.take(1, newest=True)

        assert entry is not None
        assert (entry.index, ledger.counters.dropped_queue) == (2, 2)

    def test_a_buffer_that_comes_again_keeps_its_order_where_none_is_dropped(self) -> None:
        ledger = FrameLedger()
        for number in range(3):
            ledger.arrived(None, number, number, "arrival")
            ledger.ready(None, 10 + number, (4, 6), buffer=7)

        taken = [ledger.take(7, newest=False) for _ in range(3)]

        assert [e.index for e in taken if e] == [0, 1, 2]

    def test_a_frame_that_was_given_up_is_counted_once_and_ends_nothing(self) -> None:
        ledger = FrameLedger()
        for number in range(CAPACITY + 1):
            ledger.arrived(number, number, number, "arrival")
            ledger.ready(number, number, (4, 6), buffer=number)

        taken = [ledger.take(number, newest=False) for number in range(CAPACITY + 1)]

        assert [entry is None for entry in taken] == [True] + [False] * CAPACITY
        assert (ledger.counters.captured, ledger.counters.dropped_queue) == (CAPACITY + 1, 1)

    def test_a_rewritten_time_pairs_up_by_order(self) -> None:
        ledger = FrameLedger()
        ledger.arrived(100, 1, 1, "arrival")
        ledger.arrived(200, 2, 2, "arrival")

        ledger.ready(105, 3, (4, 6), buffer=1)

        entry = ledger.take(1, newest=False)
        assert entry is not None
        assert entry.index == 0

    def test_frames_that_never_get_through_do_not_pile_up(self) -> None:
        ledger = FrameLedger()

        for number in range(CAPACITY + 10):
            ledger.arrived(number, number, number, "arrival")

        assert ledger.counters.dropped_queue == 10

    def test_gaps_in_the_cameras_own_numbers_are_counted(self) -> None:
        ledger = FrameLedger()

        for number in (7, 8, 11, 12, 0, 1, 3):  # restarts at 0
            ledger.numbered(number)

        assert ledger.counters.source_gap == 3
