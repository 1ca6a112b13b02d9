"""Two hosts, in two network namespaces of this one that a cable of the kernel joins: what they lose, and how they end.

    python -m pytest --soak -s tests/training/test_two_hosts.py

prints the losses and the seconds. It needs Linux, root and iproute2.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOSTS = {"a": "10.77.0.1", "b": "10.77.0.2"}
SETTINGS = {"steps": 12, "batch_size": 31, "precision": "no", "widths": [8], "evaluate_every": 4, "log_with": []}
LONGEST_S = 30

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[dict[str, str]]:
    """Host → the name of its namespace."""
    if shutil.which("ip") is None:
        pytest.skip("there is no ip command; install iproute2")
    names = {host: f"musicae-{os.getpid()}-{host}" for host in HOSTS}
    try:
        for name in names.values():
            ip("netns", "add", name)
        ip("link", "add", "cable-a", "netns", names["a"], "type", "veth", "peer", "cable-b", "netns", names["b"])
        for host, address in HOSTS.items():
            ip("-n", names[host], "address", "add", f"{address}/24", "dev", f"cable-{host}")
            for device in ("lo", f"cable-{host}"):
                ip("-n", names[host], "link", "set", device, "up")
    except subprocess.CalledProcessError as error:
        remove(names)
        pytest.skip(f"network namespaces can't be made here: {error.stderr.strip()}")
    yield names
    remove(names)


def remove(names: dict[str, str]) -> None:
    for name in names.values():
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.fixture
def start(hosts: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A function: a host and the arguments of `train` → its torchrun, with two processes."""
    started: list[subprocess.Popen[str]] = []

    def run(host: str, *arguments: str) -> subprocess.Popen[str]:
        launch = ["ip", "netns", "exec", hosts[host], sys.executable, "-m", "torch.distributed.run"]
        launch += ["--nnodes", "2", "--node-rank", str(list(HOSTS).index(host)), "--nproc-per-node", "2"]
        launch += ["--master-addr", HOSTS["a"], "--master-port", "29500", "-m", "musicae.cli", "train", *arguments]
        # The host's name means an address that the namespace doesn't have.
        environment = environment_of(tmp_path) | {"GLOO_SOCKET_IFNAME": f"cable-{host}"}
        process = subprocess.Popen(
            launch, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def environment_of(folder: Path) -> dict[str, str]:
    return {**os.environ, "MUSICAE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def losses(folder: Path) -> dict[int, float]:
    path = folder / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return {line["step"]: line["validation/loss"] for line in lines if "validation/loss" in line}


def arguments(folder: Path, out: str, **settings: object) -> list[str]:
    (folder / f"{out}.json").write_text(json.dumps({**SETTINGS, **settings}), encoding="utf-8")
    return ["--domain", "image", "--config", f"{out}.json", "--out", out]


def alone(folder: Path, *given: str) -> None:
    command = [sys.executable, "-m", "musicae.cli", "train", *given]
    subprocess.run(command, cwd=folder, env=environment_of(folder), check=True, capture_output=True)


def descendants(process: int) -> list[int]:
    """The processes below one."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()
    return [below for child in children for below in (int(child), *descendants(int(child)))]


def of_rank(process: int, rank: int) -> int:
    """The process below a torchrun that has a rank."""
    marked = f"RANK={rank}".encode()
    return next(
        below for below in descendants(process) if marked in Path(f"/proc/{below}/environ").read_bytes().split(b"\0")
    )


def test_two_hosts_lose_what_one_process_does(tmp_path, start, capsys):
    alone(tmp_path, *arguments(tmp_path, "one"))
    both = [start(host, *arguments(tmp_path, "two")) for host in HOSTS]
    for process in both:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said[-3000:]
        if process is both[0]:
            assert "training on the CPU in 4 processes of 1 thread" in said
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert list(one) == [4, 8, 12]
    apart = max(abs(two[step] - one[step]) / one[step] for step in one)
    with capsys.disabled():
        print(f"\nvalidation losses of one process {one}, of two hosts of two processes {two}: {apart:.1e} apart")
    assert apart < 1e-4


def test_a_process_killed_on_one_host_ends_both_and_the_run_goes_on_elsewhere(tmp_path, start, capsys):
    given = arguments(tmp_path, "two", steps=10**6)
    both = {host: start(host, *given) for host in HOSTS}
    deadline = time.monotonic() + 300
    while 8 not in losses(tmp_path / "two"):
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in both.values())
        time.sleep(0.2)
    os.kill(of_rank(both["b"].pid, 3), signal.SIGKILL)
    killed = time.monotonic()
    said = {host: process.communicate(timeout=120)[1] for host, process in both.items()}
    took = time.monotonic() - killed
    with capsys.disabled():
        print(f"\none process of four was killed: the last launcher ended {took:.1f} s later")
    assert took < LONGEST_S
    assert [process.returncode for process in both.values()] == [1, 1]
    assert "another process of this run ended or can't be reached" in said["a"]
    before = losses(tmp_path / "two")
    # One process goes on; Ctrl-C ends it.
    process = subprocess.Popen(
        [sys.executable, "-m", "musicae.cli", "train", "--resume", "two"], cwd=tmp_path, env=environment_of(tmp_path)
    )
    while max(losses(tmp_path / "two")) < max(before) + 8:
        assert time.monotonic() < deadline + 300
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 0
