"""What a receiver is told about one result: a versioned JSON message (docs/messages.md).

A field may be added within a version; none is renamed, removed or given another meaning.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import msgspec

from edge_runtime.redact import redact
from edge_runtime.result import State as ResultState
from edge_runtime.rules import RuleBook
from edge_runtime.rules.watch import State
from edge_runtime.video import TimestampSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_runtime.result import Result
    from edge_runtime.rules import Evaluation
    from edge_runtime.sinks.spec import SinkContext

MAX_TEXT = 200
"""Characters of a camera's, model's or image's name and of a reason; the rest is cut off."""
SHORT_TEXT = 40
SHORTENINGS = ("regions", "classes", "rules", "name", "reason", "texts", "events")
"""What a message of limited size loses, in this order, until it fits."""


class RuleMessage(msgspec.Struct, frozen=True):
    """One rule after the result."""

    state: State
    ratio: float | None
    """Share of its classes in its region, 0..1; null without a mask."""
    since_ns: int
    """Since when, on the clock of `Message.pts_ns` for a file, else of `Message.capture_ns`."""


class EventMessage(msgspec.Struct, frozen=True):
    """A rule changed its state with this result."""

    rule: str
    state: State
    before: State
    ratio: float | None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One result."""

    schema: Literal["hyperseg-result/1"] = "hyperseg-result/1"
    camera: str
    """Name of the camera, or its source, without credentials."""
    model: str
    index: int
    """Sequence number of the frame at its source; of the last frame seen without a signal."""
    name: str | None
    """File name of an image from a folder, without its suffix."""
    pts_ns: int | None
    """Presentation time of the frame; null for a stream without time."""
    capture_ns: int
    """CLOCK_MONOTONIC of the sender; of the last frame seen without a signal."""
    timestamp_source: TimestampSource
    """Which clock `capture_ns` comes from."""
    sent_unix_ms: int
    """Wall clock of the sender when it made this message."""
    age_ms: float
    """From `capture_ns` until this message was made."""
    state: ResultState
    """``ok``: inferred; ``stale``: too old to be inferred; ``no-signal``: the camera is silent."""
    late: bool
    """Inferred, but complete only after its deadline."""
    reason: str | None
    """Why there is no signal."""
    classes: dict[str, float] | None
    """Share of each class in the frame, 0..1; a class that is absent has no pixel. Null without a
    mask."""
    regions: dict[str, dict[str, float]] | None
    """The same for each region of the rules file."""
    rules: dict[str, RuleMessage]
    """Every rule of the rules file."""
    events: tuple[EventMessage, ...]
    """Rules whose state changed with this result."""
    omitted: tuple[str, ...] = ()
    """What was left out or shortened for want of room; never what was not there."""


class RuleEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event as a message of its own."""

    schema: Literal["hyperseg-event/1"] = "hyperseg-event/1"
    camera: str
    model: str
    index: int
    pts_ns: int | None
    capture_ns: int
    timestamp_source: TimestampSource
    sent_unix_ms: int
    rule: str
    state: State
    before: State
    ratio: float | None


class Messenger:
    """Makes messages of results, judging the rules on the way.

    Args:
        book: the rules; it belongs to this messenger alone.
        camera: name of the camera or source; credentials in it are hidden.
        model: name of the model.
        clock: CLOCK_MONOTONIC nanoseconds.
        wall_clock: nanoseconds since 1970.
    """

    def __init__(
        self,
        book: RuleBook,
        camera: str,
        model: str,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._book = book
        self._camera = _short(redact(camera), MAX_TEXT)
        self._model = _short(model, MAX_TEXT)
        self._clock = clock
        self._wall_clock = wall_clock

    @classmethod
    def of(cls, context: SinkContext) -> Messenger:
        """The messenger of a sink.

        Raises:
            OptionError: the rules file cannot be read or does not fit the model.
        """
        book = RuleBook.from_file(context.rules, context.labels)
        return cls(book, context.camera, context.model)

    def message(self, result: Result) -> Message:
        """The message of one result; each must be asked for once, in their order."""
        evaluation = self._book.evaluate(result)
        return Message(
            camera=self._camera,
            model=self._model,
            index=result.index,
            name=None if result.name is None else _short(result.name, MAX_TEXT),
            pts_ns=result.pts_ns,
            capture_ns=result.capture_ns,
            timestamp_source=result.timestamp_source,
            sent_unix_ms=self._wall_clock() // 10**6,
            age_ms=round((self._clock() - result.capture_ns) * 1e-6, 3),
            state=result.state,
            late=result.late,
            reason=None if result.reason is None else _short(redact(result.reason), MAX_TEXT),
            classes=None if evaluation.ratios is None else dict(evaluation.ratios),
            regions=_regions(evaluation.regions),
            rules=_rules(evaluation),
            events=tuple(
                EventMessage(event.rule, event.state, event.before, _rounded(event.ratio))
                for event in evaluation.events
            ),
        )


def event_messages(message: Message) -> list[RuleEvent]:
    """The events of a message, each as one of its own."""
    return [
        RuleEvent(
            camera=message.camera,
            model=message.model,
            index=message.index,
            pts_ns=message.pts_ns,
            capture_ns=message.capture_ns,
            timestamp_source=message.timestamp_source,
            sent_unix_ms=message.sent_unix_ms,
            rule=event.rule,
            state=event.state,
            before=event.before,
            ratio=event.ratio,
        )
        for event in message.events
    ]


encode = msgspec.json.Encoder().encode
"""A message as one line of JSON, UTF-8, without a line feed."""


def encode_within(message: Message, limit_bytes: int) -> bytes:
    """A message as JSON of at most `limit_bytes`, losing detail in the order of `SHORTENINGS`.

    The state of the result, its stamps and the newest events are kept; what was left out is named
    in `Message.omitted`. Below 800 bytes even a message without any detail may not fit.
    """
    raw = encode(message)
    for detail in SHORTENINGS:
        if len(raw) <= limit_bytes:
            break
        shorter = _without(message, detail)
        if shorter is not message:
            message = msgspec.structs.replace(shorter, omitted=(*message.omitted, detail))
            raw = encode(message)
    return raw


def schema() -> bytes:
    """The JSON Schema of both messages, with two spaces of indentation and a final newline."""
    definitions = msgspec.json.schema_components([Message, RuleEvent])[1]
    for definition in definitions.values():
        # A default is how we make a message, not a field that may be absent from it.
        definition["required"] = list(definition["properties"])
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "anyOf": [{"$ref": "#/$defs/Message"}, {"$ref": "#/$defs/RuleEvent"}],
        "$defs": definitions,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _without(message: Message, detail: str) -> Message:
    """`message` without `detail`; itself if it has none."""
    change: dict[str, object] = {}
    if detail == "regions" and message.regions:
        change = {"regions": None}
    elif detail == "classes" and message.classes:
        change = {"classes": None}
    elif detail == "rules" and message.rules:
        change = {"rules": {}}
    elif detail == "name" and message.name:
        change = {"name": None}
    elif detail == "reason" and message.reason:
        change = {"reason": None}
    elif detail == "texts":
        camera, model = _short(message.camera, SHORT_TEXT), _short(message.model, SHORT_TEXT)
        if (camera, model) != (message.camera, message.model):
            change = {"camera": camera, "model": model}
    elif detail == "events" and message.events:
        change = {"events": ()}
    return msgspec.structs.replace(message, **change) if change else message


def _regions(
    regions: Mapping[str, Mapping[str, float]] | None,
) -> dict[str, dict[str, float]] | None:
    return None if regions is None else {name: dict(share) for name, share in regions.items()}


def _rules(evaluation: Evaluation) -> dict[str, RuleMessage]:
    return {
        name: RuleMessage(rule.state, _rounded(rule.ratio), rule.since_ns)
        for name, rule in evaluation.states.items()
    }


def _rounded(ratio: float | None) -> float | None:
    return None if ratio is None else round(ratio, 6)


def _short(text: str, limit: int) -> str:
    # A name of undecodable bytes holds surrogates, which are no UTF-8 and so no JSON.
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
