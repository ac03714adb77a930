"""Results to feed sinks with, as the loop would publish them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_runtime.geometry import FrameGeometry
from edge_runtime.labels import CAMVID_11
from edge_runtime.result import Result
from edge_runtime.rules import RuleBook, RuleSet
from edge_runtime.sinks.messages.message import Messenger
from edge_runtime.sinks.spec import SinkContext
from tests.scripted import MS

SIZE = (10, 20)
"""(height, width) of the masks; frames are ten times as large."""
NOW_NS = 7_000 * MS
WALL_NS = 1_800_000_000_000 * MS
PEDESTRIAN, ROAD = CAMVID_11.names.index("Pedestrian"), CAMVID_11.names.index("Road")
RULES = {
    "regions": [{"name": "corridor", "polygon": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]}],
    "rules": [
        {"name": "person-ahead", "region": "corridor", "class": "Pedestrian", "min_ratio": 0.1}
    ],
}


def make_result(index: int = 0, columns: int | None = 0, **fields: Any) -> Result:
    """Frame `index`: road, with a person as wide as so many of 20 columns; None has no mask."""
    mask = None
    if columns is not None:
        mask = np.full(SIZE, ROAD, np.uint8)
        mask[:, :columns] = PEDESTRIAN
    values: dict[str, Any] = {
        "index": index,
        "pts_ns": index * 33 * MS,
        "state": "stale" if columns is None else "ok",
        "timestamp_source": "driver",
        "capture_ns": NOW_NS - 20 * MS + index * 33 * MS,
        "geometry": FrameGeometry((100, 200), SIZE, "stretch"),
        "mask": mask,
    }
    return Result(**(values | fields))


def make_messenger(rules: object = RULES, camera: str = "test:", model: str = "net") -> Messenger:
    book = RuleBook(msgspec.convert(rules, RuleSet), CAMVID_11)
    return Messenger(book, camera, model, clock=lambda: NOW_NS, wall_clock=lambda: WALL_NS)


def make_context(rules: Path | None = None, **fields: Any) -> SinkContext:
    values: dict[str, Any] = {"model": "net", "source": "test:", "camera": "test:", "rules": rules}
    return SinkContext(CAMVID_11, SIZE, **(values | fields))
