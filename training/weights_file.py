"""How a run's weights become checkpoints, with what there is to say about them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from edge_runtime.artifacts import Metric
from edge_runtime.errors import OptionError
from training.checkpoint import save_checkpoint
from training.qat import finish_qat, save_qat_ranges
from training.start import join_terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from edge_runtime.metrics import Scores
    from training.data.datasets import Dataset
    from training.model.hyperseg import HyperSeg
    from training.options import TrainOptions
    from training.qat import QatTable

RANGES_SUFFIX = ".ranges.json"
"""Appended to a checkpoint's name: what quantisation-aware training learned beside the weights."""


@dataclass(frozen=True)
class WeightsFile:
    """Writes a run's weights as checkpoints; see `training.setup.SaveWeights`."""

    net: HyperSeg
    """What is trained, with its quantisers if there is a table."""
    options: TrainOptions
    train_set: Dataset
    val_set: Dataset
    size: tuple[int, int]
    """(height, width) of validation."""
    table: QatTable | None = None
    """Where the network is quantised in training."""

    def __call__(
        self, path: Path, weights: Mapping[str, Tensor], step: int, scores: Scores | None
    ) -> None:
        """Write the checkpoint and, with a table, the learned ranges beside it.

        Raises:
            OptionError: the place cannot be written.
        """
        if self.table is None:
            self._write(path, self.net, weights, step, scores)
            return
        quantized = copy.deepcopy(self.net)
        quantized.load_state_dict(weights)
        with torch.random.fork_rng(devices=[]):  # a new network draws its first weights
            finished = finish_qat(quantized.cpu())
        self._write(path, finished, None, step, scores)
        ranges = path.with_name(path.name + RANGES_SUFFIX)
        save_qat_ranges(quantized, self.table, path, ranges)

    def _write(
        self,
        path: Path,
        net: HyperSeg,
        weights: Mapping[str, Tensor] | None,
        step: int,
        scores: Scores | None,
    ) -> None:
        options, labels = self.options, self.train_set.labels
        measured_on = self.val_set.name
        if options.train_split == "trainval" or options.val_known == labels.name:
            measured_on += ", which was trained on"
        metrics = [] if scores is None else [Metric("miou", scores.miou, measured_on)]
        about = {"data": self.train_set.name, "step": step, "size": list(self.size)}
        try:
            save_checkpoint(
                path,
                net,
                name=f"{options.preset}-{labels.name}",
                preset=options.preset,
                labels=labels,
                options={**_public(options), **about},
                metrics=metrics,
                license=join_terms(self.train_set.license, options.terms),
                state=weights,
            )
        except SafetensorError as error:  # its own writer does not raise OSError
            raise OptionError(
                f"cannot write {path}: {error}; is the disk full? The file before is kept"
            ) from error


def _public(options: TrainOptions) -> dict[str, Any]:
    """The options without the folders of this machine, which are nobody else's business."""
    places = {
        "encoder_weights": options.encoder_weights,
        "teacher": options.teacher,
        "init": options.init,
        "qat": options.qat,
    }
    return {
        **options.lineage(),
        **{name: None if place is None else Path(place).name for name, place in places.items()},
    }
