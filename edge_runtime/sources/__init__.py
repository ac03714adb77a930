"""Where frames come from: cameras, streams, videos, images and test pictures, all by GStreamer."""

from __future__ import annotations

from edge_runtime.sources.open import SourceOpener, open_source

__all__ = ["SourceOpener", "open_source"]
