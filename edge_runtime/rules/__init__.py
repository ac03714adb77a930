"""Regions of interest and rules: what of a mask is worth telling, and when it changes.

    book = RuleBook.from_file(Path("rules.json"), labels)
    evaluation = book.evaluate(result)

The format of the file is in docs/messages.md.
"""

from edge_runtime.rules.book import Evaluation, RuleBook
from edge_runtime.rules.spec import Region, Rule, RuleSet, read_rules
from edge_runtime.rules.watch import Event, RuleState, State

__all__ = [
    "Evaluation",
    "Event",
    "Region",
    "Rule",
    "RuleBook",
    "RuleSet",
    "RuleState",
    "State",
    "read_rules",
]
