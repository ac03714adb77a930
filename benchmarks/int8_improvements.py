"""What makes an INT8 model better than plain quantisation after training, and by how much.

All forms of one model are calibrated on the same frames and run on the same labelled images, image
by image. Plain quantisation rounds each weight to the nearest integer. Beside it: adaptive rounding
(`calibration.rounding`); bias correction, which takes back what the rounded weights add to each
channel on average; both at once, also with the rounding fitted about the mean that the bias takes
care of; cross-layer equalisation (`benchmarks.equalisation`); learned ranges, where a table of them
is given.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.equalisation import equalised
from benchmarks.int8_accuracy import EveryNth
from benchmarks.labelled import labelled_arguments
from benchmarks.paired import report
from calibration.adaptive import Rounded
from calibration.graph import GraphView
from calibration.labelled import open_labelled
from calibration.methods import METHODS, choose_ranges, prefer_given
from calibration.patches import ConvLayer, Moments, conv_layers, in_chunks, moments
from calibration.policy import POLICIES, Placement, place
from calibration.qdq import SCALE, insert, strip
from calibration.ranges import collect, exposed
from calibration.rounding import round_adaptively, round_nearest
from calibration.samples import SampleOptions, gather, network_frame, refuse_shared
from calibration.storage import with_integers
from edge_runtime.artifacts import Manifest, read_manifest
from edge_runtime.geometry import FrameGeometry
from edge_runtime.metrics import ConfusionMatrix
from edge_runtime.range_table import read_ranges
from edge_runtime.stored_weights import unpack_weights
from export.scores import scores_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from calibration.frames import StoredFrames


@dataclass
class Calibrated:
    """A float model, its plain INT8 form and what its layers read there."""

    model: onnx.ModelProto
    placement: Placement
    graph: onnx.ModelProto
    layers: list[ConvLayer] = field(default_factory=list)
    moments: dict[str, Moments] = field(default_factory=dict)

    def arrays(self, layer: ConvLayer) -> tuple[NDArray[Any], NDArray[Any], Moments]:
        """(G, O, K) weight, (G, O, 1) scales, and moments."""
        view = GraphView(self.graph)
        weight, scales = view.value(layer.weight), view.value(layer.weight + SCALE)
        assert weight is not None
        assert scales is not None
        grouped = weight.reshape(layer.groups, -1, layer.taps)
        return grouped, scales.reshape(layer.groups, -1, 1), self.moments[layer.weight]


def calibrated(
    model: onnx.ModelProto,
    frames: StoredFrames,
    options: argparse.Namespace,
    given: Mapping[str, float] | None = None,
) -> Calibrated:
    """The plain form, and moments of its layers."""
    placement = place(model, POLICIES[options.policy])
    names = [tensor.name for tensor in placement.tensors]
    found = collect(model, names, frames, threads=options.threads)
    ranges = choose_ranges(placement, found.tensors, options.method)
    graph = insert(model, placement, prefer_given(placement, ranges, given or {}))
    made = Calibrated(model, placement, graph, conv_layers(model, placement))
    for chunk in in_chunks(made.layers):
        sums = moments(graph, chunk, frames, range(len(frames)), options.threads)
        made.moments.update(zip((layer.weight for layer in chunk), sums, strict=True))
    return made


def rounded(made: Calibrated, rule: str, *, correct_bias: bool = False) -> onnx.ModelProto:
    """The INT8 form by a rule of rounding: ``nearest``, ``adaptive`` or ``about the mean``."""
    chosen, corrections = {}, {}
    for layer in made.layers:
        weight, scales, found = made.arrays(layer)
        mean = found.first / found.count
        second = found.second
        if rule == "about the mean":
            second = second - found.count * mean[:, :, None] * mean[:, None, :]
        if rule == "nearest":
            integers = round_nearest(weight, scales)
        else:
            integers = round_adaptively(weight, scales, second)
        flat = scales.reshape(-1).astype(np.float32)
        chosen[layer.weight] = Rounded(integers.reshape(layer.weight_shape), flat)
        lost = weight.astype(np.float64) - scales * integers
        corrections[layer.weight] = (lost @ mean[:, :, None]).reshape(-1)
    graph = with_integers(made.graph, chosen)
    if correct_bias:
        biases = {n.input[1]: n.input[2] for n in made.model.graph.node if len(n.input) > 2}
        add_to(graph, {biases[name]: lost for name, lost in corrections.items() if name in biases})
    return graph


def add_to(model: onnx.ModelProto, changes: Mapping[str, NDArray[np.float64]]) -> None:
    """Add to initializers, in place."""
    for tensor in model.graph.initializer:
        if tensor.name in changes:
            values = numpy_helper.to_array(tensor) + changes[tensor.name]
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def compare(
    graphs: Mapping[str, onnx.ModelProto], data: EveryNth, manifest: Manifest, threads: int
) -> dict[str, Any]:
    """Every graph beside the first, which is the float one, image by image."""
    first = next(iter(graphs.values()))
    logits = scores_of(first)
    runs = {name: exposed(graph, [logits], threads) for name, graph in graphs.items()}
    matrices = {name: ConfusionMatrix(data.labels) for name in graphs}
    noise, same = dict.fromkeys(graphs, 0.0), dict.fromkeys(graphs, 0.0)
    signal = 0.0
    for index in range(len(data)):
        _, image, labels = data.read(index)
        size = (labels.shape[0], labels.shape[1])
        geometry = FrameGeometry(size, manifest.input_size, manifest.preprocess.resize)
        frame = network_frame(image, manifest)
        reference = None
        for name, run in runs.items():
            values = run(frame)[0].astype(np.float64)
            reference = values if reference is None else reference
            noise[name] += float(((values - reference) ** 2).sum())
            same[name] += float((values.argmax(1) == reference.argmax(1)).mean()) / len(data)
            mask = values[0].argmax(0).astype(np.uint8)
            matrices[name].update(labels, geometry.mask_to_frame(mask))
        assert reference is not None
        signal += float((reference**2).sum())
    scores = {name: matrix.scores().miou for name, matrix in matrices.items()}
    base, *others = graphs
    return {"fp32_miou": scores[base]} | {
        name: {
            "logits_sqnr_db": 10 * math.log10(signal / noise[name]),
            "agreement": same[name],
            "miou": scores[name],
            "miou_drop_points": 100 * (scores[base] - scores[name]),
        }
        for name in others
    }


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All forms of one model under one policy."""
    manifest = read_manifest(options.model, kind="onnx")
    model = unpack_weights(strip(onnx.load_model(options.model)))
    data = EveryNth(open_labelled(options.data, options.split, manifest.input_size), options.every)
    frames = gather(SampleOptions(options.frames, options.samples), manifest, folder / "frames")
    refuse_shared(frames, data, manifest)
    plain = calibrated(model, frames, options)
    balanced, what = equalised(model, frames, options.threads)
    even = calibrated(balanced, frames, options)
    graphs = {
        "fp32": model,
        "nearest": plain.graph,
        "adaptive": rounded(plain, "adaptive"),
        "nearest, bias correction": rounded(plain, "nearest", correct_bias=True),
        "adaptive, bias correction": rounded(plain, "adaptive", correct_bias=True),
        "adaptive about the mean, bias correction": rounded(
            plain, "about the mean", correct_bias=True
        ),
        "equalised float": balanced,
        "equalised, nearest": even.graph,
        "equalised, adaptive": rounded(even, "adaptive"),
    }
    if options.ranges is not None:
        learned = calibrated(model, frames, options, read_ranges(options.ranges, manifest).ranges)
        graphs["learned ranges, nearest"] = learned.graph
        graphs["learned ranges, adaptive"] = rounded(learned, "adaptive")
    return {
        "model": manifest.name, "model_sha256": manifest.sha256, "policy": options.policy,
        "method": options.method, "calibrated_on": len(frames), "data": data.name,
        "images": len(data), "equalisation": what,
        "forms": compare(graphs, data, manifest, options.threads),
    }  # fmt: skip


def main() -> None:
    """Compare on one labelled split."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    labelled_arguments(parser, "FLOAT.onnx with a mask head", samples=16, every=10)
    parser.add_argument("--policy", choices=list(POLICIES), default="ort-cpu")
    parser.add_argument("--method", choices=METHODS, default="mse")
    parser.add_argument("--ranges", type=Path, help="learned by QAT, for this model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options, Path(folder))
    report(figures, options.json)


if __name__ == "__main__":
    main()
