"""The one calibrator that TensorRT up to 10 is given: it has ranges and no data.

So it can never calibrate on nothing or on noise. Its base class is the real one of the installed
bindings, which is known at run time only.
"""

from __future__ import annotations

from typing import Any


def cache_only(base: Any, content: bytes) -> Any:
    """An instance of a subclass of `base` that gives a calibration cache.

    Args:
        base: ``IInt8EntropyCalibrator2`` or ``IInt8MinMaxCalibrator`` of the bindings.
        content: a complete calibration cache, as in its file.
    """

    class CacheOnly(base):  # type: ignore[misc]  # see the module
        """Gives the cache and nothing else."""

        def __init__(self) -> None:
            base.__init__(self)

        def get_batch_size(self) -> int:
            """One frame."""
            return 1

        def get_batch(self, names: list[str]) -> None:
            """No data: asked for it, TensorRT is told that there is none, and fails."""

        def read_calibration_cache(self) -> bytes:
            """The ranges."""
            return content

        def write_calibration_cache(self, cache: object) -> None:
            """Nothing new is learned."""

    return CacheOnly()
