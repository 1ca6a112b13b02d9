"""Shipped models in ONNX Runtime: what the files give is what the model gives, also step by step and as a stream."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from musicae.audio.sound import Sound
from musicae.export.check import MOST_DIFFERENCE
from musicae.shipped import shipped_models
from musicae.starter import starter_file
from musicae.trained import TrainedModel, load

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx")
onnx = pytest.importorskip("onnx", reason="the extra onnx")

ROOT = Path(__file__).resolve().parents[2]
TO_PARTS = {"melody-2bar": ("encoder", "decoder", "step"), "denoise-live-48k": ("frame",)}
Run = Callable[..., list[np.ndarray]]


class Files:
    """Exported files, as a program without musicae opens them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        graphs = self.card["graphs"].items()
        self.sessions = {name: onnxruntime.InferenceSession(folder / graph["file"]) for name, graph in graphs}

    def __call__(self, part: str, **inputs: np.ndarray) -> list[np.ndarray]:
        """A part's outputs."""
        found: list[np.ndarray] = self.sessions[part].run(None, inputs)
        return found


def decode_step_by_step(run: Run, card: dict, **inputs: np.ndarray) -> np.ndarray:
    """Codes (or corrupted steps) → symbols without pads `(batch, steps, columns)`, as the card says."""
    tensors = card["tensors"]
    (features,) = run("decoder", **inputs)
    rows = len(features)
    symbols = np.tile(np.array(tensors["symbols_at_start"]), (rows, 1))
    shape = next(port["shape"] for port in card["graphs"]["step"]["inputs"] if port["name"] == "past")
    past, chosen = np.zeros((rows, *shape[1:]), np.float32), []
    for step in range(tensors["bar_steps"]):
        parameters, past = run("step", features=features[:, step], symbols=symbols, past=past)
        symbols = choose(parameters, tensors)
        chosen.append(symbols)
    return np.stack(chosen, 1).reshape(-1, tensors["bars"] * tensors["bar_steps"], symbols.shape[1])


def choose(parameters: np.ndarray, tensors: dict) -> np.ndarray:
    """Parameters of a step → the most probable symbols, and their values where the step decides on them too."""
    ranges = [stream["parameters"] for stream in tensors["streams"]]
    columns = [parameters[:, first:last].argmax(1) for first, last in ranges]
    if parameters.shape[1] > ranges[-1][1]:
        for place, value in enumerate(tensors["values"]):
            own = columns[value["stream"]]
            number = np.rint(value["middle"] + value["spread"] * parameters[:, ranges[-1][1] + place])
            applies = own >= value["least_symbol"] if value["bit"] is None else own >> value["bit"] & 1 == 1
            columns.append(np.where(applies, number.clip(0, value["levels"] - 1), 0).astype(np.int64))
    return np.stack(columns, 1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[TrainedModel, Files]]:
    """A function: a shipped model → itself and its files, those of `TO_PARTS`."""
    found: dict[str, tuple[TrainedModel, Files]] = {}

    def give(name: str) -> tuple[TrainedModel, Files]:
        if name not in found:
            folder = tmp_path_factory.mktemp("exported") / name
            trained = load(name, "cpu")
            trained.export(folder, parts=TO_PARTS[name])
            found[name] = trained, Files(folder)
        return found[name]

    return give


def _codes(trained: TrainedModel) -> torch.Tensor:
    return torch.cat([trained.encode(starter_file(name), bar=bar) for name, bar in (("a.mid", 1), ("b.mid", 3))])


def test_a_melody_is_encoded_as_in_pytorch(exported):
    trained, files = exported("melody-2bar")
    x = torch.cat([trained.tensor(starter_file(name)) for name in ("a.mid", "b.mid", "a.mid")])
    condition = trained.domain.condition_of(x)
    (found,) = files("encoder", x=x.numpy(), condition=condition.numpy())
    assert np.abs(found - trained.encode(x).numpy()).max() <= MOST_DIFFERENCE


def test_exported_files_give_the_stored_answers(exported):
    """Those that the model itself is held to, see test_stored_answers.py."""
    trained, files = exported("melody-2bar")
    x = torch.cat([trained.tensor(starter_file(name)) for name in ("a.mid", "b.mid")])
    (mean,) = files("encoder", x=x.numpy(), condition=trained.domain.condition_of(x).numpy())
    codes = mean[:1] + np.float32(0.3)
    decoded = decode_step_by_step(files, files.card, z=codes, condition=np.zeros((1, 36), np.int64))
    with np.load(ROOT / "tests" / "answers" / "melody-2bar.npz") as stored:
        flat = mean.reshape(-1)[:: max(1, -(-mean.size // 6000))]
        assert np.abs(flat - stored["mean"]).max() <= MOST_DIFFERENCE
        expected = stored["decoded"].reshape(1, 36, 1)
    is_note = expected < files.card["tensors"]["streams"][0]["symbols"]
    assert is_note.sum() == 2 * 16 and (decoded[is_note] == expected[is_note]).all()


def test_a_melody_decoded_step_by_step_is_that_of_the_model(exported):
    trained, files = exported("melody-2bar")
    z = _codes(trained)
    expected = trained.decode(z, time_signature="4/4").numpy()
    condition = np.zeros((len(z), 36), np.int64)
    found = decode_step_by_step(files, files.card, z=z.numpy(), condition=condition)
    is_note = expected < files.card["tensors"]["streams"][0]["symbols"]
    assert is_note.sum() == 2 * 2 * 16
    assert (found[is_note] == expected[is_note]).all()
    first_signature = files.card["tensors"]["meaning"]["time_signatures"][0]
    assert first_signature == {"name": "4/4", "class": 0, "steps_per_bar": 16}


@pytest.mark.parametrize("name", TO_PARTS)
def test_the_card_names_what_the_files_have(exported, name):
    _, files = exported(name)
    assert set(files.card["graphs"]) == set(TO_PARTS[name])
    for part, graph in files.card["graphs"].items():
        session = files.sessions[part]
        for ports, own in ((graph["inputs"], session.get_inputs()), (graph["outputs"], session.get_outputs())):
            assert [port["name"] for port in ports] == [each.name for each in own]
            assert [port["shape"][1:] for port in ports] == [each.shape[1:] for each in own]
            assert all(port["shape"][0].endswith("batch") for port in ports)
        assert [each.shape[0] for each in session.get_inputs()] == ["batch"] * len(graph["inputs"])
        assert 0 <= graph["max_difference"] <= MOST_DIFFERENCE


@pytest.mark.parametrize("name", TO_PARTS)
def test_files_have_standard_operators_and_say_nothing_of_where_they_were_made(exported, name):
    _, files = exported(name)
    for path in files.folder.glob("*.onnx"):
        model = onnx.load(path)
        assert {(entry.domain, entry.version <= 21) for entry in model.opset_import} == {("", True)}
        assert all(node.domain == "" and not node.metadata_props for node in model.graph.node)
        assert str(ROOT).encode() not in path.read_bytes()
        assert b"site-packages" not in path.read_bytes()
    assert (files.folder / "MODEL.md").is_file()


def test_the_live_denoiser_frame_by_frame_is_the_stream(exported):
    trained, files = exported("denoise-live-48k")
    samples = Sound.open(starter_file("noisy.wav")).resample(16_000).samples[:16_000]
    state = {
        port["name"]: np.zeros((1, *port["shape"][1:]), np.float32)
        for port in files.card["graphs"]["frame"]["inputs"][1:]
    }

    def mask(magnitude: np.ndarray) -> np.ndarray:
        masks = []
        for frame in magnitude.T:
            factors, *after = files("frame", magnitude=frame[None], **state)
            state.update(zip(state, after, strict=True))
            masks.append(factors[0])
        return np.stack(masks, 1)

    stream = trained.domain.open_stream(mask, channels=1)
    found = np.concatenate([*(stream.push(block[:, None]) for block in _blocks(samples)), stream.finish()])[:, 0]
    expected = np.concatenate(list(trained.stream(_blocks(samples))))
    assert len(found) == len(expected) == 16_000
    assert np.abs(found - expected).max() <= MOST_DIFFERENCE
    assert np.abs(expected - samples).max() > 0.01
    streaming = files.card["streaming"]
    assert streaming["delay_s"] == pytest.approx(trained.stream([]).latency_s)
    assert 0 < streaming["real_time_factor"] < 1


def _blocks(samples: np.ndarray) -> Sequence[np.ndarray]:
    return np.array_split(samples, 7)


def test_the_example_morphs_without_torch_and_without_musicae(exported):
    _, files = exported("melody-2bar")
    example = ROOT / "notebooks" / "run_exported.py"
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 60
    code = f"import runpy, sys; sys.argv = ['', {str(files.folder)!r}]; runpy.run_path({str(example)!r});"
    code += "print([name for name in ('torch', 'musicae') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    *lines, loaded = result.stdout.splitlines()
    assert loaded == "[]"
    assert lines[0] == "0.00 E4 E4 F4 G4 G4 F4 E4 D4"
    assert [line.split()[0] for line in lines] == ["0.00", "0.25", "0.50", "0.75", "1.00"]
    assert len(lines[-1].split()) == 1 + 16


def test_every_shipped_model_decodes_by_its_parts_as_it_does_as_a_whole():
    """The modules that become files, called in a loop as the card says; no file is written."""
    from musicae.export.card import describe_graph, describe_tensors
    from musicae.export.graphs import graphs_of

    decoded = []
    for name in shipped_models():
        trained = load(name, "cpu")
        graphs = {graph.name: graph for graph in graphs_of(trained.network)}
        described = {part: describe_graph(graph, part) for part, graph in graphs.items()}
        card = {"graphs": described, "tensors": describe_tensors(trained.network, trained.domain)}
        assert json.loads(json.dumps(card)) == card
        if "step" not in graphs:
            continue

        def run(part: str, graphs=graphs, **inputs: np.ndarray) -> list[np.ndarray]:
            with torch.no_grad():
                found = graphs[part].module(*(torch.from_numpy(value) for value in inputs.values()))
            return [value.numpy() for value in (found if isinstance(found, tuple) else (found,))]

        inputs = {name: value.numpy() for name, value in graphs["decoder"].inputs.items()}
        network = trained.network
        given = {name: torch.from_numpy(value) for name, value in inputs.items()}
        with torch.no_grad():
            expected = network.reconstruct(**given) if network.restores else network.decode(given.pop("z"), **given)
        found = decode_step_by_step(run, card, **inputs)
        expected = expected.numpy()[..., : found.shape[2]]
        exists = expected < np.array(network.spec.symbols[: found.shape[2]]) - len(network.spec.segment_steps)
        exists |= not network.spec.segment_steps
        assert (found[exists] == expected[exists]).all(), name
        decoded.append(name)
    assert decoded == ["drums-2bar", "drums-2bar-tap", "melody-16bar", "melody-2bar", "trio-2bar"]


@pytest.mark.parametrize("name", sorted(set(shipped_models()) - set(TO_PARTS)))
def test_what_decodes_or_restores_is_as_in_pytorch_for_every_other_shipped_model(name, tmp_path):
    trained = load(name, "cpu")
    part = "decoder" if trained.domain.name == "music" or not trained.network.restores else "restorer"
    graphs = trained.export(tmp_path, parts=[part]).card["graphs"]
    assert graphs[part]["max_difference"] <= MOST_DIFFERENCE


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", shipped_models())
def test_every_part_of_every_shipped_model_is_as_in_pytorch(name, tmp_path):
    exported = load(name, "cpu").export(tmp_path)
    graphs = exported.card["graphs"]
    assert graphs
    assert all(graph["max_difference"] <= MOST_DIFFERENCE for graph in graphs.values())
