"""The command line: light, helpful, one line for a mistake, a traceback for a defect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from edge_runtime import cli
from edge_runtime.cli import VERBS, Verb, main
from edge_runtime.errors import ArtifactError, DependencyError
from edge_runtime.ownership import check_owner

BARE = """
import sys
for name in ("torch", "onnx", "onnxruntime", "onnxsim", "onnxscript", "cv2", "gi", "PIL"):
    sys.modules[name] = None
from edge_runtime.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run_bare(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line where no optional or heavy package can be imported."""
    return subprocess.run(
        [sys.executable, "-c", BARE, *arguments],
        cwd=repository, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def install_verb(monkeypatch: pytest.MonkeyPatch, body) -> None:
    """Make `hyperseg probe` call `body`."""
    module = ModuleType("edge_runtime.probe")
    module.command = click.Command("probe", callback=body)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edge_runtime.probe", module)
    monkeypatch.setitem(VERBS, "probe", Verb("edge_runtime.probe:command", "for tests"))


def raiser(error: BaseException):
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_needs_no_optional_package(repository: Path, verb: str) -> None:
    done = run_bare(repository, verb, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"hyperseg {verb}" in done.stdout


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_verbs_and_loads_none(
    flag: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "load", raiser(AssertionError("a verb was loaded")))
    assert main([flag]) == 0
    printed = capsys.readouterr().out
    for name, verb in VERBS.items():
        assert f"  {name} " in printed
        assert verb.summary in printed


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("hyperseg-edge 0.")


def test_without_a_verb_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Verbs:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["modls"], "no verb 'modls'; did you mean 'models'? (see 'hyperseg --help')"),
        (["qqq"], "no verb 'qqq'; expected one of demo, run, "),
        (["models", "--jsn"], "No such option '--jsn'"),
        (["models", "extra"], "Got unexpected extra argument (extra) (see 'hyperseg models"),
        (["--what"], "No such option '--what' (see 'hyperseg --help')"),
    ],
)
def test_mistyped_command_is_one_line_and_exit_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"hyperseg: error: {line}")
    assert err.count("\n") == 1


def test_our_error_is_one_line_and_exit_2(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    install_verb(monkeypatch, raiser(ArtifactError("masks\n   differ")))
    assert main(["probe"]) == 2
    assert capsys.readouterr() == ("", "hyperseg: error: masks differ\n")


def test_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    install_verb(monkeypatch, raiser(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError, match="ours"):
        main(["probe"])


@pytest.mark.parametrize(
    ("package", "remedy"),
    [
        ("torch", "hyperseg-edge[train]"),
        ("onnx", "hyperseg-edge[onnx]"),
        ("onnxruntime", "hyperseg-edge[ort]"),
        ("gi", "apt-get install python3-gi"),
    ],
)
def test_missing_package_names_what_brings_it(
    package: str, remedy: str, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    install_verb(monkeypatch, lambda: __import__(package))
    assert main(["probe"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"hyperseg: error: the package {package!r} is not installed")
    assert remedy in err
    assert "scripts/setup" in err
    assert err.count("\n") == 1


def test_other_missing_module_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    install_verb(monkeypatch, lambda: __import__("edge_runtime.no_such_module"))
    with pytest.raises(ModuleNotFoundError):
        main(["probe"])


def test_interrupt_is_quiet_and_130(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    install_verb(monkeypatch, raiser(KeyboardInterrupt()))
    assert main(["probe"]) == 130
    out, err = capsys.readouterr()
    assert (out, err.strip()) == ("", "")


def test_sigint_ends_a_running_command_without_traceback(repository: Path) -> None:
    code = (
        "import sys, time, click\n"
        "from edge_runtime import cli\n"
        "def body():\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(30)\n"
        "cli.load = lambda verb: click.Command('run', callback=body)\n"
        "sys.exit(cli.main(['run']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=repository, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == ""


@pytest.mark.parametrize("arguments", [["--help"], ["models", "--json"]])
def test_reader_that_leaves_early_is_no_error(repository: Path, arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "edge_runtime.cli", *arguments],
        cwd=repository, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == ""


def test_verb_targets_exist() -> None:
    for name, verb in VERBS.items():
        command = cli.load(verb)
        assert command.name == name
        assert command.help, f"hyperseg {name} --help explains nothing"


@pytest.mark.parametrize("package", ["training", "export"])
def test_our_own_stages_pass_the_ownership_check(package: str) -> None:
    check_owner(package)


def test_folder_that_shadows_a_stage_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stage_x").mkdir()
    (tmp_path / "stage_x" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DependencyError, match=r"importing 'stage_x' would load .* instead of"):
        check_owner("stage_x")


def test_stage_of_another_distribution_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given another distribution that installed the same name into the very same folder
    (tmp_path / "stage_y").mkdir()
    (tmp_path / "stage_y" / "__init__.py").touch()
    info = tmp_path / "other_project-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other_project\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("stage_y\n")
    monkeypatch.syspath_prepend(tmp_path)
    # then even the right folder is refused, by name
    with pytest.raises(DependencyError, match="distribution other-project, which installs"):
        check_owner("stage_y", home=tmp_path)


def test_missing_stage_is_refused() -> None:
    with pytest.raises(DependencyError, match="'no_such_stage' is missing"):
        check_owner("no_such_stage")


def test_ownership_is_checked_before_a_stage_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "stage_z.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(VERBS, "probe", Verb("stage_z:command", "for tests"))
    assert main(["probe"]) == 2
    assert "importing 'stage_z' would load" in capsys.readouterr().err
