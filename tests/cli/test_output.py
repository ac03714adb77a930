"""`--json` and `--quiet` mean the same everywhere, and stdout has nothing but the JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click
import pytest

from edge_runtime.artifacts import manifest_path
from edge_runtime.cli import main
from edge_runtime.cli_options import Output, document, reporting
from edge_runtime.errors import OptionError
from edge_runtime.zoo import resolve_model
from tests.cli.tree import commands, option
from tests.training.labelled import write_folder

COMMANDS = commands()
WITHOUT = {
    "completion": "prints a script, which a shell reads",
    "bundle receive": "is typed by `hyperseg deploy` only; what it prints is JSON",
}
"""Commands without the two options, and why."""


@reporting
def _model(output: Output) -> None:
    """What the options of all others are compared with."""


MODEL = click.command()(_model)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_same_two_options(name: str) -> None:
    for flag in ("--json", "--quiet"):
        ours, wanted = option(COMMANDS[name], flag), option(MODEL, flag)
        if name in WITHOUT:
            assert ours is None, f"{name} has {flag} now: take it off the list"
            continue
        assert ours is not None, f"{name} lacks {flag}: decorate it with `reporting`"
        assert wanted is not None
        for part in ("opts", "help", "metavar", "is_flag", "flag_value", "default"):
            assert getattr(ours, part) == getattr(wanted, part), f"{name} {flag}: {part}"


def test_exceptions_are_commands() -> None:
    assert set(COMMANDS) >= set(WITHOUT)


MEANINGS = {
    "--as": 2, "--classes": 2, "--data": 4, "--device": 2, "--duration": 4, "--flip": 2,
    "--folder": 2, "--frames": 7, "--gate": 2, "--into": 2, "--key": 2, "--license": 3,
    "--limit": 2, "--model": 2, "--name": 3, "--no-engine": 2, "--output": 12, "--policy": 4,
    "--precision": 3, "--preset": 3, "--range": 2, "--report": 3, "--resize": 2, "--run": 2,
    "--runtime": 2, "--secret": 2, "--seed": 5, "--selftest": 2, "--sink": 2, "--size": 7,
    "--source": 2, "--split": 4, "--status": 2, "--store": 4, "--target": 4, "--threads": 2,
    "--warmup": 2, "--window": 2,
}  # fmt: skip
"""Flags that mean another thing in other commands, and how many wordings they have."""


def test_a_flag_means_one_thing_everywhere() -> None:
    said: dict[str, dict[tuple[object, ...], list[str]]] = {}
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if not isinstance(parameter, click.Option):
                continue
            for flag in parameter.opts:
                if flag.startswith("--"):
                    wording = (parameter.help, parameter.metavar)
                    said.setdefault(flag, {}).setdefault(wording, []).append(name)
    several = {flag: words for flag, words in said.items() if len(words) > 1}
    assert {flag: len(words) for flag, words in several.items()} == MEANINGS, several


# --- what is printed


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the cheap commands need."""
    folder = tmp_path_factory.mktemp("made")
    write_folder(folder / "animals")
    assert main(["bundle", "create", "street-edge-n", "-o", str(folder / "b.tar"), "--quiet"]) == 0
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working folder."""
    folder = tmp_path / "place"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder


CALIBRATE = ["calibrate", "m.onnx", "--frames", "test:", "-o", "q.onnx"]
INSTALL = ["service", "install", "cam", "--output", ".", "--as", "nobody"]
CHEAP = {
    "models": (["models"], 0),
    "doctor": (["doctor"], None),
    "inspect": (["inspect", "street-edge-n"], 0),
    "check": (["check", "street-edge-n", "--target", "jp6.2"], 0),
    "export-config": (["export-config", "triton", "street-edge-n", "-o", "triton"], 0),
    "bundle show": (["bundle", "show", "b.tar"], 0),
    "bundle verify": (["bundle", "verify", "b.tar"], 0),
    "data check": (["data", "check", "animals"], 0),
    "data stats": (["data", "stats", "animals"], 0),
    "data preview": (["data", "preview", "animals", "-o", "p.png", "--count", "1"], 0),
    "data import": (["data", "import", "folder", "animals", "-o", "copy"], 0),
    "element install": (["element", "install", "--folder", "plugins"], 0),
    "service install": ([*INSTALL, "--", "run", "street-edge-n", "test:"], 0),
    "service health": (["service", "health", "--status", "none.json"], 1),
}


@pytest.mark.parametrize("name", CHEAP)
def test_stdout_is_one_document_that_says_what_it_is(
    place: Path, repository: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    words, wanted = CHEAP[name]
    capsys.readouterr()
    at = words.index("--") if "--" in words else len(words)

    code = main([*words[:at], "--json", "-", *words[at:]])

    printed = capsys.readouterr()
    assert code in ((0, 1) if wanted is None else (wanted,)), printed.err
    found = json.loads(printed.out)
    product, _, kind = found["schema"].partition(".")
    page = (repository / "docs" / "commands.md").read_text(encoding="utf-8")
    assert product == "hyperseg-edge"
    assert f"`{kind}`" in page
    assert printed.out.endswith("}\n")


@pytest.mark.parametrize("name", ["models", "bundle verify", "data check", "check"])
def test_a_file_gets_what_would_be_printed_and_people_their_lines(
    place: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    words, _ = CHEAP[name]
    capsys.readouterr()
    main([*words, "--json", "-"])
    wanted = capsys.readouterr().out
    main(words)
    lines = capsys.readouterr().out

    main([*words, "--json", "told.json"])

    assert json.loads((place / "told.json").read_text()) == json.loads(wanted)
    assert capsys.readouterr().out == lines != ""


@pytest.mark.parametrize("name", [name for name in CHEAP if name != "data import"])
def test_quiet_says_nothing_and_keeps_the_exit_code(
    place: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    words, wanted = CHEAP[name]
    capsys.readouterr()
    at = words.index("--") if "--" in words else len(words)

    code = main([*words[:at], "--quiet", *words[at:]])

    assert code in ((0, 1) if wanted is None else (wanted,))
    assert capsys.readouterr() == ("", "")


def test_quiet_still_says_what_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "no-such-model", "--quiet"]) == 2
    assert capsys.readouterr().err.startswith("hyperseg: error: no model 'no-such-model'")


# --- the options themselves


@pytest.mark.parametrize("words", [["models", "--json"], ["models", "--json", "--quiet"]])
def test_a_bare_json_prints(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "hyperseg-edge.models/1"


def test_a_bare_json_does_not_swallow_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"precious")
    assert main(["inspect", "--json", str(model)]) == 2
    assert "expected a file that ends in .json, or - for stdout" in capsys.readouterr().err
    assert model.read_bytes() == b"precious"


@pytest.mark.parametrize("flag", ["--report", "--json"])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_read_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, linked: bool
) -> None:
    # given: a model whose name either option takes, and another name for it
    model, other = tmp_path / "model.json", tmp_path / "link.json"
    model.write_bytes(b"precious")
    other.symlink_to(model)

    code = main(["bench", str(model), flag, str(other if linked else model)])

    assert code == 2
    assert "is read and written; name another output" in capsys.readouterr().err
    assert model.read_bytes() == b"precious"


def test_a_source_behind_its_kind_or_its_camera_is_not_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "v.json"
    for source in (f"file:{video}", f"front={video}", f"fault:none:{video}"):
        for flag in ("--report", "--json", "--sink"):
            video.write_bytes(b"precious")
            target = f"jsonl:{video}" if flag == "--sink" else str(video)
            assert main(["run", "street-edge-n", source, flag, target]) == 2, (source, flag)
            assert "is read and written" in capsys.readouterr().err, (source, flag)
            assert video.read_bytes() == b"precious"


def test_the_words_of_a_later_run_are_not_read_now(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # the second time its own output is there
        words = [*INSTALL, "--json", "o.json", "--", "run", "street-edge-n", "o.json"]
        assert main(words) == 0, capsys.readouterr().err
        assert json.loads((place / "o.json").read_text())["schema"].startswith("hyperseg-edge.")


@pytest.mark.parametrize("target", ["none/f.json", "folder.json"])
def test_an_impossible_file_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.json").mkdir()
    # an argument that is wrong, too, shows that nothing was looked at before
    assert main(["inspect", "no-such-model", "--json", target]) == 2
    assert capsys.readouterr().err.startswith(f"hyperseg: error: cannot write {target}: ")


@pytest.mark.parametrize(
    "words",
    [
        ["run", "street-edge-n", "test:", "--report", "r.json"],
        ["run", "street-edge-n", "test:", "--sink", "jsonl:r.json"],
        ["bench", "street-edge-n", "--report", "r.json"],
        ["soak", "street-edge-n", "test:", "--report", "./r.json"],
        ["soak", "street-edge-n", "test:", "--sink", "jsonl:r.json"],
        ["eval", "street-edge-n", "--data", "street:", "--report", "r.json"],
        ["verify", "street-edge-n", "--report", "r.json"],
        ["selftest", "-o", "r.json"],
    ],
    ids=" ".join,
)
def test_one_file_is_not_written_twice(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--json", "r.json"]) == 2
    said = capsys.readouterr().err
    assert "r.json is written to twice" in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["check", "m.onnx", "--target", "jp6.2", "--json", "m.onnx.json"],
        ["estimate", "m.onnx", "--json", "m.onnx.json"],
        ["bench", "m.onnx", "--report", "m.onnx.json"],
        ["run", "m.onnx", "test:", "--report", "m.onnx.json"],
        ["run", "m.onnx", "test:", "--json", "./m.onnx.json"],
        ["soak", "m.onnx", "test:", "--report", "link.json"],
        ["verify", "m.onnx", "--html", "m.onnx.json"],
        ["eval", "m.onnx", "--data", "street:", "--report", "m.onnx.json"],
        ["build", "m.onnx", "-o", "m.engine", "--json", "m.onnx.json"],
        ["selftest", "m.onnx", "-o", "m.onnx.json"],
    ],
    ids=" ".join,
)
def test_a_manifest_is_never_replaced(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    model = resolve_model("street-edge-n")
    shutil.copy(model, "m.onnx")
    shutil.copy(manifest_path(model), "m.onnx.json")
    Path("link.json").symlink_to("m.onnx.json")
    before = Path("m.onnx.json").read_bytes()

    assert main(words) == 2

    said = capsys.readouterr().err
    assert "it is the place of the manifest of m.onnx; choose another name" in said
    assert said.count("\n") == 1
    assert Path("m.onnx.json").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["calibrate", "m.onnx", "--frames", "test:", "-o", "./m.onnx"], "read and written"),
        (["calibrate", "m.onnx", "--frames", "test:", "-o", "link.onnx"], "read and written"),
        (["export", "m.onnx", "--input", "nv12", "-o", "m.onnx"], "read and written"),
        (["export", "m.onnx", "--precision", "fp16", "-o", "m.onnx"], "read and written"),
        (["build", "m.onnx", "-o", "m.onnx"], "read and written"),
        ([*CALIBRATE, "--save-ranges", "m.onnx"], "read and written"),
        ([*CALIBRATE, "--save-ranges", "q.onnx"], "written to twice"),
        ([*CALIBRATE, "--save-ranges", "q.onnx.json"], "the manifest of q.onnx"),
        ([*CALIBRATE, "--save-ranges", "m.onnx.json"], "the manifest of m.onnx"),
        (["calibrate", "m.onnx", "--frames", "test:", "--ranges", "given.onnx.json", "-o",
          "given.onnx"], "given.onnx.json is read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_no_output_takes_the_place_of_an_input(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    # given
    monkeypatch.chdir(tmp_path)
    for name in ("m.onnx", "m.onnx.json", "given.onnx.json"):
        Path(name).write_bytes(b"precious")
    Path("link.onnx").symlink_to("m.onnx")
    # when
    assert main(words) == 2
    # then
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert len(list(tmp_path.iterdir())) == 4
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"precious"}


@pytest.mark.parametrize(
    "words",
    [
        ["calibrate", "street-edge-n", "--frames", "test:", "-o", "q.onnx"],
        ["build", "street-edge-n", "-o", "./q.onnx"],
    ],
    ids=" ".join,
)
def test_the_manifest_to_come_has_its_place(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--json", "q.onnx.json"]) == 2
    assert "it is the place of the manifest of q.onnx" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_document_is_sorted_and_takes_paths_and_names() -> None:
    text = document("probe", {"b": Path("x/y"), "a": {1: None}})
    assert json.loads(text) == {"a": {"1": None}, "b": "x/y", "schema": "hyperseg-edge.probe/1"}
    assert text.index('"a"') < text.index('"b"') < text.index('"schema"')


def test_json_is_not_made_where_nobody_wants_any() -> None:
    def boom() -> str:
        raise AssertionError("made")

    Output().deliver(boom)
    with pytest.raises(AssertionError, match="made"):
        Output(Path("-")).deliver(boom)


def test_an_output_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="its folder is missing"):
        Output(tmp_path / "none" / "f.json")
