"""What serves a run: the model itself, or an engine of it, rebuilt when it no longer fits."""

from __future__ import annotations

import shlex
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.backends.base import open_backend
from edge_runtime.bench.tuned import open_tuned
from edge_runtime.errors import BackendError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.engines.choice import Choice, Machine
    from edge_runtime.options import RunOptions


@dataclass(frozen=True)
class Served:
    """An entered backend and the artefact it runs."""

    backend: Backend
    manifest: Manifest


@contextmanager
def serve(
    path: Path,
    manifest: Manifest,
    options: RunOptions,
    say: Callable[[str], None],
    machine: Machine | None = None,
) -> Iterator[Served]:
    """Open what runs the model; with ``rebuild`` that is an engine of the store where one fits.

    With ``auto`` an engine that is missing or outdated is built in the background meanwhile, and
    the next start runs on it; the engine is not exchanged under a run. With ``never`` the run is
    refused if no engine loads.

    Args:
        path: the model file.
        manifest: its manifest, already checked against the file.
        options: `rebuild`, `store`, `threads`.
        say: takes lines in words, also from another thread.
        machine: what would load an engine; None looks.

    Raises:
        BackendError: no engine loads and none may be built, or the model is refused.
        DependencyError: TensorRT or a GPU is missing.
        OptionError: `rebuild` of something that is no ONNX model.
    """
    with ExitStack() as stack:
        if options.rebuild is None:
            backend = open_tuned(path, manifest, threads=options.threads, warn=say)
            yield Served(stack.enter_context(backend), manifest)
            return
        yield _serve_engine(path, manifest, options, say, machine, stack)


def _serve_engine(
    path: Path,
    manifest: Manifest,
    options: RunOptions,
    say: Callable[[str], None],
    machine: Machine | None,
    stack: ExitStack,
) -> Served:
    from edge_runtime.engines.choice import choose, engine_precision, this_machine
    from edge_runtime.engines.store import EngineStore

    if manifest.kind != "onnx":
        raise OptionError(
            f"{path.name} is of kind {manifest.kind!r} and --rebuild needs the ONNX model that "
            "engines are built of: give that, or leave --rebuild away"
        )
    machine = machine or this_machine()
    store, precision = EngineStore(options.store), engine_precision(manifest)
    choice = choose(store, manifest, precision, machine)
    served, reason = _open(choice, stack, say)
    arguments = [str(path), "--precision", precision, "--runtime", machine.runtime]
    if options.store is not None:
        arguments += ["--store", str(options.store)]
    if served is None and options.rebuild == "never":
        raise BackendError(
            f"no engine of {path.name} loads here: {reason}; build it with "
            f"`{shlex.join(['hyperseg', 'build', *arguments])}`, or give --rebuild auto"
        )
    if served is None:
        backend = open_tuned(path, manifest, threads=options.threads, warn=say)
        served = Served(stack.enter_context(backend), manifest)
    if reason is None:
        return served
    if options.rebuild == "never":
        say(f"the engine was built before an update ({reason}) and still serves")
        return served
    from edge_runtime.engines.background import BackgroundBuild

    say(f"building an engine in the background: {reason}; {served.backend.name} serves meanwhile")
    # One that is whole and of the right identity, yet does not load, would be found again.
    force = ["--force"] if choice.engine is not None and served.manifest is manifest else []

    def judge() -> str:
        found = choose(store, manifest, precision, machine)
        return "the next start runs on it" if found.engine else f"but {found.reason}"

    stack.enter_context(BackgroundBuild([*arguments, *force], say, judge))
    return served


def _open(
    choice: Choice, stack: ExitStack, say: Callable[[str], None]
) -> tuple[Served | None, str | None]:
    """The chosen engine, entered, and why one is to be built."""
    if choice.engine is None:
        return None, choice.reason
    engine = choice.engine
    try:
        backend = stack.enter_context(open_backend(engine.path, engine.manifest, warn=say))
    except BackendError as error:
        return None, str(error)
    return Served(backend, engine.manifest), choice.reason
