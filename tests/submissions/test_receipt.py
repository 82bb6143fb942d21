from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys

import pytest
from submitted import change, write_card

from submissions.receipt import Statement, read_receipt, statement_of, verify
from zapeval.errors import InvalidInput

FIELDS = [name for name in Statement.model_fields if name != "time"]


@pytest.fixture
def signed(tmp_path, run):
    """A scorecard, a key pair and a receipt."""
    card = write_card(tmp_path / "card.json")
    assert run("receipt", "keygen", "--out", tmp_path / "key").code == 0
    done = run("receipt", "sign", card, "--key", tmp_path / "key", "--out", tmp_path / "r.json")
    assert (done.code, done.err) == (0, "")
    return tmp_path


def verified(run, folder, public="key.pub", receipt="r.json"):
    return run(
        *("receipt", "verify", folder / receipt, folder / "card.json"),
        *("--public-key", folder / public),
    )


def test_a_receipt_holds_for_its_scorecard(run, signed):
    done = verified(run, signed)
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("the receipt holds\n")
    for name in Statement.model_fields:
        assert f"{name} " in done.out


def test_the_signature_is_ed25519_over_the_canonical_statement(signed):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    said = json.loads((signed / "r.json").read_text())
    statement = said["statement"] | {"schema": "zapeval.receipt/1"}
    pairs = ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in sorted(statement.items()))
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(said["public_key"]))
    key.verify(base64.b64decode(said["signature"]), f"{{{pairs}}}".encode())


@pytest.mark.parametrize("name", [*FIELDS, "time"])
def test_a_statement_that_is_changed_fails_by_signature_and_field(run, signed, name):
    def edit(document):
        old = document["statement"][name]
        new = {"context": 5, "time": "2020-01-01T00:00:00Z"}.get(name)
        if new is None:
            new = old[:-1] + ("0" if old[-1] != "0" else "1")
        document["statement"][name] = new

    change(signed / "r.json", edit)
    done = verified(run, signed)
    assert (done.code, done.out) == (3, "")
    assert "signature: does not fit" in done.err
    if name != "time":
        assert f"card.json: {name} is " in done.err


CHANGES = {
    "benchmark": lambda card: card["benchmark"].update(id="other"),
    "context": lambda card: card["benchmark"].update(context=256),
    "benchmark_digest": lambda card: card["benchmark"].update(digest="sha256:" + "a" * 64),
    "data_digest": lambda card: card["data"].update(digest="blake3:" + "a" * 64),
    "predictions_digest": lambda card: card["predictions"].update(digest="blake3:" + "a" * 64),
    "scored_set": lambda card: card.update(scored_set="sha256:" + "a" * 64),
    "scores_digest": lambda card: card["scores"][0].update(value=0.0),
    "code_version": lambda card: card["environment"].update(zapeval="9.9"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_scorecard_that_is_changed_fails_by_the_field(run, signed, name):
    change(signed / "card.json", CHANGES[name])
    done = verified(run, signed)
    assert (done.code, done.out) == (3, "")
    assert f"card.json: {name} is " in done.err
    assert "card.json: scores_digest is " in done.err
    assert "signature" not in done.err


def test_a_scorecard_that_says_the_same_in_other_bytes_fails(run, signed):
    change(signed / "card.json", lambda card: None)
    assert "scores_digest is" in verified(run, signed).err


@pytest.mark.parametrize("place", [0, 40, 85])
def test_a_changed_signature_fails(run, signed, place):
    def edit(document):
        data = document["signature"]
        document["signature"] = (
            data[:place] + ("A" if data[place] != "A" else "Q") + data[place + 1 :]
        )

    change(signed / "r.json", edit)
    done = verified(run, signed)
    assert (done.code, "r.json: signature: " in done.err) == (3, True)


def test_a_receipt_of_another_key_fails_though_it_holds_in_itself(run, signed):
    run("receipt", "keygen", "--out", signed / "thief")
    done = run(
        *("receipt", "sign", signed / "card.json"),
        *("--key", signed / "thief", "--out", signed / "forged.json"),
    )
    assert done.code == 0
    assert verified(run, signed, "thief.pub", "forged.json").code == 0
    done = verified(run, signed, receipt="forged.json")
    assert done.code == 3
    assert "public_key: is not the key that is trusted" in done.err
    assert "signature: does not fit" in done.err


def test_a_public_key_that_is_put_in_fails(run, signed):
    run("receipt", "keygen", "--out", signed / "other")
    run(
        "receipt",
        "sign",
        signed / "card.json",
        "--key",
        signed / "other",
        "--out",
        signed / "o.json",
    )
    other = read_receipt(signed / "o.json").public_key
    change(signed / "r.json", lambda said: said.update(public_key=other))
    done = verified(run, signed)
    assert (done.code, "public_key: is not the key" in done.err) == (3, True)
    assert "signature" not in done.err


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda said: said.update(rank=1), "rank: Extra inputs"),
        (lambda said: said.pop("signature"), "signature: Field required"),
        (lambda said: said.update(signature="A" * 20), "signature: String should match"),
        (lambda said: said.update(schema="x"), "schema: "),
        (lambda said: said["statement"].update(scores_digest="md5:0"), "scores_digest: String"),
        (lambda said: said["statement"].update(context="4"), "context: Input should be"),
        (lambda said: said["statement"].update(extra=1), "statement.extra: Extra inputs"),
    ],
)
def test_a_receipt_of_another_form_is_refused(run, signed, edit, says):
    change(signed / "r.json", edit)
    done = verified(run, signed)
    assert (done.code, done.out) == (3, "")
    assert says in done.err


@pytest.mark.parametrize("text", ['{"a": NaN}', "[" * 50_000, "{", "[]", "x" * (2 << 20)])
def test_a_hostile_receipt_is_refused(run, signed, text):
    (signed / "r.json").write_text(text)
    assert verified(run, signed).code == 3


def test_a_private_key_is_for_its_owner_alone_and_never_overwritten(run, signed):
    assert stat.S_IMODE((signed / "key").stat().st_mode) == 0o600
    before = (signed / "key").read_bytes()
    done = run("receipt", "keygen", "--out", signed / "key")
    assert (done.code, "never overwritten" in done.err) == (3, True)
    (signed / "key.pub").unlink()
    assert run("receipt", "keygen", "--out", signed / "key").code == 3
    assert (signed / "key").read_bytes() == before
    assert not (signed / "key.pub").exists()
    (signed / "link").symlink_to(signed / "elsewhere")
    assert run("receipt", "keygen", "--out", signed / "link").code == 3
    assert not (signed / "elsewhere").exists()


def test_a_private_key_has_its_mode_under_any_umask(tmp_path):
    code = (
        "import os; os.umask(0)\nfrom pathlib import Path\n"
        f"from submissions.receipt import write_keys\nwrite_keys(Path({str(tmp_path / 'k')!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600


def test_what_is_no_ed25519_key_is_refused(run, signed):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    other = ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (signed / "ec").write_bytes(other.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (signed / "ec.pub").write_bytes(
        other.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    options = ("--out", signed / "x.json")
    for key, says in (
        ("ec", "no Ed25519 key"),
        ("key.pub", "no private key"),
        ("card.json", "key"),
    ):
        done = run("receipt", "sign", signed / "card.json", "--key", signed / key, *options)
        assert (done.code, says in done.err) == (3, True)
        assert not (signed / "x.json").exists()
    assert "no Ed25519 key" in verified(run, signed, "ec.pub").err
    assert "no public key" in verified(run, signed, "key").err
    assert verified(run, signed, "none.pub").code == 4


def test_a_file_that_is_no_scorecard_is_not_signed(run, signed):
    (signed / "card.json").write_text("{}")
    options = ("--key", signed / "key", "--out", signed / "x.json")
    assert run("receipt", "sign", signed / "card.json", *options).code == 3
    assert not (signed / "x.json").exists()
    done = verified(run, signed)
    assert (done.code, "scores_digest: can't be compared" in done.err) == (3, True)


def test_without_the_library_the_extra_is_named(run, signed, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for arguments in (
        ("keygen", "--out", signed / "new"),
        ("sign", signed / "card.json", "--key", signed / "key", "--out", signed / "x.json"),
        ("verify", signed / "r.json", signed / "card.json", "--public-key", signed / "key.pub"),
    ):
        done = run("receipt", *arguments)
        assert (done.code, done.out) == (2, "")
        assert 'pip install "zapeval[leaderboard]"' in done.err


def test_the_time_is_that_of_signing_in_utc(signed):
    from datetime import datetime, timedelta, timezone

    east = timezone(timedelta(hours=9))
    said = statement_of(signed / "card.json", datetime(2026, 1, 1, 3, 4, 5, tzinfo=east))
    assert said.time == "2025-12-31T18:04:05Z"


def test_verify_returns_what_was_signed(signed):
    said = verify(signed / "r.json", signed / "card.json", signed / "key.pub")
    card = json.loads((signed / "card.json").read_text())
    assert said.predictions_digest == card["predictions"]["digest"]
    assert (said.benchmark, said.context) == ("zapbench-smoke@0", 4)
    with pytest.raises(InvalidInput):
        verify(signed / "card.json", signed / "card.json", signed / "key.pub")


@pytest.mark.parametrize("name", ["key", "key.pub", "card.json"])
def test_a_receipt_never_replaces_what_is_read_for_it(run, signed, name):
    before = (signed / name).read_bytes()
    done = run(
        *("receipt", "sign", signed / "card.json", "--key", signed / "key"),
        *("--out", signed / "." / name),
    )
    assert done.code == 2 and "--out would replace it" in done.err
    assert (signed / name).read_bytes() == before
