"""`hyperseg data check|stats|preview` through the command itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime.cli import main
from tests.training.labelled import write_folder, write_ids, write_pair


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "animals")


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def has_colour(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Pixels of exactly this RGB colour."""
    return int((sheet == colour).all(axis=-1).sum())


def test_clean_data_is_described_and_passes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(root)]) == 0

    printed = capsys.readouterr().out
    assert "train: 1 images, 2x3 (1)" in printed
    assert "grass" in printed
    assert "0 errors, 0 warnings" in printed


def test_errors_give_code_1_a_report_and_pictures(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ids(root / "train_labels/train_1.png", [[0, 9, 9], [9, 0, 1]])
    for number in range(30):
        write_pair(root, "train", f"cut{number}", [[0, 1]], number)
        (root / f"train/cut{number}.png").write_bytes(b"\x89PNG")

    code = main(["data", "check", f"folder:{root}", "--json", str(tmp_path / "r.json"),
                 "--sheet", str(tmp_path / "s.png")])  # fmt: skip

    printed = capsys.readouterr().out
    assert code == 1
    assert "error: unknown ids, 1: 9 (3 px)" in printed
    assert "error: unreadable file, 30" in printed
    assert all(f"cut{number}.png" in printed for number in range(30))
    assert "31 errors, 0 warnings" in printed
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["ok"] is False
    assert len(report["problems"]) == 31
    assert report["problems"][-1]["ids"] == {"9": 3}
    assert has_colour(picture(tmp_path / "s.png"), (255, 0, 255)) > 10_000  # half of its tile


def test_many_messages_of_one_kind_are_cut_but_counted(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(30):
        write_pair(root, "train", f"bad{number}", [[0, 8]], number)

    assert main(["data", "check", str(root)]) == 1

    printed = capsys.readouterr().out
    assert "unknown ids, 30: 8 (30 px)" in printed
    assert "and 10 more: --json F lists all" in printed


def test_warnings_fail_only_a_strict_check(root: Path) -> None:
    write_ids(root / "val_labels/val_1.png", [[0, 0, 0], [0, 0, 0]])

    assert main(["data", "check", str(root)]) == 0
    assert main(["data", "check", str(root), "--strict"]) == 1
    assert main(["data", "check", str(root), "--strict", "--split", "train"]) == 0


def test_json_on_stdout_is_nothing_but_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", str(root), "--split", "val", "--json", "-"]) == 0

    captured = capsys.readouterr()
    assert list(json.loads(captured.out)["splits"]) == ["val"]
    assert "RGB mean" in captured.err


def test_preview_shows_class_colours_and_is_reproducible(root: Path, tmp_path: Path) -> None:
    write_pair(root, "train", "cow", np.ones((40, 60)), 200)
    command = ["data", "preview", str(root), "--crop", "32x48", "--count", "2", "--views", "2"]

    for name in ("a", "b"):
        assert main([*command, "-o", str(tmp_path / f"{name}.png")]) == 0
    assert main([*command, "-o", str(tmp_path / "c.png"), "--seed", "1"]) == 0

    first, again, other = (picture(tmp_path / f"{name}.png") for name in "abc")
    np.testing.assert_array_equal(first, again)
    assert first.shape[1] > 3 * 320
    assert (first != other).any()
    assert has_colour(first, (200, 100, 0)) >= 14 * 14  # the legend's square


def test_preview_shows_what_the_recipe_of_a_preset_does(root: Path, tmp_path: Path) -> None:
    write_pair(root, "train", "cow", np.ones((40, 60)), 200)
    command = ["data", "preview", str(root), "--crop", "32x48", "--count", "2"]
    # street-n's recipe, which is the one of options that `train` would take from it
    spelled = ["--scale", "0.6", "1.8", "--class-mix", "0.25", "--jitter", "0.4", "--hue", "0.05"]
    for name, more in {"preset": ["--preset", "street-n"], "spelled": spelled, "none": []}.items():
        assert main([*command, *more, "-o", str(tmp_path / f"{name}.png")]) == 0
    law = ["--preset", "street-n", "--scale-law", "uniform"]
    assert main([*command, *law, "-o", str(tmp_path / "law.png")]) == 0

    shown = {path.stem: picture(path) for path in tmp_path.glob("*.png")}
    np.testing.assert_array_equal(shown["preset"], shown["spelled"])
    assert (shown["preset"] != shown["none"]).any()
    assert (shown["preset"] != shown["law"]).any()


def test_preview_of_streets_needs_no_files(tmp_path: Path) -> None:
    command = ["data", "preview", "street:48x64", "-o", str(tmp_path / "s.png")]

    assert main([*command, "--count", "1", "--views", "1", "--crop", "32x32"]) == 0
    assert picture(tmp_path / "s.png").shape[2] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere"], "nowhere does not exist"),
        (["check", "camvid:nowhere"], "nowhere does not exist"),
        (["check", "nuscenes:x"], "does not exist; give a folder, or one of camvid:DIR"),
        (["check", "street:"], "drawn anew"),
        (["check", "empty"], "shows no known layout"),
        (["check", "animals", "--split", "tarin"], "'tarin'"),
        (["check", "animals", "--sheet", "no/s.png"], "cannot write no/s.png"),
        (["check", "animals", "--json", "no/r.json"], "cannot write no/r.json"),
        (["stats", "folder:empty"], "cannot read .*meta.json"),
        (["preview", "animals", "-o", "no/p.png"], "cannot write no/p.png"),
        (["preview", "animals", "-o", "p.png", "--crop", "4x4"], "at least 8x8"),
        (["preview", "animals", "-o", "p.png", "--crop", "big"], "size 'big'"),
        (["preview", "animals", "-o", "p.png", "--flip", "2"], "flip is 2"),
        (["preview", "animals", "-o", "p.png", "--count", "0"], "count"),
        (["preview", "animals", "-o", "p.png", "--preset", "edge-x"], "no preset 'edge-x'"),
        (["preview", "broken", "-o", "p.png"], "cannot read .*train_1.png"),
        (["preview", "animals"], "--output"),
    ],
)
def test_bad_input_ends_in_one_line_and_leaves_nothing(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(root.parent)
    (root.parent / "empty").mkdir()
    (write_folder(root.parent / "broken") / "train/train_1.png").write_bytes(b"PNG")

    code = main(["data", *arguments])

    captured = capsys.readouterr()
    assert code == 2
    assert captured.err.count("\n") == 1
    assert re.search(message, captured.err)
    assert sorted(path.name for path in root.parent.iterdir()) == ["animals", "broken", "empty"]
