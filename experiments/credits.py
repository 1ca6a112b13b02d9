"""Where each data set comes from, and what its licence asks of models that learned from it."""

from dataclasses import dataclass

from debian_sounds import SOURCES


@dataclass(frozen=True)
class Credit:
    """What a data set is, for a model card, and its licence: `free`, `CC BY`, `CC BY-SA` or `not shipped`."""

    text: str
    licence: str = "free"


_TUNES_PLAYED = (
    "tunes of OpenEWLD, Ryan and O'Neill with Groove's drums (CC BY 4.0), rendered by audio_sets.py, by recorded notes "
    "of Discord SFZ bank, Karoryfer and D. Smolken (CC0) and of A. Holm and Bengt Nilsson's pianos (CC BY) too"
)
_VOICES = (
    "Kerstin speech recordings (CC0), voices of the Mycroft community (public domain), single words of Art4Apps (CC "
    "BY-SA 3.0)"
)
_FROM_DEBIAN = {
    f"sound/free_{family}": Credit(
        f"{family} from Debian packages: "
        + "; ".join(f"{source.package}, {source.licence}" for source in SOURCES if source.family == family),
        "CC BY-SA",
    )
    for family in dict.fromkeys(source.family for source in SOURCES)
}
CREDITS: dict[str, Credit] = _FROM_DEBIAN | {
    "mnist": Credit("MNIST, handwritten digits (LeCun et al., 1998)"),
    "eurosat64": Credit("EuroSAT, satellite photographs, MIT (Helber et al., 2019)"),
    "photographs": Credit(
        "301 photographs: landscapes of Endless Sky (public domain, CC BY-SA 3.0 and 4.0; M. Zahniser and others), "
        "wallpapers of Lomiri (CC0, CC BY 4.0, CC BY-SA 3.0 and 4.0; each by its photographer) and of Budgie (CC0)",
        "CC BY-SA",
    ),
    "openewld": Credit("OpenEWLD, public-domain lead sheets, MIT"),
    "openscore_lieder": Credit("OpenScore Lieder Corpus, vocal lines, CC0"),
    "ryans_mammoth": Credit("Ryan's Mammoth Collection (1883), public domain"),
    "oneills1850": Credit("O'Neill's Music of Ireland (1903), public domain"),
    "airds_airs": Credit("Aird's Airs (1782-1803), public domain"),
    "piano_performance/piano-midi": Credit("piano pieces of piano-midi.de, CC BY-SA 3.0 DE (B. Krueger)", "CC BY-SA"),
    "groove": Credit("Groove MIDI Dataset, drum performances, CC BY 4.0 (Gillick et al., 2019)", "CC BY"),
    "nottingham": Credit("Nottingham Music Database, folk tunes, GPL-3", "not shipped"),
    "pop909": Credit("POP909, MIT arrangements of commercial songs", "not shipped"),
    "lead_sheet_trios": Credit(
        "lead sheets of OpenEWLD, public domain, MIT, with drums of the Groove MIDI Dataset, CC BY 4.0 (Gillick et "
        "al., 2019), and a bass that trio_sets.py makes from the chords by rule",
        "CC BY",
    ),
    "trio": Credit("music of games, BSD-3, Artistic and GPL-2", "not shipped"),
    "speech_kerstin16k": Credit("Kerstin speech recordings, CC0"),
    "noise_room": Credit("room noises, public domain"),
    "notes16k": Credit(
        "single notes of eleven instruments, Discord SFZ bank and Karoryfer, CC0, piano by A. Holm CC BY", "CC BY"
    ),
    "sound/digits_train": Credit("Free Spoken Digit Dataset, four of its six speakers, CC BY-SA 4.0", "CC BY-SA"),
    "sound/music_train": Credit(_TUNES_PLAYED, "CC BY"),
    "sound/music_third": Credit(_TUNES_PLAYED, "CC BY"),
    "sound/font_music": Credit(f"{_TUNES_PLAYED} with Fluid R3 GM, MIT (F. Wen)", "CC BY"),
    "instruments44k": Credit(
        "single notes of ten instruments, a drum kit and body percussion (public domain, CC0; electric piano by G. "
        "Sullivan, upright piano by B. Nilsson, drums of DrumGizmo, CC BY)",
        "CC BY",
    ),
    "sound/font_notes": Credit("notes of Fluid R3 GM, MIT (F. Wen), rendered by audio_sets.py"),
    "sound/named_notes": Credit("the pitched ones of these notes, with names", "CC BY"),
    "speech48k/art4apps-en": Credit("single words of Art4Apps, CC BY-SA 3.0", "CC BY-SA"),
    "sound/notes_train": Credit("notes of a General MIDI sound font, rendered by audio_sets.py"),
    "sound/voices": Credit(f"{_VOICES}, joined by voices.py", "CC BY-SA"),
    "sound/voices_moved": Credit(f"{_VOICES}, and those of Debian's packages, played slower or faster", "CC BY-SA"),
    "sound/community/voices": Credit("voices of the Mycroft community (public domain), joined by voices.py"),
    "sound/community/voices_moved": Credit(
        "the same voices and those of Debian's packages, played slower or faster", "CC BY-SA"
    ),
    "sound/babble": Credit(f"babble of {_VOICES}, and of those of Debian's packages", "CC BY-SA"),
    "sound/moving_train": Credit("whistles, howls, sirens, bells and synthesizers, made by audio_sets.py"),
    "noise44k": Credit(
        "rain, wind, fire, cafés, cities, aeroplanes of Noisekun and Blanket, CC0, CC BY and public domain", "CC BY"
    ),
    "sound/tones_train": Credit("steady tones, made by audio_sets.py"),
    "sound/noise_train": Credit("rain, sea and chainsaws of ESC-10, CC0 and CC BY (K. J. Piczak, 2015)", "CC BY"),
}


def licence_of(sets: tuple[str, ...]) -> str:
    """The licence of weights that learned from some sets: that of the strictest of them.

    Raises:
        ValueError: one of the sets may be learned from and measured on, but its models may not be shipped.
    """
    licences = {CREDITS[name].licence for name in sets}
    if "not shipped" in licences:
        names = ", ".join(name for name in sets if CREDITS[name].licence == "not shipped")
        raise ValueError(f"models that learned from {names} are not shipped: the licence of the data forbids it.")
    if "CC BY-SA" in licences:
        return "CC BY-SA 4.0"
    return "CC BY 4.0" if "CC BY" in licences else "MIT"
