"""The studio's API: every operation on real files, what it refuses, and in which words."""

import io
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import soundfile

import musicae
from musicae.music.piece import Piece
from musicae.starter import starter_file
from tests.studio.conftest import ROOT, Studio, end, start

UNKNOWN = "0" * 24


def _piece(studio: Studio, item: dict[str, Any]) -> Piece:
    answer = studio.ask(f"/api/media/{item['id']}/file?ending=mid")
    assert answer.status == 200 and answer.headers["content-type"] == "audio/midi"
    return Piece.open(answer.body)


def _pitches(piece: Piece) -> list[int]:
    return [int(pitch) for track in piece.tracks for pitch in piece.notes(track.index).pitch]


def test_a_piece_is_described_as_it_is(files):
    piece, shown = Piece.open(starter_file("b.mid")), files["b.mid"]
    notes = [note for track in shown["tracks"] for note in track["notes"]]
    assert (shown["kind"], shown["bars"], len(notes)) == ("music", piece.bars, piece.note_count)
    assert sorted(note[2] for note in notes) == sorted(_pitches(piece))
    assert len(shown["bar_lines"]) == piece.bars + 1
    assert max(note[1] for note in notes) == pytest.approx(piece.duration_s, abs=0.01)


def test_a_sound_is_described_as_it_is(files):
    shown = files["noisy.wav"]
    samples, rate_hz = soundfile.read(starter_file("noisy.wav"))
    assert (shown["sample_rate_hz"], shown["duration_s"]) == (rate_hz, pytest.approx(len(samples) / rate_hz))
    assert max(shown["peaks"]) == pytest.approx(np.abs(samples).max(), abs=1e-3)


def test_a_path_is_that_of_python(studio, files):
    found = studio.compute("interpolate", model="melody-2bar", a=files["a.mid"]["id"], b=files["b.mid"]["id"], steps=3)
    here = musicae.load("melody-2bar").interpolate(starter_file("a.mid"), starter_file("b.mid"), steps=3)
    assert [_pitches(_piece(studio, item)) for item in found["items"]] == [_pitches(piece) for piece in here]


def test_a_square_has_its_corners(studio, files):
    a, b = files["a.mid"]["id"], files["b.mid"]["id"]
    square = studio.compute("interpolate", model="melody-2bar", a=a, b=b, c=b, d=a, steps=3)
    corners = [_pitches(_piece(studio, square["items"][place])) for place in (0, 6, 2, 8)]  # A below: B; right: C, D
    ends = studio.compute("interpolate", model="melody-2bar", a=a, b=b, steps=2)["items"]
    first, last = (_pitches(_piece(studio, item)) for item in ends)
    assert square["side"] == 3 and corners == [first, last, last, first]


def test_whole_songs_are_as_long_as_the_longer(studio, files):
    found = studio.compute(
        "interpolate", model="melody-2bar", a=files["a.mid"]["id"], b=files["b.mid"]["id"], steps=2, whole=True
    )
    assert {item["bars"] for item in found["items"]} == {files["b.mid"]["bars"]}


def test_samples_are_in_the_key_and_seeds_repeat(studio):
    body = {"model": "melody-2bar", "count": 2, "key": "D minor", "seed": 3}
    first, again = (studio.compute("sample", **body)["items"] for _ in range(2))
    assert [item["id"] for item in first] == [item["id"] for item in again]
    scale = {2, 4, 5, 7, 9, 10, 0, 1, 11}  # natural, harmonic and melodic
    assert {note[2] % 12 for item in first for track in item["tracks"] for note in track["notes"]} <= scale


def test_a_shift_says_what_it_kept(studio, files):
    found = studio.compute(
        "shift", model="melody-2bar", item=files["b.mid"]["id"], amounts={"density": 1}, bars=[9, 10]
    )
    assert found["changes"]["density"] > 0.1 and 0 < found["kept"]["notes"] < 1
    before, after = Piece.open(starter_file("b.mid")), _piece(studio, found["items"][0])
    assert before.bars == after.bars
    first, last = before.bar_tick(9), before.bar_tick(11)
    outside = [
        [(start, pitch) for start, pitch in zip(*piece.notes(0)[::2], strict=True) if not first <= start < last]
        for piece in (before, after)
    ]
    assert outside[0] == outside[1]


def test_nothing_shifted_is_the_reconstruction(studio, files):
    found = studio.compute("shift", model="melody-2bar", item=files["a.mid"]["id"], amounts={"density": 0})
    assert set(found["changes"].values()) == {0.0}


def test_bars_are_filled_in(studio, files):
    found = studio.compute("infill", model="melody-16bar", item=files["b.mid"]["id"], bars=[5, 6], count=2, seed=1)
    assert [item["bars"] for item in found["items"]] == [files["b.mid"]["bars"]] * 2
    assert found["items"][0]["id"] != found["items"][1]["id"]


def test_a_pattern_is_humanized_and_stays(studio):
    hits = [(step, pitch) for step in range(0, 32, 4) for pitch in (36, 42)]
    midi = musicae.Piece.new(
        [musicae.music.midi.NewTrack("drums", 0, True, _notes(hits))], ticks_per_quarter=480, end=32 * 120
    )
    item = studio.ask("/api/media?name=beat.mid", midi.to_bytes()).json
    found = studio.compute("humanize", model="drums-2bar", item=item["id"], seed=1)["items"][0]
    played = _piece(studio, found)
    assert sorted(_pitches(played)) == sorted(pitch for _, pitch in hits)
    assert len({int(velocity) for velocity in played.notes(0).velocity}) > 4


def _notes(hits: list[tuple[int, int]]) -> Any:
    steps, pitches = (np.array(column, np.int64) for column in zip(*hits, strict=True))
    return musicae.music.midi.Notes(steps * 120, steps * 120 + 60, pitches, np.full(len(hits), 80, np.int64))


def test_a_sound_is_cleaned_and_what_was_taken_away_is_the_difference(studio, files):
    found = studio.compute("denoise", model="denoise-48k", item=files["noisy.wav"]["id"])["items"]
    sounds = []
    for item in (files["noisy.wav"], *found):
        answer = studio.ask(f"/api/media/{item['id']}/file?ending=wav")
        sounds.append(soundfile.read(io.BytesIO(answer.body))[0])
    before, after, removed = sounds
    assert [item["name"] for item in found] == ["cleaned", "removed"]
    assert np.abs(before - after - removed).max() < 3 / 32768
    assert np.square(after).mean() < 0.95 * np.square(before).mean()


def test_codes_go_out_and_come_back(studio, files):
    code = studio.compute("encode", model="melody-2bar", item=files["a.mid"]["id"], bar=1)["code"]
    item = studio.compute("decode", model="melody-2bar", code=code)["items"][0]
    trained = musicae.load("melody-2bar")
    here = trained.domain.compose(trained.decode(trained.encode(starter_file("a.mid"), bar=1)))
    assert _pitches(_piece(studio, item)) == _pitches(here)


def test_files_are_mapped(studio, files):
    ids = [files["a.mid"]["id"], files["b.mid"]["id"]]
    points = studio.compute("map", model="melody-2bar", items=ids)["points"]
    assert [point["id"] for point in points] == ids
    windows = studio.compute("map", model="melody-2bar", items=ids, each_file=False)["points"]
    assert {point["id"] for point in windows} == set(ids) and len(windows) > 20
    # Windows with few notes are left out: what a point plays is found by its bar, whose code is the point's.
    trained, piece = musicae.load("melody-2bar"), Piece.open(starter_file("a.mid"))
    here = [point for point in windows if point["id"] == ids[0]]
    codes = np.stack([trained.encode(piece, bar=point["bar"])[0].numpy() for point in here])
    places = np.array([[point["x"], point["y"]] for point in here])
    same = (codes[:, None] == codes[None]).all(2)
    assert [point["bar"] for point in here] == sorted({point["bar"] for point in here})
    assert same.sum() > len(here) and (np.abs(places[:, None] - places[None]).max(2)[same] < 1e-3).all()


def test_music_is_rendered(studio, files):
    item = studio.compute("render", item=files["a.mid"]["id"])["items"][0]
    assert item["kind"] == "audio" and item["duration_s"] > 10 and max(item["peaks"]) == pytest.approx(0.9, abs=0.01)


def test_pictures_of_anything_are_pngs(studio, files):
    for item in files.values():
        answer = studio.ask(f"/api/media/{item['id']}/file?ending=png")
        assert answer.body.startswith(b"\x89PNG") and answer.headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/api/media?name=broken.mid", b"MThd\0\0\0\x06nonsense", 422, "broken.mid"),
        ("/api/media?name=empty.mid", b"", 422, "empty"),
        ("/api/media?name=notes.txt", b"do re mi", 422, "neither music"),
        ("/api/media?name=tone.wav", b"RIFF but no sound", 422, "tone.wav"),
        ("/api/vary", {"model": "melody-2bar", "item": UNKNOWN}, 404, "drop the file again"),
        ("/api/vary", {"model": "nobody", "item": UNKNOWN}, 422, "no model of that name"),
        ("/api/sample", {"model": "melody-2bar", "count": 1000}, 422, "count"),
        ("/api/sample", {"model": "melody-2bar", "key": "H sharp"}, 422, "key"),
        ("/api/sample", {"model": "melody-2bar", "unknown": 1}, 422, "unknown"),
        ("/api/sample", {"model": "denoise-48k"}, 422, "can't sample"),
        ("/api/sample", {"model": "/etc/passwd"}, 422, "no model of that name"),
        ("/api/decode", {"model": "melody-2bar", "code": [1.0, 2.0]}, 422, "256 numbers"),
        ("/api/sample", b"no json", 422, "JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_a_sentence(studio, path, body, status, words):
    headers = {"Content-Type": "application/json"} if path == "/api/sample" and isinstance(body, bytes) else {}
    answer = studio.ask(path, body, method="POST", headers=headers)
    sentence = answer.json["error"]
    assert answer.status == status and words in sentence
    assert sentence.endswith(".") and "Traceback" not in sentence and "\n" not in sentence


def test_a_name_of_a_file_is_no_path(studio):
    answer = studio.ask("/api/media?name=../../../etc/a.mid", starter_file("a.mid").read_bytes())
    assert answer.json["name"] == "a.mid"


def test_what_is_too_large_is_refused_before_it_is_read(studio):
    with socket.create_connection(("127.0.0.1", int(studio.address.rpartition(":")[2])), timeout=10) as line:
        host = studio.address.removeprefix("http://")
        line.sendall(
            f"POST /api/media?name=a.mid HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999\r\n\r\n".encode()
        )
        assert line.recv(64).startswith(b"HTTP/1.1 413")


def test_a_body_that_goes_on_and_on_is_cut_off(studio):
    host = studio.address.removeprefix("http://")
    chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=30) as line:
        head = f"POST /api/media?name=a.mid HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        line.sendall(head.encode())
        for _ in range(80):
            if select.select([line], [], [], 0)[0]:
                break
            line.sendall(chunk)
        assert line.recv(64).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_and_names_from_elsewhere_are_refused(studio, headers):
    answer = studio.ask("/api/status", headers=headers)
    assert answer.status == 403 and "error" in answer.json


def test_the_own_page_is_answered_under_all_names_of_this_machine(studio):
    port = studio.address.rpartition(":")[2]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert studio.ask("/api/status", headers={"Host": host, "Origin": f"http://{host}"}).status == 200


def test_the_page_may_load_nothing_from_elsewhere(studio):
    answer = studio.ask("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "http:" not in policy and "unsafe-inline" not in policy
    assert b"http://" not in answer.body.replace(b"http://www.w3.org/2000/svg", b"") and b"https://" not in answer.body


def test_what_the_page_loads_is_there_and_light(studio):
    from musicae.studio.page_scripts import PAGE, SCRIPTS, sound_font

    addresses = ["/", *(script.address for script in SCRIPTS)]
    addresses += [f"/assets/{file.name}" for file in sorted((PAGE / "assets").iterdir())]
    answers = [studio.ask(address) for address in addresses]
    assert {answer.status for answer in answers} == {200}
    assert sum(len(answer.body) for answer in answers) < 1_500_000
    font = sound_font()
    assert font is not None and len(studio.ask("/font.sf2").body) == font.stat().st_size


@pytest.mark.parametrize(
    "path", ["/assets/../app.py", "/assets/%2e%2e/app.py", "/node_modules/x", "/package.json", "/docs"]
)
def test_nothing_else_is_served(studio, path):
    assert studio.ask(path).status == 404


def test_from_another_machine_a_token_is_needed(tmp_path):
    process, address = start(tmp_path, "--host", "0.0.0.0", "--model", "drums-2bar-tap")
    try:
        place, _, token = address.partition("/#token=")
        port = place.rpartition(":")[2]
        assert len(token) > 20
        host = {"Host": f"192.0.2.7:{port}"}
        near = Studio(f"http://127.0.0.1:{port}")
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                refused = near.ask("/api/status", headers=host)
                break
            except OSError:
                time.sleep(0.2)
        assert refused.status == 401 and "token" in refused.json["error"]
        assert near.ask("/api/status", headers={**host, "X-Musicae-Token": "x" * len(token)}).status == 401
        assert near.ask("/api/status", headers={**host, "X-Musicae-Token": token}).status == 200
        assert near.ask("/", headers=host).status == 200
        assert near.ask("/", headers={"Host": f"evil.example:{port}"}).status == 403
        assert near.ask("/", headers={"Host": "192.0.2.7:1"}).status == 403
    finally:
        end(process)


def test_a_taken_port_and_an_unknown_model_are_said_in_a_sentence(studio, tmp_path):
    port = studio.address.rpartition(":")[2]
    for options, words in ((["--port", port], "--port"), (["--model", "melody-2baar"], "melody-2bar")):
        command = [sys.executable, "-m", "musicae.cli", "studio", "--no-open", *options]
        done = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_many_at_once_get_an_answer_or_are_sent_away(studio, files):
    body = {"model": "melody-2bar", "item": files["a.mid"]["id"], "count": 4}
    with ThreadPoolExecutor(40) as threads:
        answers = list(threads.map(lambda seed: studio.ask("/api/vary", {**body, "seed": seed}), range(60)))
    counts = {status: sum(answer.status == status for answer in answers) for status in (200, 429)}
    assert counts[200] >= 9 and sum(counts.values()) == 60
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 429)
    assert studio.ask("/api/status").status == 200


def test_a_long_job_tells_its_progress_and_can_be_stopped(studio):
    rate_hz, buffer = 16_000, io.BytesIO()
    noise = np.random.default_rng(0).standard_normal(120 * rate_hz) * 0.1
    soundfile.write(buffer, noise, rate_hz, format="WAV")
    item = studio.ask("/api/media?name=long.wav", buffer.getvalue()).json
    found: list[Any] = []
    body = {"model": "denoise-48k", "item": item["id"]}
    thread = threading.Thread(target=lambda: found.append(studio.ask("/api/denoise?job=long-1", body)))
    thread.start()
    seen, until = [], time.monotonic() + 60
    while time.monotonic() < until and not any(share and share > 0 for share in seen):
        seen.append(studio.ask("/api/jobs/long-1").json["progress"])
        time.sleep(0.05)
    assert studio.ask("/api/jobs/long-1", method="DELETE").json == {"stopped": True}
    thread.join(60)
    assert found[0].status == 409 and 0 < max(share for share in seen if share is not None) < 1
    assert studio.ask("/api/jobs/long-1").json == {"progress": None}


def test_a_client_that_goes_away_stops_its_job(studio):
    rate_hz, buffer = 16_000, io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(1).standard_normal(590 * rate_hz) * 0.1, rate_hz, format="WAV")
    item = studio.ask("/api/media?name=longer.wav", buffer.getvalue()).json
    body = f'{{"model": "denoise-48k", "item": "{item["id"]}"}}'.encode()
    host = studio.address.removeprefix("http://")
    line = socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2])), timeout=10)
    head = f"POST /api/denoise?job=gone HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    until, progress = time.monotonic() + 30, None
    while not progress and time.monotonic() < until:
        progress = studio.ask("/api/jobs/gone").json["progress"]
        time.sleep(0.02)
    assert progress is not None and 0 < progress < 0.5
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()
    began = time.monotonic()
    last = progress
    while time.monotonic() < began + 60:
        now = studio.ask("/api/jobs/gone").json["progress"]
        if now is None:
            break
        last = now
        time.sleep(0.02)
    assert now is None and last < 0.9


def test_a_morph_of_whole_songs_can_be_stopped(studio, files):
    found: list[Any] = []
    body = {"model": "melody-2bar", "a": files["a.mid"]["id"], "b": files["b.mid"]["id"], "steps": 33, "whole": True}
    thread = threading.Thread(target=lambda: found.append(studio.ask("/api/interpolate?job=whole", body)))
    thread.start()
    until = time.monotonic() + 30
    while studio.ask("/api/jobs/whole").json["progress"] is None and time.monotonic() < until:
        time.sleep(0.01)
    assert studio.ask("/api/jobs/whole", method="DELETE").json == {"stopped": True}
    thread.join(60)
    assert found[0].status == 409


def test_two_trainings_at_once_are_refused(tmp_path, monkeypatch):
    from musicae.studio.trainings import Training

    monkeypatch.chdir(tmp_path)
    training = Training()
    answers: list[str] = []

    def begin(_: int) -> None:
        try:
            training.start("music", None, "reconstruct", None, 100_000)
            answers.append("started")
        except musicae.errors.MusicaeError as error:
            answers.append(str(error))

    try:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(begin, range(4)))
        assert sorted(answers) == ["a training is running; stop it first."] * 3 + ["started"]
    finally:
        training.close()
    assert not training.is_running


def test_a_short_file_of_a_very_long_sound_is_refused(studio):
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((40 * 192_000, 8), np.int16), 192_000, format="FLAC")
    answer = studio.ask("/api/media?name=long.flac", buffer.getvalue())
    assert len(buffer.getvalue()) < 2**20 and answer.status == 422 and "samples" in answer.json["error"]


def test_a_task_that_a_domain_lacks_is_refused_before_anything_starts(studio):
    before = studio.ask("/api/training").json["run"]
    for body, words in (({"domain": "audio", "task": "tap"}, "denoise"), ({"domain": "films"}, "music")):
        answer = studio.ask("/api/training/start", body)
        assert answer.status == 422 and words in answer.json["error"]
    assert studio.ask("/api/training").json["run"] == before


def test_a_square_says_what_it_lacks(studio, files):
    body = {"model": "melody-2bar", "a": files["a.mid"]["id"], "b": files["b.mid"]["id"], "c": files["a.mid"]["id"]}
    assert "four corners" in studio.ask("/api/interpolate", body).json["error"]
    body |= {"d": files["b.mid"]["id"], "steps": 33}
    assert "up to 7" in studio.ask("/api/interpolate", body).json["error"]
