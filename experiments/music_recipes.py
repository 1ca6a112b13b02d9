"""Recipes of music."""

from typing import Any

from recipe import NEXT_LEG, Recipe, split

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
    own, settings = split(more)
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

TUNES: dict[str, Recipe] = {
    "melody-2bar-start": _music(_TUNE_BOOKS, 40, beta=0.35, is_leg=True, split_by_names=True),
    "melody-2bar-common": _music(
        _TUNE_BOOKS, 50, **NEXT_LEG, beta=0.37, start_from="melody-2bar-start", is_leg=True, split_by_names=True
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
        _TUNE_BOOKS, 10, **_LONG, **NEXT_LEG, beta=0.55, start_from="melody-16bar-start", is_leg=True
    ),
    "melody-16bar-middle": _music(
        _TUNE_BOOKS, 33, **_LONG, **NEXT_LEG, beta=0.43, start_from="melody-16bar-low", is_leg=True
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
        ("groove",), 40, **NEXT_LEG, part="drums", beta=0.17, width=512, start_from="drums-2bar-start"
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
    "melody-2bar-fewer": _music(_TUNE_BOOKS, 4, **NEXT_LEG, beta=0.8, start_from="melody-2bar-common"),
    "drums-2bar-fewest": _music(
        ("groove",), 8, **NEXT_LEG, part="drums", beta=2.5, width=512, start_from="drums-2bar-notes"
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
