"""A training run small enough for tests: three coloured classes and a network of two convolutions.

Also a program, so that a test can kill it, or start it twice as one run:
``python toy.py FOLDER [--resume] [--smooth] [--quick] [OPTION=JSON ...]``.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from edge_runtime.errors import HypersegError
from edge_runtime.labels import LabelSet
from training.data.pairs import Sample
from training.distributed import RankError, Ranks, end_alone, processes
from training.options import AugmentOptions, TrainOptions
from training.train import Outcome, Setup, train

LABELS = LabelSet("toy", ("red", "green", "blue"), ((255, 0, 0), (0, 255, 0), (0, 0, 255)))


class ToyDataset:
    """Noisy pictures of 24 x 32 pixels with two coloured rectangles on red, and an ignored row."""

    labels, license = LABELS, ""

    def __init__(self, split: str, length: int = 11) -> None:
        self.name, self.split, self._length = f"toy {split}", split, length

    def __len__(self) -> int:
        return self._length

    def read(self, epoch: int, index: int) -> Sample:
        rng = np.random.default_rng([zlib.crc32(self.split.encode()), index])
        labels = np.zeros((24, 32), np.uint8)
        for train_id in (1, 2):
            top, left = rng.integers(0, 16), rng.integers(0, 20)
            labels[top : top + 10, left : left + 14] = train_id
        image = np.array(LABELS.palette)[labels] * 0.6 + rng.normal(40, 10, (24, 32, 3))
        labels[0] = 255
        return Sample(np.clip(image, 0, 255).astype(np.uint8), labels)


class ToyNet(nn.Module):
    """Enough parts for what a run must carry over: BatchNorm statistics, and dropout's draws."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(8, 3, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(image))


class SmoothNet(nn.Module):
    """No batch statistics, no dropout: its result does not depend on how a batch is divided."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU())
        self.head = nn.Conv2d(8, 3, 1)
        self.unused = nn.Conv2d(8, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(image))


def options(**changes: object) -> TrainOptions:
    """Eight steps of four 16 x 24 crops, everything random switched on."""
    values = {
        "preset": "toy",
        "data": "toy:",
        "steps": 8,
        "batch": 4,
        "augment": AugmentOptions(crop=(16, 24), blur=0.5, noise=0.5),
        "lr": 0.02,
        "hard_min": 64,
        "ema": 0.9,
        "validate_every": 3,
        "save_every": 2,
        "log_every": 1,
        "threads": 1,
        "device": "cpu",
    }
    return TrainOptions(**{**values, **changes})


def run(
    folder: Path,
    *,
    resume: bool = False,
    report=lambda line: None,
    net=ToyNet,
    ranks=None,
    teacher=None,
    watch=None,
    **changes: object,
) -> Outcome:
    """Train from the seed, or on from the folder's state."""
    if "rare_crops" in changes:  # of the program's command line
        changes["augment"] = AugmentOptions(crop=(16, 24), rare_crops=changes.pop("rare_crops"))
    chosen = options(**changes)
    torch.manual_seed(99 if resume else chosen.seed)  # a resumed run must not depend on it

    def save_weights(path, weights, step, scores):
        save_file(
            {**{k: v.contiguous() for k, v in weights.items()}, "step": torch.tensor(step)}, path
        )

    folder.mkdir(exist_ok=True)
    setup = Setup(
        train_set=ToyDataset("train"),
        val_set=ToyDataset("val", 3),
        folder=folder,
        val_size=(24, 32),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        save_weights=save_weights,
        report=report,
        watch=watch,
        ranks=ranks or Ranks(),
        teacher=teacher,
    )
    return train(net(), setup, chosen, resume=resume)


def say(line: str) -> None:
    """Print, slowly enough for a killer to aim."""
    print(line, flush=True)  # noqa: T201
    time.sleep(0.03)


def program(folder: str, *arguments: str) -> int:
    """The toy run as a process; returns its exit code."""
    changes = {"steps": 40, "save_every": 3, "validate_every": 17}
    for argument in arguments:
        name, _, value = argument.partition("=")
        if value:
            changes[name] = json.loads(value)
    try:
        with processes("cpu") as ranks:
            run(
                Path(folder),
                resume="--resume" in arguments,
                net=SmoothNet if "--smooth" in arguments else ToyNet,
                report=say if ranks.main and "--quick" not in arguments else lambda line: None,
                ranks=ranks,
                **changes,
            )
    except RankError as error:
        end_alone(error, "toy")
    except HypersegError as error:
        print(f"toy: error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(program(*sys.argv[1:]))
