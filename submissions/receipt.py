"""A receipt: a signed statement that binds a scorecard to what it was computed from.

Signed with Ed25519 (RFC 8032) are the bytes of the statement as canonical JSON: names sorted, no
spaces, UTF-8 (RFC 8785; it holds no numbers but whole ones, so how a float is written never
matters). The scores are bound by the SHA-256 of the scorecard's own bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from submissions.card import parse_plain
from zapeval.errors import InvalidInput, StorageError, UsageError
from zapeval.recordings.documents import DOCUMENT_LIMIT, read_document
from zapeval.recordings.stores import open_store, require
from zapeval.recordings.writer import files_into
from zapeval.scoring.scorecard import Scorecard

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SCHEMA = "zapeval.receipt/1"
KEY_LIMIT = 16 << 10
"""Largest key file in bytes."""

_Digest = Annotated[str, Field(pattern=r"^(sha256|blake3):[0-9a-f]{64}$")]
_Text = Annotated[str, Field(max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Statement(_Part):
    """What is signed.

    Attributes:
        benchmark: ``id@version``.
        context: Context length in frames.
        benchmark_digest: Digest of the benchmark.
        data_digest: Digest of the target frames.
        predictions_digest: Digest of the predictions.
        scored_set: Digest of which neurons were scored.
        scores_digest: SHA-256 of the scorecard's bytes.
        code_version: Version of zapeval that scored.
        time: When it was signed, UTC (ISO 8601).
    """

    benchmark: _Text
    context: int
    benchmark_digest: _Digest
    data_digest: _Digest
    predictions_digest: _Digest
    scored_set: _Text
    scores_digest: _Digest
    code_version: _Text
    time: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")

    def canonical(self) -> bytes:
        """Returns the bytes that are signed."""
        said = {"schema": SCHEMA} | self.model_dump(mode="json")
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode()


class Receipt(_Part):
    """A statement with its signature and the key that it can be checked with.

    Attributes:
        statement: What is signed.
        public_key: The key's 32 bytes, base64.
        signature: The signature's 64 bytes, base64.
    """

    schema_: Literal["zapeval.receipt/1"] = Field(default="zapeval.receipt/1", alias="schema")
    statement: Statement
    public_key: str = Field(pattern=r"^[A-Za-z0-9+/]{43}=$")
    signature: str = Field(pattern=r"^[A-Za-z0-9+/]{86}==$")

    def to_json(self) -> str:
        """Returns the receipt as JSON."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=1) + "\n"


def sign(scorecard: Path, key: Path, *, time: datetime | None = None) -> Receipt:
    """Returns a signed receipt of a scorecard.

    Args:
        scorecard: The scorecard's file.
        key: File of the private key, PEM.
        time: When it is signed; None is now.

    Raises:
        NotFound: A file does not exist.
        InvalidInput: It is no scorecard, or no Ed25519 key.
        UsageError: The library that signs is not installed.
    """
    private = _private_key(key)
    statement = statement_of(scorecard, time or datetime.now(UTC))
    return Receipt(
        statement=statement,
        public_key=_encoded(private.public_key().public_bytes_raw()),
        signature=_encoded(private.sign(statement.canonical())),
    )


def statement_of(scorecard: Path, time: datetime) -> Statement:
    """Returns the statement about a scorecard.

    Raises:
        NotFound: The file does not exist.
        InvalidInput: It is no scorecard.
    """
    data = require(open_store(scorecard.parent), scorecard.name, DOCUMENT_LIMIT)
    card = parse_plain(data, scorecard)
    try:
        return Statement(
            **_identity(card),
            scores_digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
            time=time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
    except ValidationError as error:
        raise _invalid(error, scorecard) from error


def verify(receipt: Path, scorecard: Path, public_key: Path) -> Statement:
    """Returns the statement of a receipt that holds for a scorecard.

    Args:
        receipt: The receipt's file.
        scorecard: The scorecard's file.
        public_key: File of the key of whoever is trusted to sign, PEM.

    Raises:
        NotFound: A file does not exist.
        InvalidInput: The signature is not theirs, or a field is not what the scorecard says; names
            every such field.
        UsageError: The library that verifies is not installed.
    """
    said = read_receipt(receipt)
    findings = [f"{receipt}: {text}" for text in _unsigned(said, _public_key(public_key))]
    try:
        found = statement_of(scorecard, datetime.now(UTC))
    except InvalidInput as error:
        findings += [f"{scorecard}: scores_digest: can't be compared: {error}"]
    else:
        for name in Statement.model_fields:
            got, want = getattr(found, name), getattr(said.statement, name)
            if name != "time" and got != want:
                findings.append(f"{scorecard}: {name} is {got!r}, but the receipt says {want!r}")
    if findings:
        raise InvalidInput("\n".join(findings), findings)
    return said.statement


def read_receipt(path: Path) -> Receipt:
    """Returns the receipt in a file; nothing is verified.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is no receipt.
    """
    store = open_store(path.parent)
    document = read_document(store, path.name)
    if document is None:
        require(store, path.name, DOCUMENT_LIMIT)
    try:
        return Receipt.model_validate(document)
    except ValidationError as error:
        raise _invalid(error, path) from error


def write_keys(path: Path) -> Path:
    """Writes a new private key (mode 0600) and, beside it, its public key; returns the latter.

    Raises:
        InvalidInput: One of the files exists.
        StorageError: They could not be written.
        UsageError: The library that makes keys is not installed.
    """
    keys = _library()
    serialization = _serialization()
    public = path.with_name(f"{path.name}.pub")
    key = keys.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    shown = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if os.path.lexists(public):
        raise InvalidInput(f"{public}: exists; keys are never overwritten: choose another name")
    _create(path, private, 0o600)
    _create(public, shown, 0o644)
    return public


def write_receipt(receipt: Receipt, path: Path) -> None:
    """Writes a receipt, in one piece.

    Raises:
        StorageError: It could not be written.
    """
    with files_into(path.parent) as folder:
        (folder / path.name).write_text(receipt.to_json(), encoding="utf-8")


def _identity(card: Scorecard) -> dict[str, Any]:
    return {
        "benchmark": f"{card.benchmark['id']}@{card.benchmark['version']}",
        "context": card.benchmark["context"],
        "benchmark_digest": card.benchmark["digest"],
        "data_digest": card.data["digest"],
        "predictions_digest": card.predictions["digest"],
        "scored_set": card.scored_set,
        "code_version": str(card.environment.get("zapeval", "unknown")),
    }


def _unsigned(receipt: Receipt, key: Ed25519PublicKey) -> Iterator[str]:
    """Yields why a receipt is not signed with a key."""
    from cryptography.exceptions import InvalidSignature

    if receipt.public_key != _encoded(key.public_bytes_raw()):
        yield "public_key: is not the key that is trusted"
    try:
        key.verify(
            base64.b64decode(receipt.signature, validate=True), receipt.statement.canonical()
        )
    except (InvalidSignature, binascii.Error, ValueError):
        yield "signature: does not fit the statement and the trusted key"


def _create(path: Path, data: bytes, mode: int) -> None:
    """Writes a file that must not exist; nobody but its owner can read it meanwhile."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise InvalidInput(
            f"{path}: exists; keys are never overwritten: choose another name"
        ) from error
    except OSError as error:
        raise StorageError(f"{path}: could not be written: {error.strerror}") from error


def _private_key(path: Path) -> Ed25519PrivateKey:
    keys, serialization = _library(), _serialization()
    data = require(open_store(path.parent), path.name, KEY_LIMIT)
    try:
        found = serialization.load_pem_private_key(data, password=None)
    except Exception as error:  # the library has many, some of them its own
        raise InvalidInput(f"{path}: is no private key (PEM, without a password)") from error
    if not isinstance(found, keys.Ed25519PrivateKey):
        raise InvalidInput(f"{path}: is no Ed25519 key; make one with `zapeval receipt keygen`")
    return cast("Ed25519PrivateKey", found)


def _public_key(path: Path) -> Ed25519PublicKey:
    keys, serialization = _library(), _serialization()
    data = require(open_store(path.parent), path.name, KEY_LIMIT)
    try:
        found = serialization.load_pem_public_key(data)
    except Exception as error:  # the library has many, some of them its own
        raise InvalidInput(f"{path}: is no public key (PEM)") from error
    if not isinstance(found, keys.Ed25519PublicKey):
        raise InvalidInput(f"{path}: is no Ed25519 key; expected the signer's public key")
    return cast("Ed25519PublicKey", found)


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise UsageError(
            'receipts: need cryptography; install it with `pip install "zapeval[leaderboard]"`'
        ) from error
    return ed25519


def _serialization() -> Any:
    from cryptography.hazmat.primitives import serialization

    return serialization


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _invalid(error: ValidationError, path: Path) -> InvalidInput:
    found = [
        f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}"
        for one in error.errors(include_url=False)[:12]
    ]
    return InvalidInput("\n".join(found), found)
