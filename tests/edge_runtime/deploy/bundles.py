"""Small bundles whose model is no network: they are for what verifies, not for what infers."""

from __future__ import annotations

from pathlib import Path

from edge_runtime import __version__
from edge_runtime.artifacts import manifest_path
from edge_runtime.deploy import signing
from edge_runtime.deploy.bundle import Made
from edge_runtime.deploy.index import (
    CALIBRATION,
    MANIFEST,
    MODEL,
    Index,
    SignedIndex,
    encode_index,
    make_entry,
)


def bundle_of(model: Path, key: Path | None = None) -> Made:
    """A bundle of a model and a calibration table."""
    table = model.with_name("table")
    table.write_text("TRT-100300-EntropyCalibration2\nframe: 3c010a14\n")
    files = {MODEL: model, MANIFEST: manifest_path(model), CALIBRATION: table}
    entries = tuple(make_entry(path, name) for name, path in files.items())
    index = Index("tiny", __version__, entries)
    raw = encode_index(index)
    return Made(SignedIndex(raw, index, None if key is None else signing.sign(raw, key)), files)
