"""Is the exported graph still the network? Two questions, each with a gate and numbers.

1. *The rewriting*: the deployment form against the network, both in float64 in torch. A mistake
   shows here whatever the network does with rounding.
2. *The graph*: ONNX Runtime in float32 against the network in float64.

A fixed tolerance says nothing for either: generated weights multiply activations, and rounding
grows by orders of magnitude from network to network. Both gates are multiples of the network's own
noise floor, the difference between its float32 and its float64 run on the same frames. Where that
floor is a large share of the logits the network is chaotic, the second question decides nothing,
and the verdict says so.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from edge_runtime.artifacts import Parity
from edge_runtime.errors import BackendError, ParityError
from export.deploy import DeployNetwork
from export.noise import EPS_RATIO
from export.probe_frames import probe_frames
from export.scores import non_finite, scores_of

if TYPE_CHECKING:
    import onnx
    import onnxruntime as ort
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Head
    from training.model.config import HyperSegConfig
    from training.model.hyperseg import HyperSeg

    Image = NDArray[np.uint8]

GATE = 20.0
"""Allowed error in noise floors: other orders of summation are as far from each other as this."""


CHAOTIC = 0.01
"""Noise floor over largest logit from which float32 answers say nothing about the graph."""
CHAOTIC_REWRITE = 1e-5
"""Allowed rewriting error over largest logit on such frames."""


def parity_frames(config: HyperSegConfig, size: tuple[int, int], count: int) -> list[Image]:
    """Frames to compare on, (H, W, 3) uint8 RGB (see `export.probe_frames`)."""
    return probe_frames(size, count, config.mean, config.std)


def compare(
    net: HyperSeg, graph: onnx.ModelProto, size: tuple[int, int], head: Head, frames: int = 2
) -> Parity:
    """Ask both questions on `frames` frames.

    Pixels count towards the agreement where the reference's two best classes are further apart
    than twice the allowed error: closer than that, either is right.

    Args:
        net: the network the graph was made of, float32.
        graph: with input `frame` (1, H, W, 3) uint8.
        size: (H, W).
        head: what the graph puts out.
        frames: how many to compare on.

    Raises:
        BackendError: onnxruntime refuses the graph.
    """
    exact = copy.deepcopy(net).double()
    rewritten = DeployNetwork(exact, size)
    session = _session(graph, head)
    tally = _Tally()
    for frame in parity_frames(net.config, size, frames):
        image = _normalised(net.config, frame)
        with torch.no_grad():
            reference = exact(image)[0].numpy()
            rewrite = rewritten(image)[0].numpy()
            single = net(image.float())[0].numpy()
        outputs = session.run(None, {"frame": frame[None]})
        mask = outputs[0][0] if head == "mask" else outputs[0][0].argmax(0)
        tally.add(reference, rewrite, single, outputs[-1][0], mask)
    return tally.verdict()


def _normalised(config: HyperSegConfig, frame: Image) -> torch.Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float64."""
    mean, std = (
        torch.tensor(value, dtype=torch.float64).reshape(1, 3, 1, 1)
        for value in (config.mean, config.std)
    )
    return (torch.from_numpy(frame).permute(2, 0, 1)[None] / 255.0 - mean) / std


def _worst(found: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    # The difference of two infinities is NaN, which no gate lets pass.
    with np.errstate(invalid="ignore"):
        return float(np.abs(found - reference).max())


def _larger(one: float, other: float) -> float:
    # Not `max`: it would lose a NaN.
    return float(np.maximum(one, other))


@dataclass
class _Tally:
    """Largest differences and counts over the frames so far."""

    frames: int = 0
    chaotic: int = 0
    rewrite: float = 0.0
    error: float = 0.0
    scale: float = 0.0
    floor: float = 0.0
    clear: int = 0
    same: int = 0
    within: bool = True

    def add(
        self,
        reference: NDArray[np.floating],
        rewritten: NDArray[np.floating],
        single: NDArray[np.floating],
        found: NDArray[np.floating],
        mask: NDArray[np.integer],
    ) -> None:
        """Take in one frame.

        Args:
            reference: (C, H, W) logits in float64.
            rewritten: of the deployment form in float64.
            single: of the network in float32.
            found: of the graph.
            mask: (H, W) of the graph.
        """
        scale = float(np.abs(reference).max())
        # No float32 result is better than one rounding of its largest value.
        floor = max(_worst(single, reference), scale * float(np.finfo(np.float32).eps))
        rewrite, error = _worst(rewritten, reference), _worst(found, reference)
        chaotic = floor > CHAOTIC * scale
        self.frames += 1
        self.chaotic += chaotic
        self.scale, self.floor = _larger(self.scale, scale), _larger(self.floor, floor)
        self.rewrite, self.error = _larger(self.rewrite, rewrite), _larger(self.error, error)
        # However chaotic the network is: its graph gives numbers.
        self.within &= non_finite(reference) == non_finite(found) == 0
        if chaotic:
            # float32 has lost its way, so its distance no longer measures how rounding grows.
            self.within &= rewrite <= CHAOTIC_REWRITE * scale
            return
        self.within &= rewrite <= GATE * floor * EPS_RATIO and error <= GATE * floor
        if len(reference) > 1:
            best = np.partition(reference, -2, axis=0)
            decided = best[-1] - best[-2] > 2 * GATE * floor
            self.clear += int(decided.sum())
            self.same += int((reference.argmax(0) == mask)[decided].sum())

    def verdict(self) -> Parity:
        """The figures and whether they pass."""
        return Parity(
            reference="the checkpoint's network in torch float64",
            frames=self.frames,
            rewrite_error=self.rewrite,
            max_abs_error=self.error,
            max_abs_reference=self.scale,
            agreement=self.same / self.clear if self.clear else 1.0,
            noise_floor=self.floor,
            chaotic=self.chaotic == self.frames,
            passed=self.within and self.same == self.clear,
        )


def require(parity: Parity) -> None:
    """Raise `ParityError` unless the verdict is a pass."""
    if not parity.passed:
        raise ParityError(
            f"the exported graph is not the checkpoint's network: rewriting error "
            f"{parity.rewrite_error:.3g}, ONNX Runtime error {parity.max_abs_error:.3g} with "
            f"logits up to {parity.max_abs_reference:.3g} and a noise floor of "
            f"{parity.noise_floor:.3g}, agreement {parity.agreement:.6f} of the clear pixels; "
            "nothing was written"
        )


def _session(graph: onnx.ModelProto, head: Head) -> ort.InferenceSession:
    """An onnxruntime session; a mask graph also gives the logits it decides on, last."""
    import onnx
    import onnxruntime as ort

    if head == "mask":
        shown = onnx.ModelProto()
        shown.CopyFrom(graph)
        shown.graph.output.append(
            onnx.helper.make_tensor_value_info(scores_of(graph), onnx.TensorProto.FLOAT, None)
        )
        graph = shown
    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(
            graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime raises its own C++ exception types
        raise BackendError(f"onnxruntime refuses the exported graph: {error}") from error
