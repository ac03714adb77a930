"""Whoever mistypes a name is told the one that was meant."""

from __future__ import annotations

import pytest

from edge_runtime.cli import main
from edge_runtime.errors import SourceError
from edge_runtime.sources.files import plan_path
from edge_runtime.suggest import MAX_FILES, hint, nearest, suggestion

RUN = ["run", "street-edge-n"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["modls"], "did you mean 'models'?"),
        (["models", "--quite"], "Did you mean '--quiet'?"),
        (["bundle", "instal", "x"], "install"),
        (["bundle", "qqq"], "expected one of create, verify, show, install, rollback"),
        (["data", "chek", "x"], "did you mean 'check'?"),
        (["service", "list"], "no command 'list'; "),
        (["service", "instal"], "did you mean 'install'?"),
        (["element", "qqq"], "expected one of install, check"),
        (["calibration-cache", "explian"], "did you mean 'explain'?"),
        (["check", "street-edge-n", "--target", "jp62"], "did you mean 'jp6.2'?"),
        (["calibrate", "m", "--method", "entrpy"], "did you mean 'entropy'?"),
        (["inspect", "street-edg-n"], "did you mean street-edge-n"),
        (["inspect", "edge-nn"], "edge-n"),
        (["eval", "street-edge-n", "--data", "stret:"], "did you mean 'street'?"),
        (["data", "check", "camvi:x"], "did you mean 'camvid'?"),
        ([*RUN, "./sky.pg"], "did you mean 'sky.png'?"),
        ([*RUN, "test:", "--policy", "lates"], "did you mean 'latest'?"),
        ([*RUN, "test:", "--sink", "mask:out"], "did you mean 'masks'?"),
        ([*RUN, "fault:stal@5:test:"], "did you mean 'stall'?"),
        ([*RUN, "test:?sise=9x9"], "did you mean 'size'?"),
    ],
)
def test_the_nearest_is_named_in_one_line(
    words: list[str], meant: str, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sky.png").touch()
    assert main(words) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert meant in said.err


def test_only_the_first_names_of_a_large_folder_are_compared(tmp_path) -> None:
    # given more files than somebody waits for, and one near name before and one behind the limit
    for name in ("alley.mp4", *(f"frame{number:04}" for number in range(MAX_FILES)), "street.mp4"):
        (tmp_path / name).touch()
    with pytest.raises(SourceError, match=r"did you mean 'alley\.mp4'"):
        plan_path(tmp_path / "aley.mp4")
    with pytest.raises(SourceError, match="neither a file nor a folder; expected"):
        plan_path(tmp_path / "stret.mp4")


@pytest.mark.gst
def test_a_mistyped_scheme_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "tset:"]) == 2
    assert "did you mean 'test'?" in capsys.readouterr().err


def test_presets_and_label_sets_are_named(tmp_path, capsys) -> None:
    words = ["train", "--preset", "edgen", "--data", "street:", "--run", str(tmp_path / "r")]
    assert main(words) == 2
    assert "did you mean 'edge-n'?" in capsys.readouterr().err

    from edge_runtime.errors import OptionError
    from export.importing.classes import label_set

    with pytest.raises(OptionError, match="did you mean 'cityscapes-19'"):
        label_set("cityscapes19")


def test_without_one_near_all_are_listed() -> None:
    known = ("alpha", "Beta")
    assert suggestion("qqq", known) == "expected one of alpha, Beta"
    assert suggestion("BETA", known) == "did you mean 'Beta'?"
    assert (hint("qqq", known), nearest("qqq", known)) == ("", None)
    assert hint("alpa", known) == "did you mean 'alpha'? "
