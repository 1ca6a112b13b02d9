"""Tables of results.md on people's own files; see music_songs.py."""

from collections.abc import Callable, Sequence

from stored import read, with_interval

Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def signatures(table: Table) -> str:
    """Scores of the melody model in each time signature, held out and outside."""
    found = read("music-signatures")
    rows = [
        [
            name,
            place,
            f"{row['examples']}" if "examples" in row else "",
            with_interval(row, "accuracy_free_running"),
            with_interval(row, "onset_f1"),
            with_interval(row, "kl_bits", ".3g"),
        ]
        for place, key in (("own books, held out by all legs", "held_out"), ("Nottingham, never trained on", "outside"))
        for name, row in found[key].items()
    ]
    heads = ["time signature", "measured on", "windows", "accuracy (95%)", "onset F1 (95%)", "KL, bits (95%)"]
    return table(heads, rows)


def files_read(table: Table) -> str:
    """Files that give the melody model a window."""
    rows = [
        [name, f"{row['files']:,}", f"{row['with_windows']:,}", f"{row['with_windows'] / row['files']:.1%}"]
        for name, row in read("music-signatures")["files"].items()
    ]
    return table(["set", "files", "with a window", "share"], rows)


def transposed(table: Table) -> str:
    """Notes kept of the starter tunes, moved."""
    found = read("music-transposed")
    shifts = list(found["a"])
    rows = [
        [f"{name}.mid", *(f"{row[shift]:.2f}" if shift in row else "–" for shift in shifts)]
        for name, row in found.items()
    ]
    return table(["semitones", *shifts], rows)


def shifts(table: Table) -> str:
    """What a shift by a standard deviation does."""
    found = read("music-shifts")
    rows = []
    for name, row in found.items():
        if name == "correlation":
            continue
        others = [(size, other) for other, size in row["size"].items() if other != name]
        most, other = max(others)
        rows.append(
            [
                f"{name} {row['amount']:+.0f}",
                f"{row['windows']}",
                f"{row['notes_kept']:.2f}",
                f"{row['in_key']:.2f} ({row['in_key_reconstructed']:.2f}, {row['in_key_before']:.2f})",
                f"{row['moved'][name]:+.2f}",
                f"{other} {row['moved'][other]:+.2f}, by size {most:.2f}",
                f"{sum(size for size, _ in others) / len(others):.2f}",
            ]
        )
    heads = [
        "asked for", "windows", "notes kept", "wholly in key (reconstructed, before)", "moved",
        "most moved other", "mean size of other moves",
    ]  # fmt: skip
    return table(heads, rows)


def correlations() -> str:
    """The pairs of attributes that data tie, as words."""
    found = read("music-shifts")["correlation"]
    tied = sorted(found.items(), key=lambda pair: -abs(pair[1]))[:4]
    return ", ".join(f"{name.replace('_', ' ')} {value:+.2f}" for name, value in tied)


def songs() -> str:
    """Songs of which all but the addressed bars and part is as it was, as words."""
    found = read("music-songs")
    return (
        f"{found['equal']} of {found['songs']} songs are equal outside of them, event by event, and in "
        f"{found['changed']} the addressed notes changed"
    )
