"""One evaluation from names to scores: artefact, data and protocol in, figures out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_runtime.errors import OptionError
from edge_runtime.zoo import resolve_model
from training.data.datasets import open_dataset
from training.evaluation.evaluate import Named, confusion
from training.evaluation.observers import Groups, LabelSizes, Worst
from training.evaluation.protocols import check_protocol, scores_of
from training.evaluation.subject import open_subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.metrics import ConfusionMatrix, Scores
    from training.data.datasets import Dataset
    from training.data.pairs import Split
    from training.evaluation.evaluate import Observer
    from training.evaluation.observers import GroupBy, Ranked
    from training.evaluation.options import EvalOptions
    from training.evaluation.protocols import Protocol
    from training.evaluation.subject import Subject


@dataclass(frozen=True)
class Request:
    """What shall be evaluated, and how."""

    model: str
    """A file, or the name of a shipped model."""
    data: str
    """Data set, as in ``camvid:DIR``."""
    split: Split
    options: EvalOptions
    protocol: Protocol
    limit: int | None = None
    """Score only the first images; None scores all."""
    group_by: GroupBy | None = None
    """Also score groups of images."""
    worst: int = 0
    """How many of the worst images to keep."""
    skip_unreadable: bool = False
    """Leave out pairs of which a file cannot be decoded, naming them, instead of stopping."""


@dataclass(frozen=True)
class Evaluation:
    """What came of a request."""

    request: Request
    subject: Subject
    dataset: Dataset
    matrix: ConfusionMatrix
    scores: Scores
    groups: dict[str, Scores]
    """By group; empty if none were asked for."""
    worst: list[Ranked]
    """Worst first."""
    label_sizes: list[tuple[int, int]]
    """Distinct (height, width) at which was scored."""


def run(request: Request, progress: Callable[[int, int], None] | None = None) -> Evaluation:
    """Evaluate.

    Args:
        request: what and how.
        progress: called after each image with the number of scored images and of all.

    Raises:
        ArtifactError: the model is missing, damaged or of a kind that cannot be evaluated.
        BackendError: the engine refused the model.
        OptionError: options, network, data and protocol do not go together.
        SourceError: the data cannot be read.
    """
    path = resolve_model(request.model)
    dataset = open_dataset(request.data, request.split, skip_unreadable=request.skip_unreadable)
    check_protocol(request.protocol, dataset.labels)
    if request.group_by is not None and not isinstance(dataset, Named):
        raise OptionError(f"{dataset.name} has no image names to group by; leave --group-by out")
    count = len(dataset)
    if request.limit is not None:
        if request.limit < 1:
            raise OptionError(f"limit is {request.limit}; expected 1 or more images")
        count = min(count, request.limit)
    groups = Groups(dataset.labels, request.group_by or "prefix")
    worst, sizes = Worst(request.worst), LabelSizes()
    observers: list[Observer] = [worst, sizes]
    if request.group_by is not None:
        observers.append(groups)
    with open_subject(path, request.options) as subject:
        done = 0

        def advance(_: object) -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, count)

        matrix = confusion(
            subject.predictor, dataset, indices=range(count), observers=[*observers, advance]
        )
    return Evaluation(
        request=request,
        subject=subject,
        dataset=dataset,
        matrix=matrix,
        scores=scores_of(matrix, request.protocol),
        groups={name: scores_of(m, request.protocol) for name, m in groups.matrices.items()},
        worst=worst.ranked,
        label_sizes=sorted(sizes.sizes),
    )
