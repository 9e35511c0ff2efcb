"""Who may do what: every route has a rule, and every role meets it."""

import asyncio
import threading
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from sipctl.api.alerts import Alerts
from sipctl.api.application import build_app
from sipctl.api.audit import DeskAudit
from sipctl.api.bodies import Write
from sipctl.api.routes import PUBLIC, ROUTES, Route, allows
from sipctl.api.state import DeskState
from sipctl.control.changes import OP_ROLES, OPS
from sipctl.control.ports import Notice
from sipctl.errors import EngineError, StoreError
from sipctl.store.sqlite import SqliteStore
from sipctl.store.tokens import ROLES, Token
from sipctl.telemetry.log import LineWriter, logger
from sipctl.telemetry.metrics import Metrics
from tests.api.support import RunningDesk

BODIES: dict[str, dict[str, object]] = {
          "Failover": {"to": "bcp"}, "FailoverMany": {"to": "bcp", "all": True}, "Pin": {"to": "bcp"},
          "FailbackMany": {"all": True}, "BreakGlass": {"state": "on"},
          "Admin": {"state": "draining"},
          "Automation": {"state": "pause"}, "Allow": {"cidr": "192.0.2.0/24", "until": "2099-01-01T00:00:00Z"},
          "Apply": {"files": {"dialplans/a.yaml": "x: 1\n"}}, "NewToken": {"name": "n", "role": "viewer"},
          "Replay": {"new": "9"}}  # fmt: skip
NAMES = {"/v1/groups/": "acme", "/v1/sbcs/": "fra-a", "/v1/trunks/": "carrier-one", "/v1/tenants/": "acme-prod"}


def path_of(route: Route) -> str:
    name = next((name for prefix, name in NAMES.items() if route.path.startswith(prefix)), "x")
    return route.path.replace("{name}", name).replace("{id}", "op-1").replace("{number}", "1")


def records(state_dir: Path) -> tuple[DeskAudit, Alerts]:
    def failed(what: str, text: str) -> None:
        raise AssertionError(text)

    return (
        DeskAudit(state_dir, lambda: 0.0, log_head=lambda event, head: None, failed=failed),
        Alerts(state_dir, mono_s=lambda: 0.0, wall_s=lambda: 0.0, log=lambda event, **more: None, failed=failed),
    )


async def test_every_route_of_the_router_has_a_rule(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "sipctl.db")
    state = DeskState(store, mono_s=lambda: 0.0, wall_s=lambda: 0.0)
    writer = LineWriter(tmp_path / "log")
    app = build_app(state, Metrics(lambda: None, lambda: None), logger(writer, lambda: 0.0), *records(tmp_path))
    rules = {(route.method, route.path) for route in ROUTES}
    walked = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    assert walked == rules and len(ROUTES) == len(rules)
    assert all(route.role == PUBLIC or route.role in ROLES for route in ROUTES)
    assert {route.path for route in ROUTES if route.role == PUBLIC} == {"/healthz", "/readyz", "/metrics", "/v1/openapi.json"}
    assert all(
        route.role in ("editor", "operator", "admin") or route.path == "/v1/replay" for route in ROUTES if route.method == "POST"
    )
    await state.close()
    writer.close()


# Writes that become no command of the controller: the desk's own, and what is not built yet.
OWN_WRITES = {"/v1/tokens", "/v1/tokens/{name}/revoke", "/v1/alerts/{name}/test", "/v1/replay", "/v1/drills"}


def test_every_command_has_a_route_and_every_route_asks_for_the_role_of_its_command() -> None:
    """The rest of the matrix, command × role × rule × second person, is tests/control/test_rule_matrix.py."""
    writes = [route for route in ROUTES if route.method == "POST" and route.path not in OWN_WRITES]
    assert {route.path for route in ROUTES if route.method == "POST" and not route.op} == OWN_WRITES
    assert {route.op for route in writes} == set(OPS), "a command nobody can give, or a route to no command"
    assert {route.path: route.role for route in writes} == {route.path: OP_ROLES[route.op] for route in writes}
    assert not any(route.op for route in ROUTES if route.method != "POST"), "reading changes nothing"


async def test_a_route_without_a_rule_is_refused(tmp_path: Path) -> None:
    from aiohttp.test_utils import TestClient, TestServer

    async def forgotten(request: web.Request) -> web.StreamResponse:
        raise AssertionError("must not be reached")

    store = SqliteStore(tmp_path / "sipctl.db")
    state = DeskState(store, mono_s=lambda: 0.0, wall_s=lambda: 0.0)
    writer = LineWriter(tmp_path / "log")
    app = build_app(state, Metrics(lambda: None, lambda: None), logger(writer, lambda: 0.0), *records(tmp_path))
    app.router.add_get("/v1/forgotten", forgotten)
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/v1/forgotten")).status == 403
    await state.close()
    writer.close()


async def test_every_role_meets_every_route(desk: RunningDesk) -> None:
    """The whole matrix: 401 without a token, 403 below the rule, anything else from the rule on."""
    for name in ROLES:
        desk.store.tokens.create(f"secret-of-{name}-0123456789", f"a-{name}", name, "test", 1.0)
    async with aiohttp.ClientSession(f"http://{desk.address}", headers={"Authorization": f"Bearer {desk.secret()}"}) as session:
        request = {"name": "to-reload", "role": "viewer", "reason": "test"}
        assert (await session.post("/v1/tokens", json=request)).status == 201  # the desk reads its tokens anew after a change
    cells = 0
    asked: tuple[str | None, ...] = (None, "unknown", *ROLES)
    for route in ROUTES:
        if route.path == "/v1/events":
            continue  # never ends; its rule is asserted with the stream
        reason = {"reason": "test"} if route.body is not None and issubclass(route.body, Write) else {}
        payload = {**reason, **BODIES.get(route.body.__name__, {})} if route.body is not None else {}
        for role in asked:
            headers: dict[str, str] = {} if role is None else {"Authorization": f"Bearer secret-of-{role}-0123456789"}
            sent = payload if route.method == "POST" else None
            async with (
                aiohttp.ClientSession(f"http://{desk.address}", headers=headers) as client,
                client.request(route.method, path_of(route), json=sent) as response,
            ):
                status = response.status
            cells += 1
            where = f"{role} at {route.method} {route.path}: {status}"
            if route.role == PUBLIC:
                assert status == 200, where
            elif role is None or role == "unknown":
                assert status == 401, where
            elif not allows(role, route.role):
                assert status == 403, where
            else:
                assert status not in (401, 403) and (status < 500 or status in (501, 503)), where
    assert cells == (len(ROUTES) - 1) * 6


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer " + "x" * 500, "bearer\tx", "Bearer sipctl-wrong", "Bearer \xe9"]
)  # fmt: skip
async def test_what_is_no_token_of_ours_is_401_and_says_how(nobody: aiohttp.ClientSession, value: str) -> None:
    async with nobody.get("/v1/status", headers={"Authorization": value}) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert (await response.json(content_type="application/problem+json"))["code"] == "unauthorized"


async def test_two_authorization_headers_are_refused(desk: RunningDesk) -> None:
    headers = [("Authorization", f"Bearer {desk.secret()}"), ("Authorization", "Bearer other")]
    async with aiohttp.ClientSession(f"http://{desk.address}") as session, session.get("/v1/status", headers=headers) as response:
        assert response.status == 401


async def test_a_revoked_token_stops_at_once(desk: RunningDesk, admin: aiohttp.ClientSession) -> None:
    async with admin.post("/v1/tokens", json={"name": "ops-1", "role": "operator", "reason": "new colleague"}) as response:
        assert response.status == 201
        secret = (await response.json())["token"]
    headers = {"Authorization": f"Bearer {secret}"}
    async with aiohttp.ClientSession(f"http://{desk.address}", headers=headers) as ops:
        assert (await ops.get("/v1/status")).status == 200
        assert (await admin.post("/v1/tokens/ops-1/revoke", json={"reason": "left"})).status == 200
        assert (await ops.get("/v1/status")).status == 401
    async with admin.get("/v1/tokens") as response:
        listed = await response.json()
    assert secret not in str(listed)
    assert [(token["name"], token["author"], bool(token["revoked_at_unix_s"])) for token in listed["tokens"]] == [
        ("admin", "first start", False), ("ops-1", "admin", True),
    ]  # fmt: skip


async def a_token(admin: aiohttp.ClientSession, name: str) -> dict[str, str]:
    """The headers of somebody with a new token."""
    async with admin.post("/v1/tokens", json={"name": name, "role": "operator", "reason": "new colleague"}) as response:
        assert response.status == 201
        return {"Authorization": f"Bearer {(await response.json())['token']}"}


async def refused(admin: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    """Ask until this token is let in no more."""
    while (await admin.get("/v1/status", headers=headers)).status != 401:
        await asyncio.sleep(0)


async def test_a_token_that_a_slow_disk_revokes_late_stops_when_it_is_revoked(
    desk: RunningDesk, admin: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = await a_token(admin, "ops-1")
    turns, real = threading.Event(), desk.store.tokens.revoke

    def slowly(name: str, at_unix_s: float) -> bool:
        assert turns.wait(10)
        return real(name, at_unix_s)

    with monkeypatch.context() as slow:
        slow.setattr("sipctl.api.state.STORE_TIMEOUT_S", 0.02)
        slow.setattr(desk.store.tokens, "revoke", slowly)
        assert (await admin.post("/v1/tokens/ops-1/revoke", json={"reason": "left"})).status == 503
    assert (await admin.get("/v1/status", headers=headers)).status == 200, "and the admin was told that it is not done"
    turns.set()
    await asyncio.wait_for(refused(admin, headers), 5)
    assert (await admin.post("/v1/tokens/ops-1/revoke", json={"reason": "left"})).status == 404


async def test_tokens_are_read_anew_also_after_a_change_that_failed_and_again_until_they_can_be(
    desk: RunningDesk, admin: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = await a_token(admin, "ops-1")
    real_revoke, real_every, failures = desk.store.tokens.revoke, desk.store.tokens.every, [1, 2]

    def revoked_and_failed(name: str, at_unix_s: float) -> bool:
        real_revoke(name, at_unix_s)
        raise StoreError("the disk said no, and did it") from OSError()

    def unreadable_at_first() -> list[Token]:
        if failures:
            failures.pop()
            raise StoreError("the disk said no") from OSError()
        return real_every()

    monkeypatch.setattr("sipctl.api.state.TOKENS_RETRY_S", 0.0)
    monkeypatch.setattr(desk.store.tokens, "revoke", revoked_and_failed)
    monkeypatch.setattr(desk.store.tokens, "every", unreadable_at_first)
    assert (await admin.post("/v1/tokens/ops-1/revoke", json={"reason": "left"})).status == 503
    await asyncio.wait_for(refused(admin, headers), 5)
    assert failures == []


async def test_who_listens_hears_nothing_more_once_the_token_is_revoked(desk: RunningDesk, admin: aiohttp.ClientSession) -> None:
    headers = await a_token(admin, "ops-1")
    async with admin.get("/v1/events", headers=headers) as gone, admin.get("/v1/events") as stays:
        for listener in (gone, stays):
            assert (await listener.content.readline()).startswith(b"retry")
        assert (await admin.post("/v1/tokens/ops-1/revoke", json={"reason": "left"})).status == 200
        desk.controller.say(Notice("decision", "acme goes to BCP", 5.0, {"group": "acme"}))
        assert b"acme" not in await asyncio.wait_for(gone.content.read(), 5)
        while b"acme goes to BCP" not in await asyncio.wait_for(stays.content.readline(), 5):
            pass


async def test_the_first_start_writes_an_admin_token_for_its_owner_only(desk: RunningDesk) -> None:
    path = desk.state_dir / "admin.token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [token.name for token in desk.store.tokens.every()] == ["admin"]
    assert (desk.state_dir / "run" / "api").read_text() == f"{desk.address}\n"


async def test_a_desk_that_may_take_any_port_takes_that_of_the_one_before(tmp_path: Path) -> None:
    first = RunningDesk(tmp_path)
    await first.start()
    await first.stop()
    second = RunningDesk(tmp_path)
    await second.start()
    assert second.address == first.address
    third = RunningDesk(tmp_path)
    await third.start()
    assert third.address != first.address, "a port that is taken is no reason not to serve"
    await third.stop()
    await second.stop()


async def test_an_address_that_is_taken_or_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipctl.api.desk.BIND_RETRY_S", 0.0)
    first = RunningDesk(tmp_path)
    await first.start()
    for api, text in ((first.address, "cannot be bound"), ("8080", "no HOST:PORT"), ("localhost:http", "no HOST:PORT")):
        (tmp_path / "other").mkdir(exist_ok=True)
        second = RunningDesk(tmp_path / "other")
        second.api = api
        with pytest.raises(EngineError, match=text):
            await second.start()
    await first.stop()


async def test_a_second_start_keeps_the_token_and_a_removed_file_stays_removed(tmp_path: Path) -> None:
    first = RunningDesk(tmp_path)
    await first.start()
    secret = first.secret()
    await first.stop()
    second = RunningDesk(tmp_path)
    await second.start()
    assert second.secret() == secret and len(second.store.tokens.every()) == 1
    await second.stop()


async def test_a_desk_that_died_between_file_and_store_adopts_the_file(tmp_path: Path) -> None:
    (tmp_path / "admin.token").write_text("sipctl-0123456789abcdef0123456789\n")
    desk = RunningDesk(tmp_path)
    await desk.start()
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sipctl-0123456789abcdef0123456789"}) as session:
        assert (await session.get(f"http://{desk.address}/v1/status")).status == 200
    await desk.stop()


async def test_the_name_of_the_token_is_the_actor_of_what_it_does(desk: RunningDesk, admin: aiohttp.ClientSession) -> None:
    async with admin.post("/v1/tokens", json={"name": "ops-1", "role": "operator", "reason": "x"}) as response:
        secret = (await response.json())["token"]
    async with aiohttp.ClientSession(f"http://{desk.address}", headers={"Authorization": f"Bearer {secret}"}) as ops:
        await ops.post("/v1/groups/acme/failover", json={"to": "bcp", "reason": "CHG1"})
    assert [(command.actor, command.op) for command in desk.controller.commands] == [("ops-1", "failover")]
    await asyncio.sleep(0)
