"""Names of frame policies."""

import pytest

from edge_runtime.errors import OptionError
from edge_runtime.policy import EVERY, LATEST, Policy, default_policy, parse_policy


@pytest.mark.parametrize(("text", "policy"), [
    ("every", EVERY), ("latest", LATEST), ("deadline=50", Policy("deadline", 50.0)),
    ("deadline=12.5", Policy("deadline", 12.5)),
])  # fmt: skip
def test_policy_is_read_and_written_alike(text, policy):
    assert parse_policy(text) == policy
    assert str(parse_policy(text)) == text


@pytest.mark.parametrize("text", [
    "", "newest", "LATEST", "latest=5", "every=", "deadline", "deadline=", "deadline=fast",
    "deadline=0", "deadline=-5", "deadline=nan", "deadline=inf",
])  # fmt: skip
def test_other_text_is_refused(text):
    with pytest.raises(OptionError, match="deadline"):
        parse_policy(text)


def test_only_every_is_lossless():
    assert [policy.lossless for policy in (EVERY, LATEST, parse_policy("deadline=9"))] == [
        True, False, False,
    ]  # fmt: skip


def test_a_deadline_belongs_to_its_policy():
    with pytest.raises(OptionError, match="belongs to"):
        Policy("latest", 50.0)
    assert parse_policy("deadline=1.5").deadline_ns == 1_500_000
    assert LATEST.deadline_ns is None


def test_default_follows_the_source():
    assert default_policy(live=True) == LATEST
    assert default_policy(live=False) == EVERY
