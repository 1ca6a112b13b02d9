"""`Graph`: a part of a network that is a file of its own, with tensors in and tensors out.

A file that other programs run holds no loops over steps and no state of its own. So what a network does in a loop is
exported as one step: the state goes in beside the input and comes out beside the output, and whoever calls it feeds it
back. Every other part is a graph as it stands. The small modules here call the network's own methods, so that nothing
is computed in two ways. `graphs_of` says which graphs a network has; a network of the user's own has an encoder and a
decoder, or where it corrects its input, a restorer.

The first axis of every input is the batch, of any size; all other sizes are fixed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from musicae.errors import MusicaeError
from musicae.models.autoencoder import Autoencoder
from musicae.models.causal import CausalRestorer, CausalState
from musicae.models.keyboard import KeyboardAutoencoder
from musicae.models.played import PlayedAutoencoder
from musicae.models.second_stage import SecondStage
from musicae.models.spectrogram import SpectrogramAutoencoder
from musicae.models.steps import StepsAutoencoder, StepsRestorer
from musicae.nn.causal import CausalLayer
from musicae.nn.latent import GaussianLatent
from musicae.nn.note_prior import NotePrior
from musicae.nn.prior import MixturePrior, Prior, SequencePrior, StandardPrior
from musicae.spec import Layout, TensorSpec

EXAMPLES = 2
"""In the batch that a graph is traced with; with one, torch would take the size for fixed."""


@dataclass(frozen=True)
class Graph:
    """A part of a network.

    Attributes:
        name: of its file, without the ending.
        module: called with the inputs in their order.
        inputs: name → an example, `(EXAMPLES, ...)`.
        outputs: names, in their order.
        meaning: what it does; then, by name, what an input or output is.
        state: output → the input that it is at the next call; at the first call that is zeros.
        calls: how often it is called for one example; 1, or the number of steps.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    meaning: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    calls: int = 1


class Encoder(nn.Module):
    """Examples → posterior means."""

    def __init__(self, network: Autoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """`(batch, *spec.shape)` → `(batch, *latent_shape)`."""
        return self.network.encode(x, condition).mean


class Decoder(nn.Module):
    """Codes → examples, in one pass."""

    def __init__(self, network: Autoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """`(batch, *latent_shape)` → `(batch, *spec.shape)`."""
        return self.network.decode(z, condition=condition)


class Restorer(nn.Module):
    """Corrupted examples → restored ones."""

    def __init__(self, network: Autoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """`(batch, *spec.shape)` → the same."""
        return self.network.reconstruct(x, condition=condition)


class KeyboardDecoder(nn.Module):
    """Codes → the parameters of all steps, from which symbols are chosen."""

    def __init__(self, network: KeyboardAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """`(batch, *latent_shape)` → `(batch, steps, likelihood.width)`."""
        return self.network.parameters_of(z, condition).float()


class StepFeatures(nn.Module):
    """Codes → what each step is decoded from."""

    def __init__(self, network: StepsAutoencoder) -> None:
        super().__init__()
        self.network = network
        self.numbers = network.config.latent_size * network.codes_in_a_row

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """`(batch, *latent_shape)` → `(batch · bars, steps of a bar, width)`; of several parts the first is read."""
        return self.network.features_of(z[:, : self.numbers], condition)


class RestorerFeatures(nn.Module):
    """Corrupted steps → what each step is decoded from."""

    def __init__(self, network: StepsRestorer) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """`(batch, steps, columns)` → `(batch · bars, steps of a bar, width)`."""
        return self.network.features_with_context(x, self.network.encode(x, condition).mean, condition)


class Step(nn.Module):
    """One step of all bars: the symbols before it → the parameters of its symbols."""

    def __init__(self, network: StepsAutoencoder) -> None:
        super().__init__()
        self.previous_embedding, self.head = network.previous_embedding, network.head
        self.layers = network.causal.layers
        self.reaches = [cast(CausalLayer, layer).dilation for layer in self.layers]

    def forward(self, features: Tensor, symbols: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """`(rows, width)`, int64 `(rows, columns)` and the state → `(rows, likelihood's width)` and the next state."""
        x = features + self.previous_embedding(symbols)
        after, first = [], 0
        for layer, reach in zip(self.layers, self.reaches, strict=True):
            causal, own = cast(CausalLayer, layer), past[:, first : first + reach]
            now = causal.norm(x)
            after += [own[:, 1:], now.unsqueeze(1)]  # of a layer the last `dilation` steps, the oldest first
            x = causal.join(x, now, own[:, 0])
            first += reach
        return self.head(x), torch.cat(after, 1)


class Values(nn.Module):
    """The feel's part of a code and notes → the parameters of the notes' values."""

    def __init__(self, network: PlayedAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, symbols: Tensor) -> Tensor:
        """`(batch, *latent_shape)` and int64 `(batch, steps, streams)` → `(batch, steps, 2 · values)`."""
        return self.network.values_at(self.network.parts(z)[1], symbols).float()


class Frame(nn.Module):
    """One frame of a stream of sound → its mask."""

    def __init__(self, network: CausalRestorer) -> None:
        super().__init__()
        self.network = network

    def forward(self, magnitude: Tensor, sums: Tensor, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`(batch, frequency)` and the state → the mask `(batch, frequency)` and the next state."""
        frames = torch.stack((magnitude, torch.zeros_like(magnitude)), 1).unsqueeze(3)  # only the power counts
        mask, after = self.network.mask(frames, CausalState(sums, past))
        return mask[:, 0, :, 0], after.sums, after.past


class ToBase(nn.Module):
    """Codes → the space where paths are drawn."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, z: Tensor) -> Tensor:
        """`(batch, *latent_shape)` → the same."""
        return self.prior.to_base(z)


class FromBase(nn.Module):
    """The inverse of `ToBase`."""

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, base: Tensor) -> Tensor:
        """`(batch, *latent_shape)` → the same."""
        return self.prior.from_base(base)


class SequenceFromBase(nn.Module):
    """`FromBase` of a `SequencePrior`, whose triangular system no file format solves: its inverse is stored."""

    inverse: Tensor

    def __init__(self, prior: SequencePrior) -> None:
        super().__init__()
        self.prior = prior
        identity = torch.eye(prior.pooled, dtype=torch.float64)
        inverse = torch.linalg.solve_triangular(prior.whitening.double(), identity, upper=False)
        self.register_buffer("inverse", inverse.float())

    def forward(self, base: Tensor) -> Tensor:
        """`(batch, *latent_shape)` → the same."""
        pooled = base[:, : self.prior.pooled]
        moments = self.prior.moments_from_base(base)
        return torch.cat([pooled @ self.inverse.T + self.prior.pooled_mean, moments.flatten(1)], 1)


class DrawNotes(nn.Module):
    """Standard normal numbers → codes of the notes that are asked for."""

    def __init__(self, notes: NotePrior, prior: SequencePrior) -> None:
        super().__init__()
        self.notes, self.back = notes, SequenceFromBase(prior)

    def forward(self, base: Tensor, condition: Tensor) -> Tensor:
        """`(batch, *latent_shape)` and int64 `(batch, 3)` → as base."""
        pooled, moments = self.notes.from_base(base, condition)
        prior = self.back.prior
        moved = moments * prior.moment_scale + prior.moment_mean
        return torch.cat([pooled @ self.back.inverse.T + prior.pooled_mean, moved.flatten(1)], 1)


class Draw(nn.Module):
    """Standard normal numbers → codes, by the second stage."""

    def __init__(self, network: Autoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, base: Tensor, condition: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """`(batch, *latent_shape)` → the same."""
        return self.network.drawn(base, condition, label)


class LabelledDraw(Draw):
    """As `Draw`, for networks without a condition."""

    def forward(self, base: Tensor, label: Tensor | None = None) -> Tensor:  # type: ignore[override]  # no condition
        """`(batch, *latent_shape)` → the same."""
        return self.network.drawn(base, None, label)


def graphs_of(network: Autoencoder) -> list[Graph]:
    """The graphs of a network, on the CPU and in evaluation mode.

    Raises:
        MusicaeError: the network reads examples that the graphs can't be tried with.
    """
    if network.training or any(parameter.device.type != "cpu" for parameter in network.parameters()):
        raise ValueError("expected a network on the CPU, in evaluation mode")
    build = next(build for cls, build in _BUILDERS if isinstance(network, cls))
    with torch.no_grad():
        return build(network)


def named(graphs: list[Graph], names: "tuple[str, ...] | None") -> list[Graph]:
    """Some of the graphs, or all of them. Raises `MusicaeError` for a name that none has."""
    if names is None:
        return graphs
    unknown = [name for name in names if name not in {graph.name for graph in graphs}]
    if unknown:
        own = ", ".join(graph.name for graph in graphs)
        raise MusicaeError(f"this model has no part {unknown[0]!r} to export; it has {own}.")
    return [graph for graph in graphs if graph.name in names]


def examples_of(spec: TensorSpec, rows: int = EXAMPLES, seed: int = 0) -> Tensor:
    """Random examples of a spec, `(rows, *shape)`: symbols, or numbers about as large as those of real examples."""
    generator = torch.Generator().manual_seed(seed)
    if spec.layout is Layout.STEPS:
        sizes = (*spec.vocabulary, *(column.levels for column in spec.values))
        columns = [torch.randint(0, size, (rows, spec.shape[0]), generator=generator) for size in sizes]
        return torch.stack(columns, -1)
    drawn = torch.randn(rows, *spec.shape, generator=generator)
    if spec.likelihood in ("bernoulli", "discretised_logistic"):
        return drawn.sigmoid()
    return drawn.abs() if spec.likelihood == "magnitude" else drawn


def _condition(spec: TensorSpec, rows: int = EXAMPLES) -> dict[str, Tensor]:
    """The input `condition` where the spec has one: class 0, and the last one."""
    if spec.condition is None:
        return {}
    length, classes = spec.condition
    ends = torch.tensor([0, classes - 1])[torch.arange(rows) % 2]
    return {"condition": ends[:, None].expand(-1, length).contiguous()}


def _encoder(network: Autoencoder, x: Tensor, given: dict[str, Tensor]) -> Graph:
    meaning = {"does": "encodes examples to the means of their posteriors", "x": "examples", "z": "codes"}
    return Graph("encoder", Encoder(network), {"x": x, **given}, ("z",), meaning)


def _maps(network: Autoencoder, z: Tensor) -> list[Graph]:
    """What draws codes, and joins them by paths."""
    graphs: list[Graph] = []
    base = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    prior = network.latent.prior if isinstance(network.latent, GaussianLatent) else None
    if prior is not None and not isinstance(prior, (StandardPrior, MixturePrior)):  # theirs is the identity
        back = SequenceFromBase(prior) if isinstance(prior, SequencePrior) else FromBase(prior)
        to = "codes to the space where the prior is a standard normal, and where paths are drawn"
        graphs += [
            Graph("to_base", ToBase(prior), {"z": z}, ("base",), {"does": f"maps {to}"}),
            Graph("from_base", back, {"base": base}, ("z",), {"does": "the inverse of to_base"}),
        ]
    if isinstance(network, SecondStage) and network.flow is not None:
        given = _condition(network.spec)
        labels = {"label": torch.arange(len(z))} if network.draws_labels else {}
        module = Draw(network) if given else LabelledDraw(network)
        meaning = {"does": "draws codes, better ones than from_base does", "base": "standard normal numbers"}
        graphs.append(Graph("draw", module, {"base": base, **given, **labels}, ("z",), meaning))
    if isinstance(network, SpectrogramAutoencoder) and network.notes is not None:
        asked = torch.tensor([[0, 0, 0], [1, 1 + 60 * NotePrior.STEPS_PER_SEMITONE, 91]])
        given = {"base": base, "condition": asked[torch.arange(len(z)) % 2]}
        meaning = {"does": "draws codes of notes that are asked for", "base": "standard normal numbers"}
        assert isinstance(prior, SequencePrior)
        graphs.append(Graph("draw", DrawNotes(network.notes, prior), given, ("z",), meaning))
    return graphs


def _in_one_pass(network: Autoencoder) -> list[Graph]:
    x, given = examples_of(network.spec), _condition(network.spec)
    if network.restores:
        meaning = {"does": "restores examples", "x": "corrupted examples", "y": "restored examples"}
        return [Graph("restorer", Restorer(network), {"x": x, **given}, ("y",), meaning)]
    z = network.encode(x, **given).mean
    meaning = {"does": "decodes codes to examples, the most probable ones", "z": "codes", "y": "examples"}
    decoder = Graph("decoder", Decoder(network), {"z": z, **given}, ("y",), meaning)
    return [_encoder(network, x, given), decoder, *_maps(network, z)]


def _keyboard(network: KeyboardAutoencoder) -> list[Graph]:
    x, given = examples_of(network.spec), _condition(network.spec)
    z = network.encode(x, **given).mean
    meaning = {"does": "decodes codes", "z": "codes", "parameters": "of all steps; see choice"}
    decoder = Graph("decoder", KeyboardDecoder(network), {"z": z, **given}, ("parameters",), meaning)
    return [_encoder(network, x, given), decoder, *_maps(network, z)]


def _steps(network: StepsAutoencoder) -> list[Graph]:
    x, given = examples_of(network.spec), _condition(network.spec)
    z = network.encode(x, **given).mean
    features: nn.Module = StepFeatures(network)
    meaning = {
        "does": "decodes codes to what each step is decoded from",
        "z": "codes",
        "features": "of the steps of each bar; the bars of an example are rows one after the other",
    }
    decoder = Graph("decoder", features, {"z": z, **given}, ("features",), meaning)
    step = _step(network, features(z, **given))
    return [_encoder(network, x, given), decoder, step, *_maps(network, z)]


def _played(network: PlayedAutoencoder) -> list[Graph]:
    encoder, decoder, step, *maps = _steps(network)
    symbols = examples_of(network.spec)[..., : len(network.spec.vocabulary)]
    inputs = {"z": network.encode(examples_of(network.spec), **_condition(network.spec)).mean, "symbols": symbols}
    meaning = {
        "does": "plays known notes",
        "z": "codes; of them the part after the notes' is read",
        "symbols": "of all steps, pads included",
        "parameters": "of the values; see choice",
    }
    return [encoder, decoder, step, Graph("values", Values(network), inputs, ("parameters",), meaning), *maps]


def _step_restorer(network: StepsRestorer) -> list[Graph]:
    x, given = examples_of(network.spec), _condition(network.spec)
    features = RestorerFeatures(network)
    meaning = {
        "does": "reads corrupted examples, and gives what each step is decoded from",
        "x": "corrupted examples",
        "features": "of the steps of each bar; the bars of an example are rows one after the other",
    }
    decoder = Graph("decoder", features, {"x": x, **given}, ("features",), meaning)
    return [decoder, _step(network, features(x, **given))]


def _step(network: StepsAutoencoder, features: Tensor) -> Graph:
    """The step, of as many bars as an example has for each of the examples."""
    module = Step(network)
    rows, width = features.shape[0], features.shape[2]
    start = network.previous_embedding.start(rows, features.device)
    inputs = {"features": features[:, 0], "symbols": start, "past": torch.zeros(rows, sum(module.reaches), width)}
    meaning = {
        "does": "decodes the next step of all bars at once",
        "features": "the decoder's, of this step",
        "symbols": "chosen at the step before; at the first step symbols_at_start",
        "past": "the state; at the first step zeros",
        "parameters": "of this step's symbols; see choice",
        "next_past": "the state for the next step",
    }
    return Graph("step", module, inputs, ("parameters", "next_past"), meaning, {"next_past": "past"}, network.bar_steps)


def _causal(network: CausalRestorer) -> list[Graph]:
    state = network.initial_state(EXAMPLES)
    module = Frame(network)
    magnitude = examples_of(network.spec)[..., 0].square().sum(1).sqrt()
    inputs = {"magnitude": magnitude, "sums": state.sums, "past": state.past}
    meaning = {
        "does": "says by how much the next frame of a stream is turned down",
        "magnitude": "of the frame's spectrum, at any level",
        "sums": "the state; at the first frame zeros",
        "past": "the state; at the first frame zeros",
        "mask": "factors in 0…1 for the frame's complex spectrum",
    }
    after = {f"next_{name}": name for name in ("sums", "past")}
    return [Graph("frame", module, inputs, ("mask", *after), meaning, after, network.width)]


# A class before those that it derives from; the last row is for all others.
_BUILDERS: tuple[tuple[type, Callable[..., list[Graph]]], ...] = (
    (CausalRestorer, _causal),
    (KeyboardAutoencoder, _keyboard),
    (PlayedAutoencoder, _played),
    (StepsRestorer, _step_restorer),
    (StepsAutoencoder, _steps),
    (Autoencoder, _in_one_pass),
)
