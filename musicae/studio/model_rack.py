"""`ModelRack`: the models of the running studio, loaded one after the other when it starts, and what each can do."""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any

from musicae.attribute_vectors import AttributeVectors
from musicae.capabilities import HasScales
from musicae.errors import MusicaeError, sentence_of
from musicae.trained import TrainedModel, load


@dataclass(frozen=True)
class Ready:
    """A loaded model.

    Attributes:
        name: as it was given.
        trained: itself.
        vectors: its attribute vectors; None where it has none.
        can: names of what it can do, as the page's tabs ask for it.
    """

    name: str
    trained: TrainedModel
    vectors: AttributeVectors | None
    can: frozenset[str]

    def described(self) -> dict[str, Any]:
        """For the page."""
        trained, vectors = self.trained, self.vectors
        labels = trained.manifest.data.get("labels", [])
        config = trained.domain.config.model_dump(mode="json")
        domain = trained.domain
        return {
            "name": self.name,
            "domain": trained.domain.name,
            "task": trained.manifest.task,
            "can": sorted(self.can),
            "attributes": list(vectors.info) if vectors is not None else [],
            "labels": list(labels) if isinstance(labels, list) else [],
            "latent_size": int(trained.network.latent_shape[0]),
            "scales": list(domain.scales) if "upscale" in self.can and isinstance(domain, HasScales) else [],
            "bars": config.get("bars"),
            "part": config.get("part"),
            "time_signature": config.get("time_signature"),
        }


def abilities(trained: TrainedModel, vectors: AttributeVectors | None) -> frozenset[str]:
    """What a model with its attribute vectors can do."""
    from musicae.capabilities import HasKeys
    from musicae.models.played import PlayedAutoencoder
    from musicae.models.second_stage import SecondStage

    network, task = trained.network, trained.manifest.task
    if network.restores:
        return frozenset({task})
    found = {"encode", "reconstruct", "interpolate", "vary", "sample", "map"}
    if vectors is not None:
        found.add("shift")
    if isinstance(network, PlayedAutoencoder):
        found.add("humanize")
    if isinstance(network, SecondStage) and network.completes:
        found.add("infill")
    if isinstance(trained.domain, HasKeys) and trained.domain.has_keys:
        found.add("key")
    if network.latent_shape == (2,):
        found.add("grid")
    return frozenset(found)


class ModelRack:
    """Loads models in a thread of its own.

    Args:
        names: shipped models and folders of runs.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(dict.fromkeys(names))
        self._ready: dict[str, Ready] = {}
        self._failed: dict[str, str] = {}
        self._changed = Condition()

    def start(self) -> None:
        """Begins to load them."""
        Thread(target=self._load_all, daemon=True, name="models").start()

    def add(self, name: str) -> None:
        """Loads one more, such as a run that was trained here. Raises `CheckpointError` where it is none."""
        self._put(name)

    def get(self, name: str, ability: str, timeout_s: float = 60.0) -> Ready:
        """A model, when it is loaded.

        Raises:
            MusicaeError: it is not one of the studio's, could not be loaded, or can't do what is asked.
        """
        with self._changed:
            if name not in self.names and name not in self._ready:
                raise MusicaeError(f"the studio has no model of that name; it has {', '.join(self.all_names)}.")
            self._changed.wait_for(lambda: name in self._ready or name in self._failed, timeout_s)
            if name in self._failed:
                raise MusicaeError(self._failed[name])
            if name not in self._ready:
                raise MusicaeError(f"{name} is still being loaded; try again in a moment.")
            ready = self._ready[name]
        if ability not in ready.can:
            able = [other.name for other in self._ready.values() if ability in other.can]
            hint = f"; choose {' or '.join(able)}" if able else ""
            raise MusicaeError(f"{name} can't {ability}{hint}.")
        return ready

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names of all models, loaded or not."""
        return tuple(dict.fromkeys((*self.names, *self._ready)))

    def described(self) -> dict[str, Any]:
        """Those that are loaded, those that are not yet, and those that could not be."""
        with self._changed:
            ready = list(self._ready.values())
            waiting = [name for name in self.names if name not in self._ready and name not in self._failed]
            failed = dict(self._failed)
        return {"models": [each.described() for each in ready], "loading": waiting, "failed": failed}

    def _load_all(self) -> None:
        for name in self.names:
            try:
                self._put(name)
            except Exception as error:  # whatever it is, the others are to be loaded
                with self._changed:
                    self._failed[name] = sentence_of(error) + "."
                    self._changed.notify_all()

    def _put(self, name: str) -> None:
        trained = load(name)
        vectors = trained.attribute_vectors
        ready = Ready(name, trained, vectors, abilities(trained, vectors))
        with self._changed:
            self._ready[name] = ready
            self._failed.pop(name, None)
            self._changed.notify_all()
