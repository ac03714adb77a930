from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from calibration import ranges
from calibration.frames import pixel_hash
from calibration.policy import POLICIES, place
from calibration.ranges import collect, remarks
from edge_runtime.errors import ArtifactError, OptionError
from tests.calibration.graphs import deploy_graph, frames
from tests.calibration.memory import peak

SCRIPT = """
import sys, time
from pathlib import Path
import calibration.ranges as ranges
from tests.calibration.test_ranges import Frames, names
from tests.calibration.graphs import deploy_graph
class Slow(Frames):
    def read(self, index):
        print(index, flush=True)
        time.sleep(0.02)
        return super().read(index)
ranges.SAVE_EVERY = 3
ranges.collect(deploy_graph(), names(), Slow(40), state=Path(sys.argv[1]))
"""


class Frames:
    """Frames drawn anew at every reading."""

    def __init__(self, count: int) -> None:
        self._count = count

    @property
    def hashes(self) -> list[str]:
        return [pixel_hash(frames(1, index)[0]) for index in range(self._count)]

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> tuple[str, np.ndarray]:
        return f"frame {index}", frames(1, index)[0]


def names() -> list[str]:
    return [tensor.name for tensor in place(deploy_graph(), POLICIES["ort-cpu"]).tensors]


def table(collected: ranges.Collected) -> dict[str, tuple[float, float, bytes]]:
    return {
        name: (found.largest, found.average, found.counts.tobytes())
        for name, found in collected.tensors.items()
    }


def test_extremes_are_those_of_the_tensors():
    # given the tensors of all frames, kept
    model = deploy_graph()
    model.graph.output.append(onnx.helper.make_tensor_value_info("project", 1, None))
    session = ort.InferenceSession(model.SerializeToString())
    kept = [
        session.run(["project"], {"frame": f[None]})[0]
        for f in (Frames(5).read(i)[1] for i in range(5))
    ]
    # when
    found = collect(deploy_graph(), ["project"], Frames(5)).tensors["project"]
    # then
    assert found.largest == pytest.approx(np.abs(kept).max(), rel=1e-6)
    assert found.counts.sum() == np.size(kept)
    assert found.negatives == 5


def test_chunks_give_the_same_as_all_at_once(monkeypatch):
    whole = table(collect(deploy_graph(), names(), Frames(4)))
    monkeypatch.setattr(ranges, "CHUNK_BYTES", 50_000)
    assert len(list(ranges._chunks(deploy_graph(), names()))) > 2
    assert table(collect(deploy_graph(), names(), Frames(4))) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_killed_and_resumed_gives_the_same_table(tmp_path, repository, number):
    # given a collection that is ended in its middle
    state = tmp_path / "ranges.npz"
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(state)],
        cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "11":
            process.send_signal(number)
            break
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert state.is_file()
    # when it is started again
    done = []

    class Watched(Frames):
        def read(self, index):
            done.append(index)
            return super().read(index)

    resumed = collect(deploy_graph(), names(), Watched(40), state=state)
    # then it goes on, to the table of an uninterrupted one
    assert 3 <= done[0] <= 12
    assert table(resumed) == table(collect(deploy_graph(), names(), Frames(40)))
    assert resumed.history == collect(deploy_graph(), names(), Frames(40)).history


def test_a_state_of_other_frames_is_not_used(tmp_path):
    state = tmp_path / "ranges.npz"
    collect(deploy_graph(), names(), Frames(3), state=state)
    other = collect(deploy_graph(seed=1), names(), Frames(3), state=state)
    assert table(other) == table(collect(deploy_graph(seed=1), names(), Frames(3)))


def test_a_damaged_state_is_named(tmp_path):
    state = tmp_path / "ranges.npz"
    state.write_bytes(b"PK no archive")
    with pytest.raises(ArtifactError, match=r"ranges\.npz is no saved calibration"):
        collect(deploy_graph(), names(), Frames(1), state=state)


def scaled(name: str, factor: float) -> onnx.ModelProto:
    model = deploy_graph()
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), name)
    )
    return model


def test_nan_and_infinity_are_refused_with_tensor_and_frame():
    with pytest.raises(ArtifactError, match=r"'join'.*infinite.*'frame 0'"):
        collect(scaled("network.join.weight", 3e38), ["join"], Frames(2))
    with pytest.raises(ArtifactError, match=r"'join' holds \d+ NaN"):
        collect(scaled("network.join.weight", float("nan")), ["join"], Frames(2))


def test_dead_and_overflowing_tensors_are_named():
    dead = collect(scaled("network.join.weight", 0.0), ["join"], Frames(2))
    assert "'join' is zero in all 2 frames" in remarks(dead)[0]
    huge = collect(scaled("network.join.weight", 1e5), ["join"], Frames(2))
    assert "beyond FP16" in remarks(huge)[0]
    assert remarks(collect(deploy_graph(), names(), Frames(1))) == []


def test_nothing_to_calibrate_on_is_refused():
    with pytest.raises(OptionError, match="no frames"):
        collect(deploy_graph(), names(), Frames(0))


def test_the_report_says_where_ranges_settle():
    # given ranges that stop moving after 4 frames
    moves = {1: 1.0, 2: 2.0, 4: 3.9, 8: 4.0, 16: 4.0}
    collected = ranges.Collected({}, {count: {"a": value} for count, value in moves.items()})
    # then
    assert collected.settled_at(0.05) == 4
    assert collected.settled_at(0.01) == 8
    assert collect(deploy_graph(), names(), Frames(5)).history.keys() == {1, 2, 4, 5}


MEMORY = """
import resource, sys
from calibration.ranges import collect
from tests.calibration.test_ranges import Frames, names
from tests.calibration.graphs import deploy_graph
class Same(Frames):
    hashes = ["same"]
collect(deploy_graph(), names(), Same(int(sys.argv[1])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_frames(repository):
    assert peak(MEMORY, 512, repository) < 1.1 * peak(MEMORY, 8, repository)
