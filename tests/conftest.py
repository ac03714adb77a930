"""What tests of all packages share: seeds, the repository, small manifests, skips with a reason."""

from __future__ import annotations

import importlib.util
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.artifacts import CreatedBy, Manifest, Preprocess, TensorSpec, write_artifact
from edge_runtime.labels import STREET_8

ROOT = Path(__file__).resolve().parent.parent

MakeModel = Callable[..., Path]


def pytest_configure() -> None:
    # A suite started in the background inherits an ignored Ctrl-C, and so would its children.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gst") and importlib.util.find_spec("gi") is None:
        pytest.skip("PyGObject is not installed: scripts/setup brings it")
    if item.get_closest_marker("gpu") and shutil.which("nvidia-smi") is None:
        pytest.skip("no NVIDIA GPU here")


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # for libraries that draw from numpy's global generator


@pytest.fixture(autouse=True)
def _denormals_come_back() -> Iterator[None]:
    """Who trains or scores flushes denormal numbers in the whole process; other tests draw them."""
    yield
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def repository() -> Path:
    return ROOT


@pytest.fixture
def block() -> int:
    """Channels that ONNX Runtime's convolutions keep side by side on this machine."""
    from edge_runtime.backends.blocked.probe import machine_block

    found = machine_block()
    if found is None:
        pytest.skip("onnxruntime has no blocked convolution on this machine")
    return found


@pytest.fixture
def manifest() -> Manifest:
    """A mask model's manifest; `write_artifact` fills in the hash."""
    return Manifest(
        kind="onnx",
        name="tiny",
        sha256="",
        created_by=CreatedBy("test", "0"),
        labels=STREET_8,
        preprocess=Preprocess((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        inputs=(TensorSpec("frame", (1, 64, 128, 3), "uint8"),),
        outputs=(TensorSpec("mask", (1, 64, 128), "uint8"),),
        head="mask",
        parameters=1_234_567,
        macs=98_000_000,
        license="Apache-2.0",
    )


@pytest.fixture
def make_model(tmp_path: Path, manifest: Manifest) -> MakeModel:
    """Write `content` as an artefact: ``make_model("a", b"...", folder=..., macs=5)``.

    The bytes are no network: these artefacts are for what reads manifests, not for inference.
    """

    def make(
        name: str = "tiny", content: bytes = b"graph", folder: Path = tmp_path, **fields: object
    ) -> Path:
        path = folder / f"{name}.onnx"
        part = folder / f"{name}.part"
        part.write_bytes(content)
        write_artifact(part, path, replace(manifest, name=name, **fields))
        return path

    return make
