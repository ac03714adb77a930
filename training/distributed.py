"""Several processes training one network, started by ``torchrun``; one process is the usual case.

A `Ranks` says which of them this is and does what they must do together. Everything that decides
for all, such as stopping or a score, goes through it, so no process can wait for one that has
taken another way. When one dies the others get an error as soon as the connection breaks (gloo), or
after `PATIENCE` (NCCL).
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from edge_runtime.errors import HypersegError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

    Result = TypeVar("Result")

PATIENCE = timedelta(minutes=10)
"""Longest wait for another process: far more than a saved state or a share of a validation."""
_FAREWELL = timedelta(seconds=10)
_LOST = ("gloo", "connection", "timed out", "nccl", "socket", "store")


class RankError(HypersegError):
    """Another process of the training has ended or does not answer."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    """Processes in all."""
    local_rank: int = 0
    """Among those of this machine, hence the number of its GPU."""

    @property
    def main(self) -> bool:
        """Whether this one writes files and speaks."""
        return self.rank == 0

    def sum(self, *values: float) -> list[float]:
        """Sums over the processes, in float64."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=_device())
        with self.guarded():
            dist.all_reduce(total)
        found: list[float] = total.tolist()
        return found

    def any(self, value: bool) -> bool:
        """Whether it is true in any process."""
        return self.sum(float(value))[0] > 0

    def add_up(self, tensor: Tensor) -> Tensor:
        """A tensor summed over the processes, on its own device."""
        if self.size == 1:
            return tensor
        total = tensor.to(_device(), copy=True)
        with self.guarded():
            dist.all_reduce(total)
        return total.to(tensor.device)

    def join(self, tensor: Tensor) -> Tensor:
        """The (P,) tensors of all processes, end to end; all are of one length."""
        if self.size == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        with self.guarded():
            dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def gather(self, value: Result) -> list[Result]:
        """The values of all processes, in their order, for all of them."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self.guarded():
            dist.all_gather_object(values, value)
        return values

    def from_main(self, act: Callable[[], Result]) -> Result:
        """What `act` returns in the main process, for all; the others do not run it.

        Raises:
            HypersegError: what `act` raised, in all of them.
        """
        if self.size == 1:
            return act()
        outcome: list[Any] = [None, None]
        if self.main:
            try:
                outcome[0] = act()
            except HypersegError as error:
                outcome[1] = error
        with self.guarded():
            dist.broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        result: Result = outcome[0]
        return result

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of the main process."""
        if self.size > 1:
            with self.guarded():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def share(self, batch: int, parts: int) -> int:
        """Images of a batch for each process.

        Raises:
            OptionError: they do not divide.
        """
        if batch % (self.size * parts):
            raise OptionError(
                f"a batch of {batch} does not divide among {self.size} processes in {parts} "
                f"parts; choose --batch as a multiple of {self.size * parts}"
            )
        return batch // self.size

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn a broken connection into one line.

        Raises:
            RankError: another process is gone.
        """
        try:
            yield
        except RuntimeError as error:  # torch has no common class for what the backends raise
            # The first sentence, without the place in gloo's source before it.
            reason = re.sub(r"^\[[^]]*\.cc:\d+\] ", "", str(error).splitlines()[0])
            reason = reason.partition(". ")[0]
            if self.size == 1 or not any(word in str(error).lower() for word in _LOST):
                raise
            raise RankError(
                f"process {self.rank} of {self.size} lost the others ({reason}): one has ended or "
                "is stuck, see its own message; then continue with --resume"
            ) from error

    def parallel(self, net: nn.Module) -> nn.Module:
        """The network wrapped so that gradients are averaged over the processes."""
        if self.size == 1:
            return net
        with self.guarded():
            return DistributedDataParallel(net)


def _device() -> torch.device:
    """Where a collective's tensors must lie."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


@contextmanager
def processes(device: str) -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` has started; alone without it.

    Args:
        device: as in `TrainOptions.device`; CUDA talks through NCCL, the CPU through gloo, and so
            do processes that share one GPU, which NCCL refuses.

    Raises:
        OptionError: fewer GPUs than processes, or no GPU of that number.
        RankError: the others cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    ranks = Ranks(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    backend = _take_device(device, ranks)
    with ranks.guarded():
        dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield ranks
    except RankError:  # closing the connection would wait for the lost process
        raise
    except HypersegError:
        _leave_together()
        raise
    dist.destroy_process_group()


def _take_device(device: str, ranks: Ranks) -> str:
    """Make this process's GPU the current one, if it has one; returns the backend to talk by."""
    count = torch.cuda.device_count()
    if device.startswith("cuda:"):
        number = device.removeprefix("cuda:")
        if not number.isdecimal() or int(number) >= count:
            raise OptionError(
                f"there is no GPU {device!r}: this machine has {count}; use --device cpu"
            )
        torch.cuda.set_device(int(number))
        return "gloo"
    if not (device == "cuda" or (device == "auto" and torch.cuda.is_available())):
        return "gloo"
    if ranks.local_rank >= count:
        raise OptionError(
            f"process {ranks.rank} has no GPU of its own: this machine has {count}; start fewer "
            "with --nproc-per-node, name one for all as in --device cuda:0, or use --device cpu"
        )
    torch.cuda.set_device(ranks.local_rank)
    return "nccl"


def end_alone(error: RankError, program: str) -> NoReturn:
    """End a process that has lost the others: one line, and the error's exit code.

    For programs, in the place of ``sys.exit``. gloo keeps threads for a connection that broke, and
    they outlive `torch.distributed.destroy_process_group`; an interpreter that shuts down beneath
    them is aborted now and then (SIGABRT), so this one does not shut down but ends.
    """
    try:
        # First of all: whoever reads stdout may be gone, as all of a job are that is killed.
        print(f"{program}: error: {error}", file=sys.stderr, flush=True)  # noqa: T201
        sys.stdout.flush()
    except (OSError, ValueError):
        pass
    finally:
        os._exit(error.exit_code)


def _leave_together() -> None:
    """Close the connection of processes that all refuse the same thing.

    One that ended first would have gloo's threads abort those that are still on their way out.
    """
    with suppress(RuntimeError):  # the others do not come: they will lose this one, and say so
        if dist.get_backend() == "gloo":
            dist.monitored_barrier(timeout=_FAREWELL)
        dist.destroy_process_group()
