"""Adaptive rounding of a whole graph: each convolution's weights on its own scales.

Layers are gone through in chunks that memory can hold. The integers of a finished chunk are saved,
so that a rounding that was interrupted or killed goes on and ends in the same integers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from calibration.graph import GraphView
from calibration.patches import conv_layers, in_chunks, moments
from calibration.qdq import SCALE
from calibration.rounding import BLOCK, DAMPING, round_adaptively
from edge_runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

    from calibration.frames import FrameSet
    from calibration.patches import ConvLayer, Moments
    from calibration.policy import Placement

FRAMES = 16
"""Calibration frames that the rounding is fitted to, evenly picked."""


@dataclass(frozen=True)
class Rounded:
    """A weight as integers."""

    integers: NDArray[np.int8]
    """Of the weight's shape."""
    scales: NDArray[np.float32]
    """(out channels,) of the grid that the integers were chosen on."""


def round_weights(
    model: onnx.ModelProto,
    graph: onnx.ModelProto,
    placement: Placement,
    frames: FrameSet,
    *,
    state: Path | None = None,
    threads: int | None = 1,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Rounded]:
    """Weight -> its integers, of every quantised convolution that `conv_layers` knows.

    Args:
        model: without pairs.
        graph: the same with the pairs of `placement`.
        placement: where the pairs are.
        frames: what to fit the integers to; at least one.
        state: file to save finished layers to and to go on from; removed by no one here.
        threads: CPU threads of ONNX Runtime.
        say: takes progress lines.

    Raises:
        ArtifactError: the state is damaged.
        BackendError: ONNX Runtime refuses the graph.
    """
    layers = conv_layers(model, placement)
    picked = [int(i) for i in np.unique(np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))))]
    key = _key(graph, {index: frames.hashes[index] for index in picked})
    done = _load(state, key) if state is not None else {}
    view = GraphView(graph)
    for chunk in in_chunks(layers):
        if all(layer.weight in done for layer in chunk):
            continue
        sums = moments(graph, chunk, frames, picked, threads)
        for layer, found in zip(chunk, sums, strict=True):
            done[layer.weight] = _round(view, layer, found)
        if state is not None:
            _save(state, key, done)
        say(f"rounding: {len(done)} of {len(layers)} weights")
    scales = {layer.weight: _array(view, layer.weight + SCALE) for layer in layers}
    return {weight: Rounded(done[weight], scales[weight]) for weight in scales}


def _round(view: GraphView, layer: ConvLayer, found: Moments) -> NDArray[np.int8]:
    grouped = layer.groups, -1, layer.taps
    weight = _array(view, layer.weight).reshape(grouped)
    scales = _array(view, layer.weight + SCALE).reshape(layer.groups, -1, 1)
    return round_adaptively(weight, scales, found.second).reshape(layer.weight_shape)


def _array(view: GraphView, name: str) -> NDArray[np.float32]:
    value = view.value(name)
    assert value is not None
    return value.astype(np.float32)


def _key(graph: onnx.ModelProto, hashes: Mapping[int, str]) -> str:
    """Hex sha256 of all that the integers depend on."""
    digest = hashlib.sha256(graph.SerializeToString(deterministic=True))
    digest.update(json.dumps([dict(hashes), DAMPING, BLOCK]).encode())
    return digest.hexdigest()


def _save(path: Path, key: str, done: Mapping[str, NDArray[np.int8]]) -> None:
    from edge_runtime.artifacts import atomic_file

    text = np.frombuffer(json.dumps([key, list(done)]).encode(), np.uint8)
    arrays = {f"weight{index}": values for index, values in enumerate(done.values())}
    with atomic_file(path) as part, part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, text=text, **arrays)


def _load(path: Path, key: str) -> dict[str, NDArray[np.int8]]:
    """The saved integers; none if there is no state, or it belongs to another calibration."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            stored_key, names = json.loads(stored["text"].tobytes())
            done = {name: stored[f"weight{index}"] for index, name in enumerate(names)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ArtifactError(f"{path} is no saved rounding ({error}); delete it") from error
    return done if stored_key == key else {}
