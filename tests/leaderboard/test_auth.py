from __future__ import annotations

import re
from datetime import timedelta

import pytest
from accounts import Enrol, Person
from sqlalchemy import text

from leaderboard.auth import Scope, csrf_of, digest_of, identify, is_noted, issue, note_use
from leaderboard.database import Database
from leaderboard.problems import Unauthenticated
from leaderboard.tables import Token, User, now


def test_secret_has_a_prefix_and_256_bits(member: Person) -> None:
    assert re.fullmatch(r"zap_[A-Za-z0-9_-]{43}", member.secret)


def test_no_table_holds_the_secret(database: Database, member: Person) -> None:
    with database.read() as session:
        rows = session.execute(text("SELECT * FROM tokens")).all()
    assert digest_of(member.secret) in repr(rows)
    assert member.secret not in repr(rows)
    assert member.secret.removeprefix("zap_") not in repr(rows)


def test_secret_tells_who_it_belongs_to(database: Database, member: Person, other: Person) -> None:
    with database.read() as session:
        for person in (member, other):
            found = identify(session, person.secret, now())
            assert (found.user_id, found.name, found.role) == (
                person.user_id,
                person.name,
                "member",
            )


@pytest.mark.parametrize(
    "secret", ["", "zap_", "zap_" + "A" * 43, "Bearer", "\0", "\ud800", "' OR 1=1 --", "é" * 5000]
)
def test_unknown_secrets_are_nobody(database: Database, member: Person, secret: str) -> None:
    with database.read() as session, pytest.raises(Unauthenticated, match="not known"):
        identify(session, secret, now())


def test_a_secret_cut_or_lengthened_is_nobody(database: Database, member: Person) -> None:
    with database.read() as session:
        for wrong in (member.secret[:-1], member.secret + "A", member.secret.swapcase()):
            with pytest.raises(Unauthenticated):
                identify(session, wrong, now())


def test_token_ends_at_its_very_moment(database: Database, member: Person) -> None:
    end = member.identity.expires
    with database.read() as session:
        assert identify(session, member.secret, end - timedelta(microseconds=1))
        with pytest.raises(Unauthenticated, match="expired"):
            identify(session, member.secret, end)


def test_revoked_token_is_nobody(database: Database, member: Person) -> None:
    with database.write() as session:
        session.get_one(Token, member.identity.token_id).revoked = now()
    with database.read() as session, pytest.raises(Unauthenticated, match="revoked"):
        identify(session, member.secret, now())


def test_disabled_account_is_nobody(database: Database, member: Person) -> None:
    with database.write() as session:
        session.get_one(User, member.user_id).disabled = now()
    with database.read() as session, pytest.raises(Unauthenticated, match="disabled"):
        identify(session, member.secret, now())


def test_scopes_are_those_of_the_token(enrol: Enrol) -> None:
    reader = enrol("reader", scopes={Scope.read})
    assert reader.identity.scopes == {Scope.read}


def test_role_limits_what_a_token_says(database: Database, admin: Person) -> None:
    assert admin.identity.is_admin
    with database.write() as session:
        session.get_one(User, admin.user_id).role = "member"
    with database.read() as session:
        found = identify(session, admin.secret, now())
    assert found.scopes == {Scope.read, Scope.submit}
    assert not found.is_admin


def test_admin_without_the_scope_is_no_admin(enrol: Enrol) -> None:
    assert not enrol("careful", "admin", {Scope.read, Scope.submit}).identity.is_admin


def test_last_use_is_noted_at_most_once_a_minute(database: Database, member: Person) -> None:
    first = now()

    def used(seconds: float) -> float:
        with database.write() as session:
            note_use(session, member.identity.token_id, first + timedelta(seconds=seconds))
        with database.read() as session:
            at = session.get_one(Token, member.identity.token_id).last_used
        assert at is not None
        return (at - first).total_seconds()

    assert [used(s) for s in (0, 1, 59, 60, 61, 200)] == [0, 0, 0, 60, 60, 200]


def test_noted_is_what_was_noted_within_a_minute(database: Database, member: Person) -> None:
    at = now()
    assert not is_noted(member.identity, at)
    with database.write() as session:
        note_use(session, member.identity.token_id, at)
    with database.read() as session:
        seen = identify(session, member.secret, at)
    assert is_noted(seen, at + timedelta(seconds=59))
    assert not is_noted(seen, at + timedelta(seconds=60))


def test_form_token_tells_nothing_of_the_secret_and_differs_by_session(
    database: Database, member: Person
) -> None:
    with database.write() as session:
        _, another = issue(session, member.user_id, "x", [Scope.read], 1)
    assert csrf_of(member.secret) == csrf_of(member.secret)
    assert csrf_of(member.secret) != csrf_of(another)
    assert digest_of(member.secret) != csrf_of(member.secret)
