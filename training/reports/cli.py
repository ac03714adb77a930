"""Verb ``report``: the learning curve of a run, and the card of a model."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("subject", type=click.Path(path_type=Path))
@click.option(
    "--run", type=click.Path(path_type=Path), help="The training run that a model comes from."
)
@click.option(
    "--eval", "reports", type=click.Path(path_type=Path), multiple=True,
    help="JSON of `hyperseg eval`, for the card's table; may be given more than once.",
)  # fmt: skip
def report(subject: Path, run: Path | None, reports: tuple[Path, ...]) -> None:
    """Draw the curve of a training, write the card of a model, or make a page of a report.

    Of a run's folder the curve goes into curve.png and the card beside its checkpoint. Of a
    checkpoint or exported model the card is written beside it as FILE.md. Of the JSON that
    `hyperseg run` and `hyperseg soak` write, a page is written beside it as FILE.html.
    """
    if subject.suffix == ".json":
        from edge_runtime.page.files import read_report, write_page

        page = subject.with_suffix(".html")
        write_page(page, read_report(subject))
        click.echo(f"wrote {page}")
        return
    from training.reports.card import CHECKPOINT, write_card

    if subject.is_dir():
        from training.reports.curve import draw_curve

        click.echo(f"wrote {draw_curve(subject)}")
        click.echo(f"wrote {write_card(subject / CHECKPOINT, run=subject, reports=reports)}")
        return
    click.echo(f"wrote {write_card(subject, run=run, reports=reports)}")
