"""What can be evaluated: torch networks and exported models, shown a picture in one or more views.

A network that outputs scores is asked for logits, which are resized bilinearly to the labels' size
before argmax. Where a pixel is seen more than once (zooms, mirror images, windows that overlap) its
class probabilities are averaged. A model that outputs a mask is fed and read as in deployment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from edge_runtime.backends.base import EngineStamps
from edge_runtime.geometry import FrameGeometry
from edge_runtime.yuv import as_input
from training.evaluation.options import EvalOptions
from training.evaluation.placing import place, window_starts, zoom
from training.normalise import normalise

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from edge_runtime.artifacts import Manifest, ResizeMode
    from edge_runtime.backends.base import Backend
    from edge_runtime.labels import LabelSet

_WHOLE = EvalOptions()


class Network(Protocol):
    """What computes class scores of a frame."""

    labels: LabelSet

    def logits(self, frame: NDArray[np.uint8]) -> Tensor:
        """(C, h, w) float32 scores of an (h, w, 3) uint8 RGB frame."""
        ...


class TorchNetwork:
    """A torch module that maps (1, 3, h, w) normalised RGB to (1, C, h, w) logits.

    Args:
        net: the module, on its device.
        labels: its classes.
        mean: of RGB in 0..1.
        std: of RGB in 0..1.
    """

    def __init__(
        self,
        net: nn.Module,
        labels: LabelSet,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        self.net, self.labels = net.eval(), labels
        self._mean, self._std = mean, std

    def logits(self, frame: NDArray[np.uint8]) -> Tensor:
        """See `Network.logits`."""
        device = next(self.net.parameters()).device
        # A copy: frames may be read-only, which torch's tensors cannot be.
        tensor = torch.from_numpy(np.array(frame))[None].to(device)
        logits: Tensor = self.net(normalise(tensor, self._mean, self._std))[0].float()
        return logits


class BackendNetwork:
    """An exported model with a logits head, through the runtime's own backend.

    Args:
        backend: opened, entered by the caller.
        manifest: of the model.
    """

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self.labels = manifest.labels
        self._feed, self._backend = _Feed(backend, manifest), backend
        self._output = backend.outputs[0].name

    def logits(self, frame: NDArray[np.uint8]) -> Tensor:
        """See `Network.logits`."""
        self._feed(frame)
        # A copy: the next inference overwrites what this one left.
        return torch.from_numpy(np.array(self._backend.fetches[self._output][0], np.float32))


class _Feed:
    """Runs a backend on one RGB frame, in the colour order or the YUV format its model wants."""

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self._preprocess = manifest.preprocess
        self._backend, self._input = backend, backend.inputs[0].name

    def __call__(self, frame: NDArray[np.uint8]) -> None:
        ordered = frame[:, :, ::-1] if self._preprocess.color == "BGR" else frame
        self._backend.feeds[self._input][0] = as_input(ordered, self._preprocess)
        self._backend.infer(EngineStamps())


class MaskPredictor:
    """An exported model with a mask head: its mask is mapped to the picture as the runtime does.

    Args:
        backend: opened, entered by the caller.
        manifest: of the model.
        resize: how pictures of another shape are fitted.
    """

    def __init__(self, backend: Backend, manifest: Manifest, resize: ResizeMode) -> None:
        self.labels, self.resize = manifest.labels, resize
        self.input_size = manifest.input_size
        self._even = manifest.preprocess.yuv is not None
        self._feed, self._backend = _Feed(backend, manifest), backend
        self._output = backend.outputs[0].name

    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Predictor.predict`."""
        height, width = image.shape[:2]
        size = height, width
        geometry = FrameGeometry(size, self.input_size, self.resize, even=self._even)
        self._feed(place(image, geometry))
        mask = self._backend.fetches[self._output].reshape(self.input_size)
        # A copy: the next inference overwrites what this one left.
        return geometry.mask_to_frame(np.array(mask, np.uint8))


class LogitsPredictor:
    """A network that outputs scores, shown each picture in the views that the options ask for.

    Args:
        network: computes the scores.
        input_size: (height, width) it is run at for a whole picture at zoom 1.
        resize: how pictures of another shape are fitted.
        options: zooms, mirror images and windows.
        multiple: other input sizes are rounded to multiples of this.
    """

    def __init__(
        self,
        network: Network,
        input_size: tuple[int, int],
        resize: ResizeMode = "stretch",
        options: EvalOptions = _WHOLE,
        multiple: int = 1,
    ) -> None:
        self.network, self.labels = network, network.labels
        self.input_size, self.resize = input_size, resize
        self._options, self._multiple = options, multiple

    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Predictor.predict`."""
        with torch.inference_mode():
            scores = self._scores(image)  # (C, H, W)
            mask: NDArray[np.uint8] = scores.argmax(0).to(torch.uint8).cpu().numpy()
            return mask

    def _scores(self, image: NDArray[np.uint8]) -> Tensor:
        """(C, H, W) logits of a single view, or the sum of the views' probabilities."""
        options = self._options
        total: Tensor | None = None
        for scale in options.scales:
            for flip in (False, True) if options.flip else (False,):
                shown = image[:, ::-1] if flip else image
                if options.window is None:
                    scores = self._whole(shown, scale)
                else:
                    scores = self._windows(shown, scale, options.window)
                if options.views == 1:
                    return scores
                if options.window is None:
                    scores = scores.softmax(0)
                scores = scores.flip(-1) if flip else scores
                total = scores if total is None else total.add_(scores)
        assert total is not None  # EvalOptions demands at least one scale
        return total

    def _whole(self, image: NDArray[np.uint8], scale: float) -> Tensor:
        """(C, H, W) logits of a picture that is fitted into the network's input."""
        height, width = image.shape[:2]
        network = self.input_size
        if scale != 1:
            network = (self._rounded(network[0] * scale), self._rounded(network[1] * scale))
        geometry = FrameGeometry((height, width), network, self.resize)
        top, left, inner_height, inner_width = geometry.content
        logits = self.network.logits(place(image, geometry))
        logits = logits[:, top : top + inner_height, left : left + inner_width]
        return _resized(logits, (height, width))

    def _rounded(self, length: float) -> int:
        return max(round(length / self._multiple), 1) * self._multiple

    def _windows(self, image: NDArray[np.uint8], scale: float, window: tuple[int, int]) -> Tensor:
        """(C, H, W) probabilities: the mean over all windows that cover a pixel."""
        height, width = image.shape[:2]
        canvas = zoom(image, scale)
        total: Tensor | None = None
        seen = torch.zeros(canvas.shape[:2])
        for top, left in window_starts(canvas.shape[:2], window, self._options.overlap):
            part = canvas[top : top + window[0], left : left + window[1]]
            inner_height, inner_width = part.shape[:2]
            padded = np.zeros((*window, 3), np.uint8)  # black, where the picture is the smaller
            padded[:inner_height, :inner_width] = part
            scores = self.network.logits(padded)[:, :inner_height, :inner_width].softmax(0)
            if total is None:
                total = scores.new_zeros((len(scores), *canvas.shape[:2]))
            total[:, top : top + inner_height, left : left + inner_width] += scores
            seen[top : top + inner_height, left : left + inner_width] += 1
        assert total is not None  # there is always a window at the top left
        return _resized(total / seen.to(total.device), (height, width))


class NetPredictor(LogitsPredictor):
    """A torch network as training sees it: each picture once, stretched to `input_size`.

    Args:
        net: maps (1, 3, h, w) normalised RGB to (1, C, h, w) logits.
        labels: its classes.
        input_size: (height, width) it is run at.
        mean: of RGB in 0..1.
        std: of RGB in 0..1.
    """

    def __init__(
        self,
        net: nn.Module,
        labels: LabelSet,
        input_size: tuple[int, int],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        super().__init__(TorchNetwork(net, labels, mean, std), input_size)


def _resized(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """(C, h, w) scores at another size, bilinearly between pixel centres."""
    if scores.shape[1:] == size:
        return scores
    return F.interpolate(scores[None], size, mode="bilinear", align_corners=False)[0]
