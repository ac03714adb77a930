"""What a network frees stays with the process, and comes back without page faults."""

import platform
import subprocess
import sys

import pytest

CHILD = """
import resource
import numpy as np
from edge_runtime.allocator import keep_freed_memory

def faults(count):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(count):
        np.ones(10_000_000, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

default = faults(5)
taken = keep_freed_memory()
faults(1)
print(taken, default, faults(5))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_a_large_buffer_is_reused_without_page_faults():
    # Given a process that allocates and frees 40 MB five times, numpy's huge pages switched off
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True,
        env={"NUMPY_MADVISE_HUGEPAGE": "0", "PATH": ""},
    )  # fmt: skip

    taken, default, kept = done.stdout.split()

    assert taken == "True"
    assert int(default) > 10_000
    assert int(kept) < 1000


def test_another_c_library_is_left_alone(monkeypatch):
    from edge_runtime.allocator import keep_freed_memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))

    assert keep_freed_memory.__wrapped__() is False
