"""Data in memory: what may be given, how it is split, and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from pretty_midi import PrettyMIDI
from tile_domain import SIDE, Tile, TileDomain, tiles
from tune_files import write_tunes

from musicae.data.arrays import InMemory, is_in_memory
from musicae.data.dataset import SPLITS, DataSet
from musicae.domains import domain_class
from musicae.errors import DamagedFileError, MusicaeError
from musicae.music.piece import Piece


class Pairs(torch.utils.data.Dataset):
    """Arrays with a class each, read one by one."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.array[index]), index % 3


class Column:
    """Counts and indexes, as a column of a Hugging Face data set does."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class LabelledTiles(TileDomain):
    """Keeps what it was given."""

    def array_examples(self, array, labels=None):
        self.labels_given = [*getattr(self, "labels_given", []), *(labels or [])]
        return super().array_examples(array, labels)


def same(one: DataSet, other: DataSet) -> bool:
    return np.array_equal(one.examples, other.examples) and all(
        np.array_equal(one.splits[split], other.splits[split]) for split in SPLITS
    )


def test_rows_keep_their_order_and_are_dealt_to_all_splits():
    array = tiles(400)
    dataset = InMemory(array).read(TileDomain())
    assert np.array_equal(dataset.examples, array)
    assert sorted(np.concatenate(list(dataset.splits.values()))) == list(range(400))
    assert {split: 0.02 < len(dataset.splits[split]) / 400 < 0.09 for split in ("validation", "test")} == {
        "validation": True,
        "test": True,
    }
    assert (dataset.report.items, dataset.report.examples, dataset.report.duplicates) == (400, 400, 0)


def test_more_rows_move_no_other():
    before, after = (InMemory(tiles(300)[:count]).read(TileDomain()) for count in (200, 300))
    for split in SPLITS:
        assert set(before.splits[split]) == {index for index in after.splits[split] if index < 200}


def test_the_fingerprint_is_of_the_content_and_the_settings():
    array = tiles(50)
    changed = array.copy()
    changed[7, 3, 3] ^= 1
    dimmer = TileDomain(TileDomain.Config(brightest=200))
    fingerprints = [
        InMemory(array).read(TileDomain()).fingerprint,
        InMemory(array.copy()).read(TileDomain()).fingerprint,
        InMemory(changed).read(TileDomain()).fingerprint,
        InMemory(array).read(dimmer).fingerprint,
    ]
    assert fingerprints[0] == fingerprints[1]
    assert len(set(fingerprints)) == 3


@pytest.mark.parametrize(
    "form",
    [
        torch.from_numpy,
        list,
        lambda array: [torch.from_numpy(row) for row in array],
        lambda array: torch.utils.data.TensorDataset(torch.from_numpy(array)),
        Column,
        lambda array: iter(array),
    ],
    ids=["tensor", "list", "tensors", "torch data set", "column", "iterator"],
)
def test_an_array_is_the_same_data_in_any_form(form):
    array = tiles(60)
    assert same(InMemory(form(array)).read(TileDomain()), InMemory(array).read(TileDomain()))


def test_labels_come_along_with_arrays_and_with_objects_that_hold_one():
    array = tiles(30)
    for source in (Pairs(array), [(Tile(row), str(number % 3)) for number, row in enumerate(array)]):
        domain = LabelledTiles()
        dataset = InMemory(source).read(domain)
        assert np.array_equal(dataset.examples, array)
        assert domain.labels_given == ["0", "1", "2"] * 10


def test_media_objects_are_read_as_files_are(tmp_path):
    array = tiles(20)
    paths = [Tile(row).save(tmp_path / f"{number:02d}.tile") for number, row in enumerate(array)]
    for items in ([Tile(row) for row in array], Column([Tile(row) for row in array]), [*paths[:-1], Tile(array[-1])]):
        assert same(InMemory(items).read(TileDomain()), InMemory(array).read(TileDomain()))


def test_a_column_may_hold_sounds_or_files_as_dictionaries(tmp_path):
    opened = []

    class Sounds(TileDomain):
        def open(self, source: Any, **how: Any) -> Tile:
            opened.append((type(source).__name__, how))
            return Tile(tiles(1)[0])

    path = str(Tile(tiles(1)[0]).save(tmp_path / "a.tile"))
    items = [
        {"array": [0.0, 0.5], "sampling_rate": 8000, "path": None},
        {"bytes": b"content", "path": "a.tile"},
        {"bytes": None, "path": path},
    ]
    assert len(InMemory(Column(items)).read(Sounds()).examples) == 3
    assert opened == [("ndarray", {"sample_rate_hz": 8000}), ("bytes", {}), ("str", {})]


def test_rows_that_give_several_examples_or_none_stay_together():
    class Halves(TileDomain):
        """Every tile gives its bright halves."""

        def array_examples(self, array, labels=None):
            halves = super().array_examples(array).reshape(-1, SIDE // 2, SIDE)
            return halves[halves.max((1, 2)) > 100]

    array = tiles(100)
    array[10] = 0
    dataset = InMemory(array).read(Halves())
    halves = array.reshape(-1, SIDE // 2, SIDE)
    bright = halves.max((1, 2)) > 100
    owner = np.repeat(np.arange(100), 2)[bright]
    assert np.array_equal(dataset.examples, halves[bright])
    assert dataset.report.items == 99
    places = [set(owner[dataset.splits[split]]) for split in SPLITS]
    assert sum(map(len, places)) == 99


def test_equal_rows_are_counted_and_can_be_left_out_of_training():
    array = np.concatenate([tiles(40), tiles(40)])
    dataset = InMemory(array).read(TileDomain())
    unique = InMemory(array).read(TileDomain(), unique=True)
    assert dataset.report.duplicates == 40
    kept = array[unique.splits["train"]]
    assert len(kept) == len(np.unique(array[dataset.splits["train"]], axis=0)) < len(dataset.splits["train"])


def test_a_damaged_object_is_counted_and_stops_nothing(tmp_path):
    broken = tmp_path / "b.tile"
    broken.write_text("nothing")
    dataset = InMemory([Tile(tiles(1)[0]), broken, Tile(tiles(2)[1])]).read(TileDomain())
    assert len(dataset.examples) == 2
    assert dataset.report.damaged == {"item#1": "b.tile is no tile"}
    with pytest.raises(DamagedFileError):
        TileDomain().read(broken)


def test_the_config_is_filled_in_by_a_share_of_the_items():
    seen = []

    class Fitted(TileDomain):
        @classmethod
        def configure_items(cls, config, items, labels=(), task="reconstruct"):
            seen.append((len(items), items[0].shape, list(labels)[:4], task))
            return config.model_copy(update={"brightest": int(max(item.max() for item in items))})

    array = tiles(2500)
    config = InMemory(array).configure(Fitted, Fitted.Config(), "denoise")
    assert config.brightest == array[::2].max()
    assert seen == [(1250, (SIDE, SIDE), [], "denoise")]
    InMemory(Pairs(array[:10])).configure(Fitted, Fitted.Config(), "reconstruct")
    assert seen[1] == (10, (SIDE, SIDE), ["0", "1", "2", "0"], "reconstruct")


def test_paths_and_names_of_sets_are_no_data_in_memory():
    for data in (None, "mnist", Path("folder"), ["a", Path("b")], (), []):
        assert not is_in_memory(data)
    for data in (tiles(2), [tiles(1)[0]], Pairs(tiles(2)), [Tile(tiles(1)[0]), "a.tile"]):
        assert is_in_memory(data)


def generator() -> Iterator[int]:
    yield from ()


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (np.zeros(5), r"one item a row, got shape \(5,\)"),
        (np.zeros((0, SIDE, SIDE), np.uint8), "no items"),
        (generator(), "no items"),
        (42, "a sequence of items, got int"),
        ({"image": []}, "a sequence of items, got dict"),
        ([{"image": 1, "label": 2}], r"dictionary with image, label; give one column, such as dataset\['image'\]"),
        ([(Tile(tiles(1)[0]), "a"), Tile(tiles(1)[0])], "1 of 2 items have a label"),
        ([(tiles(1)[0], 0.5)], "text or a whole number, got float"),
    ],
)
def test_what_is_no_data_is_refused_in_a_sentence(source, sentence):
    with pytest.raises(ValueError, match=sentence):
        InMemory(source)


@pytest.mark.parametrize("source", [np.zeros((4, 9, 9), np.uint8), [tiles(1)[0], np.zeros((9, 9), np.uint8)], [3, 4]])
def test_what_the_domain_cannot_read_is_refused_by_it(source):
    with pytest.raises(ValueError, match="expected"):
        InMemory(source).read(TileDomain())


def test_data_of_which_nothing_is_usable_give_the_reasons(tmp_path):
    (tmp_path / "a.tile").write_text("nothing")
    with pytest.raises(MusicaeError, match=r"no usable tile example\. Left out: 1 damaged file"):
        InMemory([tmp_path / "a.tile"]).read(TileDomain())


# The media


def in_memory(domain: str, source: Any, **settings: Any) -> tuple[Any, DataSet]:
    """The domain as it is set up for the data, and what it reads of them."""
    kind, data = domain_class(domain), InMemory(source)
    built = kind(data.configure(kind, kind.Config(**settings), "reconstruct"))
    return built, data.read(built)


def test_pictures_may_be_an_array_a_torch_data_set_or_a_column_of_pil_images():
    digits = np.random.default_rng(0).integers(0, 256, (24, 28, 28), dtype=np.uint8)
    labelled = [(row, number % 4) for number, row in enumerate(digits)]
    column = Column([Image.fromarray(row) for row in digits])
    pairs = Column([(Image.fromarray(row), number % 4) for number, row in enumerate(digits)])
    for source in (digits, labelled, column, pairs, torch.utils.data.TensorDataset(torch.from_numpy(digits))):
        domain, dataset = in_memory("image", source)
        assert domain.spec.shape == (1, 28, 28)
        assert dataset.report.items == 24
        pictures = domain.tensor(torch.from_numpy(dataset.examples)).target
        assert torch.equal((pictures[:, 0] * 255).round().byte(), torch.from_numpy(digits))
        assert domain.has_classes is (source is labelled or source is pairs)
    domain, dataset = in_memory("image", labelled, labels=True)
    assert domain.spec.condition == (1, 5)
    assert domain.labels(torch.from_numpy(dataset.examples))["label"][:5] == ["0", "1", "2", "3", "0"]
    colour, _ = in_memory("image", np.zeros((4, 12, 16, 3), np.uint8))
    assert colour.spec.shape == (3, 12, 12)


def test_a_label_beside_a_photograph_leaves_it_its_crops():
    pixels = (np.random.default_rng(0).random((3, 90, 150, 3)) * 255).astype(np.uint8)
    photographs = [Image.fromarray(row) for row in pixels]
    column = Column(photographs)
    rows = Column([{"image": picture, "label": number} for number, picture in enumerate(photographs)])
    found = [in_memory("image", source, size=32, crops=True)[1].examples for source in (column, rows)]
    assert len(found[0]) == len(found[1]) > 3
    assert np.array_equal(found[0], found[1][:, :, :32])


class Table(Column):
    """Rows with named columns, as a Hugging Face data set has them."""

    class Classes:
        names = ("zero", "one", "two", "three")

    features: ClassVar = {"image": None, "label": Classes()}


def test_pictures_may_be_rows_with_named_columns_and_classes_with_names():
    digits = (np.random.default_rng(0).random((24, 8, 8)) * 255).astype(np.uint8)
    rows = [{"id": "x", "image": Image.fromarray(row), "label": number % 4} for number, row in enumerate(digits)]
    domain, dataset = in_memory("image", Table(rows), labels=True)
    assert domain.config.classes == ("one", "three", "two", "zero")
    labels = domain.labels(torch.from_numpy(dataset.examples))["label"]
    assert labels[:5] == ["zero", "one", "two", "three", "zero"]
    named = Pairs(digits)
    named.classes = ["nought", "single", "double"]
    domain, dataset = in_memory("image", named, labels=True)
    assert domain.labels(torch.from_numpy(dataset.examples))["label"][:3] == ["nought", "single", "double"]
    scalars = [{**row, "label": np.int64(row["label"]), "id": torch.tensor(3)} for row in rows]
    domain, dataset = in_memory("image", Column(scalars), labels=True)
    assert domain.labels(torch.from_numpy(dataset.examples))["label"][:5] == ["0", "1", "2", "3", "0"]
    domain, dataset = in_memory("image", Column([{"image": row["image"]} for row in rows]))
    assert domain.config.classes == () and len(dataset.examples) == 24
    unlabelled = Table([{**row, "label": -1} for row in rows])
    domain, dataset = in_memory("image", unlabelled)
    assert domain.config.classes == () and len(dataset.examples) == 24
    named.classes = ["nought", "single"]
    with pytest.raises(ValueError, match="has the label 2, and the data name 2 classes"):
        in_memory("image", named, labels=True)
    with pytest.raises(ValueError, match="in this one image is None; leave such rows out"):
        in_memory("image", Column([*rows, {"id": "x", "image": None, "label": 1}]), labels=True)


def test_sounds_may_be_an_array_or_a_column_of_dictionaries_of_any_rate():
    time_s = np.arange(16_000) / 8000
    tones = 0.3 * np.sin(2 * np.pi * np.array([220.0, 330.0, 440.0])[:, None] * time_s).astype(np.float32)
    settings = {"sample_rate_hz": 8000, "n_fft": 256, "chunk_s": 0.6}
    domain, dataset = in_memory("audio", tones, **settings)
    assert dataset.report.items == 3
    assert dataset.examples.shape[1:] == (domain.config.chunk_samples,)
    column = Column([{"array": row, "sampling_rate": 8000, "path": None} for row in tones])
    assert same(in_memory("audio", column, **settings)[1], dataset)
    faster = Column([{"array": np.repeat(row, 2), "sampling_rate": 16_000} for row in tones])
    assert in_memory("audio", faster, **settings)[1].examples.shape == dataset.examples.shape


def test_music_may_be_pieces_pretty_midi_or_token_windows(tmp_path):
    paths = sorted(write_tunes(tmp_path, 5).iterdir())
    files = np.concatenate([domain_class("music")().read(path).examples for path in paths])
    for source in ([Piece.open(path) for path in paths], [PrettyMIDI(str(path)) for path in paths]):
        _, dataset = in_memory("music", source)
        assert np.array_equal(dataset.examples, files)
        assert dataset.report.items == 5
    _, windows = in_memory("music", files)
    assert np.array_equal(windows.examples, files)
    with pytest.raises(ValueError, match="expected"):
        in_memory("music", np.full((3, 32, 1), 200))
