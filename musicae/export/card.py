"""The card beside exported files: a JSON file that says how to call them, without musicae's documentation."""

from typing import Any

import torch
from torch import Tensor

from musicae.capabilities import DescribesTensors
from musicae.domain import Domain
from musicae.export.formats import BATCH
from musicae.export.graphs import Graph
from musicae.models.autoencoder import Autoencoder
from musicae.models.steps import StepsAutoencoder
from musicae.spec import TensorSpec

CARD = "card.json"
FORMAT_VERSION = 1


def describe_graph(graph: Graph, file: str) -> dict[str, Any]:
    """A graph's file, its inputs and outputs, and what is passed on from call to call.

    An output whose first size is no multiple of the batch is an error of ours.
    """
    outputs = graph.module(*graph.inputs.values())
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    rows = len(next(iter(graph.inputs.values())))
    described: dict[str, Any] = {
        "file": file,
        "does": graph.meaning["does"],
        "inputs": [_describe(name, value, rows, graph) for name, value in graph.inputs.items()],
        "outputs": [_describe(name, value, rows, graph) for name, value in zip(graph.outputs, outputs, strict=True)],
    }
    if graph.state:
        described |= {"state": dict(graph.state), "calls_for_an_example": graph.calls}
    return described


def _describe(name: str, value: Tensor, rows: int, graph: Graph) -> dict[str, Any]:
    times, rest = divmod(value.shape[0], rows)
    assert times and not rest
    described = {
        "name": name,
        "dtype": str(value.dtype).removeprefix("torch."),
        "shape": [BATCH if times == 1 else f"{times} * {BATCH}", *value.shape[1:]],
    }
    meaning = graph.meaning.get(name) or _COMMON.get(name)
    return described | ({"meaning": meaning} if meaning else {})


_COMMON = {
    "condition": "classes at each step, or one for an example; see tensors.condition",
    "label": "see tensors.labels",
    "z": "codes",
    "base": "codes where the prior is a standard normal",
}


def describe_tensors(network: Autoencoder, domain: Domain) -> dict[str, Any]:
    """What the tensors of a network hold: their shape, what each number means, and how symbols are chosen."""
    spec = network.spec
    described: dict[str, Any] = {"layout": str(spec.layout), "shape": list(spec.shape), "likelihood": spec.likelihood}
    described["latent_shape"] = list(network.latent_shape)
    described["sample_spread"] = network.config.sample_spread
    if spec.condition is not None:
        described["condition"] = {"length": spec.condition[0], "classes": spec.condition[1]}
    if network.draws_labels and spec.labels is not None:
        described["labels"] = {"count": spec.labels.count, "none": spec.labels.count, "usual": spec.labels.usual}
    if spec.vocabulary:
        described |= _describe_symbols(spec)
    if isinstance(network, StepsAutoencoder):
        start = network.previous_embedding.start(1, torch.device("cpu"))[0]
        described["bars"], described["bar_steps"] = network.bars * network.codes_in_a_row, network.bar_steps
        described["symbols_at_start"] = start.tolist()
    if isinstance(domain, DescribesTensors):
        described["meaning"] = domain.describe_tensors()
    return described


def _describe_symbols(spec: TensorSpec) -> dict[str, Any]:
    """Where in the parameters of a step each stream's logits are, and each value's centre and scale."""
    streams, first = [], 0
    for column, size in enumerate(spec.vocabulary):
        streams.append({"column": column, "symbols": size, "parameters": [first, first + size]})
        first += size
    described: dict[str, Any] = {
        "streams": streams,
        "choice": "the parameters of a stream are logits: the most probable symbol is the largest one's, and a draw "
        "at a temperature divides them by it before the softmax",
    }
    if spec.segment_steps:
        described["pads"] = {
            "bar_steps": list(spec.segment_steps),
            "rule": "a bar has a slot of the longest bar's steps; behind the steps of a shorter one every stream "
            "holds the pad: its number of symbols plus the place of the bar's length in bar_steps",
        }
    count = len(spec.values)
    if count:
        described["values"] = [
            {
                "column": len(spec.vocabulary) + place,
                "name": value.name,
                "stream": value.stream,
                "bit": value.bit,
                "least_symbol": value.least,
                "levels": value.levels,
                "middle": value.middle,
                "spread": value.spread,
            }
            for place, value in enumerate(spec.values)
        ]
        described["choice_of_values"] = (
            f"behind the logits, or alone in the graph values, stand {count} centres and then {count} raw logarithms "
            "of scales; a value is middle + spread · centre, rounded and held in 0 … levels − 1, where its stream "
            "holds a symbol of at least least_symbol, or with the bit set, and is no pad; elsewhere it is 0. For a "
            "draw add a logistic number times exp(−1.5 + 3 · tanh(raw / 3)) to the centre"
        )
    return described
