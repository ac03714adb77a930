"""Blocked convolutions in the backend: when they are used, what is said, and what goes wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_runtime.artifacts import read_manifest
from edge_runtime.backends import ort as backends
from edge_runtime.backends.base import EngineStamps, open_backend
from edge_runtime.backends.blocked import probe
from edge_runtime.backends.blocked.load import AS_IT_IS, Prepared, most_groups, prepare
from edge_runtime.backends.blocked.model_file import PIECE, pieces, rewritten
from edge_runtime.backends.settings import OrtSettings
from edge_runtime.errors import BackendError
from edge_runtime.street.camera import StreetCamera, StreetOptions
from edge_runtime.zoo import MODELS_FOLDER

onnx = pytest.importorskip("onnx", reason="the graph is rewritten with onnx: scripts/setup dev")
ort = pytest.importorskip("onnxruntime", reason="scripts/setup runtime brings it")

STREET = MODELS_FOLDER / "street-edge-n.onnx"
LEVELS = {STREET: 16_128, MODELS_FOLDER / "camvid-edge-s.onnx": 63_936}
"""Models with a generated depthwise convolution, and its groups."""
WITHOUT = MODELS_FOLDER / "camvid-edge-n.onnx"
PLAIN = OrtSettings(1, blocked=False)
FRAMES = (0, 40, 80)
TIE = 2e-5
"""Two logits that are nearer than this, by the largest one, may change places by rounding."""


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """The street model without its second half."""
    path = tmp_path / "cut.onnx"
    whole = STREET.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def frames(size: tuple[int, int]) -> list[np.ndarray]:
    camera = StreetCamera(StreetOptions(size, seed=3))
    return [np.ascontiguousarray(camera.frame(i)[0][None, ..., ::-1]) for i in FRAMES]


def logits(path: Path, model: bytes | None) -> list[np.ndarray]:
    """What the argmax of a shipped model reads, (pixels, classes), frame by frame."""
    graph = onnx.load_model_from_string(model or path.read_bytes())
    argmax = next(node for node in graph.graph.node if node.op_type == "ArgMax")
    read = onnx.helper.make_tensor_value_info(argmax.input[0], onnx.TensorProto.FLOAT, None)
    graph.graph.output.append(read)
    session = ort.InferenceSession(
        graph.SerializeToString(), backends.session_options(ort, 1),
        providers=["CPUExecutionProvider"],
    )  # fmt: skip
    size = read_manifest(path).input_size
    return [session.run([argmax.input[0]], {"frame": frame})[0] for frame in frames(size)]


@pytest.mark.slow
@pytest.mark.parametrize("path", LEVELS, ids=lambda path: path.stem)
def test_shipped_models_say_the_same(path, block):
    prepared = prepare(path, 1)
    assert prepared.model is not None

    for found, wanted in zip(logits(path, prepared.model), logits(path, None), strict=True):
        scale = abs(wanted).max()
        assert abs(found - wanted).max() < TIE / 2 * scale
        best = np.sort(wanted, axis=-1)
        clear = best[..., -1] - best[..., -2] > TIE * scale
        assert clear.mean() > 0.99
        assert (found.argmax(-1) == wanted.argmax(-1))[clear].all()


def test_backend_runs_the_rewritten_graph_and_says_so(block):
    manifest = read_manifest(STREET)
    (frame,) = frames(manifest.input_size)[:1]
    masks = []

    for settings in (OrtSettings(1), PLAIN):
        with open_backend(STREET, manifest, settings=settings) as backend:
            np.copyto(backend.feeds["frame"], frame)
            backend.infer(EngineStamps())
            masks.append(backend.fetches["mask"].copy())
            said = f"convolutions in blocks of {block}" if settings.blocked else "switched off"
            assert backend.blocked == settings.blocked
            assert said in backend.name

    assert (masks[0] == masks[1]).mean() > 0.9999


def test_the_switch_survives_a_number_of_threads():
    backend = open_backend(STREET, read_manifest(STREET), threads=1, settings=PLAIN)

    assert backend.settings == PLAIN
    assert not backend.blocked


def test_the_file_is_only_read(block):
    before = STREET.read_bytes()
    assert prepare(STREET, 1).model is not None
    assert STREET.read_bytes() == before


@pytest.mark.parametrize(
    ("path", "groups"), LEVELS.items(), ids=lambda value: Path(str(value)).stem
)
def test_groups_are_read_from_the_bytes(path, groups):
    assert most_groups(path) == groups


def test_other_models_are_opened_without_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)

    assert most_groups(WITHOUT) < 4096
    assert prepare(WITHOUT, 1) == AS_IT_IS
    assert open_backend(WITHOUT, read_manifest(WITHOUT), threads=1).name.endswith("(CPU)")


def test_without_onnx_the_plain_graph_runs_and_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)

    backend = open_backend(STREET, read_manifest(STREET), threads=1)

    assert not backend.blocked
    assert backend.name.endswith("(CPU; plain convolutions: onnx is not installed)")


def test_a_machine_without_blocks_runs_the_plain_graph(monkeypatch):
    monkeypatch.setattr(probe, "machine_block", lambda: None)

    backend = open_backend(STREET, read_manifest(STREET), threads=1)

    assert not backend.blocked
    assert backend.name.endswith("(CPU; plain convolutions: onnxruntime has no blocked ones here)")


def test_a_block_is_believed_only_if_the_result_is_right(monkeypatch, block):
    monkeypatch.setattr(probe, "BLOCKS", tuple({8, 16} - {block}))
    assert probe.machine_block.__wrapped__() is None


def test_operators_that_do_not_exist_are_no_error(monkeypatch):
    monkeypatch.setattr(probe, "DOMAIN", "com.example.nowhere")
    assert probe.machine_block.__wrapped__() is None


def test_a_rewritten_graph_that_is_refused_gives_way_to_the_file(monkeypatch):
    monkeypatch.setattr(backends, "prepare", lambda *_: Prepared(b"no model", "rewritten"))

    backend = open_backend(STREET, read_manifest(STREET), threads=1)

    assert not backend.blocked
    assert backend.name.endswith(
        "(CPU; plain convolutions: onnxruntime refuses the rewritten model)"
    )


def test_a_damaged_model_is_refused_as_ever(damaged):
    said = []
    for settings in (OrtSettings(1), PLAIN):
        with pytest.raises(BackendError) as caught:
            open_backend(damaged, read_manifest(STREET), settings=settings)
        said.append(str(caught.value))

    assert said[0] == said[1]
    assert "\n" not in said[0]


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_what_is_no_model_is_left_to_onnxruntime(tmp_path, content):
    path = tmp_path / "no.onnx"
    assert prepare(path, 1) == AS_IT_IS
    path.write_bytes(content)
    assert prepare(path, 1) == AS_IT_IS


def test_weights_in_other_files_are_left_there(tmp_path):
    model = onnx.load(STREET)
    path = tmp_path / "split.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)

    prepared = prepare(path, 1)

    assert prepared.model is None
    assert "plain convolutions: " in str(prepared)


def test_a_file_that_is_cut_short_while_it_is_read_ends_nothing(tmp_path):
    path = tmp_path / "shrinking.onnx"
    path.write_bytes(bytes(3 * PIECE))
    reading = pieces(path)
    assert len(next(reading)) == PIECE
    path.write_bytes(b"")
    assert list(reading) == []


def test_what_lies_across_two_pieces_is_found(tmp_path):
    path = tmp_path / "long.onnx"
    attribute = b"\n\x05group\x18\x80\x40"  # group: 8192
    for start in (PIECE - len(attribute) // 2, PIECE - len(attribute), PIECE):
        path.write_bytes(bytes(start) + attribute + bytes(PIECE))
        assert most_groups(path) == 8192


def test_an_onnx_that_cannot_be_imported_costs_the_speed_alone(tmp_path, monkeypatch, block):
    # given onnx and protobuf of versions that do not go together, which say so as they like
    broken = "raise TypeError('Descriptors cannot be created directly')"
    (tmp_path / "onnx.py").write_text(broken)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnx"]:
        monkeypatch.delitem(sys.modules, name)
    # when
    backend = open_backend(STREET, read_manifest(STREET), threads=1)
    # then
    assert backend.name.endswith("(CPU; plain convolutions: onnx does not load (TypeError))")


def test_a_model_that_vanishes_or_is_too_large_is_left_as_it_is(tmp_path):
    def too_large(model):
        raise MemoryError

    assert rewritten(tmp_path / "gone.onnx", lambda model: 1) == (b"", 0)
    assert rewritten(STREET, too_large) == (b"", 0)


def test_settings_stored_before_there_was_a_switch_leave_it_on():
    stored = b'{"threads": 2, "spinning": "off", "pinned": false, "block_base": null}'
    assert msgspec.json.decode(stored, type=OrtSettings) == OrtSettings(2)
    assert "blocked convolutions no" in str(PLAIN)
