"""Asked in a process of its own: does GStreamer load, and what has it?

Run as a script with names of elements; prints one JSON object. It imports nothing of ours, so that
a broken plugin or binding ends this process and not the doctor.
"""

from __future__ import annotations

import json
import sys
import time


def main(names: list[str]) -> None:
    """Print what there is.

    Args:
        names: of elements.
    """
    begin = time.monotonic()
    try:
        import gi

        gi.require_version("Gst", "1.0")
        for name in ("GstApp", "GstPbutils", "GstVideo"):
            gi.require_version(name, "1.0")
        from gi.repository import Gst
    except (ImportError, ValueError) as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))  # noqa: T201
        return
    Gst.init(None)
    plugins = Gst.Registry.get().get_plugin_list()
    blacklisted = [
        plugin.get_filename() or plugin.get_name()
        for plugin in plugins
        if plugin.flags & Gst.PluginFlags.BLACKLISTED
    ]
    answer = {
        "version": ".".join(map(str, Gst.version()[:3])),
        "bindings": str(gi.__file__),
        "elements": [name for name in names if Gst.ElementFactory.find(name) is not None],
        "plugins": len(plugins),
        "blacklisted": sorted(blacklisted),
        "loads_python": Gst.Registry.get().find_plugin("python") is not None,
        "took_s": time.monotonic() - begin,
    }
    print(json.dumps(answer))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
