"""Exports a trained model: files that run elsewhere, each compared with PyTorch, and a card that says how."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import musicae
from musicae.atomic_io import atomic_files, check_writable
from musicae.capabilities import Streams
from musicae.domain import Domain
from musicae.errors import unknown_name
from musicae.export.card import CARD, FORMAT_VERSION, describe_graph, describe_tensors
from musicae.export.check import max_difference, refuse_difference, score_function, seconds_a_call
from musicae.export.formats import FORMATS, Run, traced
from musicae.export.graphs import Graph, graphs_of, named
from musicae.export.weights import PRECISIONS, rounded
from musicae.models.autoencoder import Autoencoder

MODEL_CARD = "MODEL.md"
"""Name of the copy of a shipped model's card, which states the licence of its weights."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: the paths, the card last.
        card: as it is in the file.
        remarks: differences, sizes, speed and scores, for people.
    """

    files: tuple[Path, ...]
    card: Mapping[str, Any]
    remarks: tuple[str, ...]


class Source(NamedTuple):
    """What is exported.

    Attributes:
        model: name of the shipped model, or of the run.
        network: name of the network's class, as in `MODELS`.
        task: that it was trained for.
        folder: of the checkpoint, where its card is; None: there is none.
    """

    model: str
    network: str
    task: str
    folder: Path | None = None


def export(
    network: Autoencoder,
    domain: Domain,
    source: Source,
    folder: Path,
    format: str = "onnx",
    precision: str = "float32",
    parts: Sequence[str] | None = None,
) -> Exported:
    """Writes a model's graphs and their card into a folder; other files there stay.

    Args:
        network: of the model.
        domain: whose tensors it takes.
        source: where they are from.
        folder: is made where it isn't there.
        format: a name in `FORMATS`.
        precision: that weights are stored in, one of `PRECISIONS`.
        parts: names of graphs; None: all.

    Raises:
        ValueError: no such format or precision.
        MusicaeError: a package is missing, the network can't be exported, has no such part, or a file gives something
            else than PyTorch. Then nothing is written.
    """
    if format not in FORMATS:
        raise ValueError(unknown_name("format", format, FORMATS))
    if precision not in PRECISIONS:
        raise ValueError(unknown_name("precision", precision, PRECISIONS))
    kind = FORMATS[format]
    kind.check_installed()
    check_writable(folder, folder=True)
    network = rounded(network, "float32").cpu().eval()
    stored = rounded(network, precision)
    graphs = named(graphs_of(stored), None if parts is None else tuple(parts))
    described: dict[str, Any] = {}
    remarks: list[str] = []
    streaming: dict[str, float] = {}
    with atomic_files(folder) as writing:
        for graph in graphs:
            path = writing / f"{graph.name}.{kind.ending}"
            kind.write(graph, traced(graph, precision, drops_unused=kind.keeps_unused), path)
            run = kind.open(path)
            difference = max_difference(graph, run)
            refuse_difference(graph.name, difference)
            described[graph.name] = describe_graph(graph, path.name) | {"max_difference": difference}
            remarks.append(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, within {difference:.1e} of PyTorch")
            if stored.is_causal and graph.state:
                streaming = _streaming(domain, graph, run)
        card: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "musicae_version": musicae.__version__,
            "model": source.model,
            "network": source.network,
            "task": source.task,
            "domain": domain.name,
            "format": format,
            **kind.about,
            "precision": precision,
            "graphs": described,
            "tensors": describe_tensors(stored, domain),
        }
        if streaming:
            card["streaming"] = streaming
            remarks.append(
                "delay {delay_s:.3f} s; real-time factor {real_time_factor:.3f} on this machine".format(**streaming)
            )
        if precision != "float32":
            card["score"] = _score(network, stored, domain, source.task, precision)
            remarks += _score_lines(card["score"], precision)
        if source.folder is not None and (source.folder / "README.md").is_file():
            (writing / MODEL_CARD).write_bytes((source.folder / "README.md").read_bytes())
        (writing / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        names = sorted(file.name for file in writing.iterdir() if file.name != CARD)
    return Exported(tuple(folder / name for name in (*names, CARD)), card, tuple(remarks))


def _streaming(domain: Domain, graph: Graph, run: Run) -> dict[str, float]:
    """The delay of a stream, and the time that a frame takes over the time that it lasts."""
    duration_s = domain.example_duration_s
    if not isinstance(domain, Streams) or duration_s is None:
        return {}
    stream = domain.open_stream(lambda magnitude: magnitude, channels=1, sample_rate_hz=None)
    frame_s = duration_s / (graph.calls - 1)  # the first frame is centred on the first sample
    return {
        "delay_s": stream.latency_samples / stream.sample_rate_hz,
        "real_time_factor": round(seconds_a_call(graph, run) / frame_s, 4),
    }


def _score(network: Autoencoder, stored: Autoencoder, domain: Domain, task: str, precision: str) -> dict[str, Any]:
    """Scores with weights as they were trained, and as they are stored."""
    scores = score_function(domain, task)
    if scores is None:
        return {"measured_on": "nothing: musicae has no starter data for this model"}
    return {"measured_on": "starter data", "float32": scores(network), precision: scores(stored)}


def _score_lines(score: Mapping[str, Any], precision: str) -> list[str]:
    if precision not in score:
        return [f"score of {precision} measured on {score['measured_on']}"]
    before, after = score["float32"], score[precision]
    found = [
        f"{name} {before[name]:.4g} → {after[name]:.4g}" for name in after if name != "examples" and name in before
    ]
    return [f"score on {after['examples']} starter examples, float32 → {precision}: {', '.join(found)}"]
