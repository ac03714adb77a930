"""Runs with a page, in a thread, on a real pipeline with a real, tiny model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import RunOptions, run
from edge_runtime.artifacts import write_artifact
from edge_runtime.rig.options import RigOptions
from edge_runtime.rig.runner import run_many
from edge_runtime.web.options import WebOptions
from tests.scripted import write_identity_onnx

SIZE = (54, 96)


class OverError(Exception):
    """Ends a run from its callback."""


class LiveRun:
    """A run that goes on until it is ended."""

    def __init__(
        self,
        model: Path,
        source: str | Mapping[str, str],
        token: str | None,
        host: str,
        **more: Any,
    ) -> None:
        self.said: list[str] = []
        self.error: BaseException | None = None
        self.published = 0
        self.frames: Callable[[], object] = lambda: None
        """Called with each frame."""
        self._ending = False
        self._served = threading.Event()
        self._first = threading.Event()
        options = RunOptions(web=WebOptions(host, 0, token), quiet=True, threads=1, **more)
        self._thread = threading.Thread(target=self._work, args=(model, source, options))

    def _work(self, model: Path, source: str | Mapping[str, str], options: RunOptions) -> None:
        try:
            if isinstance(source, str):
                run(model, source, options, self._count, self._hear)
            else:
                run_many(model, source, RigOptions(options), self._count, say=self._hear)
        except OverError:
            pass
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.error = error
        finally:
            self._served.set()
            self._first.set()

    def _hear(self, line: str) -> None:
        self.said.append(line)
        if line.startswith("page at"):
            self._served.set()

    def _count(self, *result: object) -> None:
        self.published += 1
        self._first.set()
        self.frames()
        if self._ending:
            raise OverError

    def start(self) -> None:
        self._thread.start()
        assert self._first.wait(30), "no frame came"
        assert self.error is None, self.error

    def end(self) -> None:
        self._ending = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the run does not end"

    @property
    def port(self) -> int:
        (line,) = [line for line in self.said if line.startswith("page at")]
        return int(line.split("/")[2].rpartition(":")[2])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Start = Callable[..., LiveRun]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
    folder = tmp_path_factory.mktemp("model")
    part, path = folder / "part.onnx", folder / "identity.onnx"
    write_artifact(part, path, write_identity_onnx(part, SIZE))
    return path


@pytest.fixture
def start_run(tiny_model: Path) -> Iterator[Start]:
    """Starts runs with a page; each is ended after the test."""
    pytest.importorskip("aiohttp", reason="the page needs aiohttp: hyperseg-edge[web]")
    runs: list[LiveRun] = []

    def start(
        source: str | Mapping[str, str] = "test:bars?fps=30&size=54x96",
        token: str | None = None,
        host: str = "127.0.0.1",
        **more: Any,
    ) -> LiveRun:
        live = LiveRun(tiny_model, source, token, host, **more)
        runs.append(live)
        live.start()
        return live

    yield start
    for live in runs:
        live.end()
        assert live.error is None, live.error
