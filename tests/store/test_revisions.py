"""What a revision is kept with, beside its files; and that a store of the first schema learns it."""

import sqlite3
from pathlib import Path

import pytest

from sipctl.control.ports import Revision, Wishes
from sipctl.errors import StoreError
from sipctl.store.database import MIGRATIONS
from sipctl.store.sqlite import SqliteStore


def a_revision(number: int, **facts: object) -> Revision:
    return Revision(number, 1000.0, "mary", "CHG7", "3f9c1e2", number - 1, {"dialplans/a.yaml": str(number)}, **facts)  # type: ignore[arg-type]


def test_what_was_overruled_and_what_changed_is_kept_with_the_revision(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sipctl.db")
    kept = a_revision(3, content="ab" * 32, rollback_to=1, despite=("tests",), again=True, diff=("412 numbers move", "é"))
    store.add_revision(kept)
    store.close()
    again = SqliteStore(tmp_path / "sipctl.db")
    assert again.revision(3) == kept
    assert [(one.rollback_to, one.despite, one.diff) for one in again.revisions(5)] == [(1, ("tests",), kept.diff)]


def test_a_store_of_the_first_schema_is_brought_up_to_date_and_keeps_its_revisions(tmp_path: Path) -> None:
    path = tmp_path / "sipctl.db"
    old = sqlite3.connect(path)
    old.executescript("CREATE TABLE migration (version INTEGER PRIMARY KEY, name TEXT, at_unix_s REAL);")
    old.executescript(MIGRATIONS[0][1])
    old.execute("INSERT INTO migration (version, name) VALUES (1, 'first')")
    old.execute("INSERT INTO revision (number, at_unix_s, author, reason, base) VALUES (4, 9.0, 'mary', 'CHG6', 3)")
    old.execute("INSERT INTO live (number, at_unix_s) VALUES (4, 10.0)")
    old.commit()
    old.close()
    store = SqliteStore(path)
    assert store.live_revision() == Revision(4, 9.0, "mary", "CHG6", None, 3, {})
    store.add_revision(a_revision(5, content="cd"))
    found = store.revision(5)
    assert found is not None and found.content == "cd"


def test_a_rename_keeps_its_id_and_is_written_with_the_word_that_it_is_live(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sipctl.db")
    store.save_ids({"group": {"acme": 1, "bank": 2}, "sbc": {"acme": 1}})
    store.add_revision(a_revision(2))
    store.set_live(2, 5.0, Wishes(term=7), {"group": {"acme-eu": "acme"}})
    assert store.ids() == {"group": {"acme-eu": 1, "bank": 2}, "sbc": {"acme": 1}}
    assert (store.live_number(), store.load_wishes().term) == (2, 7)
    with pytest.raises(StoreError, match="UNIQUE"):
        store.set_live(2, 6.0, Wishes(term=8), {"group": {"bank": "acme-eu"}})
    assert store.load_wishes().term == 7, "all of it, or nothing"


def test_damaged_facts_are_named(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sipctl.db")
    store.add_revision(a_revision(2))
    store.database.write_all("test", "UPDATE revision SET facts = ?", [(b"\xc1",)])
    with pytest.raises(StoreError, match="revision 2"):
        store.revision(2)
