"""The verb `estimate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting
from edge_runtime.completion.candidates import matching
from edge_runtime.sizes import parse_size
from training.candidates import complete_subjects

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from edge_runtime.cli_options import Output


def complete_devices(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of devices."""
    from export.estimate.devices import DEVICES

    return matching(DEVICES, incomplete)


@click.command()
@click.argument("subject", metavar="MODEL|PRESET", shell_complete=complete_subjects)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="DEVICE",
    shell_complete=complete_devices,
    help="orin-nano, agx-orin or thor; may be given several times.  [default: all]",
)
@click.option("--size", type=parse_size, metavar="HxW", help="Another size than the model's own.")
@click.option(
    "--cameras",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Cameras that share the network in turns.",
)
@click.option(
    "--sweep", is_flag=True, help="Also the cost against resolution, classes, grid and cameras."
)
@reporting
def estimate(
    subject: str,
    targets: tuple[str, ...],
    size: tuple[int, int] | None,
    cameras: int,
    sweep: bool,
    output: Output,
) -> None:
    """Estimate what MODEL or PRESET would cost on a device that is not here.

    A roofline estimate from multiply-accumulates, bytes moved and published peaks: a range, with
    its assumptions. It is never a measurement; on the device `hyperseg bench` takes one.
    """
    # Imported here: `--help` and a wrong option need no torch.
    from edge_runtime.progress import steps
    from export.estimate.estimate import estimate_report

    with steps("estimating", quiet=output.quiet):
        report = estimate_report(subject, targets, size=size, cameras=cameras, sweep=sweep)
    output.deliver(report.to_json)
    if output.shows:
        from export.estimate.display import print_estimate

        print_estimate(report)
