"""Our training loop against a plain PyTorch loop: the same network, batch size and arithmetic.

Both compute the same loss, clip, step the same optimiser and average the weights. The plain loop
has its batch in memory as normalised tensors; ours reads, augments, counts and logs every step. CPU
time counts the loader's threads too, and stays telling on a machine that others use.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.paired import interleaved, ratio, report, summary
from edge_runtime.allocator import keep_freed_memory
from training.data.datasets import open_dataset
from training.data.loader import Feed, batches
from training.loss import make_loss
from training.model.hyperseg import HyperSeg
from training.normalise import normalise
from training.optim import AveragedWeights, make_optimizer
from training.options import TrainOptions
from training.presets import preset, variant
from training.run import Run
from training.runlog import Meter, RunLog
from training.setup import Setup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from edge_runtime.metrics import Scores
    from training.data.datasets import Dataset
    from training.model.config import HyperSegConfig


def our_loop(config: HyperSegConfig, dataset: Dataset, options: TrainOptions) -> Callable[[], None]:
    """So many steps of ours as ``options.steps``, from opening the data to the log's last line."""
    folder = Path(tempfile.mkdtemp())
    setup = Setup(
        dataset, dataset, folder, options.augment.crop, config.mean, config.std, _no_file, print
    )
    # The schedule must not end, however many rounds there are.
    run = Run(HyperSeg(config), setup, replace(options, steps=1_000_000))
    feed = Feed(dataset, options, run.frequencies)

    def steps() -> None:
        meter, log = Meter(), RunLog(folder, 0)
        with closing(batches(feed, 0)) as stream:
            for number in range(options.steps):
                began = time.monotonic()
                batch = next(stream)
                waited = time.monotonic() - began
                loss = run.train_step(batch)
                meter.add(loss, options.batch, waited, time.monotonic() - began)
                log.append("train", number, lr=run.rate, **meter.summary())

    return steps


def with_cpu_time(steps: Callable[[], None], kept: list[float]) -> Callable[[], None]:
    """Keep the CPU milliseconds of every call, of all threads."""

    def call() -> None:
        began = time.process_time()
        steps()
        kept.append((time.process_time() - began) * 1e3)

    return call


def _no_file(path: Path, weights: Mapping[str, Tensor], step: int, scores: Scores | None) -> None:
    """Weights are not written."""


def plain_loop(
    config: HyperSegConfig, dataset: Dataset, options: TrainOptions
) -> Callable[[], None]:
    """As many steps with everything at hand."""
    net = HyperSeg(config).train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own types lack it
    optimizer, loss_of = make_optimizer(net, options), make_loss(options)
    averaged = AveragedWeights(net, options.ema)
    batch = Feed(dataset, options).load(0)
    images = normalise(torch.from_numpy(batch.images), config.mean, config.std)
    labels = torch.from_numpy(batch.labels).long()

    def steps() -> None:
        for number in range(options.steps):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_of(net(images), labels)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(net.parameters(), options.clip)
            optimizer.step()
            averaged.update(net, number)
            loss.item()

    return steps


def main() -> None:
    """Measure one preset on one data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="such as camvid:DIR")
    parser.add_argument("--preset", default="edge-n")
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--steps", type=int, default=10, help="of each loop in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    keep_freed_memory()
    torch.set_flush_denormal(True)
    torch.set_num_threads(given.threads)
    dataset = open_dataset(given.data, "train")
    config = variant(preset(given.preset), labels=dataset.labels)
    options = TrainOptions(
        given.preset,
        given.data,
        steps=given.steps,
        batch=given.batch,
        class_weights=0.0,
        device="cpu",
        threads=given.threads,
    )
    loops = [make(config, dataset, options) for make in (our_loop, plain_loop)]
    cpu: tuple[list[float], list[float]] = ([], [])
    ours, plain = interleaved(
        [with_cpu_time(loop, kept) for loop, kept in zip(loops, cpu, strict=True)],
        given.rounds,
        warmup=1,
    )
    report(
        {
            "preset": given.preset,
            "batch": [given.batch, *options.augment.crop],
            "steps_a_round": given.steps,
            "threads": given.threads,
            "our_step_ms": summary([value / given.steps for value in ours]),
            "plain_step_ms": summary([value / given.steps for value in plain]),
            "ours_over_plain": ratio(ours, plain),
            "ours_over_plain_cpu_time": ratio(cpu[0][1:], cpu[1][1:]),
        },
        given.json,
    )


if __name__ == "__main__":
    main()
