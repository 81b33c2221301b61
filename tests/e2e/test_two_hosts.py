"""One training on two hosts: network namespaces that a pair of virtual interfaces joins."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from recsys_mtl.cli.status import WRONG_INPUT
from recsys_mtl.runs.train import train
from tests.toy import Toy

pytestmark = pytest.mark.slow  # processes
CHANGES = ("model.dropout=0", "training.early_stopping.patience=null")
TIMEOUT_S = 4
PORT = "29511"


@dataclass
class Hosts:
    """Two network namespaces, each with one interface, that reach each other alone."""

    name: str
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def address(self, host: int) -> str:
        return f"10.213.7.{host + 1}"

    def interface(self, host: int) -> str:
        return f"{self.name}{host}"

    def make(self) -> None:
        for host in range(2):
            ip("netns", "add", self.interface(host))
        own = [("name", self.interface(host), "netns", self.interface(host)) for host in range(2)]
        ip("link", "add", *own[0], "type", "veth", "peer", *own[1])
        for host in range(2):
            inside = ("-n", self.interface(host))
            ip(*inside, "addr", "add", f"{self.address(host)}/24", "dev", self.interface(host))
            for link in ("lo", self.interface(host)):
                ip(*inside, "link", "set", link, "up")

    def remove(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
        for host in range(2):
            subprocess.run(["ip", "netns", "del", self.interface(host)], check=False)

    def cut(self) -> None:
        ip("-n", self.interface(0), "link", "set", self.interface(0), "down")

    def start(self, host: int, words: Sequence[str], log: Path, **more: str) -> None:
        """Start Python on a host, in an environment with `more`; all its output goes to a file."""
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": self.interface(host),
            **more,
        }
        with log.open("w") as file:
            self.running.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", self.interface(host), sys.executable, *words],
                    env=environment,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )

    def ended(self, seconds: float) -> list[int]:
        """The exit codes of all that was started."""
        until = time.monotonic() + seconds
        codes = [process.wait(max(until - time.monotonic(), 0.1)) for process in self.running]
        self.running.clear()
        return codes


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    if not shutil.which("ip"):
        pytest.skip("no two hosts: there is no command `ip` (iproute2)")
    made = Hosts(f"mtl{os.getpid() % 10**8}h")
    try:
        try:
            made.make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no two hosts: {' '.join(error.cmd)}: {error.stderr.strip()}")
        yield made
    finally:
        made.remove()


def command(toy: Toy, *changes: str) -> list[str]:
    """The training of the toy, as words of Python."""
    config = toy.write(toy.document())
    words = ["-m", "recsys_mtl", "train", str(config), "--out", str(toy.folder / "two")]
    sets = (*CHANGES, *changes)
    return words + [word for change in sets for word in ("--set", change)]


def losses(result: dict[str, Any]) -> list[float]:
    """Of all tasks, epochs and splits."""
    return [
        loss
        for epoch in result["training"]["epochs"]
        for split in ("train_losses", "valid_losses")
        for loss in epoch[split].values()
    ]


def test_torchrun_on_two_hosts_trains_as_one_process(toy: Toy, hosts: Hosts) -> None:
    words = command(toy)
    for host in range(2):
        torchrun = ["-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
        torchrun += ["--node-rank", str(host), "--master-addr", hosts.address(0)]
        log = toy.folder / f"{host}.log"
        hosts.start(host, [*torchrun, "--master-port", PORT, *words], log)
    codes = hosts.ended(240)
    assert codes == [0, 0], "".join((toy.folder / f"{host}.log").read_text() for host in range(2))
    two = json.loads((toy.folder / "two" / "result.json").read_text())
    one = train(toy.config(*CHANGES), toy.folder / "one")
    assert losses(two) == pytest.approx(losses(one), rel=1e-6, abs=1e-6)
    assert two["data"]["rows"] == one["data"]["rows"]


def test_a_cut_link_ends_both_within_the_timeout(toy: Toy, hosts: Hosts) -> None:
    words = command(toy, "training.epochs=100000", f"training.distributed.timeout_s={TIMEOUT_S}")
    logs = [toy.folder / f"{host}.log" for host in range(2)]
    for host, log in enumerate(logs):
        place = {"RANK": str(host), "WORLD_SIZE": "2", "MASTER_ADDR": hosts.address(0)}
        hosts.start(host, words, log, MASTER_PORT=PORT, LOCAL_RANK="0", **place)
    until = time.monotonic() + 240
    while "epoch 2" not in logs[0].read_text():
        assert time.monotonic() < until, [log.read_text() for log in logs]
        assert all(process.poll() is None for process in hosts.running), logs[0].read_text()
        time.sleep(0.1)
    hosts.cut()
    begun = time.monotonic()
    codes = hosts.ended(60)
    seconds = time.monotonic() - begun
    texts = [log.read_text() for log in logs]
    assert codes == [WRONG_INPUT, WRONG_INPUT], texts
    assert seconds < TIMEOUT_S + 10  # leaving the group, and a busy machine
    for text in texts:
        assert "Traceback" not in text
        (line,) = [line for line in text.splitlines() if "another process of this training" in line]
        assert re.search(r"training\.distributed\.timeout_s", line)
