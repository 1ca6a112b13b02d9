"""`DOMAINS`: every domain. A new one is a file and a line here."""

from musicae.domains.audio import AudioDomain
from musicae.domains.base import Domain
from musicae.domains.image import ImageDomain
from musicae.domains.music import MusicDomain

DOMAINS: dict[str, type[Domain]] = {
    "image": ImageDomain,
    "music": MusicDomain,
    "audio": AudioDomain,
}

__all__ = ["DOMAINS", "Domain"]
