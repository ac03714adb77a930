"""`verify`: run every form on every frame, and judge each by the noise floor of its precision."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.artifacts import sha256_of
from edge_runtime.redact import public_command
from export.noise import EPS_RATIO, jittered
from export.probe_frames import frames_for
from export.scores import finite
from export.verify.chain import assemble
from export.verify.figures import Figures, Floor, Tally, Verdict, clear_pixels, judge
from export.verify.forms import GraphForm, Missing
from export.verify.labelled import Accuracy, Labelled
from export.verify.nodes import Parting, find_parting
from export.verify.probes import Differences, Probe, Sample, Samples, largest_error
from export.verify.subjects import read_subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import onnx
    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest
    from export.noise import Precision
    from export.verify.chain import Chain
    from export.verify.figures import Answer
    from export.verify.forms import Form, FormPrecision
    from export.verify.options import VerifyOptions

    Frame = NDArray[np.uint8]

TRIALS = 2
"""Independent roundings that are tried for a floor; the worst one counts."""


@dataclass(frozen=True)
class Stage:
    """One form and how it came off."""

    name: str
    subject: str
    precision: FormPrecision | None
    status: str
    """``reference``, ``passed``, ``failed``, ``undecided`` or ``not done``."""
    reasons: tuple[str, ...] = ()
    figures: Figures | None = None
    parting: Parting | None = None
    probes: tuple[Probe, ...] = ()
    """The frames one by one; none of the reference, nor of what was not done."""
    class_agreement: dict[str, float | None] = field(default_factory=dict)
    """Share of the reference's pixels of a class, 0..1, that agree; null where it has none."""
    confusion: list[list[int]] | None = None
    """(C, C) pixels, ``[reference][form]``; null where all agree."""


@dataclass(frozen=True)
class Verification:
    """The whole chain."""

    model: str
    size: tuple[int, int]
    classes: tuple[str, ...]
    files: dict[str, str]
    """sha256 by file name."""
    frames: int
    source: str
    gate: float
    floors: dict[str, Floor]
    """By precision."""
    stages: tuple[Stage, ...]
    accuracy: dict[str, Accuracy] | None = None
    """By form, where the frames are labelled."""

    @property
    def passed(self) -> bool:
        """Whether nothing failed, a file that was given and does not run among it.

        What was not done has not failed, and has not passed either.
        """
        return all(stage.status != "failed" for stage in self.stages)


def verify(
    texts: Sequence[str], options: VerifyOptions, report: Callable[[str], None] = lambda _: None
) -> tuple[Verification, list[Sample]]:
    """Compare all forms of a network with its first.

    Args:
        texts: a checkpoint, models, engines; in any order.
        options: frames, gate.
        report: takes progress lines.

    Raises:
        ArtifactError: a file is missing or damaged.
        OptionError: the files are no chain.
        SourceError: the source gave no frames.
        BackendError: the reference does not run.
        ParityError: its scores are not finite.
    """
    subjects = read_subjects(texts)

    labelled: list[Labelled] = []

    def draw(manifest: Manifest) -> list[Frame]:
        if options.data is None:
            return frames_for(manifest, options.source, options.frames, options.seed)
        labelled.append(Labelled(options.data, options.split, options.frames, manifest))
        return labelled[0].frames

    chain, frames = assemble(subjects, options, draw, report)
    with chain.stack:
        run = _Run(chain, options)
        # Of drawn frames the first is noise and the second a street, which tells an onlooker more.
        samples = Samples(min(1, len(frames) - 1) if options.drawn else 0)
        for number, frame in enumerate(frames):
            report(f"frame {number + 1} of {len(frames)}")
            masks = run.add(frame)
            manifest = chain.manifest
            samples.add(Sample(number, frame, masks, manifest.labels, manifest.preprocess))
            for data in labelled:
                data.score(number, masks)
        stages = run.stages()
        if options.nodes:
            report("looking for the first node where each form parts")
            stages = [_with_parting(stage, chain, frames[0], options) for stage in stages]
    verification = Verification(
        model=chain.manifest.name, size=chain.manifest.input_size,
        classes=chain.manifest.labels.names,
        files={path.name: sha256_of(path) for path in subjects.files}, frames=len(frames),
        source=labelled[0].name if labelled else _source(options), gate=options.gate,
        floors=run.floors(), stages=tuple(stages),
        accuracy=labelled[0].accuracy if labelled else None,
    )  # fmt: skip
    return verification, samples.kept


def _source(options: VerifyOptions) -> str:
    return public_command(options.source or "") or f"drawn from seed {options.seed}"


class _Run:
    """Tallies of all forms and floors."""

    def __init__(self, chain: Chain, options: VerifyOptions) -> None:
        self._chain, self._options = chain, options
        self._forms: list[Form] = [f for f in chain.forms if not isinstance(f, Missing)]
        self._tallies = {form.name: Tally() for form in self._forms}
        labels = chain.manifest.labels
        self._differences = {form.name: Differences(labels) for form in self._forms[1:]}
        self._trials: dict[Precision, list[tuple[Form, Tally]]] = {}
        self._plain = self._graph_form("floor", chain.graph)
        precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
        for precision in precisions:
            if precision == "fp32" or any(f.precision == precision for f in self._forms):
                self._trials[precision] = [
                    (self._moved(precision, options.seed + trial), Tally())
                    for trial in range(TRIALS)
                ]

    def _moved(self, precision: Precision, seed: int) -> Form:
        return self._graph_form(
            f"floor {precision} {seed}", jittered(self._chain.graph, precision, seed)
        )

    def _graph_form(self, name: str, graph: onnx.ModelProto) -> Form:
        return GraphForm(
            name, "fp32", graph, "", self._chain.manifest, optimise=False,
            threads=self._options.threads,
        )  # fmt: skip

    def add(self, frame: Frame) -> dict[str, NDArray[np.uint8]]:
        """Run everything on one frame; the masks by form, the reference's first.

        Raises:
            ParityError: the reference's scores are not finite.
        """
        first, *others = self._forms
        reference = _finite(first.answer(frame), f"the reference, {first.name} ({first.subject})")
        plain = _finite(self._plain.answer(frame), "the reference's FP32 graph")
        clear: dict[str, NDArray[np.bool_]] = {}
        for precision, trials in self._trials.items():
            here = []
            for form, tally in trials:
                found = form.answer(frame)
                tally.add(plain, found)
                here.append(largest_error(plain, found) or 0.0)
            clear[precision] = clear_pixels(reference, max(here))
        clear["fp64"] = clear["fp32"]
        self._tallies[first.name].add(reference, reference, clear["fp32"])
        masks = {first.name: reference.mask}
        for form in others:
            found = form.answer(frame)
            self._tallies[form.name].add(reference, found, clear[form.precision])
            self._differences[form.name].add(reference, found)
            masks[form.name] = found.mask
        return masks

    def floors(self) -> dict[str, Floor]:
        """By precision, as measured."""
        return {
            precision: Floor.of([tally for _, tally in trials])
            for precision, trials in self._trials.items()
        }

    def stages(self) -> list[Stage]:
        """What became of each form."""
        floors = self.floors()
        floors["fp64"] = floors["fp32"].finer(EPS_RATIO)
        first = self._forms[0].name
        return [self._stage(form, floors, is_reference=form.name == first) for form in
                self._chain.forms]  # fmt: skip

    def _stage(
        self, form: Form | Missing, floors: dict[str, Floor], *, is_reference: bool
    ) -> Stage:
        if isinstance(form, Missing):
            status = "failed" if form.given else "not done"
            return Stage(form.name, form.given, None, status, (form.why,))
        tally = self._tallies[form.name]
        figures = tally.figures()
        if is_reference:
            return Stage(form.name, form.subject, form.precision, "reference", (), figures)
        verdict = judge(tally, floors[form.precision], allowance=self._options.gate)
        least = self._options.min_agreement
        if least is not None and figures.agreement < least:
            reason = f"agreement {figures.agreement:.6f}, at least {least:g} is asked for"
            verdict = Verdict("failed", (*verdict.reasons, reason))
        apart = self._differences[form.name]
        return Stage(
            form.name, form.subject, form.precision, verdict.status, verdict.reasons, figures,
            probes=tuple(apart.probes), class_agreement=apart.by_class(),
            confusion=apart.confusion(),
        )  # fmt: skip


def _finite(answer: Answer, whose: str) -> Answer:
    if answer.shown is not None:
        finite(answer.shown, whose)
    return answer


def _with_parting(stage: Stage, chain: Chain, frame: Frame, options: VerifyOptions) -> Stage:
    form = next(form for form in chain.forms if form.name == stage.name)
    if not isinstance(form, GraphForm) or form.graph is chain.graph:
        return stage
    precision: Precision = "fp32" if form.precision == "fp64" else form.precision
    parting = find_parting(
        chain.graph, form.graph, frame, precision, gate=options.gate, seed=options.seed
    )
    return replace(stage, parting=parting)
