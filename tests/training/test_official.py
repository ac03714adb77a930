"""The authors' checkpoints load, strictly, and give the authors' numbers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edge_runtime.errors import ArtifactError
from training import load_official

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
CASES = {"camvid_s": "camvid-s", "city_s": "cityscapes-s", "voc_l": "voc-l"}

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason="reference tensors are not beside the repository"
)


@pytest.fixture(scope="session")
def weights():
    spec = importlib.util.spec_from_file_location(
        "generated_weights", REFERENCE / "generated_weights.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def official_files(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")

    def make(case: str) -> Path:
        path = folder / f"{case}.pth"
        if not path.exists():
            state = weights.state_dict(REFERENCE / f"{case}.npz")
            tensors = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
            torch.save({"state_dict": tensors, "best_iou": np.float64(0.5), "epoch": 3}, path)
        return path

    return make


@needs_reference
@pytest.mark.parametrize("case", CASES)
def test_float64_equals_the_authors_network(case, weights, official_files):
    # given the authors' network by its numbers
    with np.load(REFERENCE / f"{case}.npz") as stored:
        expected = {key: stored[key] for key in stored.files if not key.startswith("stat:")}
    net = load_official(official_files(case), CASES[case]).double()
    image = torch.from_numpy(weights.image(int(expected["seed"]), *expected["size"])).double()

    # when it runs in float64
    with torch.no_grad():
        taps, head = net.encode(image)
        signal = net.context_head(head)
        generated = net.decoder.generate_weights(signal)
        logits = net(image)

    # then every stage agrees; the stored intermediates come from a float32 run
    for index, tap in enumerate([*taps, head]):
        step = max(1, 8 // 2**index)
        assert_close(tap[..., ::step, ::step], expected[f"feature_{index}"], 2e-5)
    if "signal" in expected:
        assert_close(signal[:, ::4], expected["signal"], 2e-5)
    for level, made in enumerate(generated):
        if f"signal_{level}" in expected:
            assert_close(made[:, ::16], expected[f"signal_{level}"], 2e-5)
    assert_close(logits[..., ::4, ::4], expected["logits"], 1e-5)
    mask = logits.argmax(1)[0].numpy()
    clear = expected["margin"].reshape(-1) > 1e-5 * np.abs(expected["logits"]).max()
    agree = (mask == expected["mask"])[::4, ::4].reshape(-1)
    assert agree[clear].all()


def assert_close(found: torch.Tensor, expected: np.ndarray, relative: float) -> None:
    found = found.numpy().reshape(expected.shape)
    worst = np.abs(found - expected).max()
    assert worst <= relative * np.abs(expected).max(), worst


@needs_reference
@pytest.mark.parametrize("case", CASES)
def test_float32_stays_near_the_noise_floor(case, weights, official_files):
    with np.load(REFERENCE / f"{case}.npz") as stored:
        expected, floor = stored["logits"], float(stored["noise_floor"])
        image = torch.from_numpy(weights.image(int(stored["seed"]), *stored["size"]))
    net = load_official(official_files(case), CASES[case])
    with torch.no_grad():
        found = net(image)[..., ::4, ::4].numpy()
    assert np.abs(found - expected).max() <= 20 * floor


@needs_reference
@pytest.mark.parametrize("case", CASES)
def test_the_configuration_is_found_from_the_keys(case, official_files):
    net = load_official(official_files(case))
    assert net.config == load_official(official_files(case), CASES[case]).config


@needs_reference
def test_keys_of_a_data_parallel_run_are_accepted(official_files, tmp_path):
    content = torch.load(official_files("camvid_s"), weights_only=False)  # noqa: TID251
    wrapped = {f"module.{key}": value for key, value in content["state_dict"].items()}
    torch.save({"state_dict": wrapped}, tmp_path / "parallel.pth")
    plain = load_official(official_files("camvid_s"), "camvid-s").state_dict()
    loaded = load_official(tmp_path / "parallel.pth", "camvid-s").state_dict()
    assert all(torch.equal(plain[key], loaded[key]) for key in plain)


@needs_reference
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda state: state.pop("backbone._conv_stem.weight"), "1 missing"),
        (lambda state: state.update({"surprise.weight": torch.zeros(1)}), "1 unknown"),
        (
            lambda state: state.update({"backbone._conv_stem.weight": torch.zeros(1, 3, 3, 3)}),
            "1 misshapen",
        ),
        (lambda state: state.update({"backbone.stem.conv.weight": torch.zeros(1)}), "twice"),
    ],
    ids=["missing", "unknown", "misshapen", "twice"],
)
def test_a_key_out_of_place_is_refused(official_files, tmp_path, change, complaint):
    content = torch.load(official_files("camvid_s"), weights_only=False)  # noqa: TID251
    change(content["state_dict"])
    torch.save(content, tmp_path / "changed.pth")
    with pytest.raises(ArtifactError, match=complaint):
        load_official(tmp_path / "changed.pth", "camvid-s")


@needs_reference
def test_another_preset_is_refused_by_name(official_files):
    with pytest.raises(ArtifactError, match="does not fit preset 'camvid-l'"):
        load_official(official_files("camvid_s"), "camvid-l")


class Exploit:
    """Unpickling this would create a file."""

    def __reduce__(self):
        return Path.touch, (Path(Exploit.target),)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04cut short"])
def test_damaged_files_are_refused_in_one_line(tmp_path, content):
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        load_official(tmp_path / "bad.pth", "camvid-s")
    assert "\n" not in str(caught.value)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    Exploit.target = str(tmp_path / "executed")
    torch.save({"state_dict": {"x": torch.zeros(1)}, "arch": Exploit()}, tmp_path / "evil.pth")
    with pytest.raises(ArtifactError, match="without running code"):
        load_official(tmp_path / "evil.pth", "camvid-s")
    assert not (tmp_path / "executed").exists()


def test_a_dictionary_without_weights_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(ArtifactError, match="state_dict"):
        load_official(tmp_path / "empty.pth", "camvid-s")


@needs_reference
@pytest.mark.parametrize("case", CASES)
def test_every_official_key_has_a_place(case):
    """Counts of the published state dicts: nothing is skipped but coordinates."""
    with np.load(REFERENCE / f"{case}.npz") as stored:
        keys = json.loads(str(stored["keys"]))
    counts = {"camvid_s": (614, 10), "city_s": (607, 10), "voc_l": (702, 0)}
    coordinates = [key for key in keys if ".coord" in key]
    assert (len(keys), len(coordinates)) == counts[case]
