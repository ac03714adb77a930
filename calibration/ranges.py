"""Ranges of a graph's tensors, collected frame by frame in memory that never grows.

ONNX Runtime computes the model with the wanted tensors as further outputs, some at a time. What is
kept is one histogram a tensor. The state is saved now and then, so that a collection that was
interrupted or killed goes on and ends in the same table.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from calibration.histogram import BINS, TensorStatistics
from calibration.methods import PERCENTILE, percentile_bins
from edge_runtime.errors import ArtifactError, BackendError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from calibration.frames import FrameSet

CHUNK_BYTES = 192 << 20
"""Most bytes of tensors that one inference hands out."""
SAVE_EVERY = 16
"""Frames between two saved states."""


@dataclass
class Collected:
    """Statistics of the tensors, and how they moved with the number of frames."""

    tensors: dict[str, TensorStatistics]
    history: dict[int, dict[str, float]] = field(default_factory=dict)
    """Frames seen (powers of two, and all) -> tensor -> percentile range so far."""
    offenders: dict[str, str] = field(default_factory=dict)
    """Tensor -> first frame in which it held NaN, infinity, or what FP16 cannot hold."""
    done: dict[str, int] = field(default_factory=dict)
    """Tensor -> frames taken in."""

    def settled_at(self, tolerance: float = 0.05) -> int | None:
        """Frames from which on nine tensors of ten stay within `tolerance` of their final range."""
        counts = sorted(self.history)
        final = self.history[counts[-1]] if counts else {}
        settled = None
        for count in reversed(counts):
            moves = [
                abs(self.history[count][name] - last) / last for name, last in final.items() if last
            ]
            if moves and float(np.quantile(moves, 0.9)) > tolerance:
                break
            settled = count
        return settled


def collect(
    model: onnx.ModelProto,
    names: Sequence[str],
    frames: FrameSet,
    *,
    state: Path | None = None,
    threads: int | None = 1,
    report: Callable[[str], None] = lambda _: None,
) -> Collected:
    """Run all frames through the model and keep statistics of the named tensors.

    Args:
        model: with one uint8 frame input.
        names: float tensors of its graph.
        frames: what to run it on; at least one.
        state: file to save the state to and to go on from; removed by no one here.
        threads: CPU threads of ONNX Runtime.
        report: takes progress lines.

    Raises:
        OptionError: there are no frames.
        ArtifactError: a tensor held NaN or infinity; named with the frame.
        BackendError: ONNX Runtime refuses the model.
    """
    if not len(frames):
        raise OptionError("no frames to calibrate on; a range cannot be guessed: give --frames")
    key = state_key(model, names, frames.hashes)
    found = _load(state, key) if state is not None else None
    result = found or Collected({name: TensorStatistics() for name in names})
    for chunk in _chunks(model, names):
        run = exposed(model, chunk, threads)
        for index in range(result.done.get(chunk[0], 0), len(frames)):
            name, frame = frames.read(index)
            _take_in(result, dict(zip(chunk, run(frame), strict=True)), name)
            if _is_milestone(index + 1, len(frames)):
                _snapshot(result, chunk, index + 1)
                report(f"ranges: {index + 1} of {len(frames)} frames, {len(chunk)} tensors")
            # Saved between frames only: an interrupt in the middle of one loses it, no more.
            if state is not None and ((index + 1) % SAVE_EVERY == 0 or index + 1 == len(frames)):
                _save(state, key, result)
    refuse_broken(result)
    return result


def _is_milestone(count: int, total: int) -> bool:
    return count & (count - 1) == 0 or count == total


def _take_in(result: Collected, fresh: Mapping[str, NDArray[np.float32]], frame: str) -> None:
    """Add one frame's tensors."""
    for tensor, values in fresh.items():
        statistics = result.tensors[tensor]
        statistics.add(values)
        result.done[tensor] = statistics.frames
        bad = statistics.nans or statistics.infinities or statistics.beyond_fp16
        if bad and tensor not in result.offenders:
            result.offenders[tensor] = frame


def _snapshot(result: Collected, chunk: Sequence[str], count: int) -> None:
    snapshot = result.history.setdefault(count, {})
    for tensor in chunk:
        statistics = result.tensors[tensor]
        bins = percentile_bins(statistics.counts.astype(np.float64), PERCENTILE)
        snapshot[tensor] = min(bins * statistics.width, statistics.largest)


def refuse_broken(result: Collected) -> None:
    """Raise `ArtifactError` if any tensor held NaN or infinity."""
    for name, statistics in result.tensors.items():
        if statistics.nans or statistics.infinities:
            raise ArtifactError(
                f"tensor {name!r} holds {statistics.nans} NaN and {statistics.infinities} "
                f"infinite values, first in frame {result.offenders[name]!r}: the model overflows "
                "there, and no range can be chosen; train or export it again"
            )


def remarks(result: Collected) -> list[str]:
    """What deserves attention but is no error: tensors all zero, or beyond FP16."""
    lines = []
    for name, statistics in result.tensors.items():
        if statistics.all_zero:
            lines.append(
                f"tensor {name!r} is zero in all {statistics.frames} frames: dead, or the frames "
                "do not exercise it; range 1 is used"
            )
        if statistics.beyond_fp16:
            lines.append(
                f"tensor {name!r} reaches {statistics.largest:.6g}, beyond FP16's 65504, first in "
                f"frame {result.offenders[name]!r}: keep it in FP32 or INT8"
            )
    return lines


def exposed(
    model: onnx.ModelProto, names: Sequence[str], threads: int | None
) -> Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]:
    """A function from a (H, W, 3) uint8 frame to the named tensors.

    Raises:
        BackendError: ONNX Runtime refuses the model.
    """
    import onnx
    import onnxruntime as ort

    from edge_runtime.backends.ort import session_options

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    existing = {output.name for output in shown.graph.output}
    for name in names:
        if name not in existing:
            shown.graph.output.append(
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            )
    try:
        session = ort.InferenceSession(
            shown.SerializeToString(),
            session_options(ort, threads),
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise BackendError(f"onnxruntime refuses the model: {error}") from error
    source = session.get_inputs()[0].name

    def run(frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        outputs: list[NDArray[np.float32]] = session.run(list(names), {source: frame[None]})
        return outputs

    return run


def _chunks(model: onnx.ModelProto, names: Sequence[str]) -> Iterator[list[str]]:
    """The names in groups whose tensors stay below `CHUNK_BYTES`."""
    from calibration.graph import GraphView

    view = GraphView(model)
    chunk: list[str] = []
    size = 0
    for name in names:
        cost = 4 * int(np.prod(view.shape(name) or (0,)))
        if chunk and size + cost > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(name)
        size += cost
    if chunk:
        yield chunk


def state_key(model: onnx.ModelProto, names: Sequence[str], hashes: Sequence[str]) -> str:
    """Hex sha256 of all that the statistics depend on."""
    digest = hashlib.sha256(model.SerializeToString(deterministic=True))
    digest.update(json.dumps([list(names), list(hashes), BINS]).encode())
    return digest.hexdigest()


_FIELDS = ("exponent", "largest", "average", "frames", "negatives", "nans", "infinities",
           "beyond_fp16")  # fmt: skip


def _save(path: Path, key: str, result: Collected) -> None:
    from edge_runtime.artifacts import atomic_file

    plain: dict[str, Any] = {
        "key": key,
        "tensors": {
            name: {label: getattr(statistics, label) for label in _FIELDS}
            for name, statistics in result.tensors.items()
        },
        "history": {str(count): snapshot for count, snapshot in result.history.items()},
        "offenders": result.offenders,
        "done": result.done,
    }
    counts = np.stack([statistics.counts for statistics in result.tensors.values()])
    with atomic_file(path) as part, part.open("wb") as stream:
        np.savez(stream, counts=counts, text=np.frombuffer(json.dumps(plain).encode(), np.uint8))


def _load(path: Path, key: str) -> Collected | None:
    """The saved state; None if there is none, or it belongs to another calibration."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            plain = json.loads(stored["text"].tobytes())
            counts = np.array(stored["counts"], np.int64)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ArtifactError(f"{path} is no saved calibration ({error}); delete it") from error
    if plain["key"] != key:
        return None
    tensors = {
        name: TensorStatistics(counts=counts[index], **fields)
        for index, (name, fields) in enumerate(plain["tensors"].items())
    }
    history = {int(count): snapshot for count, snapshot in plain["history"].items()}
    return Collected(tensors, history, plain["offenders"], plain["done"])
