"""Single notes from a model with labels: what an instrument plays that exists only in latent space."""

import numpy as np
import torch

from musicae.audio.domain import AudioDomain
from musicae.audio.note_labels import PITCHES, STEPS_PER_SEMITONE, VELOCITIES
from musicae.errors import MusicaeError
from musicae.pipeline import Pipeline

_VELOCITY_STEP = 8
"""Velocities this near to each other sound alike; their loudness is that of the note all the same."""


class NotePlayer:
    """Plays notes of one instrument, or of one between two, each decoded once.

    Args:
        pipeline: of a model that draws notes by labels.
        label: the instrument; None: the first that the model knows.
        other: another one.
        share: of the other one, 0 to 1.

    Raises:
        MusicaeError: another model, or an instrument that it doesn't know.
    """

    def __init__(
        self, pipeline: Pipeline, label: str | None = None, other: str | None = None, share: float = 0.5
    ) -> None:
        domain = pipeline.domain
        if not isinstance(domain, AudioDomain) or not domain.config.labels:
            raise MusicaeError("this model plays no notes; give one of single notes that was trained with labels.")
        pipeline.refuse_unlearned_condition()
        if not 0 <= share <= 1:
            raise ValueError(f"share is a number of 0 to 1, got {share}")
        self._pipeline, self._domain = pipeline, domain
        first = domain.config.instruments[0].name if label is None else label
        parts = [(first, 1.0)] if other is None else [(first, 1 - share), (other, share)]
        self._parts = [(domain.condition(name), weight) for name, weight in parts]
        self._played: dict[tuple[int, int], np.ndarray] = {}
        known = {instrument.name: instrument for instrument in domain.config.instruments}
        self._lowest = min(known[name].lowest for name, _ in parts)
        self._highest = max(known[name].highest for name, _ in parts)
        self._beyond: set[int] = set()

    @property
    def sample_rate_hz(self) -> int:
        """Of the notes."""
        return self._domain.config.sample_rate_hz

    @property
    def remarks(self) -> tuple[str, ...]:
        """What people should know of the notes that were played."""
        if not self._beyond:
            return ()
        return (
            f"the model learned pitches {self._lowest} to {self._highest} of this instrument; "
            f"{len(self._beyond)} that were played lie beyond them",
        )

    def play_note(self, pitch: int, velocity: int) -> np.ndarray:
        """A note from its beginning, float32 `(samples,)`, as long as an example of the model.

        Args:
            pitch: of MIDI.
            velocity: of MIDI, 1 to 127.
        """
        if not (PITCHES[0] <= pitch <= PITCHES[1] and VELOCITIES[0] <= velocity <= VELOCITIES[1]):
            raise ValueError(f"pitch and velocity are MIDI's, got {pitch} and {velocity}")
        if not self._lowest <= pitch <= self._highest:
            self._beyond.add(pitch)
        key = pitch, round(velocity / _VELOCITY_STEP)
        if key not in self._played:
            self._played[key] = self._decoded(pitch, min(VELOCITIES[1], max(1, key[1] * _VELOCITY_STEP)))
        return self._played[key]

    def _decoded(self, pitch: int, velocity: int) -> np.ndarray:
        network = self._pipeline.network
        base = torch.zeros(1, *network.latent_shape, device=self._pipeline.device)
        z = torch.zeros_like(base)
        for condition, weight in self._parts:
            asked = condition.clone()
            asked[:, 1:] = torch.tensor([1 + STEPS_PER_SEMITONE * pitch, 1 + velocity])
            z += weight * self._pipeline.drawn(base, asked)
        samples: np.ndarray = self._domain.compose(self._pipeline.decode_codes(z, None).cpu()).samples
        return samples.reshape(-1)
