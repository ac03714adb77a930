"""How the fault benchmark judges: what came too late, or never, is not as promised."""

import pytest

from benchmarks.fault_outcomes import Diary, summarise


def diary(*masks, told=()):
    """A camera with a mask each tenth of a second within these times."""
    good = [begin + i / 10 for begin, end in masks for i in range(round(10 * (end - begin)) + 1)]
    return Diary(good, list(told))


@pytest.mark.parametrize(
    ("masks", "told", "seen", "restored"),
    [
        ([(0, 10), (15, 30)], [11.95], True, True),
        ([(0, 10), (15, 30)], [12.05], False, True),
        ([(0, 10), (15, 30)], [], False, True),
        ([(0, 10), (19, 30)], [11.95], True, False),
        ([(0, 10)], [11.95], True, False),
    ],
    ids=["as promised", "told late", "never told", "back late", "never back"],
)
def test_a_stall_is_to_be_told_and_to_end(masks, told, seen, restored):
    outcome = diary(*masks, told=told).judge("stall", 10.0, 13.5, 25.0)

    assert (outcome.was_seen, outcome.was_restored) == (seen, restored)


def test_a_fault_that_silences_nothing_may_not_stop_the_masks():
    steady = diary((0, 30)).judge("jitter", 10.0, 14.0, 25.0)
    halted = diary((0, 11), (15, 30)).judge("jitter", 10.0, 14.0, 25.0)

    assert steady.was_seen
    assert steady.was_restored
    assert steady.told_s is None
    assert not halted.was_seen
    assert halted.gap_s == pytest.approx(4.0, abs=0.11)


def test_masks_under_way_when_the_stream_ends_are_not_its_return():
    # Given one mask just after the end, then silence that is told, and masks 6 s later
    outcome = diary((0, 10.2), (16.3, 30), told=[10.3]).judge("eos", 10.0, 10.0, 25.0)

    assert outcome.was_seen
    assert outcome.restored_s == pytest.approx(6.3)
    assert not outcome.was_restored


def test_a_hang_returns_when_it_is_opened_again():
    outcome = diary((0, 10), (15.5, 30), told=[12.1]).judge("hang", 10.0, 10.0, 25.0)

    assert outcome.restored_s == pytest.approx(3.4)


def test_one_failure_of_a_hundred_is_not_as_promised():
    good = diary((0, 10), (15, 30), told=[11.95]).judge("stall", 10.0, 13.5, 25.0)
    late = diary((0, 10), (19, 30), told=[11.95]).judge("stall", 10.0, 13.5, 25.0)

    assert summarise([good] * 100)["all_as_promised"]
    assert not summarise([*([good] * 99), late])["all_as_promised"]
    assert summarise([*([good] * 99), late])["kinds"]["stall"]["restored"] == 99
    assert not summarise([])["all_as_promised"]
