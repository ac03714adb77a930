"""The verification as one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from edge_runtime.page.accuracy import class_table, confusion
from edge_runtime.page.bars import meter
from edge_runtime.page.document import document
from edge_runtime.page.markup import badge, code, details, facts, pairs, section, table
from edge_runtime.page.pictures import colours_of, marked, panels, photo, png, swatches
from export.verify.report import as_json, cells, remarks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from export.verify.nodes import Parting
    from export.verify.probes import Probe, Sample
    from export.verify.verify import Stage, Verification

KINDS = {
    "passed": "good", "reference": "soft", "failed": "bad", "undecided": "warn", "not done": "soft",
}  # fmt: skip


def page(verification: Verification, samples: Sequence[Sample]) -> str:
    """One HTML file without references to anything outside, with the JSON within.

    Args:
        verification: the chain.
        samples: frames and the masks of them.
    """
    height, width = verification.size
    verdict = badge("passed", "good") if verification.passed else badge("failed", "bad")
    note = (
        f"{height}&times;{width}, {len(verification.classes)} classes, {verification.frames} "
        f"frames ({escape(verification.source)}). A form may differ from the reference by "
        f"{verification.gate:g} times what rounding alone does to this network in the form's "
        "precision."
    )
    compared = [stage for stage in verification.stages if stage.probes]
    body = "".join(
        [
            f"<p>{verdict}</p>{_facts(verification)}<p>{note}</p>",
            section("Forms", _stages(verification.stages)),
            section("Noise floors", _floors(verification)),
            section("Against labels", _accuracy(verification)),
            section("Agreement by class", _classes(compared)),
            section("Frame by frame", _probes(compared)),
            section("Classes that change", _confusion(verification.classes, compared)),
            "".join(
                section(f"{escape(stage.name)}, node by node", _parting(stage.parting))
                for stage in verification.stages
                if stage.parting is not None
            ),
            section("Frames", _pictures(samples)),
            section("Files", pairs((escape(n), code(d)) for n, d in verification.files.items())),
        ]
    )
    title = f"{verification.model}: parity chain"
    report = as_json(verification)
    made = f"version {report['created_by']['version']}"
    return document(title, body, made=made, data=report)


def _facts(verification: Verification) -> str:
    statuses = [stage.status for stage in verification.stages]
    worst = min(
        (stage.figures.agreement for stage in verification.stages if stage.figures), default=None
    )
    counts = [(str(statuses.count(status)), status) for status in KINDS if status in statuses]
    lowest = [] if worst is None else [(f"{_percent(worst)} %", "lowest agreement of a form")]
    return facts([*counts, *lowest])


def _stages(stages: Sequence[Stage]) -> str:
    rows = []
    for stage in stages:
        notes = "".join(
            f'<div class="note">{escape(note)}</div>'
            for note in (stage.subject, *remarks_of(stage))
            if note
        )
        rows.append(
            (
                f"{escape(stage.name)}{notes}",
                badge(stage.status, KINDS[stage.status]),
                stage.precision or "",
                *cells(stage.figures),
            )
        )
    header = ("form", "", "precision", "max error", "SQNR dB", "agreement", "at boundaries")
    return table(header, rows, numbers=range(3, 7))


def _floors(verification: Verification) -> str:
    rows = []
    for precision, floor in verification.floors.items():
        share = floor.rms / floor.signal if floor.signal else 0.0
        rows.append(
            (
                precision,
                f"{floor.rms:.3g}",
                f"{floor.largest:.3g}",
                f"{100 * share:.3g} %",
                f"{100 * floor.flips:.3g} %",
            )
        )
    header = ("precision", "rms", "largest", "share of the scores", "pixels that flip")
    note = (
        "Measured: every weight moved by up to one rounding unit of the precision, at random, "
        "against the reference."
    )
    return table(header, rows, numbers=range(1, 5)) + f'<p class="note">{note}</p>'


def _classes(stages: Sequence[Stage]) -> str:
    if not stages:
        return ""
    lowest = {
        name: min(known)
        for name in stages[0].class_agreement
        if (known := [v for s in stages if (v := s.class_agreement[name]) is not None])
    }
    rows = [
        (
            escape(name),
            meter(lowest.get(name)),
            *(_percent(stage.class_agreement[name]) for stage in stages),
        )
        for name in stages[0].class_agreement
    ]
    note = (
        "Share of the reference's pixels of a class that a form gives the same class, in per cent; "
        "the bar is the lowest."
    )
    header = ("class", "", *(escape(stage.name) for stage in stages))
    found = table(header, rows, numbers=range(2, len(header)))
    return f'{found}<p class="note">{note}</p>'


def _accuracy(verification: Verification) -> str:
    found = verification.accuracy
    if not found:
        return ""
    note = '<p class="note">IoU in per cent; the bar is the reference\'s.</p>'
    matrices = "".join(
        details(
            f"{escape(name)}: what is taken for what",
            confusion(verification.classes, one.confusion, rows="labelled", columns="predicted"),
        )
        for name, one in found.items()
    )
    return class_table({name: one.scores for name, one in found.items()}) + note + matrices


def _probes(stages: Sequence[Stage]) -> str:
    if not stages:
        return ""
    rows = [
        (str(place + 1), *(_probe(stage.probes[place]) for stage in stages))
        for place in range(len(stages[0].probes))
    ]
    header = ("frame", *(escape(stage.name) for stage in stages))
    note = "Pixels with the reference's class, in per cent, and the largest error of a score."
    found = table(header, rows, numbers=range(1, len(header)))
    return f'{found}<p class="note">{note}</p>'


def _probe(probe: Probe) -> str:
    error = "" if probe.max_abs_error is None else f"{probe.max_abs_error:.3g}"
    return f'{_percent(probe.agreement)} <span class="note">{error}</span>'


def _percent(share: float | None) -> str:
    # 99.9996 is not all: only what is exactly all reads as 100.
    if share is None:
        return "absent"
    return "100" if share == 1 else f"{min(100 * share, 99.999):.3f}"


def _confusion(classes: Sequence[str], stages: Sequence[Stage]) -> str:
    return "".join(
        details(
            f"{escape(stage.name)}: what it says where the reference says something else",
            confusion(classes, stage.confusion, rows="reference", columns="form"),
        )
        for stage in stages
        if stage.confusion is not None
    )


def _parting(parting: Parting) -> str:
    if parting.first is None:
        what = (
            "No value has the same name in both graphs"
            if not parting.compared
            else f"None of {parting.compared} values leaves its noise floor by more than the gate "
            "allows"
        )
        return f"<p>{what}.</p>"
    rows = [
        (
            code(row.value),
            escape(row.operator),
            f"{row.error:.3g}",
            f"{row.floor:.3g}",
            f"{row.error / row.floor:.3g}",
        )
        for row in parting.worst
    ]
    header = ("value", "operator", "error", "floor", "ratio")
    return (
        f"<p>Of {parting.compared} values, the first beyond the gate is "
        f"{code(parting.first.value)} ({escape(parting.first.operator)}).</p>"
        + table(header, rows, numbers=(2, 3, 4))
    )


def _pictures(samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    return swatches(colours_of(samples[0].labels)) + "".join(map(_sample, samples))


def _sample(sample: Sample) -> str:
    colours = sample.labels.lookup_table(bgr=True)
    reference_name = next(iter(sample.masks))
    reference = sample.masks[reference_name]
    pictures = {
        "frame": photo(sample.picture),
        f"{reference_name} (reference)": png(colours[reference]),
    }
    same = []
    for name, mask in sample.masks.items():
        wrong = mask != reference
        if not wrong.any():
            same.append(name)
            continue
        words = f"{name}: {int(wrong.sum())} pixels differ ({100 * wrong.mean():.2g} %)"
        pictures[words] = marked(colours[mask], wrong)
    same.remove(reference_name)
    note = f'<p class="note">Same mask as the reference: {escape(", ".join(same))}.</p>'
    lowest = f"frame {sample.number + 1}: lowest agreement {_percent(sample.agreement)} %"
    return panels(lowest, pictures) + (note if same else "")
