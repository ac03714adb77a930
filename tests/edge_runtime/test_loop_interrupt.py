"""Ctrl-C and SIGTERM end a run properly, whatever it is waiting for."""

import os
import signal
import threading

import pytest

from edge_runtime.loop import LoopOptions
from edge_runtime.policy import EVERY, LATEST
from edge_runtime.runner import execute
from edge_runtime.sinks.outlets import Outlets
from edge_runtime.sinks.worker import SinkWorker
from edge_runtime.stop import Stop, signals
from tests.scripted import SIZE, FakeClock, ScriptedBackend, ScriptedSource


@pytest.mark.parametrize(
    ("number", "ended"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")]
)
def test_signal_finishes_the_frame_and_the_report(number, ended):
    clock, seen = FakeClock(), []
    backend = ScriptedBackend(clock)
    source = ScriptedSource(clock, count=1000)

    def signal_after_ten(result):
        seen.append(result.index)
        if len(seen) == 10:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with signals(Stop()) as stop, backend:
        options = LoopOptions(clock=clock, on_result=signal_after_ten, stop=stop)
        outcome = execute(backend, source, backend.manifest, options)

    assert outcome.report.ended == ended
    assert outcome.failure is None
    assert len(seen) == outcome.report.frames.published == 10
    assert source.closed
    assert signal.getsignal(number) is before


def test_interrupt_ends_the_wait_for_a_silent_source():
    # given a camera that never delivers, and a signal while it is waited for
    clock = FakeClock()
    backend = ScriptedBackend(clock)
    source = ScriptedSource(clock, pauses_ms={0: 1e9})
    stop = Stop()
    start_ns = clock()
    read = source.read

    def read_and_interrupt(timeout_s):
        frame = read(timeout_s)
        if clock() - start_ns > 5e9:
            stop.interrupt()
        return frame

    source.read = read_and_interrupt

    with backend:
        outcome = execute(backend, source, backend.manifest, LoopOptions(clock=clock, stop=stop))

    assert outcome.report.ended == "interrupted"
    assert (clock() - start_ns) / 1e9 < 5.0 + 2.0
    assert outcome.report.source.timestamp_source is None


def test_second_interrupt_does_not_wait():
    stop = Stop()
    stop.awaited = True
    stop.interrupt()

    with pytest.raises(KeyboardInterrupt):
        stop.interrupt()


def test_termination_does_not_hide_an_interrupt():
    stop = Stop()
    stop.awaited = True
    stop.interrupt()
    stop.terminate()

    assert stop.reason == "interrupted"


def test_signals_are_left_alone_outside_the_main_thread():
    before = signal.getsignal(signal.SIGINT)
    found = []

    def run():
        with signals(Stop()):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert found == [before]


@pytest.mark.parametrize("policy", [EVERY, LATEST], ids=str)
def test_interrupt_ends_a_run_whose_sink_hangs(policy):
    # given a sink that does not return from its first result until the run was told to stop
    stop = Stop()
    release = threading.Event()

    class HangingSink:
        label = "hanging"

        def open(self):
            pass

        def consume(self, result):
            release.wait(30)

        def close(self):
            pass

        def discard(self):
            pass

    clock = FakeClock()
    backend = ScriptedBackend(clock)
    source = ScriptedSource(clock, count=10_000, latest=not policy.lossless)
    worker = SinkWorker(HangingSink(), SIZE, clock=clock, stopping=stop.requested)

    def interrupt_soon(result):
        if result.index == 3:
            stop.interrupt()
            threading.Timer(1.5, release.set).start()

    options = LoopOptions(
        policy=policy,
        clock=clock,
        stop=stop,
        outlets=Outlets([worker], null=False),
        on_result=interrupt_soon,
    )
    with backend:
        outcome = execute(backend, source, backend.manifest, options)

    assert outcome.report.ended == "interrupted"
    assert worker.consumed <= 4


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_signal_while_opening_does_not_wait_for_a_loop(number, raised):
    with signals(Stop()), pytest.raises(raised):
        signal.raise_signal(number)
