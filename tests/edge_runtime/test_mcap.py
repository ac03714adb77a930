"""Recordings: what is in them, and that they can be played after a crash and a full disk."""

import json
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from edge_runtime.errors import SinkError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.labels import CAMVID_11
from edge_runtime.policy import EVERY
from edge_runtime.result import Result
from edge_runtime.sinks.recording.indexed_png import decode_ids, encode_ids
from edge_runtime.sinks.spec import SinkContext, parse_sink
from edge_runtime.sinks.worker import SinkWorker
from edge_runtime.timing import FrameStamps
from tests.edge_runtime.test_sinks import play
from tests.scripted import LABELS, SIZE

pytest.importorskip("mcap", reason="pip install 'hyperseg-edge[mcap]'")

MASK_SIZE = (48, 80)
RESULTS, IMAGES, MASKS = "/segmentation/result", "/camera/image", "/segmentation/mask"


def sink_of(path, **context):
    from edge_runtime.sinks.recording.sink import mcap

    return mcap(parse_sink(str(path)), SinkContext(LABELS, MASK_SIZE, **context))


def result_of(index, state="ok", size=(96, 160)):
    times = [1_000_000_000 + index * 40_000_000 + step * 1_000_000 for step in range(10)]
    return Result(
        index=index,
        pts_ns=index * 40_000_000,
        state=state,
        timestamp_source="driver",
        capture_ns=times[0],
        geometry=FrameGeometry(size, MASK_SIZE, "stretch"),
        mask=np.full(MASK_SIZE, index % 3, np.uint8) if state == "ok" else None,
        picture=None if state == "no-signal" else np.full((*size, 3), 40, np.uint8),
        stamps=FrameStamps(*times) if state == "ok" else None,
        reason="unplugged" if state == "no-signal" else None,
    )


def messages(path, topic):
    """Log times, ns, and data of a topic, read in order, so also of a file without an end."""
    from mcap.records import Channel, Message
    from mcap.stream_reader import StreamReader

    from edge_runtime.sinks.recording.recover import whole_records

    channels, found = {}, []
    with path.open("rb") as file:
        for record in whole_records(StreamReader(file, validate_crcs=True)):
            if isinstance(record, Channel):
                channels[record.id] = record.topic
            elif isinstance(record, Message) and channels[record.channel_id] == topic:
                found.append((record.log_time, record.data))
    return found


def records(path):
    return [json.loads(data) for _, data in messages(path, RESULTS)]


def image_of(data):
    from edge_runtime.sinks.recording.schemas import _image_class

    return _image_class().FromString(data)


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "run.mcap"
    sink = sink_of(path, model="street", source="rtsp://***@camera/1")
    sink.open()
    for result in (result_of(0), result_of(1), result_of(2, "stale"), result_of(3, "no-signal")):
        if result.stamps is not None:
            result.stamps.publish = result.stamps.post_end + 1_000_000
        sink.consume(result)
    sink.close()
    return path


def test_recording_has_a_message_of_each_kind_with_an_index(recording):
    from mcap.reader import make_reader

    with recording.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        topics = [channel.topic for _, channel, _ in reader.iter_messages()]
        about = {record.name: record.metadata for record in reader.iter_metadata()}

    assert {schema.name: schema.encoding for schema in summary.schemas.values()} == {
        "foxglove.CompressedImage": "protobuf", "hyperseg.Result": "jsonschema",
    }  # fmt: skip
    assert (topics.count(RESULTS), topics.count(IMAGES), topics.count(MASKS)) == (4, 3, 2)
    assert about["run"]["model"] == "street"
    assert about["run"]["source"] == "rtsp://***@camera/1"
    assert about["labels"]["1"] == "b #00ff00"


def test_each_result_tells_its_state_and_latency(recording):
    first, _, stale, silent = records(recording)

    assert first["latency_ms"]["result"] == pytest.approx(10.0)
    assert sum(first["latency_ms"]["stages"].values()) == pytest.approx(10.0)
    assert (first["t_capture"], first["t_publish"]) == (1_000_000_000, 1_010_000_000)
    assert (stale["state"], stale["latency_ms"]) == ("stale", None)
    assert (silent["state"], silent["reason"]) == ("no-signal", "unplugged")


def test_frame_mask_and_result_have_one_time_and_silence_its_own(recording):
    from edge_runtime.sinks.recording.entry import WallClock

    results = [time for time, _ in messages(recording, RESULTS)]

    assert [time for time, _ in messages(recording, MASKS)] == results[:2]
    assert [time for time, _ in messages(recording, IMAGES)] == results[:3]
    assert results[1] - results[0] == 40_000_000
    image = image_of(messages(recording, IMAGES)[0][1])
    assert image.timestamp.ToNanoseconds() == results[0]
    captured_ns = 1_000_000_000 + WallClock.now().offset_ns
    assert results[0] == pytest.approx(captured_ns, abs=60e9)
    assert results[3] > results[2] + 1e9


def test_picture_and_ids_come_back(recording):
    jpeg = image_of(messages(recording, IMAGES)[0][1])
    png = image_of(messages(recording, MASKS)[1][1])

    assert (jpeg.format, png.format, jpeg.frame_id) == ("jpeg", "png", "camera")
    picture = cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (96, 160, 3)
    assert picture.mean() == pytest.approx(40, abs=2)
    mask = decode_ids(png.data)
    assert mask.shape == (96, 160)
    assert np.unique(mask).tolist() == [1]


def test_schema_can_be_read_without_us(recording):
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from mcap.reader import make_reader

    with recording.open("rb") as file:
        schemas = make_reader(file).get_summary().schemas.values()
    (schema,) = (schema for schema in schemas if schema.encoding == "protobuf")
    pool = descriptor_pool.DescriptorPool()
    for proto in descriptor_pb2.FileDescriptorSet.FromString(schema.data).file:
        pool.Add(proto)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))

    assert kind.FromString(messages(recording, MASKS)[0][1]).format == "png"


def test_mask_is_seen_in_the_colours_of_its_classes():
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 256, (37, 53), np.uint8)

    png = encode_ids(mask, CAMVID_11.lookup_table())

    np.testing.assert_array_equal(decode_ids(png), mask)
    seen = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(seen, CAMVID_11.lookup_table(bgr=True)[mask])


def test_other_png_is_refused():
    png = encode_ids(np.eye(8, dtype=np.uint8), LABELS.lookup_table())
    _, grey = cv2.imencode(".png", np.eye(4, dtype=np.uint8))

    for damaged in (png[:100], png[:-30], b"x" + png[1:], grey.tobytes()):
        with pytest.raises(ValueError, match="indexed PNG"):
            decode_ids(damaged)


def test_run_is_recorded_as_its_loop_published_it(tmp_path):
    path = tmp_path / "run.mcap"
    outcome = play([SinkWorker(sink_of(path), SIZE)], EVERY, live=False, count=20)

    assert outcome.failure is None
    found = records(path)
    assert [record["index"] for record in found] == list(range(20))
    assert [decode_ids(image_of(data).data).max() for _, data in messages(path, MASKS)] == list(
        range(20)
    )


def test_run_without_a_frame_writes_no_file(tmp_path):
    sink = sink_of(tmp_path / "run.mcap")
    sink.open()
    sink.close()

    assert not list(tmp_path.iterdir())


def test_place_that_cannot_be_written_is_known_before_the_first_frame(tmp_path):
    with pytest.raises(SinkError, match="folder is missing"):
        sink_of(tmp_path / "missing" / "run.mcap").open()


ENDLESS = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from edge_runtime.sinks.recording import writer
from tests.edge_runtime.test_mcap import result_of, sink_of

writer.CHUNK_S = 0.05
sink = sink_of(Path("run.mcap"))
sink.open()
for index in range(1_000_000):
    sink.consume(result_of(index))
    print(index, flush=True)
"""


def test_killed_recording_is_played_recovered_and_kept(tmp_path, repository):
    from mcap.reader import make_reader

    from edge_runtime.sinks.recording.recover import is_cut_off, recover

    # given a run that is killed while it records
    path = tmp_path / "run.mcap"
    script = ENDLESS.format(root=str(repository))
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        # ten times as long as a chunk takes, however fast the machine
        enough = time.monotonic() + 0.5
        for line in process.stdout:
            if int(line) >= 600 and time.monotonic() > enough:
                break
        process.kill()

    # then everything but the last chunk can be read in order, as it lies there
    assert is_cut_off(path)
    found = [record["index"] for record in records(path)]
    assert found == list(range(len(found)))
    assert len(found) > 10

    # and it gets back its index
    assert recover(path, tmp_path / "whole.mcap") == 3 * len(found)
    with (tmp_path / "whole.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_summary().statistics.message_count == 3 * len(found)
        assert {record.name for record in reader.iter_metadata()} == {"run", "labels"}
    assert not is_cut_off(tmp_path / "whole.mcap")

    # and the next run to the same place does not replace it
    before = path.read_bytes()
    for _ in range(2):
        sink = sink_of(path)
        sink.open()
        sink.consume(result_of(0))
        sink.close()
    assert (tmp_path / "run.cut-off-1.mcap").read_bytes() == before
    assert not (tmp_path / "run.cut-off-2.mcap").exists()
    assert len(records(path)) == 1


def test_verb_recovers_beside_the_recording_and_replaces_nothing(recording, capsys):
    from edge_runtime.cli import main
    from edge_runtime.sinks.recording.recover import is_cut_off

    # given a recording without its last byte
    recording.write_bytes(recording.read_bytes()[:-1])
    whole = recording.with_name("run.recovered.mcap")

    assert main(["recover", str(recording)]) == 0

    assert capsys.readouterr().out == f"{whole}: 9 messages\n"
    assert not is_cut_off(whole)
    assert main(["recover", str(recording)]) == 2
    assert "exists" in capsys.readouterr().err


def test_recovery_of_something_else_is_refused_and_leaves_nothing(tmp_path):
    from edge_runtime.sinks.recording.recover import recover

    (tmp_path / "text.mcap").write_text("no recording at all")

    with pytest.raises(SinkError, match="cannot recover"):
        recover(tmp_path / "text.mcap", tmp_path / "out.mcap")
    assert not (tmp_path / "out.mcap").exists()


FULL_DISK = """
import resource, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from edge_runtime.policy import EVERY
from edge_runtime.sinks.recording import writer
from edge_runtime.sinks.worker import SinkWorker
from tests.edge_runtime.test_mcap import sink_of
from tests.edge_runtime.test_sinks import play
from tests.scripted import SIZE

writer.CHUNK_S = 0.0
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
worker = SinkWorker(sink_of(Path("run.mcap"), say=print), SIZE)
outcome = play([worker], EVERY, live=False, count=200)
print(outcome.report.frames.published, outcome.failure)
"""


def test_full_disk_ends_the_recording_but_not_the_run(tmp_path, repository):
    # given files that must not grow beyond 40 kB
    script = FULL_DISK.format(root=str(repository))

    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    # then every frame was published, the user was told when it happened and at the end
    told, ended = done.stdout.splitlines()
    assert told.endswith("the run goes on")
    assert ended.startswith("200 recording run.mcap ended early")
    # and what was recorded is whole
    found = [record["index"] for record in records(tmp_path / "run.mcap")]
    assert found == list(range(len(found)))
    assert 0 < len(found) < 200


def test_result_that_was_not_published_yet_has_no_latency():
    from edge_runtime.frames_log import result_record

    record = result_record(result_of(5))

    assert record["latency_ms"] is None
    assert record["t_publish"] is None
