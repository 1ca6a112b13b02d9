"""Fetches freely licensed photographs, for training restorers of pictures.

    python experiments/photographs.py --out FOLDER/photographs [--budgie CHECKOUT]

Needs Debian's `apt-get` and `dpkg-deb`; downloads about 140 MB. `--budgie` is a checkout of
https://github.com/BuddiesOfBudgie/budgie-backgrounds (CC0). Only photographs in the public domain or under CC0, CC BY
or CC BY-SA are taken, by the lists below, which follow the packages' own copyright files; those under the GPL
(mate-backgrounds, plasma-workspace-wallpapers) are left out, as are drawings. Each is made at least twice smaller, and
at most 1,600 pixels long: what a JPEG's compression and a camera's noise leave in it is gone then.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from PIL import Image, ImageOps

LONGEST, LEAST_REDUCTION = 1600, 2.0
_LAND = "usr/share/games/endless-sky/plugins/endless-sky-high-dpi/images/land"
_LOMIRI = (
    "Bridge_by_Sander_Klootwijk", "Dragonfly_by_Bolly", "Kleiber_by_Lukas_Baubkus", "Picture_0B_by_freespace",
    "Picture_1A_by_freespace", "Wine_by_Jakkub_Mede", "aitzgorri_by_Aitzol_Berasategi", "free_by_Peter_Nerlich",
    "friends_by_Aitzol_Berasategi", "greentock_by_Peter_Nerlich", "life_by_Aitzol_Berasategi",
    "picosdeeuropa_by_Aitzol_Berasategi", "seeding_by_Clements_Engelhardt", "sunset_by_Aitzol_Berasategi",
)  # fmt: skip
PACKAGES: dict[str, tuple[str, ...]] = {
    "endless-sky-high-dpi": (f"{_LAND}/*.jpg",),
    "lomiri-wallpapers-16.04": tuple(f"usr/share/backgrounds/{name}.jpg" for name in _LOMIRI),
    "lomiri-wallpapers-20.04": tuple(f"usr/share/backgrounds/{name}.jpg" for name in _LOMIRI),
}
_DRAWN = ("abstract-spiral", "ocean-waves", "valley-midnight", "waves-midnight", "saturnian-profile")
"""Of Budgie's, what is drawn or all black."""


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write PNGs to.")
@click.option("--budgie", type=click.Path(path_type=Path, exists=True), help="Checkout of budgie-backgrounds.")
def main(out: Path, budgie: Path | None) -> None:
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    with TemporaryDirectory() as folder:
        for name, path in _found(Path(folder), budgie):
            reduced(path).save(out / f"{name}.png")
            count += 1
    click.echo(f"{count} photographs in {out}")


def _found(folder: Path, budgie: Path | None) -> Iterator[tuple[str, Path]]:
    for package, patterns in PACKAGES.items():
        subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True)
        (archive,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder / package)], check=True)
        for path in sorted(path for pattern in patterns for path in (folder / package).glob(pattern)):
            yield f"{package}-{path.stem}", path
    for path in sorted(budgie.glob("backgrounds/*.jpg")) if budgie else ():
        if path.stem not in _DRAWN:
            yield f"budgie-{path.stem}", path


def reduced(path: Path) -> Image.Image:
    """A photograph, upright, smaller than it was (Lanczos)."""
    image = ImageOps.exif_transpose(Image.open(path).convert("RGB"))
    times = max(LEAST_REDUCTION, max(image.size) / LONGEST)
    return image.resize((round(image.width / times), round(image.height / times)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
