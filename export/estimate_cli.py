"""The verb `estimate`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_runtime.errors import OptionError
from edge_runtime.places import why_unwritable
from training.options import parse_size

STDOUT = "-"


@click.command()
@click.argument("subject", metavar="MODEL|PRESET")
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="DEVICE",
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
@click.option(
    "--json",
    "json_to",
    metavar="F.json|-",
    help="Write the estimate as JSON to a file, or print it instead of tables.",
)
@click.option("--quiet", is_flag=True, help="No tables.")
def estimate(
    subject: str,
    targets: tuple[str, ...],
    size: tuple[int, int] | None,
    cameras: int,
    sweep: bool,
    json_to: str | None,
    quiet: bool,
) -> None:
    """Estimate what MODEL or PRESET would cost on a device that is not here.

    A roofline estimate from multiply-accumulates, bytes moved and published peaks: a range, with
    its assumptions. It is never a measurement; on the device `hyperseg bench` takes one.
    """
    target = None if json_to in (None, STDOUT) else Path(str(json_to))
    if target is not None and (why := why_unwritable(target)) is not None:
        raise OptionError(f"cannot write {target}: {why}")
    # Imported here: `--help` and a wrong option need no torch.
    from export.estimate.estimate import estimate_report

    report = estimate_report(subject, targets, size=size, cameras=cameras, sweep=sweep)
    if target is not None:
        report.write(target)
    if json_to == STDOUT:
        click.echo(report.to_json(), nl=False)
    elif not quiet:
        from export.estimate.display import print_estimate

        print_estimate(report)
