"""Whatever is wrong with a model, a source or an option ends in one line and nothing half-written.

Everything goes through the command itself, with a real, tiny model and real files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.artifacts import manifest_path, write_artifact
from edge_runtime.cli import main
from tests.scripted import write_identity_onnx

pytest.importorskip("onnx", reason="models are made with onnx: scripts/setup dev brings it")
pytestmark = pytest.mark.gst

Fields = dict[str, Any]

SECRET = "sEcr3t"
OUTPUTS = ["--quiet", "--sink", "masks:masks", "--sink", "overlay.mp4",
           "--sink", "maskvideo:grey.mkv", "--report", "report.json",
           "--frames-log", "frames.jsonl"]  # fmt: skip


def write_image(path: Path, *shape: int, dtype: type = np.uint8) -> bytes:
    """An image of noise, whose file is large enough to be cut; gives the file's bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, top, shape or (24, 32, 3)).astype(dtype)
    content = bytes(cv2.imencode(path.suffix, pixels)[1])
    path.write_bytes(content)
    return content


def read_mask(path: Path) -> NDArray[np.uint8]:
    mask = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    return np.asarray(mask, np.uint8)


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds ``model.onnx`` and ``images/a.png``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    part = tmp_path / "part"
    write_artifact(part, tmp_path / "model.onnx", write_identity_onnx(part, (54, 96)))
    write_image(tmp_path / "images" / "a.png")
    return tmp_path


@pytest.fixture
def refused(work_folder: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail in one line, and leave every file as it was; gives the line."""

    def run(*arguments: str) -> str:
        before = contents(work_folder)
        code = main(arguments)
        captured = capfd.readouterr()
        assert code == 2, captured
        assert captured.out == ""
        assert captured.err.startswith("hyperseg: error: ")
        assert captured.err.count("\n") == 1, captured.err
        assert SECRET not in captured.err
        assert contents(work_folder) == before
        return captured.err

    return run


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def edit_manifest(**changes: object) -> None:
    place = manifest_path(Path("model.onnx"))
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))


def replace_model(content: bytes) -> None:
    """Other bytes, to which the manifest is made to belong."""
    Path("model.onnx").write_bytes(content)
    edit_manifest(sha256=hashlib.sha256(content).hexdigest())


def tensor(name: str, shape: tuple[int, ...], dtype: str = "uint8") -> list[Fields]:
    return [{"name": name, "shape": shape, "dtype": dtype}]


def replace_manifest(content: bytes) -> None:
    manifest_path(Path("model.onnx")).write_bytes(content)


def truncate(path: str, keep: int) -> None:
    Path(path).write_bytes(Path(path).read_bytes()[:keep])


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda: Path("model.onnx").unlink(), "no model"),
    (lambda: truncate("model.onnx", 60), "does not belong to"),
    (lambda: truncate("model.onnx", 0), "empty (0 bytes)"),
    (lambda: replace_model(Path("model.onnx").read_bytes()[:60]), "is not a model"),
    (lambda: replace_model(b"some text\n"), "is not a model"),
    (lambda: replace_model(Path("images/a.png").read_bytes()), "is not a model"),
    (lambda: manifest_path(Path("model.onnx")).unlink(), "has no manifest"),
    (lambda: replace_manifest(b""), "not a hyperseg manifest"),
    (lambda: replace_manifest(b"\xff\xfe{]"), "not a hyperseg manifest"),
    (lambda: replace_manifest(b"[" * 100_000), "not a hyperseg manifest"),
    (lambda: replace_manifest(b"{}"), "missing required field"),
    (lambda: edit_manifest(format_version=99), "format version 99"),
    (lambda: edit_manifest(sha256="0" * 64), "does not belong to"),
    (lambda: edit_manifest(kind="checkpoint"), "hyperseg export"),
    (lambda: edit_manifest(inputs=[]), "expected one (1, H, W, 3)"),
    (lambda: edit_manifest(inputs=tensor("frame", (1, 54, 3))), "expected one (1, H, W, 3)"),
    (lambda: edit_manifest(inputs=tensor("frame", (1, 9, 9, 3))), "has shape"),
    (lambda: edit_manifest(inputs=tensor("frame", (1, 54, 96, 3), "int8")), "has dtype"),
    (lambda: edit_manifest(inputs=tensor("x", (1, 54, 96, 3))), "names"),
    (lambda: edit_manifest(outputs=tensor("mask", (1, 9, 9))), "has shape"),
    (lambda: edit_manifest(outputs=tensor("mask", (1, 54, 96), "int64")), "int64"),
    (lambda: edit_manifest(head="logits"), "expected one uint8 mask"),
], ids=[
    "missing", "cut", "empty", "cut-with-its-hash", "text", "png", "no-manifest",
    "empty-manifest", "garbage-manifest", "deep-manifest", "bare-manifest", "format", "hash",
    "kind", "no-input", "input-rank", "input-shape", "input-dtype", "input-name",
    "output-shape", "output-dtype", "head",
])  # fmt: skip
def test_a_bad_model(spoil: Callable[[], None], said: str, refused: Callable[..., str]) -> None:
    spoil()

    assert said in refused("run", "model.onnx", "images", *OUTPUTS)


@pytest.mark.parametrize(("name", "content", "said"), [
    ("images", None, "is a folder"),
    ("images/a.png", None, "has no manifest"),
    ("net.safetensors", b"\2\0\0\0\0\0\0\0{}", "has no manifest"),
    ("notes.onnx", b"some text\n", "has no manifest"),
    ("street-edge-q", None, "no model"),
    ("m" * 300, None, "no model"),
])  # fmt: skip
@pytest.mark.parametrize("verb", ["run", "inspect"])
def test_what_is_no_model(
    verb: str, name: str, content: bytes | None, said: str, refused: Callable[..., str]
) -> None:
    if verb == "inspect":
        pytest.importorskip("torch", reason="inspect belongs to the train extra")
    if content is not None:
        Path(name).write_bytes(content)
    rest = ["images", *OUTPUTS] if verb == "run" else []

    assert said in refused(verb, name, *rest)


@pytest.mark.parametrize("name", ["none.safetensors", "images", "images/a.png", "model.onnx"])
def test_export_of_what_is_no_checkpoint(name: str, refused: Callable[..., str]) -> None:
    pytest.importorskip("torch", reason="export belongs to the train extra")

    refused("export", name, "-o", "new.onnx")


@pytest.mark.parametrize(("source", "said"), [
    ("none.mp4", "no source"),
    ("empty-folder", "holds no image"),
    ("", "source is empty"),
    ("/dev/video9", "no camera"),
    ("v4l2:///dev/video9", "no camera"),
    (f"v4l2://user:{SECRET}@host", "expected v4l2:///dev/video0"),
    ("v4l2:///dev/null", "v4l2"),
    ("csi://0", "Jetson"),
    ("csi://", "which sensor?"),
    (f"rtsp://user:{SECRET}@127.0.0.1:9/x", "://***@127.0.0.1:9/x"),
    (f"http://user:{SECRET}@127.0.0.1:9/x.mp4", "://***@127.0.0.1:9/x.mp4"),
    (f"foo://user:{SECRET}@host/x", "no source 'foo://***@host/x'"),
    (f"file://user:{SECRET}@host/x.mp4", "names no host"),
    ("file://[::1/x.mp4", "names no host"),
    ("file:///none.mp4", "no source"),
    ("launch:nosuchelement", "no element 'nosuchelement'"),
    ("test:nothing", "no test picture"),
    ("test:bars?size=0x0", "cannot be read"),
    ("x" * 5000, "File name too long"),
    ("model.onnx", "cannot open"),
])  # fmt: skip
def test_a_bad_source(source: str, said: str, refused: Callable[..., str]) -> None:
    Path("empty-folder").mkdir()

    assert said in refused("run", "model.onnx", source, *OUTPUTS)


@pytest.mark.parametrize(("name", "spoil", "said"), [
    ("v.mp4", lambda _: b"", "empty (0 bytes)"),
    ("v.mp4", lambda _: b"plain text\n" * 40, "cannot open v.mp4"),
    ("v.mp4", lambda _: bytes(range(256)) * 20, "cannot open v.mp4"),
    ("v.mp4", lambda clip: clip[:20], "cannot open v.mp4"),
    ("v.png", lambda _: b"plain text\n", "cannot decode image"),
], ids=["empty", "text", "noise", "head", "text-image"])  # fmt: skip
def test_a_bad_file(
    name: str, spoil: Callable[[bytes], bytes], said: str, refused: Callable[..., str]
) -> None:
    Path(name).write_bytes(spoil(record_clip()))

    assert said in refused("run", "model.onnx", name, *OUTPUTS)


def record_clip() -> bytes:
    source = "test:bars?size=64x96&fps=200&frames=8"
    options = ["--quiet", "--policy", "every", "--sink", "clip.mp4"]
    assert main(["run", "model.onnx", source, *options]) == 0
    return Path("clip.mp4").read_bytes()


def test_a_missing_codec(refused: Callable[..., str]) -> None:
    from edge_runtime.gst import Gst

    record_clip()
    decoders = Gst.ElementFactory.list_filter(
        Gst.ElementFactory.list_get_elements(
            Gst.ELEMENT_FACTORY_TYPE_DECODER, Gst.Rank.MARGINAL
        ),
        Gst.Caps.from_string("video/x-h264"), Gst.PadDirection.SINK, False,
    )  # fmt: skip
    ranks = [(decoder, decoder.get_rank()) for decoder in decoders]
    for decoder, _ in ranks:
        decoder.set_rank(Gst.Rank.NONE)
    try:
        assert "H.264" in refused("run", "model.onnx", "clip.mp4", *OUTPUTS)
    finally:
        for decoder, rank in ranks:
            decoder.set_rank(rank)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(refused: Callable[..., str]) -> None:
    Path("images/a.png").chmod(0)

    assert "ermission" in refused("run", "model.onnx", "images/a.png", *OUTPUTS)


def flip(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".bmp", ".webp"])
@pytest.mark.parametrize("spoil", [
    lambda content: b"",
    lambda content: content[:20],
    lambda content: content[: len(content) // 2],
    lambda content: flip(content, len(content) // 2),
], ids=["empty", "head", "half", "flipped"])  # fmt: skip
def test_a_damaged_image_is_one_line_or_an_image(
    suffix: str, spoil: Callable[[bytes], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    path = Path("damaged", f"a{suffix}")
    path.write_bytes(spoil(write_image(path, 64, 64, 3)))

    code = main(["run", "model.onnx", "damaged", *OUTPUTS])

    # Some formats have no checksums: a decoder may show what it has, and say so.
    error = capfd.readouterr().err
    if code == 0:
        assert suffix != ".png"
        assert read_mask(Path("masks/a.png")).shape == (64, 64)
    else:
        assert code == 2
        assert "cannot decode image damaged/a" in error
        assert error.count("\n") == 1, error
        assert not Path("masks").exists()


def test_a_damaged_image_after_good_ones_completes_what_came_before(
    work_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = write_image(work_folder / "images" / "b.png")
    (work_folder / "images" / "b.png").write_bytes(content[: len(content) // 2])

    assert main(["run", "model.onnx", "images", *OUTPUTS]) == 2

    assert capfd.readouterr().err.count("\n") == 1
    assert [path.name for path in Path("masks").iterdir()] == ["a.png"]
    assert json.loads(Path("report.json").read_text())["ended"] == "error"
    assert cv2.VideoCapture("overlay.mp4").read()[0]
    assert not [path for path in work_folder.rglob("*") if path.name.endswith(".part")]


NAME_TOO_LONG = "n" * 252


@pytest.mark.parametrize("arguments", [
    ["--policy", "newest"],
    ["--policy", "deadline=nan"],
    ["--policy", "deadline=0"],
    ["--policy", ""],
    ["--duration", "0"],
    ["--duration", "-1"],
    ["--duration", "nan"],
    ["--duration", "inf"],
    ["--duration", "soon"],
    ["--threads", "0"],
    ["--threads", "99999999999"],
    ["--sink", ""],
    ["--sink", "o.avi"],
    ["--sink", "masks:"],
    ["--sink", "maskvideo:o.mp4"],
    ["--sink", "window"],
    ["--sink", "folder.mp4"],
    ["--sink", "missing/o.mp4"],
    ["--sink", "maskvideo:missing/o.mkv"],
    ["--sink", "/proc/o.mp4"],
    ["--sink", f"{NAME_TOO_LONG}.mp4"],
    ["--sink", "masks:/proc/masks"],
    ["--sink", "masks:model.onnx"],
    ["--sink", "masks:model.onnx/masks"],
    ["--sink", "masks:images"],
    ["--sink", "masks:./images/../images"],
    ["--sink", "o.mp4", "--sink", "images/../o.mp4"],
    ["--report", "missing/report.json"],
    ["--report", "model.onnx/report.json"],
    ["--report", "images"],
    ["--report", "/proc/report.json"],
    ["--report", NAME_TOO_LONG],
    ["--report", "model.onnx"],
    ["--report", "model.onnx.json"],
    ["--frames-log", "missing/frames.jsonl"],
    ["--frames-log", "/proc/frames.jsonl"],
    ["--nonsense"],
    ["one-too-many"],
], ids=lambda arguments: " ".join(arguments)[:40])  # fmt: skip
def test_bad_options(arguments: list[str], refused: Callable[..., str]) -> None:
    Path("folder.mp4").mkdir()
    # given sinks that have been opened when the wrong one is
    good = ["--quiet", "--sink", "masks:made/masks", "--sink", "good.mp4"]

    refused("run", "model.onnx", "images", *good, *arguments)


def test_the_mask_of_one_image_never_replaces_it(refused: Callable[..., str]) -> None:
    message = refused("run", "model.onnx", "images/a.png", "--quiet", "--sink", "masks:images")

    assert "read and written" in message


SIZES = {
    "odd": (101, 37, 3), "grey": (50, 60), "alpha": (33, 34, 4), "pixel": (1, 1, 3),
    "portrait": (200, 90, 3), "row": (1, 300, 3), "column": (300, 1, 3),
}  # fmt: skip


def test_any_image_gets_a_mask_of_its_size_whatever_the_names(
    work_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # given unusual images in a folder whose name has spaces and foreign letters
    folder, masks = work_folder / "grün 日本", work_folder / "mäsken hier"
    for name, shape in SIZES.items():
        write_image(folder / f"{name} é.png", *shape)
    write_image(folder / "16 bit.png", 50, 60, dtype=np.uint16)
    video, grey, report = "über lage.mp4", "grau ü.mkv", "be richt é.json"

    code = main(["run", "model.onnx", str(folder), "--quiet", "--sink", f"masks:{masks}",
                 "--sink", video, "--sink", f"maskvideo:{grey}", "--report", report])  # fmt: skip

    captured = capfd.readouterr()
    assert (code, captured.out, captured.err) == (0, "", "")
    found = {path.stem: read_mask(path).shape for path in masks.iterdir()}
    sizes = {f"{name} é": shape[:2] for name, shape in SIZES.items()}
    assert found == sizes | {"16 bit": (50, 60)}
    assert json.loads(Path(report).read_text())["frames"]["published"] == len(found)
    assert Path(video).stat().st_size > 500
    assert Path(grey).stat().st_size > 500


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (300, 1, 3)])
def test_an_overlay_of_hardly_anything_can_be_encoded(shape: tuple[int, ...]) -> None:
    write_image(Path("small.png"), *shape)

    assert main(["run", "model.onnx", "small.png", *OUTPUTS]) == 0

    assert cv2.VideoCapture("overlay.mp4").read()[0]
    assert read_mask(Path("masks/small.png")).shape == shape[:2]


def test_images_that_differ_in_their_suffix_alone_get_a_mask_each() -> None:
    write_image(Path("images/a.jpg"), 10, 12, 3)

    assert main(["run", "model.onnx", "images", *OUTPUTS]) == 0

    found = {path.name: read_mask(path).shape for path in Path("masks").iterdir()}
    assert found == {"a.png.png": (24, 32), "a.jpg.png": (10, 12)}


@pytest.mark.parametrize("form", ["path", "uri"])
def test_a_video_with_foreign_letters_in_its_name(
    form: str, work_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = work_folder / "fahrt ü 日.mp4"
    path.write_bytes(record_clip())

    code = main(["run", "model.onnx", path.as_uri() if form == "uri" else str(path), *OUTPUTS])

    assert (code, capfd.readouterr().err) == (0, "")
    masks = sorted(Path("masks").iterdir())
    assert len(masks) == 8
    assert {read_mask(mask).shape for mask in masks} == {(64, 96)}
