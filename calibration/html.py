"""A calibration's report as one page that needs nothing beside it: neither network nor script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from calibration.charts import histogram, settling
from edge_runtime.page.accuracy import class_table
from edge_runtime.page.bars import meter
from edge_runtime.page.document import document
from edge_runtime.page.markup import badge, code, details, section, table
from edge_runtime.page.pictures import panels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from calibration.pictures import FramePictures


def render(report: Mapping[str, Any], frames: Sequence[FramePictures] = ()) -> str:
    """The page of a report.

    Args:
        report: as `calibration.calibrate` writes it to JSON.
        frames: the worst frames, if anything was judged.
    """
    parts = [
        _summary(report),
        section("Accuracy", _accuracy(report)),
        section("Worst frames", "".join(map(_frame, frames))),
        section("Sensitivity: each block in INT8 alone, the rest float", _sensitivity(report)),
        section("Ranges", _ranges(report)),
        section("Operators kept float", _kept_float(report)),
    ]
    return document(f"{report['model']['name']} in INT8", "".join(parts))


def _summary(report: Mapping[str, Any]) -> str:
    passed, accuracy = report["passed"], report["accuracy"]
    if passed is None:
        verdict = "<b>accuracy not measured: no labelled data was given</b>"
    else:
        drop = f"mIoU drop {accuracy['miou_drop_points']:.2f} points on {escape(accuracy['data'])}"
        word = badge("passed", "good") if passed else badge("failed", "bad")
        verdict = f"{word} {drop}, gate {report['gate_points']:g}"
    agreement = report["agreement_by_method"].items()
    methods = ", ".join(f"{escape(name)} {100 * share:.2f} %" for name, share in agreement)
    given = report["ranges_given"]
    lines = [
        verdict,
        f"measured with {escape(report['measured_with'])}",
        f"Q/DQ pairs placed for {report['policy']}; "
        f"{100 * report['macs_share_int8']:.1f} % of the multiply-accumulates in INT8",
        f"{escape(report['method'])} ranges of {len(report['samples'])} frames; pixels as in the "
        f"float model, by method: {methods}",
        f"{report['rounding']['how']} rounding of weights: "
        f"{100 * report['rounding']['agreement']:.2f} % of the pixels as in the float model",
        *([] if given is None else [f"ranges given: {escape(given['made_by'])}"]),
        *(f'<span class="bad">{escape(line)}</span>' for line in report["remarks"]),
        f'<span class="note">sha256 {report["model"]["sha256"]}</span>',
    ]
    return "<p>" + "<br>".join(lines) + "</p>"


def _accuracy(report: Mapping[str, Any]) -> str:
    accuracy = report["accuracy"]
    if accuracy is None:
        return ""
    fp16, blocks = report["accuracy_fp16"], report["float_blocks"]
    columns = {
        "fp32": accuracy["fp32"],
        "fp16": None if fp16 is None else fp16["scores"],
        "int8, all": report["accuracy_all_int8"]["int8"],
        "int8, mixed": accuracy["int8"] if blocks else None,
    }
    notes = []
    if fp16 is None:
        notes.append("fp16: give <code>--fp16 MODEL</code>, as `hyperseg export` makes it.")
    if not blocks:
        notes.append("int8, mixed: no block had to stay float, or no search was wanted.")
    else:
        notes.append(f"int8, mixed keeps float: {escape(', '.join(blocks))}.")
    words = " ".join(["IoU in per cent, the bar that of fp32, and points below it.", *notes])
    note = f'<p class="note">{words}</p>'
    return class_table(columns) + note


def _frame(frame: FramePictures) -> str:
    share = f"{100 * frame.agreement:.2f} % of the pixels as in the float model"
    return panels(f"{frame.name}: {share}", frame.panels)


def _sensitivity(report: Mapping[str, Any]) -> str:
    effects = report["sensitivity"]
    if not effects:
        return ""
    most = max(effect["lost"] for effect in effects) or 1.0
    rows = [
        [
            escape(effect["block"]),
            meter(effect["lost"] / most),
            f"{100 * effect['lost']:.3f} %",
            f"{effect['macs'] / 1e6:.1f} M",
            "float" if effect["block"] in report["float_blocks"] else "INT8",
        ]
        for effect in effects
    ]
    header = ("block", "", "pixels that change", "multiply-accumulates", "kept")
    return table(header, rows, (2, 3))


def _ranges(report: Mapping[str, Any]) -> str:
    moves = ", ".join(
        f"{count}: {100 * move:.1f} %" for count, move in settling(report["range_by_frames"])
    )
    settled = report["settled_at_frames"]
    rows = [
        [
            code(name),
            histogram(facts["histogram"], facts["largest"], facts["amax"]),
            f"{facts['amax']:.4g}",
            f"{facts['largest']:.4g}",
            "signed" if facts["signed"] else "",
        ]
        for name, facts in report["ranges"].items()
    ]
    return (
        f"<p>How far nine ranges of ten are from their final value, by frames seen: {moves}. "
        f"Within 5 % from {settled} frames on.</p>"
        + details(
            f"Histograms of {len(rows)} tensors: magnitudes, counts on a logarithmic axis, the "
            "range as a red line",
            table(("tensor", "magnitudes", "range", "largest seen", ""), rows, (2, 3)),
        )
    )


def _kept_float(report: Mapping[str, Any]) -> str:
    rows = [[code(name), escape(reason)] for name, reason in report["operators_float"].items()]
    return table(("operator", "why"), rows) if rows else ""
