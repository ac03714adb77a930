"""The sink ``blackbox:DIR``: the last seconds of a run, written when something has gone wrong.

Pictures, masks, stamps and sensor readings go round in memory. An event writes them, and some
seconds more, to a file of DIR that Foxglove plays. The memory outlives the process: after SIGKILL
or a crash in a driver the next run with the same DIR writes what the last one has seen.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from edge_runtime.errors import SinkError
from edge_runtime.redact import redact
from edge_runtime.rules import RuleBook
from edge_runtime.sinks.blackbox.files import BoxFiles
from edge_runtime.sinks.blackbox.options import parse_black_box
from edge_runtime.sinks.blackbox.spool import Place, Spool, claim, read_left_behind
from edge_runtime.sinks.blackbox.triggers import SensorWatch, Triggers
from edge_runtime.sinks.recording.entry import Entry, EntryEncoder, WallClock
from edge_runtime.sinks.recording.sink import describe_run
from edge_runtime.telemetry.sampler import find_sensors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_runtime.result import Result
    from edge_runtime.sinks.blackbox.options import BlackBoxOptions
    from edge_runtime.sinks.spec import SinkContext, SinkSpec
    from edge_runtime.telemetry.readings import Sensors

FACTS = "facts.json"
"""What boxes say about their run, beside its spool."""
MB = 1_000_000


class _Pending:
    """A box that is going to be written."""

    def __init__(self, reason: str, now_ns: int, due_ns: int) -> None:
        self.reasons = [reason]
        self.began_ns = now_ns
        self.due_ns = due_ns


class BlackBox:
    """Keeps the last seconds and writes them on events.

    Args:
        label: as the user named the sink.
        options: what is kept, and when it is written.
        context: the run.
        find: gives the sensors of this machine.
        root: where the memory lies; None takes the machine's shared memory.
        clock: CLOCK_MONOTONIC nanoseconds.
    """

    def __init__(
        self,
        label: str,
        options: BlackBoxOptions,
        context: SinkContext,
        *,
        find: Callable[[], Sequence[Sensors]] = find_sensors,
        root: Path | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.label = label
        self.undelivered = 0
        """Results for which there was no memory."""
        self._options = options
        self._say = context.say
        self._clock = clock
        self._root = root
        self._find = find
        self._wall = WallClock.now()
        self._facts = describe_run(context, self._wall)
        self._encoder = EntryEncoder(context.labels, self._wall, clock)
        self._triggers = Triggers(options.on, options.cooldown, clock)
        self._rules = context.rules and RuleBook.from_file(context.rules, context.labels)
        self._sensors = SensorWatch((), clock)
        self._place: Place | None = None
        self._spool: Spool | None = None
        self._change = threading.Condition()
        self._pending: _Pending | None = None
        self._closing = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"{label} writer", daemon=True)

    def open(self) -> None:
        """Make the folder and the memory; write what a killed run has left in it.

        Raises:
            SinkError: one of them cannot be made.
        """
        options = self._options
        try:
            options.folder.mkdir(parents=True, exist_ok=True)
            *left, own = claim(options.folder, self._root)
        except OSError as error:
            raise SinkError(
                f"cannot make the black box {options.folder}: {error.strerror or error}; choose "
                "another blackbox:DIR"
            ) from error
        self._place = own
        if not self._files(own).is_writable():
            self._leave()
            raise SinkError(f"folder {options.folder} is not writable; choose another blackbox:DIR")
        for place in (*left, own):
            if place.is_left_behind():
                self._rescue(place)
        for place in left:
            place.leave()
        own.empty()
        (own.folder / FACTS).write_text(json.dumps(self._facts))
        self._spool = Spool(
            own.folder,
            seconds=options.seconds + options.after,
            max_bytes=round(options.memory_mb * MB),
            clock=self._clock,
        )
        self._sensors = SensorWatch(
            # psutil tells the load since it was last asked, and the report asks it.
            tuple(sensors for sensors in self._find() if sensors.name != "psutil"),
            self._clock,
        )
        self._thread.start()

    def consume(self, result: Result) -> None:
        """Keep one result, and write a box if something begins with it.

        Raises:
            Exception: what ended the writer's thread, which is a defect of ours.
        """
        assert self._spool is not None
        if self._failure is not None and not isinstance(self._failure, OSError):
            raise self._failure
        entry = self._encoder.encode(result)
        if (telemetry := self._sensors.look()) is not None:
            entry = msgspec.structs.replace(entry, telemetry=telemetry)
        self._keep(entry)
        events = self._rules.evaluate(result).events if self._rules else ()
        raised = [event.rule for event in events if event.state == "raised"]
        for reason in self._triggers.see(result, raised, self._sensors.throttling):
            self.trigger(reason)

    def trigger(self, reason: str) -> None:
        """Have a box written, `BlackBoxOptions.after` seconds from now. From any thread.

        A box that is pending takes the reason in.
        """
        with self._change:
            if self._pending is not None:
                if reason not in self._pending.reasons:
                    self._pending.reasons.append(reason)
                return
            now_ns = self._clock()
            self._pending = _Pending(reason, now_ns, now_ns + round(self._options.after * 1e9))
            self._change.notify_all()

    def testify(self, error: BaseException | None, *, told: bool) -> None:
        """Have a box written at once if the run failed or was told to stop."""
        if isinstance(error, Exception):
            if self._triggers.begins("crash", "crash"):
                self.trigger(f"crash: {type(error).__name__}: {redact(str(error))}")
        elif (told or error is not None) and self._triggers.begins("stop", "stop"):
            self.trigger("stop")

    def close(self) -> None:
        """Write what is pending and give the memory back.

        Raises:
            SinkError: a box could not be written.
        """
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._leave()
        if isinstance(self._failure, OSError):
            raise SinkError(self._story(self._failure)) from self._failure
        if self._failure is not None:
            raise self._failure

    def discard(self) -> None:
        """As `close`; each box is whole when it appears."""
        with suppress(SinkError):
            self.close()

    def _keep(self, entry: Entry) -> None:
        assert self._spool is not None
        try:
            self._spool.append(msgspec.msgpack.encode(entry))
        except OSError as error:
            if not self.undelivered:
                self._say(f"{self.label}: no memory for the last seconds: {error.strerror}")
            self.undelivered += 1

    def _work(self) -> None:
        try:
            while (pending := self._next()) is not None:
                self._write(pending)
        except Exception as error:  # noqa: BLE001 - raised again by the sink's thread
            self._failure = error

    def _next(self) -> _Pending | None:
        """The next box when it is due; None at the end."""
        with self._change:
            while not self._closing and (
                self._pending is None or self._clock() < self._pending.due_ns
            ):
                rest_ns = self._pending.due_ns - self._clock() if self._pending else None
                self._change.wait(None if rest_ns is None else max(rest_ns, 0) * 1e-9)
            pending, self._pending = self._pending, None
            return pending

    def _write(self, pending: _Pending) -> None:
        assert self._spool is not None
        assert self._place is not None
        try:
            path = self._files(self._place).write(
                self._spool.records(),
                self._spool.size,
                self._facts,
                pending.reasons,
                pending.began_ns + self._wall.offset_ns,
            )
        except OSError as error:
            self._failure = error
            self._say(f"{self._story(error)}; the run goes on")
            return
        if path is not None:
            self._say(f"black box {path}: {'; '.join(pending.reasons)}")

    def _rescue(self, place: Place) -> None:
        """Write the box of a run that was killed."""
        with suppress(OSError, ValueError, msgspec.MsgspecError):
            facts = json.loads((place.folder / FACTS).read_text())
            size = sum(path.stat().st_size for path in place.folder.iterdir())
            records = read_left_behind(place.folder)
            path = self._files(place).write(records, size, facts, ["killed"], place.last_ns())
            self._say(f"black box {path}: the run before this one was killed")
            return
        self._say(f"{self.label}: the last seconds of a run that was killed could not be written")

    def _files(self, place: Place) -> BoxFiles:
        options = self._options
        part = f".{place.folder.name}.part"
        return BoxFiles(options.folder, part, options.keep, round(options.keep_mb * MB))

    def _leave(self) -> None:
        self._sensors.close()
        if self._spool is not None:
            self._spool.close()
        if self._place is not None:
            self._place.leave()
            self._place = None

    def _story(self, error: OSError) -> str:
        return (
            f"a black box could not be written to {self._options.folder}: "
            f"{error.strerror or error}; free some space or choose another blackbox:DIR"
        )


def blackbox(spec: SinkSpec, context: SinkContext) -> BlackBox:
    """The sink ``blackbox:DIR?...``."""
    return BlackBox(spec.text, parse_black_box(spec.rest), context)
