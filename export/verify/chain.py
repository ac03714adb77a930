"""Putting the chain together: what is given, what can be made of it, and what is missing."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_runtime.backends.base import open_backend
from edge_runtime.engines.identity import identity_of
from edge_runtime.errors import HypersegError, OptionError
from edge_runtime.redact import public_command
from export.fp16_measure import rounded
from export.verify.forms import BackendForm, GraphForm, Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest
    from export.verify.forms import Form
    from export.verify.options import VerifyOptions
    from export.verify.subjects import Model, Subjects
    from training.model.hyperseg import HyperSeg

TRACED, SIMPLIFIED, DEPLOYED = "ONNX as traced", "ONNX simplified", "ONNX Runtime"
RUNTIME = "runtime"
NO_CHECKPOINT = "no checkpoint was given"


@dataclass
class Chain:
    """The forms in order; the first is the reference."""

    manifest: Manifest
    """Size, classes and normalisation, of all of them."""
    graph: onnx.ModelProto
    """The FP32 graph of the reference, whose weights are moved to find the noise floor."""
    forms: list[Form | Missing] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)
    """Closes backends."""


def assemble(
    subjects: Subjects,
    options: VerifyOptions,
    draw: Callable[[Manifest], Sequence[NDArray[np.uint8]]],
    report: Callable[[str], None],
) -> tuple[Chain, Sequence[NDArray[np.uint8]]]:
    """All forms that can be had, and the frames they are to be compared on.

    Args:
        subjects: what was given.
        options: size, threads.
        draw: gives the frames, once it is known for what model.
        report: takes progress lines.

    Raises:
        OptionError: the checkpoint and the models are of different networks.
        HypersegError: the reference itself cannot be had.
    """
    first: list[Form | Missing]
    given = subjects.models.get("fp32")
    if subjects.checkpoint is None:
        assert given is not None
        assert given.graph is not None
        manifest, graph, subject = given.manifest, given.graph, given.path.name
        if options.size not in (None, manifest.input_size):
            raise OptionError(
                f"{given.path} is for {manifest.input_size[0]}x{manifest.input_size[1]}; leave "
                "--size away, or give the checkpoint"
            )
        names = ("torch float64", "torch float32", "deployment form", TRACED)
        first = [Missing(name, NO_CHECKPOINT) for name in names]
    else:
        manifest, graph, first = _from_checkpoint(subjects, options, report)
        subject = given.path.name if given else "made here"
    chain = Chain(manifest, graph, first)
    # A given model is on trial too: the floor is never measured on it if there is a checkpoint.
    deployed = given.graph if given is not None and given.graph is not None else graph
    threads = options.threads
    for name, optimise in ((SIMPLIFIED, False), (DEPLOYED, True)):
        chain.forms.append(
            GraphForm(name, "fp32", deployed, subject, manifest, optimise=optimise, threads=threads)
        )
    frames = draw(manifest)
    chain.forms.append(_runtime(subjects, chain, threads))
    chain.forms.append(_half(subjects, manifest, deployed, frames, threads, report))
    chain.forms.append(_quantised(subjects, chain, threads))
    chain.forms.extend(_engines(subjects, chain))
    return chain, frames


def _from_checkpoint(
    subjects: Subjects, options: VerifyOptions, report: Callable[[str], None]
) -> tuple[Manifest, onnx.ModelProto, list[Form | Missing]]:
    import torch

    from export.deploy import DeployNetwork
    from export.to_onnx import to_onnx
    from export.verify.forms import TorchForm
    from training.checkpoint import labels_of, load_network

    assert subjects.checkpoint is not None
    net, own = load_network(subjects.checkpoint)
    net.eval()
    others = [*subjects.models.values(), *subjects.engines]
    manifest = others[0].manifest if others else _manifest(net, own, options)
    size, classes = manifest.input_size, (own.labels if own else labels_of(net.config)).names
    if len(classes) != len(manifest.labels):
        raise OptionError(
            f"{subjects.checkpoint} has {len(classes)} classes, {others[0].path} "
            f"{len(manifest.labels)}: they are not one network"
        )
    name = subjects.checkpoint.name
    exact = copy.deepcopy(net).double()
    report(f"tracing {name} at {size[0]}x{size[1]}")
    traced = to_onnx(net, size, "mask", simplify=False)
    simplified = to_onnx(net, size, "mask")
    forms: list[Form | Missing] = [
        TorchForm("torch float64", exact, net.config, torch.float64, name),
        TorchForm("torch float32", net, net.config, torch.float32, name),
        TorchForm(
            "deployment form", DeployNetwork(exact, size), net.config, torch.float64,
            "rewritten in torch float64",
        ),
        GraphForm(
            TRACED, "fp32", traced, "made here", manifest, optimise=False, threads=options.threads
        ),
    ]  # fmt: skip
    return manifest, simplified, forms


def _manifest(net: HyperSeg, own: Manifest | None, options: VerifyOptions) -> Manifest:
    """Of a model that was not written: what comparing needs."""
    from edge_runtime.artifacts import Manifest, Preprocess, TensorSpec, created_by_this_command
    from training.checkpoint import labels_of

    config = net.config
    size = options.size or config.train_size
    return Manifest(
        kind="onnx", name=own.name if own else "network", sha256="",
        created_by=created_by_this_command(), labels=own.labels if own else labels_of(config),
        preprocess=Preprocess(config.mean, config.std),
        inputs=(TensorSpec("frame", (1, *size, 3), "uint8"),),
        outputs=(TensorSpec("mask", (1, *size), "uint8"),), head="mask",
    )  # fmt: skip


def _runtime(subjects: Subjects, chain: Chain, threads: int | None) -> Form | Missing:
    """The file as `run` opens it, which may rewrite it for the machine."""
    given = subjects.models.get("fp32")
    if given is None:
        return Missing(RUNTIME, "no FP32 model was given; `hyperseg export` makes one")
    try:
        backend = open_backend(given.path, given.manifest, threads=threads)
        return BackendForm(RUNTIME, chain.stack.enter_context(backend), given.manifest, "fp32")
    except HypersegError as error:
        return _unusable(RUNTIME, error, given)


def _half(
    subjects: Subjects,
    manifest: Manifest,
    deployed: onnx.ModelProto,
    frames: Sequence[NDArray[np.uint8]],
    threads: int | None,
    report: Callable[[str], None],
) -> Form | Missing:
    name = "FP16"
    given = subjects.models.get("fp16")
    try:
        if given is not None and given.graph is not None:
            half, subject = given.graph, given.path.name
        else:
            from export.fp16_policy import convert

            report("making the FP16 graph")
            half, _ = convert(deployed, [frame[None] for frame in frames])
            subject = "made here"
        # ONNX Runtime computes FP16 graphs in FP32 on the CPU: the rounding is written out.
        return GraphForm(
            name, "fp16", rounded(half), f"{subject}, rounding emulated on the CPU",
            manifest, optimise=True, threads=threads,
        )  # fmt: skip
    except HypersegError as error:
        return _unusable(name, error, given)


def _quantised(subjects: Subjects, chain: Chain, threads: int | None) -> Form | Missing:
    name = "Q/DQ"
    given = subjects.models.get("int8")
    if given is None or given.graph is None:
        return Missing(name, "no INT8 model was given; `hyperseg calibrate` makes one")
    try:
        return GraphForm(
            name, "int8", given.graph, given.path.name, chain.manifest, optimise=True,
            threads=threads,
        )  # fmt: skip
    except HypersegError as error:
        return _unusable(name, error, given)


def _engines(subjects: Subjects, chain: Chain) -> list[Form | Missing]:
    if not subjects.engines:
        return [Missing("engine", "no engine was given; `hyperseg build` makes one on the device")]
    forms: list[Form | Missing] = []
    for engine in subjects.engines:
        identity = identity_of(engine.path, engine.manifest)
        name = f"engine ({identity.precision}, {identity.runtime})"
        if any(form.name == name for form in forms):
            raise OptionError(f"{engine.path} is the second {name}; give one of a kind")
        try:
            backend = chain.stack.enter_context(open_backend(engine.path, engine.manifest))
            forms.append(BackendForm(name, backend, engine.manifest, identity.precision))
        except HypersegError as error:
            forms.append(_unusable(name, error, engine))
    return forms


def _unusable(name: str, error: HypersegError, given: Model | None) -> Missing:
    return Missing(name, public_command(str(error)), given.path.name if given else "")
