"""What a training run leaves for people to look at: page, curve, worst images, model card.

None of it decides on weights, so nothing here ends a run: what cannot be drawn is said once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.errors import HypersegError
from training.evaluation.pictures import draw_worst
from training.reports.card import CHECKPOINT, write_card
from training.reports.curve import draw_curve
from training.reports.kept import KEPT_FILE, write_kept
from training.reports.page import PAGE_FILE, write_run_page

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edge_runtime.metrics import ConfusionMatrix
    from training.data.datasets import Dataset
    from training.evaluation.observers import Ranked

WORST_FILE = "worst.png"
SHOWN = 8
"""Worst validation images in the sheet."""


class RunReport:
    """Keeps the pictures and the card of a run's folder up to date.

    Args:
        folder: of the run.
        say: takes a line for the user.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._said: set[str] = set()

    def validated(
        self,
        dataset: Dataset,
        worst: Sequence[Ranked],
        kept: tuple[int, ConfusionMatrix] | None = None,
    ) -> None:
        """Draw the curve so far and the worst images of the validation that was just logged.

        Args:
            dataset: of the validation.
            worst: worst first.
            kept: step and result of the validation, if its weights are those that are kept.
        """
        if kept is not None:
            self._attempt(
                KEPT_FILE, lambda: write_kept(self._folder, kept[0], dataset, kept[1], worst)
            )
        self._attempt(PAGE_FILE, lambda: write_run_page(self._folder))
        self._attempt("curve.png", lambda: draw_curve(self._folder))
        if worst:
            self._attempt(WORST_FILE, lambda: draw_worst(self._folder / WORST_FILE, dataset, worst))

    def finished(self) -> None:
        """Write the card of the kept weights, and the page of the whole run."""
        self._attempt(PAGE_FILE, lambda: write_run_page(self._folder))
        self._attempt(
            "the model card", lambda: write_card(self._folder / CHECKPOINT, run=self._folder)
        )

    def _attempt(self, what: str, make: Callable[[], object]) -> None:
        try:
            make()
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "matplotlib":
                raise
            self._complain(what, "pip install 'hyperseg-edge[reports]' brings what draws it")
        except HypersegError as error:
            self._complain(what, str(error))

    def _complain(self, what: str, reason: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._say(f"{what} is not written: {reason}")
