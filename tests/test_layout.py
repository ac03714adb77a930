"""Where things lie, what may be imported without what, and what ends up in a wheel."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edge_runtime.cli import REMEDIES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGES = ("training", "export", "calibration", "edge_runtime")
HEAVY = ("torch", "onnx", "onnxruntime", "onnxsim", "onnxscript", "cv2", "gi", "PIL", "numpy")
LIGHT = (
    "edge_runtime", "edge_runtime.cli", "calibration", "calibration.cli", "calibration.cache_cli",
    "training.cli", "training.data.cli", "training.evaluation.cli", "training.reports.cli",
    "export.cli", "export.check_cli", "export.build_cli", "export.import_cli", "export.verify_cli",
    "export.selftest_cli",
)  # fmt: skip
LIGHT_VERBS = (
    "edge_runtime.models_cli", "edge_runtime.run_cli", "edge_runtime.demo_cli",
    "edge_runtime.element_cli", "edge_runtime.completion_cli", "training.candidates",
)  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_package_lies_in_the_repository(repository: Path, package: str) -> None:
    module = importlib.import_module(package)
    assert module.__file__ is not None, f"{package}/ lacks an __init__.py"
    assert Path(module.__file__).resolve().parent == repository / package
    assert module.__doc__, f"{package}/__init__.py does not say what the package is for"
    assert (repository / package / "py.typed").is_file()


def test_every_folder_of_modules_is_a_package(repository: Path) -> None:
    for package in PACKAGES:
        for module in (repository / package).rglob("*.py"):
            assert (module.parent / "__init__.py").is_file(), f"{module.parent}: no __init__.py"


@pytest.mark.parametrize("module", [*LIGHT, *LIGHT_VERBS])
def test_import_is_light(repository: Path, module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=repository, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [], f"`import {module}` loads {done.stdout}"


def project_metadata(repository: Path) -> dict[str, object]:
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_a_missing_package_is_brought_by_the_lightest_extra(repository: Path) -> None:
    """`REMEDIES` name an extra that has the package; torch comes only where nothing else has it."""
    groups = project_metadata(repository)["optional-dependencies"]
    extras = {
        name: {canonicalize_name(Requirement(text).name) for text in texts}
        for name, texts in groups.items()
        if name != "dev"
    }
    for package, remedy in REMEDIES.items():
        named = re.search(r"hyperseg-edge\[(\w+)\]", remedy)
        if named is None:
            continue
        wanted = canonicalize_name({"PIL": "pillow"}.get(package, package))
        having = {
            name
            for name, brought in extras.items()
            if any(one == wanted or one.startswith(f"{wanted}-cu") for one in brought)
        }
        assert named[1] in having, package
        if "torch" in extras[named[1]]:
            assert not [name for name in having if "torch" not in extras[name]], package


def requirements(repository: Path) -> list[Requirement]:
    project = project_metadata(repository)
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(text) for group in groups for text in group]


def pins(repository: Path) -> list[Requirement]:
    lines = (repository / "constraints" / "pinned.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_requirement_has_one_fitting_pin(repository: Path, python: str) -> None:
    environment = {"python_version": python}
    found: dict[str, list[str]] = {}
    for pin in pins(repository):
        if pin.marker is None or pin.marker.evaluate(environment):
            found.setdefault(canonicalize_name(pin.name), []).append(
                str(pin.specifier).removeprefix("==")
            )
    assert [name for name, versions in found.items() if len(versions) != 1] == []
    for requirement in requirements(repository):
        (version,) = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}: pinned at {version}"


def installed_closure(names: list[str]) -> dict[str, importlib.metadata.Distribution]:
    """Every distribution that installing `names` brings, as it is installed here."""
    found: dict[str, importlib.metadata.Distribution] = {}
    queue = list(names)
    while queue:
        name = canonicalize_name(queue.pop())
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform or Python
        for text in found[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                queue.append(requirement.name)
    return found


def test_no_dependency_is_under_the_agpl(repository: Path) -> None:
    closure = installed_closure([requirement.name for requirement in requirements(repository)])
    assert len(closure) > 30
    for name, package in closure.items():
        declared = [
            package.metadata.get("License-Expression") or "",
            (package.metadata.get("License") or "")[:200],
            *(package.metadata.get_all("Classifier") or ()),
        ]
        text = " ".join(declared)
        assert not re.search(r"\bAGPL|Affero", text), f"{name} is under the AGPL"


def test_no_file_names_this_machine(repository: Path) -> None:
    places = [str(repository), str(Path.home()) + "/"]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        content = (repository / name).read_bytes() if (repository / name).is_file() else b""
        for place in places:
            assert place.encode() not in content, f"{name} mentions {place}"


@pytest.mark.slow
def test_wheel_holds_the_four_packages_and_nothing_else(repository: Path, tmp_path: Path) -> None:
    # given a copy of what a wheel is made of: building in place would leave traces
    source = tmp_path / "source"
    source.mkdir()
    subprocess.run(
        ["cp", "-r", *PACKAGES, "tests", "scripts", "pyproject.toml", "README.md", "LICENSE",
         str(source)],
        cwd=repository, check=True, timeout=60,
    )  # fmt: skip
    # when it is built without network
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--no-index", "--wheel-dir", str(tmp_path), str(source)],
        check=True, timeout=300, capture_output=True,
    )  # fmt: skip
    # then
    (wheel,) = tmp_path.glob("hyperseg_edge-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    shipped = {path.name for path in (repository / "edge_runtime" / "models").glob("*")}
    assert {Path(name).name for name in names if name.startswith("edge_runtime/models/")} == shipped
    assert any(name.endswith("licenses/LICENSE") for name in names)
