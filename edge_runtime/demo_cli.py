"""The verb `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting

if TYPE_CHECKING:
    from edge_runtime.cli_options import Output


@click.command()
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path, file_okay=False),
    default=Path("hyperseg-demo"), show_default=True, help="Folder for what comes out.",
)  # fmt: skip
@click.option("--model", help="Another model of the street classes.")
@click.option("--frames", type=int, help="Length of the clip at 30 frames/s.  [default: 150]")
@reporting
def demo(folder: Path, model: str | None, frames: int | None, output: Output) -> None:
    """Segment our own street clip; show its latency and its mIoU against the exact labels.

    Clip -> H.264 file -> GStreamer -> network -> mask -> overlay video. Needs no GPU, no camera and
    no download.
    """
    import json

    from edge_runtime.demo import DemoOptions, demonstrate

    given = {"model": model, "frames": frames, "quiet": output.quiet}
    options = DemoOptions(folder, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    outcome = demonstrate(options, say=output.say)
    report = json.loads(outcome.report.to_json())
    output.deliver_facts("demo", {"scores": outcome.scores.as_json(), "report": report})
    if not output.shows:
        return
    from edge_runtime.display import print_report

    print_report(outcome.report)
    click.echo(f"\nmIoU against the exact labels: {100 * outcome.scores.miou:.1f}")
    for name, value in outcome.scores.iou.items():
        click.echo(f"  {name:<14}{'-' if value is None else f'{100 * value:5.1f}'}")
    click.echo(f"\nlook at {folder / 'overlay.mp4'} (one frame of it: {folder / 'preview.png'})")
