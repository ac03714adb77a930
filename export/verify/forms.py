"""The forms a network takes on its way to a device, each answering for a uint8 frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from edge_runtime.backends.base import EngineStamps
from edge_runtime.decode import mask_decoder
from export.scores import scores_of
from export.sessions import GraphRun
from export.verify.figures import Answer

if TYPE_CHECKING:
    import onnx
    import torch
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from training.model.config import HyperSegConfig

    Frame = NDArray[np.uint8]

FormPrecision = Literal["fp64", "fp32", "fp16", "int8"]
PRECISIONS: dict[str, FormPrecision] = {"fp32": "fp32", "fp16": "fp16", "int8": "int8"}


class Form(Protocol):
    """One form of the network."""

    name: str
    precision: FormPrecision
    subject: str
    """The file it is, or how it was made."""

    def answer(self, frame: Frame) -> Answer:
        """What it gives for a (H, W, 3) uint8 frame in the network's colour order."""
        ...


@dataclass(frozen=True)
class Missing:
    """A form that could not be compared."""

    name: str
    why: str
    given: str = ""
    """The file, if one was given for it: then it is at fault, not merely absent."""


class TorchForm:
    """A torch module that maps a normalised (1, 3, H, W) image to (1, C, H, W) scores.

    Args:
        name: of the form.
        net: the module, in eval mode.
        config: holds the normalisation.
        dtype: torch.float64 or torch.float32; the module is of that type.
        subject: where it comes from.
    """

    def __init__(
        self,
        name: str,
        net: torch.nn.Module,
        config: HyperSegConfig,
        dtype: torch.dtype,
        subject: str,
    ) -> None:
        self.name, self.subject = name, subject
        self.precision: FormPrecision = "fp64" if dtype.itemsize == 8 else "fp32"
        self._net, self._config, self._dtype = net, config, dtype

    def answer(self, frame: Frame) -> Answer:
        """See `Form.answer`."""
        import torch

        mean, std = (
            torch.tensor(value, dtype=torch.float64).reshape(1, 3, 1, 1)
            for value in (self._config.mean, self._config.std)
        )
        image = torch.from_numpy(frame).permute(2, 0, 1)[None] / 255.0
        with torch.no_grad():
            scores = self._net(((image.double() - mean) / std).to(self._dtype))[0].numpy()
        return Answer(scores.argmax(0).astype(np.uint8), scores)


class GraphForm:
    """An ONNX graph in ONNX Runtime on the CPU.

    Args:
        name: of the form.
        precision: whose rounding it has.
        model: the graph; one uint8 frame in, mask or scores out.
        subject: where it comes from.
        manifest: classes and size.
        optimise: as in deployment, or node by node as written.
        threads: CPU threads.
    """

    def __init__(
        self,
        name: str,
        precision: FormPrecision,
        model: onnx.ModelProto,
        subject: str,
        manifest: Manifest,
        *,
        optimise: bool,
        threads: int | None,
    ) -> None:
        self.name, self.precision, self.subject, self.graph = name, precision, subject, model
        self._feed = model.graph.input[0].name
        self._result = model.graph.output[0].name
        self._scores = scores_of(model)
        self._shape = (1, len(manifest.labels), *manifest.input_size)
        self._run = GraphRun(model, shown=[self._scores], optimise=optimise, threads=threads)

    def answer(self, frame: Frame) -> Answer:
        """See `Form.answer`."""
        answers = self._run({self._feed: frame[None]})
        scores: NDArray[Any] = answers[self._scores]
        result = answers[self._result][0]
        # A graph that decides before it upsamples shows no scores of the frame's size.
        fits = scores.shape == self._shape
        wide = scores[0].astype(np.float32)
        mask = result if result.ndim == 2 else result.argmax(0)
        return Answer(mask.astype(np.uint8), wide if fits else None, None if fits else wide)


class BackendForm:
    """A file as the runtime opens it: a built engine, or a model in ONNX Runtime.

    Args:
        name: of the form.
        backend: entered by the caller.
        manifest: of the file.
        precision: ``fp32``, ``fp16`` or ``int8``; what an engine was built for.
    """

    def __init__(self, name: str, backend: Backend, manifest: Manifest, precision: str) -> None:
        self.name, self.subject = name, backend.name
        self.precision: FormPrecision = PRECISIONS[precision]
        self._backend = backend
        self._feed = backend.feeds[manifest.inputs[0].name][0]
        self._decode = mask_decoder(backend, manifest)
        self._scores = (
            backend.fetches[manifest.outputs[0].name][0] if manifest.head == "logits" else None
        )

    def answer(self, frame: Frame) -> Answer:
        """See `Form.answer`."""
        np.copyto(self._feed, frame)
        self._backend.infer(EngineStamps())
        scores = None if self._scores is None else self._scores.copy()
        return Answer(self._decode().copy(), scores)
