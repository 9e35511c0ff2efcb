"""`sipctl status --local`: what STATE tells by itself, and what the routers say of themselves, controller dead or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import typer

from sipctl.cli.client import EXIT_UNHEALTHY
from sipctl.cli.options import Output
from sipctl.cli.output import complain, print_json, print_table, say, when
from sipctl.errors import StoreError
from sipctl.routing.local_orders import LocalOrder
from sipctl.routing.snapshot import Admin, Decision, Operating, RoutingState
from sipctl.store.sqlite import SqliteStore
from sipctl.supervisor.ask_local import NobodyError, ask, look_alone
from sipctl.supervisor.local import LocalPicture, look
from sipctl.supervisor.local_wire import Ask, Picture

_OPERATING: Final = {
    Operating.IN_SERVICE: "in-service", Operating.OUT_OF_SERVICE: "out-of-service", Operating.UNKNOWN: "unknown",
}  # fmt: skip


def local_status(root: Path, output: Output) -> None:
    """Exit 1 if no router lives, a snapshot is damaged, or a process is in trouble."""
    picture = look(root)
    now, why_not = _asked(root)
    live, store_text = _live_revision(root)
    newest = picture.generations[0] if picture.generations else None
    if output is Output.json:
        print_json({**_body(picture, newest, live, store_text), "now": _now_body(now), "supervisor": why_not or "answers"})
    else:
        say(f"STATE {root} as it lies on disk" + (f"; {why_not}" if why_not else ", and what its routers say"))
        if now is not None:
            _print_now(now)
        _print(picture, newest, live, store_text, print_processes=now is None or not now.workers)
    has_router = any(name.startswith("router") for name in picture.processes)
    if not has_router or picture.faults or newest is None or (now is not None and now.troubles):
        raise typer.Exit(EXIT_UNHEALTHY)


def _asked(root: Path) -> tuple[Picture | None, str]:
    """(what the supervisor, or else the routers, say now; why the supervisor does not)."""
    try:
        answer = ask(root, Ask())
    except NobodyError as error:
        return look_alone(root), error.detail
    return (answer, "") if isinstance(answer, Picture) else (None, answer.text)


# -- what routers say ----------------------------------------------------------------------------------------------------------


def _now_body(now: Picture | None) -> dict[str, Any] | None:
    if now is None:
        return None
    return {
        "processes": [msgspec.to_builtins(worker) for worker in now.workers],
        "routers": {
            router.name: {
                "pid": router.pid, "build": router.build, "revision": router.revision, "term": router.term, "seq": router.seq,
                "calls": router.observe.calls,
                "groups": {
                    name: {
                        **_decision(group.decision),
                        "tenants": {"primary": group.tenants[0], "bcp": group.tenants[1]},
                        "operating": {"primary": _operating(group.operating[0]), "bcp": _operating(group.operating[1])},
                    }
                    for name, group in sorted(router.groups.items())
                },
                "sbcs": {
                    name: {"operating": _operating(sbc.operating), "calls": sbc.calls, "reason": sbc.reason}
                    for name, sbc in sorted(router.observe.sbcs.items())
                },
            }
            for router in now.routers
        },
        "silent": list(now.silent), "orders": [msgspec.to_builtins(order) for order in now.orders],
        "troubles": dict(now.troubles), "controller_serves": now.serves,
    }  # fmt: skip


def _print_now(now: Picture) -> None:
    rows = [(one.name, one.pid, "works" if one.at_work else "starts", f"{one.silent_s:.1f} s", one.build) for one in now.workers]
    print_table("processes", ("NAME", "PID", "STATE", "SILENT", "BUILD"), rows)
    say("a controller decides and its API answers" if now.serves else "no controller serves: routers go by what they hold")
    for text in now.troubles.values():
        complain(text)
    for name in now.silent:
        complain(f"router {name} does not answer")
    routers = [(one.name, one.revision, one.term, one.seq, one.observe.calls) for one in now.routers]
    print_table("routers", ("ROUTER", "REVISION", "TERM", "SEQ", "CALLS"), routers)
    if now.routers:
        first = now.routers[0]
        groups = [
            (name, f"{group.decision.bcp_percent} %", _side(group.tenants[0], group.operating[0]),
             _side(group.tenants[1], group.operating[1]), group.decision.reason)
            for name, group in sorted(first.groups.items())
        ]  # fmt: skip
        print_table(f"groups, as router {first.name} has them", ("GROUP", "BCP", "PRIMARY", "BCP TENANT", "REASON"), groups)
        sbcs = [(name, _operating(sbc.operating), sbc.calls, sbc.reason) for name, sbc in sorted(first.observe.sbcs.items())]
        print_table(f"sbcs, as router {first.name} measures them", ("SBC", "OPERATING", "CALLS", "REASON"), sbcs)
    orders = [(when(order.at_unix_s), _what(order), order.actor, order.reason) for order in now.orders]
    if orders:
        print_table("ordered on this node; a controller that returns takes it over", ("AT", "WHAT", "BY", "WHY"), orders)


def _what(order: LocalOrder) -> str:
    return f"failover {order.group} to {order.to}" if order.kind == "failover" else f"failback {order.group}"


def _side(tenant: str, operating: int) -> str:
    return f"{tenant} {_operating(operating)}"


def _operating(state: int) -> str:
    return _OPERATING[Operating(state)]


# -- what lies on disk ---------------------------------------------------------------------------------------------------------


def _live_revision(root: Path) -> tuple[int | None, str]:
    """(number of the live revision, what is wrong with the store)."""
    path = root / "sipctl.db"
    if not path.exists():
        return None, "there is no store yet"
    try:
        store = SqliteStore(path, read_only=True)
    except StoreError as error:
        return None, error.detail
    try:
        return store.live_number(), ""
    except StoreError as error:
        return None, error.detail
    finally:
        store.close()


def _body(picture: LocalPicture, newest: RoutingState | None, live: int | None, store_text: str) -> dict[str, Any]:
    snapshot = None
    if newest is not None:
        snapshot = {
            "revision": newest.revision, "term": newest.term, "seq": newest.seq, "node_admin": _word(newest.node_admin),
            "groups": {
                name: _decision(decision) for name, decision in sorted(newest.decisions.items())
            },
            "sbc_admin": {name: _word(admin) for name, admin in sorted(newest.sbc_admin.items())},
            "tenant_admin": {name: _word(admin) for name, admin in sorted(newest.tenant_admin.items())},
            "trunk_admin": {name: _word(admin) for name, admin in sorted(newest.trunk_admin.items())},
            "overlays": {name: {"until_unix_s": until or None} for name, until in newest.overlays},
            "switches": {name: {"until_unix_s": until or None} for name, until in newest.switches},
        }  # fmt: skip
    return {
        "local": True, "processes": picture.processes, "api": picture.api, "live_revision": live, "store": store_text or "ok",
        "snapshot": snapshot, "faults": list(picture.faults),
    }  # fmt: skip


def _print(
    picture: LocalPicture, newest: RoutingState | None, live: int | None, store_text: str, *, print_processes: bool
) -> None:
    if print_processes:
        print_table("processes", ("NAME", "PID"), sorted(picture.processes.items()))
    say(f"live revision {live}" if not store_text else f"store: {store_text}")
    for fault in picture.faults:
        complain(fault)
    if newest is None:
        say("snapshot: none on disk")
        return
    say(f"snapshot: revision {newest.revision}, term {newest.term}, seq {newest.seq}, node {_word(newest.node_admin)}")
    rows = [
        (name, f"{decision.bcp_percent} %", "pinned" if decision.pinned else "", decision.epoch, decision.reason)
        for name, decision in sorted(newest.decisions.items())
    ]
    print_table("groups", ("GROUP", "BCP", "MARKS", "EPOCH", "REASON"), rows)
    on = [
        (kind, name, when(until) if until else "switched off")
        for kind, found in (("overlay", newest.overlays), ("switch", newest.switches))
        for name, until in found
    ]
    if on:
        print_table("on", ("KIND", "NAME", "UNTIL"), on)
    wished = [
        (kind, name, _word(admin))
        for kind, admins in (("sbc", newest.sbc_admin), ("tenant", newest.tenant_admin), ("trunk", newest.trunk_admin))
        for name, admin in sorted(admins.items())
        if admin != Admin.ENABLED
    ]
    print_table("admin states", ("KIND", "NAME", "ADMIN"), wished)


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "bcp_percent": decision.bcp_percent, "pinned": decision.pinned, "left": decision.left, "epoch": decision.epoch,
        "reason": decision.reason,
    }  # fmt: skip


def _word(admin: Admin) -> str:
    return Admin(admin).name.lower()
