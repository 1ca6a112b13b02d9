"""`TrainedModel`: a network with its domain. This is the API that people import.

Every operation takes media objects (or paths, PIL images, arrays and so on) and returns media objects, or takes tensors
and returns tensors. A result is a value with its own remarks, and is written to a file by its `save`. The model keeps
nothing between calls. The operations are implemented in the modules that they call.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from musicae.domain import Domain
from musicae.inference.results import Morph
from musicae.models.autoencoder import Autoencoder
from musicae.pipeline import Choice, Pipeline, condition_text
from musicae.precision import best_device
from musicae.shipped import find_model, model_name
from musicae.training.checkpoint import Manifest, load_checkpoint

if TYPE_CHECKING:
    from musicae.attribute_vectors import AttributeVectors
    from musicae.audio.sound import Sound
    from musicae.audio.streaming import StreamedBlocks
    from musicae.export.run import Exported
    from musicae.inference.attribute_table import AttributeTable
    from musicae.inference.embed import LatentMap
    from musicae.inference.notes import NotePlayer


class TrainedModel:
    """A trained autoencoder that takes and gives media objects.

    Args:
        network: a plain `nn.Module`; its `encode`, `decode` and `loss` work with gradients in a loop of your own.
        domain: turns media objects into the network's tensors, and back.
        manifest: how both were made.
        device: where to compute; by default a GPU if there is one.
        folder: the checkpoint's folder, which may also hold attribute vectors.
        refine_steps: as in `refining`.
    """

    def __init__(
        self, network: Autoencoder, domain: Domain, manifest: Manifest, device: str | None = None,
        folder: Path | None = None, refine_steps: int = 0,
    ) -> None:  # fmt: skip
        try:
            self.device = torch.device(device) if device else best_device()
        except RuntimeError:
            raise ValueError(f'device is one that torch knows, such as "cpu" or "cuda:0", got {device!r}') from None
        self.network = network.to(self.device).eval()
        self.domain, self.manifest = domain, manifest
        self.folder, self.refine_steps = folder, refine_steps

    def __repr__(self) -> str:
        return f"<TrainedModel {self.name}: {self.domain.name}, {self.manifest.task}, model {self.manifest.model}>"

    @property
    def name(self) -> str:
        """Of the shipped model or the run; without a folder that of its network."""
        return model_name(self.folder) if self.folder else self.manifest.model

    @property
    def pipeline(self) -> Pipeline:
        """Network, domain and device together, as the operations take them."""
        return Pipeline(self.network, self.domain, self.manifest.task, self.device, self.refine_steps)

    def with_settings(self, **settings: Any) -> "TrainedModel":
        """The same network with other settings of its domain, such as the `track` that music is read from.

        Raises `MusicaeError`: an unknown key, a bad value, or one that changes the shape of the network's tensors.
        """
        domain = self.pipeline.domain_with(settings)
        return TrainedModel(self.network, domain, self.manifest, str(self.device), self.folder, self.refine_steps)

    def refining(self, steps: int = 30) -> "TrainedModel":
        """The same model, with codes nearer to their examples by so many gradients; see `musicae.models.refinement`.

        Raises `ValueError`: steps not in 0…1000. `MusicaeError`: the model restores, or its codes can't be refined.
        """
        self.pipeline.refuse_refinement(steps)
        return TrainedModel(self.network, self.domain, self.manifest, str(self.device), self.folder, steps)

    def encode(self, source: Any, **choice: Any) -> Tensor:
        """Encodes examples to posterior means, or to refined codes.

        Args:
            source: a media object or what `Domain.open` takes, of which one example is taken (see `Domain.select`),
                or a batch `(batch, *spec.shape)`.
            **choice: which part: music takes `bar` and `track`, sound `start_s`.

        Returns: `(batch, *latent_shape)`.
        """
        return self.pipeline.codes(self.pipeline.batch_of(source, choice))

    def tensor(self, source: Any, **choice: Any) -> Tensor:
        """One example as the network takes it, `(1, *spec.shape)`; arguments as in `encode`."""
        return self.pipeline.batch_of(source, choice).target

    def decode(
        self, z: Tensor, *, temperature: float = 0.0, top_p: float = 1.0, seed: int | None = None,
        chords: str | None = None, label: str | None = None, time_signature: str | None = None,
    ) -> Tensor:  # fmt: skip
        """`(batch, *latent_shape)` → `(batch, *spec.shape)`.

        Args:
            z: codes.
            temperature: 0 gives the mean (pictures, sound) or the most probable symbols (music).
            top_p: symbols are drawn from the most probable ones that together have this probability.
            seed: of the draws at temperatures above 0.
            chords, label, time_signature: the condition, as in `sample`.

        Raises:
            ValueError: not a float tensor, of another shape, or with values that are not finite.
        """
        from musicae.inference.sample import check_draw

        pipeline = self._generative("decode a code alone")
        check_draw(temperature, top_p)
        z = pipeline.checked_codes(z)
        text = condition_text(chords, label, time_signature)
        condition = None if text is None else pipeline.condition(text)
        generator = pipeline.generator(seed)
        return pipeline.decode_codes(z, condition, temperature=temperature, top_p=top_p, generator=generator)

    def reconstruct(self, source: Any, *, chords: str | None = None, label: str | None = None) -> Any:
        """Reconstructs a whole media object, or a batch.

        Args:
            source: a media object or what `Domain.open` takes, however long, or a batch `(batch, *spec.shape)`.
            chords, label: another harmony or class, as in `sample`, to decode the same code with.

        Returns:
            A new media object in the frame of the old one: what the model does not address is unchanged; or the batch.
        """
        from musicae.inference.restore import restore

        return restore(self.pipeline, "reconstruct", source, condition_text(chords, label))

    def denoise(
        self, source: Any, *, sample_rate_hz: int | None = None, strength: float = 1.0,
        max_attenuation_db: float | None = None, noise_profile: Any = None,
    ) -> Any:  # fmt: skip
        """Denoises a sound or a picture, or repairs music; for models trained with task `denoise`.

        Args:
            source: as in `reconstruct`, or samples `(samples,)` or `(samples, channels)` with their rate.
            sample_rate_hz: sample rate, if the source is samples.
            strength: dry/wet: 0 gives the input, 1 the model's output (pictures and sound).
            max_attenuation_db: largest attenuation of any part of the spectrum (sound); None for no limit.
            noise_profile: a recording of the noise alone, from the same place and recorder (sound).

        Returns: as `reconstruct`. A `Sound` is lazy: it is computed while it is read, in constant memory.
        """
        from musicae.inference.restore import RestorationLimits, restore

        limits = RestorationLimits(strength, max_attenuation_db)
        options: dict[str, Any] = {} if sample_rate_hz is None else {"sample_rate_hz": sample_rate_hz}
        return restore(self.pipeline, "denoise", source, limits=limits, noise_profile=noise_profile, **options)

    def stream(
        self, blocks: Iterable[np.ndarray], *, sample_rate_hz: int | None = None, strength: float = 1.0,
        max_attenuation_db: float | None = None,
    ) -> "StreamedBlocks":  # fmt: skip
        """Denoises sound while it arrives, with a causal model: `for block in denoiser.stream(blocks)`.

        Args:
            blocks: float32 in −1…1, `(samples,)` or `(samples, channels)`, of any sizes.
            sample_rate_hz: of the blocks; None: the model's, at which the delay is smallest.
            strength, max_attenuation_db: as in `denoise`.

        Returns: blocks, in all as long as the input and equal to what `denoise` gives; `latency_s` is the most delay.
        Raises `MusicaeError`: the model is not causal, or was trained for another task.
        """
        from musicae.inference.restore import RestorationLimits, stream

        limits = RestorationLimits(strength, max_attenuation_db)
        return cast("StreamedBlocks", stream(self.pipeline, blocks, sample_rate_hz, limits))

    def upscale(self, source: Any, *, sample_rate_hz: int | None = None, scale: int | None = None) -> Any:
        """Raises the resolution of a picture, the bandwidth of a sound or the detail of music; for task `upscale`.

        Arguments and result are as in `denoise`. `scale`: times larger that a picture becomes; None: as learned, or 2.
        """
        from musicae.inference.restore import enlarge

        options: dict[str, Any] = {} if sample_rate_hz is None else {"sample_rate_hz": sample_rate_hz}
        return enlarge(self.pipeline, source, scale, **options)

    def sample(
        self, count: int = 1, *, temperature: float = 1.0, top_p: float = 1.0, spread: float | None = None,
        seed: int | None = None, length: int | None = None, chords: str | None = None, label: str | None = None,
        time_signature: str | None = None, key: str | None = None, pitch: float | None = None,
        velocity: float | None = None,
    ) -> Morph:  # fmt: skip
        """Decodes draws from the prior.

        Args:
            count: number of samples.
            temperature: for drawing symbols (music); 0 takes the most probable ones.
            top_p: as in `decode`.
            spread: of the codes: 1 as they were learned, less is safer; None: as the model advises.
            seed: seed of all draws; with None they differ each time.
            length: bars of each (music), rounded up to windows, a random walk through draws from the prior.
            chords: such as "C F G Am": what fits them is taken (`musicae.inference.fitting`), or they are a condition.
            label: of a model with labels: a class of pictures such as "7", or an instrument.
            time_signature: of a model of music that reads several, such as "3/4"; None: 4/4.
            key: of music, such as "D minor", see `musicae.inference.fitting`; None: any.
            pitch, velocity: of notes from a model with labels, MIDI's and 0 to 1; None: any.

        Returns: `count` media objects; `.tensor` is `(count, *spec.shape)`, of several windows `(count, windows, ...)`.
        Raises `MusicaeError`: the model has no prior to draw from, or restores.
        """
        from musicae.inference.sample import sample

        return sample(
            self.pipeline, count, length=length, chords=chords, label=label, time_signature=time_signature, seed=seed,
            temperature=temperature, top_p=top_p, spread=spread, key=key, pitch=pitch, velocity=velocity,
        )  # fmt: skip

    def instrument(self, label: str | None = None, other: str | None = None, share: float = 0.5) -> "NotePlayer":
        """What plays a piece with the notes of a model with labels; see `musicae.inference.notes.NotePlayer`."""
        from musicae.inference.notes import NotePlayer

        return NotePlayer(self.pipeline, label, other, share)

    def interpolate(
        self, a: Any, b: Any, steps: int = 13, *, method: str = "slerp", spacing: str = "even",
        tempo: str | None = None, choice_a: Choice | None = None, choice_b: Choice | None = None,
    ) -> Morph:  # fmt: skip
        """Interpolates between two examples in latent space; the ends are the model's reconstructions of them.

        Args:
            a, b: media objects or what `Domain.open` takes, or batches of one.
            steps: points on the path, ends included.
            method: `slerp` or `lerp`, see `musicae.inference.latent_paths`.
            spacing: `even` chooses points between which the result changes about equally; `uniform` takes equal parts
                of the path, between which the result may change very unevenly.
            tempo: of music: `a`, `b`, or `between`, from one to the other; None: that of a.
            choice_a, choice_b: which part of each: music takes `bar` and `track`.

        Returns: the steps, as media objects; `.tensor` is `(steps, *spec.shape)`.
        """
        from musicae.inference.interpolate import interpolate

        pipeline = self._generative("interpolate")
        return interpolate(pipeline, a, b, steps, method, spacing, tempo, [choice_a or {}, choice_b or {}])

    def morph(
        self, a: Any, b: Any, *, method: str = "slerp", choice_a: Choice | None = None, choice_b: Choice | None = None
    ) -> "Sound":
        """One sound that changes from a into b while it lasts, as long as the model's window.

        Args:
            a, b: sounds; of each the loudest window is taken, or the one that begins at `start_s` seconds.
            method: as in `interpolate`.
            choice_a, choice_b: which part of each: sound takes `start_s`.

        Raises `MusicaeError`: the model is not one of sound.
        """
        from musicae.inference.interpolate import morph

        return cast("Sound", morph(self._generative("interpolate"), a, b, method, [choice_a or {}, choice_b or {}]))

    def interpolate_corners(
        self, a: Any, b: Any, c: Any, d: Any, steps: int = 5, *, method: str = "slerp",
        choices: Sequence[Choice] | None = None,
    ) -> Morph:  # fmt: skip
        """Interpolates a square between four examples: from a down to b at the left, from c down to d at the right.

        Args:
            a, b, c, d: media objects or what `Domain.open` takes.
            steps: points on an edge, 2 to 31.
            method: as in `interpolate`.
            choices: which part of each; the last may be left out.

        Returns: the columns of the square, from left to right; `.tensor` is `(columns, rows, *spec.shape)`.
        """
        from musicae.inference.interpolate import interpolate_corners

        return interpolate_corners(self._generative("interpolate"), (a, b, c, d), steps, method, choices or [])

    def interpolate_songs(
        self, a: Any, b: Any, steps: int = 13, *, method: str = "slerp", tempo: str | None = None
    ) -> Morph:
        """Interpolates whole media objects: between their first windows, between their second windows, and so on.

        The shorter one is repeated from its beginning; time signature and length are those of the longer one, and
        unless it is said otherwise (`tempo`, as in `interpolate`) its tempo too.
        """
        from musicae.inference.interpolate import interpolate_songs

        return interpolate_songs(self._generative("interpolate"), a, b, steps, method, tempo)

    def vary(
        self, source: Any, amount: float = 0.3, count: int = 4, *, seed: int | None = None, temperature: float = 0.0,
        keep: str | None = None, choice: Choice | None = None,
    ) -> Morph:  # fmt: skip
        """Variations of an example at a chosen distance: its code is rotated towards draws from the prior.

        Args:
            source: a media object or what `Domain.open` takes.
            amount: 0 gives the reconstruction, 1 draws from the prior that are independent of the source.
            count: number of variations.
            seed, temperature: for the draws; at temperature 0 only the code varies.
            keep: music: `rhythm`, `contour` or `harmony`: it is searched for variations that keep it.
            choice: which part of the source.

        Returns: the reconstruction, then the variations.
        """
        from musicae.inference.sample import vary

        return vary(self.pipeline, source, amount, count, seed, temperature, keep, choice or {})

    def vary_whole(
        self, source: Any, amount: float = 0.3, count: int = 4, *, seed: int | None = None, temperature: float = 0.0,
        keep: str | None = None,
    ) -> Morph:  # fmt: skip
        """Variations of a whole media object, each in its frame: of a song the other tracks stay as they are.

        Args:
            source: as in `vary`; of a piece with chosen bars (`Piece.with_bars`) only those vary.
            amount, count, seed, temperature, keep: as in `vary`. All windows are varied by the same draw.
        """
        from musicae.inference.sample import vary_whole

        return vary_whole(self.pipeline, source, amount, count, seed, temperature, keep)

    def humanize(self, source: Any, count: int = 1, *, temperature: float = 1.0, seed: int | None = None) -> Any:
        """Plays notes as a person might: velocity and timing are drawn; for models with a code for the feel.

        Args:
            source: a media object or what `Domain.open` takes, or a batch `(batch, *spec.shape)`; how it is played is
                not looked at.
            count: number of players.
            temperature: of each velocity and offset beside the draw that all notes share; 0: none of their own.
            seed: of all draws.

        Returns: a `Morph` of `count` media objects; of a batch `(count, batch, *spec.shape)`.
        """
        from musicae.inference.feel import humanize

        return humanize(self.pipeline, source, count, seed, temperature)

    def transfer_feel(self, feel: Any, notes: Any) -> Any:
        """Plays the notes of one media object with the velocity and timing of another, window by window.

        The one that gives the feel is repeated from its beginning where it is shorter.
        """
        from musicae.inference.feel import transfer_feel

        return transfer_feel(self.pipeline, feel, notes)

    def tap(self, source: Any) -> Any:
        """Plays a tapped rhythm on a drum kit; for models trained with task `tap`.

        Args:
            source: a piece: hits of its drums, or the onsets of all tracks where it has none; or a batch.
        """
        from musicae.inference.restore import tap

        return tap(self.pipeline, source)

    def infill(
        self, source: Any, bars: tuple[int, int], count: int = 1, *, seed: int | None = None,
        temperature: float | None = None,
    ) -> Morph:  # fmt: skip
        """Makes up some bars of a piece, given those around them; all else stays. For a model such as `melody-16bar`.

        Args:
            source: a piece or what `Domain.open` takes.
            bars: the first and the last, counted from 1.
            count, seed: number of versions; seed of the draws.
            temperature: of the codes, as the `spread` of `sample`; 0 takes what is expected.
        Raises `MusicaeError` for bars that are not there, or a model that does not know how bars follow each other.
        """
        from musicae.inference.infill import infill

        return infill(self.pipeline, source, *bars, count, seed, temperature)

    def extend(
        self, source: Any, bars: int = 8, count: int = 1, *, seed: int | None = None, temperature: float | None = None
    ) -> Morph:
        """Goes on with a piece for so many bars; arguments and errors as in `infill`."""
        from musicae.inference.infill import extend

        return extend(self.pipeline, source, bars, count, seed, temperature)

    def grid(
        self, side: int = 15, *, label: str | None = None, chords: str | None = None, around: Any = None,
        numbers: int | None = None,
    ) -> Morph:  # fmt: skip
        """Decodes a square of a code of two numbers, or traversals of a longer one; see `musicae.inference.grid`.

        Args:
            side: examples to a side, or in a row.
            label, chords: the condition, as in `sample`.
            around: a media object whose code is the middle of traversals; None: the middle of the prior.
            numbers: rows of traversals, those that change the result most; None: 8.

        Returns: the columns. Raises `MusicaeError`: the code is a grid or tokens, or the model restores.
        """
        from musicae.inference.grid import grid

        return grid(self.pipeline, side, condition_text(chords, label), around, numbers)

    def attributes(self, *sources: Any, each_window: bool = False) -> "AttributeTable":
        """Measures the domain's attributes, such as note density or brightness.

        Args:
            *sources: files and folders, or media objects.
            each_window: a row for each window, in place of the mean over the windows of a file.
        """
        from musicae.inference.attribute_table import measure

        return measure(self.domain, sources, each_window=each_window)

    def shift(self, source: Any, attribute: str, amount: float = 1.0) -> Any:
        """Changes one attribute of a whole media object, or of a batch, and keeps the rest as far as possible.

        Args:
            source: as in `reconstruct`.
            attribute: a name in `attribute_vectors`.
            amount: change in standard deviations of the attribute over the training data.
        """
        from musicae.inference.shift import shift

        return shift(self._generative("shift"), self.attribute_vectors, source, attribute, amount)

    @property
    def attribute_vectors(self) -> "AttributeVectors | None":
        """The attribute vectors stored with the checkpoint; None if it has none.

        Raises:
            CheckpointError: they are damaged, or of another model.
        """
        from musicae.attribute_vectors import AttributeVectors

        return None if self.folder is None else AttributeVectors.load(self.folder, self.network.latent_shape)

    def embed(
        self, *sources: Any, colour: str | None = None, method: str = "pca", each_file: bool = False, seed: int = 0
    ) -> "LatentMap":
        """Maps the windows of media objects: points that are near on the map are near in latent space.

        Args:
            *sources: files and folders, or media objects.
            colour: `folder`, `file`, a label of the domain (`key` of music, `label` of pictures) or an attribute; by
                default the label, if any picture has one that the model's data had, else the folder.
            method: `pca`, `tsne`, or `latent`: the two numbers that vary most.
            each_file: a point for each file, the mean of its codes.
            seed: seed of t-SNE.
        """
        from musicae.inference.embed import embed

        return embed(self.pipeline, sources, colour=colour, method=method, each_file=each_file, seed=seed)

    def export(
        self, folder: str | Path, *, format: str = "onnx", precision: str = "float32",
        parts: Sequence[str] | None = None,
    ) -> "Exported":  # fmt: skip
        """Writes files that run without musicae, each compared with PyTorch, and a card that says how.

        Args:
            folder: is made; other files in it stay.
            format: `onnx` or `torch-export`.
            precision: of stored weights: `float32`, `float16` or `int8`, whose cost in score is measured.
            parts: such as `decoder`; None: all. See `musicae.export.run.export`, also for errors.
        """
        from musicae.export.run import Source, export

        source = Source(self.name, self.manifest.model, self.manifest.task, self.folder)
        return export(self.network, self.domain, source, Path(folder), format, precision, parts)

    def _generative(self, what: str) -> Pipeline:
        """The pipeline. Raises `MusicaeError` if the model restores, so that it can't decode codes alone."""
        pipeline = self.pipeline
        pipeline.refuse_restorer(what)
        return pipeline


def load(
    model: str | Path, device: str | None = None, *, network_class: type[Autoencoder] | None = None
) -> TrainedModel:
    """Loads a trained model.

    Args:
        model: a shipped name (`melody-2bar`), the folder of a run or a checkpoint, or `hf://user/name[@revision]`.
        device: where to compute; by default a GPU if there is one.
        network_class: the user's own `Autoencoder` subclass, if the checkpoint was trained with one; musicae never
            imports it by itself.

    Raises:
        CheckpointError: no such model, or a damaged or newer one.
    """
    folder = find_model(str(model))
    return TrainedModel(*load_checkpoint(folder, network_class), device=device, folder=folder)
