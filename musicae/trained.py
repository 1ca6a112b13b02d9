"""`TrainedModel`: a network and its domain together, which is what people import.

Every operation takes media objects (or paths, or what the ecosystem has for them) and gives media objects, or takes
tensors and gives tensors. A result is a value with its own remarks; nothing is kept in the model between calls, and
no file is written: a result has `save`. What the operations do is in the modules they call.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from musicae.domain import Batch, Domain
from musicae.errors import MusicaeError
from musicae.inference.results import Morph
from musicae.models.autoencoder import Autoencoder
from musicae.pipeline import Pipeline, condition_text
from musicae.shipped import find_model
from musicae.training.checkpoint import Manifest, load_checkpoint

if TYPE_CHECKING:
    from musicae.attribute_vectors import AttributeVectors
    from musicae.audio.sound import Sound
    from musicae.audio.streaming import StreamedBlocks
    from musicae.inference.attribute_table import AttributeTable
    from musicae.inference.embed import LatentMap
    from musicae.training.callbacks import Callback

Choice = dict[str, Any]
"""Which part of a media object is taken: music has `bar` and `track`, sound `start_s`, a set of pictures `index`."""


class TrainedModel:
    """A trained autoencoder that takes and gives media objects.

    Args:
        network: a plain `nn.Module`; `encode`, `decode` and `loss` work with gradients in a loop of one's own.
        domain: cuts media objects into its tensors, and assembles them.
        manifest: where both came from.
        device: where to compute; by default a GPU if there is one.
        folder: of the checkpoint, where more may lie, such as attribute vectors.
    """

    def __init__(
        self, network: Autoencoder, domain: Domain, manifest: Manifest, device: str | None = None,
        folder: Path | None = None,
    ) -> None:  # fmt: skip
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = network.to(self.device).eval()
        self.domain = domain
        self.manifest = manifest
        self.folder = folder

    def __repr__(self) -> str:
        name = self.folder.name if self.folder is not None else self.manifest.model
        return f"<TrainedModel {name}: {self.domain.name}, {self.manifest.task}, model {self.manifest.model}>"

    @property
    def pipeline(self) -> Pipeline:
        """Network, domain and device together, as the operations take them."""
        return Pipeline(self.network, self.domain, self.manifest.task, self.device)

    def with_settings(self, **settings: Any) -> "TrainedModel":
        """The same network with other settings of its domain, such as the `track` that music is read from.

        Raises:
            MusicaeError: an unknown key, a bad value, or one that changes the shape of the network's tensors.
        """
        from musicae.config import read_config

        config = type(self.domain.config)
        changed = read_config(config, {**self.domain.config.model_dump(), **settings}, f"{self.domain.name} setting")
        domain = type(self.domain)(changed)
        if domain.spec != self.network.spec:
            raise MusicaeError("a setting that changes the shape of the model's tensors can't be changed afterwards.")
        return TrainedModel(self.network, domain, self.manifest, str(self.device), self.folder)

    @torch.no_grad()
    def encode(self, source: Any, **choice: Any) -> Tensor:
        """Posterior means.

        Args:
            source: a media object or what `Domain.open` takes, of which one example is taken (see `Domain.select`),
                or a batch `(batch, *spec.shape)`.
            **choice: which part: music takes `bar` and `track`, sound `start_s`.

        Returns:
            `(batch, *latent_shape)`.
        """
        pipeline = self.pipeline
        if isinstance(source, Tensor):
            batch = Batch(pipeline.checked(source))
        else:
            batch = pipeline.batch(pipeline.select(source, choice))
        condition = None if batch.condition is None else batch.condition.to(self.device)
        return self.network.encode(batch.target.to(self.device), condition).mean

    def tensor(self, source: Any, **choice: Any) -> Tensor:
        """One example as the network is given it, `(1, *spec.shape)`; the arguments are as in `encode`."""
        pipeline = self.pipeline
        return pipeline.batch(pipeline.select(source, choice)).target

    def decode(
        self, z: Tensor, *, temperature: float = 0.0, top_p: float = 1.0, seed: int | None = None,
        chords: str | None = None, label: str | None = None,
    ) -> Tensor:  # fmt: skip
        """`(batch, *latent_shape)` → `(batch, *spec.shape)`.

        Args:
            z: codes.
            temperature: 0 is the mean (pictures, sound) or the most probable symbols (music).
            top_p: symbols are drawn from the most probable ones that together have this probability.
            seed: of the draws at temperatures above 0.
            chords, label: the condition, as in `sample`.

        Raises:
            ValueError: no tensor of floats, one of another shape, or values that are not finite.
        """
        from musicae.inference.sample import check_draw

        pipeline = self._generative("decode a code alone")
        check_draw(temperature, top_p)
        z = pipeline.checked_codes(z)
        text = condition_text(chords, label)
        condition = None if text is None else pipeline.condition(text)
        generator = pipeline.generator(seed)
        return pipeline.decode_codes(z, condition, temperature=temperature, top_p=top_p, generator=generator)

    def reconstruct(self, source: Any, *, chords: str | None = None, label: str | None = None) -> Any:
        """Puts a whole media object, or a batch, through the model.

        Args:
            source: a media object or what `Domain.open` takes, however long, or a batch `(batch, *spec.shape)`.
            chords, label: another harmony or class, as in `sample`: the code stays, and is decoded with it.

        Returns:
            A new media object in the frame of the old one: what the model does not address is untouched; or the batch.
        """
        from musicae.inference.restore import restore

        return restore(self.pipeline, "reconstruct", source, condition_text(chords, label))

    def denoise(
        self, source: Any, *, sample_rate_hz: int | None = None, strength: float = 1.0,
        max_attenuation_db: float | None = None, noise_profile: Any = None,
    ) -> Any:  # fmt: skip
        """Cleans or repairs a media object or a batch; as `reconstruct`, for models trained with task `denoise`.

        Args:
            source: as in `reconstruct`; of samples `(samples,)` or `(samples, channels)` the rate is given.
            sample_rate_hz: of samples.
            strength: 0 gives the input back, 1 all that the model would do (pictures and sound).
            max_attenuation_db: nothing in the spectrum is turned down by more (sound); None for no limit.
            noise_profile: a recording of the noise alone, same place and same recorder (sound).

        Returns:
            As `reconstruct`. A `Sound` is lazy: it is computed while it is saved or its samples are read, in constant
            memory.
        """
        from musicae.inference.restore import Restraint, restore

        restraint = Restraint(strength, max_attenuation_db)
        how: dict[str, Any] = {} if sample_rate_hz is None else {"sample_rate_hz": sample_rate_hz}
        return restore(self.pipeline, "denoise", source, restraint=restraint, noise_profile=noise_profile, **how)

    def stream(
        self, blocks: Iterable[np.ndarray], *, sample_rate_hz: int | None = None, strength: float = 1.0,
        max_attenuation_db: float | None = None,
    ) -> "StreamedBlocks":  # fmt: skip
        """Cleans sound while it arrives, for causal models: `for block in denoiser.stream(blocks)`.

        Args:
            blocks: float32 in −1…1, `(samples,)` or `(samples, channels)`, of any sizes.
            sample_rate_hz: of the blocks; None for the model's, at which the delay is smallest.
            strength, max_attenuation_db: as in `denoise`.

        Returns:
            An iterable of blocks, together as long as those that went in and the same as `denoise` gives;
            its `latency_s` says how far they may lag behind on the way.

        Raises:
            MusicaeError: a model that looks ahead, or one trained for another task.
        """
        from musicae.inference.restore import Restraint, stream

        streamed: StreamedBlocks = stream(
            self.pipeline, blocks, sample_rate_hz, Restraint(strength, max_attenuation_db)
        )
        return streamed

    def upscale(self, source: Any, *, sample_rate_hz: int | None = None) -> Any:
        """Fills in what a coarse media object or batch lacks; as `denoise`, for models trained with task `upscale`."""
        from musicae.inference.restore import restore

        how: dict[str, Any] = {} if sample_rate_hz is None else {"sample_rate_hz": sample_rate_hz}
        return restore(self.pipeline, "upscale", source, **how)

    def sample(
        self, count: int = 1, *, temperature: float = 1.0, top_p: float = 1.0, seed: int | None = None,
        length: int | None = None, chords: str | None = None, label: str | None = None,
    ) -> Morph:  # fmt: skip
        """Decodes draws from the prior.

        Args:
            count: how many.
            temperature: of the symbols drawn (music); 0 takes the most probable.
            top_p: as in `decode`.
            seed: of all draws; None draws anew each time.
            length: bars of each (music), rounded up to whole windows; windows follow each other on a
                walk through latent space of which each point is a draw from the prior.
            chords: the condition of a model of music with chords, such as "C F G Am".
            label: the condition of a model of pictures with labels, such as "7".

        Returns:
            `count` media objects; `.tensor` is `(count, *spec.shape)`, or with a length of several windows
            `(count, windows, *spec.shape)`.

        Raises:
            MusicaeError: a plain autoencoder, which has no prior to draw from, or a restoring model.
        """
        from musicae.inference.sample import sample

        condition = condition_text(chords, label)
        return sample(
            self.pipeline, count, length=length, condition=condition, temperature=temperature, top_p=top_p, seed=seed
        )

    def interpolate(
        self, a: Any, b: Any, steps: int = 13, *, method: str = "slerp", spacing: str = "even",
        choice_a: Choice | None = None, choice_b: Choice | None = None,
    ) -> Morph:  # fmt: skip
        """Walks from one example to another through latent space.

        The ends are the model's own reconstructions of the two inputs.

        Args:
            a, b: media objects or what `Domain.open` takes, or batches of one.
            steps: points on the path, ends included.
            method: `slerp` or `lerp`, see `musicae.inference.latent_paths`.
            spacing: `even` chooses points between which the result changes about equally; `uniform` takes equal
                parts of the path, on which a decoder may stand still for long and then go far at once.
            choice_a, choice_b: which part of each: music takes `bar` and `track`.

        Returns:
            The steps, as media objects; `.tensor` is `(steps, *spec.shape)`.
        """
        from musicae.inference.interpolate import interpolate

        pipeline = self._generative("interpolate")
        return interpolate(pipeline, a, b, steps, method, spacing, [choice_a or {}, choice_b or {}])

    def morph(
        self, a: Any, b: Any, *, method: str = "slerp", choice_a: Choice | None = None, choice_b: Choice | None = None
    ) -> "Sound":
        """One sound that changes from a into b while it lasts, as long as the model's window.

        Args:
            a, b: sounds; of each the loudest window is taken, or the one that begins at `start_s` seconds.
            method: as in `interpolate`.
            choice_a, choice_b: which part of each: sound takes `start_s`.

        Raises:
            MusicaeError: examples of this model don't change while they last (music, pictures).
        """
        from musicae.inference.interpolate import morph

        changed: Sound = morph(self._generative("interpolate"), a, b, method, [choice_a or {}, choice_b or {}])
        return changed

    def interpolate_corners(
        self, a: Any, b: Any, c: Any, d: Any, steps: int = 5, *, method: str = "slerp",
        choices: Sequence[Choice] | None = None,
    ) -> Morph:  # fmt: skip
        """Fills a square between four: from a down to b at the left, from c down to d at the right.

        Args:
            a, b, c, d: media objects or what `Domain.open` takes.
            steps: points on an edge, 2 to 31.
            method: as in `interpolate`.
            choices: which part of each; the last may be left out.

        Returns:
            The columns of the square, from left to right; `.tensor` is `(columns, rows, *spec.shape)`.
        """
        from musicae.inference.interpolate import interpolate_corners

        return interpolate_corners(self._generative("interpolate"), (a, b, c, d), steps, method, choices or [])

    def interpolate_songs(self, a: Any, b: Any, steps: int = 13, *, method: str = "slerp") -> Morph:
        """As `interpolate`, whole: the first windows of both are joined by a path, the second windows, and so on.

        The shorter one is repeated from its beginning; tempo, time signature and length are those of the longer.
        """
        from musicae.inference.interpolate import interpolate_songs

        return interpolate_songs(self._generative("interpolate"), a, b, steps, method)

    def vary(
        self, source: Any, amount: float = 0.3, count: int = 4, *, seed: int | None = None, temperature: float = 0.0,
        choice: Choice | None = None,
    ) -> Morph:  # fmt: skip
        """Variations of an example at a chosen distance: its code is rotated towards draws from the prior.

        Args:
            source: a media object or what `Domain.open` takes.
            amount: 0 gives the reconstruction, 1 draws from the prior that know nothing of the source.
            count: how many.
            seed, temperature: of the draws; at temperature 0 only the code varies.
            choice: which part of the source.

        Returns:
            The reconstruction, then the variations.
        """
        from musicae.inference.sample import vary

        return vary(self.pipeline, source, amount, count, seed, temperature, choice or {})

    def grid(self, side: int = 15, *, label: str | None = None, chords: str | None = None) -> Morph:
        """Decodes a square over a latent of two numbers, evenly under the prior.

        Args:
            side: examples to a side.
            label, chords: the condition, as in `sample`.

        Returns:
            The columns of the square; its picture shows the values of z.

        Raises:
            MusicaeError: the latent has more than two numbers, or the model restores.
        """
        from musicae.inference.sample import grid

        return grid(self.pipeline, side, condition_text(chords, label))

    def attributes(self, *sources: Any, each_window: bool = False) -> "AttributeTable":
        """Measures what the domain has names for (note density, brightness).

        Args:
            *sources: files and folders, or media objects.
            each_window: a row for each window, not the mean of each file's.
        """
        from musicae.inference.attribute_table import measure

        return measure(self.domain, sources, each_window=each_window)

    def shift(self, source: Any, attribute: str, amount: float = 1.0) -> Any:
        """Changes one attribute of a whole media object, or of a batch, and keeps the rest as far as it can.

        Args:
            source: as in `reconstruct`.
            attribute: a name in `attribute_vectors`.
            amount: in standard deviations of the attribute over the training data.
        """
        from musicae.inference.shift import shift

        return shift(self._generative("shift"), self.attribute_vectors, source, attribute, amount)

    @property
    def attribute_vectors(self) -> "AttributeVectors | None":
        """The directions stored in the checkpoint; None where it has none."""
        from musicae.attribute_vectors import AttributeVectors

        return None if self.folder is None else AttributeVectors.load(self.folder)

    def embed(
        self, *sources: Any, colour: str | None = None, method: str = "pca", each_file: bool = False, seed: int = 0
    ) -> "LatentMap":
        """A map of the windows of media objects: near on the map is near in latent space.

        Args:
            *sources: files and folders, or media objects.
            colour: `folder`, `file`, a label of the domain (`key` of music, `label` of pictures) or an attribute; by
                default the label where any picture has one that the model's data had, else the folder.
            method: `pca`, `tsne`, or `latent`: the two numbers that vary most.
            each_file: a point for each file, the mean of its codes.
            seed: of t-SNE.
        """
        from musicae.inference.embed import embed

        return embed(self.pipeline, sources, colour=colour, method=method, each_file=each_file, seed=seed)

    def _generative(self, what: str) -> Pipeline:
        """The pipeline, if the model can do what is asked."""
        pipeline = self.pipeline
        pipeline.refuse_restorer(what)
        return pipeline


def load(
    model: str | Path, device: str | None = None, *, network_class: type[Autoencoder] | None = None
) -> TrainedModel:
    """Loads a trained model.

    Args:
        model: a shipped name (`melody-2bar`), a run's folder, or a checkpoint's folder.
        device: where to compute; by default a GPU if there is one.
        network_class: the user's own `Autoencoder` subclass, where the checkpoint was trained with one; it is never
            imported by itself.

    Raises:
        CheckpointError: no such model, or a damaged or newer one.
    """
    folder = find_model(str(model))
    return TrainedModel(*load_checkpoint(folder, network_class), device=device, folder=folder)


def train(
    domain: str,
    *,
    data: Any = None,
    task: str = "reconstruct",
    model: str | type[Autoencoder] | None = None,
    out: str | Path | None = None,
    start_from: str | Path | None = None,
    callbacks: "Sequence[Callback]" = (),
    log_with: Sequence[str] = ("tensorboard",),
    resume: bool = False,
    device: str | None = None,
    **settings: Any,
) -> TrainedModel:
    """Trains a model.

    Args:
        domain: a key of `DOMAINS`: "image", "music" or "audio".
        data: files and folders, a named set such as "mnist", a NumPy array `(N, H, W[, C])` or `(N, samples)`, a torch
            `Dataset`, a column of a Hugging Face dataset, or media objects; None for the starter data.
        task: `reconstruct`, `denoise` or `upscale`.
        model: a key of `MODELS`, or an `Autoencoder` subclass of one's own; by default what fits domain and task.
        out: the run's folder; by default `runs/DOMAIN-TASK`, with a number where that exists.
        start_from: a shipped model or a run whose weights are taken over where names and shapes fit: fine-tuning.
        callbacks: called on steps, evaluations and at the end; see `musicae.training.callbacks.Callback`.
        log_with: trackers, as Accelerate names them.
        resume: continue the run in `out` exactly; what else is given must be as it was then.
        device: where the result computes.
        **settings: keys of the domain's, the model's and the training's config, such as `bars=2` and `minutes=10`.

    Returns:
        The best checkpoint, loaded.

    Raises:
        MusicaeError: an unknown name, key or value, or data that can't be used.
    """
    from musicae.training.experiment import run_training

    best = run_training(
        domain, data=data, task=task, model=model, out=out, start_from=None if start_from is None else str(start_from),
        callbacks=callbacks, log_with=log_with, resume=resume, **settings,
    )  # fmt: skip
    return load(best, device, network_class=None if model is None or isinstance(model, str) else model)
