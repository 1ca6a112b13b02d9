"""Classes of pictures: found, stored, given to a model, and asked for."""

import gzip
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from musicae.data.dataset import load_dataset
from musicae.domain import NO_LABEL
from musicae.errors import DamagedFileError, MusicaeError
from musicae.image.config import ImageConfig
from musicae.image.domain import ImageDomain
from musicae.image.picture import Picture
from musicae.image.sets import digits as starter_digits
from musicae.image.sets import find_classes, idx_labels
from musicae.models import build_model
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment


def write_idx(folder: Path, labels: list[int], name: str = "train") -> Path:
    pictures = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    path = folder / f"{name}-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(struct.pack(">4I", 0x803, *pictures.shape) + pictures.tobytes()))
    content = struct.pack(">2I", 0x801, len(labels)) + bytes(labels)
    (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    return path


def labelled(*classes: str) -> ImageDomain:
    return ImageDomain(ImageConfig(size=8, channels=1, labels=True, classes=classes))


def test_an_idx_file_has_the_labels_beside_it(tmp_path: Path) -> None:
    path = write_idx(tmp_path, [3, 1, 10, 3])
    assert find_classes([path], required=True) == ("1", "3", "10")
    domain = labelled("1", "3", "10")
    reading = domain.read(path)
    assert reading.examples.shape == (4, 1, 9, 8)
    batch = domain.tensor(torch.from_numpy(reading.examples))
    assert batch.condition is not None
    assert batch.condition.flatten().tolist() == [2, 1, 3, 2]
    assert batch.target.shape == (4, 1, 8, 8)
    selection = domain.select(domain.open(path), index=2)
    assert domain.tensor(torch.from_numpy(selection.example)).condition.item() == 3
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(b"no labels at all")
    with pytest.raises(DamagedFileError, match="holds no IDX labels"):
        idx_labels(path)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    assert domain.tensor(torch.from_numpy(domain.read(path).examples)).condition.tolist() == [[0]] * 4


def test_labels_must_be_as_many_as_pictures_where_they_are_wanted(tmp_path: Path) -> None:
    path = write_idx(tmp_path, [3, 1, 10, 3])
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(struct.pack(">2I", 0x801, 3) + bytes([3, 1, 10])))
    plain, domain = ImageDomain(ImageConfig(size=8, channels=1, classes=())), labelled("1", "3", "10")
    assert plain.read(path).examples.shape == (4, 1, 8, 8)
    assert plain.select(plain.open(path), index=3).example.shape == (1, 1, 8, 8)
    with_classes = ImageDomain(ImageConfig(size=8, channels=1, classes=("1", "3", "10")))
    stored = torch.from_numpy(with_classes.read(path).examples)
    assert with_classes.labels(stored) == {"label": [NO_LABEL] * 4}
    assert with_classes.tensor(stored).condition is None
    assert find_classes([path], required=False) == ()
    for use in (domain.read, lambda path: domain.select(domain.open(path))):
        with pytest.raises(DamagedFileError, match="holds 4 pictures, and the file beside it 3 labels"):
            use(path)
    shouted = path.rename(tmp_path / "TRAIN-IMAGES-IDX3-UBYTE.GZ")
    assert plain.read(shouted).examples.shape == (4, 1, 8, 8)
    labels.unlink()
    write_idx(tmp_path, [3, 1, 10, 3])
    assert find_classes([shouted], required=True) == ("1", "3", "10")


def test_a_picture_is_the_same_whatever_it_is_labelled_with() -> None:
    domain = labelled("a", "b")
    stored = np.random.default_rng(0).integers(0, 256, (2, 1, 9, 8), dtype=np.uint8)
    stored[1, :, :8] = stored[0, :, :8]
    stored[:, :, 8] = 0
    stored[:, 0, 8, 0] = (1, 2)
    first, second = domain.identity(stored)
    assert first == second


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / name / "a.png")
    files = sorted(tmp_path.rglob("*.png"))
    config = ImageDomain.configure(ImageConfig(labels=True), files)
    assert config.classes == ("cats", "dogs")
    domain = ImageDomain(config)
    assert domain.spec.condition == (1, 3)
    given = [domain.tensor(torch.from_numpy(domain.read(path).examples)).condition.item() for path in files]
    assert given == [1, 2]
    assert domain.condition("dogs").tolist() == [[2]]
    without = ImageDomain(ImageDomain.configure(ImageConfig(), files))
    assert without.spec.condition is None
    assert without.labels(torch.from_numpy(without.read(files[1]).examples)) == {"label": ["dogs"]}
    assert ImageDomain.configure(ImageConfig(), files[:1]).classes == ()
    with pytest.raises(MusicaeError, match="unknown label 'dog'"):
        domain.condition("dog")
    with pytest.raises(MusicaeError, match="needs 2 to 255 classes, and the data has 1"):
        ImageDomain.configure(ImageConfig(labels=True), files[:1])


def test_some_are_left_out_in_training_and_none_in_use() -> None:
    domain = ImageDomain(ImageConfig(labels=True))
    pictures, labels = starter_digits()
    stored = torch.from_numpy(domain.array_examples(pictures, [str(label) for label in labels]))
    assert (domain.tensor(stored).condition > 0).all()
    given = domain.tensor(stored, torch.Generator().manual_seed(0)).condition
    assert (given == 0).float().mean().item() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("name", ["conv", "mlp"])
def test_a_class_reaches_encoder_and_decoder_and_none_is_class_zero(name: str) -> None:
    spec = labelled("a", "b").spec
    torch.manual_seed(0)
    model = build_model(name, spec, {"latent_size": 4}).eval()
    x, a, b = torch.rand(2, 1, 8, 8), torch.full((2, 1), 1), torch.full((2, 1), 2)
    assert not torch.allclose(model.encode(x, a).mean, model.encode(x, b).mean)
    z = torch.randn(2, 4)
    assert not torch.allclose(model.decode(z, condition=a), model.decode(z, condition=b))
    assert torch.equal(model.decode(z), model.decode(z, condition=torch.zeros(2, 1, dtype=torch.int64)))


def test_a_restorer_takes_no_labels() -> None:
    with pytest.raises(ValueError, match="labels"):
        spec = replace(labelled("a", "b").spec, likelihood="gaussian")
        build_model("unet", spec, {})


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """A conditional VAE of the starter digits."""
    settings = {"labels": True, "steps": 150, "evaluate_every": 150, "latent_size": 4, "width": 128, "precision": "no"}
    experiment = Experiment.resolve("image", model="mlp", settings={**settings, "learning_rate": 5e-3})
    return load(experiment.run(tmp_path_factory.mktemp("digits"), experiment.read()), "cpu")


def test_what_is_asked_for_is_drawn(digits: TrainedModel) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    dataset = load_dataset(digits.domain, [])
    train = digits.domain.tensor(torch.from_numpy(np.array(dataset.examples[dataset.splits["train"]])))
    judge = KNeighborsClassifier(3).fit(train.target.flatten(1), train.condition.flatten())
    agreed = []
    for number in range(10):
        drawn = digits.sample(40, seed=number, label=str(number)).tensor
        agreed.append((judge.predict(drawn.flatten(1)) == number + 1).mean())
    assert np.mean(agreed) > 0.8, agreed
    with pytest.raises(MusicaeError, match="unknown label 'x'"):
        digits.sample(1, label="x")
    with pytest.raises(ValueError, match="not both"):
        digits.sample(1, label="1", chords="C")


def test_a_picture_takes_another_class(digits: TrainedModel) -> None:
    (three,) = digits.sample(1, seed=0, label="3")
    assert isinstance(three, Picture)
    three_again, eight = (digits.reconstruct(three, label=label).array.astype(int) for label in "38")
    assert np.abs(three_again - eight).mean() > 5


def test_a_model_without_labels_says_how_to_get_one(tiny_run) -> None:
    with pytest.raises(MusicaeError, match="labels=true"):
        load(tiny_run("image"), "cpu").sample(1, label="7")


def test_a_map_of_pictures_is_coloured_by_their_labels(tiny_run, tmp_path: Path) -> None:
    for label in "37":
        (tmp_path / "digits" / label).mkdir(parents=True)
        for number in range(3):
            Image.new("L", (8, 8), 40 * int(label) - number).save(tmp_path / "digits" / label / f"{number}.png")
    model = load(tiny_run("image"), "cpu")
    shown = model.embed(tmp_path / "digits")
    assert (shown.colour, shown.colours) == ("label", ["3"] * 3 + ["7"] * 3)
    assert np.asarray(shown.plot()).std() > 5
    labels = write_idx(tmp_path, [3, 1, 4])
    assert model.embed(labels, method="latent").colours == ["3", "1", "4"]
    assert model.embed(labels, colour="file").colour == "file"


def test_pictures_of_classes_that_the_model_never_had_are_coloured_by_folder(tiny_run, tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.new("L", (8, 8), 40 * len(name)).save(tmp_path / "pets" / name / "a.png")
    shown = load(tiny_run("image"), "cpu").embed(tmp_path / "pets")
    assert shown.colour == "folder"
    assert {folder.rpartition("/")[2] for folder in shown.colours} == {"cats", "dogs"}


def test_labels_that_change_are_read_anew(tmp_path: Path) -> None:
    write_idx(tmp_path, [3, 1] * 10)
    domain = labelled("1", "3")
    before = load_dataset(domain, [tmp_path])
    assert load_dataset(domain, [tmp_path]).fingerprint == before.fingerprint
    write_idx(tmp_path, [1, 1, 3, 3] * 5)
    after = load_dataset(domain, [tmp_path])
    assert after.fingerprint != before.fingerprint
    assert domain.labels(torch.from_numpy(np.array(after.examples[:4])))["label"] == ["1", "1", "3", "3"]


def test_no_classes_and_a_model_that_takes_them_means_that_they_are_looked_for() -> None:
    assert len(ImageDomain(ImageConfig(labels=True, classes=())).classes) == 10


def test_a_grid_shows_what_lies_where(tmp_path: Path, tiny_run) -> None:
    settings = {"steps": 60, "evaluate_every": 60, "latent_size": 2, "width": 64, "precision": "no", "labels": True}
    experiment = Experiment.resolve("image", model="mlp", settings=settings)
    model = load(experiment.run(tmp_path / "run", experiment.read()), "cpu")
    square = model.grid(3, label="5")
    assert (len(square), square.tensor.shape) == (3, (3, 3, 1, 8, 8))
    drawn = square.plot()
    assert np.asarray(drawn).std() > 10
    assert drawn.width > 300
    whole = square.save(tmp_path / "grid")
    assert whole.name == "grid.png"
    assert sorted(path.name for path in whole.parent.iterdir()) == [
        *(f"column-0{n}.png" for n in (1, 2, 3)),
        whole.name,
    ]
    assert load(tiny_run("image"), "cpu").grid(3).tensor.shape == (3, 4, 1, 8, 8)  # a row for each of four numbers
    with pytest.raises(MusicaeError, match="restores"):
        load(tiny_run("audio"), "cpu").grid(3)
