"""The files that tell people what a calibration did: its report as JSON and as a page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import onnx

from calibration.html import render
from calibration.judge import Runner, judge
from calibration.pictures import picture_frames
from calibration.report import describe_fp16
from edge_runtime.artifacts import read_manifest, write_text_atomic
from edge_runtime.errors import OptionError

if TYPE_CHECKING:
    from pathlib import Path

    from calibration.labelled import Labelled
    from calibration.mixed import Candidate
    from edge_runtime.artifacts import Manifest


def page_of(report: Path) -> Path:
    """Where the page of a JSON report goes: beside it."""
    return report.with_suffix(".html")


def require_form(path: Path, manifest: Manifest) -> None:
    """Refuse what is no other form of the same model: scoring it beside would say nothing.

    Args:
        path: an ONNX model with its manifest.
        manifest: of the float model.

    Raises:
        ArtifactError: it cannot be read.
        OptionError: its frames or classes differ, or it was not made from the same file.
    """
    other = read_manifest(path, kind="onnx")
    if other.inputs != manifest.inputs or other.preprocess != manifest.preprocess:
        mine, its = (" ".join(map(str, m.inputs[0].shape)) for m in (manifest, other))
        raise OptionError(
            f"{path} takes other frames ({its}) than {manifest.name} ({mine}); give the FP16 form "
            "of the same model"
        )
    origins = [{m.sha256, *(parent.sha256 for parent in m.parents)} for m in (manifest, other)]
    if other.labels.names != manifest.labels.names or not origins[0] & origins[1]:
        raise OptionError(
            f"{path} ({other.name}) is no form of {manifest.name}: neither was made from the other "
            "nor both from one file; make it with `hyperseg export MODEL --precision fp16`"
        )


def publish(
    target: Path,
    report: dict[str, Any],
    reference: Runner,
    final: Candidate,
    data: Labelled | None,
    manifest: Manifest,
    *,
    fp16: Path | None = None,
    threads: int | None = None,
) -> None:
    """Write a report as JSON, and as a page that shows the worst frames too.

    Args:
        target: of the JSON; see `page_of`.
        report: without the FP16 model's accuracy, which is measured here and added.
        reference: the float model.
        final: the INT8 model.
        data: what it was judged on, if anything.
        manifest: of the float model.
        fp16: the same model in FP16, if there is one.
        threads: CPU threads.

    Raises:
        ArtifactError: the FP16 model cannot be read.
    """
    models = {"fp32": reference}
    report["accuracy_fp16"] = None
    if fp16 is not None and data is not None:
        described = read_manifest(fp16, kind="onnx")
        models["fp16"] = Runner(onnx.load_model(fp16), threads)
        verdict = judge(reference, models["fp16"], data, manifest)
        report["accuracy_fp16"] = describe_fp16(verdict, described)
    write_text_atomic(target, json.dumps(report, indent=1, sort_keys=True) + "\n")
    pictures = []
    if data is not None and final.verdict is not None:
        models["int8"] = Runner(final.graph, threads)
        pictures = picture_frames(models, data, manifest, final.verdict.worst)
    write_text_atomic(page_of(target), render(report, pictures))
