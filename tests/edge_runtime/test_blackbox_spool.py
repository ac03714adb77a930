"""The ring of a black box: bounded in time and memory, and readable after a crash."""

import errno
import os
from types import SimpleNamespace

import pytest

from edge_runtime.sinks.blackbox.spool import (
    KEPT_VARIABLE,
    SEGMENTS,
    SHARED_MEMORY,
    Spool,
    claim,
    read_left_behind,
)
from tests.scripted import FakeClock


def spool_of(folder, clock, seconds=16.0, max_bytes=10**6):
    folder.mkdir(exist_ok=True)
    return Spool(folder, seconds=seconds, max_bytes=max_bytes, clock=clock)


def test_ring_keeps_the_last_seconds(tmp_path):
    clock = FakeClock()
    spool = spool_of(tmp_path, clock)
    for number in range(100):
        spool.append(str(number).encode())
        clock.pass_ms(1000)

    kept = [int(record) for record in spool.records()]

    assert kept == list(range(kept[0], 100))
    assert 16 <= len(kept) <= 18
    assert len(list(tmp_path.iterdir())) <= SEGMENTS + 2


def test_ring_keeps_within_its_memory(tmp_path):
    spool = spool_of(tmp_path, FakeClock(), max_bytes=100_000)
    most = 0
    for number in range(500):
        spool.append(bytes([number % 256]) * 3000)
        held = sum(path.stat().st_size for path in tmp_path.iterdir())
        most = max(most, held)
        assert spool.size == held

    assert most <= 100_000
    assert [record[0] for record in spool.records()] == [n % 256 for n in range(500)][
        -len(list(spool.records())) :
    ]
    assert len(list(spool.records())) >= 28


def test_ring_can_be_read_while_it_moves_on(tmp_path):
    clock = FakeClock()
    spool = spool_of(tmp_path, clock)
    for number in range(20):
        spool.append(str(number).encode())
        clock.pass_ms(1000)
    before = [int(record) for record in spool.records()]
    reading = spool.records()
    first = next(reading)
    for number in range(20, 60):
        spool.append(str(number).encode())
        clock.pass_ms(1000)

    assert [int(record) for record in (first, *reading)] == before


def test_half_a_record_ends_what_a_killed_run_has_left(tmp_path):
    (place,) = claim(tmp_path / "boxes", tmp_path)
    spool = spool_of(place.folder, FakeClock())
    for number in range(3):
        spool.append(bytes([number]) * 50)
    spool.close()
    (segment,) = place.folder.glob("*.seg")
    segment.write_bytes(segment.read_bytes()[:-1])
    os.close(place.descriptor)

    left, own = claim(tmp_path / "boxes", tmp_path)

    assert (left.is_left_behind(), own.is_left_behind()) == (True, False)
    assert [record[0] for record in read_left_behind(left.folder)] == [0, 1]
    left.leave()
    own.leave()


def test_a_service_leaves_its_last_seconds_where_systemd_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setenv(KEPT_VARIABLE, str(tmp_path))

    (place,) = claim(tmp_path / "boxes")

    assert place.folder.parent == tmp_path
    place.leave()


def fill(spool, clock, *, every_ms):
    """A hundred records that begin with their number."""
    for number in range(100):
        spool.append(bytes([number]) * 1500)
        clock.pass_ms(every_ms)


def test_half_of_what_is_free_is_left_to_others(tmp_path, monkeypatch):
    free = SimpleNamespace(f_bavail=10, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: free)
    clock = FakeClock()
    spool = spool_of(tmp_path, clock)
    fill(spool, clock, every_ms=100)

    kept = [record[0] for record in spool.records()]

    assert kept == list(range(kept[0], 100))
    assert 5 * 4096 * 0.7 < 1500 * len(kept) <= 5 * 4096


@pytest.mark.parametrize("kept", ["", "gone"])
def test_without_a_kept_folder_spools_lie_in_shared_memory(tmp_path, monkeypatch, kept):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(KEPT_VARIABLE, kept)

    (place,) = claim(tmp_path / "boxes")

    assert place.folder.parent == SHARED_MEMORY
    place.leave()


def test_memory_that_is_full_shortens_the_ring_instead_of_ending_it(tmp_path, monkeypatch):
    # given a machine with memory for 20 kB, less than the ring may have
    write = os.write

    def write_within(descriptor, data):
        held = sum(path.stat().st_size for path in tmp_path.iterdir())
        if held + len(data) > 20_000:
            write(descriptor, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", write_within)
    clock = FakeClock()
    spool = spool_of(tmp_path, clock)
    fill(spool, clock, every_ms=300)

    kept = [record[0] for record in spool.records()]
    assert kept == list(range(kept[0], 100))
    assert 8 <= len(kept) <= 13
