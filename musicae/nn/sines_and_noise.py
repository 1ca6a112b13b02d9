"""`SinesAndNoise`: a decoder's output as the complex spectrum of a sound, tones whose phases run on, and noise.

A network of convolutions gives a lasting tone the same output in every frame, but its phase moves on from frame to
frame. So as in GANSynth (Engel et al., 2019) the network says by how much a cell's frequency differs from the middle of
the cell, and phases are sums over time; around a partial all cells then have the same phase, and add up. What has no
pitch is white noise whose level the network says, as in DDSP (Engel et al., 2020). The spectrum goes through an inverse
transform (Siuzdak, 2023, "Vocos"), so no phases have to be searched for.
"""

from functools import lru_cache

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

    def __init__(self, frequencies: int, frames: int) -> None:
        super().__init__()
        self.frequencies, self.frames = frequencies, frames

    def forward(self, output: Tensor) -> Tensor:
        """`(batch, 3, rows, frames)` → `(batch, 2, frequencies, frames)`."""
        tone, bend, noise = BANDS.spread(output.float(), self.frequencies).unbind(1)
        turns, white = (table.to(output.device) for table in _tables(self.frequencies, self.frames))
        turned = turns + (_FURTHEST * torch.tanh(bend) / 4).cumsum(-1)
        phase = 2 * torch.pi * turned
        tones = torch.stack((phase.cos(), phase.sin()), 1) * _level(tone)
        if self.training:
            frame = torch.arange(self.frames, device=white.device)
            moved = (frame + torch.randint(self.frames, (1,), device=white.device)) % self.frames
            white = white.index_select(-1, moved)  # other noise in every step
        return tones + white * _level(noise)


@lru_cache(maxsize=4)
def _tables(frequencies: int, frames: int) -> tuple[Tensor, Tensor]:
    """Turns of the middle of each cell, `(frequencies, frames)`, and white noise, `(1, 2, frequencies, frames)`.

    The noise is always the same, so that a code gives one sound.
    """
    n_fft = 2 * (frequencies - 1)
    with torch.inference_mode(False):  # they outlive the call
        number, frame = torch.arange(frequencies, device="cpu")[:, None], torch.arange(frames, device="cpu")
        # A quarter of a window from frame to frame, and half a window from a frame's beginning to its middle.
        turns = (number * frame) % 4 / 4 + number % 2 / 2
        samples = (1, (frames - 1) * n_fft // 4)
        cells = stft(torch.randn(samples, generator=torch.Generator().manual_seed(0), device="cpu"), n_fft=n_fft)
        return turns, cells / cells.square().sum(1).mean().sqrt()


def _level(output: Tensor) -> Tensor:
    """`(batch, frequencies, frames)` → magnitudes, `(batch, 1, frequencies, frames)`."""
    return torch.exp((_NATURAL * output + _USUAL).clamp_max(_LOUDEST)).unsqueeze(1)
