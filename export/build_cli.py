"""Verb ``build``; onnx and TensorRT are imported by its body only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.cli_options import reporting
from edge_runtime.shared_options import model_argument
from export.tensorrt.capabilities import RECORDED, RUNTIMES
from export.tensorrt.options import AUTO, HARDWARE, TYPINGS, BuildOptions

if TYPE_CHECKING:
    from edge_runtime.cli_options import Output
    from export.tensorrt.build import Built, Prepared

_PRECISIONS = ("fp32", "fp16", "int8")


@click.command()
@model_argument
@click.option(
    "-o", "--output", "place", type=click.Path(path_type=Path),
    help="F.engine; kept in the store under its key if not given.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(_PRECISIONS), default=BuildOptions.precision,
    show_default=True,
    help="fp16 also takes an FP32 model; int8 needs one of `hyperseg calibrate`.",
)  # fmt: skip
@click.option(
    "--runtime", type=click.Choice(RUNTIMES), default=BuildOptions.runtime, show_default=True,
    help="tensorrt builds for this device; tensorrt_rtx ahead of time for RTX cards.",
)  # fmt: skip
@click.option(
    "--typing", type=click.Choice(TYPINGS), default=BuildOptions.typing, show_default=True,
    help="strong: the graph's types; weak: builder flags (TensorRT 10 only).",
)  # fmt: skip
@click.option(
    "--workspace", "workspace_mib", type=int, metavar="MIB",
    help="Scratch memory of a layer; chosen for boards with 8 GB and less.",
)  # fmt: skip
@click.option(
    "--timing-cache", default=AUTO, show_default=True, metavar="auto|none|FILE",
    help="Tactic timings kept per device and version.",
)  # fmt: skip
@click.option("--dla", "dla_core", type=int, metavar="CORE", help="Build for a DLA core.")
@click.option(
    "--target", "targets", multiple=True, metavar="CC",
    help="Compute capability such as 8.6 (tensorrt_rtx only); may be repeated.",
)  # fmt: skip
@click.option(
    "--hardware", type=click.Choice(HARDWARE), default=BuildOptions.hardware, show_default=True,
    help="Let other GPUs load the engine, at the cost of speed; not on a Jetson.",
)  # fmt: skip
@click.option("--version-compatible", is_flag=True, help="Let later 10.x (11.x) load it too.")
@click.option(
    "--calibration-cache", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Of TensorRT 10, for --typing weak.",
)  # fmt: skip
@click.option("--store", type=click.Path(path_type=Path), help="Folder of engines and caches.")
@click.option("--force", is_flag=True, help="Build even if the same engine is there.")
@click.option("--explain", "explains", is_flag=True, help="Say what would be done; do nothing.")
@click.option(
    "--as", "described_as", type=click.Choice(RECORDED),
    help="With --explain: for that TensorRT, without having it.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Every check, the real parser included; no build.")
@reporting
def build(
    model: str,
    place: Path | None,
    explains: bool,
    described_as: str | None,
    dry_run: bool,
    output: Output,
    **values: Any,
) -> None:
    """Make an engine of MODEL for TensorRT or TensorRT-RTX.

    The builder runs in a process of its own: Ctrl-C ends it, and whatever happens to it leaves the
    previous engine as it was. What was built is read back: FP16 or INT8 that was asked for but not
    built is an error.
    """
    from edge_runtime.errors import OptionError
    from edge_runtime.progress import steps
    from edge_runtime.zoo import resolve_model
    from export.tensorrt.build import build as make
    from export.tensorrt.build import check, prepare

    if described_as and not explains:
        raise OptionError("--as goes with --explain: nothing is built for an absent TensorRT")
    wanted = BuildOptions(resolve_model(model), output=place, **values)
    prepared = prepare(wanted, described_as)
    if explains:
        plan = _plan(prepared, output)
        output.deliver_facts("build-plan", {"plan": plan})
        return
    if dry_run:
        plan = _plan(prepared, output)
        result = check(prepared)
        output.deliver_facts("build-plan", {"plan": plan, "parse_s": result.parse_s})
        output.tell(f"parsed in {result.parse_s:.2f} s; nothing was built (--dry-run)")
        return
    with steps("building", quiet=output.quiet) as say:
        built = make(prepared, say)
    output.deliver_facts("build", _facts(built))
    if output.shows:
        print_built(built)


def _plan(prepared: Prepared, output: Output) -> list[tuple[str, str]]:
    """The plan, which is shown as a table."""
    from export.tensorrt.explain import explain

    rows = explain(
        prepared.plan, prepared.identity, prepared.output, prepared.can, prepared.gpu,
        prepared.steps,
    )  # fmt: skip
    if output.shows:
        _print(rows)
    return rows


def _facts(built: Built) -> dict[str, Any]:
    import msgspec

    return {
        "engine": built.path,
        "bytes": built.path.stat().st_size,
        "reused": built.reused,
        "key": built.manifest.options["engine_key"],
        "layers": built.precisions.layers,
        "layers_from": built.precisions.source,
        "warnings": built.warnings,
        "manifest": msgspec.to_builtins(built.manifest),
    }


def print_built(built: Built) -> None:
    """What was built as a table."""
    facts = built.manifest.options
    layers = ", ".join(f"{n} {kind}" for kind, n in sorted(built.precisions.layers.items()))
    words = "is there already" if built.reused else f"built in {facts['build_s']:.1f} s"
    _print(
        [
            ("engine", f"{built.path} ({built.path.stat().st_size / 1e6:.1f} MB), {words}"),
            ("layers", f"{layers} (from the {built.precisions.source})"),
            ("cache key", facts["engine_key"]),
            *(("warning", text) for text in built.warnings),
            ("note", facts["label"]),
        ]
    )


def _print(rows: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    for title, text in rows:
        table.add_row(title, Text(text, overflow="fold"))
    Console(soft_wrap=True).print(table)
