"""Tables of results.md on drums as they are played and on long music; see grooves.py and phrases.py."""

from collections.abc import Callable, Sequence

from stored import read

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]
_PLAYERS = {
    "constant": "one constant",
    "medians": "median of each drum and position",
    "played": "`drums-2bar`, median of its draws",
    "groovae": "GrooVAE, median of its draws",
}


def humanized(table: Table) -> str:
    """Errors of medians and of humanizers, and the spread of single draws beside the real one."""
    beside = {name: row for name, row in read("music-groovae").items() if name == "groovae"}
    found = read("music-grooves")["humanize"] | beside
    real = found["real"]
    rows = []
    for key, name in _PLAYERS.items():
        if key not in found:
            continue
        row = found[key]
        cells = [name]
        for column, form in (("velocity", ".1f"), ("offset", ".3f")):
            below = f"{column}_below_medians"
            cells.append(
                f"{row[f'{column}_mae']:{form}}" + (f" ({row[below]:.0%} below the medians)" if below in row else "")
            )
        for column, form in (("velocity", ".1f"), ("offset", ".3f")):
            spread = f"{column}_deviation"
            cells.append(f"{row[spread]:{form}} ({row[f'{spread}_of_real']:.0%} of the real)" if spread in row else "")
        rows.append(cells)
    rows.append(["the drummers", "", "", f"{real['velocity_deviation']:.1f}", f"{real['offset_deviation']:.3f}"])
    heads = ["played by", "velocity MAE", "offset MAE, 16ths", "velocity, deviation", "offset, deviation"]
    return table(heads, rows)


def books(table: Table) -> str:
    """Scores of the long model on the held-out windows of each book."""
    rows = [
        [
            name,
            f"{row['examples']:.0f}",
            f"{row['accuracy_free_running']:.3f}",
            f"{row['accuracy_free_running_mean']:.3f}",
            f"{row['onset_f1']:.3f}",
            f"{row['kl_bits']:.0f}",
        ]
        for name, row in read("music-phrases").items()
        if name != "gaps"
    ]
    return table(["windows of", "windows", "accuracy", "at the mean of z", "onset F1", "KL, bits"], rows)


def piano(table: Table) -> str:
    """Scores of piano music in each time signature, outside, and of principal components."""
    names = {
        "principal components": "principal components of rolls, 4/4",
        "pop909": "POP909's piano, never learned from",
    }
    forms = {"examples": ".0f", "onset_f1": ".3f", "note_f1": ".3f", "onset_f1_mean": ".3f", "kl_bits": ".0f"}
    forms |= {"velocity_mae": ".1f", "offset_mae": ".3f", "onset_f1_copy": ".3f"}
    rows = [
        [names.get(name, f"held-out pieces in {name}")]
        + [f"{row[key]:{form}}" if key in row else "" for key, form in forms.items()]
        for name, row in read("music-piano").items()
    ]
    heads = ["windows", "of them", "onset F1", "with ends", "onset F1 at the mean of z", "KL, bits", "velocity MAE"]
    return table([*heads, "offset MAE, 16ths", "bar before, onset F1"], rows)


def beside_real(table: Table) -> str:
    """Samples and real music by smg-metrics."""
    kinds = {"samples": "samples", "in_d_minor": 'samples, `--key "D minor"`', "held_out": "held-out music"}
    names = {"pce": "entropy of pitch classes", "sc": "notes in the best scale", "ook": "notes out of key"}
    names |= {"gs": "likeness of rhythms", "ngram_div": "different n-grams", "ebr": "empty beats"}
    rows = [
        [f"`{model}`, {kinds[kind]}", *(f"{row[name]:.3f}" for name in names)]
        for model, found in read("music-smg").items()
        for kind, row in found.items()
    ]
    return table(["pieces", *names.values()], rows)


def tapped() -> str:
    """How much of a kit comes back from taps, as words."""
    found = read("music-grooves")["tap"]
    return (
        f"F1 of the hits {found['hit_f1']:.3f} on {found['windows']:.0f} held-out windows. The drums that are struck "
        f"in most training windows at each step, whatever is tapped, have {found['hit_f1_untapped']:.3f}; those that "
        f"are struck in most of the windows with anything at that step, at least the commonest, where something is "
        f"tapped, have {found['hit_f1_majority']:.3f}; the model has {found['hit_f1'] / found['hit_f1_untapped']:.2f} "
        f"and {found['ratio_to_majority']:.2f} times as much"
    )


def gaps() -> str:
    """What two bars in the middle cost, as words."""
    found = read("music-phrases")["gaps"]
    return (
        f"{found['nats_a_note']:.2f} nats a note given the other fourteen bars, {found['nats_a_note_alone']:.2f} given "
        f"none ({found['below_alone']:.0%} less); of six bars around the gap {found['in_scale_infilled']:.2f} stay in "
        f"one scale where it was filled in, and {found['in_scale_real']:.2f} as they were"
    )
