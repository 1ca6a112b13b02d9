"""`MusicVAE`: a published model, for comparison (Roberts et al., 2018, "A Hierarchical Latent Vector Model").

A bidirectional LSTM reads all steps; its two last states give z. An LSTM decoder starts from z, and is given z at each
step together with the previous symbol. The sizes are those of the published `cat-mel_2bar_small`: 4.4 million
parameters, with β 0.2. With `conductor_width` above 0 it is the hierarchical form: z starts a conductor LSTM that gives
one embedding for each bar, and every bar is decoded from its embedding alone.

Two things differ from the original, for speed: the LSTMs are torch's fused ones, and scheduled sampling (Bengio et al.,
2015) draws all its symbols from one teacher-forced pass (Duckworth et al., 2019, "Parallel Scheduled Sampling"), so
that training needs no loop over steps. Drums with velocity and timing, as in GrooVAE (Gillick et al., 2019), are one
symbol and its values in each step.
"""

import math
from functools import partial
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.models.autoencoder import Autoencoder
from musicae.models.sizes import MOST_WIDTH, ModelConfig, Width
from musicae.nn.latent import Posterior
from musicae.nn.layers import begins_step, draw_rows, one_hot
from musicae.nn.values import scaled_values
from musicae.spec import TensorSpec

_States = list[tuple[Tensor, Tensor]]
_MOST_LAYERS = 16  # of LSTMs; deep ones learn badly


class MusicVAEConfig(ModelConfig):
    """Sizes of `cat-mel_2bar_small`."""

    latent_size: Width = 256
    encoder_width: Width = 512  # units of each direction
    encoder_layers: int = Field(default=1, ge=1, le=_MOST_LAYERS)
    conductor_width: int = Field(default=0, ge=0, le=MOST_WIDTH)  # 0: flat, no conductor
    conductor_layers: int = Field(default=2, ge=1, le=_MOST_LAYERS)
    decoder_width: Width = 256  # units; each stream has a decoder of its own
    decoder_layers: int = Field(default=2, ge=1, le=_MOST_LAYERS)
    sampling_rate: float = Field(
        default=1000.0, ge=0
    )  # k in k / (k + exp(step / k)), the share of teacher-forced steps; 0: all


class CodeLSTM(nn.Module):
    """An LSTM whose first state is computed from a code: state = tanh(W·code + b)."""

    def __init__(self, code: int, inputs: int, width: int, layers: int) -> None:
        super().__init__()
        self.layers = layers
        self.start = nn.Linear(code, 2 * layers * width)
        self.lstm = nn.LSTM(inputs, width, layers, batch_first=True)

    def first_state(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, code)` → hidden and cell state, each `(layers, batch, width)`."""
        state = torch.tanh(self.start(code)).unflatten(1, (2, self.layers, -1)).permute(1, 2, 0, 3)
        return state[0].contiguous(), state[1].contiguous()

    def forward(self, inputs: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`(batch, steps, inputs)` and a state → `(batch, steps, width)` and the next state."""
        hidden, cell = state
        outputs, after = self.lstm(inputs, (hidden.to(inputs.dtype), cell.to(inputs.dtype)))
        return outputs, after


class MusicVAE(Autoencoder):
    """The published network, flat or with a conductor, for one or several streams."""

    Config = MusicVAEConfig
    config: MusicVAEConfig
    updates: Tensor

    def __init__(self, spec: TensorSpec, config: MusicVAEConfig) -> None:
        super().__init__(spec, config)
        if spec.condition is not None and spec.condition[1] > max(1, len(spec.segment_steps)):
            raise ValueError("musicvae takes no condition but a time signature; use the model steps")
        if spec.values and len(spec.vocabulary) > 1:
            raise ValueError("musicvae takes velocities of a single stream; use the model played")
        self._build_latent()
        steps, _ = spec.shape
        self.bars = spec.segments if config.conductor_width else 1
        self.bar_steps = steps // self.bars
        values = len(spec.values)
        sizes = [size + values for size in spec.symbols[: len(spec.vocabulary)]]
        self.encoder = nn.LSTM(
            sum(sizes), config.encoder_width, config.encoder_layers, batch_first=True, bidirectional=True
        )
        self.to_latent = nn.Linear(2 * config.encoder_width, config.latent_size * self.latent.outputs_per_number)
        code = config.latent_size
        if spec.condition is not None:
            self.condition = nn.Embedding(spec.condition[1], code)
        if config.conductor_width:
            self.conductor = CodeLSTM(code, 1, config.conductor_width, config.conductor_layers)
            code = config.conductor_width
        width, layers = config.decoder_width, config.decoder_layers
        self.decoders = nn.ModuleList(CodeLSTM(code, size + code, width, layers) for size in sizes)
        self.heads = nn.ModuleList(nn.Linear(width, size + 2 * values) for size in spec.vocabulary)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        # The same number on the host, which would have to wait for the device's in every step; None: not read yet.
        self._known_updates: int | None = 0

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent_size,)

    @property
    def autoregressive(self) -> bool:
        return True

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.check_input(x, condition)
        _, (hidden, _) = self.encoder(torch.cat(self._inputs(x), -1))
        return self.latent(self.to_latent(hidden[-2:].transpose(0, 1).flatten(1)))

    def teacher_forced(self, z: Tensor, target: Tensor, condition: Tensor | None = None) -> Tensor:
        """Logits `(batch, steps, vocabulary sizes summed)`; in training some given symbols are the model's own."""
        code, target = self._codes(z, condition), target.unflatten(1, (self.bars, self.bar_steps)).flatten(0, 1)
        if self.training and self.config.sampling_rate > 0:
            forced_share = self._teacher_forced_share()
            if begins_step():
                self._known_updates = self._read_updates() + 1
                self.updates += 1
            if forced_share < 0.999:
                with torch.no_grad():
                    drawn = self.likelihood.sample(self._logits(code, target).float())
                uniform = draw_rows(partial(torch.rand, device=target.device), tuple(target.shape[:2]))
                own = uniform >= forced_share
                target = torch.where(own.unsqueeze(-1), drawn, target)
        return self._as_steps(self._logits(code, target))

    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        self.check_codes(z, condition)
        code = self._codes(z, condition)
        states: _States = [decoder.first_state(code) for decoder in self._decoders()]
        values = len(self.spec.values)
        sizes = self.spec.symbols[: len(self.spec.vocabulary)]
        before = [torch.zeros(code.shape[0], 1, size + values, device=code.device) for size in sizes]
        decoded = []
        for _ in range(self.bar_steps):
            logits = []
            for index, decoder in enumerate(self._decoders()):
                hidden, states[index] = decoder(torch.cat([before[index], code.unsqueeze(1)], -1), states[index])
                logits.append(self.heads[index](hidden))
            symbols = self.likelihood.choose(torch.cat(logits, -1).float(), temperature, top_p, generator)
            before = self._inputs(symbols)
            decoded.append(symbols)
        return self.padded(self._as_steps(torch.cat(decoded, 1)), condition)

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return self.teacher_forced(z, target, condition)

    def _codes(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """What decoding starts from: z itself, or the conductor's embedding of each bar, `(batch · bars, code)`.

        Where the model reads several time signatures, z and an embedding of the given one are added first.
        """
        if self.spec.condition is not None:
            z = z + self.condition(torch.zeros_like(z[:, 0]).long() if condition is None else condition[:, 0])
        if not self.config.conductor_width:
            return z
        silent = torch.zeros(z.shape[0], self.bars, 1, device=z.device)
        embeddings, _ = self.conductor(silent, self.conductor.first_state(z))
        return embeddings.flatten(0, 1)

    def _logits(self, code: Tensor, symbols: Tensor) -> Tensor:
        """Logits of all streams, concatenated; each step is given the symbol before it."""
        given = code.unsqueeze(1).expand(-1, self.bar_steps, -1)
        logits = []
        for decoder, head, known in zip(self._decoders(), self.heads, self._inputs(symbols), strict=True):
            before = F.pad(known, (0, 0, 1, 0))[:, :-1]
            hidden, _ = decoder(torch.cat([before, given], -1), decoder.first_state(code))
            logits.append(head(hidden))
        return torch.cat(logits, -1)

    def _teacher_forced_share(self) -> float:
        """Share of the steps that are given the target's symbol: the inverse sigmoid schedule."""
        rate = self.config.sampling_rate
        exponent = min(self._read_updates() / rate, 700.0)
        return rate / (rate + math.exp(exponent))

    def _read_updates(self) -> int:
        if self._known_updates is None:
            self._known_updates = int(self.updates)
        return self._known_updates

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._known_updates = None

    def _inputs(self, symbols: Tensor) -> list[Tensor]:
        """int64 `(batch, steps, columns)` → for each stream a float `(batch, steps, vocabulary + values)`."""
        sizes = self.spec.symbols[: len(self.spec.vocabulary)]
        known = [one_hot(symbols[..., index], size) for index, size in enumerate(sizes)]
        if self.spec.values:
            known[0] = torch.cat([known[0], scaled_values(self.spec.values, symbols)], -1)
        return known

    def _decoders(self) -> list[CodeLSTM]:
        return [decoder for decoder in self.decoders if isinstance(decoder, CodeLSTM)]

    def _as_steps(self, bars: Tensor) -> Tensor:
        """`(batch · bars, bar steps, ...)` → `(batch, steps, ...)`."""
        return bars.unflatten(0, (-1, self.bars)).flatten(1, 2)
