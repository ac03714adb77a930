"""Shipped models: found by name, listed, and what really ships is small, licensed and whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_runtime import zoo
from edge_runtime.artifacts import Metric, manifest_path, read_manifest
from edge_runtime.errors import ArtifactError, ManifestError
from edge_runtime.models_cli import models
from edge_runtime.zoo import list_models, resolve_model

SHIPPED_LIMIT_BYTES = 25_000_000


@pytest.fixture
def shipped(tmp_path: Path, make_model, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two models, in place of the package's own."""
    folder = tmp_path / "models"
    folder.mkdir()
    make_model("street-b", folder=folder, metrics=(Metric("mIoU", 0.625, "street test"),))
    make_model("street-a", folder=folder, parameters=None, macs=2_500_000_000)
    monkeypatch.setattr(zoo, "MODELS_FOLDER", folder)
    return folder


def test_listing_is_sorted_by_name(shipped: Path) -> None:
    found = list_models()
    assert [model.name for model in found] == ["street-a", "street-b"]
    assert [model.path for model in found] == [shipped / "street-a.onnx", shipped / "street-b.onnx"]
    assert found[1].manifest.metrics[0].value == 0.625


def test_no_models_at_all(tmp_path: Path) -> None:
    assert list_models(tmp_path) == ()
    assert list_models(tmp_path / "missing") == ()


def test_listing_refuses_a_model_without_manifest(shipped: Path) -> None:
    manifest_path(shipped / "street-a.onnx").unlink()
    with pytest.raises(ManifestError, match="no manifest"):
        list_models()


def test_name_resolves_to_the_shipped_file(shipped: Path) -> None:
    assert resolve_model("street-a") == shipped / "street-a.onnx"


def test_existing_file_wins_over_a_shipped_name(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "street-a").write_bytes(b"mine")
    assert resolve_model("street-a") == Path("street-a")


@pytest.mark.parametrize("name", ["with space", "übergrößé", "路"])
def test_any_file_name_is_a_path(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.write_bytes(b"x")
    assert resolve_model(str(place)) == place


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("street_a", "did you mean street-a"),
        ("street-a.onnx", "did you mean street-a"),
        ("/nowhere/street-b.onnx", "did you mean street-b"),
        ("quiz", "`hyperseg models` lists the shipped"),
        ("", "is a folder|neither a file"),
        ("n" * 5000, "neither a file nor a shipped model"),
    ],
)
def test_unknown_model_is_refused_with_the_nearest(shipped: Path, text: str, hint: str) -> None:
    with pytest.raises(ArtifactError, match=hint):
        read_manifest(resolve_model(text))


def test_models_verb_prints_json(shipped: Path) -> None:
    done = CliRunner().invoke(models, ["--json"])
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["schema"] == "hyperseg-edge.models/1"
    first, second = document["models"]
    assert first == {
        "name": "street-a",
        "path": str(shipped / "street-a.onnx"),
        "input": [64, 128],
        "classes": 8,
        "parameters": None,
        "macs": 2_500_000_000,
        "license": "Apache-2.0",
        "metrics": [],
    }
    assert second["metrics"] == [{"name": "mIoU", "value": 0.625, "data": "street test"}]


def test_models_verb_prints_a_table(shipped: Path) -> None:
    done = CliRunner().invoke(models, [])
    assert done.exit_code == 0
    header, first, second = done.stdout.splitlines()
    assert header.split() == ["name", "input", "classes", "parameters", "MACs", "accuracy"]
    assert first.split() == ["street-a", "64x128", "8", "-", "2.5", "G", "-"]
    assert second.split()[:6] == ["street-b", "64x128", "8", "1.2", "M", "98.0"]
    assert "mIoU 0.625 on street test" in " ".join(second.split())


def test_models_verb_names_the_terms_of_weights_that_are_not_free(
    shipped: Path, make_model
) -> None:
    terms = "trained on CamVid: CC BY-NC 4.0, non-commercial use only"
    make_model("road", folder=shipped, license=terms)
    lines = CliRunner().invoke(models, []).stdout.splitlines()
    assert lines[-1] == f"road: {terms}"
    assert len(lines) == 5


def test_models_verb_without_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "MODELS_FOLDER", tmp_path)
    assert json.loads(CliRunner().invoke(models, ["--json"]).stdout)["models"] == []
    assert "No models are shipped" in CliRunner().invoke(models, []).stdout


def test_what_ships_is_whole_small_and_licensed() -> None:
    for model in list_models():
        manifest = read_manifest(model.path, kind="onnx")
        assert manifest.name == model.name
        assert manifest.license, f"{model.name} does not say under which licence it comes"
        assert manifest.parity is not None, f"{model.name} was exported without its parity gate"
        assert manifest.parity.passed
    files = [path for path in zoo.MODELS_FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= SHIPPED_LIMIT_BYTES
