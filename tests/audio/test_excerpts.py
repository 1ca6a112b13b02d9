"""Chunks of a sound: cut, brought to a level, and stored in the memory of the samples that they came from."""

import numpy as np
import pytest

from musicae.audio.excerpts import mono_samples, stored_chunks
from musicae.audio.sound import Sound

SIZE, LEVEL_RMS = 100, 0.1


def cut(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """The same, one chunk after another."""
    padded = np.pad(samples, (0, max(0, SIZE - len(samples))))
    starts = list(range(0, len(padded) - SIZE + 1, SIZE // 2))
    starts += [len(padded) - SIZE] if starts[-1] + SIZE < len(padded) else []
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    chunks = [padded[start : start + SIZE] for start in starts]
    kept = [chunk for chunk in chunks if np.sqrt(np.mean(np.square(chunk, dtype=np.float64))) > rms * 10**-2.5]
    stored = [(chunk * (LEVEL_RMS / rms)).astype(np.float16) for chunk in kept]
    return np.array(stored, np.float16).reshape(-1, SIZE), len(chunks) - len(kept)


@pytest.mark.parametrize("length", [1, 99, 100, 101, 149, 150, 151, 1_000, 1_023, 12_345])
@pytest.mark.parametrize("silence", [slice(0, 0), slice(0, 120), slice(200, 600), slice(-220, None)])
def test_chunks_overlap_by_half_and_silent_ones_are_left_out(length, silence):
    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    samples[silence] = 1e-9
    expected, silent = cut(samples) if samples.any() else (np.zeros((0, SIZE)), 1)
    stored, left_out = stored_chunks(samples.copy(), SIZE, LEVEL_RMS)
    assert left_out == silent
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, expected)


def test_chunks_take_no_memory_of_their_own():
    samples = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    stored, _ = stored_chunks(samples, SIZE, LEVEL_RMS)
    assert len(stored) == 199
    assert np.shares_memory(stored, samples)


def test_a_sound_of_unknown_length_is_read_as_a_whole():
    blocks = [np.full((1_000, 2), number, np.float32) for number in range(5)]
    sound = Sound.from_blocks(lambda: iter(blocks), 8_000, 2)
    np.testing.assert_array_equal(mono_samples(sound, 8_000), np.repeat(np.arange(5, dtype=np.float32), 1_000))
