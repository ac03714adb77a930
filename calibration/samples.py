"""Calibration frames from a folder, a video, a camera or a labelled split, chosen and recorded.

The chosen frames are stored in a working folder with ``samples.json``, which says what they are. A
calibration that is started again finds them there, even those of a camera, and goes on with them,
unless the files they came from have changed since.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from calibration.frames import Sample, StoredFrames, fit, pixel_hash, store, stored_at
from calibration.labelled import is_labelled, open_labelled
from calibration.selection import Candidates
from edge_runtime.artifacts import sha256_of, write_text_atomic
from edge_runtime.errors import OptionError, SourceError
from edge_runtime.geometry import FrameGeometry
from edge_runtime.pixels import require_rgb
from edge_runtime.places import files_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from calibration.labelled import Labelled, Split
    from edge_runtime.artifacts import Manifest

RECORD = "samples.json"
YUV_REMEDY = (
    "calibrate its RGB form with --policy ort-cpu, or with the first convolution in --exclude, "
    "then `hyperseg export INT8.onnx --input nv12`"
)
"""The conversion of colours goes into the first convolution, which must be FP32 for that."""
LIVE_POOL = 4
"""Distinct frames of a live source that are looked at, per frame wanted."""
READ_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class SampleOptions:
    """What to calibrate on.

    Raises:
        OptionError: no frames are wanted.
    """

    source: str
    """Labelled images, see `calibration.labelled`, a folder of images, or any source of `run`."""
    count: int = 64
    """Frames to choose."""
    split: Split = "train"
    """Of labelled images."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise OptionError(f"--samples is {self.count}; at least one frame is needed")


@dataclass(frozen=True)
class _Seen:
    """A frame on its way past."""

    name: str
    frame: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None = None
    file: Path | None = None


def gather(
    options: SampleOptions,
    manifest: Manifest,
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
) -> StoredFrames:
    """The chosen frames, stored in `folder`; those of an earlier call with the same options.

    Args:
        options: what to choose from, and how many.
        manifest: of the model: input size, colour order and fit of its frames.
        folder: where to store them; made if need be.
        say: takes a line about where they are from.

    Raises:
        SourceError: the source cannot be read, or has no frame.
        OptionError: the folder cannot be written, or holds another calibration's frames.
        ArtifactError: the model takes YUV frames.
    """
    require_rgb(manifest, YUV_REMEDY)
    preprocess = manifest.preprocess
    request = {
        **asdict(options),
        "files_sha256": _files_hash(options, manifest.input_size),
        "size": list(manifest.input_size),
        "resize": preprocess.resize,
        "color": preprocess.color,
    }
    record = folder / RECORD
    if record.is_file():
        stored = json.loads(record.read_text(encoding="utf-8"))
        if stored["request"] == request:
            samples = [Sample(**sample) for sample in stored["samples"]]
            say(
                f"{len(samples)} frames of {options.source} taken over from an interrupted "
                f"calibration; delete {folder} to choose anew"
            )
            return StoredFrames(folder, samples)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make {folder}: {error.strerror}; choose another -o") from error
    reader = _Reader(options, manifest)
    samples = (
        _choose_live(reader, options, folder) if reader.live else _choose(reader, options, folder)
    )
    text = json.dumps({"request": request, "samples": [asdict(s) for s in samples]}, indent=1)
    write_text_atomic(record, text + "\n")
    say(f"{len(samples)} frames chosen from {options.source}")
    return StoredFrames(folder, samples)


def forget(samples: StoredFrames, folder: Path) -> None:
    """Remove the chosen frames: the next `gather` chooses anew, whatever its source is.

    What was measured on them stays; it is taken up only for the same frames.
    """
    (folder / RECORD).unlink(missing_ok=True)
    for digest in samples.hashes:
        stored_at(folder, digest).unlink(missing_ok=True)


def _files_hash(options: SampleOptions, size: tuple[int, int]) -> str:
    """Hex sha256 of names, sizes and times of change of the files a source is read from."""
    folder = Path(options.source)
    if is_labelled(options.source):
        files = open_labelled(options.source, options.split, size).files()
    elif folder.is_dir():
        from edge_runtime.sources.images import images_in

        files = list(images_in(folder))
    else:
        files = files_named(unquote(options.source))
    states = [(str(path), path.stat()) for path in files]
    facts = [[name, state.st_size, state.st_mtime_ns] for name, state in states]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _choose(reader: _Reader, options: SampleOptions, folder: Path) -> list[Sample]:
    """Look at everything, then read the chosen frames again."""
    candidates = Candidates()
    for seen in reader.frames():
        candidates.offer(seen.frame, seen.labels)
        if candidates.full:
            break
    _refuse_empty(candidates, options)
    chosen = set(candidates.choose(options.count, options.seed))
    last, samples = max(chosen), []
    for number, seen in enumerate(reader.frames()):
        if number in chosen:
            samples.append(_keep(seen, folder))
        if number == last:
            break
    return samples


def _choose_live(reader: _Reader, options: SampleOptions, folder: Path) -> list[Sample]:
    """Store distinct frames as they come; then keep the chosen ones."""
    candidates = Candidates()
    stored: dict[int, Sample] = {}
    for number, seen in enumerate(reader.frames()):
        if candidates.offer(seen.frame):
            stored[number] = _keep(seen, folder)
        if len(stored) >= LIVE_POOL * options.count:
            break
    _refuse_empty(candidates, options)
    chosen = candidates.choose(options.count, options.seed)
    kept = {stored[number].sha256 for number in chosen}
    for sample in stored.values():
        if sample.sha256 not in kept:
            stored_at(folder, sample.sha256).unlink(missing_ok=True)
    return [stored[number] for number in chosen]


def _refuse_empty(candidates: Candidates, options: SampleOptions) -> None:
    if not candidates.numbers:
        raise SourceError(
            f"{options.source} gave no frame; ranges are never guessed and never taken from random "
            "data: give frames of the place where the model will work"
        )


def _keep(seen: _Seen, folder: Path) -> Sample:
    digest = store(folder, seen.frame)
    return Sample(seen.name, digest, sha256_of(seen.file) if seen.file is not None else "")


class _Reader:
    """Reads a source from its beginning, as often as asked, as the network receives it."""

    def __init__(self, options: SampleOptions, manifest: Manifest) -> None:
        self._options, self._manifest = options, manifest
        self.live = False
        if not is_labelled(options.source) and not self._is_folder():
            from edge_runtime.sources.open import plan_source

            # A file starts anew when it is opened again; what else there is may not.
            self.live = plan_source(options.source).clock != "file"

    def frames(self) -> Iterator[_Seen]:
        """All frames."""
        if is_labelled(self._options.source):
            size = self._manifest.input_size
            yield from self._labelled(
                open_labelled(self._options.source, self._options.split, size)
            )
        elif self._is_folder():
            yield from self._images(Path(self._options.source))
        else:
            yield from self._stream()

    def _is_folder(self) -> bool:
        return Path(self._options.source).is_dir()

    def _labelled(self, data: Labelled) -> Iterator[_Seen]:
        for index in range(len(data)):
            name, image, labels = data.read(index)
            yield _Seen(name, network_frame(image, self._manifest), labels, data.file(index))

    def _images(self, folder: Path) -> Iterator[_Seen]:
        from edge_runtime.sources.images import images_in, read_image

        for path in images_in(folder):
            yield _Seen(path.name, network_frame(read_image(path), self._manifest), None, path)

    def _stream(self) -> Iterator[_Seen]:
        from edge_runtime.sources import open_source
        from edge_runtime.video import SourceRequest

        preprocess = self._manifest.preprocess
        request = SourceRequest(
            self._manifest.input_size, preprocess.resize, preprocess.color,
            latest=self.live,
        )  # fmt: skip
        with open_source(self._options.source, request) as source:
            while not source.ended:
                frame = source.read(READ_TIMEOUT_S)
                if frame is None:
                    return  # the end, or a camera that fell silent: what came will do
                yield _Seen(frame.name or f"frame {frame.index}", frame.image.copy())


def network_frame(image: NDArray[np.uint8], manifest: Manifest) -> NDArray[np.uint8]:
    """A (H, W, 3) uint8 BGR picture as the model's input frame."""
    preprocess = manifest.preprocess
    height, width = image.shape[:2]
    geometry = FrameGeometry((height, width), manifest.input_size, preprocess.resize)
    frame = fit(image, geometry)
    return frame if preprocess.color == "BGR" else frame[:, :, ::-1].copy()


def refuse_shared(samples: StoredFrames, data: Labelled, manifest: Manifest) -> None:
    """Refuse to judge on images that were calibrated on.

    Args:
        samples: what was calibrated on.
        data: what is to be judged on.
        manifest: of the model.

    Raises:
        OptionError: they share an image, by its file's bytes or by the pixels of its frame.
    """
    files = {sample.file_sha256: sample.name for sample in samples.samples if sample.file_sha256}
    pixels = {sample.sha256: sample.name for sample in samples.samples}
    for index in range(len(data)):
        file = data.file(index)
        shared = files.get(sha256_of(file)) if file is not None else None
        if shared is None:
            _, image, _ = data.read(index)
            shared = pixels.get(pixel_hash(network_frame(image, manifest)))
        if shared is not None:
            raise OptionError(
                f"frame {shared!r} is both calibrated on and in {data.name}, which judges the "
                "result; calibrate on other frames, such as the training split"
            )
