"""`hyperseg build` beside a run: niced, in a process of its own, its end told."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import IO

    from typing_extensions import Self

NICENESS = 10
"""The builder's processes yield to the run's."""
GRACE_S = 10.0
"""How long a builder may take to end when it is asked to."""
_ROOT = Path(__file__).resolve().parents[2]
_PREFIX = "hyperseg: error: "


class BackgroundBuild:
    """A build that goes on while something else serves; it never outlives its ``with`` block.

    A build that is cut short leaves nothing that could be taken for an engine.

    Args:
        arguments: what follows ``hyperseg build``.
        say: takes one line, from a thread of its own.
        judge: called after a build that went well; says in words what it is good for.
    """

    def __init__(
        self, arguments: Sequence[str], say: Callable[[str], None], judge: Callable[[], str]
    ) -> None:
        self._arguments = list(arguments)
        self._say, self._judge = say, judge
        self._leaving = False
        self._thread = threading.Thread(target=self._wait, name="background build", daemon=True)

    def __enter__(self) -> Self:
        self._log: IO[bytes] = tempfile.TemporaryFile()
        # The stages may be run from a checkout that is not installed.
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        self._start_s = time.monotonic()
        # A session of its own: the terminal's Ctrl-C reaches the run only, which ends the build.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_runtime.cli", "build", *self._arguments],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
            start_new_session=True, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        os.setpriority(os.PRIO_PROCESS, self.process.pid, NICENESS)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leaving = True
        try:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            pass  # whatever it does, it has had its time
        finally:
            self.process.kill()
            self._thread.join()
            self._log.close()

    def _wait(self) -> None:
        code = self.process.wait()
        seconds = time.monotonic() - self._start_s
        if code == 0:
            self._say(f"the engine is built ({seconds:.0f} s): {self._judge()}")
        elif self._leaving:
            self._say(
                f"the run ended before its engine was built ({seconds:.0f} s so far); "
                f"`{shlex.join(['hyperseg', 'build', *self._arguments])}` builds it without a run"
            )
        else:
            self._say(f"the engine was not built: {self._last_words(code)}")

    def _last_words(self, code: int) -> str:
        if code == EXIT_INTERRUPTED:
            return "its build was interrupted"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return last.removeprefix(_PREFIX) or f"its builder ended with exit code {code}"
