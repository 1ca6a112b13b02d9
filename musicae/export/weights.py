"""Weights in fewer bits: stored as float16, or as int8 with a scale for each row, and computed with in float32.

Only what is large is stored so: matrices and kernels. A graph turns them back with a cast and a product, two standard
operators that every runtime has and computes once when it opens the file. So a file is half or a quarter as large and
as fast as before, on any processor, and the error is that of the rounded weights alone.
"""

import copy
from typing import TypeVar

import torch
from torch import Tensor, fx, nn

PRECISIONS = ("float32", "float16", "int8")
_LEAST_NUMBERS = 2048
"""Smaller weights stay as they are: they take little room, and some are scales that must be exact."""
_LARGEST = 127


def is_stored_rounded(weight: Tensor) -> bool:
    """Whether a weight is one of those that are stored in fewer bits."""
    return weight.dtype is torch.float32 and weight.dim() >= 2 and weight.numel() >= _LEAST_NUMBERS


def packed(weight: Tensor, precision: str) -> tuple[Tensor, Tensor | None]:
    """A weight as it is stored: float16; or int8, and a float32 scale for each row of its first axis."""
    if precision == "float16":
        return weight.clamp(-65504, 65504).half(), None
    most = weight.abs().flatten(1).amax(1).clamp_min(torch.finfo(torch.float32).tiny)
    scale = (most / _LARGEST).view(-1, *[1] * (weight.dim() - 1))
    return (weight / scale).round().clamp(-_LARGEST, _LARGEST).to(torch.int8), scale


def unpacked(stored: Tensor, scale: Tensor | None) -> Tensor:
    """The inverse of `packed`, but for the rounding."""
    return stored.float() if scale is None else stored.float() * scale


_Network = TypeVar("_Network", bound=nn.Module)


def rounded(network: _Network, precision: str) -> _Network:
    """A copy of a network with the weights that are left after they were stored in a precision."""
    network = copy.deepcopy(network)
    if precision != "float32":
        for weight in network.parameters():
            if is_stored_rounded(weight):
                weight.data.copy_(unpacked(*packed(weight.data, precision)))
    return network


def pack(module: fx.GraphModule, precision: str) -> None:
    """Changes a traced module in place: it loses what it doesn't read, and large weights are stored in a precision."""
    graph = module.graph
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        if not node.users:
            graph.erase_node(node)
            continue
        weight = _attribute(module, node.target)
        if isinstance(weight, Tensor):  # row by row and with memory of its own, as files hold it
            weight.data = weight.data.clone(memory_format=torch.contiguous_format)
        if precision != "float32" and isinstance(weight, Tensor) and is_stored_rounded(weight):
            _insert_unpacking(module, node, *packed(weight.detach(), precision))
    used = {node.target for node in graph.nodes if node.op == "get_attr"}
    for name in [*dict(module.named_parameters()), *dict(module.named_buffers())]:
        if name not in used:
            parent, _, leaf = name.rpartition(".")
            delattr(module.get_submodule(parent), leaf)
    module.recompile()


def _insert_unpacking(module: fx.GraphModule, node: fx.Node, stored: Tensor, scale: Tensor | None) -> None:
    """Puts what `unpacked` does in the place of a weight."""
    name = f"stored_{node.name}"
    with module.graph.inserting_before(node):
        module.register_buffer(name, stored)
        weight = module.graph.call_method("to", (module.graph.get_attr(name), torch.float32))
        if scale is not None:
            module.register_buffer(f"{name}_scale", scale)
            weight = module.graph.call_function(torch.mul, (weight, module.graph.get_attr(f"{name}_scale")))
    node.replace_all_uses_with(weight)
    module.graph.erase_node(node)


def _attribute(module: nn.Module, target: str) -> object:
    parent, _, leaf = target.rpartition(".")
    return getattr(module.get_submodule(parent), leaf)
