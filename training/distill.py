"""Learning from a larger network: how far two sets of logits are apart, and who the teacher is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import torch
import torch.nn.functional as F

from edge_runtime.artifacts import read_manifest
from edge_runtime.backends.base import EngineStamps, open_backend
from edge_runtime.errors import OptionError
from edge_runtime.pixels import require_rgb
from training.checkpoint import labels_of, load_network
from training.evaluation.placing import resized
from training.normalise import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor, nn

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.labels import LabelSet
    from training.options import Distillation


STRIDE = 4
"""At which logits are compared: that of the edge family's own, and a fifth of the time."""


def thinned(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both logits at `STRIDE` of the student's, as means of the pixels; a coarser teacher's as is.

    Args:
        student: (N, C, h, w) logits at the size of the image.
        teacher: (N, C, h', w').
    """
    if teacher.shape[2:] == student.shape[2:]:
        teacher = F.avg_pool2d(teacher, STRIDE)
    return F.avg_pool2d(student, STRIDE), teacher


def distillation(
    student: Tensor, teacher: Tensor, kind: Distillation, temperature: float
) -> Tensor:
    """How far the student's logits are from the teacher's, times the squared temperature.

    ``cwd`` compares, for each channel, the distribution of its activation over the picture
    (channel-wise distillation, Shu et al., ICCV 2021); ``logits`` compares, for each pixel, the
    distribution over the classes.

    Args:
        student: (N, C, h, w) float logits.
        teacher: (N, C, h', w') float logits, resized bilinearly if their size differs.
        kind: which of the two.
        temperature: divides both.

    Returns:
        Scalar Kullback-Leibler divergence in nats, mean over channels or pixels of all images.
    """
    if teacher.shape[2:] != student.shape[2:]:
        size = (int(student.shape[2]), int(student.shape[3]))
        teacher = F.interpolate(teacher, size, mode="bilinear", align_corners=False)
    if kind == "cwd":
        student, teacher, axis = student.flatten(2), teacher.flatten(2), 2
    else:
        axis = 1
    learned = F.log_softmax(student / temperature, axis)
    taught = F.log_softmax(teacher / temperature, axis)
    distributions = learned.numel() / learned.shape[axis]
    divergence = F.kl_div(learned, taught, reduction="sum", log_target=True)
    return divergence * (temperature**2 / distributions)


class Teacher(Protocol):
    """A trained network that is asked, never changed."""

    def logits(self, frames: Tensor) -> Tensor:
        """(N, C, h', w') float logits of (N, h, w, 3) uint8 RGB frames, on their device."""
        ...


class NetTeacher:
    """A teacher in PyTorch.

    Args:
        net: maps (N, 3, h, w) normalised RGB to (N, C, h, w) logits.
        mean: of RGB in 0..1.
        std: of RGB in 0..1.
        bf16: compute under bfloat16 autocast.
    """

    def __init__(
        self,
        net: nn.Module,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        *,
        bf16: bool = False,
    ) -> None:
        self._net = net.eval().requires_grad_(False)
        self._mean, self._std, self._bf16 = mean, std, bf16

    def logits(self, frames: Tensor) -> Tensor:
        """See `Teacher.logits`."""
        images = normalise(frames, self._mean, self._std)
        with torch.no_grad(), torch.autocast(frames.device.type, torch.bfloat16, self._bf16):
            logits: Tensor = self._net(images)
        return logits.float()


class BackendTeacher:
    """An exported model with a logits head, which sees each frame stretched to its own input size.

    Args:
        backend: opened, entered by the caller.
        manifest: of the model; its colour order is honoured, its graph normalises.
    """

    def __init__(self, backend: Backend, manifest: Manifest) -> None:
        self._backend, self._size = backend, manifest.input_size
        self._bgr = manifest.preprocess.color == "BGR"
        self._input, self._output = backend.inputs[0].name, backend.outputs[0].name

    def logits(self, frames: Tensor) -> Tensor:
        """See `Teacher.logits`."""
        answers = []
        for frame in frames.cpu().numpy():
            seen = resized(frame, self._size)
            self._backend.feeds[self._input][0] = seen[:, :, ::-1] if self._bgr else seen
            self._backend.infer(EngineStamps())
            # A copy: the next inference overwrites what this one left.
            answers.append(torch.from_numpy(self._backend.fetches[self._output].copy()))
        return torch.cat(answers).float().to(frames.device)


@contextmanager
def open_teacher(
    path: Path,
    labels: LabelSet,
    *,
    device: torch.device,
    bf16: bool = False,
    threads: int | None = None,
) -> Iterator[Teacher]:
    """The teacher of a checkpoint, of the authors' weights (``.pth``) or of an exported model.

    Args:
        path: the artefact.
        labels: classes of the student.
        device: where a checkpoint is run.
        bf16: compute a checkpoint in bfloat16.
        threads: CPU threads of an exported model; None leaves it to the engine.

    Raises:
        ArtifactError: missing, damaged, or of a kind that cannot teach.
        BackendError: the engine refused the model.
        OptionError: other classes than the student's, or a model that outputs masks.
    """
    manifest = None if path.suffix in (".pth", ".pt") else read_manifest(path)
    if manifest is not None and manifest.kind != "checkpoint":
        _check_classes(path, manifest.labels, labels)
        require_rgb(manifest)
        if manifest.head != "logits":
            raise OptionError(
                f"{path.name} outputs a {manifest.head}, which says nothing about the other "
                "classes; export the teacher with --head logits, or give its checkpoint"
            )
        with open_backend(path, manifest, threads=threads) as backend:
            yield BackendTeacher(backend, manifest)
        return
    net, manifest = load_network(path)
    _check_classes(path, labels_of(net.config) if manifest is None else manifest.labels, labels)
    yield NetTeacher(net.to(device), net.config.mean, net.config.std, bf16=bf16)


def _check_classes(path: Path, taught: LabelSet, learned: LabelSet) -> None:
    if taught.names != learned.names:
        raise OptionError(
            f"teacher {path.name} knows {taught.name} ({len(taught)} classes), the data is "
            f"labelled with {learned.name} ({len(learned)}); choose a teacher with the data's "
            "classes"
        )
