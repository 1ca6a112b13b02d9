"""What a restoration took away from a sound, as a sound."""

from collections.abc import Iterator

import numpy as np

from musicae.audio.loudness import highest_allowed, limit
from musicae.audio.sound import Sound


def removed(before: Sound, after: Sound) -> Sound:
    """The sound before minus that after, computed when it is read: same length, rate, channels and format.

    Nothing in it is louder than the true peak of the sound before and `loudness.HEADROOM_DB`.

    Args:
        before: as it was.
        after: what was made of it, at the same rate, as long and with as many channels.

    Raises:
        ValueError: their rates, channels or lengths differ.
    """
    sizes = [(sound.sample_rate_hz, sound.channels, sound.frames) for sound in (before, after)]
    if sizes[0] != sizes[1]:
        described = " and ".join(
            f"{rate_hz} Hz, {channels} channels, {frames} frames" for rate_hz, channels, frames in sizes
        )
        raise ValueError(f"expected two sounds of one rate, number of channels and length, got {described}")

    def blocks() -> Iterator[np.ndarray]:
        levels = before.levels
        pairs = zip(before.blocks(), after.blocks(), strict=True)
        return limit(
            (first - second for first, second in pairs),
            true_peak=highest_allowed(levels.true_peak),
            sample_peak=max(1.0, levels.peak),
            sample_rate_hz=before.sample_rate_hz,
        )

    return Sound.from_blocks(
        blocks, before.sample_rate_hz, before.channels, before.frames, before.subtype, before.container,
        name=before.name, suffix=before.suffix, remarks=after.remarks,
    )  # fmt: skip
