"""What shells are told: asked by a real bash, with nothing heavy within reach."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from edge_runtime.cli import COMPLETION, VERBS, main
from edge_runtime.completion import candidates
from edge_runtime.completion.shells import SHELLS
from edge_runtime.zoo import shipped_names
from tests.cli.tree import commands

HEAVY = ("torch", "onnx", "onnxruntime", "onnxsim", "onnxscript", "cv2", "gi", "PIL", "numpy")
PROGRAM = f"""#!{sys.executable}
import sys
for name in {HEAVY!r}:
    sys.modules[name] = None
from edge_runtime.cli import main
sys.exit(main())
"""
ASK = """
compopt() { echo "compopt $*" >&2; }
source <(hyperseg completion bash)
while IFS= read -r line; do
    COMP_LINE=$line COMP_POINT=${#line} COMPREPLY=()
    read -ra COMP_WORDS <<< "$line"
    COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
    _hyperseg_completion hyperseg
    echo "answers: ${COMPREPLY[*]}"
done
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> dict[str, str]:
    """One in which `hyperseg` can import no heavy package."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "hyperseg").write_text(PROGRAM)
    (folder / "hyperseg").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(repository)}


def ask(environment: dict[str, str], place: Path, lines: list[str]) -> dict[str, list[str]]:
    """What a real bash offers at the end of each line."""
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK], input="\n".join(lines) + "\n", env=environment, cwd=place,
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said = [line.removeprefix("answers:").split() for line in done.stdout.splitlines()]
    return dict(zip(lines, said, strict=True))


def test_bash_is_told_what_may_stand_there(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "pictures").mkdir()
    wanted = {
        "hyperseg ": list(VERBS),
        "hyperseg be": ["bench"],
        "hyperseg bundle in": ["install"],
        "hyperseg run --du": ["--duration"],
        "hyperseg run street": ["street-edge-n"],
        "hyperseg run ": [*shipped_names(), "clip.mp4", "pictures/"],
        "hyperseg run street-edge-n te": ["test:", "test:bars", "test:smpte"],
        # bash begins a word anew behind a colon or an equal sign
        "hyperseg run street-edge-n test:b": ["bars"],
        "hyperseg run m front=test:s": ["smpte"],
        "hyperseg run m test: --sink masks:p": ["pictures/"],
        "hyperseg run m test: --policy l": ["latest"],
        "hyperseg run m test: --rebuild=n": ["never"],
        "hyperseg train --preset edge-n+s": ["edge-n+static"],
        "hyperseg train --preset edge-n+d": ["edge-n+depthwise"],
        "hyperseg train --preset edge-n+static+psp": [
            "edge-n+static+pspnet18",
            "edge-n+static+pspnet50",
        ],
        "hyperseg inspect edge-": ["edge-n", "edge-s"],
        "hyperseg import x.onnx --classes city": ["cityscapes-19"],
        "hyperseg eval m --data camvid:p": ["pictures/"],
        "hyperseg check m --target jp6.": ["jp6.1", "jp6.2"],
        "hyperseg estimate m --target th": ["thor"],
        "hyperseg completion ": list(SHELLS),
        "hyperseg nonsense ": [],
        "hyperseg run 'half a wo": [],
    }
    assert ask(environment, tmp_path, list(wanted)) == wanted


def test_names_with_blanks_are_quoted(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "my clip.mp4").touch()
    found = ask(environment, tmp_path, ["hyperseg run m fil"])
    assert found["hyperseg run m fil"] == ["file://"]
    (tmp_path / "test one.mp4").touch()
    found = ask(environment, tmp_path, ["hyperseg run m tes"])
    assert " ".join(found["hyperseg run m tes"]).endswith(r"test\ one.mp4")


def test_a_typed_tab_completes(environment: dict[str, str], tmp_path: Path) -> None:
    # given an interactive bash that has read the script
    parent, child = pty.openpty()
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], stdin=child, stdout=child, stderr=child,
        cwd=tmp_path, env={**environment, "TERM": "dumb", "PS1": "> ", "INPUTRC": "/dev/null"},
        start_new_session=True,
    ) as shell:  # fmt: skip
        os.close(child)
        try:
            os.write(parent, b'eval "$(hyperseg completion bash)"; echo rea""dy\n')
            read_until(parent, "ready\r\n")
            # when somebody types the beginning of a verb, of a model and of a source
            os.write(parent, b"echo; hyperseg ru\tstreet\ttest:ba\t")
            # then it is there, with a blank behind what is complete
            read_until(parent, "hyperseg run street-edge-n test:bars ")
        finally:
            shell.kill()
            os.close(parent)


def read_until(file: int, wanted: str) -> None:
    text, end = "", time.monotonic() + 60
    while wanted not in text:
        if not select.select([file], [], [], max(end - time.monotonic(), 0))[0]:
            raise AssertionError(f"{wanted!r} did not appear in {text!r}")
        text += os.read(file, 4096).decode()


@pytest.mark.parametrize(
    ("shell", "check"), [("bash", ["bash", "-n"]), ("zsh", ["zsh", "-n"]), ("fish", ["fish", "-n"])]
)
def test_scripts_are_understood_by_their_shells(
    shell: str, check: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    assert COMPLETION in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert subprocess.run([*check, str(script)], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_the_same_answers(environment: dict[str, str], shell: str) -> None:
    # asked as their scripts ask: by zsh with all words, by fish with the last one apart
    given = {
        COMPLETION: f"{shell}_complete",
        "COMP_WORDS": "hyperseg run m test:b" if shell == "zsh" else "hyperseg run m",
        "COMP_CWORD": "3" if shell == "zsh" else "test:b",
    }
    done = subprocess.run(
        ["hyperseg"], env={**environment, **given},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "bars" in done.stdout, done.stderr
    assert "smpte" not in done.stdout


def test_unknown_shells_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bsh"]) == 2
    assert "did you mean 'bash'?" in capsys.readouterr().err


def test_models_and_sources_are_completed_wherever_they_stand() -> None:
    # click offers nothing for a plain text; arguments of these names are never that
    known = {"model": candidates.models, "sources": candidates.sources}
    for name, command in commands().items():
        for parameter in command.params:
            wanted = known.get(parameter.name or "")
            plain = not isinstance(parameter.type, click.Path)
            if isinstance(parameter, click.Argument) and wanted and plain:
                assert parameter._custom_shell_complete is not None, f"{name}: {parameter.name}"


def test_kinds_of_data_are_those_that_are_read() -> None:
    from training.data.stored import KINDS

    assert set(candidates.DATA) == {f"{kind}:" for kind in (*KINDS, "street")}
