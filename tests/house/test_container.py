"""The container file, read: nothing here can build it everywhere; .ci/run does where it can."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".ci/Containerfile"
INSTRUCTIONS = {
    *("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "USER"),
    "WORKDIR",
}


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments in one line."""
    lines = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = (line.partition(" ") for line in text.splitlines() if line.strip())
    return [(name, arguments.strip()) for name, _, arguments in pairs]


def arguments(name: str, stage: int = 0) -> list[str]:
    """Of all instructions of that name in a stage, the last one by default."""
    starts = [i for i, (each, _) in enumerate(instructions()) if each == "FROM"]
    first = starts[stage - 1]
    ends = [*starts, len(instructions())]
    last = next(end for end in ends if end > first)
    return [text for each, text in instructions()[first:last] if each == name]


def test_instructions_are_known_and_images_pinned() -> None:
    assert {name for name, _ in instructions()} <= INSTRUCTIONS
    images = [text.split()[0] for name, text in instructions() if name == "FROM"]
    assert len(images) == 2
    assert len(set(images)) == 1
    assert re.fullmatch(r"docker\.io/library/python:\d+\.\d+\.\d+-slim-[a-z]+", images[0])
    python = re.findall(r"Python (\d+\.\d+)", (ROOT / ".ci/requirements-cpu.txt").read_text())[0]
    assert f":{python}." in images[0]


def test_sources_exist_and_are_not_ignored() -> None:
    sources = [s for text in arguments("COPY", 1) for s in text.split()[:-1]]
    shown = (FILE.parent / "Containerfile.dockerignore").read_text().split()
    assert {f"!{source}" for source in sources} == {line for line in shown if line[0] == "!"}
    assert all((ROOT / source).exists() for source in sources)


def test_every_package_is_pinned() -> None:
    pins = (ROOT / ".ci/requirements-cpu.txt").read_text().splitlines()
    commands = " ".join(arguments("RUN", 1)).split("pip install ")[1:]
    words = [word.strip("'") for command in commands for word in command.split("&&")[0].split()]
    versions = [word for word in words if "==" in word]
    names = [word for word in words if re.fullmatch(r"[a-z][a-z0-9-]+", word)]
    assert len(versions) == 1
    assert set(versions) <= set(pins)
    assert {"torchrec", "fbgemm-gpu-cpu", "psycopg2-binary"} < set(names)
    assert set(names) <= {pin.partition("==")[0] for pin in pins}
    assert all(re.match(r"(--no-deps )?-c pins\.txt ", command) for command in commands)


def test_it_serves_as_a_user_without_rights_and_is_asked_for_its_health() -> None:
    assert [user.isdecimal() and user != "0" for user in arguments("USER")] == [True]
    (command,), (entry,) = arguments("CMD"), arguments("ENTRYPOINT")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert [*json.loads(entry)] == [*scripts]
    words = json.loads(command)
    assert words == ["serve", "/model", "--host", "0.0.0.0"]
    (port,), (health,) = arguments("EXPOSE"), arguments("HEALTHCHECK")
    assert f"http://127.0.0.1:{port}/health" in json.loads(health.partition("CMD ")[2])[2]


def test_no_secret_is_in_it() -> None:
    secret = re.compile(r"(?i)password|passwd|token|secret|credential|api_?key|://[^/\s]*@")
    assert not secret.search(FILE.read_text())
