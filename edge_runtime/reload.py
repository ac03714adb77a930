"""Another model under a run: loaded aside, proven, exchanged between two frames, taken back.

The frame path sees two assignments (`edge_runtime.rig.engine`); everything else is a thread's. It
is not niced: the threads that an engine starts would inherit that for good, and serve with it.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_runtime.artifacts import manifest_path, read_manifest
from edge_runtime.errors import ArtifactError, BackendError, HypersegError, ManifestError
from edge_runtime.golden import check_fits, golden_input, prove
from edge_runtime.rig.engine import Network
from edge_runtime.service.notify import is_managed
from edge_runtime.serving import serve
from edge_runtime.stop import hangups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from edge_runtime.artifacts import Manifest
    from edge_runtime.options import RunOptions
    from edge_runtime.rig.engine import Engine
    from edge_runtime.rig.lane import Lane

POLL_S = 0.25
"""Between two looks at the files. One that changes is read when two looks see it alike."""
SETTLE_S = 3.0
"""How long a manifest may disagree with its file: one is put in its place after the other."""
WARMUP_RUNS = 3

Signature = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class _Candidate:
    """A network that was offered, and what keeps it alive."""

    network: Network
    sha256: str
    held: ExitStack


class Reloader:
    """Keeps the network of a run, and exchanges it when its file changes or SIGHUP comes.

    A context manager; entering it opens the model. SIGHUP counts with ``watch_model`` and under a
    service manager, else it ends a run as it ends any program.

    Args:
        path: the model file.
        manifest: its manifest, already checked against the file.
        options: `watch_model`, and what `serve` takes.
        say: takes lines in words, also from another thread.
        busy: told when a model begins to be loaded, and when it no longer is.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        options: RunOptions,
        say: Callable[[str], None],
        busy: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._path, self._options = path, options
        self._sha256 = manifest.sha256
        self._say, self._busy = say, busy
        self._leaving = threading.Event()
        self._asked = False
        self._candidate: _Candidate | None = None
        self._thread: threading.Thread | None = None
        self._held = ExitStack()
        self._manifest = manifest
        self._tried = self._seen = _signature(path)
        self._changed_s = 0.0

    def __enter__(self) -> Self:
        self.served = self._held.enter_context(
            serve(self._path, self._manifest, self._options, self._say)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving.set()
        if self._thread is not None:
            self._thread.join()
        if self._candidate is not None:
            self._release(self._candidate.held)
        self._held.__exit__(kind, error, trace)

    def request(self) -> None:
        """Look at the model file now, whether it seems changed or not."""
        self._asked = True

    @contextmanager
    def attend(self, lanes: Sequence[Lane]) -> Iterator[None]:
        """Watch while the lanes, which share one engine, take frames."""
        if not self._options.watch_model and not is_managed():
            yield
            return
        self._thread = threading.Thread(
            target=self._watch, args=(lanes[0].engine,), name="model reload", daemon=True
        )
        self._thread.start()
        try:
            with hangups(self.request):
                yield
        finally:
            self._leaving.set()  # a load under way is not waited for here: outputs come first

    def _watch(self, engine: Engine) -> None:
        while not self._leaving.wait(POLL_S):
            if engine.settled:
                self._settle(engine)
                if self._is_due():
                    self._exchange(engine)

    def _is_due(self) -> bool:
        """Whether the files are to be read: on request, or when they changed and now rest."""
        before, self._seen = self._seen, _signature(self._path)
        if self._seen != before:
            self._changed_s = time.monotonic()
        changed = bool(self._seen) and self._seen == before and self._seen != self._tried
        if not self._asked and not (changed and self._options.watch_model):
            return False
        self._tried = self._seen
        return True

    def _exchange(self, engine: Engine) -> None:
        asked, self._asked = self._asked, False
        model, held = self._path.name, ExitStack()
        self._busy(True)
        try:
            manifest = read_manifest(self._path)
            model = manifest.sha256[:12]
            if manifest.sha256 == self._sha256 and self._options.rebuild is None:
                if asked:
                    self._say(f"{self._path.name} is unchanged ({model}) and still serves")
                return
            network = self._open(engine, manifest, held)
        except ManifestError as error:
            if time.monotonic() - self._changed_s < SETTLE_S:
                self._tried, self._asked = (), asked or self._asked
                return
            self._refuse(engine, model, held, error)
        except (HypersegError, OSError, MemoryError) as error:
            self._refuse(engine, model, held, error)
        else:
            self._candidate = _Candidate(network, manifest.sha256, held)
            engine.offer(network)
            self._say(f"{self._path.name} ({model}) takes over with the next frame")
        finally:
            self._busy(False)

    def _refuse(self, engine: Engine, model: str, held: ExitStack, error: Exception) -> None:
        self._release(held)
        engine.refuse(model, str(error))
        self._say(f"{self._path.name} ({model}) is not taken over: {error}")

    def _open(self, engine: Engine, manifest: Manifest, held: ExitStack) -> Network:
        """The new network, warm and proven.

        Raises:
            HypersegError: it cannot be opened, does not fit, or makes no sound masks.
        """
        serving = engine.network
        check_fits(serving.manifest, manifest)
        options = self._options
        if options.rebuild is not None and serving.manifest.kind == "engine":
            # What serves meanwhile is an engine already: ONNX Runtime would be a step back.
            options = replace(options, rebuild="never")
        served = held.enter_context(serve(self._path, manifest, options, self._say))
        if served.backend.has_device_copies != serving.backend.has_device_copies:
            raise ArtifactError(
                f"{served.backend.name} would run it and {serving.backend.name} serves; start the "
                "run anew for another kind of engine"
            )
        network = Network(served.backend, served.manifest)
        pictures = [golden_input(manifest)] * WARMUP_RUNS
        if engine.stamps.start_ns:
            pictures.append(serving.feed.copy())  # the newest frame; half of the next one is fine
        prove(network, pictures)
        if read_manifest(self._path).sha256 != manifest.sha256:
            raise ArtifactError("it changed again while it was loaded; that one is looked at next")
        return network

    def _settle(self, engine: Engine) -> None:
        """Let go of the network that lost, once the engine has decided."""
        candidate, self._candidate = self._candidate, None
        if candidate is None:
            return
        if engine.network is candidate.network:
            self._release(self._held)
            self._held, self._sha256 = candidate.held, candidate.sha256
            return
        self._release(candidate.held)
        reason = engine.changes[-1].reason
        self._say(f"{candidate.network.key} failed and the model before it serves again: {reason}")

    def _release(self, held: ExitStack) -> None:
        """Give back a network that does not serve; what serves goes on if that fails."""
        try:
            held.close()
        except BackendError as error:
            self._say(f"{self._path.name}: a network was not given back in full: {error}")


def _signature(path: Path) -> Signature:
    """What changes when one of the two files does; empty while one is missing."""
    try:
        stats = [file.stat() for file in (path, manifest_path(path))]
    except OSError:
        return ()
    return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)
