"""Opening what is to be evaluated: a checkpoint, the authors' weights, or an exported model."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from edge_runtime.artifacts import check_readable, read_manifest, sha256_of
from edge_runtime.backends.base import open_backend
from edge_runtime.errors import OptionError
from training.checkpoint import labels_of, load_checkpoint, load_official
from training.evaluation.options import EvalOptions
from training.evaluation.predictors import (
    BackendNetwork,
    LogitsPredictor,
    MaskPredictor,
    TorchNetwork,
)
from training.model.config import check_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_runtime.artifacts import Manifest, ResizeMode
    from edge_runtime.labels import LabelSet
    from training.evaluation.evaluate import Predictor
    from training.model.hyperseg import HyperSeg


@dataclass(frozen=True)
class Subject:
    """An artefact that is ready to be evaluated."""

    name: str
    """File name, without its folder."""
    sha256: str
    predictor: Predictor
    input_size: tuple[int, int]
    """(height, width) of what the network sees at zoom 1."""
    resize: ResizeMode | None
    """How whole pictures are fitted; None when they are seen through windows."""
    engine: str
    """What computes, such as ``torch 2.13.0+cpu (cpu)``."""


@contextmanager
def open_subject(path: Path, options: EvalOptions) -> Iterator[Subject]:
    """The artefact at `path`, ready to be evaluated in the views of the options.

    Raises:
        ArtifactError: missing, damaged or of a kind that cannot be evaluated.
        BackendError: the engine refused the model.
        OptionError: a size or resizing for a model that has its own, views that it cannot give,
            or no size for a checkpoint without one.
    """
    if path.suffix in (".pth", ".pt"):
        check_readable(path)
        net = load_official(path)
        yield _torch_subject(path, sha256_of(path), net, labels_of(net.config), None, options)
        return
    manifest = read_manifest(path)
    if manifest.kind == "checkpoint":
        net, manifest = load_checkpoint(path)
        stored = manifest.options.get("training", {}).get("size")
        stored = None if stored is None else (stored[0], stored[1])
        yield _torch_subject(path, manifest.sha256, net, manifest.labels, stored, options)
        return
    _refuse_foreign_size(path, manifest, options)
    with open_backend(path, manifest, threads=options.threads) as backend:
        resize = options.resize or manifest.preprocess.resize
        predictor: Predictor
        if manifest.head == "mask":
            predictor = MaskPredictor(backend, manifest, resize)
        else:
            network = BackendNetwork(backend, manifest)
            predictor = LogitsPredictor(network, manifest.input_size, resize, options)
        yield Subject(
            name=path.name,
            sha256=manifest.sha256,
            predictor=predictor,
            input_size=manifest.input_size,
            resize=None if options.window else resize,
            engine=backend.name,
        )


def _refuse_foreign_size(path: Path, manifest: Manifest, options: EvalOptions) -> None:
    height, width = manifest.input_size
    for flag, size in (("--size", options.size), ("--window", options.window)):
        if size is not None and size != (height, width):
            raise OptionError(
                f"{path.name} is exported for {height}x{width}, {flag} is {size[0]}x{size[1]}; "
                f"leave {flag} out, or export it at another size"
            )
    if options.window is None and any(scale != 1 for scale in options.scales):
        raise OptionError(
            f"{path.name} is exported for {height}x{width} and cannot see whole pictures at other "
            f"scales; evaluate the checkpoint, or slide a window: --window {height}x{width}"
        )
    if manifest.head == "mask" and options.averaged:
        raise OptionError(
            f"{path.name} outputs masks, which cannot be averaged over views; export it with "
            "--head logits, or leave --scales, --flip and --window out"
        )
    if options.device not in ("cpu", "auto"):
        raise OptionError(
            f"--device {options.device} is for checkpoints; {path.name} runs in its own engine"
        )


def _torch_subject(
    path: Path,
    sha256: str,
    net: HyperSeg,
    labels: LabelSet,
    stored_size: tuple[int, int] | None,
    options: EvalOptions,
) -> Subject:
    config = net.config
    size = options.window or options.size or stored_size
    if size is None:
        height, width = config.train_size
        raise OptionError(
            f"{path.name} does not say its input size; give --size HxW, such as {height}x{width}"
        )
    check_size(config, *size)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    # Of an untrained or pruned network: denormal numbers are up to 100x slower on a CPU.
    torch.set_flush_denormal(True)
    device = _device(options.device)
    resize = options.resize or "stretch"
    predictor = LogitsPredictor(
        TorchNetwork(net.to(device), labels, config.mean, config.std),
        size,
        resize,
        options,
        math.lcm(config.size_multiple, 32 * (config.decoder.patch_grid or 1)),
    )
    return Subject(
        name=path.name,
        sha256=sha256,
        predictor=predictor,
        input_size=size,
        resize=None if options.window else resize,
        engine=f"torch {torch.__version__} ({device.type})",
    )


def _device(name: str) -> torch.device:
    """The torch device of an option.

    Raises:
        OptionError: it does not exist here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise OptionError(f"device {name!r} is not known; expected cpu, cuda or auto")
    if name == "cuda" and not torch.cuda.is_available():
        raise OptionError("device 'cuda' is not available; use --device cpu")
    return torch.device(name)
