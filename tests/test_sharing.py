"""Models on the Hugging Face Hub: pushed, loaded, pulled, and refused, with a stand-in for the Hub on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from hub_server import TOKEN, USER, Hub, Repository, serving
from safetensors.torch import load_file
from tiny_models import untrained

import musicae
from musicae.cli import main
from musicae.errors import CheckpointError, MusicaeError
from musicae.hub import MOST_BYTES, HubPlace, fetch
from musicae.sharing import licence_in, pull, push
from musicae.shipped import MANIFEST, PRETRAINED, WEIGHTS, find_model, shipped_models
from musicae.trained import TrainedModel, load
from musicae.training.checkpoint import read_manifest, save_checkpoint

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")

# huggingface_hub itself gives httpx2 the content of an upload by a former name.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
NAME = f"hf://{USER}/tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The stand-in; huggingface_hub asks it, with the token of the tests, and has a cache of the test's own."""
    home = tmp_path / "hf-home"
    with serving() as served:
        settings = {
            "ENDPOINT": served.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": served.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_URL_HOSTS": frozenset({"127.0.0.1"}),
            "HF_HOME": str(home),
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_STORED_TOKENS_PATH": str(home / "stored_tokens"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_TELEMETRY": True,
        }
        for name, value in settings.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        monkeypatch.chdir(tmp_path)
        yield served
        huggingface_hub.close_session()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A small untrained model's folder."""
    save_checkpoint(tmp_path / "made", *untrained())
    return tmp_path / "made"


def files_of(hub: Hub, name: str = f"{USER}/tiny", revision: str = "main") -> dict[str, bytes]:
    """The files of a repository."""
    repository = hub.repositories[name]
    commit = repository.at(revision)
    assert commit is not None
    return repository.commits[commit]


def hold(hub: Hub, checkpoint: Path, **changed: bytes | None) -> Repository:
    """Makes a repository of a checkpoint's files, some of them changed or left out (None), by `_` for `.`."""
    files = {name: (checkpoint / name).read_bytes() for name in (MANIFEST, WEIGHTS)}
    for name, content in changed.items():
        files.pop(name.replace("_", "."), None)
        if content is not None:
            files[name.replace("_", ".")] = content
    repository = hub.repositories[f"{USER}/tiny"] = Repository()
    repository.commit(files)
    return repository


def command(*arguments: object, code: int = 0) -> Result:
    """Runs a command, checks its exit code, and that it doesn't show the token."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert TOKEN not in result.output
    return result


def refused(call: Callable[[], object], said: str) -> str:
    """The one sentence that a call is refused with."""
    with pytest.raises(MusicaeError, match=said) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".")
    assert TOKEN not in text
    return text


def same_answers(one: TrainedModel, other: TrainedModel) -> bool:
    return all(torch.equal(value, other.network.state_dict()[name]) for name, value in one.network.state_dict().items())


# Push and load


def test_a_run_is_pushed_as_it_is_and_answers_the_same(hub: Hub, tiny_run: Callable[[str], Path]) -> None:
    run = tiny_run("image")
    best = find_model(str(run))
    pushed = push(run, NAME, licence="CC BY 4.0", data_licence="CC0")
    assert pushed.model == f"{NAME}@{hub.repositories[f'{USER}/tiny'].branches['main']}"
    files = files_of(hub)
    assert files[WEIGHTS] == (best / WEIGHTS).read_bytes()
    assert set(files) == {
        ".gitattributes",
        "README.md",
        *(path.name for path in best.iterdir() if path.name in MOST_BYTES),
    }
    here, there = load(run, "cpu"), load(NAME, "cpu")
    assert same_answers(here, there)
    assert repr(there) == f"<TrainedModel {USER}/tiny: image, reconstruct, model mlp>"
    assert torch.equal(*(model.decode(torch.full((1, 4), 0.2)) for model in (here, there)))
    assert here.domain.config == there.domain.config


def test_the_card_has_metadata_for_the_hub_scores_and_usage(hub: Hub, tiny_run: Callable[[str], Path]) -> None:
    run = tiny_run("image")
    push(run, NAME, licence="MIT", data_licence="scikit-learn's digits, CC BY 4.0.")
    text = files_of(hub)["README.md"].decode()
    card = huggingface_hub.ModelCard(text)
    assert (card.data.license, card.data.library_name) == ("mit", "musicae")
    assert card.data.tags == ["autoencoder", "image", "reconstruct", "mlp"]
    metrics = read_manifest(find_model(str(run))).metrics
    assert len(metrics) >= 3
    assert all(f"| {name} | {value:.4g} |" in text for name, value in metrics.items())
    assert f'musicae.load("{NAME}")' in text and f"musicae reconstruct example.png --model {NAME}" in text
    assert "The weights: mit.\n\nThe data: scikit-learn's digits, CC BY 4.0.\n" in text
    assert licence_in(text) == "mit"


def test_what_only_says_something_of_the_machine_is_not_pushed(hub: Hub, tmp_path: Path) -> None:
    model, manifest = untrained()
    at = {"paths": ["/home/somebody/secret/tunes", "C:\\Users\\somebody\\songs"], "in_memory": 3}
    settings = {**manifest.domain_settings, "noise": ["/home/somebody/secret/room"], "time_signature": "4/4"}
    environments = ({"command": ["musicae", "--data", "/home/somebody/secret"], "device": "cpu"},)
    changed = {"data": at, "domain_settings": settings, "environments": environments}
    save_checkpoint(tmp_path / "made", model, manifest.model_copy(update=changed))
    push(tmp_path / "made", NAME)
    stored = json.loads(files_of(hub)[MANIFEST])
    assert stored["data"] == {"paths": [], "in_memory": 3, "sets": ["tunes", "songs"]}
    assert stored["domain_settings"]["noise"] == ["room"]
    assert stored["domain_settings"]["time_signature"] == "4/4"
    assert stored["environments"] == [{"device": "cpu"}]
    assert not [name for name, content in files_of(hub).items() if b"/home" in content or b"Users" in content]


@pytest.mark.parametrize("name", ["melody-16bar", "upscale-48k"])
def test_a_shipped_model_is_pushed_whole_and_loads_where_no_other_is_shipped(
    name: str, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = load(name, "cpu")
    push(name, NAME)
    text = files_of(hub)["README.md"].decode()
    assert huggingface_hub.ModelCard(text).data.license == licence_in(
        (PRETRAINED / name / "README.md").read_text("utf-8")
    )
    assert (PRETRAINED / name / "README.md").read_text("utf-8").strip() in text
    monkeypatch.setattr("musicae.training.checkpoint.PRETRAINED", tmp_path / "nothing is shipped")
    there = load(NAME, "cpu")
    assert there.manifest.shares is None
    assert same_answers(here, there)
    assert len(files_of(hub)[WEIGHTS]) < 12e6  # in as few bits as it is shipped with
    assert (there.attribute_vectors is None) == (here.attribute_vectors is None)
    pulled = pull(NAME, tmp_path / "pulled")
    assert same_answers(load(pulled, "cpu"), there)
    assert (pulled / "README.md").read_text("utf-8") == text


def test_every_shipped_model_has_a_licence_that_the_hub_knows() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "licences.md").read_text("utf-8")
    assert len(shipped_models()) >= 9
    for name in shipped_models():
        licence = licence_in((PRETRAINED / name / "README.md").read_text("utf-8"))
        assert licence in ("mit", "cc-by-4.0", "cc-by-sa-4.0"), name
        stated = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert stated.split("|")[2].strip().lower().replace(" ", "-") == licence


def test_a_model_that_was_loaded_is_pushed_and_one_in_memory_is_not(hub: Hub, checkpoint: Path) -> None:
    model = load(checkpoint, "cpu")
    assert same_answers(load(musicae.push(model, NAME).model, "cpu"), model)
    with pytest.raises(ValueError, match="lies in no folder"):
        push(TrainedModel(model.network, model.domain, model.manifest, "cpu"), NAME)


def test_a_card_of_ones_own_and_its_licence_stay(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    own = "---\nlicense: cc-by-sa-4.0\nlibrary_name: musicae\n---\n# Mine\n"
    (checkpoint / "README.md").write_text(own, encoding="utf-8")
    push(checkpoint, NAME)
    assert files_of(hub)["README.md"].decode() == own
    push(NAME, f"hf://{USER}/again")
    assert files_of(hub, f"{USER}/again")["README.md"].decode() == own
    refused(lambda: push(checkpoint, NAME, licence="mit"), "the licence of the weights is cc-by-sa-4.0")
    refused(lambda: push("melody-2bar", NAME, licence="apache-2.0"), "the licence of the weights is mit")


def test_licences_are_added_to_a_card_that_states_none(hub: Hub, checkpoint: Path) -> None:
    push(checkpoint, NAME)
    first = files_of(hub)["README.md"].decode()
    assert huggingface_hub.ModelCard(first).data.license is None
    assert "The weights: no licence is stated.\n\nThe data: no licence is stated.\n" in first
    push(NAME, f"hf://{USER}/again", licence="cc0-1.0", data_licence="my own, CC0")
    again = files_of(hub, f"{USER}/again")["README.md"].decode()
    assert huggingface_hub.ModelCard(again).data.license == licence_in(again) == "cc0-1.0"
    assert again.endswith("The weights: cc0-1.0.\n\nThe data: my own, CC0.\n")
    assert "no licence is stated" not in again
    push("upscale-48k", NAME, data_licence="see above")
    assert files_of(hub)["README.md"].decode().endswith("\n\nThe data: see above.\n")


def test_a_second_push_is_a_commit_and_leaves_nothing_of_another_model(hub: Hub, checkpoint: Path) -> None:
    (checkpoint / "attributes.safetensors").write_bytes(b"of another model")
    first = push(checkpoint, NAME, message="the first")
    hub.repositories[f"{USER}/tiny"].commits[first.model.partition("@")[2]]["picture.png"] = b"theirs"
    (checkpoint / "attributes.safetensors").unlink()
    push(checkpoint, NAME)
    assert set(files_of(hub)) == {".gitattributes", WEIGHTS, MANIFEST, "README.md", "picture.png"}
    assert hub.repositories[f"{USER}/tiny"].messages[1] == "the first"
    assert len(hub.repositories[f"{USER}/tiny"].messages) == 3


def test_private_is_private_and_nothing_goes_to_a_public_repository(hub: Hub, checkpoint: Path) -> None:
    command("push", checkpoint, NAME, "--private")
    assert hub.repositories[f"{USER}/tiny"].private
    hub.repositories[f"{USER}/tiny"].private = False
    hub.requests.clear()
    refused(lambda: push(checkpoint, NAME, private=True), "is there already, and public")
    assert not hub.asked("PUT")


# Load and pull


def test_a_revision_is_a_branch_or_a_commit(hub: Hub, tmp_path: Path) -> None:
    for number in (1, 2):
        torch.manual_seed(number)
        save_checkpoint(tmp_path / str(number), *untrained())
    old = push(tmp_path / "1", f"{NAME}@first")
    push(tmp_path / "2", NAME)
    first, second = (load(tmp_path / str(number), "cpu") for number in (1, 2))
    assert same_answers(load(f"{NAME}@first", "cpu"), first)
    assert same_answers(load(NAME, "cpu"), second)
    assert same_answers(load(old.model, "cpu"), first)
    assert not same_answers(first, second)
    refused(lambda: load(f"{NAME}@third"), "has no revision third")


def test_what_was_fetched_loads_without_a_network(hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = load(checkpoint, "cpu")
    commit = push(checkpoint, NAME).model
    hub.down = 503
    refused(lambda: load(NAME), "the Hub gives no answer .*is not in its cache; check the network")
    hub.down = 0
    load(NAME, "cpu")
    hub.down = 503
    assert same_answers(load(NAME, "cpu"), here)
    hub.requests.clear()
    assert same_answers(load(commit, "cpu"), here)
    assert {path.rpartition("/")[2] for path in hub.asked("HEAD")} <= {"attributes.safetensors", "README.md"}
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:1/{repo_id}/resolve/{revision}/{filename}",
    )
    assert same_answers(load(NAME, "cpu"), here)
    refused(lambda: load(f"hf://{USER}/other"), "the Hub gives no answer .*is not in its cache; check the network")
    refused(lambda: push(checkpoint, NAME), r"the Hub gives no answer \(.*\); check the network")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    assert same_answers(load(NAME, "cpu"), here)
    refused(lambda: load(f"hf://{USER}/other"), "HF_HUB_OFFLINE")


def test_a_change_on_the_hub_is_noticed(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    push(checkpoint, NAME)
    load(NAME, "cpu")
    hub.requests.clear()
    load(NAME, "cpu")
    assert hub.asked("GET") == []
    torch.manual_seed(5)
    save_checkpoint(tmp_path / "other", *untrained())
    push(tmp_path / "other", NAME)
    assert same_answers(load(NAME, "cpu"), load(tmp_path / "other", "cpu"))


def test_only_the_files_of_a_model_are_asked_for(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    hold(hub, checkpoint, pytorch_model_bin=b"a pickle", train_py=b"import os")
    load(NAME, "cpu")
    out = pull(NAME, tmp_path / "out")
    assert sorted(path.name for path in out.iterdir()) == [MANIFEST, WEIGHTS]
    asked = {path.rpartition("/")[2] for path in hub.asked("HEAD") + hub.asked("GET") if "/resolve/" in path}
    assert asked == set(MOST_BYTES)


def test_pull_replaces_a_model_and_leaves_other_files(hub: Hub, checkpoint: Path, tmp_path: Path) -> None:
    hold(hub, checkpoint)
    out = tmp_path / "out"
    out.mkdir()
    for name in ("attributes.safetensors", MANIFEST, "notes.txt"):
        (out / name).write_text("of another", encoding="utf-8")
    assert command("pull", NAME, "--out", out).stdout.split() == [f"{out}-2"]
    command("pull", NAME, "--out", out, "--force")
    assert sorted(path.name for path in out.iterdir()) == [MANIFEST, WEIGHTS, "notes.txt"]
    assert not any(path.is_symlink() for path in out.iterdir())
    assert load(out, "cpu")
    assert command("pull", NAME).stdout.split() == ["runs/tiny"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}", encoding="utf-8")
    refused(lambda: pull(NAME, tmp_path / "run"), "is the folder of a run")


def test_a_model_of_the_hub_serves_every_command_and_to_start_from(hub: Hub, tiny_run: Callable[[str], Path]) -> None:
    push(tiny_run("image"), NAME, licence="mit")
    hub.requests.clear()
    arguments = ["--count", 2, "--seed", 1, "--out"]
    (drawn,) = command("sample", "--model", NAME, *arguments, "there").stdout.split()[:1]
    (again,) = command("sample", "--model", tiny_run("image"), *arguments, "here").stdout.split()[:1]
    assert Path(drawn).read_bytes() == Path(again).read_bytes()
    # The model is looked up once: its size, then the file.
    assert len([path for path in hub.asked("HEAD") if path.endswith(MANIFEST)]) == 2
    model = musicae.train("image", start_from=NAME, steps=2, out="tuned", warmup_steps=1, batch_size=8)
    assert model.manifest.training["start_from"] == NAME
    push(model, f"hf://{USER}/tuned")
    assert f"It started from the weights of `{NAME}`." in files_of(hub, f"{USER}/tuned")["README.md"].decode()


# What is refused


NO_NAMES = (
    *("", "tiny", "a/b/c", "a/..", "../b", "-a/b", "a/b--c", "a/b.git", "a b/c", "a/" + "b" * 95),
    *("a/b@", "a/b@../../etc", "a/b@x//y", "a/b@-x", "a/b@x y"),
)


@pytest.mark.parametrize("name", [f"hf://{name}" for name in NO_NAMES])
def test_what_is_no_name_of_a_repository_is_refused_before_anything_is_asked(
    name: str, hub: Hub, checkpoint: Path
) -> None:
    for call in (lambda: load(name), lambda: pull(name, Path("out")), lambda: push(checkpoint, name)):
        refused(call, "names no re")
    assert hub.requests == []
    assert command("pull", name, code=2).output.startswith("Error: ")


def test_a_name_is_read_as_it_is_written_or_as_a_path() -> None:
    place = HubPlace("somebody/tiny", "refs/pr/3")
    for text in (str(place), str(Path(str(place))), "hf:\\somebody\\tiny@refs/pr/3"):
        assert HubPlace.read(text) == place
    assert str(HubPlace.read("hf://somebody/tiny")) == "hf://somebody/tiny"


def test_who_may_not_read_or_write_is_told_so_and_the_token_is_not_shown(
    hub: Hub, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = hold(hub, checkpoint)
    refused(lambda: load(f"hf://{USER}/nothing"), f"there is no repository hf://{USER}/nothing, or it is private")
    refused(lambda: push(checkpoint, "hf://other/tiny"), "the token may not write to hf://other/tiny")
    hub.gated.add(f"{USER}/tiny")
    refused(lambda: load(NAME), "is given to those who accept its terms")
    hub.gated.clear()
    monkeypatch.delenv("HF_TOKEN")
    repository.private = True
    refused(lambda: load(NAME), "or it is private and may not be read without a token")
    refused(lambda: push(checkpoint, NAME), "needs a token with the right to write: give --token")
    assert command("pull", NAME, "--token", TOKEN).stdout.split() == ["runs/tiny"]
    wrong = f"{TOKEN}-not"
    for arguments in (["pull", NAME], ["push", checkpoint, NAME]):
        assert wrong not in command(*arguments, "--token", wrong, code=2).output
        for broken in (f"{TOKEN} x", f"{TOKEN}\x01", ""):
            said = command(*arguments, "--token", broken, code=2).output
            assert "the token is empty or holds spaces" in said
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}\x01")
    refused(lambda: load(NAME), "the token is empty or holds spaces")


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS, "attributes.safetensors", "README.md"])
def test_a_file_that_is_too_large_is_not_fetched(name: str, hub: Hub, checkpoint: Path) -> None:
    hold(
        hub,
        checkpoint,
        **{name.replace(".", "_"): b"{}" if name == "README.md" else (checkpoint / WEIGHTS).read_bytes()},
    )
    hub.sizes[name] = MOST_BYTES[name] + 1
    with pytest.raises(CheckpointError, match=rf"has a {name} of [\d,]+ bytes; at most [\d,]+ bytes are fetched"):
        fetch(NAME)
    assert not [path for path in hub.asked("GET") if path.endswith(name)]
    if name == WEIGHTS:
        assert not [path for path in hub.asked("GET") if "/storage/" in path]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"config_json": None}, "holds no model of musicae's .it has no config.json"),
        ({"model_safetensors": None}, "holds no model of musicae's .it has no model.safetensors"),
        ({"config_json": b'{"architectures": ["Bert"]}'}, "its config.json is that of another program"),
        ({"config_json": b"[1]"}, "its config.json is that of another program"),
        ({"config_json": b"\x80\x02}q"}, "its config.json can't be read"),
        ({"config_json": b'{"format_version": 99, "domain": "image"}'}, "upgrade musicae"),
        ({"config_json": b'{"format_version": 1, "domain": "image"}'}, "config.json"),
        ({"model_safetensors": b"\x80\x02}q\x00."}, "is damaged"),
    ],
)
def test_a_repository_without_a_model_or_with_a_broken_one_is_one_sentence(
    changed: dict[str, bytes | None], said: str, hub: Hub, checkpoint: Path
) -> None:
    hold(hub, checkpoint, **changed)
    refused(lambda: load(NAME), said)
    refused(lambda: pull(NAME, Path("out")), said)
    assert not Path("out").exists()


def test_what_the_hub_does_not_take_is_one_sentence(hub: Hub, checkpoint: Path) -> None:
    refused(lambda: push(checkpoint, NAME, licence="no-such-licence"), "could not push .*must be one of the known ones")
    refused(lambda: push(checkpoint, NAME, licence="mit\nevil: true"), "is no licence's name")
    hub.down = 500
    refused(lambda: push(checkpoint, NAME), "the Hub gives no answer")
    (checkpoint / WEIGHTS).write_bytes(b"damaged")
    refused(lambda: push(checkpoint, NAME), "is damaged")
    refused(lambda: push("no-such-model", NAME), "unknown model")


def test_without_huggingface_hub_the_extra_is_named(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: load(NAME), lambda: push(checkpoint, NAME), lambda: pull(NAME, tmp_path / "out")):
        refused(call, r"needs the package huggingface_hub: pip install 'musicae\[hub\]'")


def test_in_a_process_of_its_own_the_environment_names_hub_cache_and_token(hub: Hub, checkpoint: Path) -> None:
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(checkpoint.parent / "home"), "HF_HUB_DISABLE_XET": "1"}
    environment = {**os.environ, **own, "PYTHONPATH": str(PRETRAINED.parents[1])}

    code = "from musicae.cli import main\n"
    for arguments in (["push", str(checkpoint), NAME], ["pull", NAME, "--out", "pulled"]):
        code += f"main({arguments!r}, standalone_mode=False)\n"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, encoding="utf-8", timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    assert done.stdout.split() == [f"{NAME}@{hub.repositories[f'{USER}/tiny'].branches['main']}", "pulled"]
    assert load_file("pulled/model.safetensors").keys() == load_file(checkpoint / WEIGHTS).keys()
    assert (checkpoint.parent / "home" / "hub").is_dir()
