"""Fetches freely licensed music, speech and noise from Debian packages, for training denoisers.

    pip install musicae[measure]
    python experiments/debian_sounds.py --out FOLDER/sound

Needs Debian's `apt-get` and `dpkg-deb`, and PyAV for telephone codecs; downloads about 2.5 GB. Rendered tunes (see
audio_sets.py) are thin, and produced music is dense, compressed and in rooms: a denoiser takes for noise what training
never showed it. Only files under CC BY, CC BY-SA or CC0 are taken, by the list below, which follows the packages' own
copyright files. No score is taken on any of it, and the families of noise by which sound_clips.py lets trainings be
chosen (helicopters and fires) are left out.
"""

import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import soundfile

RATE_HZ = 48_000
_EXCERPTS, _EXCERPT_S = 5, 15.0  # of a track
_SPEECH_FILE_S = 25.0
_PAUSES_S = (0.05, 0.4)
_NOISE_FILE_S = 10.0
_SHORTEST_ALONE_S = 1.5
_OFFSET_BITS = 0x7FFFFFFF  # of a catalogue of OpenTTD; the highest is a flag


@dataclass(frozen=True)
class Source:
    """Sounds of one family in one package.

    Attributes:
        package: Debian's name.
        family: `music`, `speech`, `noise` (water, wind, machines that run), `bustle` (work, steps, animals) or
            `traffic` (vehicles, tools).
        patterns: names of files, within archives too.
        licence: what they are under, and who made them.
    """

    package: str
    family: str
    patterns: tuple[str, ...]
    licence: str


_KART_MUSIC = (
    "alien_signal", "bay", "Boom_boom_boom", "celtic", "egypt", "farm", "garden", "hacienda", "kart_grand_prix",
    "landing_in_gran_paradiso", "Lava", "lose_theme", "menutheme", "overworld", "race_summary", "SkyVibe-HighFrequency",
    "demonhill", "Snowy", "subsea", "valley", "West", "win_theme", "xeon6", "ravenbridge_mansion", "race_win_theme",
)  # fmt: skip
_UFO_MUSIC = (
    "Crystan-*",
    "Marine*",
    "TheThings-Slippycurb",
    "returnjourney",
    "David0*",
    "azrael1",
    "karlmacklin_*",
    "van_*",
)
_UFO_NOISE = (
    "alien-generator", "alien-ventilation", "alienmachinery[1-5]", "alienpowermachinery1", "engine_alien_*",
    "arcticwind", "minepump03", "tv_static", "water0[1-3]", "waterfontain", "wind_turbine",
)  # fmt: skip

_ANTIQUE_BUSTLE = (
    "ambient/building/*", "ambient/dayscape/*", "actor/gate/*", "actor/ship/ship_move*", "actor/ship/smove*",
    "actor/ship/warship_move*", "actor/human/movement/*", "actor/mounted/movement/*", "actor/singlesteps/*",
    "actor/fauna/animal/*", "resource/*", "attack/destruction/*",
)  # fmt: skip
# Without horns, whistles and bells, whose tones are like music's (some birds are left).
_TRAFFIC = (
    "Propeller plane start", "Early jet*", "Mining machinery", "Electric sparking", "Steam (of*", "Crash",
    "Big crash", "Truck/old bus start, pull away", "Modern bus start", "Old bus start", "Applause", "Jackhammer",
    "Horse", "Building bridge", "Sawmill", "Lumber mill: Falling tree", "Lumber mill: Chainsaw", "Mach 1+*",
    "Modern jet*", "Maglev*", "Tropical*", "Toyland: Propeller plane take off", "Toyland: Jet take off", "Monorail*",
)  # fmt: skip
# Bells, drones, plucked and struck things, synthesizers: tones that are no noise.
_SAMPLES = tuple(
    f"*/samples/{name}.flac"
    for name in (
        "ambi_[cdghlp]*", "bass_*", "drum_*", "elec_*", "guit_*", "loop_[acdegmpst]*", "perc_bell*", "perc_till",
        "tabla_*", "mehackit_*", "glitch_*", "bd_*", "sn_*",
    )
)  # fmt: skip
_KART_TRAFFIC = ("airplane_jetEngine", "car_accel", "car_revup", "bowling_roll", "break")

SOURCES = (
    Source("0ad-data", "music", ("audio/music/*.ogg",), "CC BY-SA 3.0, Wildfire Games"),
    Source("0ad-data", "noise", ("audio/ambient/water/*.ogg", "audio/ambient/weather/*.ogg"),
           "CC BY-SA 3.0, Wildfire Games"),
    Source("supertuxkart-data", "music", tuple(f"*/data/music/{name}.ogg" for name in _KART_MUSIC),
           "CC BY-SA 3.0 and 4.0, the SuperTuxKart team's musicians"),
    Source("singularity-music", "music", ("*.ogg",), "CC BY-SA 3.0, Max McCracken"),
    Source("ufoai-music", "music", tuple(f"music/{name}.ogg" for name in _UFO_MUSIC),
           "CC BY 3.0 and CC BY-SA 3.0, the UFO: Alien Invasion team's musicians"),
    Source("ufoai-sound", "noise", tuple(f"sound/ambience/{name}.ogg" for name in _UFO_NOISE),
           "CC BY 3.0 and CC BY-SA 3.0, the UFO: Alien Invasion team"),
    Source("0ad-data", "speech", ("audio/voice/greek/*.ogg", "audio/voice/latin/*.ogg", "audio/voice/napatan/*.ogg",
                                   "audio/voice/persian/*.ogg"), "CC BY-SA 3.0, Wildfire Games"),
    Source("sonic-pi-samples", "music", _SAMPLES, "CC0, contributors to freesound.org"),
    Source("0ad-data", "bustle", tuple(f"audio/{name}.ogg" for name in _ANTIQUE_BUSTLE),
           "CC BY-SA 3.0, Wildfire Games"),
    Source("supertuxkart-data", "traffic", tuple(f"*/data/sfx/{name}.ogg" for name in _KART_TRAFFIC),
           "CC BY 3.0 and CC BY-SA 3.0; Fritz Schlüter, daveincamas, Marianne Gagnon, Mike Koenig and others"),
    Source("openttd-opensfx", "traffic", _TRAFFIC,
           "CC0, CC BY and CC BY-SA 3.0, each sound by its own author; Janis Lukss, Wuzzy and others"),
    Source("asterisk-moh-opsound-g722", "music", ("*.g722",), "CC BY-SA 3.0, Macroform, Manolo Camp, Reno Project"),
    Source("asterisk-core-sounds-en-g722", "speech", ("*.g722",), "CC BY-SA 3.0, Allison Smith"),
    Source("asterisk-core-sounds-es-g722", "speech", ("*.g722",), "CC BY-SA 3.0, Allison Smith"),
    Source("asterisk-core-sounds-fr-g722", "speech", ("*.g722",), "CC BY-SA 3.0, June Wallack"),
    Source("asterisk-core-sounds-it-g722", "speech", ("*.g722",), "CC BY 3.0, Carlo Flora"),
    Source("asterisk-core-sounds-ru-g722", "speech", ("*.g722",), "CC BY 3.0, Maxim Topal"),
)  # fmt: skip


def sounds(source: Source, unpacked: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(name, samples)` of a source's files in the order of their names, mono at `RATE_HZ`."""
    files = [path for path in sorted(unpacked.rglob("*")) if path.is_file()]
    for path in files:
        if path.suffix in (".zip", ".pk3"):
            with zipfile.ZipFile(path) as archive, TemporaryDirectory() as folder:
                for name in sorted(name for name in archive.namelist() if _wanted(name, source.patterns)):
                    inside = Path(archive.extract(name, folder))
                    yield inside.stem, decoded(inside)
        elif path.suffix == ".cat":
            for name, sound in bundled(path.read_bytes()):
                if _wanted(name, source.patterns):
                    with TemporaryDirectory() as folder:
                        inside = Path(folder) / "sound.wav"
                        inside.write_bytes(sound)
                        yield "".join(sign if sign.isalnum() else "_" for sign in name), decoded(inside)
        elif _wanted(path.relative_to(unpacked).as_posix(), source.patterns):
            yield path.stem, decoded(path)


def bundled(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields `(title, WAV)` of a sample catalogue of OpenTTD: offsets and sizes, then descriptions and sounds.

    A title is the part of a sound's description that stands in quotation marks, or all of it.
    """
    table = np.frombuffer(data, "<u4", (int.from_bytes(data[:4], "little") & _OFFSET_BITS) // 4).reshape(-1, 2)
    for start, size in (table & _OFFSET_BITS).tolist():
        sound = start + 1 + data[start]  # after the description, whose length comes first
        description = data[start + 1 : sound].rstrip(b"\0").decode("latin-1")
        yield description.split('"')[1] if '"' in description else description, data[sound : sound + size]


def _wanted(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def decoded(path: Path) -> np.ndarray:
    """Mono float32 `(samples,)` at `RATE_HZ` of anything FFmpeg reads."""
    import av

    with av.open(str(path), format="g722" if path.suffix == ".g722" else None) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
        frames = [
            part.to_ndarray()[0] for frame in [*container.decode(audio=0), None] for part in resampler.resample(frame)
        ]
    return np.concatenate(frames) if frames else np.zeros(0, np.float32)


def excerpts(samples: np.ndarray) -> np.ndarray:
    """Excerpts from all over a long track, joined."""
    length = round(_EXCERPT_S * RATE_HZ)
    if len(samples) <= _EXCERPTS * length:
        return samples
    starts = np.linspace(0.05, 0.95, _EXCERPTS) * (len(samples) - length)
    return np.concatenate([samples[int(start) : int(start) + length] for start in starts])


def joined_phrases(parts: Iterator[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
    """Joins spoken phrases, with pauses between them, to files of `_SPEECH_FILE_S`."""
    rng = np.random.default_rng(5)
    waiting: list[np.ndarray] = []
    number = 0
    for _, samples in parts:
        if np.abs(samples).max(initial=0.0) < 0.02 or len(samples) < RATE_HZ // 2:
            continue  # beeps and silence of given lengths
        waiting += [samples, np.zeros(round(rng.uniform(*_PAUSES_S) * RATE_HZ), np.float32)]
        if sum(map(len, waiting)) >= _SPEECH_FILE_S * RATE_HZ:
            yield f"{number:03d}", np.concatenate(waiting)
            waiting, number = [], number + 1


def takes(name: str, samples: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Cuts a long noise into several files, so that it is drawn in proportion to its length."""
    length = round(_NOISE_FILE_S * RATE_HZ)
    for number in range(max(1, min(26, len(samples) // length))):
        yield f"{name}-{chr(ord('A') + number)}", samples[number * length : (number + 1) * length]


def bustle(parts: Iterator[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
    """Cuts long sounds into takes, and joins short ones in random order with pauses between them.

    Short sounds that do not fill a last file are left out.
    """
    rng = np.random.default_rng(8)
    short = []
    for name, samples in parts:
        if len(samples) >= _SHORTEST_ALONE_S * RATE_HZ:
            yield from takes(name, samples)
        elif len(samples):
            short.append(samples / max(1e-9, float(np.abs(samples).max())))
    waiting: list[np.ndarray] = []
    number = 0
    for index in rng.permutation(len(short)):
        pause = np.zeros(round(rng.uniform(*_PAUSES_S) * RATE_HZ), np.float32)
        waiting += [short[index] * rng.uniform(0.3, 1), pause]
        if sum(map(len, waiting)) >= _NOISE_FILE_S * RATE_HZ:
            yield f"short_{number:02d}", np.concatenate(waiting)
            waiting, number = [], number + 1


def unpack(package: str, folder: Path) -> Path:
    """Downloads a package and unpacks it, unless it is there."""
    unpacked = folder / package
    if not unpacked.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
        (archive,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(archive), str(unpacked)], check=True)
        archive.unlink()
    return unpacked


@click.command(help=__doc__)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the sounds.")
@click.option("--packages", type=click.Path(path_type=Path), help="Folder to keep unpacked packages in.")
def main(out: Path, packages: Path | None) -> None:
    with TemporaryDirectory() as temporary:
        for source in SOURCES:
            unpacked = unpack(source.package, packages or Path(temporary))
            folder = out / f"free_{source.family}"
            folder.mkdir(parents=True, exist_ok=True)
            found = sounds(source, unpacked)
            if source.family == "speech":
                pieces = joined_phrases(found)
            elif source.family in ("bustle", "traffic"):
                pieces = bustle(found)
            elif source.family == "music":
                pieces = ((name, excerpts(samples)) for name, samples in found)
            else:
                pieces = (take for name, samples in found for take in takes(name, samples))
            length_s = 0.0
            for name, samples in pieces:
                loudest = max(1e-9, float(np.abs(samples).max(initial=0.0)))
                stem = f"{source.package}-{name}".replace(" ", "_")
                soundfile.write(folder / f"{stem}.flac", samples * (0.8 / loudest), RATE_HZ, subtype="PCM_16")
                length_s += len(samples) / RATE_HZ
            click.echo(f"{folder}: {source.package} ({source.licence}), {length_s / 60:.1f} min")


if __name__ == "__main__":
    main()
