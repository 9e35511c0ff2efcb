"""The store keeps what it said it keeps: across reopening, across a kill at every statement, on a full disk."""

import os
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from sipctl.control.ports import DecisionRecord, Revision, Wishes
from sipctl.errors import StoreError
from sipctl.store.database import SCHEMA_VERSION
from sipctl.store.operations import Operation
from sipctl.store.sqlite import SqliteStore
from sipctl.store.tokens import ROLES, find


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sipctl.db"


def a_revision(number: int, *, files: dict[str, str] | None = None, base: int | None = None) -> Revision:
    return Revision(
        number=number, at_unix_s=1000.0 + number, author="ops-1", reason="CHG0042", commit="3f9c1e2", base=base,
        files=files if files is not None else {"dialplans/acme.yaml": f"rev {number}\n", "sbc_configs/fra.yaml": "same\n"},
    )  # fmt: skip


def a_decision(group: str, epoch: int) -> DecisionRecord:
    return DecisionRecord(
        group=group, epoch=epoch, term=3, at_unix_s=5.0 + epoch, rule="primary-lost", sentence="acme goes to BCP",
        before={"state": "normal"}, inputs={"sbcs": {"fra-a": 2}}, after={"state": "on-bcp"},
    )  # fmt: skip


def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    store = SqliteStore(path)
    wishes = Wishes(
        groups={"acme": {"held": "bcp", "moves": [1.0, 2.5]}}, sbc_admin={"fra-a": 1}, automation=False,
        extra_sources=(("carrier-one", "192.0.2.0/24", 99.5),), term=4, seq=97,
    )  # fmt: skip
    store.save_wishes(wishes)
    store.add_revision(a_revision(1))
    store.set_live(1, 2000.0)
    store.append_decision(a_decision("acme", 7))
    store.save_ids({"sbc": {"fra-a": 1}})
    store.save_key(3, b"k" * 32, 10.0)
    store.close()

    again = SqliteStore(path)
    assert again.load_wishes() == wishes
    live = again.live_revision()
    assert live is not None
    assert (live.number, live.live_at_unix_s, live.files) == (1, 2000.0, a_revision(1).files)
    assert again.decisions("acme", 10) == [a_decision("acme", 7)]
    assert again.ids() == {"sbc": {"fra-a": 1}}
    assert again.keys() == [(3, b"k" * 32, 10.0)]


def test_an_empty_store_has_no_revision_no_wishes_and_no_ids(path: Path) -> None:
    store = SqliteStore(path)
    assert store.live_revision() is None
    assert store.revision(1) is None
    assert store.load_wishes() == Wishes()
    assert (store.ids(), store.keys(), store.decisions(None, 5), store.revisions(5)) == ({}, [], [], [])


def test_the_file_is_for_its_owner_only(path: Path) -> None:
    SqliteStore(path).save_key(0, b"s" * 32, 1.0)
    assert {entry.stat().st_mode & 0o077 for entry in path.parent.iterdir()} == {0}


def test_ids_are_never_reused(path: Path) -> None:
    store = SqliteStore(path)
    store.save_ids({"sbc": {"fra-a": 1, "fra-b": 2}})
    store.save_ids({"sbc": {"fra-b": 2, "fra-c": 3}, "trunk": {"one": 1}})
    assert store.ids() == {"sbc": {"fra-a": 1, "fra-b": 2, "fra-c": 3}, "trunk": {"one": 1}}
    with pytest.raises(StoreError, match="has id 1, not 9"):
        store.save_ids({"sbc": {"fra-a": 9}})
    with pytest.raises(StoreError, match="UNIQUE"):
        store.save_ids({"sbc": {"fra-d": 4, "fra-e": 1}})
    assert "fra-d" not in store.ids()["sbc"], "half of a refused write must not stay"


def test_a_term_is_above_every_term_heard_of_and_never_given_twice(path: Path) -> None:
    store = SqliteStore(path)
    assert [store.take_term(0), store.take_term(0), store.take_term(10), store.take_term(4)] == [1, 2, 11, 12]
    store.close()
    assert SqliteStore(path).take_term(0) == 13


def test_a_revision_number_is_never_given_twice(path: Path) -> None:
    store = SqliteStore(path)
    store.add_revision(a_revision(5))
    for number in (5, 4):
        with pytest.raises(StoreError, match="is not above 5"):
            store.add_revision(a_revision(number))
    with pytest.raises(StoreError, match="there is no revision 6"):
        store.set_live(6, 1.0)


def test_the_listing_of_revisions_leaves_the_files_out(path: Path) -> None:
    store = SqliteStore(path)
    for number in (1, 2, 3):
        store.add_revision(a_revision(number))
    assert [(revision.number, dict(revision.files)) for revision in store.revisions(2)] == [(3, {}), (2, {})]


def test_a_rollback_makes_an_older_revision_live_again(path: Path) -> None:
    store = SqliteStore(path)
    store.add_revision(a_revision(1))
    store.add_revision(a_revision(2, base=1))
    for number in (1, 2, 1):
        store.set_live(number, 50.0)
    assert store.live_number() == 1


def test_a_file_that_did_not_change_is_kept_once(path: Path) -> None:
    store = SqliteStore(path)
    big = "".join(f"+49309018{n:05d},sales\n" for n in range(20_000))
    for number in range(1, 6):
        store.add_revision(a_revision(number, files={"dialplans/numbers.csv": big, "dialplans/a.yaml": str(number)}))
    assert store.database.rows("count", "SELECT count(*) FROM blob") == [(6,)]
    revision = store.revision(3)
    assert revision is not None
    assert revision.files == {"dialplans/numbers.csv": big, "dialplans/a.yaml": "3"}


def test_bytes_that_are_no_utf_8_come_back_as_they_were(path: Path) -> None:
    store = SqliteStore(path)
    text = b"caf\xe9,1\r\n".decode("utf-8", "surrogateescape")
    store.add_revision(a_revision(1, files={"dialplans/x.csv": text}))
    revision = store.revision(1)
    assert revision is not None and revision.files["dialplans/x.csv"] == text


def test_decisions_come_newest_first_by_group_or_of_all(path: Path) -> None:
    store = SqliteStore(path)
    for epoch, group in enumerate(("acme", "bank", "acme")):
        store.append_decision(a_decision(group, epoch))
    assert [record.epoch for record in store.decisions("acme", 10)] == [2, 0]
    assert [record.epoch for record in store.decisions(None, 2)] == [2, 1]


def killed_at(statement: int, path: Path, work: Callable[[SqliteStore], None]) -> bool:
    """Run ``work`` in a child that kills itself before its n-th statement; True if it was killed, False if it finished."""
    child = os.fork()
    if child == 0:
        store = SqliteStore(path)
        seen = [0]

        def count(_sql: str) -> None:
            seen[0] += 1
            if seen[0] == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        store.database.watch_statements(count)
        work(store)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize(
    ("work", "picture", "old", "new"),
    [
        (
            lambda store: store.add_revision(a_revision(2)),
            lambda store: [(r.number, len((store.revision(r.number) or a_revision(0)).files)) for r in store.revisions(9)],
            [(1, 2)], [(2, 2), (1, 2)],
        ),
        (lambda store: store.set_live(1, 9.0), lambda store: (store.live_number(), store.revisions(1)[0].live_at_unix_s),
         (None, None), (1, 9.0)),
        (lambda store: store.save_wishes(Wishes(term=8)), lambda store: store.load_wishes().term, 4, 8),
        (lambda store: store.save_ids({"sbc": {"b": 2, "c": 3}}), lambda store: store.ids(),
         {"sbc": {"a": 1}}, {"sbc": {"a": 1, "b": 2, "c": 3}}),
    ],
    ids=["revision", "live", "wishes", "ids"],
)  # fmt: skip
def test_a_kill_before_any_statement_leaves_the_old_state_or_the_new(
    path: Path, work: Callable[[SqliteStore], None], picture: Callable[[SqliteStore], object], old: object, new: object
) -> None:
    store = SqliteStore(path)
    store.add_revision(a_revision(1))
    store.save_wishes(Wishes(term=4))
    store.save_ids({"sbc": {"a": 1}})
    store.close()
    statement = 0
    while True:
        statement += 1
        was_killed = killed_at(statement, path, work)
        store = SqliteStore(path)
        assert picture(store) == (old if was_killed else new)
        store.close()
        if not was_killed:
            break
    assert statement > 3, "the kill must have fallen between BEGIN and COMMIT too"


def test_a_full_disk_is_a_store_error_and_what_was_there_stays(path: Path) -> None:
    store = SqliteStore(path, max_pages=60)
    store.add_revision(a_revision(1))
    noise = os.urandom(400_000).hex()
    with pytest.raises(StoreError, match="full") as caught:
        store.add_revision(a_revision(2, files={"dialplans/big.csv": noise}))
    assert "free space" in caught.value.hint
    assert [revision.number for revision in store.revisions(5)] == [1]
    store.save_wishes(Wishes(term=1))
    assert store.load_wishes().term == 1


def test_a_directory_that_may_not_be_written_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="opening"):
        SqliteStore(tmp_path / "missing" / "sipctl.db")
    with pytest.raises(StoreError, match="opening"):
        SqliteStore(Path("/proc/sipctl.db"))  # nobody may make a file there, not even root


def test_a_damaged_file_is_refused_with_what_to_do(path: Path) -> None:
    store = SqliteStore(path)
    for number in range(1, 30):
        store.add_revision(a_revision(number, files={"a.csv": os.urandom(3000).hex()}))
    store.close()
    damaged = bytearray(path.read_bytes())
    for offset in range(4096, len(damaged), 4096):
        damaged[offset : offset + 64] = b"\xff" * 64
    path.write_bytes(damaged)
    with pytest.raises(StoreError) as caught:
        SqliteStore(path)
    assert "move sipctl.db" in caught.value.hint


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="not a database"):
        SqliteStore(path)


def test_a_store_of_a_newer_sipctl_is_refused_and_left_as_it_is(path: Path) -> None:
    SqliteStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO migration (version, name) VALUES (?, 'future')", (SCHEMA_VERSION + 1,))
    connection.close()
    with pytest.raises(StoreError, match="this sipctl knows"):
        SqliteStore(path)


def test_controller_and_desk_share_one_file(path: Path) -> None:
    controller, desk = SqliteStore(path), SqliteStore(path)
    controller.append_decision(a_decision("acme", 1))
    desk.tokens.create("s3cret", "ops-1", "operator", "admin", 5.0)
    assert len(desk.decisions(None, 5)) == 1
    assert [token.name for token in controller.tokens.every()] == ["ops-1"]


def test_a_reader_without_rights_sees_what_the_others_wrote(path: Path) -> None:
    store = SqliteStore(path)
    store.add_revision(a_revision(1))
    store.set_live(1, 3.0)
    reader = SqliteStore(path, read_only=True)
    assert reader.live_number() == 1
    assert reader.revision(1) == store.revision(1)
    with pytest.raises(StoreError, match="readonly"):
        reader.save_wishes(Wishes())


def test_a_token_is_found_by_its_secret_and_only_its_hash_is_kept(path: Path) -> None:
    store = SqliteStore(path)
    made = store.tokens.create("a-very-secret-token", "ops-1", "operator", "admin", 5.0)
    store.database.rows("checkpoint", "PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"a-very-secret-token" not in path.read_bytes()
    assert find(store.tokens.active(), "a-very-secret-token") == made
    assert find(store.tokens.active(), "a-very-secret-tokeN") is None


def test_a_revoked_token_is_no_longer_active_and_its_name_is_not_given_again(path: Path) -> None:
    store = SqliteStore(path)
    store.tokens.create("one", "root", "admin", "first start", 1.0)
    store.tokens.create("two", "ops-1", "viewer", "root", 2.0)
    assert store.tokens.revoke("ops-1", 3.0)
    assert not store.tokens.revoke("ops-1", 4.0)
    assert not store.tokens.revoke("nobody", 4.0)
    assert find(store.tokens.active(), "two") is None
    assert [(token.name, token.revoked_at_unix_s) for token in store.tokens.every()] == [("root", None), ("ops-1", 3.0)]
    with pytest.raises(StoreError, match="given before"):
        store.tokens.create("three", "ops-1", "viewer", "root", 5.0)


def test_the_last_admin_token_cannot_be_revoked(path: Path) -> None:
    store = SqliteStore(path)
    store.tokens.create("one", "root", "admin", "first start", 1.0)
    with pytest.raises(StoreError, match="last admin"):
        store.tokens.revoke("root", 2.0)
    store.tokens.create("two", "other", "admin", "root", 3.0)
    assert store.tokens.revoke("root", 4.0)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 65])
def test_a_token_name_is_short_and_printable(path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="no name for a token"):
        SqliteStore(path).tokens.create("s", name, ROLES[0], "root", 1.0)


def test_a_token_needs_a_known_role(path: Path) -> None:
    with pytest.raises(StoreError, match="no role 'root'"):
        SqliteStore(path).tokens.create("s", "x", "root", "root", 1.0)


def test_an_operation_is_kept_through_all_its_states(path: Path) -> None:
    store = SqliteStore(path)
    sent = Operation(id="op-7Q2", op="failover", args={"to": "bcp"}, actor="ops-1", reason="CHG1", at_unix_s=1, status="running")
    store.operations.save(sent)
    done = Operation(
        id="op-7Q2", op="failover", args={"to": "bcp"}, actor="ops-1", reason="CHG1", at_unix_s=1.0, status="done",
        text="acme is on BCP", ended_at_unix_s=2.0,
    )  # fmt: skip
    store.operations.save(done)
    assert store.operations.get("op-7Q2") == done
    assert done.is_over and not sent.is_over
    assert store.operations.get("op-0") is None
    assert store.operations.latest(5) == [done]
