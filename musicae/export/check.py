"""Whether exported files do what the network does, how fast they are, and what rounded weights cost.

Files are compared with the modules that they were made from, on batches of other sizes than those that were traced,
and where they have a state, over several calls that pass it on.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from musicae.domain import Batch, Domain
from musicae.errors import MusicaeError
from musicae.export.formats import Run
from musicae.export.graphs import Graph
from musicae.models.autoencoder import Autoencoder
from musicae.spec import Layout
from musicae.starter import starter_items

MOST_DIFFERENCE = 1e-4
"""Between a file's outputs and PyTorch's, in float32."""
_ROWS = ((1,), (0, 1, 0))  # of the examples, in batches of one and of three
_CALLS = 8
_TIMED_CALLS = 200
_SCORED = {Layout.STEPS: 128, Layout.GRID: 8}


def max_difference(graph: Graph, run: Run) -> float:
    """The largest absolute difference between what a file and its module give."""
    return max(_difference(graph, run, rows) for rows in _ROWS)


def _difference(graph: Graph, run: Run, rows: Sequence[int]) -> float:
    ours = [value[list(rows)] for value in graph.inputs.values()]
    theirs = [value.numpy() for value in ours]
    names, largest = list(graph.inputs), 0.0
    for _ in range(_CALLS if graph.state else 1):
        with torch.no_grad():
            found = graph.module(*ours)
        expected = [value.numpy() for value in (found if isinstance(found, tuple) else (found,))]
        outputs = run(theirs)
        if [value.shape for value in outputs] != [value.shape for value in expected]:
            return float("inf")
        for one, other in zip(outputs, expected, strict=True):
            apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
            largest = max(largest, float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0)))
        for output, given in graph.state.items():
            place = graph.outputs.index(output)
            ours[names.index(given)] = torch.from_numpy(expected[place])
            theirs[names.index(given)] = outputs[place]
    return largest


def refuse_difference(name: str, difference: float) -> None:
    """Raises `MusicaeError` where an exported file gives something else than PyTorch."""
    if not difference <= MOST_DIFFERENCE:
        raise MusicaeError(
            f"the exported {name} differs from PyTorch by {difference:.2g}, more than {MOST_DIFFERENCE:g}; nothing was "
            "written. Try another version of torch or onnxruntime, or the other --format."
        )


def seconds_a_call(graph: Graph, run: Run) -> float:
    """The median time of a call for one example, on this machine."""
    inputs = [value[:1].numpy() for value in graph.inputs.values()]
    times = []
    for _ in range(_TIMED_CALLS):
        started = time.perf_counter()
        run(inputs)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def score_function(domain: Domain, task: str) -> Callable[[Autoencoder], dict[str, float]] | None:
    """A function from a network to its scores on starter data; None where the domain has no examples among them.

    The data and their corruption are the same at each call.
    """
    most, parts = _SCORED[domain.spec.layout], []
    try:
        for _, reading in starter_items(domain):
            parts.append(reading.examples)
            if sum(map(len, parts)) >= most:
                break
    except MusicaeError:
        return None
    stored = np.concatenate(parts)[:most] if parts else np.zeros(0)
    if not len(stored):
        return None
    batch = domain.tensor(torch.from_numpy(stored))
    corrupt = domain.corruption(task, split="all")
    corrupted = batch.target if corrupt is None else corrupt(batch.target, torch.Generator().manual_seed(0))

    def scores(network: Autoencoder) -> dict[str, float]:
        found = domain.metrics(_reconstructed(network, Batch(corrupted, batch.condition)), batch.target, corrupted)
        means = {name: float(values.double().nanmean()) for name, values in found.items()}
        return {"examples": len(stored)} | {name: value for name, value in means.items() if np.isfinite(value)}

    return scores


def _reconstructed(network: Autoencoder, batch: Batch) -> Tensor:
    with torch.no_grad():
        return network.reconstruct(batch.target, condition=batch.condition)
