"""The verb `demo`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path, file_okay=False),
    default=Path("hyperseg-demo"), show_default=True, help="Folder for what comes out.",
)  # fmt: skip
@click.option("--model", help="Another model of the street classes.")
@click.option("--frames", type=int, help="Length of the clip at 30 frames/s.  [default: 150]")
@click.option("--json", "as_json", is_flag=True, help="Print scores and report as JSON.")
def demo(folder: Path, model: str | None, frames: int | None, as_json: bool) -> None:
    """Segment our own street clip; show its latency and its mIoU against the exact labels.

    Clip -> H.264 file -> GStreamer -> network -> mask -> overlay video. Needs no GPU, no camera and
    no download.
    """
    from edge_runtime.demo import DemoOptions, demonstrate

    given = {"model": model, "frames": frames}
    options = DemoOptions(folder, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    outcome = demonstrate(options, say=lambda line: click.echo(line, err=True))
    if as_json:
        import json

        both = {"scores": outcome.scores.as_json(), "report": json.loads(outcome.report.to_json())}
        click.echo(json.dumps(both, indent=2))
        return
    from edge_runtime.display import print_report

    print_report(outcome.report)
    click.echo(f"\nmIoU against the exact labels: {100 * outcome.scores.miou:.1f}")
    for name, value in outcome.scores.iou.items():
        click.echo(f"  {name:<14}{'-' if value is None else f'{100 * value:5.1f}'}")
    click.echo(f"\nlook at {folder / 'overlay.mp4'} (one frame of it: {folder / 'preview.png'})")
