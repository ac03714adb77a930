"""The sections of a model card as Markdown; `training.reports.card` gathers what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_runtime.redact import public_command
from edge_runtime.zoo import is_non_commercial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_runtime.artifacts import Manifest
    from training.reports.card import CardFacts

_CITATIONS = {
    "camvid": "G. Brostow, J. Fauqueur, R. Cipolla, *Semantic Object Classes in Video: A "
    "High-Definition Ground Truth Database*, Pattern Recognition Letters 2009",
    "cityscapes": "M. Cordts et al., *The Cityscapes Dataset for Semantic Urban Scene "
    "Understanding*, CVPR 2016",
    "voc": "M. Everingham et al., *The PASCAL Visual Object Classes Challenge*, IJCV 2010",
}
"""How data sets ask to be cited, by the first part of their label set's name."""
_WEAK = 0.5
"""IoU below which a class is named among the limits."""
_OWN_ROWS = ("preset", "data", "size", "step", "steps", "batch", "seed", "terms", "val_known")
"""Training options that the card says in words rather than in the list."""


def heading(manifest: Manifest) -> str:
    """Name and purpose, with the warning that must not be overlooked."""
    count = len(manifest.labels)
    lines = [
        f"# {manifest.name}",
        "",
        f"Semantic segmentation of images into the {count} classes of `{manifest.labels.name}`, by "
        "hyperseg-edge.",
    ]
    if is_non_commercial(manifest.license):
        lines += [
            "",
            f"> **Not for commercial use.** {_sentence(manifest.license)}",
        ]
    return "\n".join(lines)


def facts_section(facts: CardFacts) -> str:
    """The file, the network and its data in a table."""
    manifest, trained = facts.manifest, facts.trained
    training = trained.options.get("training", {})
    rows = [
        ("file", f"`{facts.file}`, {facts.bytes / 1e6:.1f} MB, sha256 `{manifest.sha256[:16]}…`"),
        ("network", _network(manifest)),
        ("input", _input(manifest, training)),
        ("classes", ", ".join(manifest.labels.names)),
        ("training data", _training_data(training)),
        ("licence", manifest.license or "not stated"),
    ]
    citation = _CITATIONS.get(manifest.labels.name.partition("-")[0])
    if citation is not None:
        rows.append(("please cite", citation))
    return _table(("", ""), rows)


def _network(manifest: Manifest) -> str:
    encoder = manifest.options.get("network", {}).get("encoder", {})
    parts = [f"preset `{manifest.preset}`" if manifest.preset else "", encoder.get("name", "")]
    if manifest.parameters is not None:
        parts.append(f"{manifest.parameters / 1e6:.2f} M parameters")
    if manifest.macs is not None:
        parts.append(f"{manifest.macs / 1e9:.2f} G multiply-accumulates a frame")
    return ", ".join(part for part in parts if part)


def _input(manifest: Manifest, training: Mapping[str, Any]) -> str:
    preprocess = manifest.preprocess
    if manifest.inputs:
        height, width = manifest.input_size
        pixels = preprocess.yuv or preprocess.color
        return (
            f"uint8 {pixels} frames of {height}x{width} (height x width), "
            f"{preprocess.resize}; the graph normalises them itself; output: {manifest.head}"
        )
    size = training.get("size")
    shape = f", validated at {size[0]}x{size[1]} (height x width)" if size else ""
    mean, std = (
        ", ".join(f"{v:g}" for v in values) for values in (preprocess.mean, preprocess.std)
    )
    return f"RGB in 0..1 with mean {mean} and std {std}{shape}"


def _training_data(training: Mapping[str, Any]) -> str:
    data = training.get("data", "not stated")
    encoder = training.get("encoder_weights")
    weights = {None: "random", "imagenet": "ImageNet"}.get(encoder, encoder)
    if not training.get("init"):
        return f"{data}; the encoder started from {weights} weights"
    once = "" if encoder is None else f", whose encoder once started from {weights} weights"
    return f"{data}; the network started from a checkpoint that was trained before{once}"


def accuracy_section(facts: CardFacts) -> str:
    """IoU of every class, a column for each evaluated split."""
    reports = facts.reports
    if not reports:
        return "## Accuracy\n\nNot measured."
    rows = [
        (name, *(_percent(report["iou"].get(name)) for report in reports))
        for name in facts.manifest.labels.names
    ]
    for name, key in (("**mIoU**", "miou"), ("pixel accuracy", "accuracy")):
        rows.append((name, *(_percent(report.get(key)) for report in reports)))
    header = ("class", *(f"{report['split']}, IoU %" for report in reports))
    notes = [_measured(report) for report in reports]
    return "\n".join(["## Accuracy", "", _table(header, rows), "", *(f"- {n}" for n in notes)])


def _measured(report: Mapping[str, Any]) -> str:
    """One sentence on how a column was measured."""
    part = "" if report.get("limit") is None else ", the first of the split only"
    text = f"{report['split']}: {report['images']} images{part}, `{report['model']}`"
    if report.get("size"):
        text += f" at {report['size'][0]}x{report['size'][1]}"
    if report.get("window"):
        text += " in sliding windows"
    if report.get("scales", [1.0]) != [1.0]:
        text += ", scales " + ", ".join(f"{scale:g}" for scale in report["scales"])
    if report.get("flip"):
        text += ", mirrored too"
    if report.get("label_sizes"):
        sizes = (f"{height}x{width}" for height, width in report["label_sizes"][:3])
        text += f"; scored at the labels' {', '.join(sizes)}"
    if report.get("left_out"):
        text += f"; {len(report['left_out'])} unreadable files were left out"
    if report.get("groups"):
        groups = report["groups"]["scores"].items()
        text += "; mIoU by part: " + ", ".join(
            f"{name} {_percent(scores['miou'])} ({scores['images']})" for name, scores in groups
        )
    if report["protocol"] == "public":
        return f"{text}; ignored pixels are not scored"
    return f"{text}; protocol {report['protocol']}: {report.get('note', '')}"


def _before(training: Mapping[str, Any]) -> str:
    """That a run went on from another one, which the steps given do not count."""
    if not training.get("init"):
        return ""
    return ", going on from a checkpoint that was trained before with options of its own"


def making_section(facts: CardFacts) -> str:
    """How the weights were trained and the file was made, with what repeats it."""
    manifest, trained = facts.manifest, facts.trained
    training = trained.options.get("training", {})
    lines = ["## How it was made", ""]
    if training:
        lines += [
            f"Trained for {training.get('step')} of {training.get('steps')} steps of "
            f"{training.get('batch')} images, seed {training.get('seed')}"
            f"{_before(training)}. {_choice(training, manifest.labels.name)}",
            "",
            "Options: " + ", ".join(f"{k} {v}" for k, v in _flat(training)) + ".",
            "",
        ]
    commands = [trained.created_by] + ([manifest.created_by] if manifest is not trained else [])
    lines += ["```", *dict.fromkeys(public_command(by.command) for by in commands), "```"]
    lines += ["", f"hyperseg-edge {manifest.created_by.version}."]
    parity = manifest.parity
    if parity is not None:
        lines.append(
            f"Compared with {parity.reference} on {parity.frames} frames: "
            f"{100 * parity.agreement:.2f} % of the pixels have the same class."
        )
    return "\n".join(lines)


def _choice(training: Mapping[str, Any], labels: str) -> str:
    """Which weights were kept, and what the splits had to do with it."""
    if training.get("train_split") == "trainval":
        return (
            "The val split was trained on too, so the last weights were kept and figures on val "
            "say nothing of new images; the test split was neither trained on nor used to choose."
        )
    if training.get("val_known") == labels:
        return (
            "Of all validations the weights with the best mIoU on the val split were kept, but the "
            "network it started from was trained on it, so figures on val say nothing of new "
            "images; the test split was neither trained on nor used to choose."
        )
    return (
        "Of all validations the weights with the best mIoU on the val split were kept; the test "
        "split was neither trained on nor used to choose."
    )


def limits_section(facts: CardFacts) -> str:
    """What it is for, and what not to expect of it."""
    data = facts.trained.options.get("training", {}).get("data", "its training data")
    lines = [
        "## Use and limits",
        "",
        f"- For scenes like those of {data}, seen by a similar camera. On anything else its "
        "accuracy is unknown: label some of your own images and run `hyperseg eval`.",
        "- Not for decisions on which anyone's safety depends.",
    ]
    if facts.reports:
        last = facts.reports[-1]
        scores = [(name, last["iou"].get(name)) for name in facts.manifest.labels.names]
        weak = [
            f"{name} ({_percent(iou)})" for name, iou in scores if iou is not None and iou < _WEAK
        ]
        if weak:
            lines.append(f"- Weak classes on {last['split']}, IoU % below 50: {', '.join(weak)}.")
    if is_non_commercial(facts.manifest.license):
        lines.append("- Neither the weights nor what is made from them may be used commercially.")
    return "\n".join(lines)


def _flat(options: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Training options with those of nested blocks beside them, without what is said elsewhere."""
    for name, value in sorted(options.items()):
        if isinstance(value, dict):
            yield from _flat(value)
        elif name not in _OWN_ROWS and value is not None:
            shown = " ".join(map(str, value)) if isinstance(value, list) else value
            yield name, shown


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
