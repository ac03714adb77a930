"""Whole-network latency at batch 1: reference and deployment form, eager, compiled, CUDA graph.

From a uint8 frame to a uint8 mask, normalisation, upsampling and argmax included. ``device`` is the
time between two events around a call with the frame already on the GPU; ``frame_to_mask`` is the
wall time from page-locked host memory to page-locked host memory. Weights are random with
calibrated batch norms, which changes no shape and no time.
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from benchmarks.forms import ReferenceForm, calibrated
from benchmarks.gpu.account import arguments, conduct
from benchmarks.gpu.clock import (
    DRY_EFFORT,
    PRECISIONS,
    Effort,
    Precision,
    as_graph,
    compiled,
    device_ms,
    host_ms,
    numerics,
)
from export.deploy import DeployHyperSeg
from training.presets import PRESETS, PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.gpu.account import Account
    from export.deploy import DeployNetwork
    from training.model.hyperseg import HyperSeg

Form = Literal["reference", "deploy"]
Mode = Literal["eager", "graph", "compiled", "compiled_graph"]
Layout = Literal["nchw", "channels_last"]
LAYOUT_ORDER: tuple[Layout, ...] = ("channels_last", "nchw")
DEFAULT_PRESETS = ("edge-s", "camvid-s", "edge-n", "street-n", "cityscapes-s", "camvid-l")
LAYOUTS: dict[Layout, torch.memory_format] = {
    "nchw": torch.contiguous_format,
    "channels_last": torch.channels_last,
}


@dataclass(frozen=True)
class Case:
    """One way to run one network."""

    form: Form
    precision: Precision
    layout: Layout
    mode: Mode

    @property
    def name(self) -> str:
        """As a row is called."""
        return f"{self.form} {self.precision} {self.layout} {self.mode}"


def cases(options: argparse.Namespace) -> tuple[list[Case], list[Case]]:
    """All ways asked for: those that run at once, and those that are compiled first.

    The compiler chooses layouts of its own, so it is asked once.
    """
    made = product(options.precisions, options.layouts, get_args(Form), options.modes)
    found = [Case(form, precision, layout, mode) for precision, layout, form, mode in made]
    slow = [case for case in found if case.mode.startswith("compiled")]
    quick = [case for case in found if case not in slow]
    return quick, [case for case in slow if case.layout == options.layouts[0]]


def form_of(net: HyperSeg, case: Case, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The network from frame to mask, on the device, in the case's form, type and layout."""
    module: nn.Module
    inner: HyperSeg | DeployNetwork
    if case.form == "reference":
        module = ReferenceForm(copy.deepcopy(net))
        inner = module.net
    else:
        module = DeployHyperSeg(net, net.config.train_size, "mask")
        inner = module.network
    if case.layout == "nchw":
        # A frame's pixels lie channels-last, and so would every map behind it.
        inner.backbone.register_forward_pre_hook(_contiguous)
    module = module.eval().to(device=device, dtype=dtype)
    return module.to(memory_format=LAYOUTS[case.layout])  # type: ignore[call-overload, no-any-return]  # torch's own types lack it


def _contiguous(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0].contiguous(),)


def launcher(
    case: Case, module: nn.Module, frame: Tensor
) -> tuple[Callable[[], Any], Tensor, Callable[[], Tensor]]:
    """How the case is run.

    Returns:
        (one launch, the tensor it reads the frame from, what gives its latest mask)
    """
    call: Callable[[Tensor], Tensor] = module
    if case.mode.startswith("compiled"):
        call = compiled(module, frame.device)
    if case.mode.endswith("graph"):
        replay, source, target = as_graph(call, frame)
        return replay, source, lambda: target
    latest = [call(frame)]

    def launch() -> None:
        latest[0] = call(frame)

    return launch, frame, lambda: latest[0]


def frame_to_mask(
    launch: Callable[[], Any], source: Tensor, mask: Callable[[], Tensor]
) -> Callable[[], None]:
    """A call with both transfers, through page-locked memory where there is a GPU."""
    gpu = source.is_cuda
    given = torch.randint(0, 256, source.shape, dtype=torch.uint8)
    given = given.pin_memory() if gpu else given
    taken = torch.empty(mask().shape, dtype=torch.uint8, pin_memory=gpu)

    def call() -> None:
        source.copy_(given, non_blocking=True)
        launch()
        taken.copy_(mask(), non_blocking=True)

    return call


def run_case(
    case: Case, net: HyperSeg, frame: Tensor, expected: Tensor | None, effort: Effort
) -> tuple[dict[str, Any], Tensor]:
    """One row, and the mask of `frame` for the rows after it to be compared with."""
    device = frame.device
    cuda = device.type == "cuda"
    # Not inference mode: weights made in it cannot be compiled.
    with numerics(case.precision) as dtype, torch.no_grad():
        module = form_of(net, case, dtype, device)
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        launch, source, mask = launcher(case, module, frame.clone())
        source.copy_(frame)
        launch()
        found = mask().cpu().clone()
        row: dict[str, Any] = {
            "device": device_ms(launch, device, effort),
            "frame_to_mask": host_ms(frame_to_mask(launch, source, mask), device, effort),
            "peak_memory_bytes": torch.cuda.max_memory_allocated() if cuda else None,
            "reserved_memory_bytes": torch.cuda.memory_reserved() if cuda else None,
        }
    if expected is not None:
        row["agreement_with_reference_fp32"] = float((found == expected).float().mean())
    return row, found


def measure(options: argparse.Namespace, account: Account) -> None:
    """Every preset in every way asked for."""
    device = account.device
    effort = DRY_EFFORT if account.dry else Effort(runs=options.runs, limit_s=options.limit_s)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    for chosen in cases(options):
        for name in options.presets if chosen else ():
            account.check_time()
            net = calibrated(name)
            size = net.config.train_size
            frame = torch.randint(
                0, 256, (1, *size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
            ).to(device)
            exact = Case("reference", "fp32", "nchw", "eager")
            _, expected = run_case(exact, net, frame, None, DRY_EFFORT)
            for case in chosen:
                account.check_time()
                _one(account, f"{name} {size[0]}x{size[1]}", case, (net, frame, expected, effort))
                _gains(account, f"{name} {size[0]}x{size[1]}")


def _one(
    account: Account, table: str, case: Case, work: tuple[HyperSeg, Tensor, Tensor, Effort]
) -> None:
    net, frame, expected, effort = work
    if case.mode.endswith("graph") and frame.device.type != "cuda":
        account.skip(table, case.name, "CUDA graphs exist on a GPU only")
        return
    try:
        row, _ = run_case(case, net, frame, expected, effort)
    except RuntimeError as error:  # a way that torch cannot go is a finding, told in its words
        account.skip(table, case.name, f"{type(error).__name__}: {_short(error)}")
    else:
        account.row(table, case.name, **row)
    if frame.is_cuda:
        torch.cuda.empty_cache()


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:500]


def _gains(account: Account, table: str) -> None:
    """Deployment form over reference form, like with like, by the medians on the device."""
    if account.dry:
        return
    rows = account.figures[table]
    gains = {}
    for name, row in rows.items():
        other = rows.get(name.replace("deploy", "reference", 1), {})
        if name.startswith("deploy") and "device" in row and "device" in other:
            gains[name] = round(row["device"]["median_ms"] / other["device"]["median_ms"], 4)
    account.figures.setdefault("deploy over reference", {})[table] = gains
    account.save()


def main() -> int:
    """Measure presets."""
    parser = arguments(__doc__, 10)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=", ".join(PRESETS))
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["fp32", "fp16"])
    parser.add_argument("--layouts", nargs="+", choices=list(LAYOUTS), default=LAYOUT_ORDER)
    parser.add_argument("--modes", nargs="+", choices=get_args(Mode), default=list(get_args(Mode)))
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--limit-s", type=float, default=4.0, help="of one series of runs")
    options = parser.parse_args()
    if not options.presets:
        rest = [name for name in PUBLISHED if name not in DEFAULT_PRESETS]
        options.presets = ["street-n"] if options.dry_run else [*DEFAULT_PRESETS, *rest]
    return conduct("networks", options, measure)


if __name__ == "__main__":
    sys.exit(main())
