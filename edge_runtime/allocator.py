"""glibc's allocator, told to keep what a network frees for its next frame.

By default glibc hands large buffers back to the kernel as soon as they are freed, and gets them
anew, page by page, with the next frame. That costs a network with large feature maps up to three
times its run time in page faults, on every frame.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of ``malloc.h``."""
KEPT_BYTES = (2**30, 2**25)
"""Buffers up to this size are kept; older versions of glibc refuse more than 32 MiB."""


@cache
def keep_freed_memory() -> bool:
    """Tell glibc, for the whole process, not to return large buffers to the kernel.

    Variables of the environment (``MALLOC_MMAP_THRESHOLD_``) set the same from outside; this wins.

    Returns:
        Whether it was taken; False with another C library, which is left as it is.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    kept = any(libc.mallopt(M_MMAP_THRESHOLD, size) for size in KEPT_BYTES)
    return bool(libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES[0])) and kept
