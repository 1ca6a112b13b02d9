"""The recipes of every quoted figure and every shipped model: data, settings, and the run that each goes on from.

`RECIPES` is the one table; `run.py NAME` trains and scores a recipe. Many runs are trained in several legs, each
starting from the weights of the one before (`start_from`); `chain` gives them in order.
"""

from dataclasses import dataclass, field, replace
from typing import Any

_PLAIN = "deterministic"
_CLOCK = 1_000_000  # steps: more than any of these runs gets to, so that the clock ends it


@dataclass(frozen=True)
class Recipe:
    """One run.

    Attributes:
        domain, task, model: as for `musicae train`.
        sets: names of the data sets that it learns from and, on their test split, is scored on.
        minutes: how long it trains; training ends earlier only where validation has long stopped improving.
        settings: of domain, model and training; `noise` names sets too.
        start_from: the recipe whose weights it starts from.
        is_leg: whether it is only there for others to go on from, so that no table shows it.
        shipped_as: the shipped model that `run.py --ship` makes of it.
        shares: the shipped model whose weights it is stored without; what starts from it starts from it as shipped.
        bits: of a weight of the shipped model: 16 is float16, 8 and fewer are whole numbers with scales.
        scored_on: sets scored on where that is not all of `sets`, since the legs before split some of them differently.
        scored_with: settings changed for scoring.
        reported: the scores that tables show.
        importance: draws of z an example for the importance-weighted bound.
        samples: draws from the prior that are compared with held-out examples.
        pairs: paths between held-out examples that are compared with crossfades.
        calibrated: whether the mask is calibrated after training, see calibration.py.
        split_by_names: whether it was trained by an earlier version, which split songs by their names.
    """

    domain: str
    sets: tuple[str, ...]
    minutes: float
    settings: dict[str, Any]
    reported: tuple[str, ...]
    task: str = "reconstruct"
    model: str | None = None
    start_from: str | None = None
    is_leg: bool = False
    shipped_as: str | None = None
    shares: str | None = None
    bits: int = 16
    scored_on: tuple[str, ...] = ()
    scored_with: dict[str, Any] = field(default_factory=dict)
    importance: int = 0
    samples: int = 0
    pairs: int = 0
    calibrated: bool = False
    split_by_names: bool = False

    @property
    def all_settings(self) -> dict[str, Any]:
        """With those of the clock. `noise` and `start_from` name sets and recipes, not folders."""
        settings = {"minutes": self.minutes, "steps": _CLOCK, **self.settings}
        return settings if self.start_from is None else {**settings, "start_from": self.start_from}


# Pictures


def _mnist(minutes: float, size: int, latent: str, model: str = "mlp", **more: Any) -> Recipe:
    """A VAE or autoencoder of digits, with `size` numbers in the code."""
    own, settings = _split(more)
    chosen = {"likelihood": "gaussian", "batch_size": 512, "latent_size": size, "latent": latent, **settings}
    reported = ("mse", "mse_mean", "kl_bits", "knn_accuracy")
    return Recipe("image", ("mnist",), minutes, chosen, reported, model=model, **own)


def _convolutional(minutes: float, size: int, latent: str, **more: Any) -> Recipe:
    chosen = {"widths": (32, 64, 96), "batch_size": 64, "learning_rate": 2e-3, **more}
    return _mnist(minutes, size, latent, model="conv", **chosen)


def _picture_restorer(name: str, task: str, minutes: float, **settings: Any) -> Recipe:
    chosen = {"learning_rate": 2e-3, "evaluate_every": 300, **settings}
    return Recipe("image", (name,), minutes, chosen, ("psnr_in_db", "psnr_db", "ssim_in", "ssim"), task=task)


def _split(more: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of a recipe, and settings."""
    own = {key: value for key, value in more.items() if key in Recipe.__dataclass_fields__}
    return own, {key: value for key, value in more.items() if key not in own}


# A Gaussian with a small deviation would leave the prior next to no weight in the loss.
_DRAWING = {"likelihood": "bernoulli", "patch": 2, "batch_size": 128}
_TWO_NUMBERS = {"width": 512, "depth": 4}
_EIGHT_NUMBERS = {"widths": (32, 64, 128), "patch": 2, "dense_blocks": 2, "batch_size": 128}
# A run that starts from another has the KL term from its first step.
_NEXT_LEG = {"kl_warmup": 0, "learning_rate": 5e-4}

_PICTURES: dict[str, Recipe] = {
    "mnist-vae-2": _mnist(5, 2, "gaussian", depth=3),
    # With two numbers it matters most how often the digits are seen: a narrow MLP sees them ten times as often as
    # convolutions would. A little noise on the code keeps similar digits together.
    "mnist-ae-2-start": _mnist(35, 2, "gaussian", **_TWO_NUMBERS, beta=0.3, learning_rate=2e-3, is_leg=True),
    "mnist-ae-2": _mnist(
        12, 2, "gaussian", **_TWO_NUMBERS, **_NEXT_LEG, beta=0.2, weight_decay=0.2, start_from="mnist-ae-2-start"
    ),
    # Convolutions: with more numbers an MLP memorises the training digits (notebooks/LOG.md).
    "mnist-ae-8-start": _convolutional(25, 8, _PLAIN, **_EIGHT_NUMBERS, is_leg=True),
    "mnist-ae-8": _convolutional(
        12, 8, _PLAIN, **{**_EIGHT_NUMBERS, "learning_rate": 1e-3}, start_from="mnist-ae-8-start"
    ),
    "mnist-ae-32": _convolutional(15, 32, _PLAIN),
    "mnist-ae-128-start": _convolutional(5, 128, _PLAIN, is_leg=True),
    "mnist-ae-128": _convolutional(10, 128, _PLAIN, start_from="mnist-ae-128-start"),
    # Adversarial and conditional: image.py measures their samples.
    "mnist-aae-8": _convolutional(8, 8, "adversarial", **_DRAWING),
    # With a high price on bits the code leaves to the label what the label says.
    "mnist-conditional": _convolutional(8, 8, "gaussian", **_DRAWING, labels=True, beta=4.0, kl_warmup=0),
    # Pixels are drawn black or white from the grey of each digit: likelihoods that can be compared.
    "mnist-vae-40": Recipe(
        "image",
        ("mnist",),
        10,
        {"binarised": True, "latent_size": 40, "prior": "flow", "patch": 2, "widths": (32, 64)}
        | {"learning_rate": 2e-3, "batch_size": 128, "evaluate_every": 1000},
        ("nll_importance_nats", "importance_draws", "elbo_nats", "kl_bits", "active_units"),
        model="conv",
        importance=500,
    ),
    # The noise of the notebook on autoencoders; its mean brightens all of the picture.
    "mnist-denoise": _picture_restorer("mnist", "denoise", 8, noise_mean=0.5, noise_deviation=0.5),
    "mnist-upscale-2": _picture_restorer("mnist", "upscale", 8, scale=2),
    "mnist-upscale-4": _picture_restorer("mnist", "upscale", 8, scale=4),
    # image.py enlarges photographs with these.
    "satellite-upscale-2": _picture_restorer("eurosat64", "upscale", 8, scale=2, batch_size=32),
    "satellite-upscale-3": _picture_restorer("eurosat64", "upscale", 7, scale=3, batch_size=32),
    "satellite-upscale-4": _picture_restorer("eurosat64", "upscale", 7, scale=4, batch_size=32),
}

# Sound. Of the sets, `sound/free_…` are made by debian_sounds.py, `sound/voices…` and `sound/babble` by voices.py (in
# `sound/community` of the voices of Mycroft's community alone), `sound/named_notes` by named_notes.py, and the other
# `sound/…` by audio_sets.py.

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
    own, settings = _split(more)
    # audio.py scores music: each leg split its pieces by the names of its own folders.
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


def _notes(minutes: float, **more: Any) -> Recipe:
    """A leg of the model of single notes."""
    settings = {"sample_rate_hz": 44_100, "n_fft": 4096, "chunk_s": 3.0, "banded": True, "evaluate_every": 200}
    # Notes of 16 kHz have no names that labels could be read from.
    named = ("sound/named_notes",)
    sets = named if more.get("labels") else ("instruments44k", "sound/font_notes", "sound/notes_train")
    made = _sound("reconstruct", sets, minutes, **{**settings, "beta": 0.1, "kl_warmup": 0, **more})
    return replace(made, scored_on=("instruments44k",))


_SOUNDS: dict[str, Recipe] = {
    # Speech, spoken digits and rendered tunes in noise; audio.py scores with none of them. First mostly music, then as
    # much speech as music.
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
    "denoise-48k": _wide(48, 3e-4, snr_db_high=45.0, start_from="denoise-48k-start", bits=8, shipped_as="denoise-48k"),
    # Causal; 20 ms behind. First large batches, and sound that is nearly clean.
    "denoise-live-48k-start": _live(37, 2e-3, batch_size=16, snr_db_high=35.0, is_leg=True),
    "denoise-live-48k-middle": _live(22, 1.5e-3, snr_db_high=35.0, start_from="denoise-live-48k-start", is_leg=True),
    # The error as a whole weighs twice as much beside that of bands as in the legs before.
    "denoise-live-48k-late": _live(52, 1.5e-3, start_from="denoise-live-48k-middle", bits=8, is_leg=True),
    "denoise-live-48k": _live(45, 1e-3, start_from="denoise-live-48k-late", bits=8, shipped_as="denoise-live-48k"),
    # From any end of the band to 24 kHz. At higher rates, and without decay, features grow until they say nothing.
    "upscale-48k-start": _extension(35, voices=_FALLING_VOICES, learning_rate=8e-4, bits=8, is_leg=True),
    "upscale-48k-middle": _extension(
        24, voices=_FALLING_VOICES, learning_rate=6e-4, start_from="upscale-48k-start", is_leg=True
    ),
    # Without voices whose highs a codec had taken, which taught that voices have none.
    "upscale-48k": _extension(
        30, learning_rate=6e-4, start_from="upscale-48k-middle", bits=8, shipped_as="upscale-48k"
    ),
    # Single notes, of recorded instruments and of a sound font.
    "notes-16k-start": _sound("reconstruct", _NOTES, 40, beta=0.1, learning_rate=2e-3, is_leg=True),
    "notes-16k-middle": _sound(
        "reconstruct",
        _NOTES,
        27,
        beta=0.1,
        learning_rate=1.2e-3,
        kl_warmup=0,
        start_from="notes-16k-start",
        is_leg=True,
    ),
    "notes-16k": _sound(
        "reconstruct",
        _NOTES,
        45,
        beta=0.1,
        learning_rate=1.2e-3,
        kl_warmup=0,
        start_from="notes-16k-middle",
        shipped_as="notes-16k",
    ),
    # Single notes at 44.1 kHz, first their beginnings; convolutions begin as those for 16 kHz.
    "notes-44k-start": _notes(22, learning_rate=2e-3, chunk_s=1.5, start_from="notes-16k", is_leg=True),
    "notes-44k": _notes(
        42,
        learning_rate=1.2e-3,
        beta=0.5,
        labels=True,
        start_from="notes-44k-start",
        bits=8,
        shipped_as="notes-44k",
    ),
}

# Music

_TUNE_BOOKS = ("openewld", "openscore_lieder", "ryans_mammoth", "oneills1850", "airds_airs")
_LONG = {"bars": 16, "batch_size": 64, "latent_size": 512, "evaluate_every": 700}
# 120 pieces are soon memorised.
_TRIO = {"part": "trio", "recombined": 0.8, "dropout": 0.2}
# Codes of eight phrases, each as in `trio-games-2bar`.
_SIDE_BY_SIDE = {"side_by_side": True, "latent_size": 2048, "prior": "standard", "kl_warmup": 0, "evaluate_every": 300}
_LONG_TRIO = {**_LONG, **_TRIO, **_SIDE_BY_SIDE}
_MUSIC_SCORES = (
    "accuracy_free_running",
    "onset_f1",
    "note_f1",
    "kl_bits",
    "kl_bits_notes",
    "kl_bits_feel",
    "accuracy_melody",
    "accuracy_bass",
    "accuracy_drums",
    "velocity_mae",
    "offset_mae",
    "sample_in_scale",
    "sample_rhythm_repeated",
    "sample_self_similarity",
    "path_jump",
)
_REPAIR_SCORES = ("accuracy_corrupted", "accuracy_free_running", "onset_f1_corrupted", "onset_f1")


def _music(sets: tuple[str, ...], minutes: float, model: str | None = None, **more: Any) -> Recipe:
    own, settings = _split(more)
    # Paths of long trios take longer to score than the model takes to train.
    own = {"bits": 4, "samples": 2000, "pairs": 0 if settings.get("part") == "trio" else 100, **own}
    chosen = {"time_signature": "4/4", "evaluate_every": 1500, **settings}
    return Recipe("music", sets, minutes, chosen, _MUSIC_SCORES, model=model, **own)


def _repair(task: str, minutes: float) -> Recipe:
    """A restorer of notes; it starts from the melody model."""
    settings = {"time_signature": "4/4", "evaluate_every": 500}
    return Recipe("music", _TUNE_BOOKS, minutes, settings, _REPAIR_SCORES, task=task, start_from="melody-2bar-common")


def _phrases(minutes: float, start_from: str, **more: Any) -> Recipe:
    """Sixteen bars in every common time signature, 24 pieces of eight phrases in a batch."""
    settings = {"time_signature": "any", "bars": 16, "batch_size": 24, "kl_warmup": 0, "evaluate_every": 700}
    return _music(_TUNE_BOOKS, minutes, model="phrases", start_from=start_from, **{**settings, **more})


def _drums(minutes: float, start_from: str, **more: Any) -> Recipe:
    """Drums as they are played."""
    settings = {"part": "drums", "expression": True, "width": 512, "beta": 0.17, "kl_warmup": 0, "evaluate_every": 700}
    return _music(("groove",), minutes, model="played", start_from=start_from, **{**settings, **more})


def _piano(minutes: float, **more: Any) -> Recipe:
    """Piano music in every common time signature, with velocity and timing."""
    settings = {"time_signature": "any", "part": "piano", "expression": True, "width": 384, "codes_per_bar": 3}
    return _music(
        ("piano_performance/piano-midi",), minutes, **{**settings, "batch_size": 128, "evaluate_every": 700, **more}
    )


def _sheets(minutes: float, **more: Any) -> Recipe:
    """Melody, bass and drums over given chords, of what trio_sets.py makes."""
    settings = {"part": "trio", "chords": True, "width": 512, "dropout": 0.1, "prior": "standard"}
    return _music(("lead_sheet_trios",), minutes, **{**settings, "evaluate_every": 500, **more})


# What is learned of the shipped codes of two bars in a row.
_JOINED = {
    "shares": "melody-2bar",
    "batch_size": 128,
    "evaluate_every": 300,
    "prior_width": 192,
    "prior_blocks": 3,
    "second_stage": True,
    "flow_width": 256,
    "flow_blocks": 4,
}

_TUNES: dict[str, Recipe] = {
    "melody-2bar-start": _music(_TUNE_BOOKS, 40, beta=0.35, is_leg=True, split_by_names=True),
    "melody-2bar-common": _music(
        _TUNE_BOOKS, 50, **_NEXT_LEG, beta=0.37, start_from="melody-2bar-start", is_leg=True, split_by_names=True
    ),
    # All time signatures; what a bar of 4/4 is, it knows from the leg before.
    "melody-2bar-any": _music(
        _TUNE_BOOKS,
        80,
        time_signature="any",
        beta=0.35,
        kl_warmup=0,
        learning_rate=1e-3,
        start_from="melody-2bar-common",
        is_leg=True,
    ),
    "melody-2bar-codes": _music(
        _TUNE_BOOKS,
        18,
        time_signature="any",
        beta=0.37,
        kl_warmup=0,
        learning_rate=4e-4,
        start_from="melody-2bar-any",
        bits=6,
    ),
    # The second stage draws codes; the others stay as they are.
    "melody-2bar": _music(
        _TUNE_BOOKS,
        12,
        time_signature="any",
        batch_size=512,
        learning_rate=1e-3,
        evaluate_every=500,
        second_stage=True,
        flow_width=320,
        flow_blocks=3,
        guidance=1.5,
        start_from="melody-2bar-codes",
        shipped_as="melody-2bar",
        bits=6,
    ),
    # Velocity and offset beside the notes, of pieces whose tempo and dynamics somebody shaped by hand.
    "melody-2bar-played": _music(
        ("piano_performance/piano-midi",),
        28,
        model="steps",
        time_signature="any",
        expression=True,
        beta=0.3,
        kl_warmup=0.05,
        learning_rate=1e-3,
        evaluate_every=700,
        start_from="melody-2bar-codes",
    ),
    # The reference architecture on the same tunes, for the time of `melody-2bar-start`.
    "melody-2bar-musicvae": _music(_TUNE_BOOKS, 40, model="musicvae", beta=0.2),
    # Sixteen bars start from the layers of two; later legs trade bits for a rate that can be compared.
    "melody-16bar-start": _music(_TUNE_BOOKS, 36, **_LONG, beta=0.25, start_from="melody-2bar-start", is_leg=True),
    "melody-16bar-low": _music(
        _TUNE_BOOKS, 10, **_LONG, **_NEXT_LEG, beta=0.55, start_from="melody-16bar-start", is_leg=True
    ),
    "melody-16bar-middle": _music(
        _TUNE_BOOKS, 33, **_LONG, **_NEXT_LEG, beta=0.43, start_from="melody-16bar-low", is_leg=True
    ),
    "melody-16bar-one-code": _music(
        _TUNE_BOOKS, 10, **_LONG, beta=0.455, kl_warmup=0, learning_rate=2e-4, start_from="melody-16bar-middle"
    ),
    # A code for every two bars, each predicted from the others; at first encoder and decoder learned on with them.
    "melody-16bar-phrases": _phrases(
        11, "melody-2bar-codes", beta=0.37, learning_rate=7e-4, is_leg=True, samples=0, pairs=0
    ),
    "melody-16bar-joint": _phrases(17, "melody-16bar-phrases", beta=0.48, learning_rate=5e-4, sample_spread=0.5),
    # The codes of the shipped model of two bars, a little less precise, with what joins and what draws them.
    "melody-16bar-draws": _phrases(
        25,
        "melody-2bar",
        learning_rate=1e-3,
        code_noise=1.06,
        **_JOINED,
        is_leg=True,
        samples=0,
        pairs=0,
    ),
    "melody-16bar": _phrases(
        7,
        "melody-16bar-draws",
        learning_rate=5e-4,
        code_noise=1.12,
        sample_spread=0.8,
        guidance=2.5,
        **_JOINED,
        shipped_as="melody-16bar",
    ),
    "drums-2bar-start": _music(("groove",), 27, part="drums", beta=0.2, width=512, is_leg=True),
    "drums-2bar-notes": _music(
        ("groove",), 40, **_NEXT_LEG, part="drums", beta=0.17, width=512, start_from="drums-2bar-start"
    ),
    # Velocity and timing in a code of their own, beside that of the notes. A warm-up, or the feel's code stays empty.
    "drums-2bar-feel": _drums(
        25, "drums-2bar-notes", learning_rate=1e-3, kl_warmup=0.2, is_leg=True, samples=0, pairs=0
    ),
    # That code counted from what the notes let expect; drums seldom change places, since each has its manner.
    "drums-2bar-expected": _drums(18, "drums-2bar-feel", learning_rate=8e-4, varied_drums=0.3, feel_dropout=0, bits=6),
    # Fewer bits of the feel, and more of the notes.
    "drums-2bar": _drums(
        16,
        "drums-2bar-expected",
        learning_rate=4e-4,
        varied_drums=0.3,
        feel_price=4.7,
        feel_dropout=0.0,
        keeps_expectation=True,
        beta=0.16,
        evaluate_every=300,
        shipped_as="drums-2bar",
        bits=6,
    ),
    # A kit from nothing but the steps at which something is struck.
    "drums-2bar-tap": _music(
        ("groove",),
        12,
        task="tap",
        part="drums",
        expression=True,
        width=256,
        latent_size=64,
        evaluate_every=500,
        samples=0,
        pairs=0,
        shipped_as="drums-2bar-tap",
    ),
    # Two hands. A prior that is learned from the start keeps the codes empty.
    "piano-2bar-start": _piano(24, beta=0.25, learning_rate=2e-3, kl_warmup=0.15, is_leg=True, samples=0),
    "piano-2bar-codes": _piano(
        20,
        beta=0.22,
        learning_rate=1e-3,
        kl_warmup=0,
        prior="flow",
        prior_width=192,
        prior_blocks=3,
        start_from="piano-2bar-start",
    ),
    "piano-2bar": _piano(
        12,
        learning_rate=1e-3,
        prior="flow",
        prior_width=192,
        prior_blocks=3,
        second_stage=True,
        flow_width=256,
        flow_blocks=3,
        guidance=1.0,
        start_from="piano-2bar-codes",
        shipped_as="piano-2bar",
    ),
    # Melody, bass and drums over given chords. As of the piano, the prior is learned last.
    "trio-2bar-codes": _sheets(22, beta=0.12, learning_rate=2e-3, kl_warmup=0.3, is_leg=True, samples=0),
    "trio-2bar": _sheets(
        10,
        learning_rate=1e-3,
        batch_size=512,
        second_stage=True,
        flow_width=256,
        flow_blocks=3,
        flow_follows_steps=True,
        guidance=1.0,
        start_from="trio-2bar-codes",
        shipped_as="trio-2bar",
        samples=0,
    ),
    # Other rates: what the bits buy.
    "melody-2bar-fewer": _music(_TUNE_BOOKS, 4, **_NEXT_LEG, beta=0.8, start_from="melody-2bar-common"),
    "drums-2bar-fewest": _music(
        ("groove",), 8, **_NEXT_LEG, part="drums", beta=2.5, width=512, start_from="drums-2bar-notes"
    ),
    "melody-2bar-denoise": _repair("denoise", 12),
    "melody-2bar-upscale": _repair("upscale", 6),
    # Measured and not shipped: the licences of the pieces do not allow it.
    "melody-2bar-chords": _music(
        ("openewld", "nottingham", "pop909"), 12, chords=True, kl_warmup=0, start_from="melody-2bar-common"
    ),
    "trio-games-2bar": _music(("trio",), 15, **_TRIO, beta=0.12, evaluate_every=300),
    "trio-games-16bar-start": _music(("trio",), 34, **_LONG_TRIO, beta=0.25, start_from="trio-games-2bar", is_leg=True),
    "trio-games-16bar": _music(
        ("trio",), 12, **_LONG_TRIO, beta=0.4, learning_rate=5e-4, start_from="trio-games-16bar-start"
    ),
}

RECIPES: dict[str, Recipe] = {**_PICTURES, **_SOUNDS, **_TUNES}
SHIPPED = {recipe.shipped_as: name for name, recipe in RECIPES.items() if recipe.shipped_as}
"""Shipped model → its recipe."""


def chain(name: str) -> tuple[str, ...]:
    """The recipes that are trained for one, in order; its own is the last."""
    start = RECIPES[name].start_from
    return (name,) if start is None else (*chain(start), name)


def minutes_in_all(name: str) -> float:
    """Minutes of training of all legs together."""
    return sum(RECIPES[leg].minutes for leg in chain(name))


def sets_in_all(name: str) -> tuple[str, ...]:
    """Names of the sets that all legs together learned from, noise among them."""
    legs = [RECIPES[leg] for leg in reversed(chain(name))]
    return tuple(dict.fromkeys(each for leg in legs for each in (*leg.sets, *leg.settings.get("noise", ()))))
