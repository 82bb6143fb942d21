"""The deployment: its files are what the code can run, and its steps by hand do what they say."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import postgres
import pytest
import yaml
from documents import PROJECT, blocks
from servers import free_port
from typer.main import get_command

from leaderboard.settings import Settings
from zapeval.cli.app import app

COMPOSE = PROJECT / "deploy" / "compose.yaml"
CONTAINERFILE = PROJECT / "deploy" / "Containerfile"
PAGE = PROJECT / "docs" / "deploy.md"

SERVICE = {
    *("build", "command", "depends_on", "environment", "healthcheck", "image", "ports"),
    *("restart", "stop_grace_period", "volumes"),
}
"""Keys of a service that are used here, of those that the Compose specification has."""

INSTRUCTIONS = {
    *("CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "RUN", "USER", "VOLUME", "WORKDIR"),
}

OURS = {f"ZAPEVAL_{name.upper()}" for name in Settings.model_fields} | {"ZAPEVAL_DATA"}
OTHERS = {"FORWARDED_ALLOW_IPS"}
"""Read by uvicorn."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document = yaml.safe_load(COMPOSE.read_text())
    assert isinstance(document, dict)
    return document


def instructions() -> list[tuple[str, str]]:
    """Returns instruction and text of each, with continued lines joined."""
    text = CONTAINERFILE.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def said(instruction: str) -> list[str]:
    return [rest for name, rest in instructions() if name == instruction]


def parse(words: list[str]) -> None:
    """Takes words as `zapeval` would, without running anything; fails on what it does not know."""
    command: Any = get_command(app)
    context = command.make_context("zapeval", list(words), resilient_parsing=False)
    _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(command.name, rest, parent=context)


def test_services_and_volumes_are_what_the_specification_knows(compose: dict[str, Any]) -> None:
    assert set(compose) == {"name", "services", "volumes", "x-board"}
    assert list(compose["services"]) == ["database", "web", "worker"]
    used = set()
    for name, service in compose["services"].items():
        assert set(service) <= SERVICE, name
        used |= {volume.split(":")[0] for volume in service["volumes"]}
        assert set(service.get("depends_on", ())) <= set(compose["services"]), name
    assert used == set(compose["volumes"])


def test_services_and_containerfile_run_commands_that_exist(compose: dict[str, Any]) -> None:
    assert said("ENTRYPOINT") == ['["zapeval"]']
    (default,) = said("CMD")
    parse(yaml.safe_load(default))
    for service in ("web", "worker"):
        parse(compose["services"][service]["command"])
    with pytest.raises(Exception, match="No such command"):
        parse(["score-all"])
    with pytest.raises(Exception, match="No such option"):
        parse(["serve", "--no-workers"])


def test_the_page_types_commands_that_exist() -> None:
    text = PAGE.read_text()
    typed = re.findall(r"^zapeval ([^\n>]+?) [&>]", text, re.MULTILINE)
    typed += re.findall(r"(?:run --rm worker|exec web zapeval) ([^`\n#]+)", text)
    assert len(typed) == 4
    for words in typed:
        parse(words.split())


def test_variables_are_settings_of_the_board(compose: dict[str, Any]) -> None:
    for service in ("web", "worker"):
        assert set(compose["services"][service]["environment"]) <= OURS | OTHERS
    assert {line.partition("=")[0] for line in said("ENV")} <= OURS
    shown = set(re.findall(r"\b(ZAPEVAL_[A-Z_]+)\b", PAGE.read_text() + COMPOSE.read_text()))
    assert shown - OURS == {"ZAPEVAL_DATABASE_PASSWORD"}
    assert "ZAPEVAL_DATABASE_PASSWORD" in COMPOSE.read_text()


def test_web_and_worker_share_database_and_files(compose: dict[str, Any]) -> None:
    web, worker = (compose["services"][name] for name in ("web", "worker"))
    assert web["environment"] == worker["environment"]
    assert web["volumes"] == worker["volumes"]
    folders = {line.split("=")[1] for line in said("ENV") if line.startswith("ZAPEVAL_DATA")}
    assert {volume.split(":")[1] for volume in web["volumes"]} == folders
    database = compose["services"]["database"]["environment"]
    address = web["environment"]["ZAPEVAL_DATABASE"]
    assert address.startswith(f"postgresql+psycopg://{database['POSTGRES_USER']}:")
    assert address.endswith(f"@database:5432/{database['POSTGRES_DB']}")
    assert web["ports"] == [f"127.0.0.1:{Settings().port}:{said('EXPOSE')[0]}"]


def test_the_containerfile_copies_what_is_there_and_installs_extras_that_exist() -> None:
    assert {name for name, _ in instructions()} == INSTRUCTIONS
    for line in said("COPY"):
        *sources, _ = line.split()
        for source in sources:
            assert (PROJECT / source).exists(), source
    (run,) = said("RUN")
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', run)
    known = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(known["optional-dependencies"])
    assert said("USER") == ["zapeval"]


def test_images_are_plain_names(compose: dict[str, Any]) -> None:
    images = [*said("FROM"), *(one["image"] for one in compose["services"].values())]
    for image in images:
        assert re.fullmatch(r"[a-z]+(:[\w.-]+)?", image), image


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("needs PostgreSQL's programs")
    with postgres.running(binaries) as found:
        yield found


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_steps_by_hand_lead_to_a_board_and_end_it(
    server: postgres.Server, tmp_path: Path
) -> None:
    steps = [block.text for block in blocks(PAGE) if block.language == "bash"]
    assert len(steps) == 5
    script, port = "".join(steps), str(free_port())
    assert script.count("8000") == 3
    script = script.replace("8000", port)
    script, found = re.subn(r"postgresql\+psycopg://\S+", server.url(server.create()), script)
    assert found == 1
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: text for name, text in os.environ.items() if not name.startswith("ZAPEVAL_")}
    with (tmp_path / "said").open("w+") as said_there:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=kept | {"PATH": path, "HOME": str(tmp_path)},
            stdout=said_there,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(200)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    told = (tmp_path / "said").read_text()
    logs = "".join((tmp_path / f"{name}.log").read_text() for name in ("serve", "worker"))
    assert code == 0, told + logs
    assert "zapeval_database_bytes " in told
    assert "become the admin with the invitation" in (tmp_path / "serve.out").read_text()
    assert ": begins" in logs
    assert (tmp_path / "board" / "files").is_dir()
