"""Contract of every domain in the table, and of one that a user adds: media objects, windows, stored form, scores."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Image
from tile_domain import Tile, TileDomain, tiles

from musicae.audio.domain import AudioConfig, AudioDomain
from musicae.audio.sound import Sound
from musicae.domain import Answers, Domain, Savable
from musicae.domains import DOMAINS, SUFFIXES, domain_class, domain_of
from musicae.errors import MusicaeError
from musicae.image.domain import ImageDomain
from musicae.image.picture import Picture
from musicae.music.domain import MusicDomain
from musicae.music.piece import Piece
from musicae.plots import save_png
from musicae.starter import STARTERS, starter_file, starter_items

# The coarse grid leaves nothing to chance.
SAME_EVERY_TIME = {("music", "upscale"), ("image", "upscale")}


def chord(seconds: float = 1.7) -> Sound:
    time_s = np.arange(round(8000 * seconds)) / 8000
    samples = sum(np.sin(2 * np.pi * hz * time_s) for hz in (220, 275, 330)) * np.sin(3 * time_s) ** 2
    return Sound.open(0.2 * samples.astype(np.float32), sample_rate_hz=8000)


def digit() -> Picture:
    return Picture.open(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8))


_SOUND = AudioConfig(sample_rate_hz=8000, n_fft=256, chunk_s=0.6)
_CHUNK = _SOUND.chunk_samples
# A small instance, and a media object that it can take.
CASES: dict[str, tuple[Callable[[], Domain], Callable[[], Any]]] = {
    "image": (ImageDomain, digit),
    "music": (MusicDomain, lambda: Piece.open(starter_file("a.mid"))),
    "audio": (lambda: AudioDomain(_SOUND), chord),
    "tile": (TileDomain, lambda: Tile(tiles(1)[0])),
}
# The same content at other values, as an array of so many items.
ARRAYS: dict[str, Callable[[], np.ndarray]] = {
    "image": lambda: np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8),
    "music": lambda: MusicDomain().examples(Piece.open(starter_file("a.mid"))).examples[:5],
    "audio": lambda: np.stack([chord().samples[:_CHUNK] * scale for scale in (1, -1, 0.5, -0.5, 0.1)]),
    "tile": lambda: tiles(5),
}
CONTRACT = pytest.mark.parametrize("name", CASES)


def opened(name: str) -> tuple[Domain, Any]:
    domain, item = CASES[name]
    return domain(), item()


def stored(name: str, count: int = 3) -> torch.Tensor:
    """Some stored examples."""
    return torch.from_numpy(np.ascontiguousarray(CASES[name][0]().array_examples(ARRAYS[name]())[:count]))


def same(one: Any, other: Any) -> None:
    """Checks that two media objects hold the same content; sounds but for what 16 bits and float16 lose."""
    assert type(one) is type(other)
    if isinstance(one, Piece):
        assert one.data == other.data
    elif isinstance(one, Sound):
        assert (one.sample_rate_hz, one.channels) == (other.sample_rate_hz, other.channels)
        np.testing.assert_allclose(one.samples, other.samples, atol=2e-3)
    else:
        np.testing.assert_array_equal(one.array, other.array)


# The table


def test_the_table_has_three_domains_named_as_they_say() -> None:
    assert list(DOMAINS) == ["image", "music", "audio"] == list(CASES)[:3]
    assert all(domain_class(name).name == name for name in DOMAINS)
    assert set(STARTERS) == set(DOMAINS)
    with pytest.raises(MusicaeError, match=r"unknown domain 'musik'\. Did you mean 'music'"):
        domain_class("musik")


@pytest.mark.parametrize("name", DOMAINS)
def test_endings_that_are_known_without_importing_a_domain_are_its_own(name: str) -> None:
    assert sorted(SUFFIXES[name]) == sorted(domain_class(name).suffixes)
    assert all(suffix == suffix.lower() for suffix in SUFFIXES[name])


def test_a_files_domain_goes_by_its_name_and_a_folders_by_most_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one.MID", "two.abc", "cover.png", "notes.txt"):
        (tmp_path / name).touch()
    assert domain_of(tmp_path / "one.MID") == "music"
    assert domain_of(tmp_path / "cover.png") == "image"
    assert domain_of(Path("train-images-idx3-ubyte.gz")) == "image"
    assert domain_of(tmp_path / "notes.txt") is None
    assert domain_of(tmp_path) == "music"
    monkeypatch.setitem(DOMAINS, "tile", lambda: TileDomain)
    assert domain_of(Path("one.tile")) == "tile"


@pytest.mark.parametrize("name", DOMAINS)
def test_starter_data_are_examples_of_the_domain(name: str) -> None:
    domain = CASES[name][0]()
    label, reading = next(iter(starter_items(domain)))
    assert label and len(reading.examples)
    domain.spec.check(tuple(domain.tensor(torch.from_numpy(reading.examples[:3].copy())).target.shape))


def test_a_domain_without_starter_data_says_so() -> None:
    with pytest.raises(MusicaeError, match="no starter data for tile; give files or folders"):
        next(iter(starter_items(TileDomain())))


# Media objects


@CONTRACT
def test_a_media_object_is_opened_from_a_path_text_and_itself(name: str, tmp_path: Path) -> None:
    domain, item = opened(name)
    path = item.save(tmp_path / f"Content{item.suffix}")
    assert domain.reads(path) and domain.reads(Path(f"X{item.suffix.upper()}"))
    same(domain.open(path), item)
    same(domain.open(str(path)), item)
    assert domain.open(path).name == "Content"
    assert domain.open(item) is item
    remarked = item.with_remarks("a", "b")
    assert remarked.remarks == (*item.remarks, "a", "b")
    same(remarked, item)
    assert isinstance(item.plot(), Image)


@pytest.mark.parametrize("name", DOMAINS)
def test_a_file_of_another_medium_is_not_written(name: str, tmp_path: Path) -> None:
    item = opened(name)[1]
    foreign = {"image": (".mid", ".wav"), "music": (".jpg", ".flac"), "audio": (".mid", ".png")}
    for ending in (*foreign[name], ".xyz", ""):
        with pytest.raises(MusicaeError, match="out") as caught:
            item.save(tmp_path / f"out{ending}")
        assert "\n" not in str(caught.value)
    (tmp_path / f"folder{item.suffix}").mkdir()
    with pytest.raises(MusicaeError, match="is a folder"):
        item.save(tmp_path / f"folder{item.suffix}")
    assert item.save(tmp_path / "deep" / f"out{item.suffix}").is_file()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == []


@CONTRACT
def test_what_can_not_be_opened_is_one_sentence(name: str, tmp_path: Path) -> None:
    domain, item = opened(name)
    (tmp_path / "other.xyz").touch()
    (tmp_path / f"bad{item.suffix}").write_bytes(b"nothing that can be read")
    for source, sentence in (
        (tmp_path / f"missing{item.suffix}", "no such file: "),
        (tmp_path, "is a folder; give one file"),
        (tmp_path / "other.xyz", f"is no {name} file"),
        (tmp_path / f"bad{item.suffix}", "bad"),
    ):
        with pytest.raises(MusicaeError, match=sentence) as caught:
            domain.open(source)
        assert "\n" not in str(caught.value)
    for source in (None, 3, object(), np.zeros((2, 3, 4, 5)), np.array(["text"])):
        if name == "tile" and isinstance(source, np.ndarray):
            continue
        with pytest.raises(ValueError) as caught:
            domain.open(source)
        assert "\n" not in str(caught.value)


@CONTRACT
def test_windows_are_batches_of_the_spec_that_come_anew(name: str) -> None:
    domain, item = opened(name)
    first, again = list(domain.windows(item)), list(domain.windows(item))
    assert len(first) == len(again) > 0
    for one, other in zip(first, again, strict=True):
        assert one.batch.target.shape[1:] == domain.spec.shape
        assert torch.equal(one.batch.target, other.batch.target)
    for task in domain.tasks:
        for window in domain.windows(item, task):
            assert len(window.batch.target) and window.batch.target.shape[1] == first[0].batch.target.shape[1]


@CONTRACT
def test_what_is_answered_unchanged_is_the_media_object_again(name: str) -> None:
    domain, item = opened(name)
    for task in domain.tasks:
        if (name, task) == ("image", "upscale"):
            continue  # which is shown the picture twice as large
        answers = Answers(lambda task=task: domain.windows(item, task), lambda batch: batch.target)
        same(domain.assemble(item, answers, task), item)


@CONTRACT
def test_assembling_takes_other_answers_and_leaves_the_item_as_it_was(name: str) -> None:
    domain, item = opened(name)
    before = CASES[name][1]()

    def silenced(batch: Any) -> torch.Tensor:
        return torch.zeros_like(batch.target)

    made = domain.assemble(item, Answers(lambda: domain.windows(item), silenced))
    same(item, before)
    if name == "music":
        assert made.note_count == 0 < item.note_count
        assert any("silent" in remark for remark in made.remarks)
    elif name == "audio":
        assert np.abs(made.samples).max() < 1e-3 < np.abs(item.samples).max()
        assert len(made.samples) == len(item.samples)
    else:
        assert made.array.max() == 0 < item.array.max()


@CONTRACT
def test_what_is_composed_is_selected_again(name: str, tmp_path: Path) -> None:
    domain, item = opened(name)
    selection = domain.select(item)
    assert len(selection.example) == 1 and selection.label
    tensor = domain.tensor(torch.from_numpy(selection.example)).target
    domain.spec.check(tuple(tensor.shape))
    made = domain.compose(tensor, selection.frame)
    saved = domain.open(made.save(tmp_path / f"one{made.suffix}"))
    for again in (made, saved):
        found = domain.tensor(torch.from_numpy(domain.select(again).example)).target
        if tensor.dtype == torch.int64:
            assert torch.equal(found, tensor)
        else:  # pictures and sounds hold rounded numbers, and a sound is brought to its own level
            gain = (found * tensor).sum() / found.square().sum()
            assert (gain * found - tensor).abs().max() <= 0.02 * tensor.abs().max()


@CONTRACT
def test_examples_in_a_row_are_one_media_object(name: str) -> None:
    domain = opened(name)[0]
    tensor = domain.tensor(stored(name, 2)).target
    one, both = domain.compose(tensor[:1]), domain.compose(tensor)
    sizes = {"music": lambda piece: piece.bars, "audio": lambda sound: sound.frames}
    size = sizes.get(name, lambda picture: picture.array.shape[1])
    assert size(both) == pytest.approx(2 * size(one), rel=0.1)


@pytest.mark.parametrize("name", DOMAINS)
def test_a_choice_that_a_medium_does_not_have_is_refused(name: str) -> None:
    domain, item = opened(name)
    with pytest.raises(MusicaeError, match="colour"):
        domain.select(item, colour="red")


@CONTRACT
def test_a_preview_is_a_picture_first_and_all_of_it_can_be_saved(name: str, tmp_path: Path) -> None:
    domain = opened(name)[0]
    tensor = domain.tensor(stored(name, 2)).target
    made = domain.preview({"original": tensor, "model": tensor}, columns=("left", "right"))
    assert next(iter(made)) == ".png"
    assert isinstance(made[".png"], Image)
    for ending, thing in made.items():
        path = tmp_path / f"look{ending}"
        if isinstance(thing, Image):
            save_png(thing, path)
        else:
            savable: Savable = thing
            savable.save(path)
        assert path.stat().st_size > 100


# Data sets


@CONTRACT
def test_stored_examples_become_tensors_of_the_spec(name: str) -> None:
    domain, item = opened(name)
    reading = domain.examples(item)
    assert len(reading.examples) and reading.examples.dtype.itemsize <= 2
    for batch in (stored(name), torch.from_numpy(reading.examples)):
        for generator in (None, torch.Generator().manual_seed(0)):
            tensor = domain.tensor(batch, generator).target
            domain.spec.check(tuple(tensor.shape))
            assert len(tensor) == len(batch)
        assert torch.equal(domain.tensor(batch).target, domain.tensor(batch).target)


@CONTRACT
def test_a_file_holds_the_examples_of_its_media_object(name: str, tmp_path: Path) -> None:
    domain, item = opened(name)
    path = item.save(tmp_path / f"content{item.suffix}")
    expected = domain.examples(domain.open(path))
    reading = domain.read(path)
    np.testing.assert_array_equal(reading.examples, expected.examples)
    assert reading.skipped == expected.skipped
    assert domain.companion_files(path) == []
    assert domain.official_split(path) is None


@CONTRACT
def test_an_array_is_stored_as_examples_and_one_of_another_shape_or_type_is_refused(name: str) -> None:
    domain, array = CASES[name][0](), ARRAYS[name]()
    examples = domain.array_examples(array)
    assert len(examples) == len(array)
    domain.spec.check(tuple(domain.tensor(torch.from_numpy(np.ascontiguousarray(examples))).target.shape))
    for bad in (np.zeros(3, array.dtype), np.zeros((2, 2, 2, 2, 2), array.dtype), np.array([["a"]])):
        with pytest.raises(ValueError) as caught:
            domain.array_examples(bad)
        assert "\n" not in str(caught.value)
    if name in ("image", "audio"):
        with pytest.raises(ValueError, match=r"NaN|finite"):
            domain.array_examples(np.full(array.shape, np.nan, np.float32))


@CONTRACT
def test_identity_tells_examples_apart_and_knows_them_again(name: str) -> None:
    domain, examples = CASES[name][0](), stored(name).numpy()
    marks = domain.identity(np.concatenate([examples, examples]))
    assert marks.dtype == np.uint64
    np.testing.assert_array_equal(marks[: len(examples)], marks[len(examples) :])
    assert len(set(marks.tolist())) == len(np.unique(examples, axis=0))


def _tasks(name: str, domain: Domain) -> list[str]:
    """Without what is for drums alone."""
    return [task for task in domain.tasks if (name, task) != ("music", "tap")]


@CONTRACT
def test_every_task_has_its_corruption_and_no_other_does(name: str) -> None:
    domain = CASES[name][0]()
    tensor = domain.tensor(stored(name)).target
    if name == "music":  # from tunes that move in quarters and eighths a coarse grid takes nothing
        tensor = torch.arange(32).view(1, 32, 1) % 7 + 30
    if name == "audio":  # what ends low already lacks nothing that a lower rate would take
        tensor = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2))
    assert domain.tasks[0] == "reconstruct"
    assert domain.corruption("reconstruct") is None
    for task in _tasks(name, domain)[1:]:
        corrupt = domain.corruption(task, split="test")
        first, again, other = (corrupt(tensor, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
        assert first.shape == tensor.shape
        assert torch.equal(first, again)
        assert torch.equal(first, other) == ((name, task) in SAME_EVERY_TIME)
        assert not torch.equal(first, tensor)
    if name in DOMAINS:
        with pytest.raises((MusicaeError, ValueError), match="no such task"):
            domain.corruption("no such task")


# Scores


@CONTRACT
def test_metrics_are_one_number_an_example(name: str) -> None:
    domain = CASES[name][0]()
    tensor = domain.tensor(stored(name)).target
    scores = domain.metrics(tensor, tensor, tensor)
    assert scores
    assert all(values.shape == (len(tensor),) and torch.isfinite(values).all() for values in scores.values())


@CONTRACT
def test_baselines_estimate_the_clean_batch_and_the_primary_metric_is_one_of_the_scores(name: str) -> None:
    domain = CASES[name][0]()
    tensor = domain.tensor(stored(name)).target
    for task in _tasks(name, domain):
        corrupt = domain.corruption(task, split="test")
        corrupted = tensor if corrupt is None else corrupt(tensor, torch.Generator().manual_seed(0))
        for estimate in domain.baselines(task, tensor).values():
            assert estimate(corrupted, tensor).shape == tensor.shape
        if domain.primary_metric is not None:
            assert domain.primary_metric in domain.metrics(corrupted, tensor, corrupted)


@CONTRACT
def test_labels_are_one_text_an_example(name: str) -> None:
    domain, batch = CASES[name][0](), stored(name)
    found = domain.labels(batch)
    assert all(len(labels) == len(batch) and all(isinstance(each, str) for each in labels) for labels in found.values())
    assert domain.has_classes == ("label" in found)
