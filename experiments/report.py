"""Writes docs/results.md from the stored results.

    python experiments/report.py            # writes it
    python experiments/report.py --check    # says whether it is up to date, and ends with 1 where it is not

The text is in results_template.md; the tables are made here, from `results/*.json` and from the recipes.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

import click
import play_tables
import song_tables
import sound_tables
from recipes import RECIPES, Recipe, chain, minutes_in_all
from stored import RUNS, read, with_interval

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE / "results_template.md"
DOCUMENT = HERE.parent / "docs" / "results.md"
_NOT_RECORDED = "not recorded"
_AGREEMENT = ", label agreement"


def document() -> str:
    """The whole of docs/results.md."""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute({name: make() for name, make in TABLES.items()})


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# Runs


def runs(domain: str) -> str:
    """What every final run of a domain was trained on and for how long, and its scores."""
    stored = read(RUNS)
    rows = []
    for name, recipe in RECIPES.items():
        if recipe.domain == domain and not recipe.is_leg and name in stored:
            row = stored[name]
            scores = ", ".join(_score(key, row) for key in recipe.reported if key in row)
            cells = [f"`{name}`", _legs(name), *_effort(name, stored), _measured_on(recipe, row), scores]
            rows.append(cells)
    heads = ["run", "after", "minutes in all", "updates in all", "trained on", "measured on", "scores"]
    return table(heads, rows)


def _score(key: str, row: dict[str, Any]) -> str:
    held_out = f"held_out_{key.removeprefix('sample_')}"
    return f"{key} {row[key]:.4g}" + (f" (held-out {row[held_out]:.4g})" if held_out in row else "")


def _legs(name: str) -> str:
    """The legs before a run, with the minutes of each."""
    return ", ".join(f"`{leg}` ({RECIPES[leg].minutes:g} min)" for leg in chain(name)[:-1]) or "nothing"


def _effort(name: str, stored: dict[str, Any]) -> tuple[str, str, str]:
    """Minutes and updates of all legs together, and the threads they took."""
    row = stored[name]
    minutes = row.get("minutes_in_all", minutes_in_all(name))
    updates = f"{row['updates_in_all']:.0f}" if "updates_in_all" in row else _NOT_RECORDED
    return f"{minutes:.0f}", updates, threads(name)


def threads(name: str) -> str:
    """What the legs of a run were trained on: "1 or 2 CPU threads"."""
    stored = read(RUNS)
    machines = {stored[leg]["machine"] for leg in chain(name) if leg in stored}
    counts = sorted(machine.removesuffix(" CPU thread(s)") for machine in machines if "CPU" in machine)
    others = sorted(machine for machine in machines if "CPU" not in machine)
    plural = "" if counts == ["1"] else "s"
    return ", ".join([*([f"{' or '.join(counts)} CPU thread{plural}"] if counts else []), *others])


def _measured_on(recipe: Recipe, row: dict[str, Any]) -> str:
    sets = ", ".join(recipe.scored_on or recipe.sets)
    return f"test split of {sets} ({row['examples']} examples)"


def outside_music() -> str:
    """Melody models on their own test split and on tune books that no shipped model learned from."""
    stored, outside = read(RUNS), read("music-outside")
    keys = ("accuracy_free_running", "onset_f1", "kl_bits")
    rows = []
    for name, places in outside.items():
        own = {f"own test split ({stored[name]['examples']} windows)": stored[name]}
        others = {f"{place}, never trained on ({row['examples']} windows)": row for place, row in places.items()}
        rows += [
            [f"`{name}`", place, *(with_interval(row, key) for key in keys)] for place, row in {**own, **others}.items()
        ]
    return table(["model", "measured on", "accuracy, free-running (95%)", "onset F1 (95%)", "KL, bits (95%)"], rows)


def chords() -> str:
    found = read("music-chords")
    rows = [
        ["sampled with a progression, its own chords", found["samples_in_given_chord"]],
        ["sampled with a progression, chords of others", found["samples_in_other_chord"]],
        ["sampled without chords", found["samples_without_chords_in_chord"]],
        ["people's melodies, their own chords", found["people_in_their_chord"]],
    ]
    return table(["notes", "share that are chord tones"], [[what, f"{share:.3f}"] for what, share in rows])


def trio() -> str:
    found = read("music-trio")
    rows = [
        ["people's songs", "their own chords", "people_{}"],
        ["rebuilt", "their own chords", "rebuilt_{}"],
        ["the same codes with other chords", "the new chords", "recast_{}"],
        ["the same codes with other chords", "the chords they had", "recast_{}_former"],
        ["sampled with a progression", "its own chords", "samples_{}"],
        ["sampled with a progression", "chords of others", "samples_{}_other"],
    ]
    shares = [[*row[:2], *(f"{found[row[2].format(line)]:.3f}" for line in ("melody", "bass"))] for row in rows]
    return table(["music", "counted against", "melody", "bass"], shares)


def trio_rhythm() -> str:
    found = read("music-trio")
    shares = [f"{found[f'recast_rhythm_{line}']:.3f} ({line})" for line in ("melody", "bass", "drums")]
    return f"{shares[0]}, {shares[1]} and {shares[2]}"


def samples() -> str:
    found = read("music-samples")
    measures = list(next(iter(found.values())))
    rows = [[measure.replace("_", " "), *(f"{row[measure]:.4g}" for row in found.values())] for measure in measures]
    return table(["16 samples each", *found], rows)


def quantisation() -> str:
    scores = ("size_mb", "accuracy_free_running", "onset_f1", "kl_bits", "elbo_nats")
    rows = [
        [
            f"`{name}`, {row['bits']} bits",
            score,
            *(f"{row[stored][score]:.4f}" for stored in ("int8", "fewer")),
            _change(row, score),
        ]
        for name, row in read("quantisation").items()
        for score in scores
    ]
    return table(["model", "score", "eight bits", "as shipped", "change"], rows)


def _change(row: dict[str, dict[str, float]], score: str) -> str:
    return f"{row['fewer'][score] - row['int8'][score]:+.4f}"


def refined() -> str:
    """What comes back of melodies by codes that were improved, and what lies between two of them."""
    rows = [
        [place, steps, f"{row['accuracy']:.4f}", f"{row['onset_f1']:.4f}", f"{row['unchanged']:.3f}",
         f"{1000 * row['processor_s_a_window']:.1f} ms", f"{row['path_midpoint_in_scale']:.3f}",
         f"{row['path_midpoint_self_similarity']:.3f}", f"{row['ends_self_similarity']:.3f}",
         f"{row['path_nll_nats']:.1f}"]
        for place, found in read("music-refined").items()
        for steps, row in found.items()
    ]  # fmt: skip
    heads = ["set", "steps", "accuracy", "onset F1", "windows without any change", "processor time a window"]
    of_paths = ["middles in one scale", "self-similarity of middles", "of ends", "between, nats"]
    return table([*heads, *of_paths], rows)


# Pictures


def codes_of_digits() -> str:
    """Autoencoders of digits beside principal components, all learned from the training split alone."""
    stored, pca = read(RUNS), read("image-pca")
    rows = []
    for numbers, linear in pca.items():
        row = stored[f"mnist-ae-{numbers}"]
        error = row.get("mse_mean", row["mse"])
        refined = f"{row['mse_refined'] / linear['mse']:.3f}" if "mse_refined" in row else "not measured"
        accuracy = f"{row['knn_accuracy']:.3f}" if "knn_accuracy" in row else "not measured"
        rows.append(
            [numbers, f"{linear['mse']:.4f}", f"{error:.4f}", f"{error / linear['mse']:.3f}", refined,
             f"{linear['knn_accuracy']:.3f}", accuracy]
        )  # fmt: skip
    heads = ["numbers in the code", "PCA, MSE", "`mnist-ae-…`, MSE", "share of PCA's", "share of PCA's, refined"]
    return table([*heads, "PCA, class of the nearest codes", "`mnist-ae-…`, class of the nearest codes"], rows)


def tokens_of_digits() -> str:
    """Discrete codes beside a continuous one."""
    stored, rows = read(RUNS), []
    for name in ("mnist-fsq", "mnist-vq", "mnist-ae-8"):
        if (row := stored.get(name)) is not None:
            bits = f"{row['kl_bits']:.0f}" if "kl_bits" in row else "8 × 32"
            use = f"{row['codebook_use']:.3f}" if "codebook_use" in row else ""
            rows.append([f"`{name}`", bits, f"{row['mse']:.4f}", use, f"{row['knn_accuracy']:.3f}"])
    return table(["run", "bits a digit", "MSE", "share of the codebook in use", "class of the nearest codes"], rows)


def restored_digits() -> str:
    stored, rows = read(RUNS), []
    for name in ("mnist-denoise", "mnist-upscale-2", "mnist-upscale-4"):
        row = stored[name]
        given = "noisy" if "denoise" in name else "bicubic"
        cells = [f"{given} {row['psnr_in_db']:.1f} dB", f"{row['ridge_psnr_db']:.1f} dB"]
        rows.append(
            [f"`{name}`", *cells, f"{row['psnr_db']:.1f} dB ({row['psnr_db_low']:.1f}–{row['psnr_db_high']:.1f})"]
        )
    return table(["model", "input", "ridge regression", "model, PSNR (95%)"], rows)


def drawn(measured: str) -> str:
    """What models draw, by its distance to real pictures, and how often the judge takes it for what was asked for."""
    found, rows = read(measured), []
    for what, value in found.items():
        if what not in ("held-out pictures", "judge_accuracy") and not what.endswith(_AGREEMENT):
            agreement = found.get(f"{what}{_AGREEMENT}")
            rows.append([what, f"{value:.1f}", "" if agreement is None else f"{agreement:.3f}"])
    rows.append(["held-out pictures that the judge gets right", "", f"{found['judge_accuracy']:.3f}"])
    return table(["drawn", "Fréchet distance to test pictures", "taken for the class asked for"], rows)


_PUBLISHED_NLL = (
    ("lowest published", "pixels drawn anew, 10,000 digits", 78.49),
    ("lowest published", "pixels drawn once, 10,000 digits", 79.84),
    ("VAE by Pythae, 200 draws", "pixels drawn once, 10,000 digits", 89.78),  # its model reproduced_vae
)


def likelihood_of_digits() -> str:
    row = read(RUNS)["mnist-vae-40"]
    bound = f"{-row['elbo_nats']:.2f} ({-row['elbo_nats_high']:.2f}–{-row['elbo_nats_low']:.2f})"
    pixels = f"pixels drawn anew, {row['examples']:,} digits"
    rows = [
        ["`mnist-vae-40`, negative ELBO", pixels, bound],
        [f"`mnist-vae-40`, {row['importance_draws']} draws", pixels, with_interval(row, "nll_importance_nats", ".2f")],
        *([model, of, f"{nats:.2f}"] for model, of, nats in _PUBLISHED_NLL),
    ]
    return table(["model with one flat code", "of", "NLL in nats (95% interval)"], rows)


def elsewhere() -> str:
    rows = [
        [
            f"`{name}`",
            "PCA" if "digits_mse" in row else "the better of ridge regression and the input",
            *(f"{row[f'{place}_gain_db']:+.1f} dB" for place in ("digits", "satellite")),
        ]
        for name, row in read("image-elsewhere").items()
    ]
    return table(["learned from digits", "compared with", "on test digits", "on satellite photographs"], rows)


def photo_denoised() -> str:
    rows, classical = [], read("photo-cbm3d")
    for what, row in read("photo-denoised").items():
        cells = [f"{row[key]:.2f} dB" if key in row else "" for key in ("in_db", "float_db", "file_db")]
        least = f"{row['least_gain_db']:+.2f} dB" if "least_gain_db" in row else ""
        rows.append([what, *cells, least, f"{row['seconds']:.2f} s" if "seconds" in row else ""])
        if classical:
            beside = classical.get(what)
            rows[-1].append("" if beside is None else f"{beside['float_db']:.2f} dB, {beside['seconds']:.0f} s")
    heads = ["Kodak's photographs with", "noisy", "denoised", "denoised, from eight bits", "smallest gain", "a picture"]
    return table([*heads, *(["CBM3D, told the deviation"] if classical else [])], rows)


def photo_ensembles() -> str:
    found = read("photo-ensembles")
    heads = list(next(iter(found.values()), {}))
    rows = [[views, *(f"{row[what]:.2f} dB" for what in heads)] for views, row in found.items()]
    return table(["views", *heads], rows)


def photographs(name: str, model: str) -> str:
    rows = [
        [
            f"×{scale}",
            f"{row['bicubic_psnr_db']:.2f} dB",
            f"{row['psnr_db']:.2f} dB",
            f"{row['gain_db']:.2f} dB",
            f"{row['least_gain_db']:.2f} dB",
            f"{row['above']} of {row['pictures']}",
            f"{row['bicubic_ssim']:.3f} → {row['ssim']:.3f}",
        ]
        for scale, row in read(name).items()
    ]
    return table(["scale", "bicubic", f"`{model}`", "gain", "smallest gain", "above bicubic on", "SSIM"], rows)


def picture_training() -> str:
    names = ("pythae", "musicae_float32", "musicae")
    rows = [
        [
            f"{model}, {row['musicae']['weights'] / 1e6:.1f} million weights, {row['machine']['device']}",
            *(f"{row[name]['images_per_s']:.0f}" for name in names),
            f"{row['times_pythae']:.1f} ×",
            *(f"{row[name]['test_loss_nats']:.1f}" for name in names),
        ]
        for model, row in read("image-training").items()
    ]
    heads = ["network", "images/s: Pythae", "musicae in float32", "musicae", "× Pythae"]
    return table([*heads, "test loss: Pythae", "musicae in float32", "musicae"], rows)


# Speed


def speeds() -> str:
    found = {**read("music-reading"), **read("music-reading-notes"), **read("music-training"), **read("music-sampling")}
    rows = [
        (
            "reading and windowing {files} files, one process",
            "{one_process_s:.2f} s, {files_per_s:.0f} files/s, {windows_per_s:.0f} windows/s",
            "pretty_midi {pretty_midi_s:.1f} s, {times_pretty_midi:.0f} × as long",
        ),
        (
            "reading their notes alone",
            "{notes_alone_s:.2f} s",
            "pretty_midi {pretty_midi_notes_alone_s:.1f} s, {notes_alone_times_pretty_midi:.0f} × as long",
        ),
        (
            "reading {copies} copies of them, two processes",
            "{copies_two_processes_s:.2f} s",
            "one process {copies_one_process_s:.2f} s, {two_processes_times_one:.2f} × as long",
        ),
        (
            "training the default two-bar model on {device}",
            "{steps_windows_per_s:.0f} windows/s",
            "`musicvae` {musicvae_windows_per_s:.0f} windows/s; {times_musicvae:.1f} × as fast",
        ),
        ("sampling {draws} two-bar melodies", "{two_bar_s:.2f} s", "one: {one_two_bar_s:.3f} s"),
        (
            "sampling {draws} 16-bar melodies",
            "{sixteen_bar_s:.2f} s, {sixteen_times_two:.1f} × the two-bar time",
            "one: {one_sixteen_bar_s:.3f} s",
        ),
    ]
    return table(["what", "measured", "compared with"], [[cell.format(**found) for cell in row] for row in rows])


def studio() -> str:
    found = read("studio")
    rows = [
        ["Morph: step chosen → note on its way", "morph_scheduled_ms"],
        ["Morph: until it begins", "morph_ahead_ms"],
        ["output latency that the browser states", "output_latency_ms"],
        ["**Morph, in all**", "morph_total_ms"],
        ["Shape: code moved, decoded, described", "shape_decoded_ms"],
        ["Shape: there and back", "shape_transport_ms"],
        ["Shape: exchanged in the player", "shape_scheduled_ms"],
        ["**Shape, in all, without the latency**", "shape_total_ms"],
        ["a WAV from the server in place of the synthesizer", "wav_instead_ms"],
    ]
    return table(["median of 40", "ms"], [[what, f"{found[key]:.1f}"] for what, key in rows])


def studio_load() -> str:
    found = read("studio")
    counts = " and ".join(f"{count:,} × {status}" for status, count in found["statuses"].items())
    total_kb, before, after = found["own_kb"] + found["scripts_kb"], found["memory_before_mb"], found["memory_after_mb"]
    return (
        f"The page and its scripts have {total_kb:,.0f} kB ({found['own_kb']:.0f} its own), the sound font "
        f"{found['font_kb']:,.0f}. The first answer came {found['start_s']:.1f} s after the command. 50 clients that "
        f"ask for variations for 30 s without a pause got {counts}; memory was {before:.0f} MB before, {after:.0f} MB "
        "after."
    )


def start_up() -> str:
    found, before = read("start-up"), read("start-up-before")
    rows = [
        [f"`{command}`", f"{row['wall_s']:.2f} s", f"{row['processor_s']:.2f} s", str(row["modules"])]
        for command, row in found["commands"].items()
    ]
    alone = found["import_torch"]
    rows.append(["`python -c 'import torch'`", f"{alone['wall_s']:.2f} s", f"{alone['processor_s']:.2f} s", "0"])
    rows.append(
        [
            "`interpolate a.mid b.mid`, before the packages were laid out by medium "
            f"(`import torch` {before['import_torch_s']:.2f} s)",
            f"{before['cold_s']:.2f} s",
            "",
            "",
        ]
    )
    wall = f"median wall time, load average {found['machine']['load']}"
    return table(["command, in a process of its own", wall, "processor time", "modules of musicae loaded"], rows)


TABLES = {
    "runs_image": lambda: runs("image"),
    "runs_audio": lambda: runs("audio"),
    "runs_music": lambda: runs("music"),
    "outside_music": outside_music,
    "signatures": lambda: song_tables.signatures(table),
    "files_read": lambda: song_tables.files_read(table),
    "transposed": lambda: song_tables.transposed(table),
    "shifts": lambda: song_tables.shifts(table),
    "correlations": song_tables.correlations,
    "songs": song_tables.songs,
    "humanized": lambda: play_tables.humanized(table),
    "books": lambda: play_tables.books(table),
    "gaps": play_tables.gaps,
    "piano": lambda: play_tables.piano(table),
    "tapped": play_tables.tapped,
    "beside_real": lambda: play_tables.beside_real(table),
    "chords": chords,
    "trio": trio,
    "trio_rhythm": trio_rhythm,
    "samples": samples,
    "refined": refined,
    "quantisation": quantisation,
    **{name: partial(make, table) for name, make in sound_tables.TABLES.items()},
    "codes_of_digits": codes_of_digits,
    "restored_digits": restored_digits,
    "tokens_of_digits": tokens_of_digits,
    "drawn_digits": lambda: drawn("image-samples"),
    "drawn_satellite": lambda: drawn("image-satellite"),
    "likelihood_of_digits": likelihood_of_digits,
    "elsewhere": elsewhere,
    "photographs": lambda: photographs("image-photographs", "satellite-upscale-…"),
    "photo_upscaled": lambda: photographs("photo-upscaled", "photo-upscale"),
    "photo_denoised": photo_denoised,
    "photo_ensembles": photo_ensembles,
    "picture_training": picture_training,
    "speeds": speeds,
    "start_up": start_up,
    "studio": studio,
    "studio_load": studio_load,
}


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing; end with 1 where the document is out of date.")
def main(check: bool) -> None:
    text = document()
    if not check:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(text, encoding="utf-8")
        click.echo(DOCUMENT)
    elif not DOCUMENT.is_file() or DOCUMENT.read_text(encoding="utf-8") != text:
        raise click.ClickException(f"{DOCUMENT} is out of date; run python experiments/report.py.")


if __name__ == "__main__":
    main()
