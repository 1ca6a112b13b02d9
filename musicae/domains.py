"""`DOMAINS`: every domain. A new one is a file and a line here."""

from musicae.audio.domain import AudioDomain
from musicae.domain import Domain
from musicae.image.domain import ImageDomain
from musicae.music.domain import MusicDomain

DOMAINS: dict[str, type[Domain]] = {
    "image": ImageDomain,
    "music": MusicDomain,
    "audio": AudioDomain,
}

__all__ = ["DOMAINS", "Domain"]
