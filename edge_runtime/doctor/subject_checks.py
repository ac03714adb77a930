"""The source and the model that a run is to be made of."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edge_runtime.doctor.camera_checks import check_camera, holders
from edge_runtime.doctor.finding import ok, problem, warning
from edge_runtime.doctor.host_checks import ARGUS, container_of
from edge_runtime.engines.gpu import NoGpu
from edge_runtime.errors import HypersegError
from edge_runtime.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_runtime.doctor.finding import Finding
    from edge_runtime.doctor.machine import Machine

PATIENCE_S = 1.5
"""For a network camera to accept a connection."""
PORTS = {"rtsp": 554, "rtsps": 322, "rtspt": 554, "rtspu": 554, "rtsph": 80, "http": 80,
         "https": 443}  # fmt: skip


def check_source(machine: Machine, text: str) -> Iterator[Finding]:
    """Whether a source is there and may be opened; no frame is taken from it."""
    from edge_runtime.sources.fault import SCHEME, split_fault

    try:
        inner = split_fault(text)[1] if text.startswith(SCHEME) else text
        scheme = inner.partition(":")[0].lower()
        if scheme in PORTS:
            yield _reach(inner, scheme)
            return
        if not _is_ours(inner, scheme):
            yield warning(
                "source", f"{redact(inner)} is known to GStreamer alone", "a source that is ours",
                f"hyperseg run MODEL '{redact(inner)}' --duration 3",
            )  # fmt: skip
            return
        yield from _planned(machine, inner)
    except HypersegError as error:
        yield problem("source", str(error), "a source that can be opened", "hyperseg run --help")


def _is_ours(text: str, scheme: str) -> bool:
    is_uri = ":" in text and len(scheme) > 1 and scheme.isalnum()
    return not is_uri or scheme in ("file", "test", "v4l2", "csi", "launch") or " ! " in text


def _planned(machine: Machine, text: str) -> Iterator[Finding]:
    from edge_runtime.sources.open import plan_source

    plan = plan_source(text)
    device = plan.properties.get("device")
    if plan.end_before_stop:
        yield _csi(machine, plan.uri)
    elif isinstance(device, str):
        place = Path(device).resolve()
        yield from check_camera(machine, place, holders(machine).get(str(place), []))
    else:
        yield ok("source", plan.uri)


def _csi(machine: Machine, uri: str) -> Finding:
    if not machine.is_jetson:
        return problem(
            "source", f"{uri} on a machine that is no Jetson", "a Jetson", "hyperseg run --help"
        )
    if not machine.path(ARGUS).exists():
        return problem(
            "source", f"{uri}: no /tmp/argus_socket", "the socket of nvargus-daemon",
            "docker run --runtime nvidia -v /tmp/argus_socket:/tmp/argus_socket ..."
            if container_of(machine)
            else "sudo systemctl restart nvargus-daemon",
        )  # fmt: skip
    return ok("source", f"{uri}: nvargus-daemon's socket is there")


def _reach(uri: str, scheme: str) -> Finding:
    shown = redact(uri)
    try:
        place = urlsplit(uri)
        host, port = place.hostname, place.port or PORTS[scheme]
    except ValueError:
        host, port = None, 0
    if not host:
        return problem("source", f"{shown} names no host", f"{scheme}://HOST/PATH", "# correct it")
    try:
        with socket.create_connection((host, port), PATIENCE_S):
            return ok("source", f"{shown}: {host} accepts connections at port {port}")
    except OSError as error:
        reason = error.strerror or str(error)
        return problem(
            "source", f"{shown}: {reason}", f"{host} accepts connections at port {port}",
            f"ping -c 3 {host}; nc -vz {host} {port}",
        )  # fmt: skip


def check_model(machine: Machine, text: str) -> Iterator[Finding]:
    """The model's file and manifest, and on a GPU whether there is an engine of it."""
    from edge_runtime.artifacts import read_manifest
    from edge_runtime.zoo import is_non_commercial, resolve_model

    try:
        path = resolve_model(text)
        manifest = read_manifest(path)
        height, width = manifest.input_size
    except HypersegError as error:
        yield problem("model", str(error), "a model and its manifest", "hyperseg models")
        return
    terms = "; not for commercial use" if is_non_commercial(manifest.license) else ""
    seen = f"{path}: {height}x{width}, {len(manifest.labels)} classes, file and manifest agree"
    yield ok("model.file", seen + terms)
    if isinstance(machine.gpu(), NoGpu) or manifest.kind != "onnx":
        return
    from edge_runtime.engines.choice import choose, engine_precision, this_machine
    from edge_runtime.engines.store import EngineStore

    store = EngineStore()
    try:
        choice = choose(store, manifest, engine_precision(manifest), this_machine())
    except HypersegError as error:
        yield warning("model.engine", str(error), "TensorRT, so that the GPU infers", "# see above")
        return
    if choice.engine is not None:
        yield ok("model.engine", f"{choice.engine.path}")
    else:
        yield warning(
            "model.engine", choice.reason or "none", "an engine; without one the CPU infers",
            f"hyperseg build {text}",
        )  # fmt: skip
