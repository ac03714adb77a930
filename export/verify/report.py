"""The verification as JSON, as a table and as a page that needs nothing else."""

from __future__ import annotations

import base64
import html
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.artifacts import created_by_this_command

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.table import Table

    from export.verify.figures import Figures
    from export.verify.verify import Sample, Stage, Verification

SCHEMA = "hyperseg-edge.verify/1"
THUMBNAIL = 320
"""Widest picture on the page, in pixels."""
COLOURS = {
    "passed": "#1a7f37", "reference": "#57606a", "failed": "#cf222e", "undecided": "#9a6700",
    "not done": "#8c959f",
}  # fmt: skip

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1f2328;max-width:1080px;margin:32px auto;
padding:0 20px}h1{font-size:24px;margin:0}h2{font-size:18px;margin:32px 0 8px}p{margin:6px 0}
div.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:right;padding:6px 10px;
border-bottom:1px solid #d0d7de;vertical-align:top}th{font-weight:600;font-size:13px}
td,th{white-space:nowrap}td:first-child{white-space:normal;min-width:200px}
th:first-child,td:first-child,.text{text-align:left}.badge{color:#fff;border-radius:10px;
padding:1px 9px;font-size:12px;white-space:nowrap}.note{color:#57606a;font-size:13px;
overflow-wrap:anywhere}
figure{margin:0;display:inline-block;margin:0 14px 14px 0;vertical-align:top}
figcaption{font-size:13px;color:#57606a}img{display:block;max-width:320px;image-rendering:pixelated;
border:1px solid #d0d7de}code{font-size:12px;word-break:break-all}
"""


def as_json(verification: Verification) -> dict[str, Any]:
    """Plain values; figures that a form cannot give are null."""
    return {
        "schema": SCHEMA,
        "created_by": asdict(created_by_this_command()),
        "passed": verification.passed,
        **asdict(verification),
    }


def table(verification: Verification) -> Table:
    """The chain as a terminal shows it."""
    from rich.table import Table as RichTable

    result = RichTable(box=None, header_style="bold")
    result.add_column("form")
    result.add_column("verdict", no_wrap=True)
    for heading in ("max error", "SQNR dB", "agreement", "at boundaries"):
        result.add_column(heading, justify="right", no_wrap=True)
    for stage in verification.stages:
        result.add_row(stage.name, stage.status, *_cells(stage.figures))
    return result


def remarks(verification: Verification) -> list[str]:
    """What a table has no room for: why a form failed, was not done, and where it parts."""
    return [f"{stage.name}: {note}" for stage in verification.stages for note in _remarks(stage)]


def page(verification: Verification, sample: Sample) -> str:
    """One HTML file without references to anything outside.

    Args:
        verification: the chain.
        sample: a frame and the masks of it.
    """
    height, width = verification.size
    verdict = "passed" if verification.passed else "failed"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>{html.escape(verification.model)}: parity chain</title><style>{STYLE}</style>",
        f"<h1>{html.escape(verification.model)}: parity chain {_badge(verdict)}</h1>",
        f"<p>{height}x{width}, {len(verification.classes)} classes, {verification.frames} frames "
        f"({html.escape(verification.source)}). A form may differ from the reference by "
        f"{verification.gate:g} times what rounding alone does to this network in the form's "
        "precision.</p>",
        "<h2>Forms</h2>",
        _stage_table(verification),
        "<h2>Noise floors</h2>",
        _floor_table(verification),
        _partings(verification),
        "<h2>One of the frames</h2>",
        _pictures(sample),
        "<h2>Files</h2>",
        *(
            f"<p class=note>{html.escape(name)} <code>{digest}</code></p>"
            for name, digest in verification.files.items()
        ),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _stage_table(verification: Verification) -> str:
    heads = ("form", "", "precision", "max error", "SQNR dB", "agreement", "at boundaries")
    rows = ["".join(f"<th>{head}</th>" for head in heads)]
    for stage in verification.stages:
        cells = "".join(f"<td>{cell}</td>" for cell in _cells(stage.figures))
        notes = "".join(
            f"<div class=note>{html.escape(note)}</div>"
            for note in (stage.subject, *_remarks(stage))
            if note
        )
        rows.append(
            f"<td>{html.escape(stage.name)}{notes}</td><td>{_badge(stage.status)}</td>"
            f"<td>{stage.precision or '-'}</td>{cells}"
        )
    return _wide("".join(f"<tr>{row}</tr>" for row in rows))


def _floor_table(verification: Verification) -> str:
    rows = [
        "<th>precision</th><th>rms</th><th>largest</th><th>share of the scores</th>"
        "<th>pixels that flip</th>"
    ]
    for precision, floor in verification.floors.items():
        share = floor.rms / floor.signal if floor.signal else 0.0
        rows.append(
            f"<td>{precision}</td><td>{floor.rms:.3g}</td><td>{floor.largest:.3g}</td>"
            f"<td>{100 * share:.3g} %</td><td>{100 * floor.flips:.3g} %</td>"
        )
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f"{_wide(body)}<p class=note>Measured: every weight moved by up to one rounding "
        "unit of the precision, at random, against the reference.</p>"
    )


def _partings(verification: Verification) -> str:
    parts = []
    for stage in verification.stages:
        if stage.parting is None:
            continue
        count = stage.parting.compared
        rows = "".join(
            f"<tr><td><code>{html.escape(row.value)}</code></td>"
            f"<td class=text>{html.escape(row.operator)}</td>"
            f"<td>{row.error:.3g}</td><td>{row.floor:.3g}</td>"
            f"<td>{row.error / row.floor:.3g}</td></tr>"
            for row in stage.parting.worst
        )
        head = f"<h2>{html.escape(stage.name)}, node by node</h2>"
        if stage.parting.first is None:
            what = (
                "No value has the same name in both graphs"
                if not count
                else f"None of {count} values leaves its noise floor by more than the gate allows"
            )
            parts.append(f"{head}<p>{what}.</p>")
            continue
        first = stage.parting.first
        parts.append(
            f"{head}<p>Of {count} values, the first beyond the gate is "
            f"<code>{html.escape(first.value)}</code> ({html.escape(first.operator)}).</p>"
            + _wide(
                "<tr><th>value</th><th class=text>operator</th><th>error</th><th>floor</th>"
                f"<th>ratio</th></tr>{rows}"
            )
        )
    return "".join(parts)


def _pictures(sample: Sample) -> str:
    colours = sample.labels.lookup_table(bgr=True)
    reference_name = next(iter(sample.masks))
    reference = sample.masks[reference_name]
    frame = sample.frame if sample.bgr else sample.frame[..., ::-1]
    figures = [
        _figure("frame", frame),
        _figure(f"{reference_name} (reference)", colours[reference]),
    ]
    same = []
    for name, mask in sample.masks.items():
        wrong = mask != reference
        if not wrong.any():
            same.append(name)
            continue
        pale = (colours[mask] // 5 + 204).astype(np.uint8)
        pale[wrong] = (0, 0, 220)
        words = f"{name}: {int(wrong.sum())} pixels differ ({100 * wrong.mean():.2g} %)"
        figures.append(_figure(words, pale))
    same.remove(reference_name)
    note = f"<p class=note>Same mask as the reference: {html.escape(', '.join(same))}.</p>"
    return "".join(figures) + (note if same else "")


def _figure(caption: str, picture: NDArray[np.uint8]) -> str:
    import cv2

    height, width = picture.shape[:2]
    if width > THUMBNAIL:
        size = (THUMBNAIL, max(1, height * THUMBNAIL // width))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(picture))
    data = base64.b64encode(encoded.tobytes()).decode()
    return (
        f"<figure><img alt='' src='data:image/png;base64,{data}'>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _wide(rows: str) -> str:
    """A table that a narrow window scrolls instead of squeezing."""
    return f"<div class=wide><table>{rows}</table></div>"


def _badge(status: str) -> str:
    return f"<span class=badge style='background:{COLOURS[status]}'>{status}</span>"


def _remarks(stage: Stage) -> list[str]:
    remarks = list(stage.reasons)
    if stage.parting is not None and stage.parting.first is not None:
        remarks.append(f"parts at {stage.parting.first.value} ({stage.parting.first.operator})")
    return remarks


def _cells(figures: Figures | None) -> tuple[str, str, str, str]:
    if figures is None:
        return ("-", "-", "-", "-")

    def show(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        show(figures.max_abs_error, ".3g"),
        show(figures.sqnr_db, ".1f"),
        f"{100 * figures.agreement:.3f} %",
        "-" if figures.boundary_agreement is None else f"{100 * figures.boundary_agreement:.3f} %",
    )
