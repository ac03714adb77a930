"""What the README says to type exists, and what it marks with `test` really runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_runtime import cli
from edge_runtime.zoo import list_models

README = Path(__file__).resolve().parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    language: str
    marks: tuple[str, ...]
    text: str


def fenced_blocks() -> list[Block]:
    found = re.findall(r"^```(\S+)([^\n]*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [Block(language, tuple(marks.split()), text) for language, marks, text in found]


def typed_commands() -> list[list[str]]:
    """Every `hyperseg VERB ...` of the README, in fences and inline, split as a shell does."""
    shell = [line for block in fenced_blocks() if block.language == "sh"
             for line in block.text.splitlines()]  # fmt: skip
    inline = re.findall(r"`([^`\n]+)`", TEXT)
    texts = [text for text in (*shell, *inline) if text.startswith("hyperseg ")]
    return [shlex.split(text)[1:] for text in texts]


RUNNABLE = [block for block in fenced_blocks() if "test" in block.marks]


def test_readme_has_commands_and_some_are_run() -> None:
    assert len(typed_commands()) >= 10
    assert len(RUNNABLE) >= 2


@pytest.mark.gst
@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: block.text.splitlines()[-1])
def test_marked_commands_run(block: Block, repository: Path, tmp_path: Path) -> None:
    # given an empty folder with the project's environment at the place where the README has it
    if "needs-model" in block.marks and not list_models():
        pytest.skip("no model is shipped with this checkout")
    environment = tmp_path / ".venv"
    environment.symlink_to(Path(sys.prefix))
    binaries = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    # when the block is typed
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=tmp_path, env={**os.environ, "PATH": binaries}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    # then it succeeds
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("words", typed_commands(), ids=" ".join)
def test_typed_command_is_understood(words: list[str]) -> None:
    verb, *rest = words
    if verb in ("VERB", "--version", "--help"):
        return
    assert verb in cli.VERBS, f"the README has `hyperseg {verb}`"
    if rest and "--help" not in rest:  # a verb alone is only mentioned
        cli.load(cli.VERBS[verb]).make_context(verb, rest)


@pytest.mark.parametrize("script", sorted(set(re.findall(r"scripts/[a-z_]+", TEXT))))
def test_named_script_is_there_and_executable(repository: Path, script: str) -> None:
    assert os.access(repository / script, os.X_OK)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", TEXT))))
def test_linked_file_is_there(repository: Path, target: str) -> None:
    assert (repository / target).exists()


@pytest.mark.parametrize("block", [b for b in fenced_blocks() if b.language == "python"])
def test_python_is_valid_and_its_imports_exist(block: Block) -> None:
    imports = re.findall(r"^from (\S+) import (.+)$", block.text, re.MULTILINE)
    assert imports
    compile(block.text, "README.md", "exec")
    for module, names in imports:
        package = __import__(module)
        for name in names.split(", "):
            assert hasattr(package, name), f"{module} has no {name}"
