"""Pages: what strangers wrote is text, what is not there says so, and forms do what they say."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import placed
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from leaderboard.caching import Memory
from leaderboard.database import Database
from leaderboard.tables import Submission, new_id, now

sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
HTML = {"Accept": "text/html"}

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "</title></caption></table><h1>x",
    "=HYPERLINK(1)",
    "safe\u202eexe.txt\u2066",
    "zero\u200bwidth\u0000bell\x07".replace("\0", ""),
    "W" * 200,
)


class _Marks(HTMLParser):
    """Collects every element and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs


def marks_of(page: str) -> _Marks:
    found = _Marks()
    found.feed(page)
    return found


@pytest.fixture(autouse=True)
def fresh(app: FastAPI) -> None:
    """Every request asks the database anew."""
    app.state.memory = Memory(fresh=0.0)


@pytest.fixture
def there(database: Database) -> placed.Placed:
    found = placed.place(database, ("persistence", "var"))
    placed.rank(database, found.board)
    return found


OPEN = (
    *("/", "/boards/zapbench-mini/4", "/entries/id-of-var"),
    "/compare?entries=id-of-var,id-of-persistence",
)


@sqlite
def test_what_strangers_wrote_is_text_on_every_page(
    client: TestClient, database: Database, there: placed.Placed
) -> None:
    plain = {address: marks_of(client.get(address).text) for address in OPEN}
    for text in HOSTILE:
        _require_text(client, database, plain, text)


def _require_text(
    client: TestClient, database: Database, plain: dict[str, _Marks], text: str
) -> None:
    sheet = placed.SHEET | {
        "authors": [text],
        "code": f"javascript:alert(1)//{text}",
        "paper": f'https://example.org/"{text}',
        "training_data": text,
        "leakage": text,
        "cost": {"parameters": 1, "training_hours": 0.1, "hardware": text},
    }
    placed.change(database, "id-of-var", name=text, fact_sheet=sheet, flag=text)
    for address, before in plain.items():
        page = client.get(address).text
        found = marks_of(page)
        assert set(found.elements) <= set(before.elements) | {"div", "h2", "span"}, address
        assert not [name for name, _ in found.attributes if name.startswith("on")], address
        links = [
            str(value) for name, value in found.attributes if name in ("href", "src", "action")
        ]
        assert not [
            link for link in links if not link.startswith(("/", "#", "https://example.org"))
        ]
        assert not re.search("[\u200b\u202a-\u202e\u2066-\u2069\x07]", page), address
        assert "style" not in found.elements
        assert not [name for name, _ in found.attributes if name == "style"], address
    for ending in ("csv", "md", "tex"):
        answer = client.get(f"/api/v1/boards/zapbench-mini/4.{ending}")
        assert answer.headers["content-type"].startswith(
            ("text/csv", "text/markdown", "application")
        )
        assert answer.headers["x-content-type-options"] == "nosniff"


@sqlite
def test_a_link_is_made_of_an_https_address_alone(
    client: TestClient, database: Database, there: placed.Placed
) -> None:
    sheet = placed.SHEET | {"code": "https://example.org/a?b=1", "paper": "javascript:alert(1)"}
    placed.change(database, "id-of-var", fact_sheet=sheet)
    page = client.get("/entries/id-of-var").text
    assert '<a href="https://example.org/a?b=1" rel="nofollow noopener noreferrer ugc">' in page
    assert 'href="javascript' not in page


PAGES = (
    *("/", "/boards/zapbench-mini/4", "/entries/id-of-var", "/benchmarks", "/benchmarks/zapbench"),
    *("/docs", "/sign-in", "/nothing"),
)


@sqlite
def test_a_page_runs_and_loads_its_own_files_alone(
    client: TestClient, there: placed.Placed
) -> None:
    for address in PAGES:
        answer = client.get(address, headers=HTML)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<style" not in answer.text
        scripts = re.findall(r"<script[^>]*>([^<]*)</script>", answer.text)
        assert scripts
        assert not any(script.strip() for script in scripts)
        assert '<html lang="en">' in answer.text
        assert answer.text.count("<h1") == 1


@sqlite
def test_assets_never_change_under_their_address(client: TestClient) -> None:
    page = client.get("/").text
    addresses = re.findall(r'"(/static/[^"]+)"', page)
    assert len(addresses) >= 4
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        stale = re.sub(r"/static/\w+/", "/static/0123456789abcdef/", address)
        assert client.get(stale).status_code == 404
    for name in ("../tables.py", "%2e%2e%2ftables.py", "nothing.css"):
        assert client.get(f"/static/0123456789abcdef/{name}").status_code == 404


@sqlite
def test_what_is_not_there_is_a_page_for_people_and_json_for_programs(client: TestClient) -> None:
    for address in ("/nothing", "/entries/nothing", "/boards/nothing/4", "/benchmarks/nothing"):
        page = client.get(address, headers=HTML)
        assert page.status_code == 404
        assert page.headers["content-type"].startswith("text/html")
        assert "To the boards" in page.text
        said = client.get(address)
        assert said.headers["content-type"] == "application/problem+json"
    hostile = client.get("/entries/<script>alert(1)<%2fscript>", headers=HTML)
    assert hostile.status_code == 404
    assert "<script>alert" not in hostile.text


def sign_in(client: TestClient, secret: str) -> str:
    """Signs in; returns what forms of the session hold."""
    assert client.post("/sign-in", data={"token": secret, "next": "/"}).status_code == 303
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/").text)
    assert found is not None
    return found[1]


def submission(database: Database, user_id: str, **values: object) -> str:
    with database.write() as session:
        made = Submission(
            user_id=user_id,
            name="mine",
            benchmark="zapbench-mini",
            version=0,
            digest="",
            context=4,
            manifest={},
            fact_sheet={},
            identity=new_id(),
            **values,
        )
        session.add(made)
        session.flush()
        return made.id


@sqlite
def test_a_failed_submission_says_why_to_its_owner_alone(
    client: TestClient, database: Database, member, other
) -> None:
    reason = "test_condition_3[0, 4, 17]: is nan <b>, expected a finite number"
    own = submission(database, member.user_id, state="failed", reason=reason, committed=now())
    assert client.get(f"/submissions/{own}").status_code == 303
    sign_in(client, member.secret)
    page = client.get(f"/submissions/{own}")
    assert "is nan &lt;b&gt;, expected a finite number" in page.text
    assert "Run it again" in page.text
    assert "no-store" in page.headers["cache-control"]
    assert "mine" in client.get("/submissions").text
    client.cookies.clear()
    sign_in(client, other.secret)
    assert client.get(f"/submissions/{own}", headers=HTML).status_code == 404
    assert "mine" not in re.sub("<[^>]+>", "", client.get("/submissions").text)


def test_an_owner_publishes_hides_and_withdraws_with_forms(
    client: TestClient, database: Database, member, other
) -> None:
    placed.place(database, ("persistence", "var"))
    placed.change(
        database, "id-of-var", visibility="private", user_id=member.user_id, published=None
    )
    csrf = sign_in(client, member.secret)
    assert "Only you see this entry" in client.get("/entries/id-of-var").text
    at = "/entries/id-of-var"
    assert client.post(f"{at}/publish", data={"csrf": "wrong"}).status_code == 403
    assert client.post(f"{at}/publish", data={"csrf": csrf}).status_code == 303
    assert "Everybody sees this entry" in client.get(at).text
    assert client.post(f"{at}/unpublish", data={"csrf": csrf}).status_code == 303
    assert client.post(f"{at}/withdraw", data={"csrf": csrf, "reason": "  "}).status_code == 422
    said = {"csrf": csrf, "reason": "It saw\nthe test."}
    assert client.post(f"{at}/withdraw", data=said).status_code == 303
    assert "It saw the test." in client.get(at).text
    client.cookies.clear()
    stranger = sign_in(client, other.secret)
    answer = client.post(f"{at}/publish", data={"csrf": stranger})
    assert answer.status_code in (403, 404, 409)


@sqlite
def test_a_cancelled_submission_is_cancelled_by_its_form(
    client: TestClient, database: Database, member
) -> None:
    own = submission(database, member.user_id, state="queued", committed=now())
    csrf = sign_in(client, member.secret)
    page = client.get(f"/submissions/{own}").text
    assert "Cancel it" in page
    assert client.post(f"/submissions/{own}/cancel", data={"csrf": csrf}).status_code == 303
    assert "cancelled by its submitter" in client.get(f"/submissions/{own}").text


@sqlite
def test_the_page_of_one_person_is_never_sent_to_another(
    client: TestClient, there: placed.Placed, member
) -> None:
    sign_in(client, member.secret)
    mine = client.get("/boards/zapbench-mini/4")
    assert "Sign out" in mine.text
    assert "private" in mine.headers["cache-control"]
    client.cookies.clear()
    public = client.get("/boards/zapbench-mini/4", headers={"If-None-Match": mine.headers["etag"]})
    assert public.status_code == 200
    assert "Sign out" not in public.text
    assert member.name not in public.text


@sqlite
def test_the_reference_lists_every_address_of_the_schema(client: TestClient) -> None:
    page = client.get("/docs").text
    schema = client.get("/api/v1/openapi.json").json()
    for path, methods in schema["paths"].items():
        assert f"<code>{path}</code>" in page
        assert all(method.upper() in page for method in methods)


@sqlite
def test_benchmarks_are_shown_with_windows_and_digest(client: TestClient) -> None:
    from zapeval.benchmarks.catalogue import find_recipe

    recipe = find_recipe("zapbench-smoke")
    benchmark = recipe.resolve(recipe.recordings())
    view = client.get("/api/v1/benchmarks/zapbench-smoke").json()
    assert view["digest"] == benchmark.digest
    assert [s["windows"] for s in view["series"]] == [s.windows for s in benchmark.series]
    page = client.get("/benchmarks/zapbench-smoke").text
    assert benchmark.digest in page
    assert "zapeval submit predictions.zarr --to http://testserver" in page
    assert client.get("/api/v1/forecasters").json()["forecasters"]
    assert client.get("/api/v1/benchmarks?x=1").status_code == 422
