"""`FORMATS`: the kinds of files that a graph is written as, and how each is run again to check it.

`onnx` files run in ONNX Runtime and in what else reads opset 20, browsers among it (onnxruntime-web). `torch-export`
files run in PyTorch without musicae. Both are made from one `torch.export` of a graph.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from musicae.errors import MusicaeError, sentence_of
from musicae.export.graphs import Graph
from musicae.export.weights import pack

OPSET = 20
BATCH = "batch"
"""The name of the first axis of every input."""
_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_CHATTY = ("torch.onnx", "onnxscript", "onnx_ir")

Run = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""Inputs in their order → outputs in theirs."""


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        ending: of its files.
        check_installed: raises `MusicaeError` where a package is missing.
        write: writes a traced graph.
        open: reads a file, to run it.
        keeps_unused: whether a file holds weights that its graph doesn't read.
        about: what a reader of the card must know of the files.
    """

    ending: str
    check_installed: Callable[[], None]
    write: Callable[[Graph, ExportedProgram, Path], None]
    open: Callable[[Path], Run]
    keeps_unused: bool
    about: dict[str, Any]


def traced(graph: Graph, precision: str, *, drops_unused: bool = False) -> ExportedProgram:
    """A graph as torch exports it, with large weights stored in a precision.

    Args:
        graph: in evaluation mode.
        precision: one of `weights.PRECISIONS`.
        drops_unused: whether weights that the graph doesn't read are left out, which takes twice the time in float32.

    Raises:
        MusicaeError: the network does what can't be exported.
    """
    try:
        with _quiet():
            with torch.no_grad():
                graph.module(*graph.inputs.values())  # what layers keep for later calls must be no part of the trace
            program = _traced(graph, graph.module)
            if precision == "float32" and not drops_unused:
                return program
            module: Any = program.module()
            pack(module, precision)
            return _traced(graph, module)
    except (RuntimeError, TypeError, ValueError) as error:
        raise _refused(graph, error) from error


def _traced(graph: Graph, module: torch.nn.Module) -> ExportedProgram:
    shapes = tuple({0: Dim(BATCH, min=1)} for _ in graph.inputs)
    with torch.no_grad():
        return torch.export.export(module, tuple(graph.inputs.values()), dynamic_shapes=shapes, strict=False)


def _refused(graph: Graph, error: BaseException) -> MusicaeError:
    while error.__cause__ is not None:  # the first of a chain names what is wrong
        error = error.__cause__
    return MusicaeError(
        f"the {graph.name} of this network cannot be exported: torch says {sentence_of(error, 200)!r}; "
        "choose other parts with --part, or change the network."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside, torch and its exporter don't speak of their own affairs."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        # torch's own pytrees, when they are copied.
        warnings.filterwarnings("ignore", message=r".*LeafSpec", category=FutureWarning)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _check_onnx() -> None:
    if any(find_spec(name) is None for name in _PACKAGES):
        raise MusicaeError('to export to ONNX takes packages that are not installed; pip install "musicae[onnx]".')


def _write_onnx(graph: Graph, program: ExportedProgram, path: Path) -> None:
    import onnx

    try:
        with _quiet():
            exported = torch.onnx.export(
                program,
                tuple(graph.inputs.values()),
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except RuntimeError as error:
        raise _refused(graph, error) from error
    assert exported is not None
    model = exported.model_proto
    _clean(model, graph.inputs)
    onnx.checker.check_model(model)
    onnx.save_model(model, str(path))


def _clean(model: Any, inputs: Any) -> None:
    """Leaves out what the exporter notes for its own use (places in sources among it), and names the batch's axis."""
    proto = model.graph
    named = {
        value.type.tensor_type.shape.dim[0].dim_param: BATCH for value in proto.input if value.name in inputs
    }  # each input's first axis has a symbol
    for value in (*proto.input, *proto.output, *proto.value_info):
        del value.metadata_props[:]
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in named:
                size.dim_param = named[size.dim_param]
    for item in (model, proto, *proto.node, *proto.initializer):
        item.doc_string = ""
        del item.metadata_props[:]


def _open_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a step is too small to share
    state = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (state.NotImplemented, state.InvalidGraph, state.Fail, state.RuntimeException) as error:
        raise MusicaeError(
            f"ONNX Runtime can't run {path.name}: {sentence_of(error, 200)}; choose other parts with --part."
        ) from error
    names = [given.name for given in session.get_inputs()]

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        found: list[np.ndarray] = session.run(None, dict(zip(names, inputs, strict=True)))
        return found

    return run


def _write_program(graph: Graph, program: ExportedProgram, path: Path) -> None:
    del graph
    torch.export.save(program, str(path))


def _open_program(path: Path) -> Run:
    with _quiet():
        module = torch.export.load(str(path)).module()

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad():
            found = module(*(torch.from_numpy(value) for value in inputs))
        return [value.numpy() for value in (found if isinstance(found, (tuple, list)) else (found,))]

    return run


FORMATS: dict[str, Format] = {
    "onnx": Format("onnx", _check_onnx, _write_onnx, _open_onnx, False, {"opset": OPSET, "run_with": "onnxruntime"}),
    "torch-export": Format(
        "pt2",
        lambda: None,
        _write_program,
        _open_program,
        True,
        {"torch": torch.__version__, "run_with": "torch.export.load(path).module()(*inputs)"},
    ),
}
"""Value of `--format` → the kind of file."""
