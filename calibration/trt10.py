"""A calibrator for TensorRT up to 10, made from TensorRT's own base class when it is called.

It has ranges and no data, so it can never calibrate on nothing or on noise: whatever the cache does
not cover is refused here, before TensorRT could guess. TensorRT 11 has no calibrators.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from calibration.cache import explain_cache, write_cache
from edge_runtime.backends.tensorrt.calibrator import cache_only
from edge_runtime.errors import DependencyError, OptionError

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType

    from calibration.cache import CalibrationCache

BASES = {
    "EntropyCalibration2": "IInt8EntropyCalibrator2",
    "MinMaxCalibration": "IInt8MinMaxCalibrator",
}
"""Header of a cache -> the class whose calibrator takes it."""


def calibrator(cache: CalibrationCache, wanted: Collection[str]) -> Any:
    """A ``tensorrt.IInt8Calibrator`` for ``IBuilderConfig.int8_calibrator``.

    Args:
        cache: the ranges.
        wanted: tensors that need one, of `calibration.policy.place`.

    Raises:
        OptionError: the cache lacks a tensor, or the installed TensorRT would not use it.
        DependencyError: TensorRT is not installed.
    """
    missing = sorted(set(wanted) - set(cache.scales))
    if missing or not wanted:
        what = f"{len(missing)} tensors, such as {missing[0]!r}" if missing else "all tensors"
        raise OptionError(
            f"the cache has no range for {what}; without frames none can be measured: run "
            "`hyperseg calibrate` and `hyperseg calibration-cache convert`"
        )
    try:
        import tensorrt as trt
    except ImportError as error:
        raise DependencyError(
            f"TensorRT is not installed ({error}); on a Jetson it comes with JetPack: make the "
            "virtual environment with --system-site-packages"
        ) from error
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", trt.__version__)
    assert found is not None, f"tensorrt calls itself {trt.__version__!r}"
    major, minor, patch = (int(part) for part in found.groups())
    verdict = explain_cache(cache, wanted, target=(major, minor, patch), algorithm=cache.algorithm)
    if verdict.refusals:
        why = verdict.refusals[0]
        raise OptionError(f"TensorRT {trt.__version__} will not use the cache: {why}")
    return made_from(trt, cache)


def made_from(trt: ModuleType, cache: CalibrationCache) -> Any:
    """A calibrator that subclasses the base class of `trt` and gives it the cache.

    Raises:
        OptionError: no calibrator takes a cache of this algorithm.
    """
    if cache.algorithm not in BASES:
        raise OptionError(
            f"the cache's header says {cache.algorithm!r}; expected {' or '.join(BASES)}"
        )
    base: Any = getattr(trt, BASES[cache.algorithm])
    return cache_only(base, write_cache(cache).encode())
