"""Where the metrics of a run are served: ``[ADDR:]PORT``."""

from __future__ import annotations

from edge_runtime.errors import OptionError
from edge_runtime.sinks.messages.address import Endpoint, parse_endpoint

LOCAL = "127.0.0.1"


def parse_listen(text: str) -> Endpoint:
    """The address of ``PORT`` (of this machine only), ``ADDR:PORT`` or ``[IPV6]:PORT``.

    Raises:
        OptionError: it is none.
    """
    try:
        return parse_endpoint(f"{LOCAL}:{text}" if text.isdigit() else text)
    except OptionError as error:
        raise OptionError(
            f"metrics {text!r}: {error}; give PORT, or an address of this machine with it, as in "
            "0.0.0.0:9101"
        ) from error
