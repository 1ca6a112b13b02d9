"""What audio.py measured as the tables of the README: what was to be reached, every gain, harm and costs."""

from typing import Any

_DENOISER = "denoise-16k"
_RATIOS_DB = (0, 5, 10)


def tables(results: dict[str, Any]) -> str:
    """All tables of what is there, in Markdown."""
    parts = [targets(results)]
    if "denoising" in results:
        parts += [_gains(results["denoising"]), _speech(results["denoising"])]
    if "harm" in results:
        parts.append(_harm(results["harm"]))
    if "cost" in results:
        parts.append(_costs(results["cost"]))
    return "\n\n".join(parts)


def targets(results: dict[str, Any]) -> str:
    """What was to be reached, and what was."""
    lines = ["| sound | measured | to be reached |", "|---|---|---|"]

    def add(what: str, measured: str, wanted: str) -> None:
        lines.append(f"| {what} | {measured} | {wanted} |")

    if "denoising" in results:
        found = results["denoising"]
        for noise in ("coloured", "recorded"):
            gains = [found[f"music, rendered, {noise} noise, {ratio} dB"][_DENOISER]["gain_db"] for ratio in _RATIOS_DB]
            add(f"rendered music in {noise} noise, 0/5/10 dB in: gain", _slashed(gains) + " dB", "11/10/9 dB")
        for noise in ("coloured", "recorded"):
            rows = [found[f"music, real, {noise} noise, {ratio} dB"] for ratio in _RATIOS_DB]
            over = [row[_DENOISER]["gain_db"] - row["wiener"]["gain_db"] for row in rows]
            add(f"real recordings in {noise} noise: above Wiener", _slashed(over) + " dB", "3 dB")
        row = found["speech, recorded noise, 5 dB"]
        add("speech in recorded noise, 5 dB in: gain", f"{row[_DENOISER]['gain_db']:.1f} dB", "8 dB")
        over_db = row[_DENOISER]["gain_db"] - row["wiener"]["gain_db"]
        add("the same: above Wiener", f"{over_db:.1f} dB", "3 dB")
        if "pesq" in row["noisy"]:
            add("the same: PESQ above noisy", f"{row[_DENOISER]['pesq'] - row['noisy']['pesq']:+.2f}", "+0.5")
    if "harm" in results:
        row = results["harm"][_DENOISER]
        add("clean input: SI-SDR of what comes out", f"{row['clean_si_sdr_db']:.1f} dB", "25 dB")
        add("a steady 440 Hz tone changes by", f"{row['tone_change_db']:+.2f} dB", "1 dB")
        add("silence stays silence", "yes" if row["silence_stays"] else "no", "yes")
    if "band" in results:
        for group, row in results["band"].items():
            told = f"{row['model_lsd_db']:.1f} dB, {row['share']:.2f} of {row['resampled_lsd_db']:.1f} dB"
            add(f"8 to 16 kHz, {group}: log-spectral distance in 4-8 kHz", told, "0.5 of resampling's")
    if "timbre" in results:
        row = results["timbre"]
        ours, ceiling, pca = (row[name]["log_mel_l1"] for name in ("model", "copy synthesis", "PCA"))
        add("unseen notes rebuilt: log-mel L1", f"{ours:.3f}, {ours / ceiling:.1f} × the ceiling {ceiling:.3f}", "3 ×")
        add(f"the same: PCA of {row['PCA']['components']} components", f"{pca:.3f}", "above the model")
        add("the same: pitch within 50 cents", f"{row['model']['pitch_kept']:.0%}", "90%")
        paths = row["paths"]
        jumps = [paths[name]["largest_over_mean_step"] for name in ("model", "crossfade")]
        add("paths between notes: largest / mean step", f"{jumps[0]:.2f} (crossfade {jumps[1]:.2f})", "2")
        near = [paths[name]["frechet_of_middles"] for name in ("model", "crossfade")]
        add("their middles: Fréchet distance to notes", f"{near[0]:.1f} (crossfade {near[1]:.1f})", "below it")
    if "cost" in results:
        cost = results["cost"]
        add("`denoise-16k`, two threads", f"{cost['denoise-16k, file, 2 threads']:.0f} × real time", "50 ×")
        add("an hour of stereo at 44.1 kHz: memory", f"{cost['hour_gib']:.2f} GiB", "1.5 GiB")
    return "\n".join(lines)


def _gains(found: dict[str, Any]) -> str:
    names = [name for name in next(iter(found.values())) if name != "noisy"]
    lines = [f"| gain in SI-SDR, dB (95%) | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for place, rows in found.items():
        told = " | ".join(_interval(rows[name]) for name in names)
        lines.append(f"| {place} in, {rows['noisy']['clips']} clips | {told} |")
    return "\n".join(lines)


def _speech(found: dict[str, Any]) -> str:
    rows = found["speech, recorded noise, 5 dB"]
    lines = [f"| speech in recorded noise, 5 dB in | {' | '.join(rows)} |", "|---" * (len(rows) + 1) + "|"]
    for measure in ("pesq", "stoi", "multi_resolution_distance", "log_mel_l1", "log_spectral_distance_db"):
        if measure in rows["noisy"]:
            told = " | ".join(f"{row[measure]:.2f}" for row in rows.values())
            lines.append(f"| {measure.replace('_', ' ')} | {told} |")
    wins = " | ".join(f"{row['wins_over_wiener']:.0%}" for row in rows.values())
    lines.append(f"| clips won from Wiener | {wins} |")
    return "\n".join(lines)


def _harm(found: dict[str, Any]) -> str:
    lines = [
        "| what needs nothing | clean: SI-SDR | lowest of them | 440 Hz tone | silence stays |",
        "|---|---|---|---|---|",
    ]
    for name, row in found.items():
        lines.append(
            f"| {name} | {row['clean_si_sdr_db']:.1f} dB | {row['clean_si_sdr_db_lowest']:.1f} dB | "
            f"{row['tone_change_db']:+.1f} dB | {'yes' if row['silence_stays'] else 'no'} |"
        )
    return "\n".join(lines)


def _costs(found: dict[str, Any]) -> str:
    lines = ["| times real time | |", "|---|---|"]
    lines += [f"| {name} | {value:.0f} × |" for name, value in found.items() if not name.endswith(("gib", "ms"))]
    lines.append(f"| latency of the stream | {found['latency_ms']:.0f} ms |")
    return "\n".join(lines)


def _interval(row: dict[str, float]) -> str:
    ends = f" ({row['gain_db_low']:.1f}–{row['gain_db_high']:.1f})" if "gain_db_low" in row else ""
    return f"{row['gain_db']:.1f}{ends}"


def _slashed(values: list[float]) -> str:
    return "/".join(f"{value:.1f}" for value in values)
