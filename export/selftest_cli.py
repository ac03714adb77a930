"""Verb ``selftest``; everything heavy is imported by its body only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.artifacts import write_text_atomic
from edge_runtime.cli_options import reporting
from edge_runtime.completion import candidates
from edge_runtime.errors import EXIT_GATE
from edge_runtime.report_file import json_text
from edge_runtime.shared_options import threads_option

if TYPE_CHECKING:
    from typing import Any

    from edge_runtime.cli_options import Output
    from export.selftest.account import Selftest


@click.command()
@click.argument("model", default="street-edge-n", shell_complete=candidates.models)
@click.option(
    "-o", "--output", "place", type=click.Path(path_type=Path), required=True, metavar="F.json",
    help="The account, to publish.",
)  # fmt: skip
@click.option(
    "--folder", type=click.Path(path_type=Path),
    help="For models and engines.  [default: a temporary one]",
)  # fmt: skip
@click.option("--int8", type=click.Path(path_type=Path), help="INT8 model; calibrated if absent.")
@click.option(
    "--runtime", type=click.Choice(["tensorrt", "tensorrt_rtx"]),
    help="Which TensorRT; the one that is installed if not given.",
)  # fmt: skip
@click.option("--duration", "duration_s", type=float, default=3.0, show_default=True, metavar="S")
@threads_option
@reporting
@click.pass_context
def selftest(
    ctx: click.Context,
    /,
    model: str,
    place: Path,
    folder: Path | None,
    output: Output,
    **values: Any,
) -> None:
    """Build, prove and measure every precision of MODEL on this machine; write one JSON.

    Engines of FP32, FP16 and INT8 are built, compared with the ONNX model, and timed by trtexec's
    definitions. Without a GPU what ONNX Runtime can do is done, and the rest is listed as not run.
    """
    import tempfile

    from edge_runtime.places import why_unwritable
    from export.selftest.account import SelftestOptions
    from export.selftest.selftest import selftest as run

    if (reason := why_unwritable(place)) is not None:
        raise click.UsageError(f"cannot write {place}: {reason}")
    with tempfile.TemporaryDirectory(prefix="hyperseg-selftest-") as aside:
        options = SelftestOptions(folder=folder or Path(aside), model=model, **values)
        # Lines only: a bar that moves would take its share of what is timed.
        test = run(options, output.say)
    text = json_text(test.as_json())
    write_text_atomic(place, text)
    output.deliver(lambda: text)
    for line in lines(test):
        output.tell(line)
    if not test.passed:
        ctx.exit(EXIT_GATE)


def lines(test: Selftest) -> list[str]:
    """The account for a terminal, one line an entry."""
    shown = []
    for entry in test.entries:
        text = f"{entry.status:8} {entry.step:10} {entry.what}"
        if entry.step == "latency" and entry.result:
            latency = entry.result["latency_ms"]
            text += (
                f": median {latency['median']:.3f} ms, p99 {latency['percentiles']['p99']:.3f} ms, "
                f"{entry.result['throughput_qps']:.1f} queries/s ({entry.result['backend']})"
            )
        elif entry.step == "build" and entry.result:
            text += f": {entry.result['label']}"
        elif entry.reason:
            text += f": {entry.reason}"
        shown.append(text)
    return shown
