"""`SinesAndNoise`: a decoder's output as the complex spectrum of a sound, tones whose phases run on, and noise.

A network of convolutions gives a lasting tone the same output in every frame, but its phase moves on from frame to
frame. So as in GANSynth (Engel et al., 2019) the network says by how much a cell's frequency differs from the middle of
the cell, and phases are sums over time; around a partial all cells then have the same phase, and add up. What has no
pitch is white noise whose level the network says, as in DDSP (Engel et al., 2020). The spectrum goes through an inverse
transform (Siuzdak, 2023, "Vocos"), so no phases have to be searched for.
"""

import torch
from torch import Tensor, nn

from musicae.nn.bands import Bands
from musicae.stft import stft

BANDS = Bands(256, ((64, 4), (100, 16)))
"""With 2048 samples at 44.1 kHz: single frequencies to 5.5 kHz, four to 11 kHz, sixteen above."""
_FURTHEST = 2.0  # cells that a frequency may lie from the middle of a cell
_LOUDEST = 6.0
_NATURAL = 2.0  # what an output of 1 is in nepers
_USUAL = -2.0  # an untrained network is soft


class SinesAndNoise(nn.Module):
    """Rows of three numbers → a complex spectrum.

    Args:
        frequencies: of the spectrum.
        frames: of the spectrum.
    """

    OUTPUTS = 3
    noise: Tensor

    def __init__(self, frequencies: int, frames: int) -> None:
        super().__init__()
        self.frequencies, self.frames = frequencies, frames
        n_fft = 2 * (frequencies - 1)
        generator = torch.Generator().manual_seed(0)
        white = torch.randn((1, (frames - 1) * n_fft // 4), generator=generator)
        cells = stft(white, n_fft=n_fft)
        # What is drawn is always the same noise: a decoder gives one answer.
        self.register_buffer("noise", cells / cells.square().sum(1).mean().sqrt(), persistent=False)
        number = torch.arange(frequencies)
        # A quarter of a window from frame to frame, and half a window from a frame's beginning to its middle.
        steps = (number[:, None] * torch.arange(frames)) % 4 / 4 + number[:, None] % 2 / 2
        self.register_buffer("turns", steps, persistent=False)

    turns: Tensor

    def forward(self, output: Tensor) -> Tensor:
        """`(batch, 3, rows, frames)` → `(batch, 2, frequencies, frames)`."""
        tone, bend, noise = BANDS.spread(output.float(), self.frequencies).unbind(1)
        turned = self.turns + (_FURTHEST * torch.tanh(bend) / 4).cumsum(-1)
        phase = 2 * torch.pi * turned
        tones = torch.stack((phase.cos(), phase.sin()), 1) * _level(tone)
        cells = self.noise
        if self.training:
            cells = cells.roll(int(torch.randint(self.frames, ())), -1)
        return tones + cells * _level(noise)


def _level(output: Tensor) -> Tensor:
    """`(batch, frequencies, frames)` → magnitudes, `(batch, 1, frequencies, frames)`."""
    return torch.exp((_NATURAL * output + _USUAL).clamp_max(_LOUDEST)).unsqueeze(1)
