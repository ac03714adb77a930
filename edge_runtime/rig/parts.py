"""What one camera of a run is made of, from the words of a user."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.artifacts import manifest_path
from edge_runtime.decode import mask_size
from edge_runtime.errors import OptionError, SinkError
from edge_runtime.frames_log import FramesLog
from edge_runtime.places import SPECIAL, files_named, is_special, why_unwritable
from edge_runtime.policy import parse_policy
from edge_runtime.redact import redact
from edge_runtime.sinks.outlets import open_outlets
from edge_runtime.sinks.spec import SinkContext, parse_sink
from edge_runtime.sources.images import is_image
from edge_runtime.supervision.ladder import ArgusLadder
from edge_runtime.supervision.source import SupervisedSource
from edge_runtime.video import SourceRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.nvmm.bridge import JetsonBridge
    from edge_runtime.options import RunOptions
    from edge_runtime.policy import Policy
    from edge_runtime.sinks.outlets import Outlets
    from edge_runtime.supervision.options import SupervisionOptions


@dataclass(frozen=True)
class CameraParts:
    """One camera and its outputs, none of them entered."""

    source: SupervisedSource
    outlets: Outlets
    log: FramesLog | None
    policy: Policy | None
    """None takes what suits the source."""
    bridge: JetsonBridge | None = None
    """Closed by whoever runs the camera, after its source."""


def assemble(
    text: str,
    options: RunOptions,
    manifest: Manifest,
    backend: Backend,
    stopping: Callable[[], bool],
    say: Callable[[str], None] = lambda _: None,
    camera: str | None = None,
) -> CameraParts:
    """Make what the words of a user name, without opening it.

    Args:
        text: the source.
        options: policy, sinks and log of this camera.
        manifest: of the model.
        backend: what runs it.
        stopping: whether the run was told to stop.
        say: takes lines of its sinks, also from another thread.
        camera: its name among several; None is a camera alone, named after its source.

    Raises:
        SourceError: nothing can be opened by this name.
        DependencyError: GStreamer is missing.
    """
    specs = tuple(parse_sink(sink) for sink in options.sinks)
    policy = None if options.policy is None else parse_policy(options.policy)
    bridge = _bridge(backend, manifest, say, alone=camera is None) if options.zero_copy else None
    request = SourceRequest(
        network=manifest.input_size,
        resize=manifest.preprocess.resize,
        color=manifest.preprocess.color,
        yuv=manifest.preprocess.yuv,
        latest=None if policy is None else not policy.lossless,
        with_picture=options.with_picture
        or options.web is not None
        or any(spec.wants_picture for spec in specs),
        open_timeout_s=options.open_timeout_s,
        bridge=bridge,
    )
    source = _supervised(text, request, options.supervision)
    context = SinkContext(
        manifest.labels,
        mask_size(manifest),
        fps=lambda: source.info.fps_nominal,
        model=manifest.name,
        source=redact(text),
        camera=camera or redact(text),
        rules=options.rules,
        say=say,
    )
    log = FramesLog(options.frames_log, has_device_copies=backend.has_device_copies)
    return CameraParts(
        source=source,
        outlets=open_outlets(specs, context, stopping=stopping),
        log=log if options.frames_log else None,
        policy=policy,
        bridge=bridge,
    )


def check_outputs(options: RunOptions, model: Path, sources: Sequence[str]) -> None:
    """Fail before the run, not after it, and never write over what is read.

    Raises:
        OptionError: an output is read as well.
        SinkError: the report cannot be written; a disk may not be mounted yet.
    """
    model = model.resolve()
    read = {model, manifest_path(model)}
    for source in sources:
        try:
            origin = Path(os.path.realpath(source))
        except ValueError:  # no name of a file, which opening it will say
            origin = Path(source)
        read.add(origin)
        read.update(Path(os.path.realpath(file)) for file in files_named(source))
        if is_image(origin):
            # Its mask would have its name.
            read.add(origin.parent)
    if options.rules is not None:
        read.add(Path(os.path.realpath(options.rules)))
    for output in options.outputs():
        if output in read:
            raise OptionError(f"{output} is read and written; name another output")
    for path in (options.report, options.frames_log, options.status):
        if path is not None and is_special(path):
            raise OptionError(f"cannot write {path}: {SPECIAL}")
    if (path := options.report) is not None and (reason := why_unwritable(path)) is not None:
        raise SinkError(f"cannot write {path}: {reason}")


def _bridge(
    backend: Backend, manifest: Manifest, say: Callable[[str], None], *, alone: bool
) -> JetsonBridge | None:
    from edge_runtime.nvmm.open import open_bridge
    from edge_runtime.sources.elements import InstalledElements

    return open_bridge(backend, manifest, InstalledElements(), say, alone=alone)


def _supervised(text: str, request: SourceRequest, options: SupervisionOptions) -> SupervisedSource:
    from edge_runtime.sources import SourceOpener

    opener = SourceOpener(text, request)
    ladder = ArgusLadder(may_restart=options.restart_capture_service) if opener.uses_argus else None
    return SupervisedSource(opener.first(), opener, options, ladder=ladder)
