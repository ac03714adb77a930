"""What can be evaluated: a torch network, and an exported model in the runtime's own backend."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from edge_runtime.artifacts import read_manifest
from edge_runtime.backends.base import EngineStamps, open_backend
from edge_runtime.errors import BackendError, OptionError
from training.normalise import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from edge_runtime.artifacts import Manifest, ResizeMode
    from edge_runtime.backends.base import Backend
    from edge_runtime.geometry import FrameGeometry
    from edge_runtime.labels import LabelSet
    from training.evaluate import Predictor


class NetPredictor:
    """A torch network: logits are resized bilinearly to the labels' size before argmax.

    Args:
        net: maps (1, 3, H, W) normalised RGB to (1, C, H, W) logits.
        labels: its classes.
        input_size: (height, width) it is run at.
        mean: of RGB in 0..1.
        std: of RGB in 0..1.
    """

    resize: ResizeMode = "stretch"

    def __init__(
        self,
        net: nn.Module,
        labels: LabelSet,
        input_size: tuple[int, int],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        self.net, self.labels, self.input_size = net.eval(), labels, input_size
        self._mean, self._std = mean, std

    def predict(self, frame: NDArray[np.uint8], geometry: FrameGeometry) -> NDArray[np.uint8]:
        """See `Predictor.predict`."""
        device = next(self.net.parameters()).device
        with torch.inference_mode():
            # A copy: frames may be read-only, which torch's tensors cannot be.
            tensor = torch.from_numpy(np.array(frame))[None].to(device)
            image = normalise(tensor, self._mean, self._std)
            logits = self.net(image).float()  # (1, C, height, width)
            top, left, height, width = geometry.content
            logits = logits[:, :, top : top + height, left : left + width]
            if (height, width) != geometry.frame:
                logits = F.interpolate(logits, geometry.frame, mode="bilinear", align_corners=False)
            mask: NDArray[np.uint8] = logits[0].argmax(0).to(torch.uint8).cpu().numpy()
            return mask


class BackendPredictor:
    """An exported model through the runtime's own backend, fed and read as in deployment.

    Args:
        backend: opened, entered by the caller.
        manifest: of the model.

    Raises:
        BackendError: the model does not output one mask.
    """

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        if manifest.head != "mask":
            raise BackendError(
                f"model {manifest.name!r} has a {manifest.head!r} head; evaluation needs 'mask': "
                "export it with --head mask, or evaluate the checkpoint"
            )
        self.labels, self.resize = manifest.labels, manifest.preprocess.resize
        self.input_size = manifest.input_size
        self._bgr = manifest.preprocess.color == "BGR"
        self._backend = backend
        self._input, self._output = backend.inputs[0].name, backend.outputs[0].name

    def predict(self, frame: NDArray[np.uint8], geometry: FrameGeometry) -> NDArray[np.uint8]:
        """See `Predictor.predict`."""
        self._backend.feeds[self._input][0] = frame[:, :, ::-1] if self._bgr else frame
        self._backend.infer(EngineStamps())
        mask = self._backend.fetches[self._output].reshape(self.input_size)
        return geometry.mask_to_frame(np.array(mask, np.uint8))


@contextmanager
def open_predictor(
    path: Path, *, size: tuple[int, int] | None = None, threads: int | None = None
) -> Iterator[Predictor]:
    """The predictor of a checkpoint or an exported model, by its manifest.

    Args:
        path: the artefact.
        size: (height, width) a checkpoint is run at; None: what it was validated at.
        threads: CPU threads; None leaves it to the engine.

    Raises:
        ArtifactError: missing, damaged or of a kind that cannot be evaluated.
        BackendError: the engine refused the model.
        OptionError: a size for a model that has its own, or none for a checkpoint without one.
    """
    manifest = read_manifest(path)
    if manifest.kind == "checkpoint":
        yield _open_checkpoint(path, size, threads)
        return
    if size is not None and size != manifest.input_size:
        raise OptionError(
            f"{path.name} is exported for {manifest.input_size[0]}x{manifest.input_size[1]}; "
            "leave --size out, or export it at another size"
        )
    with open_backend(path, manifest, threads=threads) as backend:
        yield BackendPredictor(backend, manifest)


def _open_checkpoint(path: Path, size: tuple[int, int] | None, threads: int | None) -> NetPredictor:
    from training.checkpoint import load_checkpoint

    if threads is not None:
        torch.set_num_threads(threads)
    net, manifest = load_checkpoint(path)
    stored = manifest.options.get("training", {}).get("size")
    if size is None and stored is None:
        raise OptionError(f"{path.name} does not say its input size; give --size HxW")
    height, width = size or stored
    preprocess = manifest.preprocess
    return NetPredictor(net, manifest.labels, (height, width), preprocess.mean, preprocess.std)
