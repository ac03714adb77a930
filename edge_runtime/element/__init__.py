"""The GStreamer element ``hypersegfilter``: a network in any pipeline, also one of gst-launch.

    ... ! videoconvert ! hypersegfilter model=street-edge-n ! videoconvert ! ...

`register` makes it known to this process. For gst-launch, ``hyperseg element install`` writes a
plugin file that GStreamer's Python loader finds (`edge_runtime.element.install`). Importing this
package loads neither GStreamer nor a model.
"""

from __future__ import annotations

NAME = "hypersegfilter"
"""Of the element, as factories and launch texts write it."""
META = "hyperseg-mask"
"""Name of the custom meta that carries the mask of a buffer."""


def register() -> None:
    """Make the element known to this process, so that launch texts and factories find it.

    Raises:
        DependencyError: GStreamer or its Python bindings are missing, or it refused the element.
    """
    from edge_runtime.errors import DependencyError
    from edge_runtime.gst import Gst

    found = Gst.ElementFactory.find(NAME)
    # Imported here: the class registers a type with GStreamer.
    from edge_runtime.element.filter import HypersegFilter

    if found is not None and found.get_element_type() == HypersegFilter.__gtype__:
        return
    if not Gst.Element.register(None, NAME, Gst.Rank.NONE, HypersegFilter):
        raise DependencyError(f"GStreamer refused to register {NAME!r}; see GST_DEBUG=3")
