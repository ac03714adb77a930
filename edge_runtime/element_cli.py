"""The verb `element`: makes the GStreamer element known to gst-launch."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_runtime.cli_options import reporting
from edge_runtime.command_group import SuggestingGroup

if TYPE_CHECKING:
    from edge_runtime.cli_options import Output

_FOLDER = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of plugins, for GST_PLUGIN_PATH.  [default: ~/.gstreamer-1.0/plugins]",
)


@click.group(cls=SuggestingGroup)
def element() -> None:
    """Offer the GStreamer element hypersegfilter to gst-launch."""


@element.command()
@_FOLDER
@reporting
def install(folder: Path | None, output: Output) -> None:
    """Write the plugin file that GStreamer's Python loader reads."""
    from edge_runtime.element.install import default_folder
    from edge_runtime.element.install import install as write

    place = write(folder or default_folder())
    output.deliver_facts("element", {"file": place})
    output.tell(f"wrote {place}")
    if folder is not None:
        # Single-quoted where needed; what was set before stays in force.
        path = shlex.quote(str(folder.absolute()))
        output.tell(f"export GST_PLUGIN_PATH={path}${{GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}}")
    output.tell("`hyperseg element check` proves that it is found")


@element.command()
@_FOLDER
@reporting
def check(folder: Path | None, output: Output) -> None:
    """Prove with gst-inspect-1.0 that GStreamer finds the element."""
    from edge_runtime.element import NAME
    from edge_runtime.element.install import check as inspect

    inspect(folder)
    output.deliver_facts("element-check", {"element": NAME, "found": True})
    output.tell(f"gst-inspect-1.0 finds {NAME}")
