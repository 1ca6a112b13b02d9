"""CIFAR-10's binary batches: pictures, classes, splits, and one sentence for what is damaged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from cifar_batches import NAMES, batch_bytes, noise, write_set
from PIL import Image

from musicae.data.dataset import load_dataset
from musicae.errors import DamagedFileError, MusicaeError
from musicae.image.config import ImageConfig
from musicae.image.domain import ImageDomain
from musicae.image.sets import PICTURE_SETS, cifar_labels, cifar_shape, find_classes, picture_set, read_cifar
from musicae.training.experiment import Experiment


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(batch_bytes(noise(4), [3, 0, 9, 3]))
    return path


def domain_of(*files: Path, **settings) -> ImageDomain:
    return ImageDomain(ImageDomain.configure(ImageConfig(**settings), files))


def pixels(stored: np.ndarray) -> np.ndarray:
    """`(pictures, channels, side, side)` without the row that holds the class, where there is one."""
    return stored[:, :, : stored.shape[-1]]


def test_a_batch_holds_colour_pictures_each_its_own_group(batch: Path) -> None:
    domain = domain_of(batch)
    assert domain.reads(batch)
    assert (domain.spec.shape, domain.config.likelihood) == ((3, 32, 32), "gaussian")
    assert cifar_shape(batch) == (4, 3, 32, 32)
    reading = domain.read(batch)
    assert reading.parts == ("4 pictures of 32×32",)
    assert len(set(reading.groups)) == 4
    np.testing.assert_array_equal(pixels(reading.examples).transpose(0, 2, 3, 1), noise(4))


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (16, 3), (16, 1), (48, 3)])
def test_another_size_or_grey_is_what_the_picture_alone_would_become(batch: Path, size: int, channels: int) -> None:
    domain = domain_of(batch, size=size, channels=channels)
    read = pixels(domain.read(batch).examples)
    assert read.shape == (4, channels, size, size)
    for number, picture in enumerate(noise(4)):
        alone = batch.with_name(f"{number}.png")
        Image.fromarray(picture).save(alone)
        np.testing.assert_array_equal(read[number], pixels(domain.read(alone).examples)[0])


def test_a_picture_of_a_batch_is_chosen_by_number(batch: Path) -> None:
    domain = domain_of(batch)
    item = domain.open(batch)
    selection = domain.select(item, index=2)
    np.testing.assert_array_equal(pixels(selection.example)[0].transpose(1, 2, 0), noise(4)[2])
    assert selection.label == "picture 2 of data_batch_1.bin"
    with pytest.raises(MusicaeError, match="0 to 3; it has no number 4"):
        domain.select(item, index=4)
    with pytest.raises(MusicaeError, match="whole set"):
        next(domain.windows(item))


def test_classes_are_given_by_their_names_and_without_them_by_number(batch: Path) -> None:
    assert find_classes([batch], required=True) == ("0", "3", "9")
    batch.with_name("batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    assert cifar_labels(batch) == ["cat", "airplane", "truck", "cat"]
    domain = domain_of(batch, labels=True)
    assert domain.config.classes == ("airplane", "cat", "truck")
    given = domain.tensor(torch.from_numpy(domain.read(batch).examples))
    assert given.condition.flatten().tolist() == [2, 1, 3, 2]
    assert given.target.shape == (4, 3, 32, 32)
    chosen = domain.tensor(torch.from_numpy(domain.select(domain.open(batch), index=2).example))
    assert chosen.condition.item() == domain.condition("truck").item() == 3


def test_names_are_looked_at_only_where_they_are_wanted_and_must_be_enough(batch: Path) -> None:
    names = batch.with_name("batches.meta.txt")
    nine = "\n".join(NAMES[:9]).encode() + b"\n\n"  # the empty line is no name
    for content, message in [(nine, "class 9; .* names 9"), (b"", "names 0"), (b"\xff\xfe", "names of classes")]:
        names.write_bytes(content)
        assert len(domain_of(batch).read(batch).examples) == 4
        with pytest.raises(DamagedFileError, match=message):
            domain_of(batch, labels=True)


@pytest.mark.parametrize("use", [read_cifar, cifar_shape, cifar_labels])
def test_what_is_no_whole_number_of_records_is_damaged(batch: Path, use: Callable[[Path], object]) -> None:
    whole = batch.read_bytes()
    for content, message in [
        (b"", "is empty"),
        (whole[:-1], "12,291 bytes are no whole number of records of 3,073"),
        (whole + b"\0", "no batch of CIFAR-10"),
        (b"hello", "is truncated"),
    ]:
        batch.write_bytes(content)
        with pytest.raises(DamagedFileError, match=message) as caught:
            use(batch)
        assert str(batch) in str(caught.value)
        assert "\n" not in str(caught.value)
    batch.unlink()
    with pytest.raises(MusicaeError, match="no such file") as missing:
        use(batch)
    assert not isinstance(missing.value, DamagedFileError)


def test_a_damaged_batch_does_not_decide_the_settings(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    first = folder / "data_batch_1.bin"
    first.write_bytes(first.read_bytes()[:100])
    domain = domain_of(first, folder / "data_batch_2.bin")
    assert domain.spec.shape == (3, 32, 32)
    report = load_dataset(domain, [folder]).report
    assert list(report.damaged) == ["set/data_batch_1.bin"]


def test_the_test_batch_is_the_test_split(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", training=10)
    dataset = load_dataset(domain_of(folder / "data_batch_1.bin"), [folder])
    tested = dataset.examples[dataset.splits["test"]]
    np.testing.assert_array_equal(pixels(tested).transpose(0, 2, 3, 1), noise(3))
    learned = np.sort(np.concatenate([dataset.splits["train"], dataset.splits["validation"]]))
    expected = np.concatenate([noise(10, number) for number in range(1, 6)])
    np.testing.assert_array_equal(pixels(dataset.examples[learned]).transpose(0, 2, 3, 1), expected)
    assert len(dataset.splits["validation"]) >= 1


def test_a_folder_above_the_batches_is_data(tmp_path: Path) -> None:
    """As the archive unpacks; what else lies there is not read."""
    folder = write_set(tmp_path / "mine" / "cifar-10-batches-bin")
    (folder / "readme.html").write_text("<html></html>")
    settings = {"labels": True, "steps": 2, "warmup_steps": 1}
    experiment = Experiment.resolve("image", data=[tmp_path / "mine"], settings=settings)
    assert experiment.domain.spec.shape == (3, 32, 32)
    assert experiment.domain.config.classes == NAMES
    counts = {split: len(rows) for split, rows in experiment.read().splits.items()}
    assert (counts["train"] + counts["validation"], counts["test"]) == (20, 3)


def test_a_format_is_known_by_the_whole_name() -> None:
    assert list(PICTURE_SETS) == ["idx", "cifar"]
    assert picture_set(Path("x/DATA_BATCH_5.BIN")) is PICTURE_SETS["cifar"]
    assert picture_set(Path("x/train-images-idx3-ubyte.gz")) is PICTURE_SETS["idx"]
    for name in ("data_batch_6.bin", "data_batch_1", "train.bin", "batches.meta.txt", "a.png"):
        assert picture_set(Path(name)) is None, name
    tested = [
        name for name in ("test_batch.bin", "data_batch_1.bin") if ImageDomain().official_split(Path(name)) == "test"
    ]
    assert tested == ["test_batch.bin"]
