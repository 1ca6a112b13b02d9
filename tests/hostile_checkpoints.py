"""Hostile checkpoints: small ones of every model, and ways to spoil their files, by hand or at random.

    python tests/hostile_checkpoints.py --count 100000 --seed 1

spoils that many at random in child processes whose memory is limited, and prints what happened as JSON. A checkpoint
must load and answer, or be refused with one sentence, in two seconds of the processor and 1 GB of memory.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tiny_models import untrained

import musicae
from musicae.attribute_vectors import FILE, AttributeInfo, AttributeVectors
from musicae.errors import CheckpointError, MusicaeError
from musicae.models import MODELS, model_classes
from musicae.shipped import MANIFEST, WEIGHTS
from musicae.spec import Layout, TensorSpec
from musicae.training.checkpoint import save_checkpoint
from musicae.training.config import TrainConfig

MOST_SECONDS = 2.0
MOST_BYTES = 2**30
_DATA = {"paths": ["tunes"], "fingerprint": "0123", "examples": {"train": 8}, "minutes_in_all": 1.5}

HOSTILE: dict[str, tuple[Any, ...]] = {
    "huge": (10**9, 2**63, 10**300, 1e308, "x" * 100_000, [8] * 5_000, {str(n): n for n in range(5_000)}),
    "negative": (-1, -(10**18), -0.5, [-1, -2]),
    "wrong type": ("text", True, None, 0.5, [], {}, [1, 2], ["a"], {"a": 1}, [[8, 8]]),
    "not finite": (float("nan"), float("inf"), -float("inf"), [float("nan")]),
    "path": ("../../etc/passwd", "/dev/zero", "a\0b", "os:system", "\ud800", "line\nline"),
}
"""What is put in place of a value."""


class Outcome(NamedTuple):
    """What became of a checkpoint.

    Attributes:
        refusal: the sentence; None where it loaded and answered.
        seconds: of the processor.
    """

    refusal: str | None
    seconds: float


def write_all(folder: Path) -> list[Path]:
    """Writes a small checkpoint of every model in `MODELS`, with every setting stated, in all the ways of storing."""
    folders = []
    for number, name in enumerate(MODELS):
        kinds = ("float32", "float16", "int8")
        wide = {"width": 72} if name == "mlp" else {}  # enough numbers for eight bits
        prior = {"prior": ("standard", "flow", "mixture")[number % 3]} if MODELS[name].reconstructs else {}
        prior = {} if name == "spectrogram" else prior
        model, manifest = untrained(name, **wide, **prior)
        settings = model_classes(name)[1](**manifest.model_settings).model_dump(mode="json")
        training = TrainConfig().model_dump(mode="json")
        full = manifest.model_copy(update={"model_settings": settings, "training": training, "data": _DATA})
        save_checkpoint(folder / name, model, full, weights="int8" if wide else kinds[number % 2])
        if MODELS[name].reconstructs:
            _vectors(model.latent_shape).save(folder / name)
        folders.append(folder / name)
    return folders


def _vectors(shape: tuple[int, ...]) -> AttributeVectors:
    names = ("density", "height")
    effects = dict.fromkeys(names, 0.5)
    info = {name: AttributeInfo(mean=1, deviation=2, explained=0.5, kind="plain", effects=effects) for name in names}
    return AttributeVectors(info, {name: torch.ones(shape) for name in names}, 10)


def outcome(folder: Path) -> Outcome:
    """Loads a checkpoint and its attribute vectors, and lets the model answer.

    What takes too long is done again and the shorter time counts, since a machine short of memory can stop for seconds.

    Raises:
        AssertionError: a refusal of more than one line, or with another exit code than 2.
        Exception: anything but a refusal.
    """
    found = _outcome(folder)
    return found if found.seconds <= MOST_SECONDS else min(found, _outcome(folder), key=lambda each: each.seconds)


def _outcome(folder: Path) -> Outcome:
    started = time.process_time()
    try:
        trained = musicae.load(folder, "cpu")
        vectors = trained.attribute_vectors
        batch = batch_of(trained.domain.spec)
        if batch is not None:
            trained.network.reconstruct(batch)
            if not trained.network.restores:
                z = trained.encode(batch)
                trained.decode(z if vectors is None else z + sum(vectors.vectors.values()))
    except CheckpointError as error:
        assert error.exit_code == 2 and str(error).isprintable(), repr(error)
        assert len(str(error)) < 4000, len(str(error))
        return Outcome(str(error), time.process_time() - started)
    except (MusicaeError, ValueError) as error:
        assert str(error).isprintable(), repr(error)
        return Outcome(str(error), time.process_time() - started)
    return Outcome(None, time.process_time() - started)


def batch_of(spec: TensorSpec) -> torch.Tensor | None:
    """One example; None for a spec so large that it takes long to compute with, which is no fault."""
    if spec.numel > 200_000:
        return None
    if spec.layout is Layout.STEPS:
        count = torch.arange(spec.shape[0]).view(1, -1)
        values = [torch.zeros_like(count)] * len(spec.values)
        return torch.stack([*(count * 7 % size for size in spec.vocabulary), *values], -1)
    return torch.linspace(0, 1, spec.numel).view(1, *spec.shape)


def places(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*above, key)
        yield from places(inner, (*above, key))


def replaced(value: Any, place: tuple[str | int, ...], new: Any) -> Any:
    """A copy in which another value stands at a place."""
    copy = deepcopy(value)
    container = _at(copy, place[:-1])
    container[place[-1]] = new
    return copy


def removed(value: Any, place: tuple[str | int, ...]) -> Any:
    """A copy without the value at a place."""
    copy = deepcopy(value)
    del _at(copy, place[:-1])[place[-1]]
    return copy


def _at(value: Any, place: tuple[str | int, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def spoiled(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Every way to spoil a JSON value at a place: its kind, and a function that writes the JSON."""
    for kind, values in HOSTILE.items():
        yield from ((kind, partial(_replaced_text, value, place, hostile)) for hostile in values)
    yield "missing", lambda: json.dumps(removed(value, place))
    if isinstance(_at(value, place[:-1]), dict):
        yield "newer", partial(_replaced_text, value, (*place[:-1], "colour"), "red")
        yield "newer", partial(_replaced_text, value, (*place[:-1], f"{place[-1]}_2"), 1)
    for depth in (40, 900, 20_000):
        yield "deep", partial(_nested, value, place, "[" * depth + "1" + "]" * depth)
        yield "deep", partial(_nested, value, place, '{"a":' * depth + "1" + "}" * depth)
    yield "deep", partial(_nested, value, place, "[" * 20_000)


def _replaced_text(value: Any, place: tuple[str | int, ...], new: Any) -> str:
    return json.dumps(replaced(value, place, new))


def _nested(value: Any, place: tuple[str | int, ...], text: str) -> str:
    return _replaced_text(value, place, "the-place").replace('"the-place"', text, 1)


def header_of(content: bytes) -> tuple[Any, bytes]:
    """Header and body of a safetensors file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def with_header(header: str, body: bytes, size: int | None = None) -> bytes:
    """A safetensors file; `size` is what it claims of its header."""
    text = header.encode("utf-8", "surrogatepass")
    return (len(text) if size is None else size).to_bytes(8, "little") + text + body


def mutated(content: bytes, random: random.Random) -> bytes:
    """A file after one to three random changes: of bits, of stretches, of its header, or of a number in it."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if len(content) > 8:
            content = random.choice(_CHANGES)(content, random)
    return content


def _flip(content: bytes, random: random.Random) -> bytes:
    changed = bytearray(content)
    # Headers come first and decide most, so half of the changes are there.
    most = len(changed) if random.random() < 0.5 else min(len(changed), 2000)
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(most)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(content: bytes, random: random.Random) -> bytes:
    return content[: random.randrange(len(content))]


def _delete(content: bytes, random: random.Random) -> bytes:
    start = random.randrange(len(content))
    return content[:start] + content[start + random.randint(1, 40) :]


def _repeat(content: bytes, random: random.Random) -> bytes:
    start = random.randrange(len(content))
    piece = content[start : start + random.randint(1, 400)]
    return content[:start] + piece * random.choice((2, 3, 50)) + content[start + len(piece) :]


def _insert(content: bytes, random: random.Random) -> bytes:
    start = random.randrange(len(content))
    pieces = (b"\0", b"\xff" * 8, b"[", b"{", b'"', b"-", b"9" * 30, b"e308", b"NaN", b"null", b",", b"\n", b"\\ud800")
    return content[:start] + random.choice(pieces) + content[start:]


def _first_number(content: bytes, random: random.Random) -> bytes:
    """Of a tensor file: what it claims of its header."""
    real = int.from_bytes(content[:8], "little")
    claims = (0, 1, real - 1, real + 1, len(content), 10**8, 2**31, 2**40, 2**63, 2**64 - 1)
    return (random.choice(claims) % 2**64).to_bytes(8, "little") + content[8:]


def _extreme_number(content: bytes, random: random.Random) -> bytes:
    """Writes a number that a float must not be, or hardly is, somewhere behind the header."""
    start = 8 + int.from_bytes(content[:8], "little")
    if start >= len(content):
        return content
    place = random.randrange(start, len(content))
    number = random.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\0\0\x80\xff", b"\xff" * 8))
    return content[:place] + number + content[place + len(number) :]


def _json_value(content: bytes, random: random.Random) -> bytes:
    """Replaces, removes or exchanges values of the JSON in a file."""
    is_tensors = content[:1] != b"{"
    try:
        value, body = header_of(content) if is_tensors else (json.loads(content), b"")
        there = list(places(value))
        place = random.choice(there)
        kind = random.randrange(4)
        if kind == 0:
            value = removed(value, place)
        elif kind == 1:
            value = replaced(value, place, deepcopy(_at(value, random.choice(there))))
        else:
            small = [new for values in HOSTILE.values() for new in values if len(repr(new)) < 1000]
            near = [value * 2, value + 1] if isinstance(value := _at(value, place), (int, float)) else []
            value, _ = header_of(content) if is_tensors else (json.loads(content), b"")
            value = replaced(value, place, random.choice([*small, *near, random.randint(-3, 300), random.random()]))
    except (ValueError, IndexError, TypeError, KeyError, UnicodeDecodeError, RecursionError):
        return content
    text = json.dumps(value)
    return with_header(text, body) if is_tensors else text.encode()


_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _cut, _delete, _repeat, _insert, _first_number, _extreme_number),
    *(_json_value, _json_value, _json_value, _json_value),
)


def fuzz(folders: list[Path], count: int, seed: int, place: Path) -> dict[str, Any]:
    """Spoils checkpoints at random, one file of one at a time, and says what became of them.

    Args:
        folders: of whole checkpoints.
        count: how many to spoil.
        seed: the same seed spoils the same.
        place: a folder to write them in; after an error the last one is still there.
    """
    chosen = random.Random(seed)
    whole = {folder: {path.name: path.read_bytes() for path in sorted(folder.iterdir())} for folder in folders}
    loaded, slowest, refusals = 0, 0.0, dict.fromkeys((MANIFEST, WEIGHTS, FILE), 0)
    for number in range(count):
        folder = chosen.choice(folders)
        name = chosen.choice(list(whole[folder]))
        target = place / folder.name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for other, content in whole[folder].items():
            (target / other).write_bytes(mutated(content, chosen) if other == name else content)
        try:
            found = outcome(target)
        except BaseException as error:
            raise AssertionError(f"number {number} of seed {seed} ({target / name}): {error!r}") from error
        assert found.seconds <= MOST_SECONDS, f"number {number} of seed {seed} ({target}) took {found.seconds:.1f} s"
        slowest = max(slowest, found.seconds)
        loaded += found.refusal is None
        refusals[name] += found.refusal is not None
    return {"spoiled": count, "loaded": loaded, "refused": refusals, "slowest_s": round(slowest, 3)}


def fuzz_limited(count: int, seed: int) -> dict[str, Any]:
    """As `fuzz`, in this process, whose memory is limited to 1 GB more than it has before the first."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        whole = write_all(place / "whole")
        for checkpoint in whole:
            assert outcome(checkpoint).refusal is None  # everything that is imported late is there now
        import resource  # not on Windows

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        mapped = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + MOST_BYTES, mapped + MOST_BYTES))
        found = fuzz(whole, count, seed, place / "spoiled")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        return {**found, "memory_mb": round(grown / 1024, 1)}


def fuzz_in_children(count: int, seed: int, each: int = 5_000) -> dict[str, Any]:
    """Spoils `count` checkpoints in child processes of `each`, one after the other."""
    parts = []
    for part, start in enumerate(range(0, count, each)):
        arguments = ["--child", "--count", str(min(each, count - start)), "--seed", str(seed + part)]
        done = subprocess.run(
            [sys.executable, __file__, *arguments], capture_output=True, text=True, encoding="utf-8", check=False
        )
        if done.returncode:
            raise AssertionError(f"seed {seed + part} ended with {done.returncode}: {done.stderr[-3000:]}")
        parts.append(json.loads(done.stdout))
        print(done.stdout.strip(), file=sys.stderr, flush=True)
    total = {key: sum(part[key] for part in parts) for key in ("spoiled", "loaded")}
    refused = {name: sum(part["refused"][name] for part in parts) for name in parts[0]["refused"]}
    most = {key: max(part[key] for part in parts) for key in ("slowest_s", "memory_mb")}
    return {**total, "refused": refused, **most}


def main() -> None:
    """The command in the module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps((fuzz_limited if given.child else fuzz_in_children)(given.count, given.seed)))


if __name__ == "__main__":
    main()
