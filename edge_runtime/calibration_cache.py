"""TensorRT's calibration cache: text, a scale per tensor, for TensorRT up to 10.

Line 1 is ``TRT-<version>-<algorithm>``; every other line is ``<tensor>: <hex>``, the eight hex
digits of a big-endian float32, ``amax / 127``. TensorRT splits at the last colon of a line, so
names may hold colons. A cache is a by-product here: the same ranges are in the Q/DQ graph.

A cache does not say whose it is. So the same ranges are written beside it, as a table that names
its model (`edge_runtime.range_table`): a cache with such a table is refused for any other model.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from edge_runtime.errors import ArtifactError, OptionError
from edge_runtime.range_table import read_ranges

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from edge_runtime.artifacts import Manifest

Algorithm = Literal["EntropyCalibration2", "MinMaxCalibration"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
INT8_MAX = 127
_HEADER = re.compile(r"TRT-(\d+)-(\w+)")
_DIGITS = re.compile(r"[0-9a-fA-F]{8}")


@dataclass(frozen=True)
class CalibrationCache:
    """What a cache file says."""

    version: tuple[int, int, int]
    """TensorRT's (major, minor, patch)."""
    algorithm: str
    scales: dict[str, np.float32]
    """Tensor -> ``amax / 127``, above 0."""

    @property
    def ranges(self) -> dict[str, float]:
        """Tensor -> largest magnitude, as `calibration.qdq.insert` takes it."""
        return {name: float(scale) * INT8_MAX for name, scale in self.scales.items()}


@dataclass(frozen=True)
class CacheVerdict:
    """How a cache fits a graph and a TensorRT."""

    missing: tuple[str, ...]
    """Tensors of the graph without a scale."""
    extra: tuple[str, ...]
    """Scales without a tensor: harmless, but a sign of another export."""
    coverage: float
    """Share of the wanted tensors, 0..1, that have a scale."""
    refusals: tuple[str, ...]
    """Why the TensorRT in question would not use it; empty if it would."""

    @property
    def accepted(self) -> bool:
        """Whether the cache is complete and that TensorRT takes it."""
        return not self.missing and not self.refusals


def version_code(version: tuple[int, int, int]) -> int:
    """The number in the header: 8.6.1 -> 8601, 10.3.0 -> 100300."""
    major, minor, patch = version
    return (10_000 if major >= 10 else 1_000) * major + 100 * minor + patch


def version_of(code: int) -> tuple[int, int, int]:
    """The version behind a header's number."""
    major_unit = 10_000 if code >= 100_000 else 1_000
    return code // major_unit, code % major_unit // 100, code % 100


def cache_of(
    ranges: Mapping[str, float],
    *,
    version: tuple[int, int, int],
    algorithm: Algorithm = "EntropyCalibration2",
) -> CalibrationCache:
    """The cache of a table of ranges.

    Raises:
        OptionError: a range is no positive number, or TensorRT 11 is asked for, which has no
            calibration.
    """
    if version[0] >= 11:
        raise OptionError(
            f"TensorRT {'.'.join(map(str, version))} has no calibration cache; give it the Q/DQ "
            "model that `hyperseg calibrate --policy trt-gpu` writes"
        )
    scales = {}
    for name, amax in ranges.items():
        scale = np.float32(amax / INT8_MAX)
        if not (np.isfinite(scale) and scale > 0):
            raise OptionError(f"tensor {name!r} has range {amax}; a cache holds positive scales")
        if not name or "\n" in name or "\r" in name:
            raise OptionError(f"tensor name {name!r} does not fit a line of a cache; rename it")
        scales[name] = scale
    return CalibrationCache(version, algorithm, scales)


def write_cache(cache: CalibrationCache) -> str:
    """The text of a cache, tensors in their order."""
    lines = [f"TRT-{version_code(cache.version)}-{cache.algorithm}"]
    lines += [f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in cache.scales.items()]
    return "\n".join(lines) + "\n"


def read_cache(text: str) -> CalibrationCache:
    """What the text of a cache says.

    Raises:
        ArtifactError: no header, a malformed line, a scale that is not positive, or a tensor
            that occurs twice; the line is named.
    """
    # Not splitlines(): a name may hold any separator but the newline itself.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    header = _HEADER.fullmatch(lines[0])
    if header is None:
        raise ArtifactError(
            f"line 1 is {lines[0][:40]!r}; a cache starts with TRT-<version>-<algorithm>"
        )
    scales: dict[str, np.float32] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        name, colon, digits = line.rpartition(": ")
        if not (colon and name and _DIGITS.fullmatch(digits)):
            raise ArtifactError(
                f"line {number} is {line[:60]!r}; expected '<tensor>: <8 hex digits>'"
            )
        scale = np.float32(struct.unpack(">f", bytes.fromhex(digits))[0])
        if not (np.isfinite(scale) and scale > 0):
            raise ArtifactError(
                f"line {number}: tensor {name!r} has scale {scale}; a scale is a positive number"
            )
        if name in scales:
            raise ArtifactError(f"line {number}: tensor {name!r} occurs twice")
        scales[name] = scale
    return CalibrationCache(version_of(int(header[1])), header[2], scales)


def explain_cache(
    cache: CalibrationCache,
    wanted: Collection[str],
    *,
    target: tuple[int, int, int],
    algorithm: str = "EntropyCalibration2",
) -> CacheVerdict:
    """How a cache fits, without TensorRT.

    Args:
        cache: as read.
        wanted: tensors of the graph that need a scale.
        target: version of the TensorRT that shall use it.
        algorithm: of its calibrator; trtexec's is ``EntropyCalibration2``.
    """
    missing = tuple(sorted(set(wanted) - set(cache.scales)))
    refusals = []
    if target[0] >= 11:
        refusals.append(f"TensorRT {target[0]} has no calibration; it needs a Q/DQ model")
    elif cache.version != target:
        refusals.append(
            f"header is of TensorRT {'.'.join(map(str, cache.version))}, not "
            f"{'.'.join(map(str, target))}: the cache is ignored and calibration starts again"
        )
    if cache.algorithm != algorithm:
        refusals.append(
            f"header says {cache.algorithm}, the calibrator is {algorithm}: 'Calibration table "
            "does not match calibrator algorithm type'"
        )
    found = len(set(wanted)) - len(missing)
    return CacheVerdict(
        missing,
        tuple(sorted(set(cache.scales) - set(wanted))),
        found / len(set(wanted)) if wanted else 1.0,
        tuple(refusals),
    )


def table_of(cache: Path) -> Path:
    """Where the table of a cache lies: beside it."""
    return cache.with_name(cache.name + ".json")


def load_cache(path: Path, manifest: Manifest) -> tuple[CalibrationCache, bool]:
    """A cache, and whether it is known to be of the model that `manifest` describes.

    Raises:
        ArtifactError: it cannot be read, is another model's, or was altered since it was written.
    """
    try:
        # Bytes, not text: universal newlines would alter names that hold a carriage return.
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"cannot read the cache {path}: {error}") from error
    try:
        cache = read_cache(text)
    except ArtifactError as error:
        raise ArtifactError(f"{path} is no calibration cache: {error}") from error
    if not table_of(path).is_file():
        return cache, False
    table = read_ranges(table_of(path), manifest)
    wanted = cache_of(table.ranges, version=cache.version)
    if wanted.scales != cache.scales:
        raise ArtifactError(
            f"{path} does not hold the ranges of {table_of(path).name} beside it; one of them was "
            "altered: write the cache again"
        )
    return cache, True
