"""Which tracks are the trio: a melody, a bass and drums.

The bass is chosen first, by its instrument (General MIDI 33 to 40) or its name, so that a busy bass is
not taken for the melody; of several the one with most notes. The melody is chosen among the rest as
`musicae.music.melody` does, and all tracks of channel 10 together are the drums.
"""

from collections.abc import Sequence

from musicae.music.drums import choose_drums
from musicae.music.lazy_lines import Told
from musicae.music.melody import MELODY_NAMES, choose_melody
from musicae.music.tracks import TrackChoice, TrackSummary, find_wanted


def choose_trio(summaries: Sequence[TrackSummary], wanted: int | str | None = None) -> TrackChoice:
    """Chooses the three tracks.

    Args:
        summaries: of all tracks, in order.
        wanted: the user's choice of the melody; None to choose by itself.

    Raises:
        MusicaeError: the user's choice is not in the file, or holds no melody.
    """
    taken = None if wanted is None else find_wanted(summaries, wanted)
    basses = [track for track in summaries if track is not taken and _may_be_bass(track)]
    bass = max(basses, key=lambda track: track.notes, default=None)
    others = [track for track in summaries if track is not bass and not track.is_drum]
    melody = choose_melody(others, None if taken is None else taken.index)
    drums = choose_drums(summaries)
    tracks = (melody.tracks[0], () if bass is None else (bass.index,), drums.tracks[0])
    if not any(track.notes for track in summaries):
        reason = "no notes"
    else:
        names = ("melody", "bass", "drums")
        missing = [name for name, found in zip(names, tracks, strict=True) if not found]
        reason = f"no {' and no '.join(missing)} (a trio needs melody, bass and drums)" if missing else melody.reason

    def explain() -> list[str]:
        told = dict(zip((track.index for track in others), melody.parts, strict=True))
        if bass is not None:
            told[bass.index] = f"{bass}: used as bass"
        told |= {track.index: drums.parts[track.index] for track in summaries if track.is_drum}
        return [told[track.index] for track in summaries]

    return TrackChoice(tracks, reason, Told(explain))


def _may_be_bass(track: TrackSummary) -> bool:
    named_melody = any(word in track.name.casefold() for word in MELODY_NAMES)
    return bool(track.notes) and not track.is_drum and track.is_bass and not named_melody
