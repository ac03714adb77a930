"""What the text of ``--sink`` means, without opening anything.

`SCHEMES` is the table of all kinds of sink; a new kind is a line there and a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError
from edge_runtime.sinks.blackbox.options import black_box_folder
from edge_runtime.sinks.messages.address import (
    check_node_name,
    parse_broker,
    parse_endpoint,
    without_credentials,
)
from edge_runtime.sinks.rtsp.address import parse_rtsp
from edge_runtime.suggest import hint

if TYPE_CHECKING:
    from edge_runtime.labels import LabelSet


@dataclass(frozen=True)
class Scheme:
    """One kind of sink."""

    form: str
    """How it is written, for help and errors; its scheme is what stands before the colon."""
    maker: str
    """``module:function``, called with (`SinkSpec`, `SinkContext`), giving a `worker.Sink`; empty
    for ``null``, which does no work. The module is imported when such a sink is opened."""
    file: Callable[[str], Path | None] = lambda _: None
    """The file or folder that it writes, of what stands behind the colon.

    It raises `OptionError`, without naming the sink, for what cannot be one."""
    wants_picture: bool = False
    """Whether it draws on the full-size picture."""
    tells_rules: bool = False
    """Whether it judges the rules of `SinkContext.rules`."""


@dataclass(frozen=True)
class SinkSpec:
    """One sink that is wanted."""

    text: str
    """As it was given."""
    kind: str
    """Its key in `SCHEMES`."""
    rest: str = ""
    """What stands behind the colon."""
    path: Path | None = None
    """The file or folder that it writes."""

    @property
    def scheme(self) -> Scheme:
        """Its kind."""
        return SCHEMES[self.kind]

    @property
    def wants_picture(self) -> bool:
        """Whether it draws on the full-size picture."""
        return self.scheme.wants_picture


@dataclass(frozen=True)
class SinkContext:
    """What a sink may know of its run."""

    labels: LabelSet
    """Names and palette of the classes."""
    mask_size: tuple[int, int]
    """(height, width) of the masks."""
    fps: Callable[[], float | None] = lambda: None
    """Nominal frames per second of the source; ask for it with the first frame."""
    model: str = ""
    """Name of the model."""
    source: str = ""
    """The source as the report names it, without credentials."""
    camera: str = ""
    """Name of the camera; the source where it has none."""
    rules: Path | None = None
    """The rules file, for `edge_runtime.rules.RuleBook.from_file`."""
    say: Callable[[str], None] = lambda _: None
    """Takes a line in words for the user, also from a sink's thread."""


def _matroska(rest: str) -> Path:
    if Path(rest).suffix.lower() != ".mkv":
        raise OptionError("a mask video is lossless FFV1; name it FILE.mkv")
    return Path(rest)


def _shared(rest: str) -> Path:
    # Its home needs numpy, which a command line without this sink does not.
    from edge_runtime.shm_reader import shared_path

    return shared_path(rest)


def _endpoint(rest: str) -> None:
    parse_endpoint(rest)


def _broker(rest: str) -> None:
    parse_broker(rest, default_port=1)


def _node(rest: str) -> None:
    check_node_name(rest.replace("{camera}", "camera"))


def _server(rest: str) -> None:
    parse_rtsp(rest)


_VIDEO = "edge_runtime.sinks.video"
_MESSAGES = "edge_runtime.sinks.messages"
_MQTT = f"{_MESSAGES}.mqtt:mqtt"
_ROS2 = "edge_runtime.sinks.messages.ros2:ros2"

SCHEMES: Mapping[str, Scheme] = {
    "null": Scheme("null", ""),
    "window": Scheme("window", f"{_VIDEO}:window", wants_picture=True),
    "overlay": Scheme("FILE.mp4|FILE.mkv", f"{_VIDEO}:overlay", Path, wants_picture=True),
    "masks": Scheme("masks:DIR", "edge_runtime.sinks.images:masks", Path),
    "maskvideo": Scheme("maskvideo:FILE.mkv", f"{_VIDEO}:mask_video", _matroska),
    "jsonl": Scheme("jsonl:FILE", f"{_MESSAGES}.jsonl:jsonl", Path, tells_rules=True),
    "udp": Scheme("udp:HOST:PORT", f"{_MESSAGES}.udp:udp", _endpoint, tells_rules=True),
    "mqtt": Scheme("mqtt:HOST[:PORT]/TOPIC", _MQTT, _broker, tells_rules=True),
    "mqtts": Scheme("mqtts:HOST[:PORT]/TOPIC", _MQTT, _broker, tells_rules=True),
    "ros2": Scheme("ros2:NODE", _ROS2, _node, tells_rules=True),
    "ros2-overlay": Scheme("ros2-overlay:NODE", _ROS2, _node, wants_picture=True, tells_rules=True),
    "shm": Scheme("shm:NAME", "edge_runtime.sinks.shm:shm", _shared),
    "blackbox": Scheme(
        "blackbox:DIR[?seconds=S&...]",
        "edge_runtime.sinks.blackbox.sink:blackbox",
        black_box_folder,
        wants_picture=True,
        tells_rules=True,
    ),
    "rtsp": Scheme(
        "rtsp:[HOST:]PORT/NAME",
        "edge_runtime.sinks.rtsp.server:rtsp",
        _server,
        wants_picture=True,
    ),
    "mcap": Scheme("FILE.mcap", "edge_runtime.sinks.recording.sink:mcap", Path, wants_picture=True),
}
SUFFIXES: Mapping[str, str] = {".mp4": "overlay", ".mkv": "overlay", ".mcap": "mcap"}
"""Kind of sink that the name of a file alone stands for."""


def expected() -> str:
    """All forms, for help and errors."""
    forms = [scheme.form for scheme in SCHEMES.values()]
    return f"{', '.join(forms[:-1])} or {forms[-1]}"


def parse_sink(text: str) -> SinkSpec:
    """The sink that `text` stands for.

    Raises:
        OptionError: no such kind of sink, or a file type that cannot be written.
    """
    kind, colon, rest = text.partition(":")
    scheme = SCHEMES.get(kind)
    if scheme is None or (colon == ":") != (":" in scheme.form) or (colon and not rest):
        kind, rest = SUFFIXES.get(Path(text).suffix.lower(), ""), text
        scheme = SCHEMES.get(kind)
    if scheme is None:
        meant = hint(text.partition(":")[0], SCHEMES)
        raise OptionError(f"sink {without_credentials(text)!r}: {meant}expected {expected()}")
    try:
        return SinkSpec(text, kind, rest, scheme.file(rest))
    except OptionError as error:
        raise OptionError(f"sink {without_credentials(text)!r}: {error}") from None
