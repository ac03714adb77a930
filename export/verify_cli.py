"""Verb ``verify``; torch, onnx and onnxruntime are imported by its body only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.cli_options import reporting
from edge_runtime.completion import candidates
from edge_runtime.errors import EXIT_GATE
from edge_runtime.report_file import json_text
from edge_runtime.shared_options import report_option, threads_option
from edge_runtime.sizes import parse_size
from export.verify.options import VerifyOptions

if TYPE_CHECKING:
    from typing import Any

    from edge_runtime.cli_options import Output


@click.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="CHECKPOINT|MODEL...",
    shell_complete=candidates.models,
)  # fmt: skip
@click.option("--size", type=parse_size, metavar="HxW", help="For a checkpoint alone.")
@click.option(
    "--source", shell_complete=candidates.sources,
    help="Frames to compare on, as in `run`; drawn from the seed if absent.",
)  # fmt: skip
@click.option(
    "--data", metavar="DATA", shell_complete=candidates.data,
    help="Labelled pictures to compare on, such as camvid:DIR; forms are scored too.",
)  # fmt: skip
@click.option(
    "--split", type=click.Choice(("train", "val", "test")), default=VerifyOptions.split,
    show_default=True, help="Which of them.",
)  # fmt: skip
@click.option("--frames", type=int, default=VerifyOptions.frames, show_default=True)
@click.option(
    "--seed", type=int, default=VerifyOptions.seed, show_default=True,
    help="Of the drawn frames and of the rounding that is tried.",
)  # fmt: skip
@click.option("--nodes", is_flag=True, help="Find the first node where each form parts.")
@click.option(
    "--gate", type=float, default=VerifyOptions.gate, show_default=True,
    help="Allowed error in noise floors; exit 3 beyond it.",
)  # fmt: skip
@click.option("--min-agreement", type=float, help="Also fail below this share of pixels (0..1).")
@report_option
@click.option("--html", type=click.Path(path_type=Path), metavar="F.html", help="Also the page.")
@threads_option
@reporting
@click.pass_context
def verify(ctx: click.Context, /, files: tuple[str, ...], output: Output, **values: Any) -> None:
    """Prove that all forms of a network are the same network.

    Give its checkpoint and what was made of it: FP32, FP16 and INT8 models, engines. Each form is
    compared with the first one on the same frames, and may differ by no more than a few times what
    rounding alone does to this network in that precision. What is not there is listed as not done.
    """
    options = VerifyOptions(**values)
    from edge_runtime.page.files import is_page
    from edge_runtime.progress import steps
    from export.verify.page import page
    from export.verify.report import as_json as plain
    from export.verify.report import remarks, table
    from export.verify.verify import verify as run

    with steps("verifying", quiet=output.quiet) as say:
        verification, samples = run(files, options, say)
    text = json_text(plain(verification))
    for place in (options.report, options.html):
        if place is not None:
            shown = place == options.html or is_page(place)
            write_text_atomic(place, page(verification, samples) if shown else text)
    output.deliver(lambda: text)
    if output.shows:
        from rich.console import Console

        Console(soft_wrap=True).print(table(verification))
        for line in remarks(verification):
            click.echo(line)
    if not verification.passed:
        ctx.exit(EXIT_GATE)
