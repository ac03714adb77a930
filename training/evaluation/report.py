"""The JSON of an evaluation: everything a figure needs to be believed, repeated and compared."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import created_by_this_command, write_text_atomic
from edge_runtime.errors import ArtifactError, OptionError
from edge_runtime.redact import public_command
from training.data.datasets import left_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from training.evaluation.evaluation import Evaluation

_PACKAGES = ("torch", "onnxruntime", "numpy", "opencv-python-headless", "pillow")
SCHEMA = "hyperseg-edge.evaluation/1"
_SAME = ("protocol", "classes", "dataset", "split", "images", "label_sizes")
"""What two reports must share for their figures to be comparable."""


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The report as plain values.

    Scores: ``miou``, ``iou`` by class (null where absent), ``accuracy``, ``mean_accuracy``,
    ``frequency_weighted``, all 0..1; ``images``; ``confusion[label][prediction]`` in the order of
    ``classes``; ``left_out``, the unreadable files; ``groups`` if asked for. The other keys say
    what was measured, and how.
    """
    request, subject, dataset = evaluation.request, evaluation.subject, evaluation.dataset
    created = created_by_this_command()
    report = {
        "schema": SCHEMA,
        **evaluation.scores.as_json(),
        "classes": list(dataset.labels.names),
        "confusion": evaluation.matrix.counts.tolist(),
        "protocol": request.protocol.name,
        "note": request.protocol.note,
        "data": public_command(request.data),
        "dataset": dataset.name,
        "data_license": dataset.license,
        "split": request.split,
        "limit": request.limit,
        "left_out": [Path(problem.file).name for problem in left_out(dataset)],
        "label_sizes": [list(size) for size in evaluation.label_sizes],
        "model": subject.name,
        "model_sha256": subject.sha256,
        "engine": subject.engine,
        "size": list(subject.input_size),
        "resize": subject.resize,
        **request.options.as_json(),
        "command": created.command,
        "versions": {"hyperseg-edge": created.version, **_versions()},
    }
    if request.group_by is not None:
        scores = {name: group.as_json() for name, group in evaluation.groups.items()}
        report["groups"] = {"by": request.group_by, "scores": scores}
    return report


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report, complete or not at all.

    Raises:
        OptionError: the place cannot be written.
    """
    write_text_atomic(path, json.dumps(report, indent=2, sort_keys=True) + "\n")


def read_report(path: Path) -> dict[str, Any]:
    """A report that `write_report` wrote.

    Raises:
        ArtifactError: missing, or not such a report.
    """
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"cannot read {path}: {error}; write a report with `hyperseg eval --json`"
        ) from error
    if not isinstance(report, dict) or not isinstance(report.get("iou", {}), dict):
        raise ArtifactError(f"{path} is not a report of `hyperseg eval --json`")
    lacking = [key for key in ("model", "miou", "iou", *_SAME) if key not in report]
    if lacking:
        raise ArtifactError(
            f"{path} is not a report of `hyperseg eval --json`: it lacks {', '.join(lacking)}"
        )
    return report


def require_comparable(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Refuse to set two reports side by side that do not measure the same thing.

    Args:
        ours: a report, or as much of one as is known before its evaluation.
        theirs: another report.

    Raises:
        OptionError: naming the first thing that differs.
    """
    for key in _SAME:
        if key in ours and ours[key] != theirs[key]:
            raise OptionError(
                f"the reports cannot be compared: {key} is {_short(ours[key])} here and "
                f"{_short(theirs[key])} there; evaluate both on the same data by one protocol"
            )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
