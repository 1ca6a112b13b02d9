"""`TrainedModel`: a model and its domain together, which is what people import.

Every operation takes files and writes files, or takes tensors and returns tensors; none knows which
domain it works in. What they do is in the modules they call.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicae.audio.streaming import StreamedBlocks
from musicae.domain import Batch, Domain
from musicae.inference import attribute_table, generating, latent_map, morphing, transforming
from musicae.inference.attribute_table import AttributeTable
from musicae.inference.attribute_vectors import AttributeVectors
from musicae.inference.coder import Coder, either
from musicae.models import Autoencoder
from musicae.shipped import PRETRAINED, find_model, shipped_models
from musicae.training.checkpoint import Manifest, load_checkpoint

Choice = dict[str, Any]
"""Which part of a file is taken: music has `bar` and `track`."""


class TrainedModel:
    """A trained autoencoder that reads and writes files.

    Args:
        model: its weights.
        domain: reads and writes its tensors.
        manifest: where both came from.
        device: where to compute; by default a GPU if there is one.
        folder: of the checkpoint, where more may lie, such as attribute vectors.
    """

    def __init__(
        self, model: Autoencoder, domain: Domain, manifest: Manifest, device: str | None = None,
        folder: Path | None = None,
    ) -> None:  # fmt: skip
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval()
        self.domain = domain
        self.manifest = manifest
        self.folder = folder
        self._coder = Coder(self.model, domain, manifest.task, self.device)

    @property
    def remarks(self) -> list[str]:
        """What is worth knowing of the last operation: which bars were taken, what came out silent."""
        return self._coder.remarks

    @property
    def report(self) -> list[str]:
        """What was measured in the last operation, where it was asked to."""
        return self._coder.report

    @torch.no_grad()
    def encode(self, source: Any, **choice: Any) -> Tensor:
        """Posterior means.

        Args:
            source: a file (or an object the domain reads, such as `PrettyMIDI`), of which one example is
                taken (see `Domain.select`), or a batch `(batch, *spec.shape)`.
            **choice: which part of the file: music takes `bar` and `track`.

        Returns:
            `(batch, *latent_shape)`.
        """
        batch = Batch(source) if isinstance(source, Tensor) else self._batch(source, choice)
        condition = None if batch.condition is None else batch.condition.to(self.device)
        return self.model.encode(batch.target.to(self.device), condition).mean

    def read(self, source: Any, **choice: Any) -> Tensor:
        """One example of a file as the model sees it, `(1, *spec.shape)`; the choice is as in `encode`."""
        return self._batch(source, choice).target

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
            chords, label: what the model is told, as in `sample`.
        """
        coder = self._started("decode a code alone")
        generating.check_draw(temperature, top_p)
        told = either(chords, label)
        condition = None if told is None else coder.condition(told)
        return coder.decode_codes(z, condition, temperature=temperature, top_p=top_p, generator=coder.generator(seed))

    def reconstruct(
        self, source: Any, out: Path | str | None = None, *, chords: str | None = None, label: str | None = None
    ) -> Path | Tensor:
        """Puts a file or a batch through the model.

        Args:
            source: a file (or an object the domain reads), taken whole however long, or a batch
                `(batch, *spec.shape)`.
            out: the file to write; by default `NAME-reconstruct` in the working folder.
            chords, label: another harmony or class, as in `sample`: the code stays, and is decoded with it.

        Returns:
            The file written, or the batch.
        """
        return transforming.restore(self._started(), "reconstruct", source, out, either(chords, label))

    def denoise(
        self, source: Any, out: Path | str | None = None, *, strength: float = 1.0,
        max_attenuation_db: float | None = None, noise_profile: Path | str | None = None, report: bool = False,
    ) -> Path | Tensor:  # fmt: skip
        """Cleans or repairs a file or a batch; as `reconstruct`, for models trained with task `denoise`.

        Args:
            source: as in `reconstruct`.
            out: the file to write; by default `NAME-denoise` in the working folder. Of sounds its ending says what
                kind it is (see `musicae.audio.formats`), and by default it is of the source's.
            strength: 0 gives the input back, 1 all that the model would do (pictures and sound).
            max_attenuation_db: nothing in the spectrum is turned down by more (sound); None for no limit.
            noise_profile: a recording of the noise alone, same place and same recorder (sound).
            report: measure source and result into `report`, and draw both beside the result (sound).
        """
        restraint = transforming.Restraint(strength, max_attenuation_db)
        return transforming.restore(
            self._started(), "denoise", source, out, restraint=restraint, noise_profile=noise_profile, report=report
        )

    def stream(
        self, blocks: Iterable[np.ndarray], *, sample_rate_hz: int | None = None, strength: float = 1.0,
        max_attenuation_db: float | None = None,
    ) -> StreamedBlocks:  # fmt: skip
        """Cleans sound while it arrives, for causal models: `for block in denoiser.stream(blocks)`.

        Args:
            blocks: float32 in −1…1, `(samples,)` or `(samples, channels)`, of any sizes.
            sample_rate_hz: of the blocks; None for the model's, at which the delay is smallest.
            strength, max_attenuation_db: as in `denoise`.

        Returns:
            An iterable of blocks, together as long as those that went in and the same as `denoise` would write;
            its `latency_s` says how far they may lag behind on the way.

        Raises:
            MusicaeError: a model that looks ahead, or one trained for another task.
        """
        return transforming.stream(
            self._started(), blocks, sample_rate_hz, transforming.Restraint(strength, max_attenuation_db)
        )

    def upscale(self, source: Any, out: Path | str | None = None) -> Path | Tensor:
        """Fills in what a coarse file or batch lacks; as `reconstruct`, for models trained with task `upscale`."""
        return transforming.restore(self._started(), "upscale", source, out)

    def sample(
        self, count: int = 1, *, temperature: float = 1.0, top_p: float = 1.0, seed: int | None = None,
        length: int | None = None, chords: str | None = None, label: str | None = None,
        out: Path | str | None = None,
    ) -> Path | Tensor:  # fmt: skip
        """Decodes draws from the prior.

        Args:
            count: how many.
            temperature: of the symbols drawn (music); 0 takes the most probable.
            top_p: as in `decode`.
            seed: of all draws; None draws anew each time.
            length: bars of each (music), rounded up to whole windows; windows follow each other on a
                walk through latent space of which each point is a draw from the prior.
            chords: what a model of music with chords is told, such as "C F G Am"; see `Domain.condition`.
            label: what a model of pictures with labels is told, such as "7".
            out: a folder for one file a sample, all in a row, and a picture; None returns a batch.

        Returns:
            The file with all in a row; without `out` `(count, *spec.shape)`, or with a length
            `(count, windows, *spec.shape)`.

        Raises:
            MusicaeError: a plain autoencoder, which has no prior to draw from, or a restoring model.
        """
        coder = self._started("sample")
        batch = generating.sample_pieces(
            coder, count, length=length, told=either(chords, label), temperature=temperature, top_p=top_p, seed=seed
        )
        if out is None:
            return batch[:, 0] if length is None else batch
        return generating.write_samples(coder, batch, out)

    def interpolate(
        self, a: Any, b: Any, steps: int = 13, *, method: str = "slerp", spacing: str = "even",
        out: Path | str | None = None, choice_a: Choice | None = None, choice_b: Choice | None = None,
    ) -> Path | Tensor:  # fmt: skip
        """Walks from one example to another through latent space.

        The ends are the model's own reconstructions of the two inputs.

        Args:
            a, b: files (or objects the domain reads), or batches of one.
            steps: points on the path, ends included.
            method: `slerp` or `lerp`, see `musicae.inference.latent_paths`.
            spacing: `even` chooses points between which the result changes about equally; `uniform` takes equal
                parts of the path, on which a decoder may stand still for long and then go far at once.
            out: folder for one file with the whole path, one a step, a picture, and a WAV of music;
                by default `output/A-to-B`.
            choice_a, choice_b: which part of each file: music takes `bar` and `track`.

        Returns:
            The file with the whole path; the batch of `steps` when given batches.
        """
        coder = self._started("interpolate")
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            if len(a) != 1 or len(b) != 1:
                raise ValueError(f"interpolate takes batches of one, got {len(a)} and {len(b)} examples")
            start, end = coder.encode(Batch(a)), coder.encode(Batch(b))
            return morphing.morph(coder, start, end, steps, method, spacing).target
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            raise ValueError("interpolate takes two files or two batches, got one of each")
        return morphing.morph_files(coder, a, b, steps, method, spacing, out, [choice_a or {}, choice_b or {}])

    def turn(
        self, a: Any, b: Any, out: Path | str | None = None, *, method: str = "slerp",
        choice_a: Choice | None = None, choice_b: Choice | None = None,
    ) -> Path:  # fmt: skip
        """Writes one sound that turns from a into b while it lasts, as long as the model's window.

        Args:
            a, b: sound files; of each the loudest window is taken, or the one that begins at `start_s` seconds.
            out: the file to write; by default `A-to-B` in the working folder.
            method: as in `interpolate`.
            choice_a, choice_b: which part of each file: sound takes `start_s`.

        Raises:
            MusicaeError: examples of this model are no stretches of time that could turn (music, pictures).
        """
        return morphing.turn_files(self._started("interpolate"), a, b, method, out, [choice_a or {}, choice_b or {}])

    def interpolate_corners(
        self, a: Any, b: Any, c: Any, d: Any, steps: int = 5, *, method: str = "slerp",
        out: Path | str | None = None, choices: list[Choice] | None = None,
    ) -> Path:  # fmt: skip
        """Fills a square between four files: from a down to b at the left, from c down to d at the right.

        Args:
            a, b, c, d: files, or objects the domain reads.
            steps: points on an edge, 2 to 31.
            method, out: as in `interpolate`; there is one file for each column, and one picture.
            choices: which part of each of the files; the last may be left out.

        Returns:
            The file with all columns in a row.
        """
        coder = self._started("interpolate")
        return morphing.morph_square(coder, (a, b, c, d), steps, method, out, choices or [])

    def interpolate_songs(
        self, a: Any, b: Any, steps: int = 13, *, method: str = "slerp", out: Path | str | None = None
    ) -> list[Path]:
        """As `interpolate`, with whole files: the first windows of both are joined by a path, the second, and so on.

        The shorter file is repeated from its beginning; tempo, metre and length are those of the longer.

        Returns:
            The files written, one a step.
        """
        return morphing.morph_songs(self._started("interpolate"), a, b, steps, method, out)

    def vary(
        self, source: Any, amount: float = 0.3, count: int = 4, *, seed: int | None = None, temperature: float = 0.0,
        out: Path | str | None = None, choice: Choice | None = None,
    ) -> Path:  # fmt: skip
        """Writes variations of an example at a chosen distance: its code is turned towards draws from the prior.

        Args:
            source: a file, or an object the domain reads.
            amount: 0 gives the reconstruction, 1 draws from the prior that know nothing of the file.
            count: how many.
            seed, temperature: of the draws; at temperature 0 only the code varies.
            out: a folder, by default `output/NAME-varied`; the reconstruction is written beside them.
            choice: which part of the file.

        Returns:
            The file with the reconstruction and all variations in a row.
        """
        coder = self._started("vary")
        batch, record = generating.vary_example(coder, source, amount, count, seed, temperature, choice or {})
        return generating.write_variations(coder, batch, source, record, out)

    def grid(
        self, side: int = 15, *, label: str | None = None, chords: str | None = None, out: Path | str = "output/grid"
    ) -> Path:
        """Decodes a square over a latent of two numbers, evenly under the prior, and draws it.

        Args:
            side: examples to a side.
            label, chords: what the model is told, as in `sample`.
            out: a folder for the square as one file, each column as one, and a picture.

        Returns:
            The file with the whole square.

        Raises:
            MusicaeError: the latent has more than two numbers, or the model restores.
        """
        return generating.write_grid(self._started(), side, out, either(chords, label))

    def attributes(self, *sources: Any, each_window: bool = False) -> AttributeTable:
        """Measures what the domain can name (note density, range) in files, folders or objects.

        Args:
            *sources: files and folders, or objects the domain reads.
            each_window: a row for each window, not the mean of each file's.
        """
        table, remarks = attribute_table.measure(self.domain, sources, each_window=each_window)
        self._started().remarks.extend(remarks)
        return table

    def shift(self, source: Any, attribute: str, amount: float = 1.0, out: Path | str | None = None) -> Path | Tensor:
        """Changes one attribute of a whole file, or of a batch, and keeps the rest as far as it can.

        Args:
            source: as in `reconstruct`.
            attribute: a name in `attribute_vectors`.
            amount: in standard deviations of the attribute over the training data.
            out: the file to write; by default `NAME-shift` in the working folder.
        """
        return transforming.shift(self._started("shift"), self.attribute_vectors, source, attribute, amount, out)

    @property
    def attribute_vectors(self) -> AttributeVectors | None:
        """The directions stored in the checkpoint; None where it has none."""
        return None if self.folder is None else AttributeVectors.load(self.folder)

    def embed(
        self, *sources: Any, out: Path | str, colour: str | None = None, method: str = "pca",
        each_file: bool = False, seed: int = 0,
    ) -> list[Path]:  # fmt: skip
        """Draws a map of the windows of files, as CSV and PNG.

        Args:
            *sources: files and folders, or objects the domain reads.
            out: the CSV to write; the picture stands beside it.
            colour: `folder`, `file`, a label of the domain (`key` of music, `label` of pictures) or an attribute; by
                default the label where any picture has one that the model's data had, else the folder.
            method: `pca`, `tsne`, or `latent`: the two numbers that vary most.
            each_file: a point for each file, the mean of its codes.
            seed: of t-SNE.
        """
        found = latent_map.embed_files(
            self._started(), sources, colour=colour, method=method, each_file=each_file, seed=seed
        )
        return found.write(Path(out))

    def _batch(self, source: Any, choice: Choice) -> Batch:
        return self._coder.batch(self._coder.select(source, choice))

    def _started(self, what: str | None = None) -> Coder:
        """The coder, ready for another operation, if the model can do it."""
        self._coder.remarks.clear()
        self._coder.report.clear()
        if what is not None:
            self._coder.refuse_restorer(what)
        return self._coder


def load(model: str | Path, device: str | None = None) -> TrainedModel:
    """Loads a trained model.

    Args:
        model: a shipped name (`melody-2bar`), a run's folder, or a checkpoint's folder.
        device: where to compute; by default a GPU if there is one.

    Raises:
        CheckpointError: no such model, or a damaged or newer one.
    """
    folder = find_model(str(model))
    return TrainedModel(*load_checkpoint(folder), device=device, folder=folder)


__all__ = ["PRETRAINED", "TrainedModel", "load", "shipped_models"]
