"""The export stage: checkpoint in; ONNX model, manifest and verdict out."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.artifacts import (
    Manifest,
    Parent,
    Preprocess,
    TensorSpec,
    create_artifact,
    created_by_this_command,
    sha256_of,
)
from export.counts import count_macs
from export.deploy import DeployNetwork
from export.half import as_half
from export.parity import compare, parity_frames, require
from export.storage import measure_loss, pack_weights
from export.to_onnx import OPSET, to_onnx
from export.yuv import as_yuv
from training.checkpoint import labels_of, load_network
from training.model.encoders.base import parameter_count
from training.official import load_official

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.artifacts import Parity
    from export.options import ExportOptions
    from training.model.hyperseg import HyperSeg


def export(
    checkpoint: Path, options: ExportOptions, report: Callable[[str], None] = lambda _: None
) -> Manifest:
    """Write the deployment graph of a checkpoint, once it is proven to be the same network.

    Args:
        checkpoint: ours (``.safetensors`` with manifest) or an official ``.pth``.
        options: size, head, output.
        report: takes progress lines.

    Returns:
        The manifest as written.

    Raises:
        ArtifactError: the checkpoint cannot be loaded, or its network cannot take YUV frames.
        OptionError: the size does not fit, or the output cannot be written.
        ParityError: the graph's answers are not the checkpoint's, or half precision loses too
            much; nothing is written then.
    """
    net, parent = _load(checkpoint, options)
    size = options.size or net.config.train_size
    report(f"tracing {checkpoint.name} at {size[0]}x{size[1]}")
    graph = to_onnx(net, size, options.head)
    report("comparing with the checkpoint in float64")
    parity = compare(net, graph, size, options.head, options.parity_frames)
    require(parity)
    manifest = _describe(checkpoint, net, parent, options, size, parity)
    if options.store == "float16":
        packed = pack_weights(graph)
        pictures = np.stack(parity_frames(net.config, size, options.parity_frames))[:, None]
        loss = measure_loss(graph, packed, pictures)
        report(f"weights as float16: {100 * loss.pixels_changed:.2f} % of the mask changes")
        graph, manifest = packed, _with_storage(manifest, asdict(loss))
    if options.yuv is not None:
        graph, manifest = as_yuv(graph, manifest, options.yuv, report)
    if options.precision == "fp16":
        graph, manifest = as_half(graph, manifest, report, options.frames)
    serialised = graph.SerializeToString()
    return create_artifact(options.output, manifest, lambda part: part.write_bytes(serialised))


def _with_storage(manifest: Manifest, loss: dict[str, Any]) -> Manifest:
    storage = {"weights": "float16", **loss}
    return replace(manifest, options={**manifest.options, "storage": storage})


def _load(checkpoint: Path, options: ExportOptions) -> tuple[HyperSeg, Manifest | None]:
    if options.preset is not None:
        return load_official(checkpoint, options.preset), None
    return load_network(checkpoint)


def _describe(
    checkpoint: Path,
    net: HyperSeg,
    parent: Manifest | None,
    options: ExportOptions,
    size: tuple[int, int],
    parity: Parity,
) -> Manifest:
    config = net.config
    deployed = DeployNetwork(net, size)
    output = (
        TensorSpec("mask", (1, *size), "uint8")
        if options.head == "mask"
        else TensorSpec("logits", (1, config.num_classes, *size), "float32")
    )
    return Manifest(
        kind="onnx",
        name=options.name or (parent.name if parent else checkpoint.stem),
        sha256="",
        created_by=created_by_this_command(),
        labels=parent.labels if parent else labels_of(config),
        preprocess=Preprocess(mean=config.mean, std=config.std, resize=options.resize),
        inputs=(TensorSpec("frame", (1, *size, 3), "uint8"),),
        outputs=(output,),
        head=options.head,
        preset=parent.preset if parent else options.preset,
        options={"network": asdict(config), "opset": OPSET},
        parents=(Parent("checkpoint", checkpoint.name, sha256_of(checkpoint)),),
        parameters=parameter_count(deployed),
        macs=count_macs(deployed, size).total,
        parity=parity,
        metrics=parent.metrics if parent else (),
        license=options.license or (parent.license if parent else ""),
        notes=parent.notes if parent else "",
    )
