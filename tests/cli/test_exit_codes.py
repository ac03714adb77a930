"""Exit codes: a few, with one meaning each, the same in code, help and documentation."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from edge_runtime import errors
from edge_runtime.cli import main
from edge_runtime.errors import EXIT_CODES, EXIT_GATE, EXIT_MISTAKE, HypersegError

PACKAGES = ("training", "export", "calibration", "edge_runtime")
ROW = re.compile(r"^\| (?P<code>\d+) \| (?P<meaning>[^|]+) \|", re.MULTILINE)


def constants(tree: ast.Module) -> dict[str, int]:
    """Whole numbers with names that begin with EXIT."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and "EXIT" in target.id and type(node.value.value) is int
    }


def test_the_page_has_the_table_of_the_code(repository: Path) -> None:
    page = (repository / "docs" / "commands.md").read_text(encoding="utf-8")
    section = page.partition("## Exit codes")[2].partition("\n## ")[0]
    assert {int(row["code"]): row["meaning"] for row in ROW.finditer(section)} == EXIT_CODES


def test_help_has_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = " ".join(capsys.readouterr().out.partition("Exit codes:")[2].split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in printed


def test_every_constant_is_in_the_table() -> None:
    named = constants(ast.parse(Path(errors.__file__).read_text(encoding="utf-8")))
    assert {0, *named.values()} == set(EXIT_CODES)


def test_no_other_module_has_exit_codes_of_its_own(repository: Path) -> None:
    own = Path(errors.__file__)
    for package in PACKAGES:
        for path in (repository / package).rglob("*.py"):
            if path != own:
                found = constants(ast.parse(path.read_text(encoding="utf-8")))
                assert found == {}, f"{path}: use those of edge_runtime.errors"


def test_errors_end_with_a_code_of_the_table() -> None:
    pending = [HypersegError]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        gate = kind in (errors.GateError, errors.ParityError)
        assert kind.exit_code == (EXIT_GATE if gate else EXIT_MISTAKE), kind.__name__
