"""The calibration stage: a float model and frames in; an INT8 model and a report out."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from calibration.adaptive import round_weights
from calibration.judge import Runner, agreement, judge, require_classes, require_gate
from calibration.labelled import open_labelled
from calibration.methods import METHODS, choose_ranges, prefer_given
from calibration.mixed import Candidate, search_mixed
from calibration.policy import POLICIES, place
from calibration.publish import publish, require_form
from calibration.qdq import insert, strip
from calibration.ranges import collect
from calibration.report import (
    describe_given,
    describe_operators,
    describe_ranges,
    describe_verdict,
    ranges_hash,
)
from calibration.samples import forget, gather, refuse_shared
from calibration.sensitivity import sensitivity
from calibration.sites import qat_table
from calibration.storage import store_int8, with_integers
from edge_runtime.artifacts import (
    Metric,
    Parent,
    create_artifact,
    created_by_this_command,
    read_manifest,
)
from edge_runtime.errors import ArtifactError, GateError
from edge_runtime.range_table import RangeTable, read_ranges, write_ranges
from edge_runtime.stored_weights import unpack_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import onnx

    from calibration.adaptive import Rounded
    from calibration.frames import StoredFrames
    from calibration.labelled import Labelled
    from calibration.methods import Method
    from calibration.options import CalibrateOptions
    from calibration.policy import Placement
    from calibration.ranges import Collected
    from edge_runtime.artifacts import Manifest

AGREEMENT_FRAMES = 16
"""Calibration frames on which the methods are compared with the float model."""


@dataclass(frozen=True)
class Outcome:
    """What became of a calibration."""

    manifest: Manifest
    report: dict[str, Any]


@dataclass(frozen=True)
class _Choice:
    """A method and what it gives."""

    method: Method
    ranges: dict[str, float]
    graph: onnx.ModelProto
    agreement: float


def calibrate(
    path: Path,
    options: CalibrateOptions,
    say: Callable[[str], None] = lambda _: None,
    publish_facts: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Outcome:
    """Make an INT8 model, and prove what it costs where labels are given.

    A working folder ``<output>.work`` holds the chosen frames and the ranges so far; it is removed
    at the end, and lets an interrupted calibration go on. Of a model that loses too much the ranges
    stay, for another try with the same frames.

    Args:
        path: an ONNX model with its manifest; pairs of an earlier calibration are replaced.
        options: frames, method, policy, data and gate.
        say: takes progress lines.
        publish_facts: takes the report, also of a model that loses too much.

    Raises:
        GateError: the mIoU dropped by more than the gate; only the report was written.
        HypersegError: the model, the frames or the data cannot be used.
    """
    import onnx

    manifest = read_manifest(path, kind="onnx")
    _refuse_half(path, manifest)
    model = strip(unpack_weights(onnx.load_model(path)))
    placement = place(
        model, POLICIES[options.policy], exclude=options.exclude, dynamic=options.dynamic
    )
    given = None if options.ranges is None else read_ranges(options.ranges, manifest)
    options = _settled(options, given)
    data = _open_data(options, manifest)
    work = options.output.with_name(options.output.name + ".work")
    samples = gather(options.samples, manifest, work, say)
    if data is not None:
        refuse_shared(samples, data, manifest)
    collected = collect(
        model, [tensor.name for tensor in placement.measured], samples,
        state=work / "ranges.npz", threads=options.threads, report=say,
    )  # fmt: skip
    reference = Runner(model, options.threads)
    choices = _choices(model, placement, collected, samples, reference, options, given)
    best = max(choices, key=lambda choice: choice.agreement)
    say(f"method {best.method}: {best.agreement:.4f} of the pixels as before")
    rounded = _integers(model, placement, best, samples, options, work / "rounding.npz", say)
    best = _with_rounding(best, rounded, samples, reference, options)
    whole = Candidate(placement, best.graph, None)
    final, too_much = whole, False
    if data is not None:
        verdict = judge(reference, Runner(best.graph, options.threads), data, manifest)
        final = whole = replace(whole, verdict=verdict)
        too_much = options.mixed and verdict.drop > options.gate
    effects = []
    if too_much or options.sensitivity:
        effects = sensitivity(
            model, placement.policy, best.ranges, samples, dynamic=options.dynamic,
            exclude=options.exclude, rounded=rounded, threads=options.threads, say=say,
        )  # fmt: skip
    if too_much and data is not None:
        final = search_mixed(
            model, whole, best.ranges, effects, data, manifest, gate=options.gate,
            exclude=options.exclude, dynamic=options.dynamic, rounded=rounded,
            threads=options.threads, say=say,
        )  # fmt: skip
    report = {
        "schema": "hyperseg-edge.calibration/1",
        "model": {"name": manifest.name, "file": path.name, "sha256": manifest.sha256},
        "measured_with": reference.name,
        "policy": options.policy,
        "method": best.method,
        "agreement_by_method": {choice.method: choice.agreement for choice in choices},
        "rounding": {
            "how": options.rounding,
            "weights": len(rounded),
            "agreement": best.agreement,
        },
        "ranges_given": describe_given(given, placement),
        "ranges_sha256": ranges_hash(best.ranges),
        **describe_ranges(final.placement, collected, best.ranges),
        **describe_operators(model, final.placement),
        "samples": [asdict(sample) for sample in samples.samples],
        **describe_verdict(final.verdict, options.gate),
        "accuracy_all_int8": None if whole.verdict is None else whole.verdict.as_json(),
        "sensitivity": [effect.as_json() for effect in effects],
        "float_blocks": list(final.float_blocks),
        "qat": qat_table(model, final.placement, best.ranges),
    }
    if options.save_ranges is not None:
        write_ranges(options.save_ranges, _table(best, given, options, manifest, len(samples)))
    if options.report is not None:
        publish(
            options.report, report, reference, final, data, manifest,
            fp16=options.fp16, threads=options.threads,
        )  # fmt: skip
    publish_facts(report)
    _require(final, options.gate, samples, work)
    written = _write(path, manifest, options, best, final, samples)
    shutil.rmtree(work)
    return Outcome(written, report)


def _refuse_half(path: Path, manifest: Manifest) -> None:
    if "fp16" in str(manifest.options.get("precision", "")):
        raise ArtifactError(
            f"{path} is FP16, and ranges are measured in FP32: give the FP32 model that it was "
            "made from; `hyperseg export INT8.onnx --precision fp16` makes the rest FP16 afterwards"
        )


def _settled(options: CalibrateOptions, given: RangeTable | None) -> CalibrateOptions:
    """With the rounding that ``auto`` comes to."""
    if options.rounding != "auto":
        return options
    learned = given is not None and given.learned
    return replace(options, rounding="nearest" if learned else "adaptive")


def _require(final: Candidate, gate: float, samples: StoredFrames, work: Path) -> None:
    """Refuse what loses too much; its frames must not be taken for those of another try."""
    try:
        require_gate(final.verdict, gate)
    except GateError:
        forget(samples, work)
        raise


def _open_data(options: CalibrateOptions, manifest: Manifest) -> Labelled | None:
    """What to judge by; all that is scored is known to fit before the work begins."""
    if options.fp16 is not None:
        require_form(options.fp16, manifest)
    if options.data is None:
        return None
    data = open_labelled(options.data, options.split, manifest.input_size)
    require_classes(data, manifest)
    return data


def _choices(
    model: onnx.ModelProto,
    placement: Placement,
    collected: Collected,
    samples: StoredFrames,
    reference: Runner,
    options: CalibrateOptions,
    given: RangeTable | None,
) -> list[_Choice]:
    """The wanted method, or all of them, each with its graph and its likeness to the float one."""
    methods = METHODS if options.method == "auto" else (options.method,)
    fixed = {} if given is None else given.ranges
    choices = []
    for method in methods:
        chosen = choose_ranges(placement, collected.tensors, method)
        ranges = prefer_given(placement, chosen, fixed)
        graph = insert(model, placement, ranges)
        share = agreement(reference, Runner(graph, options.threads), samples, AGREEMENT_FRAMES)
        choices.append(_Choice(method, ranges, graph, share))
    return choices


def _integers(
    model: onnx.ModelProto,
    placement: Placement,
    choice: _Choice,
    samples: StoredFrames,
    options: CalibrateOptions,
    state: Path,
    say: Callable[[str], None],
) -> dict[str, Rounded]:
    """What weights are rounded to where that is not the nearest integer."""
    if options.rounding == "nearest":
        return {}
    return round_weights(
        model, choice.graph, placement, samples, state=state, threads=options.threads, say=say
    )


def _with_rounding(
    choice: _Choice,
    rounded: Mapping[str, Rounded],
    samples: StoredFrames,
    reference: Runner,
    options: CalibrateOptions,
) -> _Choice:
    """The same choice with these integers, and its likeness to the float model."""
    if not rounded:
        return choice
    graph = with_integers(choice.graph, rounded)
    share = agreement(reference, Runner(graph, options.threads), samples, AGREEMENT_FRAMES)
    return replace(choice, graph=graph, agreement=share)


def _table(
    best: _Choice,
    given: RangeTable | None,
    options: CalibrateOptions,
    manifest: Manifest,
    frames: int,
) -> RangeTable:
    """The ranges that were used, for another calibration."""
    return RangeTable(
        made_by=f"{best.method} ranges of {frames} frames",
        policy=options.policy,
        model_sha256=manifest.sha256,
        ranges=best.ranges,
        learned=given is not None and given.learned,
    )


def _write(
    path: Path,
    manifest: Manifest,
    options: CalibrateOptions,
    best: _Choice,
    final: Candidate,
    samples: StoredFrames,
) -> Manifest:
    """Write the model with the record of how it came about."""
    record = {
        "policy": options.policy,
        "method": best.method,
        "dynamic": options.dynamic,
        "exclude": list(options.exclude),
        "float_blocks": list(final.float_blocks),
        "ranges_sha256": ranges_hash(best.ranges),
        "samples_sha256": [sample.sha256 for sample in samples.samples],
        "agreement": best.agreement,
        "rounding": options.rounding,
        "store": options.store,
    }
    metrics: tuple[Metric, ...] = ()
    if final.verdict is not None:
        metrics = (Metric("miou", final.verdict.int8.miou, final.verdict.data),)
    described = replace(
        manifest,
        created_by=created_by_this_command(),
        options={**manifest.options, "quantization": record},
        parents=(Parent("onnx", path.name, manifest.sha256),),
        parity=None,
        metrics=metrics,
    )
    graph = store_int8(final.graph) if options.store == "int8" else final.graph
    content = graph.SerializeToString()
    return create_artifact(options.output, described, lambda part: part.write_bytes(content))
