"""Tables of results/: sound. `report.py` puts them on the page."""

from collections.abc import Callable
from typing import Any

from play_tables import Table
from stored import read, with_interval

_NOT_YET = "Not measured yet: these sets are looked at once, when no training follows."


# Denoising over the whole band


def outside(table: Table) -> str:
    """Voices, music and noises that nobody trained or chose on, at each ratio."""
    found = read("audio-outside")
    return _wide(table, found, ("speech", "music"), "0 dB", "5 dB", "10 dB") if found else _NOT_YET


def outside_groups(table: Table) -> str:
    """The same at 5 dB, by language, music and noise."""
    found = read("audio-outside")
    return _wide(table, found, [group for group in found if group not in ("speech", "music")], "5 dB") if found else ""


def wide_validation(table: Table) -> str:
    """The clips for choosing."""
    found = read("audio-wide-validation")
    return _wide(table, found, [group for group in found if " in " not in group], "0 dB", "5 dB", "10 dB")


def _wide(table: Table, found: dict[str, Any], groups: Any, *ratios: str) -> str:
    names = [name for name in next(iter(found.values()))["5 dB"] if name != "noisy"]
    rows = [
        [f"{group}, {ratio} in, {found[group][ratio]['noisy']['clips']} clips",
         *(with_interval(found[group][ratio][name], "gain_db", ".1f") for name in names)]
        for group in groups
        for ratio in ratios
    ]  # fmt: skip
    return table(["gain in SI-SDR, dB (95%)", *names], rows)


def outside_speech(table: Table) -> str:
    """PESQ, STOI and the share of clips that got better, at 5 dB."""
    found = read("audio-outside")
    if not found:
        return ""
    speech, music = found["speech"]["5 dB"], found["music"]["5 dB"]
    rows = [
        [measure.upper(), *(f"{row[measure]:.2f}" for row in speech.values())]
        for measure in ("pesq", "stoi")
        if measure in speech["noisy"]
    ]
    rows += [
        [f"{kind} that got better", *(f"{row['better']:.0%}" for row in of_kind.values())]
        for kind, of_kind in (("speech", speech), ("music", music))
    ]
    return table(["voices of the table above, 5 dB in", *speech], rows)


def stereo(table: Table) -> str:
    """Ratios in bands of stereo music before and after."""
    found = read("audio-stereo")
    bands = [f"{low / 1000:g}–{high / 1000:g} kHz" for low, high in found["bands_hz"]]
    rows = []
    for model, of_model in found.items():
        if model in ("tracks", "bands_hz"):
            continue
        for noise, row in of_model.items():
            if noise == "clean":
                cells = (f"{low:.1f}, level ±{change:.2f}" for low, change in
                         zip(row["lowest_after_db"], row["largest_change_db"], strict=True))  # fmt: skip
            else:
                cells = (f"{before:.1f} → {after:.1f}" for before, after in
                         zip(row["before_db"], row["after_db"], strict=True))  # fmt: skip
            rows.append([f"{model}, {'clean, the worst track' if noise == 'clean' else noise}", *cells])
    return table([f"signal to error, dB; {found['tracks']} tracks", *bands], rows)


def tonal(table: Table) -> str:
    """The lowest ratio of each kind of clean tonal sound."""
    found = read("audio-tonal")
    kinds = list(next(iter(found.values())))
    rows = [[model, *(f"{row[kind]:.1f}" for kind in kinds)] for model, row in found.items()]
    return table(["signal to error, dB, the lowest of four", *kinds], rows)


# Sound that is filled in or made


def band_extension(table: Table) -> str:
    """Sounds that nobody chose by."""
    found = read("audio-band-extension")
    return _bands(table, found) if found else _NOT_YET


def band_validation(table: Table) -> str:
    """The clips for choosing."""
    return _bands(table, read("audio-band-validation"))


def _bands(table: Table, found: dict[str, Any]) -> str:
    """Measures of filled bands, a table for each step."""
    tables = []
    for step, groups in found.items():
        has_pesq = any("model_pesq" in row for row in groups.values())
        head = [step, "clips", "level of thirds", "LSD resampled", "LSD mean spectrum", "LSD `upscale-48k` (95%)"]
        rows = [
            [
                group,
                str(round(row["clips"])),
                " / ".join(f"{row[key]:+.1f}" if (key := f"third_{third}_db") in row else "–" for third in (1, 2, 3))
                + " dB",
                f"{row['resampled_lsd_db']:.1f} dB",
                f"{row['mean_spectrum_lsd_db']:.1f} dB",
                f"{with_interval(row, 'model_lsd_db', '.1f')} dB",
            ]
            + (
                [
                    f"{row['resampled_pesq']:.2f} → {row['model_pesq']:.2f} ({row['ceiling_pesq']:.2f})"
                    if "model_pesq" in row
                    else "–"
                ]
                * has_pesq
            )
            for group, row in groups.items()
        ]
        tables.append(table([*head, *["PESQ resampled → ours (ceiling)"] * has_pesq], rows))
    return "\n\n".join(tables)


def notes(table: Table) -> str:
    """Notes rebuilt, and paths between notes."""
    found = read("audio-notes")
    names = {"model": f"`{found['name']}`", "PCA": f"PCA of {found['PCA']['components']} components"}
    rows = [
        [
            names.get(name, f"{name} (the ceiling)"),
            with_interval(found[name], "log_mel_l1", ".3f"),
            f"{found[name]['log_spectral_distance_db']:.2f} dB",
            f"{found[name]['pitch_kept']:.0%}",
        ]
        for name in ("copy synthesis", "model", "PCA")
    ]
    rebuilt = table(
        [f"{found['examples']} held-out notes", "log-mel L1 (95%)", "log-spectral distance", "pitch within 50 cents"],
        rows,
    )
    rows = [
        [name, f"{row['largest_over_mean_step']:.2f}", f"{row['frechet_of_middles']:.1f}"]
        for name, row in found["paths"].items()
    ]
    drawn = ""
    if (asked := found.get("asked")) is not None:
        drawn = table(
            ["notes asked for", "pitch within 50 cents", "of recorded instruments", "held", "-30 to -10 dB"],
            [[str(asked["notes"]), *(f"{asked[name]:.0%}" for name in ("pitch", "recorded", "steady", "level"))]],
        )
    paths = table(["paths between notes", "largest / mean step", "Fréchet distance of middles"], rows)
    rate = f"{found['bits_per_s']:,.0f} bits a second." if "bits_per_s" in found else ""
    parts = [rebuilt, rate, drawn, paths]
    return "\n\n".join(part for part in parts if part)


def cost(table: Table) -> str:
    found = read("audio-cost")
    rows = [[name, f"{value:.1f} × real time"] for name, value in found.items() if not name.endswith(("gib", "ms"))]
    rows.append(["latency of the stream", f"{found['latency_ms']:.0f} ms"])
    rows.append(["an hour of stereo at 44.1 kHz, memory", f"{found['hour_gib']:.2f} GiB"])
    return table(["what", "measured"], rows)


_CHOICES = {
    "overlap": "chunk by chunk against at once: difference, dB",
    "precision": "masks in bfloat16 against float32",
    "profile": "with and without a noise profile: gain in SI-SDR, dB",
}


def choices(table: Table) -> str:
    parts = []
    for name, found in read("audio-choices").items():
        columns = list(next(iter(found.values())))
        rows = [[row, *(f"{values[column]:.1f}" for column in columns)] for row, values in found.items()]
        parts.append(table([_CHOICES[name], *columns], rows))
    return "\n\n".join(parts)


TABLES: dict[str, Callable[[Table], str]] = {
    "outside": outside, "outside_groups": outside_groups, "outside_speech": outside_speech,
    "wide_validation": wide_validation, "stereo": stereo, "tonal": tonal,
    "band_extension": band_extension, "band_validation": band_validation, "notes": notes, "cost": cost,
    "choices": choices,
}  # fmt: skip
