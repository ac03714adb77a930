"""Verb ``verify``; torch, onnx and onnxruntime are imported by its body only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.artifacts import write_text_atomic
from export.import_cli import parse_size
from export.verify.options import VerifyOptions

if TYPE_CHECKING:
    from typing import Any

EXIT_GATE = 3
"""A form is further from the reference than its gate allows."""


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="CHECKPOINT|MODEL...")
@click.option("--size", callback=parse_size, metavar="HxW", help="For a checkpoint alone.")
@click.option("--source", help="Frames to compare on, as in `run`; drawn from the seed if absent.")
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
@click.option("--report", type=click.Path(path_type=Path), metavar="F.json", help="Write JSON.")
@click.option("--html", type=click.Path(path_type=Path), metavar="F.html", help="Write a page.")
@click.option("--threads", type=int, metavar="N", help="CPU threads.  [default: one per core]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@click.pass_context
def verify(ctx: click.Context, /, files: tuple[str, ...], as_json: bool, **values: Any) -> None:
    """Prove that all forms of a network are the same network.

    Give its checkpoint and what was made of it: FP32, FP16 and INT8 models, engines. Each form is
    compared with the first one on the same frames, and may differ by no more than a few times what
    rounding alone does to this network in that precision. What is not there is listed as not done.
    """
    options = VerifyOptions(**values)
    from export.verify.report import as_json as plain
    from export.verify.report import page, remarks, table
    from export.verify.verify import verify as run

    verification, sample = run(files, options, lambda line: click.echo(line, err=True))
    text = json.dumps(plain(verification), indent=2) + "\n"
    if options.report is not None:
        write_text_atomic(options.report, text)
    if options.html is not None:
        write_text_atomic(options.html, page(verification, sample))
    if as_json:
        click.echo(text, nl=False)
    else:
        from rich.console import Console

        Console(soft_wrap=True).print(table(verification))
        for line in remarks(verification):
            click.echo(line)
    if not verification.passed:
        ctx.exit(EXIT_GATE)
