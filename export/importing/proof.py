"""Is the wrapped graph still the user's network? Both run in ONNX Runtime on the same frames.

The reference is the file as it came, fed by hand: normalised in float64 and rounded once, its
answer upsampled and decided in numpy. The gate is a multiple of the graph's own noise floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.artifacts import Parity
from edge_runtime.errors import OptionError, ParityError
from export.importing.wrap import scale_and_shift
from export.noise import jittered
from export.probe_frames import probe_frames
from export.scores import finite, scores_of
from export.sessions import GraphRun

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from export.importing.anatomy import GraphInput, GraphOutput
    from export.importing.options import Triple
    from export.noise import Precision

GATE = 20.0
"""Allowed error in noise floors, as in `export.parity`."""
CHAOTIC = 0.01
"""Noise floor over largest score from which float32 answers say nothing about the graph."""
FUSED = "the imported graph as ONNX Runtime fuses it"
MOVED = "the imported graph with its weights moved by rounding"


@dataclass(frozen=True)
class Wrapped:
    """A wrapped graph and what it was made of."""

    original: onnx.ModelProto
    """As the user gave it."""
    deployed: onnx.ModelProto
    frame: str
    """Name of the deployed graph's input."""
    result: str
    """Name of its output."""
    scores: str | None
    """Name of the value it decides by; None where the user's graph gives ids."""
    image: GraphInput
    output: GraphOutput
    normalisation: tuple[Triple, Triple] | None
    align_corners: bool
    bgr: bool
    classes: int

    def by_hand(self, frame: NDArray[np.uint8]) -> NDArray[Any]:
        """(H, W, 3) uint8 -> the image as the user's own code would feed it."""
        if self.normalisation is None:
            values: NDArray[Any] = frame
        else:
            mean, std = (np.array(triple, np.float64) for triple in self.normalisation)
            values = ((frame / 255.0 - mean) / std).astype(self.image.dtype)
        return self._laid_out(values)

    def as_deployed(self, frame: NDArray[np.uint8]) -> NDArray[Any]:
        """The same, with the very roundings of the deployed graph."""
        if self.normalisation is None:
            return self._laid_out(frame)
        scale, shift = scale_and_shift(*self.normalisation)
        return self._laid_out((frame.astype(np.float32) * scale + shift).astype(self.image.dtype))

    def _laid_out(self, values: NDArray[Any]) -> NDArray[Any]:
        order = (2, 0, 1) if self.image.layout == "NCHW" else (0, 1, 2)
        return np.ascontiguousarray(values.transpose(order)[None])


def prove(wrapped: Wrapped, frames: int) -> Parity:
    """Compare the deployed graph with the user's, fed by hand.

    Args:
        wrapped: both graphs.
        frames: on how many frames.

    Raises:
        BackendError: ONNX Runtime refuses the deployed graph.
        OptionError: the graph gives class ids that no class has.
        ParityError: the answers differ by more than rounding, or are not finite.
    """
    mean, std = wrapped.normalisation or ((0.5,) * 3, (0.25,) * 3)
    probes = probe_frames(wrapped.image.size, frames, mean, std, bgr=wrapped.bgr)
    parity = _ids(wrapped, probes) if wrapped.scores is None else _scores(wrapped, probes)
    if not parity.passed:
        raise ParityError(
            f"the wrapped graph is not the imported one: error {parity.max_abs_error:.3g} with "
            f"scores up to {parity.max_abs_reference:.3g} and a noise floor of "
            f"{parity.noise_floor:.3g}, agreement {parity.agreement:.6f} of the clear pixels; "
            "nothing was written"
        )
    return parity


def _scores(wrapped: Wrapped, frames: list[NDArray[np.uint8]]) -> Parity:
    assert wrapped.scores is not None
    name, feed = wrapped.output.name, wrapped.image.name
    plain = GraphRun(wrapped.original, shown=[name], optimise=False)
    fused = GraphRun(wrapped.original, shown=[name])
    # Weights in half precision round by its unit.
    unit: Precision = "fp16" if wrapped.image.dtype == "float16" else "fp32"
    moved = GraphRun(jittered(wrapped.original, unit), shown=[name], optimise=False)
    deployed = GraphRun(wrapped.deployed, shown=[wrapped.scores])
    error = floor = scale = rewrite = 0.0
    same = clear = 0
    for frame in frames:
        hand = {feed: wrapped.by_hand(frame)}
        reference = _numbers(reference_scores(wrapped, plain(hand)[name]), "the imported graph")
        answer = deployed({wrapped.frame: frame[None]})
        found = _numbers(answer[wrapped.scores][0], "the wrapped graph")
        fed_alike = fused({feed: wrapped.as_deployed(frame)})[name]
        alike = _numbers(reference_scores(wrapped, fed_alike), FUSED)
        largest = float(np.abs(reference).max())
        here = max(
            _worst(_numbers(reference_scores(wrapped, run(hand)[name]), what), reference)
            for run, what in ((fused, FUSED), (moved, MOVED))
        )
        here = max(here, largest * float(np.finfo(np.float32).eps))
        floor, scale = max(floor, here), max(scale, largest)
        error, rewrite = max(error, _worst(found, reference)), max(rewrite, _worst(found, alike))
        mask = answer[wrapped.result][0]
        mask = mask if mask.ndim == 2 else mask.argmax(0)
        best = np.partition(reference, -2, axis=0) if len(reference) > 1 else None
        sure = np.ones(mask.shape, bool) if best is None else best[-1] - best[-2] > 2 * GATE * here
        clear += int(sure.sum())
        same += int((reference.argmax(0) == mask)[sure].sum())
    return Parity(
        reference=f"{wrapped.original.producer_name or 'the imported graph'}, fed by hand",
        frames=len(frames), rewrite_error=rewrite, max_abs_error=error, max_abs_reference=scale,
        agreement=same / clear if clear else 1.0, noise_floor=floor,
        chaotic=floor > CHAOTIC * scale, passed=error <= GATE * floor and same == clear,
    )  # fmt: skip


def _ids(wrapped: Wrapped, frames: list[NDArray[np.uint8]]) -> Parity:
    """The same for a graph that decides by itself: only its flips can be counted."""
    name, feed = wrapped.output.name, wrapped.image.name
    # Ids are numbers even where the scores that they were decided by are none.
    decided_by = scores_of(wrapped.original)
    plain = GraphRun(wrapped.original, shown=[name, decided_by], optimise=False)
    moved = GraphRun(jittered(wrapped.original, "fp32"), shown=[name], optimise=False)
    deployed = GraphRun(wrapped.deployed)
    pixels = wrong = flips = 0
    for frame in frames:
        hand = {feed: wrapped.by_hand(frame)}
        answers = plain(hand)
        _numbers(answers[decided_by], "the imported graph")
        reference = reference_ids(wrapped, answers[name])
        found = deployed({wrapped.frame: frame[None]})[wrapped.result][0]
        pixels += found.size
        wrong += int((found != reference).sum())
        flips += int((reference_ids(wrapped, moved(hand)[name]) != reference).sum())
    return Parity(
        reference=f"{wrapped.original.producer_name or 'the imported graph'}, fed by hand",
        frames=len(frames), rewrite_error=0.0, max_abs_error=float(wrong > 0),
        max_abs_reference=float(wrapped.classes - 1), agreement=1 - wrong / pixels,
        noise_floor=flips / pixels, chaotic=False, passed=wrong <= GATE * max(flips, 1),
    )  # fmt: skip


def reference_scores(wrapped: Wrapped, answer: NDArray[Any]) -> NDArray[np.float64]:
    """The graph's own answer as (C, H, W) float64 scores at frame size."""
    output = wrapped.output
    values: NDArray[np.float64] = answer.astype(np.float64)
    axis = output.channel_axis
    flat = values.reshape(1, *output.size) if axis is None else np.moveaxis(values, axis, 0)
    flat = flat.reshape(flat.shape[0], *output.size)
    if output.kind == "binary":
        flat = np.concatenate([np.full_like(flat, output.threshold), flat])
    for dimension, target in ((1, wrapped.image.size[0]), (2, wrapped.image.size[1])):
        flat = _stretched(flat, dimension, target, align_corners=wrapped.align_corners)
    return flat


def reference_ids(wrapped: Wrapped, answer: NDArray[Any]) -> NDArray[np.int64]:
    """The graph's own ids as (H, W) at frame size.

    Raises:
        OptionError: there are ids that no class has.
    """
    ids = answer.reshape(wrapped.output.size).astype(np.int64)
    if ids.min() < 0 or ids.max() >= wrapped.classes:
        raise OptionError(
            f"output {wrapped.output.name!r} gives the class id "
            f"{int(ids.min() if ids.min() < 0 else ids.max())}, but --classes names "
            f"{wrapped.classes} (0..{wrapped.classes - 1})"
        )
    rows, columns = (
        np.arange(target) * source // target
        for source, target in zip(ids.shape, wrapped.image.size, strict=True)
    )
    return ids[rows[:, None], columns]


def _stretched(
    values: NDArray[np.float64], axis: int, target: int, *, align_corners: bool
) -> NDArray[np.float64]:
    """Linear interpolation along one axis."""
    source = values.shape[axis]
    if source == target:
        return values
    steps = np.arange(target, dtype=np.float64)
    if align_corners:
        places = steps * (source - 1) / max(target - 1, 1)
    else:
        places = (steps + 0.5) * source / target - 0.5
    places = places.clip(0, source - 1)
    low = np.floor(places).astype(np.intp)
    high = np.minimum(low + 1, source - 1)
    shape = [1] * values.ndim
    shape[axis] = target
    share = (places - low).reshape(shape)
    mixed: NDArray[np.float64] = values.take(low, axis) * (1 - share)
    mixed += values.take(high, axis) * share
    return mixed


def _numbers(scores: NDArray[Any], whose: str) -> NDArray[Any]:
    return finite(scores, whose, "look at its weights and at --mean, --std and --range")


def _worst(found: NDArray[Any], reference: NDArray[Any]) -> float:
    return float(np.abs(found - reference).max())
