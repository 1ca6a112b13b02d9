"""The notebooks run from the first cell to the last, on a few steps and in a folder of their own."""

import base64
import io
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

from musicae import Sound
from musicae.audio.noise import NOISES

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
MOST_BYTES = 600_000

FIGURES = {"01_autoencoders": 16, "02_vae": 15, "03_music": 12, "04_audio": 9}
"""Pictures that each notebook shows."""
PRINTS = {"01_autoencoders": 9, "02_vae": 8, "03_music": 15, "04_audio": 10}
"""Cells that print numbers."""
PLAYERS = {"01_autoencoders": 0, "02_vae": 0, "03_music": 10, "04_audio": 9}
"""Sounds that each notebook plays."""


@pytest.fixture(params=sorted(NOTEBOOKS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in; what Python, Jupyter and the notebook keep lies beside it."""
    for folder in ("work", "kept", "jupyter"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("MUSICAE_NOTEBOOK_STEPS", "12")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "kept"))
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    return tmp_path / "work"


def _code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [output for cell in _code_cells(notebook) for output in cell.outputs]


def _printed(notebook: NotebookNode) -> list[str]:
    return [output.text for output in _outputs(notebook) if output.output_type == "stream"]


def _figures(notebook: NotebookNode) -> list[np.ndarray]:
    """What is shown as a picture, and pictures within HTML."""
    encoded: list[str] = []
    for data in (output.data for output in _outputs(notebook) if "data" in output):
        if "image/png" in data or "image/jpeg" in data:
            encoded.append(data.get("image/png") or data["image/jpeg"])
        else:
            encoded += re.findall(r"data:image/png;base64,([\w+/=]+)", data.get("text/html", ""))
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("L")) for picture in encoded]


def _sounds(notebook: NotebookNode) -> list[Sound]:
    """What is played."""
    pages = [output.data.get("text/html", "") for output in _outputs(notebook) if "data" in output]
    encoded = [sound for page in pages for sound in re.findall(r"data:audio/\w+;base64,([\w+/=]+)", page)]
    return [Sound.open(base64.b64decode(sound)) for sound in encoded]


def _check(name: str, notebook: NotebookNode) -> None:
    """All cells ran, in order and without a complaint; figures and sounds hold something, every number is one."""
    cells, outputs = _code_cells(notebook), _outputs(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    figures = _figures(notebook)
    assert len(figures) == FIGURES[name]
    assert all(min(figure.shape) > 30 and figure.std() > 5 for figure in figures)
    sounds = _sounds(notebook)
    assert len(sounds) == PLAYERS[name]
    assert all(sound.duration_s > 1 and sound.rms > 0.01 for sound in sounds)
    printed = _printed(notebook)
    assert len(printed) == PRINTS[name]
    assert all(re.search(r"\d", text) and not re.search(r"\b(nan|inf)\b", text) for text in printed)


def test_there_are_four_notebooks():
    assert len(NOTEBOOKS) == 4
    assert set(NOTEBOOKS) == set(FIGURES) == set(PRINTS) == set(PLAYERS)


def test_the_lesson_on_music_prints_what_its_prose_says():
    printed = "".join(_printed(nbformat.read(NOTEBOOKS["03_music"], as_version=4)))
    for line in ("symbols that came back: 100%", "unchanged: True", "the same: True", "24 bars became 32"):
        assert line in printed
    assert ": False" not in printed


def test_the_lesson_on_sound_has_the_order_that_its_prose_tells():
    printed = _printed(nbformat.read(NOTEBOOKS["04_audio"], as_version=4))
    table = next(text for text in printed if text.startswith("noise ")).splitlines()[1:]
    assert len(table) == len(NOISES)
    for row in table:
        added, filtered, denoised = map(float, row.split()[1:])
        assert added == 5.0
        assert denoised > filtered
    in_the_end = dict(re.findall(r"^([\w -]+): ([\d.]+) dB$", next(text for text in printed if "small:" in text), re.M))
    scores = [float(in_the_end[key]) for key in ("mixture", "Wiener filter", "small", "denoise-48k")]
    assert scores == sorted(scores)


@pytest.mark.slow
@pytest.mark.timeout(900)  # three times the usual, for a machine that does something else as well
def test_a_notebook_runs_and_leaves_nothing_where_it_ran(name, working_folder):
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    for cell in _code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    place = {"metadata": {"path": str(working_folder)}}
    NotebookClient(notebook, timeout=240, kernel_name="python3", coalesce_streams=True, resources=place).execute()
    _check(name, notebook)
    assert list(working_folder.iterdir()) == []


def test_a_notebook_is_kept_as_it_ran(name):
    content = NOTEBOOKS[name].read_text(encoding="utf-8")
    notebook = nbformat.reads(content, as_version=4)
    _check(name, notebook)
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert len(content.encode()) < MOST_BYTES
    text = str([{**cell, "outputs": []} for cell in notebook.cells]) + str([o.get("text") for o in _outputs(notebook)])
    assert not re.search(r"/(home|root|tmp|work|Users|var)\b", text), "a path of the machine it ran on"
