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
    """Draw the curve of a run, or write the card of a model.

    Of a run's folder the curve goes into curve.png and the card beside its checkpoint. Of a
    checkpoint or exported model the card is written beside it as FILE.md.
    """
    from training.reports.card import CHECKPOINT, write_card

    if subject.is_dir():
        from training.reports.curve import draw_curve

        click.echo(f"wrote {draw_curve(subject)}")
        click.echo(f"wrote {write_card(subject / CHECKPOINT, run=subject, reports=reports)}")
        return
    click.echo(f"wrote {write_card(subject, run=run, reports=reports)}")
