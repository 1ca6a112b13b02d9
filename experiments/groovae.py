"""GrooVAE's humanizer (Gillick et al., 2019), trained here on the same windows, for 18 minutes of one core.

An encoder of 512 LSTM units in each direction reads the hits alone, a code of 256 numbers says what it makes of them,
and a decoder of two layers of 256 plays them, step by step. Its own hits are put aside: the pattern is known, and what
is compared is how it is played. The published one has a squared error for velocity and offset and plays them the same
way each time; here they have a density, as in our model, so that its draws can be compared too.
"""

from pathlib import Path
from typing import Any

import torch
from grooves import DRAWS, humanizers, played_by
from stored import trained_model
from torch import Tensor

from musicae.data.dataset import load_dataset
from musicae.models.musicvae import MusicVAE
from musicae.nn.latent import Posterior
from musicae.shipped import checkpoint_of
from musicae.spec import TensorSpec
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment

MINUTES = 18.0
_SETTINGS = {
    "part": "drums",
    "expression": True,
    "time_signature": "4/4",
    "encoder_width": 512,
    "decoder_width": 256,
    "decoder_layers": 2,
    "latent_size": 256,
    "conductor_width": 0,
    "beta": 0.2,
    "minutes": MINUTES,
    "evaluate_every": 100,
}


class GrooVAE(MusicVAE):
    """Reads hits, and plays them."""

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        """As `MusicVAE.encode`; how the hits are played is not looked at."""
        return super().encode(flat(x, self.spec), condition)

    @torch.no_grad()
    def play(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """`(batch, steps, columns)` → the same hits, played by a draw of the code and of the values."""
        streams = len(self.spec.vocabulary)
        size = self.spec.vocabulary[0]
        code = self._codes(self.encode(x).sample(generator), None)
        decoder = self._decoders()[0]
        state = decoder.first_state(code)
        before = torch.zeros_like(self._inputs(x[:, :1])[0])
        played = []
        for step in range(x.shape[1]):
            hidden, state = decoder(torch.cat([before, code.unsqueeze(1)], -1), state)
            values = self.heads[0](hidden)[..., size:].float()
            played.append(self.likelihood.play(x[:, step : step + 1, :streams], values, 1.0, generator))
            before = self._inputs(played[-1])[0]
        return torch.cat(played, 1)


def flat(x: Tensor, spec: TensorSpec) -> Tensor:
    """Windows with every value at its middle."""
    streams = len(spec.vocabulary)
    values = [torch.where(column.applies(x[..., column.stream]), round(column.middle), 0) for column in spec.values]
    return torch.cat([x[..., :streams], torch.stack(values, -1)], -1)


def groovae(sets: Path, runs: Path) -> dict[str, Any]:
    """Trains it where there is no run of it, and compares draws on Groove's test split."""
    folder = runs / "groovae"
    if checkpoint_of(folder, "best") is None:
        experiment = Experiment.resolve(
            "music", task="reconstruct", data=[sets / "groove"], model=GrooVAE, settings=_SETTINGS
        )
        experiment.run(folder, experiment.read())
    trained: TrainedModel = load(folder, "cpu", network_class=GrooVAE)
    dataset = load_dataset(trained.domain, [sets / "groove"])

    def play(windows: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        network = trained.network
        assert isinstance(network, GrooVAE)
        return torch.stack(
            [torch.cat([network.play(part, generator) for part in windows.split(256)]) for _ in range(DRAWS)]
        )

    ours = played_by(trained_model(runs, "drums-2bar"))
    effort = {key: trained.manifest.data[key] for key in ("minutes_in_all", "updates_in_all")}
    return humanizers(trained, dataset, {"groovae": play, "played": ours}) | {"training": effort}
