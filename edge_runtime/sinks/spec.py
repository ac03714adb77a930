"""What the text of ``--sink`` means, without opening anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_runtime.errors import OptionError

SinkKind = Literal["null", "window", "overlay", "masks", "maskvideo"]
EXPECTED = "null, window, FILE.mp4, FILE.mkv, masks:DIR or maskvideo:FILE.mkv"


@dataclass(frozen=True)
class SinkSpec:
    """One sink that is wanted."""

    text: str
    """As it was given."""
    kind: SinkKind
    path: Path | None = None

    @property
    def wants_picture(self) -> bool:
        """Whether it draws on the full-size picture."""
        return self.kind in ("overlay", "window")


def parse_sink(text: str) -> SinkSpec:
    """The sink that `text` stands for.

    Raises:
        OptionError: no such kind of sink, or a file type that cannot be written.
    """
    if text in ("null", "window"):
        return SinkSpec(text, "null" if text == "null" else "window")
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "masks" and rest:
        return SinkSpec(text, "masks", Path(rest))
    if colon and scheme == "maskvideo" and rest:
        if Path(rest).suffix.lower() != ".mkv":
            raise OptionError(f"sink {text!r}: a mask video is lossless FFV1; name it FILE.mkv")
        return SinkSpec(text, "maskvideo", Path(rest))
    if Path(text).suffix.lower() in (".mp4", ".mkv"):
        return SinkSpec(text, "overlay", Path(text))
    raise OptionError(f"sink {text!r}: expected {EXPECTED}")
