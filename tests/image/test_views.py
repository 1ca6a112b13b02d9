"""The mean of what a restorer makes of several views of a picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import Tensor

from musicae.cli import main
from musicae.errors import MusicaeError
from musicae.evaluation.evaluate import evaluate_files
from musicae.image import tiles
from musicae.image.config import ImageConfig
from musicae.image.domain import ImageDomain
from musicae.image.picture import Picture
from musicae.image.views import mean_over_views
from musicae.models import build_model
from musicae.spec import Layout, TensorSpec
from musicae.trained import load
from musicae.training.experiment import Experiment


def pictures(height: int = 40, width: int = 70) -> Tensor:
    return torch.rand((2, 3, height, width), generator=torch.Generator().manual_seed(0))


def dihedral(x: Tensor) -> list[Tensor]:
    """All eight ways up of squares."""
    return [torch.rot90(each, quarters, (-2, -1)) for each in (x, x.flip(-1)) for quarters in range(4)]


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_what_changes_nothing_gives_the_picture_whatever_its_size(views: int):
    given = pictures()
    torch.testing.assert_close(mean_over_views(lambda x: x, given, views), given)


@pytest.mark.parametrize("views", [1, 2, 4, 8])
def test_each_view_is_another_way_up(views: int):
    given, seen = pictures(32, 32), list[Tensor]()

    def restore(x: Tensor) -> Tensor:
        seen.append(x)
        return x

    mean_over_views(restore, given, views)
    ways = dihedral(given)
    found = [next(number for number, way in enumerate(ways) if torch.equal(way, x)) for x in seen]
    assert len(found) == views
    assert sorted(set(found)) == sorted(found)
    assert found[0] == 0


def test_eight_views_are_a_mean_over_all_ways_up_and_back():
    given = pictures(32, 32)
    ramp = torch.linspace(0, 1, 32).square()

    def restore(x: Tensor) -> Tensor:
        return x * ramp + ramp[:, None] ** 3

    # Undone by hand: turned by -k quarters, and mirrored if it was.
    wanted = []
    for quarters in range(4):
        wanted.append(torch.rot90(restore(torch.rot90(given, quarters, (-2, -1))), -quarters, (-2, -1)))
        mirrored = restore(torch.rot90(given.flip(-1), quarters, (-2, -1)))
        wanted.append(torch.rot90(mirrored, -quarters, (-2, -1)).flip(-1))
    torch.testing.assert_close(mean_over_views(restore, given, 8), torch.stack(wanted).mean(0))


def test_tiles_of_the_mean_fit_without_seams(monkeypatch: pytest.MonkeyPatch):
    spec = TensorSpec(layout=Layout.GRID, shape=(3, 16, 16), likelihood="gaussian", correction="add")
    torch.manual_seed(0)
    network = build_model("unet", spec, {"widths": [8, 8], "latent_size": 4}).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 150, 210), dtype=np.uint8)

    @torch.no_grad()
    def restored(views: int) -> np.ndarray:
        answers = (
            (tile, mean_over_views(network.reconstruct, seen, views)) for tile, seen in tiles.cut(pixels, channels=3)
        )
        return tiles.join(answers, pixels.shape, pixels.dtype).astype(int)

    whole, one_view = restored(8), restored(1)
    monkeypatch.setattr(tiles, "TILE", 64)
    monkeypatch.setattr(tiles, "MARGIN", 32)
    assert np.abs(whole - restored(8)).max() <= 1
    assert np.abs(whole - one_view).mean() > 5


@pytest.fixture(scope="module")
def noisy() -> tuple[np.ndarray, Picture]:
    """A photograph, and it with noise."""
    from sklearn.datasets import load_sample_image

    pixels = load_sample_image("flower.jpg")[100:228, 200:360].copy()
    noise = 30 * np.random.default_rng(0).standard_normal(pixels.shape)
    return pixels, Picture.open((pixels + noise).round().clip(0, 255).astype(np.uint8))


def test_more_views_restore_a_photograph_better(noisy: tuple[np.ndarray, Picture]):
    pixels, given = noisy
    errors = []
    for views in (1, 2, 8):
        restored = load("photo-denoise", "cpu").with_settings(ensemble=views).denoise(given).array
        errors.append(float(np.square(restored.astype(float) - pixels).mean()))
    assert errors[1] < errors[0]
    assert errors[2] < 0.98 * errors[0]


def test_evaluate_scores_what_users_get(tmp_path: Path, noisy: tuple[np.ndarray, Picture]):
    Image.fromarray(noisy[0]).save(tmp_path / "a.png")
    model = load("photo-denoise", "cpu")
    one, eight = (
        evaluate_files(model, [tmp_path], split="all", settings={"ensemble": views})["psnr_db"] for views in (1, 8)
    )
    assert eight > one + 0.02


def test_a_model_that_learned_digits_the_right_way_up_takes_no_other_views():
    with pytest.raises(MusicaeError, match=r"set ensemble=1, or turned=true"):
        ImageDomain(ImageConfig(size=28, channels=1, turned=False, ensemble=2))
    with pytest.raises(ValueError, match="got 3"):
        mean_over_views(lambda x: x, pictures(), 3)


def test_a_restorer_can_be_trained_for_several_views(tmp_path: Path, noisy: tuple[np.ndarray, Picture]):
    Image.fromarray(noisy[0]).save(tmp_path / "a.png")
    for data in ([tmp_path], [noisy[1]]):
        resolved = Experiment.resolve("image", task="denoise", data=data, settings={"ensemble": 2, "size": 32})
        assert resolved.domain.config.turned is True
        assert resolved.domain.config.ensemble == 2


def test_commands_take_the_number_of_views(tmp_path: Path, noisy: tuple[np.ndarray, Picture]):
    Image.fromarray(noisy[1].array).save(tmp_path / "a.png")
    for command in ("denoise", "upscale"):
        results = []
        for views in ("1", "4"):
            out = str(tmp_path / f"{command}-{views}.png")
            done = CliRunner().invoke(main, [command, str(tmp_path / "a.png"), "--ensemble", views, "--out", out])
            assert done.exit_code == 0, done.output
            results.append(np.asarray(Image.open(out)).astype(int))
        assert 0 < np.abs(results[0] - results[1]).mean() < 5


def test_views_of_a_sound_are_refused(tmp_path: Path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(4800, np.float32), 48_000)
    done = CliRunner().invoke(main, ["denoise", str(tmp_path / "a.wav"), "--ensemble", "2"])
    assert done.exit_code == 2
    assert "leave --ensemble out" in done.output
