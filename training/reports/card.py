"""Model cards: what a checkpoint or exported model is, written from its manifest and measurements.

A card says nothing that is not written down elsewhere: the manifest says what the file is, the
manifest and log of its run how it was trained, and reports of ``hyperseg eval`` how good it is. A
report of other weights, or by another protocol, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_runtime.artifacts import read_manifest, write_text_atomic
from edge_runtime.errors import OptionError
from training.evaluation.report import read_report
from training.reports.card_text import (
    accuracy_section,
    facts_section,
    heading,
    limits_section,
    making_section,
)
from training.reports.curve import read_log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edge_runtime.artifacts import Manifest

CHECKPOINT = "checkpoint.safetensors"
"""A run's best weights."""


@dataclass(frozen=True)
class CardFacts:
    """All that a card is written from."""

    file: str
    """Name of the artefact, without its folder."""
    bytes: int
    manifest: Manifest
    trained: Manifest
    """Of the checkpoint that it is, or was made from; `manifest` itself if that is unknown."""
    reports: list[dict[str, Any]]
    """Evaluations of these weights by one protocol, val before test."""


def card_path(path: Path) -> Path:
    """Where the card of the artefact at `path` lies."""
    return path.with_name(path.name + ".md")


def write_card(path: Path, *, run: Path | None = None, reports: Sequence[Path] = ()) -> Path:
    """Write the card of an artefact beside it, complete or not at all.

    Args:
        path: a checkpoint or an exported model.
        run: folder of the training run it comes from; without it the recipe is only what the
            artefact's own manifest says.
        reports: files of ``hyperseg eval --json``. Without one on the val split, the run's own
            validation takes its place.

    Returns:
        The card's path.

    Raises:
        ArtifactError: a file is missing or not what it should be.
        OptionError: run, reports and artefact do not belong together, or the place cannot be
            written.
    """
    facts = gather(path, run, [read_report(place) for place in reports])
    place = card_path(path)
    write_text_atomic(place, card(facts))
    return place


def gather(path: Path, run: Path | None, reports: Sequence[dict[str, Any]]) -> CardFacts:
    """What a card is written from; see `write_card`."""
    manifest = trained = read_manifest(path)
    if run is not None:
        trained = read_manifest(run / CHECKPOINT, kind="checkpoint")
    family = {manifest.sha256, *(parent.sha256 for parent in manifest.parents)}
    if trained.sha256 not in family:
        raise OptionError(
            f"{path.name} was not made from {CHECKPOINT} of run {run}: its manifest names other "
            "parents; give the run it comes from"
        )
    for report in reports:
        if report.get("model_sha256") not in family:
            raise OptionError(
                f"a report is of {report.get('model')}, whose weights are not those of {path.name} "
                "or its checkpoint; evaluate this model"
            )
        if (report["protocol"], report["classes"]) != (
            reports[0]["protocol"],
            reports[0]["classes"],
        ):
            raise OptionError(
                f"reports by protocols {reports[0]['protocol']} and {report['protocol']} cannot "
                "stand in one table; write a card of one of them"
            )
    found = list(reports)
    if run is not None and all(report["split"] != "val" for report in found):
        found += _validation(run, trained, found)
    found.sort(key=lambda report: ("train", "trainval", "val", "test").index(report["split"]))
    return CardFacts(path.name, path.stat().st_size, manifest, trained, found)


def _validation(
    run: Path, trained: Manifest, reports: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The run's own validation of the kept weights, in the form of a report."""
    if reports and reports[0]["protocol"] != "public":
        return []
    step = trained.options.get("training", {}).get("step")
    return [
        {
            **record,
            "split": "val",
            "protocol": "public",
            "model": CHECKPOINT,
            "size": trained.options.get("training", {}).get("size"),
        }
        for record in read_log(run)
        if record["kind"] == "val" and record["step"] == step
    ][-1:]


def card(facts: CardFacts) -> str:
    """The card as Markdown."""
    sections = (
        heading(facts.manifest),
        facts_section(facts),
        accuracy_section(facts),
        making_section(facts),
        limits_section(facts),
    )
    return "\n\n".join(section for section in sections if section) + "\n"
