"""Everything that is wrong with a data set, found before a training does.

`check` reports; `guard` is the same check in front of a training, and refuses in one line.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import OptionError, SourceError
from edge_runtime.labels import IGNORE_INDEX
from training.data.check_report import CheckReport, SplitSummary
from training.data.pairs import SPLITS, overlap_problem, parts_of, size_problem
from training.data.problems import DataError, Problem
from training.data.remedies import BINARY_REMEDY
from training.data.scan import PairFacts, scan
from training.data.stored import open_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from training.data.label_map import LabelMap
    from training.data.layouts import Listing, Pair
    from training.data.pairs import Split, StoredData


def check(
    spec: str,
    splits: Sequence[Split] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Look at every file of a data set.

    Args:
        spec: the data set; nothing of ``street:`` is stored, so there is nothing to check.
        splits: which; None takes those that exist.
        progress: called with the pairs done and their number, split by split.

    Raises:
        OptionError: the specification is not understood, or is procedural.
        SourceError: the folder does not exist, has none of the splits, or its description is
            malformed.
    """
    if spec.partition(":")[0] == "street":
        raise OptionError(f"{spec} is drawn anew each time: no files to check; try `data preview`")
    data = open_stored(spec)
    wanted = splits or tuple(split for split in SPLITS if data.layout.has(split))
    if not wanted:
        first = data.layout.listing("train").problems
        raise DataError(first[0])
    report = CheckReport(spec, data.labels, {}, [])
    seen: dict[str, tuple[Path, str]] = {}
    for split in dict.fromkeys(part for whole in wanted for part in parts_of(whole)):
        listing = data.layout.listing(split)
        report.problems.extend(listing.problems)
        summary = SplitSummary(len(data.labels), images=len(listing.pairs))
        report.splits[split] = summary
        for pair, facts in _scan(data, listing, progress):
            problems = list(_pair_problems(pair, facts, data.label_map, summary))
            problems += _repeated(pair, facts, split, seen)
            report.problems.extend(replace(problem, split=split) for problem in problems)
    if splits is None:
        report.problems.extend(_missing_splits(report))
    report.problems.extend(_whole_problems(report, data.label_map))
    return report


def guard(
    spec: str,
    splits: Sequence[Split],
    *,
    skip_unreadable: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Refuse a data set that a training would stumble over, or learn wrongly from.

    The first look decodes every file (some 5 ms a CamVid pair and core); later ones only ask
    whether a file has changed.

    Args:
        spec: the data set; procedural ones pass.
        splits: those that are used; that they share no picture with the test split is looked at
            too, by its pixels.
        skip_unreadable: files that cannot be decoded are no reason; see `open_dataset`.
        progress: called with the pairs done and their number.

    Raises:
        SourceError: one line with the number of problems of each kind and how to see them all.
    """
    if spec.partition(":")[0] == "street":
        return
    looked_at: list[Split] = [*splits]
    if open_stored(spec).layout.has("test"):
        looked_at.append("test")  # nothing of it may be trained on; what else it has is no matter
    found = check(spec, looked_at, progress=progress).fatal
    reasons = [problem for problem in found if _concerns(problem, splits, skip_unreadable)]
    if not reasons:
        return
    if len(reasons) == 1:
        raise DataError(reasons[0])
    counted = ", ".join(f"{kind}: {n}" for kind, n in Counter(p.kind for p in reasons).items())
    raise SourceError(
        f"{spec} has {len(reasons)} problems ({counted}); see them all with `hyperseg data check "
        f"{spec}`; the first: {reasons[0].message}"
    )


def _concerns(problem: Problem, splits: Sequence[Split], skip_unreadable: bool) -> bool:
    """Whether a finding is a reason not to use the splits, which `trainval` joins."""
    if problem.kind == "image in two splits":
        return problem.split == "test" or "trainval" not in splits
    if problem.split == "test" and "test" not in splits:
        return False
    return not (skip_unreadable and problem.kind == "unreadable file")


def unreadable_files(data: StoredData, split: Split) -> tuple[Problem, ...]:
    """The files of a split that cannot be decoded."""
    found = []
    for part in parts_of(split):
        for _, facts in _scan(data, data.layout.listing(part), None):
            problems = (facts.image_problem, facts.label_problem)
            found += [p for p in problems if p is not None and p.kind == "unreadable file"]
    return tuple(found)


def _scan(
    data: StoredData, listing: Listing, progress: Callable[[int, int], None] | None
) -> Iterable[tuple[Pair, PairFacts]]:
    expand = data.label_map.expand_palette
    return scan(data.layout.root, listing.pairs, expand_palette=expand, progress=progress)


def _pair_problems(
    pair: Pair, facts: PairFacts, label_map: LabelMap, summary: SplitSummary
) -> Iterable[Problem]:
    """What is wrong with a pair; a usable one is counted."""
    yield from (p for p in (facts.image_problem, facts.label_problem) if p is not None)
    if facts.label_size is None:
        return
    codes = np.array(list(facts.codes), np.int64)
    try:
        train_ids = label_map.train_ids(pair.label, codes, facts.coloured)
    except DataError as error:
        yield error.problem
        return
    unknown = {code: facts.codes[code] for code in codes[train_ids < 0].tolist()}
    if unknown:
        yield label_map.unknown_problem(pair.label, unknown, facts.coloured)
    if facts.image_size is None:
        return
    if facts.image_size != facts.label_size:
        yield size_problem(pair, facts.image_size, facts.label_size)
        return
    summary.add(facts, train_ids)


def _repeated(
    pair: Pair, facts: PairFacts, split: str, seen: dict[str, tuple[Path, str]]
) -> list[Problem]:
    """A picture that was seen before, in this split or another; `seen` is by digest."""
    if not facts.digest:
        return []
    first, where = seen.setdefault(facts.digest, (pair.image, split))
    if where != split:
        return [overlap_problem(first, where, pair.image, split)]
    if first == pair.image:
        return []
    message = f"{pair.image} shows the same pixels as {first}; leave one out"
    return [Problem("repeated image", message, split, str(pair.image), fatal=False)]


def _whole_problems(report: CheckReport, label_map: LabelMap) -> Iterable[Problem]:
    """What no single file shows."""
    stored = set().union(*(split.stored for split in report.splits.values()))
    binary = stored == {0, IGNORE_INDEX} and len(report.labels) > 1
    if binary and label_map.train_id(IGNORE_INDEX) == IGNORE_INDEX:
        yield Problem("binary masks", f"all labels of {report.data} hold {BINARY_REMEDY}")
    for name, split in report.splits.items():
        if not split.sizes:
            continue  # nothing was read, which has been said
        absent = [report.labels.names[i] for i in np.flatnonzero(split.pixels == 0)]
        if len(absent) == len(report.labels):
            yield Problem(
                "no labelled pixels",
                f"every pixel of split {name!r} is ignored; nothing can be learned from it or "
                "scored on it (labels of public test sets are often withheld)",
                name,
                fatal=name != "test",
            )
        elif absent:
            yield Problem(
                "absent class",
                f"split {name!r} has no pixel of {', '.join(absent)}; add images that show "
                f"{'it' if len(absent) == 1 else 'them'}, or leave the class out",
                name,
                fatal=False,
            )


def _missing_splits(report: CheckReport) -> Iterable[Problem]:
    if "train" in report.splits and "val" not in report.splits:
        yield Problem(
            "missing split",
            f"{report.data} has no split 'val', on which training chooses the best checkpoint; "
            "put some images of their own scenes aside for it",
            "val",
            fatal=False,
        )
