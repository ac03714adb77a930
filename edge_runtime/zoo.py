"""The models that come with the package: ``edge_runtime/models/NAME.onnx`` and their manifests."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.artifacts import read_manifest
from edge_runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_runtime.artifacts import Manifest

MODELS_FOLDER = Path(__file__).resolve().parent / "models"


@dataclass(frozen=True)
class ShippedModel:
    """A model that is there without being trained or exported first."""

    name: str
    """What is typed in place of a path: the file's name without its suffix."""
    path: Path
    manifest: Manifest


def list_models(folder: Path | None = None) -> tuple[ShippedModel, ...]:
    """The shipped models by name; their manifests are read, the files' hashes are not compared.

    Args:
        folder: where to look; None takes the package's own.

    Raises:
        ManifestError: a model's manifest is missing or malformed.
    """
    return tuple(
        ShippedModel(path.stem, path, read_manifest(path, kind="onnx", verify=False))
        for path in _files(folder)
    )


def resolve_model(text: str, folder: Path | None = None, *, others: Iterable[str] = ()) -> Path:
    """The file meant by `text`: an existing path first, then the name of a shipped model.

    Args:
        text: as typed where MODEL stands on the command line.
        folder: where the shipped ones lie; None takes the package's own.
        others: names that are understood there, too, and may have been meant.

    Raises:
        ArtifactError: neither; the message names the shipped models that come nearest.
    """
    path = Path(text)
    if _exists(path):
        return path
    shipped = {file.stem: file for file in _files(folder)}
    if text in shipped:
        return shipped[text]
    near = get_close_matches(path.stem, [*shipped, *others], cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`hyperseg models` lists the shipped"
    raise ArtifactError(f"no model {text!r}: neither a file nor a shipped model; {hint}")


def shipped_names() -> list[str]:
    """What may be typed for the shipped models; no manifest is read."""
    return [file.stem for file in _files(None)]


def is_non_commercial(license: str) -> bool:
    """Whether a licence's text forbids commercial use, which whoever runs the weights is told."""
    text = license.lower()
    return "non-commercial" in text or "noncommercial" in text or "-nc" in text


def _files(folder: Path | None) -> list[Path]:
    return sorted((folder or MODELS_FOLDER).glob("*.onnx"))


def _exists(path: Path) -> bool:
    # A folder counts too, so that whoever opens it says that it is one.
    try:
        return path.exists()
    except OSError:  # such as a name longer than the file system allows
        return False
