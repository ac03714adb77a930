"""Reference form against deployment form, in PyTorch and in ONNX Runtime, same weights.

The reference form is the network as `training.model` has it: grouped convolutions on unfolded
patches, batch norms, the whole context head. Both take a uint8 frame and give a uint8 mask. Weights
are random with calibrated batch norms, which changes no shape. Beside the ratios stands how far the
deployment form is from the limit, the time its multiplications would take at the rate that dense
networks reach.

``onnxruntime_deploy`` is what the runtime runs, opened as it opens it: the deployment graph,
rewritten for this machine (`edge_runtime.backends.blocked`). ``onnxruntime_plain`` is the graph as
it lies in the file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from benchmarks.paired import interleaved, ratio, report, summary
from edge_runtime.allocator import keep_freed_memory
from edge_runtime.backends.ort import open_session, session_options
from edge_runtime.backends.settings import OrtSettings
from export.counts import count_macs
from export.deploy import DeployHyperSeg, DeployNetwork
from export.to_onnx import trace
from training.model.hyperseg import HyperSeg
from training.presets import PUBLISHED, preset

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from edge_runtime.backends.blocked.load import Prepared
    from training.model.config import HyperSegConfig


DENSE_GMACS = 130.0
"""Billions of float32 multiply-accumulates a second and core that networks of plain 3x3
convolutions reach in ONNX Runtime on the machine whose results are kept."""


class ReferenceForm(nn.Module):
    """Frame in, mask out, with nothing rewritten."""

    def __init__(self, net: HyperSeg) -> None:
        super().__init__()
        self.net = net
        mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (net.config.mean, net.config.std))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, frame: Tensor) -> Tensor:
        """(1, H, W, 3) uint8 -> (1, H, W) uint8."""
        image = (frame.to(self.mean.dtype).permute(0, 3, 1, 2) / 255.0 - self.mean) / self.std
        return self.net(image).argmax(1).to(torch.uint8)


def calibrated(network: str | HyperSegConfig, side: int = 128) -> HyperSeg:
    """A preset or network with batch-norm statistics of unit-scale noise: no decay to denormals.

    Args:
        network: name of a preset, or a configuration.
        side: height and width of the noise; must fit the network.
    """
    torch.manual_seed(0)
    net = HyperSeg(preset(network) if isinstance(network, str) else network)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for _ in range(2):
            net.train()(torch.randn(2, 3, side, side))
    return net.eval()


def session(graph: onnx.ModelProto, threads: int) -> ort.InferenceSession:
    """ONNX Runtime on the CPU, set up as the runtime sets it up.

    Above all without spinning: the idle threads of one session would take the cores of the next.
    """
    options = session_options(ort, threads)
    return ort.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def runtime_session(graph: onnx.ModelProto, threads: int) -> tuple[ort.InferenceSession, Prepared]:
    """What the runtime would run a graph with, and what of it was rewritten."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "deploy.onnx"
        path.write_bytes(graph.SerializeToString())
        return open_session(ort, path, OrtSettings(threads))


def measure(name: str, rounds: int, threads: int) -> dict[str, Any]:
    """One preset at its own size."""
    net = calibrated(name)
    size = net.config.train_size
    frame: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    tensor = torch.from_numpy(frame)
    forms = {"reference": ReferenceForm(net).eval(), "deploy": DeployHyperSeg(net, size, "mask")}
    graphs = [trace(form, tensor, "frame", "mask") for form in forms.values()]
    sessions = [session(graph, threads) for graph in graphs]
    opened, prepared = runtime_session(graphs[1], threads)
    # A graph that stays what it is: one session stands for both.
    sessions.append(opened if prepared.rewritten else sessions[1])
    with torch.inference_mode():
        times = interleaved(
            [
                *(lambda form=form: form(tensor) for form in forms.values()),
                *(lambda s=s: s.run(None, {"frame": frame}) for s in sessions),
            ],
            rounds,
        )
    gmacs = count_macs(DeployNetwork(net, size), size).total / 1e9
    limit = gmacs / (DENSE_GMACS * threads) * 1e3
    labels = [
        "torch_reference", "torch_deploy",
        "onnxruntime_reference", "onnxruntime_plain", "onnxruntime_deploy",
    ]  # fmt: skip
    return {
        "size": list(size),
        "threads": threads,
        "gmacs": count_macs(net, size).total / 1e9,
        "deploy_gmacs": gmacs,
        "deploy_limit_ms": limit,
        "milliseconds": {k: summary(t) for k, t in zip(labels, times, strict=True)},
        "deploy_over_reference_in_torch": ratio(times[1], times[0]),
        "rewritten": str(prepared),
        "deploy_over_reference_in_onnxruntime": ratio(times[4], times[2]),
        "plain_over_reference_in_onnxruntime": ratio(times[3], times[2]),
        "rewritten_over_plain_in_onnxruntime": ratio(times[4], times[3]),
        "onnxruntime_deploy_over_torch_reference": ratio(times[4], times[0]),
        "onnxruntime_deploy_over_limit": summary([time / limit for time in times[4]]),
    }


def main() -> None:
    """Measure presets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="*", default=[*PUBLISHED, "edge-n", "street-n"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    report(
        {name: measure(name, options.rounds, options.threads) for name in options.presets},
        options.json,
    )


if __name__ == "__main__":
    main()
