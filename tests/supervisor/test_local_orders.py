"""Orders and questions on the node itself, with real processes and no controller that decides anything."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import pytest

from sipctl.engine.generation import Generations
from sipctl.errors import EngineError
from sipctl.routing.snapshot import Decision
from sipctl.supervisor.ask_local import NobodyError, ask, give_alone, look_alone
from sipctl.supervisor.local_wire import Ask, End, Give, Picture
from tests.supervisor.conftest import House, eventually


def an_order(**changes: object) -> Give:
    return replace_give(Give("failover", "bcp", "the controller is gone", group="acme", force=("no-view",)), **changes)


def replace_give(give: Give, **changes: object) -> Give:
    from msgspec.structs import replace as changed

    return changed(give, **changes)


def seed(house: House) -> None:
    """A generation that names its groups, as a controller publishes them."""
    state = house.seed(seq=3)
    found = Generations(house.state / "snapshots").found()[0][0]
    table = found.table.read_bytes()
    groups = {"acme": Decision(), "beta": Decision()}
    Generations(house.state / "snapshots").write(replace(state, seq=4, decisions=groups), table)


def given(house: House, give: Give) -> End:
    answer = ask(house.state, give)
    assert isinstance(answer, End)
    return answer


def picture(house: House) -> Picture:
    answer = ask(house.state, Ask())
    assert isinstance(answer, Picture)
    return answer


def percent(now: Picture | None) -> list[int]:
    """Where each router sends new calls of acme."""
    assert now is not None
    return [router.groups["acme"].decision.bcp_percent for router in now.routers]


def test_an_order_reaches_the_router_is_on_disk_and_is_kept_by_its_successor(house: House) -> None:
    seed(house)
    house.start()
    assert percent(picture(house)) == [0]
    told = given(house, an_order())
    assert told.status == "done" and "1 router follows" in told.text, told
    assert percent(picture(house)) == [100]
    written = json.loads((house.state / "local-orders.json").read_text())
    assert [order["group"] for order in written["orders"]] == ["acme"]
    assert (house.state / "local-orders.json").stat().st_mode & 0o077 == 0
    dead = house.kill("router-0")
    eventually(lambda: house.pid("router-0") not in (None, dead) and house.is_ready("router-0"), "a successor")
    assert percent(picture(house)) == [100], "the successor follows it too"


def test_an_order_outlives_supervisor_router_and_spare_together(house: House) -> None:
    seed(house)
    house.start()
    assert given(house, an_order()).status == "done"
    house.look()
    for name in ("supervisor", "router-0", "spare"):
        house.kill(name)
    house.start()
    assert percent(picture(house)) == [100]
    assert [order.number for order in picture(house).orders] == [1]


def test_an_order_leaves_the_file_once_a_snapshot_on_disk_holds_it(house: House) -> None:
    seed(house)
    house.start()
    assert given(house, an_order()).status == "done"
    found = Generations(house.state / "snapshots").found()[0][0]
    adopted = replace(found.state, term=found.state.term + 1, orders_taken=1, decisions={"acme": Decision(100, left="primary")})
    Generations(house.state / "snapshots").write(adopted, found.table.read_bytes())
    for name in ("supervisor", "router-0", "spare"):
        house.kill(name)
    house.start()
    now = picture(house)
    assert (percent(now), now.orders) == ([100], ())
    assert given(house, an_order(kind="failback", to="primary")).status == "done"
    now = picture(house)
    assert ([order.number for order in now.orders], percent(now)) == ([2], [0]), "numbers go on where they were"


def test_without_a_supervisor_the_order_is_written_and_the_router_that_lives_is_told(house: House) -> None:
    seed(house)
    house.start()
    router = house.ask()[0]
    house.kill("supervisor")
    with pytest.raises(NobodyError):
        ask(house.state, Ask())
    told = give_alone(house.state, an_order())
    assert told.status == "done" and "1 of 1 routers follow" in told.text, told
    assert percent(look_alone(house.state)) == [100]
    assert house.ask()[0] == router, "the router goes on by itself"
    house.start()
    assert house.ask()[0] == router, "and the next supervisor takes it over"
    assert percent(picture(house)) == [100]


def test_who_has_no_lock_of_state_writes_nothing(house: House) -> None:
    seed(house)
    house.start()
    with pytest.raises(EngineError, match="already runs"):
        give_alone(house.state, an_order())
    assert not (house.state / "local-orders.json").exists()


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"group": "amce"}, "invalid", "did you mean acme?"),
        ({"reason": " "}, "invalid", "--reason TEXT"),
        ({"every": True}, "invalid", ""),
        ({"kind": "pin"}, "invalid", ""),
        ({"force": ("nonsense",)}, "invalid", "target-out-of-service"),
        ({"dry_run": True}, "done", ""),
    ],
)
def test_an_order_that_is_wrong_or_rehearsed_changes_nothing(
    house: House, changes: dict[str, object], status: str, words: str
) -> None:
    seed(house)
    house.start()
    told = given(house, an_order(**changes))
    assert told.status == status and words in told.hint, told
    assert percent(picture(house)) == [0] and picture(house).orders == ()


def test_a_damaged_order_book_is_put_aside_and_said(house: House) -> None:
    seed(house)
    (house.state / "local-orders.json").write_text("{]")
    house.start()
    assert "put aside as local-orders.damaged" in house.log()
    assert (house.state / "local-orders.damaged").read_text() == "{]"
    assert given(house, an_order()).status == "done"


def test_a_silent_router_is_named_and_the_others_are_not_waited_for(house: House) -> None:
    seed(house)
    house.start()
    house.kill("router-0", signal.SIGSTOP)
    now = picture(house)
    assert now.silent == ("r1",) and now.routers == ()


@pytest.mark.parametrize("role", ["controller", "desk"])
def test_a_frozen_controller_or_desk_is_killed_and_replaced(house: House, role: str) -> None:
    seed(house)
    house.start()
    eventually(lambda: house.is_ready(role), f"the {role} works")
    old = house.kill(role, signal.SIGSTOP)
    eventually(lambda: house.pid(role) not in (None, old), f"a new {role}")
    assert f"{role}, process {old}, is killed: stopped, and no heartbeat" in house.log()
    assert not os.path.exists(f"/proc/{old}")


def test_a_child_in_an_exit_loop_is_started_later_each_time_and_told(house: House) -> None:
    seed(house)
    house.start()
    assert picture(house).troubles == {}
    for _ in range(3):
        eventually(lambda: house.is_ready("desk"), "a desk works")
        house.kill("desk")
        dead = house.pid("desk")
        eventually(lambda dead=dead: house.pid("desk") != dead or dead is None, "it is dead")  # type: ignore[misc]
    eventually(lambda: "desk" in picture(house).troubles, "it is told")
    assert "the desk has ended 3 times shortly after its start" in picture(house).troubles["desk"]
    assert "desk.stderr" in house.log()
