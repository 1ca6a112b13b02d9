"""Recipes of sound.

Of the sets, `sound/free_…` are made by debian_sounds.py, `sound/voices…` and `sound/babble` by voices.py (in
`sound/community` of the voices of Mycroft's community alone), `sound/named_notes` by named_notes.py, and the other
`sound/…` by audio_sets.py.
"""

from dataclasses import replace
from typing import Any

from recipe import Recipe, split

_NOISE = ("sound/noise_train", "noise_room")
_CLEAN = ("speech_kerstin16k", "sound/digits_train", "sound/music_train")
_EVEN = ("speech_kerstin16k", "sound/digits_train", "sound/music_third")
_FREE_SOUNDS = ("sound/free_speech", "sound/free_music")
_FREE_NOISE = (*_NOISE, "sound/free_noise")
_EVERYTHING = (*_CLEAN, *_FREE_SOUNDS, "sound/tones_train", "sound/font_music")
_EVERY_NOISE = (*_FREE_NOISE, "sound/free_bustle", "sound/free_traffic")
_LONGER = {"chunk_s": 4.0, "batch_size": 4}
_WHOLE_BAND = {"widths": (32, 64, 96, 128, 160, 192), "square_halvings": 3}
_NOTES = ("notes16k", "sound/notes_train")
_SOUND_SCORES = {
    "denoise": ("si_sdr_in_db", "si_sdr_out_db", "si_sdr_gain_db", "si_sdr_gain_db_wiener", "log_mel_l1"),
    "reconstruct": ("log_mel_l1", "log_spectral_distance_db", "kl_bits"),
    "upscale": ("missing_band_distance_in_db", "missing_band_distance_db", "missing_band_level_db", "log_mel_l1"),
}


def _sound(task: str, sets: tuple[str, ...], minutes: float, model: str | None = None, **more: Any) -> Recipe:
    """Scored at 5 dB where it removes noise."""
    own, settings = split(more)
    # Music is measured apart: each leg split its pieces by the names of its own folders.
    speech = tuple(name for name in sets if "music" not in name and "tones" not in name)
    own["scored_on"] = speech if "start_from" in own and task != "reconstruct" else ()
    own["scored_with"] = {"snr_db_low": 5, "snr_db_high": 5} if task == "denoise" else {}
    return Recipe("audio", sets, minutes, settings, _SOUND_SCORES[task], task=task, model=model, **own)


def _later_leg(
    start_from: str, minutes: float, learning_rate: float, sets: tuple[str, ...], noise: tuple[str, ...], **more: Any
) -> Recipe:
    """A leg of a denoiser that sees the whole band."""
    settings = {"learning_rate": learning_rate, "noise": noise, **_WHOLE_BAND, **_LONGER}
    return _sound("denoise", sets, minutes, start_from=start_from, **settings, **more)


_VOICES = ("sound/voices", "sound/voices_moved", "sound/free_speech", "sound/digits_train")
_MUSIC = ("sound/music_train", "sound/font_music", "sound/free_music", "sound/tones_train", "sound/moving_train")
# Nothing of them is in the other sets.
_HELD_OUT_VOICES = ("sound/digits_train", "speech48k/gcompris-gd")
_WIDE_NOISE = (*_EVERY_NOISE, "noise44k", "sound/babble")
_AT_48_KHZ = {"sample_rate_hz": 48_000, "n_fft": 3072, "snr_db_high": 25.0, **_WHOLE_BAND, **_LONGER}


def _wide(minutes: float, learning_rate: float, **more: Any) -> Recipe:
    """A leg of the denoiser of 48 kHz."""
    settings = {"learning_rate": learning_rate, "noise": _WIDE_NOISE, "evaluate_every": 500, **_AT_48_KHZ, **more}
    kept = {name: value for name, value in settings.items() if value is not None}
    return replace(_sound("denoise", (*_VOICES, *_MUSIC), minutes, **kept), scored_on=_HELD_OUT_VOICES)


def _live(minutes: float, learning_rate: float, **more: Any) -> Recipe:
    """A leg of the denoiser that hears no more than what has arrived."""
    apart = {"model": "causal", "n_fft": 1920, "widths": None, "square_halvings": None}
    return _wide(minutes, learning_rate, **apart, **more)


_FALLING_VOICES = ("sound/voices", "sound/voices_moved")
_MANY_MICROPHONES = ("sound/community/voices", "sound/community/voices_moved", "speech48k/art4apps-en")


def _extension(minutes: float, voices: tuple[str, ...] = (), **more: Any) -> Recipe:
    """The model that fills in the top of the band; `voices` beside those that reach beyond 7 kHz."""
    sets = (*voices, *_MANY_MICROPHONES, "sound/free_speech")
    music = ("sound/music_train", "sound/font_music", "sound/free_music")
    sizes = {"widths": (32, 48, 64, 96, 128), "square_halvings": 2, "sample_rate_hz": 48_000, "n_fft": 1536}
    settings = {**sizes, **_LONGER, "evaluate_every": 500, "weight_decay": 0.02}
    return replace(
        _sound("upscale", (*sets, *music), minutes, **settings, **more), scored_on=("speech48k/gcompris-gd",)
    )


def _narrow_notes(minutes: float, learning_rate: float, **more: Any) -> Recipe:
    """A leg of the model of single notes at 16 kHz, from which that of 44.1 kHz goes on."""
    return _sound("reconstruct", _NOTES, minutes, beta=0.1, learning_rate=learning_rate, is_leg=True, **more)


def _notes(minutes: float, **more: Any) -> Recipe:
    """A leg of the model of single notes."""
    settings = {"sample_rate_hz": 44_100, "n_fft": 4096, "chunk_s": 3.0, "banded": True, "evaluate_every": 200}
    sets = ("instruments44k", "sound/font_notes", "sound/notes_train")
    made = _sound("reconstruct", sets, minutes, **{**settings, "beta": 0.1, "kl_warmup": 0, **more})
    return replace(made, scored_on=("instruments44k",))


def _labelled(minutes: float, learning_rate: float, beta: float, **more: Any) -> Recipe:
    """The same of notes whose names say what they are, which those of 16 kHz don't."""
    leg = _notes(minutes, learning_rate=learning_rate, beta=beta, labels=True, sample_spread=0.3, **more)
    return replace(leg, sets=("sound/named_notes",))


SOUNDS: dict[str, Recipe] = {
    # Speech, spoken digits and rendered tunes in noise. First mostly music, then as much speech as music.
    "denoise-16k-start": _sound("denoise", _CLEAN, 55, learning_rate=1.5e-3, noise=_NOISE, is_leg=True),
    "denoise-16k-even": _sound(
        "denoise", _EVEN, 38, learning_rate=1e-3, noise=_NOISE, start_from="denoise-16k-start", is_leg=True
    ),
    # From here on sounds of the batch are mixed to denser ones.
    "denoise-16k-joined": _sound(
        "denoise", _EVEN, 14, learning_rate=8e-4, noise=_NOISE, start_from="denoise-16k-even", is_leg=True
    ),
    # Produced music, more voices and more noises; examples long enough to tell steady sounds from changing ones.
    "denoise-16k-free": _sound(
        "denoise",
        _EVEN + _FREE_SOUNDS,
        85,
        learning_rate=1e-3,
        noise=_FREE_NOISE,
        start_from="denoise-16k-joined",
        is_leg=True,
        **_LONGER,
    ),
    # As many rendered tunes as produced music, noises of all folders evenly, and a network that sees the whole band.
    "denoise-16k-varied": _later_leg(
        "denoise-16k-free", 95, 1e-3, _CLEAN + _FREE_SOUNDS, _FREE_NOISE, evaluate_every=500, is_leg=True
    ),
    # Steady tones are no hum.
    "denoise-16k-tones": _later_leg(
        "denoise-16k-varied", 10, 5e-4, (*_CLEAN, *_FREE_SOUNDS, "sound/tones_train"), _FREE_NOISE, is_leg=True
    ),
    # More instruments, and vehicles, tools, steps and animals for noise.
    "denoise-16k-bustle": _later_leg(
        "denoise-16k-tones", 62, 8e-4, _EVERYTHING, _EVERY_NOISE, evaluate_every=500, is_leg=True
    ),
    # Compressed magnitudes have half of their weight; the mask is calibrated on noises that training did not use.
    "denoise-16k": _later_leg(
        "denoise-16k-bustle",
        11,
        2e-4,
        _EVERYTHING,
        _EVERY_NOISE,
        evaluate_every=500,
        calibrated=True,
        is_leg=True,
    ),
    # 48 kHz. The network sees up to 8 kHz what it saw before, and learns what lies above. (The legs before were trained
    # when the network wasn't given a row's place, whose weights began at zero.)
    "denoise-48k-start": _wide(72, 3e-4, start_from="denoise-16k", bits=8, is_leg=True),
    # Music that is nearly clean, and whose highs are soft, is to stay as it is.
    "denoise-48k": _wide(35, 3e-4, snr_db_high=45.0, start_from="denoise-48k-start", bits=8, shipped_as="denoise-48k"),
    # Causal; 20 ms behind. First large batches, and sound that is nearly clean.
    "denoise-live-48k-start": _live(37, 2e-3, batch_size=16, snr_db_high=35.0, is_leg=True),
    "denoise-live-48k-middle": _live(22, 1.5e-3, snr_db_high=35.0, start_from="denoise-live-48k-start", is_leg=True),
    # The error as a whole weighs twice as much beside that of bands as in the legs before.
    "denoise-live-48k": _live(52, 1.5e-3, start_from="denoise-live-48k-middle", bits=8, shipped_as="denoise-live-48k"),
    # From any end of the band to 24 kHz. At higher rates, and without decay, features grow until they say nothing.
    "upscale-48k-start": _extension(35, voices=_FALLING_VOICES, learning_rate=8e-4, bits=8, is_leg=True),
    "upscale-48k-middle": _extension(
        24, voices=_FALLING_VOICES, learning_rate=6e-4, start_from="upscale-48k-start", is_leg=True
    ),
    # Without voices whose highs a codec had taken, which taught that voices have none.
    "upscale-48k-even": _extension(13, learning_rate=6e-4, start_from="upscale-48k-middle", is_leg=True),
    # Loud moments count for more than pauses.
    "upscale-48k": _extension(24, learning_rate=5e-4, start_from="upscale-48k-even", bits=8, shipped_as="upscale-48k"),
    # Single notes, of recorded instruments and of a sound font.
    "notes-16k-start": _narrow_notes(40, 2e-3),
    "notes-16k-middle": _narrow_notes(27, 1.2e-3, kl_warmup=0, start_from="notes-16k-start"),
    "notes-16k": _narrow_notes(45, 1.2e-3, kl_warmup=0, start_from="notes-16k-middle"),
    # Single notes at 44.1 kHz, first their beginnings; convolutions begin as those for 16 kHz.
    "notes-44k-start": _notes(22, learning_rate=2e-3, chunk_s=1.5, start_from="notes-16k", is_leg=True),
    # Then with a higher price on bits from leg to leg.
    "notes-44k-middle": _labelled(30, 1.2e-3, 0.5, start_from="notes-44k-start", is_leg=True),
    "notes-44k-fewer-bits": _labelled(11, 7e-4, 0.9, start_from="notes-44k-middle", is_leg=True),
    "notes-44k": _labelled(8, 5e-4, 1.2, start_from="notes-44k-fewer-bits", bits=6, shipped_as="notes-44k"),
}
