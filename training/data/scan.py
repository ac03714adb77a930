"""What is in every file of a data set, looked at once and remembered until a file changes.

Nothing here depends on what the stored ids mean, so editing ``meta.json`` costs no new look.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge_runtime.artifacts import atomic_file
from edge_runtime.errors import OptionError
from training.data.label_map import read_codes, read_rgb
from training.data.problems import DataError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from training.data.layouts import Pair

_FORMAT = 2
_MOST_CODES = 4096
"""Distinct codes kept of one file: a photograph that poses as a mask has a hundred thousand."""


@dataclass(frozen=True)
class PairFacts:
    """What the two files of a pair hold."""

    image_size: tuple[int, int] | None = None
    """(height, width); None if unreadable."""
    image_problem: Problem | None = None
    digest: str = ""
    """Of the pixels, so that a copy under another name or compression is found."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of R, G and B, 0..1."""
    square: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Mean square of R, G and B, 0..1."""
    label_size: tuple[int, int] | None = None
    label_problem: Problem | None = None
    codes: dict[int, int] = field(default_factory=dict)
    """Stored code -> pixels; the 4096 most frequent."""
    coloured: bool = False
    """The codes are colours, 0xRRGGBB."""

    @property
    def lasting(self) -> bool:
        """Both files were read; what failed may be the disk or the network, and pass."""
        problems = (self.image_problem, self.label_problem)
        return not any(p is not None and p.kind == "unreadable file" for p in problems)


@dataclass(frozen=True)
class _Entry:
    version: str
    facts: PairFacts


@dataclass
class _Cache:
    format: int = _FORMAT
    entries: dict[str, _Entry] = field(default_factory=dict)


def examine(pair: Pair, *, expand_palette: bool) -> PairFacts:
    """Decode both files of a pair completely; what fails becomes part of the facts."""
    values = {**_image_facts(pair.image), **_label_facts(pair.label, expand_palette)}
    return PairFacts(**values)  # type: ignore[arg-type]  # the two dicts name its fields


def _image_facts(path: Path) -> dict[str, object]:
    try:
        image = read_rgb(path)
    except DataError as error:
        return {"image_problem": error.problem}
    levels = np.arange(256) / 255
    shares = np.stack(
        [np.bincount(image[..., c].ravel(), minlength=256) / image[..., c].size for c in range(3)]
    )
    digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16)
    digest.update(repr(image.shape).encode())
    return {
        "image_size": image.shape[:2],
        "digest": digest.hexdigest(),
        "mean": tuple((shares @ levels).tolist()),
        "square": tuple((shares @ levels**2).tolist()),
    }


def _label_facts(path: Path, expand_palette: bool) -> dict[str, object]:
    try:
        codes, coloured = read_codes(path, expand_palette=expand_palette)
    except DataError as error:
        return {"label_problem": error.problem}
    return {
        "label_size": codes.shape,
        "codes": _histogram(codes, coloured),
        "coloured": coloured,
    }


def _histogram(codes: NDArray[np.integer], coloured: bool) -> dict[int, int]:
    if coloured:
        values, counts = np.unique(codes, return_counts=True)
    else:
        totals = np.bincount(codes.ravel())
        values = np.flatnonzero(totals)
        counts = totals[values]
    order = np.sort(np.argsort(-counts, kind="stable")[:_MOST_CODES])
    return dict(zip(values[order].tolist(), counts[order].tolist(), strict=True))


def scan(
    root: Path,
    pairs: Sequence[Pair],
    *,
    expand_palette: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Pair, PairFacts]]:
    """The facts of every pair, in order, with memory for a few images at a time.

    Args:
        root: the data set's folder, for which facts are remembered.
        pairs: what to look at.
        expand_palette: palette files are read as colours.
        progress: called with the pairs done and their number.
    """
    place = _cache_file(root)
    known = _load(place)
    looked: dict[str, _Entry] = {}
    threads = min(os.cpu_count() or 1, 8)
    waiting: deque[tuple[Pair, str, str, Future[PairFacts] | PairFacts]] = deque()
    todo = iter(pairs)
    with ThreadPoolExecutor(threads, thread_name_prefix="scan") as pool:
        done = 0
        while True:
            for pair in islice(todo, 4 * threads - len(waiting)):
                key, version = _identity(pair, expand_palette)
                entry = known.get(key)
                if entry is not None and entry.version == version:
                    waiting.append((pair, key, version, entry.facts))
                else:
                    job = pool.submit(examine, pair, expand_palette=expand_palette)
                    waiting.append((pair, key, version, job))
            if not waiting:
                break
            pair, key, version, result = waiting.popleft()
            facts = result if isinstance(result, PairFacts) else result.result()
            looked[key] = _Entry(version, facts)
            done += 1
            if progress is not None:
                progress(done, len(pairs))
            yield pair, facts
    if any(known.get(key) != entry for key, entry in looked.items()):
        _store(place, {**known, **looked})


def _identity(pair: Pair, expand_palette: bool) -> tuple[str, str]:
    """Key of a pair in the cache, and the version of its files; "" if one cannot be asked."""
    key = f"{pair.image.absolute()}\n{pair.label.absolute()}"
    try:
        stats = [path.stat() for path in (pair.image, pair.label)]
    except OSError:
        return key, ""
    parts = [f"{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns}" for s in stats]
    return key, " ".join([*parts, str(expand_palette)])


def _cache_file(root: Path) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:16]
    return Path(base) / "hyperseg" / f"data-{name}.json"


def _load(place: Path) -> dict[str, _Entry]:
    """What was remembered; nothing if it is unreadable, damaged or of another version."""
    try:
        cache = msgspec.json.decode(place.read_bytes(), type=_Cache)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
    return cache.entries if cache.format == _FORMAT else {}


def _store(place: Path, entries: dict[str, _Entry]) -> None:
    """Remember facts; where no file can be written the next scan is slow, and that is all."""
    kept = {key: entry for key, entry in entries.items() if entry.version and entry.facts.lasting}
    with suppress(OSError, OptionError):
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(place) as part:
            part.write_bytes(msgspec.json.encode(_Cache(entries=kept)))
