"""How soon a failing camera is told, and how soon its masks are back: every kind of fault, N times.

The promise, in real seconds: silence is told within 2 s, and the first good mask comes within 5 s
of the source's return. Many faulty cameras run side by side in one rig, each through the whole of
GStreamer, supervision, scheduler and engine; their schedules are drawn by a seed. With --rtsp N a
real RTSP server is killed (SIGKILL) and started again N times.

Faults that silence a camera have to be told; the others must not stop its masks.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fault_outcomes import (
    RESTORED_S,
    TOLD_S,
    Diary,
    Outcome,
    first_between,
    summarise,
)
from benchmarks.paired import report
from edge_runtime.artifacts import read_manifest, write_artifact
from edge_runtime.backends.base import open_backend
from edge_runtime.policy import LATEST
from edge_runtime.rig.crew import Member
from edge_runtime.rig.parts import CameraParts
from edge_runtime.rig.runner import RigTerms, execute_many
from edge_runtime.sinks.outlets import Outlets
from edge_runtime.sources import SourceOpener
from edge_runtime.sources.fault import KINDS, parse_schedule
from edge_runtime.sources.fault_script import FaultScript
from edge_runtime.sources.open import plan_source
from edge_runtime.sources.pipeline import GstSource
from edge_runtime.stop import Stop
from edge_runtime.supervision.options import SupervisionOptions
from edge_runtime.supervision.source import SupervisedSource
from edge_runtime.video import SourceRequest
from tests.scripted import write_identity_onnx

if TYPE_CHECKING:
    from edge_runtime.artifacts import Manifest
    from edge_runtime.backends.base import Backend
    from edge_runtime.sources.plan import SourcePlan
    from edge_runtime.video import Source

SIZE = (54, 96)
CAMERA = "test:bars?fps=10&size=54x96"
SETTLE_S = (6.0, 9.0)
"""Between the return of a camera and its next fault."""
LASTS_S = (2.6, 5.0)
"""How long a fault lasts if it lasts: some silences end before a reconnection, some do not."""
SERVER = Path(__file__).parent.parent / "tests/edge_runtime/sources/rtsp_server.py"


@dataclass(frozen=True)
class Injection:
    """One fault. Seconds in the schedule of its camera."""

    kind: str
    start_s: float
    back_s: float
    """When the source can deliver good frames again; for a slow start at the earliest."""

    @property
    def text(self) -> str:
        """As a schedule has it."""
        at, lasts = f"@{self.start_s:.3f}", f"+{self.back_s - self.start_s:.3f}"
        if self.kind == "slow-start":
            return f"slow-start{at}{lasts},eos{at}"
        if self.kind == "corrupt":
            return f"corrupt=1{at}{lasts}"
        return f"{self.kind}{at}{lasts if KINDS[self.kind].duration_s else ''}"


class Origin:
    """A clock that remembers when it was first asked: the zero of a fault script."""

    def __init__(self) -> None:
        self.first_s: float | None = None

    def __call__(self) -> float:
        """Seconds, monotonic."""
        now_s = time.monotonic()
        if self.first_s is None:
            self.first_s = now_s
        return now_s


class Opener:
    """Opens one faulty camera again and again, as `SourceOpener` does, on a clock of ours."""

    def __init__(self, plan: SourcePlan, request: SourceRequest) -> None:
        self._plan, self._request = plan, request

    def __call__(self, open_timeout_s: float | None = None) -> Source:
        """The camera, not open yet."""
        limit_s = min(self._request.open_timeout_s, open_timeout_s or self._request.open_timeout_s)
        return GstSource(self._plan, replace(self._request, open_timeout_s=limit_s))


@dataclass
class Faulty:
    """One camera with its schedule."""

    name: str
    injections: list[Injection]
    origin: Origin = field(default_factory=Origin)
    diary: Diary = field(default_factory=Diary)

    def member(self, manifest: Manifest, options: SupervisionOptions) -> Member:
        """The camera as the rig takes it."""
        text = ",".join(injection.text for injection in self.injections)
        plan = plan_source(f"fault:{text}:{CAMERA}")
        plan = replace(plan, faults=FaultScript(parse_schedule(text), self.origin))
        opener = Opener(plan, _request(manifest))
        source = SupervisedSource(opener(), opener, options)
        return Member(self.name, CAMERA, CameraParts(source, Outlets(), None, LATEST))

    def outcomes(self) -> list[Outcome]:
        """What became of each of its faults."""
        zero_s = self.origin.first_s
        if zero_s is None:
            return []
        ends = [injection.start_s for injection in self.injections[1:]] + [float("inf")]
        return [
            self.diary.judge(i.kind, zero_s + i.start_s, zero_s + i.back_s, zero_s + end_s)
            for i, end_s in zip(self.injections, ends, strict=True)
        ]


def draw(kind: str, number: int, count: int, rng: random.Random) -> Faulty:
    """A camera that has `count` faults of one kind."""
    injections, now_s = [], rng.uniform(4.0, 10.0)
    lasts = KINDS[kind].duration_s > 0
    for _ in range(count):
        back_s = now_s + (rng.uniform(*LASTS_S) if lasts else 0.0)
        if kind == "slow-start":
            back_s = now_s + KINDS[kind].duration_s
        injections.append(Injection(kind, now_s, back_s))
        now_s = back_s + (RESTORED_S if kind == "hang" else 0.0) + rng.uniform(*SETTLE_S)
    return Faulty(f"{kind}-{number}", injections)


def main() -> None:
    """Inject the faults, then kill the server."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=100, help="faults of each kind")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of edge_runtime.sources.fault")
    parser.add_argument("--minutes", type=float, default=9.0, help="more cameras for a shorter run")
    parser.add_argument("--rtsp", type=int, default=0, metavar="N", help="kill a server N times")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--stall-timeout", type=float, default=SupervisionOptions().stall_timeout_s, metavar="S"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    supervision = SupervisionOptions(stall_timeout_s=options.stall_timeout)
    with tempfile.TemporaryDirectory() as folder:
        model = tiny_model(Path(folder))
        manifest = read_manifest(model)
        outcomes: list[Outcome] = []
        with open_backend(model, manifest, threads=1) as backend:
            if options.repeat:
                outcomes += inject(backend, manifest, options, supervision)
            if options.rtsp:
                outcomes += kill_server(backend, manifest, options, supervision)
    figures = summarise(outcomes)
    report({"promise": _promise(options), **figures}, options.json)
    sys.exit(0 if figures["all_as_promised"] else 3)


def tiny_model(folder: Path) -> Path:
    """A real model that costs nothing: what is measured is everything around it."""
    part, path = folder / "part.onnx", folder / "identity.onnx"
    write_artifact(part, path, write_identity_onnx(part, SIZE))
    return path


def inject(
    backend: Backend,
    manifest: Manifest,
    options: argparse.Namespace,
    supervision: SupervisionOptions,
) -> list[Outcome]:
    """Run all faulty cameras side by side until the last of them has recovered."""
    cycle_s = sum(SETTLE_S) / 2 + sum(LASTS_S) / 2 + 2
    each = max(int(options.minutes * 60 / cycle_s), 1)
    cameras: list[Faulty] = []
    for kind in options.kinds.split(","):
        number = ceil(options.repeat / each)
        for i in range(number):
            count = options.repeat // number + (i < options.repeat % number)
            cameras.append(draw(kind, i, count, random.Random(f"{options.seed} {kind} {i}")))
    last_s = max(camera.injections[-1].back_s for camera in cameras)
    diaries = {camera.name: camera.diary for camera in cameras}
    print(f"{len(cameras)} cameras, {last_s / 60 + 0.2:.1f} minutes", file=sys.stderr)
    terms = RigTerms(
        duration_s=last_s + RESTORED_S + 5.0,
        on_result=lambda name, result: diaries[name].add(result),
    )
    execute_many(backend, manifest, [c.member(manifest, supervision) for c in cameras], terms)
    return [outcome for camera in cameras for outcome in camera.outcomes()]


class Killer(threading.Thread):
    """Kills a real RTSP server and starts it again, and judges each time."""

    def __init__(self, times: int, seed: int, stop: Stop) -> None:
        super().__init__(name="killer", daemon=True)
        self.diary = Diary()
        self.outcomes: list[Outcome] = []
        self._times, self._stop_run = times, stop
        self._rng = random.Random(seed)
        self.process, self.port = self._serve("0")

    def run(self) -> None:
        """Do so, then end the run of the camera."""
        try:
            for _ in range(self._times):
                self._await_mask(time.monotonic())
                time.sleep(self._rng.uniform(1.0, 3.0))
                self.outcomes.append(self._kill_once())
        finally:
            self._stop_run.reason = "terminated"

    def close(self) -> None:
        """End the server."""
        self.process.kill()
        self.process.wait()

    def _kill_once(self) -> Outcome:
        start_s = time.monotonic()
        self.close()
        time.sleep(self._rng.uniform(0.5, 6.0))
        self.process, _ = self._serve(self.port)
        back_s = time.monotonic()
        self._await_mask(back_s)
        return self.diary.judge("rtsp-kill", start_s, back_s, float("inf"))

    def _await_mask(self, since_s: float) -> None:
        deadline_s = time.monotonic() + 30.0
        while first_between(self.diary.good, since_s, float("inf")) is None:
            if time.monotonic() > deadline_s:
                return
            time.sleep(0.02)

    @staticmethod
    def _serve(port: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, str(SERVER), port, "-1", "", ""]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        return process, process.stdout.readline().strip()


def kill_server(
    backend: Backend,
    manifest: Manifest,
    options: argparse.Namespace,
    supervision: SupervisionOptions,
) -> list[Outcome]:
    """Watch one RTSP stream while its server is killed again and again."""
    stop = Stop()
    killer = Killer(options.rtsp, options.seed, stop)
    try:
        uri = f"rtsp://127.0.0.1:{killer.port}/cam"
        opener = SourceOpener(uri, _request(manifest))
        source = SupervisedSource(opener.first(), opener, supervision)
        member = Member("rtsp", uri, CameraParts(source, Outlets(), None, LATEST))
        killer.start()
        terms = RigTerms(stop=stop, on_result=lambda _, result: killer.diary.add(result))
        execute_many(backend, manifest, [member], terms)
        killer.join()
    finally:
        with suppress(ProcessLookupError):
            killer.close()
    return killer.outcomes


def _request(manifest: Manifest) -> SourceRequest:
    preprocess = manifest.preprocess
    return SourceRequest(manifest.input_size, preprocess.resize, preprocess.color, latest=True)


def _promise(options: argparse.Namespace) -> dict[str, float]:
    return {
        "told_within_s": TOLD_S,
        "restored_within_s": RESTORED_S,
        "stall_timeout_s": options.stall_timeout,
    }


if __name__ == "__main__":
    main()
