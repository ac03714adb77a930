"""A calibration's report as one page that needs nothing beside it: neither network nor script."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from calibration.charts import bar, histogram, settling

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from calibration.pictures import FramePictures

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1150px; padding: 0 1em;
  color: #1c2733; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; } td, th { padding: 2px 12px 2px 0; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
tr + tr td { border-top: 1px solid #e3e8ee; } th { color: #5b6b7c; font-weight: 600; }
.good { color: #0a7a3d; } .bad { color: #c01f2e; } .note { color: #5b6b7c; }
figure { display: inline-block; margin: 0 6px 6px 0; } figure img { width: 215px; display: block; }
figcaption { color: #5b6b7c; font-size: .85em; } code { font-size: .88em; }
.bars { fill: #4a7ab5; } .cut { stroke: #c01f2e; stroke-width: 1.5; }
details summary { cursor: pointer; }
"""
_MISSING, _MEAN = "not measured", "mIoU"
BAD_POINTS = 1.0
"""Below fp32, from where on a loss is shown in red."""


def render(report: Mapping[str, Any], frames: Sequence[FramePictures] = ()) -> str:
    """The page of a report.

    Args:
        report: as `calibration.calibrate` writes it to JSON.
        frames: the worst frames, if anything was judged.
    """
    name = report["model"]["name"]
    parts = [
        f"<h1>{escape(name)} in INT8</h1>",
        _summary(report),
        *_section("Accuracy", _accuracy(report)),
        *_section("Worst frames", "".join(map(_frame, frames))),
        *_section("Sensitivity: each block in INT8 alone, the rest float", _sensitivity(report)),
        *_section("Ranges", _ranges(report)),
        *_section("Operators kept float", _kept_float(report)),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(name)} in INT8'
        f"</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _section(title: str, content: str) -> list[str]:
    return [f"<h2>{title}</h2>", content] if content else []


def _summary(report: Mapping[str, Any]) -> str:
    passed, accuracy = report["passed"], report["accuracy"]
    if passed is None:
        verdict = "<b>accuracy not measured: no labelled data was given</b>"
    else:
        drop = f"mIoU drop {accuracy['miou_drop_points']:.2f} points on {escape(accuracy['data'])}"
        word = '<b class="good">passed</b>' if passed else '<b class="bad">failed</b>'
        verdict = f"{word}: {drop}, gate {report['gate_points']:g}"
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
    rows = [
        [escape(name), *_cells([_value(column, name) for column in columns.values()])]
        for name in (_MEAN, *accuracy["fp32"]["iou"])
    ]
    notes = []
    if fp16 is None:
        notes.append("fp16: give <code>--fp16 MODEL</code>, as `hyperseg export` makes it.")
    if not blocks:
        notes.append("int8, mixed: no block had to stay float, or no search was wanted.")
    else:
        notes.append(f"int8, mixed keeps float: {escape(', '.join(blocks))}.")
    note = f'<p class="note">IoU in per cent, and points below fp32. {" ".join(notes)}</p>'
    return _table(["class", *columns], rows) + note


def _value(scores: Mapping[str, Any] | None, name: str) -> float | str:
    """The mean or a class's IoU in per cent, or why there is none."""
    if scores is None:
        return _MISSING
    value = scores["miou"] if name == _MEAN else scores["iou"][name]
    return "absent" if value is None else float(100 * value)


def _cells(values: Sequence[float | str]) -> list[str]:
    """Values as text, all but the first with what they gain or lose against it."""
    first, cells = values[0], []
    for index, value in enumerate(values):
        text = value if isinstance(value, str) else f"{value:.2f}"
        if index and isinstance(value, float) and isinstance(first, float):
            kind = "bad" if value < first - BAD_POINTS else "note"
            text += f' <span class="{kind}">{round(value - first, 2) + 0.0:+.2f}</span>'
        cells.append(text)
    return cells


def _frame(frame: FramePictures) -> str:
    figures = "".join(
        f'<figure><img alt="{escape(caption)}" src="{address}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, address in frame.panels.items()
    )
    share = f"{100 * frame.agreement:.2f} % of the pixels as in the float model"
    return f"<h3>{escape(frame.name)}: {share}</h3>{figures}"


def _sensitivity(report: Mapping[str, Any]) -> str:
    effects = report["sensitivity"]
    if not effects:
        return ""
    most = max(effect["lost"] for effect in effects) or 1.0
    rows = [
        [
            escape(effect["block"]),
            bar(effect["lost"] / most, f"{100 * effect['lost']:.3f} %"),
            f"{effect['macs'] / 1e6:.1f} M",
            "float" if effect["block"] in report["float_blocks"] else "INT8",
        ]
        for effect in effects
    ]
    return _table(["block", "pixels that change", "multiply-accumulates", "kept"], rows)


def _ranges(report: Mapping[str, Any]) -> str:
    moves = ", ".join(
        f"{count}: {100 * move:.1f} %" for count, move in settling(report["range_by_frames"])
    )
    settled = report["settled_at_frames"]
    rows = [
        [
            f"<code>{escape(name)}</code>",
            histogram(facts["histogram"], facts["largest"], facts["amax"]),
            f"{facts['amax']:.4g}",
            f"{facts['largest']:.4g}",
            "signed" if facts["signed"] else "",
        ]
        for name, facts in report["ranges"].items()
    ]
    return (
        f"<p>How far nine ranges of ten are from their final value, by frames seen: {moves}. "
        f"Within 5 % from {settled} frames on.</p><details><summary>Histograms of {len(rows)} "
        "tensors: magnitudes, counts on a logarithmic axis, the range as a red line</summary>"
        + _table(["tensor", "magnitudes", "range", "largest seen", ""], rows)
        + "</details>"
    )


def _kept_float(report: Mapping[str, Any]) -> str:
    rows = [
        [f"<code>{escape(name)}</code>", escape(reason)]
        for name, reason in report["operators_float"].items()
    ]
    return _table(["operator", "why"], rows) if rows else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
