"""The import stage: a foreign ONNX file in; deployed model, manifest and verdict out."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING

import onnx

from edge_runtime.artifacts import (
    Manifest,
    Parent,
    Preprocess,
    create_artifact,
    created_by_this_command,
    sha256_of,
)
from edge_runtime.errors import BackendError, OptionError
from export.importing.anatomy import image_input, segmenting_output
from export.importing.classes import label_set
from export.importing.load import first_line, load_model, opset_of
from export.importing.proof import Wrapped, prove
from export.importing.wrap import Wrapper
from export.precision import graph_precision

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.artifacts import Parity, TensorSpec
    from edge_runtime.labels import LabelSet
    from export.importing.anatomy import GraphInput, GraphOutput
    from export.importing.options import ImportOptions

WEIGHTED = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8)


def import_model(
    path: Path, options: ImportOptions, report: Callable[[str], None] = lambda _: None
) -> Manifest:
    """Write the deployed form of a foreign graph, once it is proven to be the same network.

    Args:
        path: any ONNX file with one image input.
        options: what the file does not say.
        report: takes progress lines.

    Returns:
        The manifest as written.

    Raises:
        ArtifactError: the file is damaged or incomplete.
        OptionError: the graph is no segmentation into the named classes, or an option cannot work.
        BackendError: ONNX Runtime does not run the graph.
        ParityError: the deployed graph's answers are not the original's; nothing is written then.
    """
    if options.output.resolve() == path.resolve():
        raise OptionError(f"{path} is read and written; name another output with -o")
    labels = label_set(options.classes, options.palette)
    original = load_model(path)
    image = image_input(original, options)
    _check_normalisation(image, options)
    fixed = at_size(original, image)
    output = segmenting_output(fixed, image, options, len(labels))
    if output.kind == "ids" and options.head == "logits":
        raise OptionError(
            f"output {output.name!r} gives class ids; --head logits needs a graph that gives scores"
        )
    report(f"input {image.name!r}: {image.dtype} {image.layout} {image.size[0]}x{image.size[1]}")
    report(f"output {output.name!r}: {output.kind} {output.shape}")
    wrapper = Wrapper(fixed, image, output, len(labels))
    normalisation = options.normalisation()
    deployed, spec_in, spec_out = wrapper.build(
        normalisation, options.head, align_corners=options.align_corners
    )
    report("comparing with the graph fed by hand")
    parity = prove(
        Wrapped(
            original, deployed, spec_in.name, spec_out.name, wrapper.scores, image, output,
            normalisation, options.align_corners, options.color == "BGR", len(labels),
        ),
        options.frames,
    )  # fmt: skip
    manifest = _describe(path, options, labels, deployed, (spec_in, spec_out), parity)
    manifest.options["import"] = _facts(options, original, image, output)
    serialised = deployed.SerializeToString()
    return create_artifact(options.output, manifest, lambda part: part.write_bytes(serialised))


def at_size(model: onnx.ModelProto, image: GraphInput) -> onnx.ModelProto:
    """The graph for one size: open dimensions filled in, arithmetic on shapes folded away.

    A graph whose size is fixed already is returned as it is.

    Raises:
        BackendError: the graph cannot work at this size.
    """
    if not image.dynamic:
        return model
    import onnxsim

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    value = next(value for value in fixed.graph.input if value.name == image.name)
    for dim, edge in zip(value.type.tensor_type.shape.dim, image.shape, strict=True):
        dim.dim_value = edge
    # Shapes noted for open sizes would contradict the fixed one.
    del fixed.graph.value_info[:]
    try:
        simplified, equal = onnxsim.simplify(
            fixed, overwrite_input_shapes={image.name: list(image.shape)}
        )
    except Exception as error:  # onnxsim passes on whatever its C++ side throws
        height, width = image.size
        raise BackendError(
            f"the graph does not work at {height}x{width} ({first_line(error)}); try another --size"
        ) from error
    result: onnx.ModelProto = simplified if equal else fixed
    return result


def _check_normalisation(image: GraphInput, options: ImportOptions) -> None:
    given = options.mean is not None
    if image.dtype == "uint8" and given:
        raise OptionError(
            f"input {image.name!r} takes uint8, so the graph normalises by itself; leave --mean "
            "and --std away"
        )
    if image.dtype != "uint8" and not given:
        raise OptionError(
            f"input {image.name!r} takes {image.dtype}: give the --mean and --std it was trained "
            "with ('imagenet' for both is common; 0,0,0 and 1,1,1 for frames scaled to 0..1)"
        )


def _describe(
    path: Path,
    options: ImportOptions,
    labels: LabelSet,
    deployed: onnx.ModelProto,
    specs: tuple[TensorSpec, TensorSpec],
    parity: Parity,
) -> Manifest:
    # Without numbers the graph normalises by itself: what it is fed is the frame.
    mean, std = options.normalisation() or ((0.0,) * 3, (1 / 255,) * 3)
    return Manifest(
        kind="onnx",
        name=options.name or options.output.stem,
        sha256="",
        created_by=created_by_this_command(),
        labels=labels,
        preprocess=Preprocess(mean, std, options.color, options.resize),
        inputs=(specs[0],),
        outputs=(specs[1],),
        head=options.head,
        options={
            "opset": opset_of(deployed),
            "precision": graph_precision(onnx.shape_inference.infer_shapes(deployed)),
        },
        parents=(Parent("onnx", path.name, sha256_of(path)),),
        parameters=sum(
            math.prod(tensor.dims)
            for tensor in deployed.graph.initializer
            if tensor.data_type in WEIGHTED
        ),
        parity=parity,
        license=options.license,
    )


def _facts(
    options: ImportOptions, original: onnx.ModelProto, image: GraphInput, output: GraphOutput
) -> dict[str, object]:
    """How the foreign graph was understood, for its manifest."""
    return {
        "input": asdict(image),
        "output": asdict(output),
        "producer": f"{original.producer_name} {original.producer_version}".strip(),
        "align_corners": options.align_corners,
        "value_range": options.value_range,
    }
