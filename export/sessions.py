"""ONNX Runtime on graphs in memory, for comparing them: which outputs, optimised or as written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_runtime.backends.ort import session_options
from edge_runtime.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx
    from numpy.typing import NDArray


class GraphRun:
    """One graph, ready to run on the CPU.

    Args:
        model: any graph without external data.
        shown: values to give out besides the graph's own outputs.
        optimise: let ONNX Runtime fuse and reorder, as it does in deployment.
        threads: CPU threads; None takes one per core.

    Raises:
        BackendError: ONNX Runtime refuses the graph.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        *,
        shown: Sequence[str] = (),
        optimise: bool = True,
        threads: int | None = None,
    ) -> None:
        import onnxruntime as ort

        options = session_options(ort, threads)
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session: Any = ort.InferenceSession(
                with_outputs(model, shown).SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise BackendError(
                f"onnxruntime {ort.__version__} refuses the graph: {short(error)}"
            ) from error
        self.outputs: tuple[str, ...] = tuple(value.name for value in self._session.get_outputs())

    def __call__(self, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The graph's answers by name.

        Raises:
            BackendError: the graph failed while running.
        """
        try:
            found: list[NDArray[Any]] = self._session.run(None, feeds)
        except Exception as error:  # as above
            raise BackendError(f"the graph failed while running: {short(error)}") from error
        return dict(zip(self.outputs, found, strict=True))


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy that also gives out the values `names`; the model itself if there are none."""
    import onnx

    present = {value.name for value in model.graph.output}
    wanted = [name for name in names if name not in present]
    if not wanted:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    known = {value.name: value for value in (*copy.graph.value_info, *copy.graph.input)}
    for name in wanted:
        copy.graph.output.append(known.get(name) or onnx.ValueInfoProto(name=name))
    return copy


def short(error: BaseException) -> str:
    """One line of an engine's message, without its source file and line."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
