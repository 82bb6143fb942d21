"""A worm store: a zarr group of worms, each a recording with what is known of it.

A worm is a group ``NAME`` whose array ``traces`` is float32 ``[frames, 302]``; the attributes of
the store list the worms in order.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from zapeval.benchmarks.celegans.names import NAMES
from zapeval.benchmarks.celegans.sources import safe_name
from zapeval.benchmarks.celegans.worm import Card, Worm, card_of, digest_of
from zapeval.errors import InvalidInput, NotFound, StorageError
from zapeval.recordings.metadata import read_group_attributes
from zapeval.recordings.recording import TRACES, Recordings, open_recording
from zapeval.recordings.stores import Store, open_store
from zapeval.recordings.writer import Layout, write_array, write_group

SCHEMA = "zapeval.worms/1"

REPORT = "report.json"
"""What preparing said, beside the worms."""


@dataclass(frozen=True, kw_only=True)
class WormStore:
    """The worms of a store.

    Attributes:
        store: Where they are.
        cards: What is known of each, in the store's order.
        digest: Digest of the whole set.
    """

    store: Store
    cards: tuple[Card, ...]
    digest: str

    def recordings(self) -> Recordings:
        """Returns the recordings by the key of each worm, opened lazily."""
        return Recordings(
            {
                card.key: partial(open_recording, self.store.child(card.name).uri)
                for card in self.cards
            }
        )


def open_worms(uri: str | Path) -> WormStore:
    """Returns the store at a folder or URI; reads no activity.

    Raises:
        NotFound: There is none.
        InvalidInput: It is no store of worms.
    """
    store = open_store(str(uri))
    if store.path is not None and not store.path.is_dir():
        raise NotFound(f"{uri}: does not exist")
    said = read_group_attributes(store)
    if said.get("schema") != SCHEMA:
        raise InvalidInput(
            f"{uri}: is no store of worms; make one with `zapeval data prepare celegans --from DIR`"
        )
    listed = said.get("worms")
    if not isinstance(listed, dict) or not listed:
        raise InvalidInput(f"{uri}: lists no worm; prepare it again")
    unsafe = [name for name in listed if safe_name(name) != name]
    if unsafe:
        raise InvalidInput(f"{uri}: lists a worm called {unsafe[0]!r:.60}; prepare it again")
    cards = tuple(read_card(store.child(name)) for name in listed)
    for card, (name, digest) in zip(cards, listed.items(), strict=True):
        if (card.name, card.digest) != (name, digest):
            raise InvalidInput(f"{uri}: {name} is another worm than the store lists")
    return WormStore(store=store, cards=cards, digest=str(said.get("digest")))


def read_card(store: Store) -> Card:
    """Returns what a worm's folder says of it.

    Raises:
        InvalidInput: It is no worm's.
    """
    return card_of(read_group_attributes(store), store.uri)


def write_worm(folder: Path, worm: Worm) -> None:
    """Writes a worm into the folder of a store: it is there as a whole or not at all.

    Raises:
        StorageError: The disk is full.
    """
    target, partial_ = folder / worm.name, folder / f".{worm.name}.part"
    try:
        for left in (target, partial_):
            if left.exists():
                shutil.rmtree(left)
        partial_.mkdir(parents=True)
        store = open_store(partial_)
        write_array(store.child(TRACES), worm.activity, Layout(chunk=worm.activity.shape))
        write_group(store, worm.to_attributes())
        partial_.rename(target)
    except OSError as error:
        raise StorageError(f"{target}: could not be written: {error.strerror}") from error


def write_list(folder: Path, digests: Mapping[str, str], said: Mapping[str, Any]) -> str:
    """Writes what makes a folder of worms a store, and returns the digest of the set.

    Args:
        folder: Holds the worms.
        digests: Digest of each worm by its name, in order.
        said: More attributes.
    """
    digest = set_digest(digests)
    attributes = {"schema": SCHEMA, "digest": digest, **said, "worms": dict(digests)}
    write_group(open_store(folder), attributes)
    return digest


def set_digest(digests: Mapping[str, str]) -> str:
    """Returns the digest of a set of worms, whatever their order."""
    lines = "".join(f"{name} {digests[name]}\n" for name in sorted(digests))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def verify_worms(store: WormStore) -> Sequence[str]:
    """Returns what is wrong with a store, a sentence each: every worm is read."""
    findings = []
    recordings = store.recordings()
    for card in store.cards:
        where = store.store.child(card.name)
        try:
            activity = recordings[card.key].activity
            if activity.shape[1:] != (len(NAMES),) or activity.dtype != "float32":
                findings.append(f"{where}: holds {activity.dtype} {list(activity.shape)}")
                continue
            got = digest_of(
                activity.read(),
                name=card.name,
                source=card.provenance.source,
                dt=card.dt,
                labelled=card.labelled,
            )
        except (InvalidInput, NotFound) as error:
            findings.append(str(error))
            continue
        if got != card.digest:
            findings.append(f"{where}: has other content than was prepared; prepare it again")
    digests = {card.name: card.digest for card in store.cards}
    if set_digest(digests) != store.digest:
        findings.append(f"{store.store}: lists other worms than were prepared; prepare it again")
    return findings
