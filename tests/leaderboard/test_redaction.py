from pathlib import Path

import pytest

from leaderboard.redaction import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/board/files/x/zarr.json: is missing", "…: is missing"),
        ("it's at '/srv/board/x' now", "it's at '…' now"),
        ("got [1, 2]/[3] of 3/4", "got [1, 2]/[3] of 3/4"),
        ("mine/test_1/c/0/0/0: chunk is missing", "mine/test_1/c/0/0/0: chunk is missing"),
        ("see https://a.example/b/c for it", "see https://a.example/b/c for it"),
        ("postgresql://me:secret@host/board", "postgresql://host/board"),
        ("at 0x7f1ac001d2e0", "at 0x…"),
        ("a\x1b[31mred\nnext", "a\ufffd[31mred\nnext"),
        ("mae of mean/median", "mae of mean/median"),
    ],
)
def test_places_of_the_machine_are_not_told(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_a_store_is_called_by_its_name() -> None:
    store = Path("/srv/board/files/stores/abc")
    names = {store: "mine", store.parent: "others"}
    text = f"{store}/test_1: 3 windows\n{store.parent}/def: nothing"
    assert redacted(text, names) == "mine/test_1: 3 windows\nothers/def: nothing"


def test_the_end_of_a_long_text_is_kept() -> None:
    assert redacted("x" * 9000 + "end", limit=5) == "xxend"
