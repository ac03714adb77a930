"""`--compile` and a GPU named for all processes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edge_runtime.errors import OptionError
from training.distributed import processes
from training.state import load_state


def traced_only(monkeypatch):
    """Compile without code generation, which takes half a minute on a CPU."""
    compile_in_place, seen = nn.Module.compile, []

    def traced(self):
        seen.append(type(self).__name__)
        compile_in_place(self, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", traced)
    return seen


def test_a_compiled_run_ends_with_the_same_weights_under_the_same_names(toy, tmp_path, monkeypatch):
    plain = toy.run(tmp_path / "plain", net=toy.SmoothNet, steps=3)
    seen = traced_only(monkeypatch)

    compiled = toy.run(tmp_path / "compiled", net=toy.SmoothNet, steps=3, compile=True)

    assert seen == ["Trainee"]
    one, two = (load_state(tmp_path / name) for name in ("plain", "compiled"))
    assert one.net.keys() == two.net.keys()
    for name, value in one.net.items():
        torch.testing.assert_close(two.net[name], value)
    assert compiled.best_miou == pytest.approx(plain.best_miou)
    assert one.options == two.options  # how a run is computed may change on resuming


def test_what_cannot_be_compiled_is_one_line(toy, tmp_path, monkeypatch):
    def fails(self):
        def forward(*inputs):
            raise torch._dynamo.exc.TorchDynamoException("no compiler found\nmore")

        self.forward = forward

    monkeypatch.setattr(nn.Module, "compile", fails)
    with pytest.raises(OptionError, match=r"cannot compile .*no compiler found\); leave --compile"):
        toy.run(tmp_path / "run", net=toy.SmoothNet, steps=1, compile=True)


@pytest.mark.parametrize("device", ["cuda:7", "cuda:x"])
def test_a_gpu_that_is_not_there_is_named(device, monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(OptionError, match=f"no GPU '{device}'"), processes(device):
        pass
