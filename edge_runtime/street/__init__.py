"""A procedural street: data set, video clip and camera in one, with exact labels.

Nothing is downloaded and nothing is random but by seed: `StreetCamera` delivers frame after frame
of a drive along the street of a seed, `write_dataset` writes frames of many streets as files.
Labels are train ids of `edge_runtime.labels.STREET_8`.
"""

from __future__ import annotations

from edge_runtime.street.camera import StreetCamera, StreetOptions
from edge_runtime.street.dataset import write_dataset

__all__ = ["StreetCamera", "StreetOptions", "write_dataset"]
