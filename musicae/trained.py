"""`TrainedModel`: a model and its domain together, which is what people import.

Every operation takes files and writes files, or takes tensors and returns tensors; none knows which
domain it works in.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicae.checkpoint import MANIFEST, Manifest, load_checkpoint
from musicae.domains.base import Domain, Selection
from musicae.errors import CheckpointError, MusicaeError, unknown_name
from musicae.latent_space import METHODS
from musicae.models import Autoencoder

PRETRAINED = Path(__file__).parent / "pretrained"
# A render of a longer path would be minutes of sound and a picture no one can read.
MAX_STEPS = 1000


class TrainedModel:
    """A trained autoencoder that reads and writes files.

    Args:
        model: its weights.
        domain: reads and writes its tensors.
        manifest: where both came from.
        device: where to compute; by default a GPU if there is one.
    """

    def __init__(self, model: Autoencoder, domain: Domain, manifest: Manifest, device: str | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = model.to(self.device).eval()
        self.domain = domain
        self.manifest = manifest
        self.last_labels: tuple[str, str] | None = None  # which parts of its two files `interpolate` took

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
        if isinstance(source, Tensor):
            return self.model.encode(source.to(self.device)).mean
        return self.model.encode(self.read(source, **choice)).mean

    def read(self, source: Any, **choice: Any) -> Tensor:
        """One example of a file as the model sees it, `(1, *spec.shape)`; the choice is as in `encode`."""
        return self._tensor(self._select(source, choice))

    @torch.no_grad()
    def decode(self, z: Tensor, *, temperature: float = 0.0, seed: int | None = None) -> Tensor:
        """`(batch, *latent_shape)` → `(batch, *spec.shape)`.

        Args:
            z: codes.
            temperature: 0 is the mean (pictures, sound) or the most probable symbols (music).
            seed: of the draws at temperatures above 0.
        """
        self._refuse_restorer("decode a code alone")
        return self.model.decode(z.to(self.device), temperature=temperature, generator=self._generator(seed))

    def reconstruct(self, source: Any, out: Path | str | None = None) -> Path | Tensor:
        """Puts a file or a batch through the model.

        Args:
            source: a file (or an object the domain reads), taken whole however long, or a batch
                `(batch, *spec.shape)`.
            out: the file to write; by default `NAME-reconstruct` in the working folder.

        Returns:
            The file written, or the batch.
        """
        return self._apply("reconstruct", source, out)

    def denoise(self, source: Any, out: Path | str | None = None) -> Path | Tensor:
        """Cleans a file or a batch; as `reconstruct`, for models trained with task `denoise`."""
        if self.manifest.task != "denoise":
            raise MusicaeError(
                f"this model was trained to {self.manifest.task}, not to denoise; train one with --task denoise, "
                f"or choose another with --model."
            )
        return self._apply("denoise", source, out)

    @torch.no_grad()
    def sample(
        self, count: int = 1, *, temperature: float = 1.0, seed: int | None = None, out: Path | str | None = None
    ) -> Path | Tensor:
        """Decodes draws from the prior N(0, I).

        Args:
            count: how many.
            temperature: of the symbols drawn (music); 0 takes the most probable.
            seed: of all draws; None draws anew each time.
            out: a folder for one file a sample, all in a row, and a picture; None returns a batch.

        Raises:
            MusicaeError: a plain autoencoder, which has no prior to draw from, or a restoring model.
        """
        self._refuse_restorer("sample")
        if self.model.config.latent == "deterministic":
            raise MusicaeError("a plain autoencoder has no prior to sample from; train with --latent gaussian.")
        if not 1 <= count <= MAX_STEPS:
            raise ValueError(f"count is between 1 and {MAX_STEPS}, got {count}")
        if temperature < 0:
            raise ValueError(f"temperature is 0 or more, got {temperature}")
        generator = self._generator(seed)
        z = torch.randn(count, *self.model.latent_shape, generator=generator, device=self.device)
        batch = self.model.decode(z, temperature=temperature, generator=generator)
        return batch if out is None else self._write_row(batch, Path(out), "samples", "sample")

    @torch.no_grad()
    def interpolate(
        self,
        a: Any,
        b: Any,
        steps: int = 13,
        *,
        method: str = "slerp",
        out: Path | str | None = None,
        choice_a: dict[str, Any] | None = None,
        choice_b: dict[str, Any] | None = None,
    ) -> Path | Tensor:
        """Walks from one example to another through latent space.

        The ends are the model's own reconstructions of the two inputs.

        Args:
            a, b: files (or objects the domain reads), or batches of one.
            steps: points on the path, ends included.
            method: `slerp` or `lerp`, see `musicae.latent_space`.
            out: folder for one file with the whole path, one a step, a picture, and a WAV of music;
                by default `output/A-to-B`.
            choice_a, choice_b: which part of each file: music takes `bar` and `track`.

        Returns:
            The file with the whole path; the batch of `steps` when given batches.
        """
        self._refuse_restorer("interpolate")
        if method not in METHODS:
            raise ValueError(unknown_name("method", method, METHODS))
        if not 2 <= steps <= MAX_STEPS:
            raise ValueError(f"steps is between 2 and {MAX_STEPS}, got {steps}")
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            if len(a) != 1 or len(b) != 1:
                raise ValueError(f"interpolate takes batches of one, got {len(a)} and {len(b)} examples")
            return self.model.decode(METHODS[method](self.encode(a)[0], self.encode(b)[0], steps))
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            raise ValueError("interpolate takes two files or two batches, got one of each")
        first, last = self._select(a, choice_a or {}), self._select(b, choice_b or {})
        start, end = (self.model.encode(self._tensor(selection)).mean[0] for selection in (first, last))
        batch = self.model.decode(METHODS[method](start, end, steps))
        folder = Path(out) if out is not None else Path("output") / f"{_stem(a)}-to-{_stem(b)}"
        self.last_labels = (first.label, last.label)
        return self._write_row(batch, folder, "interpolation", "step", first.source)

    def _apply(self, task: str, source: Any, out: Path | str | None) -> Path | Tensor:
        if isinstance(source, Tensor):
            return self._reconstruct(source)
        readable = self._readable(source)
        target = Path(out) if out is not None else Path(f"{_stem(source)}-{task}{self.domain.output_suffix}")
        if isinstance(readable, Path) and target.exists() and target.samefile(readable):
            raise MusicaeError(f"{target} is the input itself; choose another --out.")
        self.domain.map_file(readable, target, self._reconstruct)
        return target

    def _select(self, source: Any, choice: dict[str, Any]) -> Selection:
        return self.domain.select(self._readable(source), **choice)

    def _readable(self, source: Any) -> Any:
        """An object the domain reads, as it is, or the path of a file that is there and of the domain."""
        if isinstance(source, self.domain.objects):
            return source
        path = Path(source)
        if not path.exists():
            raise MusicaeError(f"no such file: {path}")
        if path.is_dir():
            raise MusicaeError(f"{path} is a folder; give one file.")
        if not self.domain.reads(path):
            raise MusicaeError(
                f"{path.name} is no {self.domain.name} file, and this model takes no other "
                f"({', '.join(self.domain.suffixes)}); choose another file or --model."
            )
        return path

    @torch.no_grad()
    def _reconstruct(self, batch: Tensor) -> Tensor:
        return self.model.reconstruct(batch.to(self.device)).cpu()

    def _write_row(self, batch: Tensor, folder: Path, name: str, part: str, source: Any = None) -> Path:
        """Writes a batch as one file, a file each, and a preview; all of them or none."""
        batch = batch.cpu()
        suffix, digits = self.domain.output_suffix, max(2, len(str(len(batch))))
        with _files_into(folder) as temporary:
            for number, example in enumerate(batch.split(1), 1):
                self.domain.write(example, temporary / f"{part}-{number:0{digits}d}{suffix}", source)
            self.domain.write(batch, temporary / f"{name}{suffix}", source)
            rows = {f"{part} {number}": example for number, example in enumerate(batch.split(1), 1)}
            # Last, for pictures: theirs is the whole row too, large enough to be looked at.
            self.domain.preview(rows if self.domain.drawn_below else {f"{part}s": batch}, temporary / name, source)
        return folder / f"{name}{suffix}"

    def _tensor(self, selection: Selection) -> Tensor:
        return self.domain.to_tensor(torch.from_numpy(selection.example).to(self.device))

    def _refuse_restorer(self, what: str) -> None:
        if self.model.restores:
            raise MusicaeError(
                f"this model restores ({self.manifest.task}) and cannot {what}; "
                "use one trained with --task reconstruct."
            )

    def _generator(self, seed: int | None) -> torch.Generator:
        generator = torch.Generator(self.device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        return generator


def load(model: str | Path, device: str | None = None) -> TrainedModel:
    """Loads a trained model.

    Args:
        model: a shipped name (`melody-2bar`), a run's folder, or a checkpoint's folder.
        device: where to compute; by default a GPU if there is one.

    Raises:
        CheckpointError: no such model, or a damaged or newer one.
    """
    return TrainedModel(*load_checkpoint(_find(str(model))), device=device)


def shipped_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(folder.name for folder in PRETRAINED.iterdir() if (folder / MANIFEST).is_file())


def _find(model: str) -> Path:
    if (PRETRAINED / model / MANIFEST).is_file():
        return PRETRAINED / model
    folder = Path(model)
    for candidate in (folder, folder / "best"):
        if (candidate / MANIFEST).is_file():
            return candidate
    if folder.exists():
        raise CheckpointError(f"{folder} is no model: neither it nor its best/ has a {MANIFEST}.")
    raise CheckpointError(f"{unknown_name('model', model, shipped_models())} Or give a run's folder.")


def _stem(source: Any) -> str:
    """What files made from a source are named after: its file's name, or its type's."""
    return Path(source).stem if isinstance(source, (str, Path)) else type(source).__name__


@contextmanager
def _files_into(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder whose files are moved into `folder` if the block ends well."""
    if folder.exists() and not folder.is_dir():
        raise MusicaeError(f"{folder} is a file; --out wants a folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder.parent))
    try:
        yield temporary
        folder.mkdir(exist_ok=True)
        for file in sorted(temporary.iterdir()):
            file.replace(folder / file.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
