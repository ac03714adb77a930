"""The verb `element`: makes the GStreamer element known to gst-launch."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

_FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of plugins, for GST_PLUGIN_PATH.  [default: ~/.gstreamer-1.0/plugins]",
)


@click.group()
def element() -> None:
    """Offer the GStreamer element hypersegfilter to gst-launch."""


@element.command()
@_FOLDER
def install(folder: Path | None) -> None:
    """Write the plugin file that GStreamer's Python loader reads."""
    from edge_runtime.element.install import default_folder
    from edge_runtime.element.install import install as write

    place = write(folder or default_folder())
    click.echo(f"wrote {place}")
    if folder is not None:
        # Single-quoted where needed; what was set before stays in force.
        path = shlex.quote(str(folder.absolute()))
        click.echo(f"export GST_PLUGIN_PATH={path}${{GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}}")
    click.echo("`hyperseg element check` proves that it is found")


@element.command()
@_FOLDER
def check(folder: Path | None) -> None:
    """Prove with gst-inspect-1.0 that GStreamer finds the element."""
    from edge_runtime.element import NAME
    from edge_runtime.element.install import check as inspect

    inspect(folder)
    click.echo(f"gst-inspect-1.0 finds {NAME}")
