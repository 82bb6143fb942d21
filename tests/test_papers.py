"""The papers of a release: citation, licences, what the policy says of versions."""

from __future__ import annotations

import re
import tomllib

import yaml
from documents import PROJECT

from zapeval.forecasting.manifest import SCHEMA as PREDICTIONS
from zapeval.scoring.scorecard import SCHEMA as SCORECARD

METADATA = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]

CFF = {
    *("abstract", "authors", "cff-version", "keywords", "license", "message", "title", "type"),
    "version",
}
"""Keys that are used here, of those of the Citation File Format 1.2.0."""


def test_the_citation_says_what_pyproject_says():
    said = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert set(said) == CFF
    assert said["cff-version"] == "1.2.0"
    assert said["type"] == "software"
    assert str(said["version"]) == METADATA["version"]
    assert said["license"] == METADATA["license"]
    assert said["authors"] == METADATA["authors"]
    assert said["title"].endswith(METADATA["description"][1:])
    assert len(said["keywords"]) == len(set(said["keywords"]))
    assert set(said["keywords"]) == set(METADATA["keywords"])


def test_every_pinned_package_is_listed_with_its_licence():
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    pinned = [tuple(line.split("==")) for line in lines if not line.startswith("#")]
    text = (PROJECT / "docs" / "licences.md").read_text()
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (.+) \|$", text, re.MULTILINE)[1:]
    listed = [(name, version) for name, version, _ in rows]
    assert listed == pinned, "constraints.txt has changed: `make constraints` writes both"
    assert len(pinned) > 100
    assert [name for name, _, licence in rows if licence == "not declared"] == []


def test_every_extra_is_explained():
    text = (PROJECT / "docs" / "install.md").read_text()
    explained, _, measured = text.partition("### Sizes")
    rows = re.findall(r"^\| `([\w-]+)` \|", explained, re.MULTILINE)
    extras = METADATA["optional-dependencies"]
    assert sorted(rows) == sorted(extras)
    sizes = re.findall(r"^\| `([\w-]+)` \| (3\.\d+) \|", measured, re.MULTILINE)
    assert {name for name, _ in sizes} == set(extras) - {"dev", "docs"} | {"base"}
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(METADATA["classifiers"]))
    assert {python for name, python in sizes if name == "base"} == set(supported)


def test_the_policy_names_the_schemas_that_are_written():
    text = (PROJECT / "docs" / "policy.md").read_text()
    assert f"`{METADATA['version']}`" in text
    assert set(re.findall(r"zapeval\.\w+/\d+", text)) == {PREDICTIONS, SCORECARD}


def test_the_security_page_names_sections_that_exist():
    text = (PROJECT / "SECURITY.md").read_text()
    links = re.findall(r"\]\((docs/\w+\.md)#([\w-]+)\)", text)
    assert links
    for page, anchor in links:
        headings = re.findall(r"^#+ (.+)$", (PROJECT / page).read_text(), re.MULTILINE)
        assert anchor in {slug(heading) for heading in headings}, f"{page}#{anchor}"


def slug(heading):
    """Returns what a heading's anchor is called."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
