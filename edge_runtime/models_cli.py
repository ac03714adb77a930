"""The verb `models`: what is shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edge_runtime.cli_options import reporting

if TYPE_CHECKING:
    from edge_runtime.cli_options import Output
    from edge_runtime.zoo import ShippedModel


@click.command()
@reporting
def models(output: Output) -> None:
    """List the shipped models; their names are accepted wherever MODEL stands."""
    from edge_runtime.zoo import list_models

    shipped = list_models()
    output.deliver_facts("models", {"models": [_describe(model) for model in shipped]})
    if not shipped:
        output.tell("No models are shipped with this installation; `hyperseg export` makes one.")
    elif output.shows:
        _print_table(shipped)


def _describe(model: ShippedModel) -> dict[str, Any]:
    manifest = model.manifest
    return {
        "name": model.name,
        "path": str(model.path),
        "input": list(manifest.input_size),
        "classes": len(manifest.labels),
        "parameters": manifest.parameters,
        "macs": manifest.macs,
        "license": manifest.license,
        "metrics": manifest.metrics,
    }


def _print_table(shipped: tuple[ShippedModel, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    from edge_runtime.zoo import is_non_commercial

    table = Table(box=None, header_style="bold")
    table.add_column("name", no_wrap=True)
    for heading in ("input", "classes", "parameters", "MACs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("accuracy")
    for model in shipped:
        manifest = model.manifest
        height, width = manifest.input_size
        table.add_row(
            model.name,
            f"{height}x{width}",
            str(len(manifest.labels)),
            _scaled(manifest.parameters),
            _scaled(manifest.macs),
            "; ".join(f"{m.name} {m.value:.3f} on {m.data}" for m in manifest.metrics) or "-",
        )
    console = Console()
    console.print(table)
    for model in shipped:
        if is_non_commercial(model.manifest.license):
            console.print(f"{model.name}: {model.manifest.license}", soft_wrap=True)


def _scaled(count: int | None) -> str:
    """A count in thousands, millions or billions, such as ``1.9 M``."""
    if count is None:
        return "-"
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return str(count)
