"""Exporting: what is refused and how, weights in fewer bits, and networks of every type."""

import json
from importlib import util
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from tiny_models import untrained

from musicae.cli import main
from musicae.domains import domain_class
from musicae.errors import MusicaeError
from musicae.export import check
from musicae.export.formats import FORMATS
from musicae.export.graphs import graphs_of
from musicae.export.weights import is_stored_rounded, packed, rounded, unpacked
from musicae.models import MODELS
from musicae.trained import TrainedModel, load


def _command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)], prog_name="musicae")


@pytest.mark.parametrize("name", MODELS)
def test_the_graphs_of_every_network_take_batches_of_any_size(name):
    network, _ = untrained(name)
    graphs = graphs_of(network.eval())
    assert len(graphs) >= 1
    for graph in graphs:
        assert graph.meaning["does"]
        assert set(graph.state.values()) <= set(graph.inputs)
        assert set(graph.state) <= set(graph.outputs)
        for rows in (1, 3):
            inputs = [value[:1].expand(rows, *value.shape[1:]) for value in graph.inputs.values()]
            with torch.no_grad():
                found = graph.module(*inputs)
            outputs = found if isinstance(found, tuple) else (found,)
            assert len(outputs) == len(graph.outputs)
            assert all(len(output) % rows == 0 for output in outputs)


def test_a_trained_model_runs_in_pytorch_alone(image, tmp_path):
    exported = image.export(tmp_path / "out", format="torch-export")
    assert [path.name for path in exported.files] == ["decoder.pt2", "encoder.pt2", "card.json"]
    x = image.sample(3, seed=0).tensor
    z = torch.export.load(tmp_path / "out" / "encoder.pt2").module()(x)
    assert (z - image.encode(x)).abs().max() <= check.MOST_DIFFERENCE
    card = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    assert card["domain"] == "image"
    assert card["tensors"]["shape"] == [1, 8, 8]
    assert card == exported.card


def test_a_second_stage_draws_batches_of_any_size(tmp_path):
    trained = load("melody-2bar", "cpu")
    exported = trained.export(
        tmp_path, format="torch-export", parts=["draw"]
    )  # compared in batches of one and of three
    assert exported.card["graphs"]["draw"]["max_difference"] <= check.MOST_DIFFERENCE
    assert [port["name"] for port in exported.card["graphs"]["draw"]["inputs"]] == ["base", "condition", "label"]


def test_fewer_bits_are_smaller_and_the_card_states_what_they_cost(image, tmp_path):
    sizes = {}
    for precision in ("float32", "float16", "int8"):
        exported = image.export(tmp_path / precision, format="torch-export", precision=precision, parts=["decoder"])
        sizes[precision] = (tmp_path / precision / "decoder.pt2").stat().st_size
        assert exported.card["graphs"]["decoder"]["max_difference"] <= check.MOST_DIFFERENCE
        if precision == "float32":
            assert "score" not in exported.card
            continue
        score = exported.card["score"]
        assert score["measured_on"] == "starter data"
        assert score["float32"]["examples"] == score[precision]["examples"] > 0
        assert score[precision]["mse"] == pytest.approx(score["float32"]["mse"], rel=0.1)
        assert any("mse" in remark and precision in remark for remark in exported.remarks)
    assert sizes["int8"] < sizes["float16"] < sizes["float32"]


@pytest.mark.parametrize(("precision", "most"), [("float16", 1e-3), ("int8", 1 / 127)])
def test_weights_are_rounded_row_by_row(precision, most):
    weight = torch.randn(8, 512) * torch.logspace(-3, 3, 8)[:, None]
    weight[3] = 0
    back = unpacked(*packed(weight, precision))
    assert ((back - weight).abs() <= 0.51 * most * weight.abs().amax(1, keepdim=True)).all()
    assert not is_stored_rounded(torch.zeros(2000))
    layer = torch.nn.Linear(64, 64)
    assert torch.equal(rounded(layer, "float32").weight, layer.weight)
    once = rounded(layer, precision)
    assert torch.allclose(rounded(once, precision).weight, once.weight, atol=1e-7)
    assert not torch.equal(once.weight, layer.weight)


def _tiny() -> TrainedModel:
    network, manifest = untrained("mlp")
    cls = domain_class("image")
    return TrainedModel(network, cls(cls.Config(**manifest.domain_settings)), manifest, "cpu")


def test_files_that_differ_are_refused_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "MOST_DIFFERENCE", -1.0)
    with pytest.raises(MusicaeError, match=r"the exported encoder differs from PyTorch by .* nothing was written"):
        _tiny().export(tmp_path / "out", format="torch-export")
    assert not (tmp_path / "out").exists()
    assert [path for path in tmp_path.iterdir() if path.name != ".musicae-cache"] == []


def test_another_network_s_answer_is_found_to_differ():
    graph = graphs_of(_tiny().network)[0]
    with torch.no_grad():
        expected = graph.module

        def like(inputs, change=0.0):
            return [expected(*map(torch.from_numpy, inputs)).detach().numpy() + change]

        assert check.max_difference(graph, like) == 0
        assert check.max_difference(graph, lambda inputs: like(inputs, 1e-3)) == pytest.approx(1e-3, rel=0.1)
        assert check.max_difference(graph, lambda inputs: like(inputs, np.float32(np.nan))) == np.inf
        assert check.max_difference(graph, lambda inputs: [np.zeros((1, 1), np.float32)]) == np.inf
    with pytest.raises(MusicaeError, match="differs from PyTorch by inf"):
        check.refuse_difference("encoder", np.inf)


def test_without_the_packages_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    found = util.find_spec
    monkeypatch.setattr("musicae.export.formats.find_spec", lambda name: None if name == "onnxruntime" else found(name))
    result = _command("--model", "melody-2bar", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr == (
        'Error: to export to ONNX takes packages that are not installed; pip install "musicae[onnx]".\n'
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "melody-3bar"], "unknown model 'melody-3bar'. Did you mean 'melody-2bar'?"),
        (["--model", "melody-2bar", "--format", "tflite"], "Invalid value for '--format'"),
        (["--model", "melody-2bar", "--precision", "int4"], "Invalid value for '--precision'"),
        (
            ["--model", "denoise-48k", "--part", "encoder"],
            "this model has no part 'encoder' to export; it has restorer",
        ),
        (["--model", "melody-2bar", "--out", "a-file"], "a-file is a file; --out wants a folder"),
        ([], "Missing option '--model'"),
    ],
)
def test_what_cannot_be_exported_is_said_in_a_sentence(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a-file").write_text("text", encoding="utf-8")
    result = _command(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert not list(tmp_path.rglob("card.json"))


def test_formats_and_precisions_of_other_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown format 'tflite'"):
        _tiny().export(tmp_path, format="tflite")
    with pytest.raises(ValueError, match="unknown precision 'int4'"):
        _tiny().export(tmp_path, precision="int4")


def test_a_second_export_has_a_folder_of_its_own(tmp_path, monkeypatch, tiny_run):
    monkeypatch.chdir(tmp_path)
    model = tiny_run("image")
    arguments = ["--model", model, "--format", "torch-export", "--part", "decoder"]
    first, second = (_command(*arguments), _command(*arguments))
    assert first.exit_code == second.exit_code == 0, first.output + second.output
    name = Path(first.stdout.splitlines()[0]).parent.name
    assert Path(second.stdout.splitlines()[0]).parent.name == f"{name}-2"
    assert "decoder.pt2: " in first.stderr
    assert "of PyTorch" in first.stderr
    assert set(FORMATS) == {"onnx", "torch-export"}
    assert load(model, "cpu").name in json.loads((tmp_path / "output" / name / "card.json").read_text())["model"]
