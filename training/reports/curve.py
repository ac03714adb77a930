"""The course of a run as a picture: loss, learning rate and validation mIoU from its log."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import ArtifactError
from training.runlog import LOG_FILE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVE_FILE = "curve.png"


@dataclass
class Curve:
    """What a run's log says, step by step; the two members of a pair are of equal length."""

    train_steps: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    val_steps: list[int] = field(default_factory=list)
    miou: list[float] = field(default_factory=list)
    """On the validation split, 0..1."""
    val_seen: bool = False
    """The validation split was trained on too, so that no step is the best of it."""

    @property
    def best(self) -> tuple[int, float] | None:
        """(step, mIoU) of the best validation, the first of equals; None before any."""
        if not self.miou:
            return None
        index = self.miou.index(max(self.miou))
        return self.val_steps[index], self.miou[index]


def read_log(run: Path) -> list[dict[str, Any]]:
    """The records of a run's log; lines that a kill cut short are left out.

    Raises:
        ArtifactError: the folder has no log.
    """
    try:
        lines = (run / LOG_FILE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"cannot read {run / LOG_FILE}: {error}; expected the folder of a training run"
        ) from error
    return [record for line in lines if (record := _parse(line)) is not None]


def _parse(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "kind" in record and "step" in record else None


def read_curve(run: Path) -> Curve:
    """The course of the run in a folder.

    Raises:
        ArtifactError: the folder has no log.
    """
    curve = Curve()
    for record in read_log(run):
        if record["kind"] == "start":
            curve.val_seen = record.get("options", {}).get("train_split") == "trainval"
        elif record["kind"] == "train":
            curve.train_steps.append(record["step"])
            curve.loss.append(record["loss"])
            curve.lr.append(record["lr"])
        elif record["kind"] == "val":
            curve.val_steps.append(record["step"])
            curve.miou.append(record["miou"])
    return curve


def draw_curve(run: Path) -> Path:
    """Draw the course of a run into its folder as ``curve.png``, complete or not at all.

    Returns:
        The picture's path.

    Raises:
        ArtifactError: the folder has no log.
        ModuleNotFoundError: matplotlib is not installed.
        OptionError: the folder cannot be written.
    """
    curve = read_curve(run)
    from matplotlib.figure import Figure

    from training.evaluation.charts import save_png

    figure = Figure(figsize=(9, 8), layout="constrained")
    loss, rate, miou = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 3))
    _line(loss, "loss", curve.train_steps, curve.loss)
    _line(rate, "learning rate", curve.train_steps, curve.lr)
    _line(miou, "val mIoU %", curve.val_steps, [100 * value for value in curve.miou])
    if curve.val_seen:
        miou.set_title("val was trained on too", fontsize="medium")
    elif curve.best is not None:
        step, value = curve.best
        miou.plot(step, 100 * value, "o", color="tab:red")
        miou.set_title(f"best {100 * value:.2f} % at step {step}", fontsize="medium")
    miou.set_xlabel("step")
    loss.set_title(run.resolve().name)
    place = run / CURVE_FILE
    save_png(figure, place)
    return place


def _line(axes: Axes, name: str, steps: list[int], values: list[float]) -> None:
    axes.plot(steps, values, marker="." if len(steps) <= 60 else None)
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
