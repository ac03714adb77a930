"""The table of TensorRT's names against the compiled bindings of three versions and of RTX.

The record was read from the wheels by ``scripts/record_tensorrt_names.py``; with
``HYPERSEG_TENSORRT_WHEELS`` naming a folder of them it is read again.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_runtime.errors import DependencyError
from export.tensorrt import adapter
from export.tensorrt.capabilities import NAMES, RECORDED, load, probe, recorded

RECORD = json.loads(Path(__file__).with_name("tensorrt_names.json").read_text())
RTX_LACKS = {
    "EXPLICIT_BATCH", "FP16", "int8_calibrator", "IInt8EntropyCalibrator2", "IInt8MinMaxCalibrator",
}  # fmt: skip


@pytest.fixture(scope="module")
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: extra [rtx]")


def names_within(module) -> set[str]:
    """All attributes of a module, of its classes and of their enumerations."""
    found = set(dir(module))
    for name in dir(module):
        kind = getattr(module, name)
        if isinstance(kind, type):
            found |= set(dir(kind))
            found |= {inner for attribute in dir(kind) for inner in dir(getattr(kind, attribute))}
    return found


@pytest.mark.parametrize("column", range(len(RECORDED)), ids=RECORDED)
def test_the_table_is_what_the_compiled_bindings_hold(column):
    absent = set(RECORD[RECORDED[column]]["absent"])
    assert {name for name, present in NAMES.items() if not present[column]} == absent


@pytest.mark.parametrize("version", RECORDED)
def test_the_record_holds_every_name_of_the_table(version):
    entry = RECORD[version]
    assert set(NAMES) == {*entry["present"], *entry["as_an_end"], *entry["absent"]}
    assert version in entry["wheel"]
    assert len(entry["sha256"]) == 64


def test_the_record_can_be_read_again(repository):
    wheels = os.environ.get("HYPERSEG_TENSORRT_WHEELS")
    if wheels is None:
        pytest.skip("HYPERSEG_TENSORRT_WHEELS names no folder of bindings wheels")
    script = repository / "scripts" / "record_tensorrt_names.py"
    done = subprocess.run(
        [sys.executable, str(script), wheels, "--verify"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_rtx_has_and_lacks_what_the_table_says(rtx):
    there = names_within(rtx)
    assert {name for name in NAMES if name not in there} == RTX_LACKS


def test_every_name_the_adapter_uses_is_in_the_table(rtx):
    """An attribute that is a name of TensorRT's own must have been looked up in the bindings."""
    tree = ast.parse(Path(adapter.__file__).read_text())
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    of_python = {name for kind in (str, bytes, list, dict, Path) for name in dir(kind)}
    own = {"name", "type", "dtype", "log", *vars(adapter)}
    foreign = (used & names_within(rtx)) - of_python - own
    assert foreign
    assert foreign <= set(NAMES), f"not in the table: {sorted(foreign - set(NAMES))}"


@pytest.mark.parametrize(
    ("version", "weak", "calibrators", "levels"),
    [
        ("10.3.0", True, True, ("AMPERE_PLUS",)),
        ("10.16.1.11", True, True, ("AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY")),
        ("11.4.0.106", False, False, ("AMPERE_PLUS", "SAME_COMPUTE_CAPABILITY")),
    ],
)
def test_capabilities_follow_from_the_names(version, weak, calibrators, levels):
    can = recorded(version)
    assert (can.weak_typing, can.calibrators, can.hardware_levels) == (weak, calibrators, levels)
    assert can.timing_cache
    assert can.targets == ()


def test_the_probe_of_rtx(rtx):
    can = probe(rtx)
    assert can.runtime == "tensorrt_rtx"
    assert not can.weak_typing
    assert not can.calibrators
    assert not can.timing_cache
    assert {"8.6", "8.9", "12.0"} <= set(can.targets)
    assert not {"8.7", "11.0", "9.0"} & set(can.targets)


def test_an_absent_runtime_names_the_remedy():
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        with pytest.raises(DependencyError, match=r"system package.*--system-site-packages"):
            load("tensorrt")
    else:
        assert load("tensorrt").__name__ == "tensorrt"
