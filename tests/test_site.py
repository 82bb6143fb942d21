"""The site of docs: it builds, shows the public names, and asks for nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from documents import PROJECT

import zapeval

pytest.importorskip("properdocs", reason="needs the extra docs")

SETTINGS = PROJECT / "properdocs.yml"


class Fetched(HTMLParser):
    """Collects what a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.addresses.append(given.get("src") or "")
        elif tag == "link" and given.get("rel") != "canonical":
            self.addresses.append(given.get("href") or "")


def build(settings: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "properdocs", "build", "--strict"]
    return subprocess.run(
        [*command, "-f", str(settings), "-d", str(out)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    out = tmp_path_factory.mktemp("site")
    done = build(SETTINGS, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_built(site: Path) -> None:
    pages = {path.relative_to(PROJECT / "docs") for path in (PROJECT / "docs").rglob("*.md")}
    for page in pages - {Path("index.md")}:
        assert (site / page.with_suffix("") / "index.html").is_file(), page
    assert (site / "index.html").is_file()
    assert not list(site.rglob("*.py"))


def test_the_reference_shows_every_public_name_with_its_methods(site: Path) -> None:
    page = (site / "reference" / "forecasters" / "index.html").read_text()
    shown = set(re.findall(r'id="([\w.]+)"', page))
    assert {f"zapeval.{name}" for name in zapeval.__all__} <= shown
    assert "zapeval.Forecaster.forecast" in shown
    assert "Returns the forecast in df/f" in page


def test_a_page_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        reader = Fetched()
        reader.feed(page.read_text())
        assert reader.addresses, page
        away = [one for one in reader.addresses if re.match(r"(https?:)?//", one)]
        assert away == [], page


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[there](other.md#other)", ""),
        ("[nowhere](nowhere.md)", "nowhere.md"),
        ("[no heading](other.md#another)", "another"),
        ("::: zapeval.NoSuchClass", "NoSuchClass"),
    ],
)
def test_what_leads_nowhere_ends_the_build(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Home\n\n{text}\n")
    (tmp_path / "docs" / "other.md").write_text("# Other\n")
    (tmp_path / "docs" / "site.css").touch()
    said = SETTINGS.read_text().replace("paths: [.]", f"paths: [{PROJECT}]")
    nav = re.compile(r"^nav:\n(?:  .*\n)+", re.MULTILINE)
    said, replaced = nav.subn("nav:\n  - index.md\n  - other.md\n", said)
    assert replaced == 1
    (tmp_path / "properdocs.yml").write_text(said)
    done = build(tmp_path / "properdocs.yml", tmp_path / "site")
    assert bool(done.returncode) == bool(named), done.stderr
    assert named in done.stdout + done.stderr
