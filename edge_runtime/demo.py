"""The demonstration: our own street, as a camera would deliver it, segmented and scored.

Street scenes are rendered with their exact labels, encoded as an H.264 file, played back through
GStreamer, segmented by a shipped model, and compared with the labels after the run, so that the
comparison costs the run nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_runtime.artifacts import atomic_file, read_manifest, write_text_atomic
from edge_runtime.errors import ArtifactError, OptionError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.metrics import ConfusionMatrix
from edge_runtime.options import RunOptions
from edge_runtime.overlay import Overlay
from edge_runtime.progress import bar
from edge_runtime.runner import run
from edge_runtime.sinks.encoders import h264_launch
from edge_runtime.sinks.writer import GstWriter, RawVideo
from edge_runtime.street import StreetCamera, StreetOptions
from edge_runtime.zoo import resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_runtime.artifacts import Manifest
    from edge_runtime.metrics import Scores
    from edge_runtime.report import LatencyReport
    from edge_runtime.result import Result

FPS = 30.0


@dataclass(frozen=True)
class DemoOptions:
    """What is shown, and where it goes.

    Raises:
        OptionError: no frames.
    """

    folder: Path
    """Gets ``street.mp4``, ``overlay.mp4``, ``preview.png``, ``report.json``, ``scores.json``."""
    model: str = "street-edge-n"
    """A model of the street classes: a shipped name or a path."""
    frames: int = 150
    """Length of the clip, at 30 frames a second."""
    size: tuple[int, int] = (540, 960)
    """(height, width) of the clip; another than the model's input, as a camera's is."""
    seed: int = 1000
    """Of the street; far from those the model was trained on."""
    quiet: bool = False
    """Show neither a bar nor a live line on stderr."""

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise OptionError(f"a clip of {self.frames} frames shows nothing; give at least 1")


@dataclass(frozen=True)
class DemoOutcome:
    """What came of it."""

    report: LatencyReport
    scores: Scores


def demonstrate(options: DemoOptions, say: Callable[[str], None] = lambda _: None) -> DemoOutcome:
    """Run the demonstration.

    Args:
        options: clip, model, folder.
        say: takes progress lines.

    Raises:
        ArtifactError: the model is missing, damaged, or of other classes.
        OptionError: the folder cannot be written.
        SourceError, SinkError: GStreamer lacks a decoder or an encoder.
    """
    manifest = _street_model(options.model)
    folder = options.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make {folder}: {error.strerror}; choose another -o") from error
    clip = folder / "street.mp4"
    say(f"drawing {options.frames} frames of a street and encoding them as H.264")
    with bar("drawing", quiet=options.quiet) as progress:
        labels = write_clip(clip, options, progress)
    say(f"playing {clip} through GStreamer and segmenting every frame")
    masks: dict[int, NDArray[np.uint8]] = {}

    def keep(result: Result) -> None:
        if result.mask is not None:
            masks[result.index] = result.mask.copy()
            if result.index == options.frames // 2:
                preview.append(Overlay(manifest.labels).draw(result))

    preview: list[NDArray[np.uint8]] = []
    report = run(
        options.model,
        str(clip),
        RunOptions(
            policy="every",
            sinks=(str(folder / "overlay.mp4"),),
            report=folder / "report.json",
            quiet=options.quiet,
        ),
        on_result=keep,
    )
    scores = score(manifest, labels, masks)
    write_text_atomic(folder / "scores.json", json.dumps(scores.as_json(), indent=2) + "\n")
    if preview:
        _write_png(folder / "preview.png", preview[0])
    return DemoOutcome(report, scores)


def write_clip(
    path: Path, options: DemoOptions, progress: Callable[[int, int], None] = lambda *_: None
) -> list[NDArray[np.uint8]]:
    """Render and encode the clip; return the exact labels of its frames, (H, W) uint8 each.

    Args:
        path: the file.
        options: length, size and seed.
        progress: takes (frames done, of all).

    Raises:
        SinkError: no encoder, or the file cannot be written.
        OptionError: the folder cannot be written.
    """
    camera = StreetCamera(StreetOptions(size=options.size, seed=options.seed, fps=FPS))
    video = RawVideo("BGR", options.size, FPS)
    labels = []
    with atomic_file(path) as part:
        writer = GstWriter(str(path), f"{h264_launch(options.size)} ! mp4mux", video, part)
        try:
            for index in range(options.frames):
                image, ids = camera.frame(index)
                writer.push(image, round(index * 1e9 / FPS))
                labels.append(ids)
                progress(index + 1, options.frames)
            writer.finish()
        finally:
            writer.stop()
    return labels


def score(
    manifest: Manifest, labels: list[NDArray[np.uint8]], masks: dict[int, NDArray[np.uint8]]
) -> Scores:
    """Compare masks, by frame index and at network size, with labels at frame size."""
    matrix = ConfusionMatrix(manifest.labels)
    for index, mask in masks.items():
        shape = labels[index].shape
        frame = FrameGeometry((shape[0], shape[1]), manifest.input_size, manifest.preprocess.resize)
        matrix.update(labels[index], frame.mask_to_frame(mask))
    return matrix.scores()


def _street_model(model: str) -> Manifest:
    manifest = read_manifest(resolve_model(model), kind="onnx")
    if manifest.labels.name != "street-8":
        raise ArtifactError(
            f"model {model!r} knows the classes {manifest.labels.name}; the demonstration's street "
            "has exact labels for street-8: use `hyperseg run` for other models"
        )
    return manifest


def _write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    _, png = cv2.imencode(".png", picture)
    with atomic_file(path) as part:
        part.write_bytes(png.tobytes())
