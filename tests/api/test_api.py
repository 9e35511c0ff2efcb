"""What the API answers: reads from the last view, writes as operations, problems with stable codes, events that resume."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from sipctl.api.problems import CODES
from sipctl.api.ring import EventRing
from sipctl.api.state import DeskState
from sipctl.call.events import Answered, Ended, LogLine
from sipctl.control.ports import Answer, DecisionRecord, Notice, Revision, View
from tests.api.support import FakeController, MemoryLink, RunningDesk, a_status, a_view
from tests.telemetry.test_cdr import facts

Session = aiohttp.ClientSession


async def get(session: Session, path: str, expected: int = 200) -> Any:
    async with session.get(path) as response:
        assert response.status == expected, await response.text()
        return await response.json(content_type=None)


async def post(session: Session, path: str, body: Any, expected: int = 200) -> Any:
    async with session.post(path, json=body) as response:
        assert response.status == expected, await response.text()
        answer = await response.json(content_type=None)
        assert response.status < 400 or answer["code"] in CODES
        return answer


# -- reads -----------------------------------------------------------------------------------------------------------------


async def test_status_is_the_last_view_with_its_age(desk: RunningDesk, admin: Session) -> None:
    desk.mono_s = lambda: 1e9  # long after
    body = await get(admin, "/v1/status")
    assert body["age_s"] > 1000 and body["controller"]["reachable"] is False
    assert {key: body[key] for key in a_status() if key != "age_s"} == {
        key: value for key, value in a_status().items() if key != "age_s"
    }


async def test_before_the_first_view_status_says_so_and_the_desk_is_alive_but_not_ready(tmp_path: Path) -> None:
    desk = RunningDesk(tmp_path)
    await desk.start(connect=False)
    async with Session(f"http://{desk.address}", headers={"Authorization": f"Bearer {desk.secret()}"}) as admin:
        assert (await get(admin, "/v1/status", 503))["code"] == "no-view"
        assert (await get(admin, "/healthz"))["alive"] is True
        assert (await get(admin, "/readyz", 503))["ready"] is False
        problem = await post(admin, "/v1/groups/acme/failover", {"to": "bcp", "reason": "x"}, 503)
        assert problem["code"] == "controller-unreachable"
    await desk.stop()


async def test_ready_means_that_every_router_holds_a_snapshot(desk: RunningDesk, nobody: Session) -> None:
    assert (await get(nobody, "/readyz"))["ready"] is True
    waiting = {"name": "r2", "revision": None, "term": 0, "seq": 0, "pid": 1}
    desk.controller.say(a_view(routers=[*a_status()["routers"], waiting]))
    await desk.settled()
    assert "r2" in (await get(nobody, "/readyz", 503))["text"]


async def test_a_dead_controller_leaves_reads_readiness_and_metrics_as_they_were(desk: RunningDesk, admin: Session) -> None:
    desk.controller.link.close()
    await desk.settled()
    body = await get(admin, "/v1/status")
    assert body["groups"]["acme"]["state"] == "normal"
    assert body["controller"] == {"reachable": False, "text": "controller not reachable: this is its last view"}
    assert (await get(admin, "/readyz"))["ready"] is True
    async with admin.get("/metrics") as response:
        assert 'sipctl_group_state{group="acme",state="normal"} 1.0' in await response.text()
    problem = await post(admin, "/v1/groups/acme/failover", {"to": "bcp", "reason": "x"}, 503)
    assert problem["code"] == "controller-unreachable"


async def test_a_new_controller_takes_the_place_of_the_old_one(desk: RunningDesk, admin: Session) -> None:
    desk.controller.link.close()
    desk.controller = type(desk.controller)()
    desk.connect(a_view(revision=813))
    await desk.settled()
    assert (await get(admin, "/v1/status"))["revision"] == 813
    assert (await post(admin, "/v1/groups/acme/failover", {"to": "bcp", "reason": "x"}))["status"] == "done"


async def test_strangers_come_with_most_packets_first(admin: Session) -> None:
    rows = (await get(admin, "/v1/strangers"))["strangers"]
    assert [(row["address"], row["packets"]) for row in rows] == [("203.0.113.78", 9), ("203.0.113.77", 5)]


async def test_decisions_and_revisions_come_from_the_store(desk: RunningDesk, admin: Session) -> None:
    record = DecisionRecord("acme", 7, 4, 5.0, "primary-lost", "acme goes to BCP", {"state": "normal"}, {}, {"state": "on-bcp"})
    desk.store.append_decision(record)
    desk.store.append_decision(DecisionRecord("bank", 1, 4, 6.0, "operator", "bank goes back", {}, {}, {}, actor="ops-1"))
    desk.store.add_revision(Revision(812, 5.0, "ops-1", "CHG1", "3f9c1e2", None, {"dialplans/a.yaml": "x: 1\n"}))
    desk.store.set_live(812, 6.0)
    assert [d["sentence"] for d in (await get(admin, "/v1/groups/acme/decisions"))["decisions"]] == ["acme goes to BCP"]
    assert [d["group"] for d in (await get(admin, "/v1/decisions?limit=5"))["decisions"]] == ["bank", "acme"]
    listed = await get(admin, "/v1/revisions")
    assert (listed["live"], [r["number"] for r in listed["revisions"]]) == (812, [812])
    assert (await get(admin, "/v1/revisions/812"))["files"] == {"dialplans/a.yaml": "x: 1\n"}
    assert (await get(admin, "/v1/revisions/9", 404))["code"] == "not-found"
    assert (await get(admin, "/v1/revisions/nine", 400))["code"] == "bad-request"
    assert "did you mean acme?" in (await get(admin, "/v1/groups/acmee/decisions", 404))["hint"]


async def test_metrics_are_prometheus_text(nobody: Session) -> None:
    async with nobody.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "sipctl_revision 812.0" in (await response.text()).splitlines()


async def test_openapi_describes_every_route_and_every_body(nobody: Session) -> None:
    document = await get(nobody, "/v1/openapi.json")
    assert document["openapi"] == "3.1.0"
    failover = document["paths"]["/v1/groups/{name}/failover"]["post"]
    assert failover["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Failover"}
    assert document["components"]["schemas"]["Failover"]["properties"]["to"] == {"enum": ["bcp", "primary"]}
    assert set(document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]) == set(CODES)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/v1/nothing", 404, "not-found"), ("GET", "/", 404, "not-found"),
     ("DELETE", "/v1/status", 405, "method-not-allowed"),
     ("GET", "/v1/calls", 501, "not-built"), ("GET", "/v1/operations/op-0", 404, "not-found"),
     ("GET", "/v1/operations/op-0?wait=61", 400, "bad-request"), ("GET", "/v1/decisions?limit=0", 400, "bad-request"),
     ("GET", "/v1/decisions?limit=1&limit=2", 400, "bad-request"), ("GET", "/v1/route", 400, "bad-request"),
     ("GET", "/v1/groups/a%0d%0ab/decisions", 400, "control-character"),
     ("GET", "/v1/route?number=%00", 400, "control-character")],
)  # fmt: skip
async def test_a_wrong_question_gets_a_problem_with_its_code(
    admin: Session, method: str, path: str, status: int, code: str
) -> None:
    from yarl import URL

    async with admin.request(method, URL(path, encoded=True)) as response:
        assert (response.status, response.content_type) == (status, "application/problem+json")
        body = await response.json(content_type=None)
        assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:sipctl:problem:{code}")


# -- writes ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "op", "args"),
    [
        ("/v1/groups/acme/failover", {"to": "bcp"}, "failover", {"groups": ["acme"], "to": "bcp"}),
        ("/v1/failover", {"to": "bcp", "tenant": "acme-*"}, "failover", {"tenant": "acme-*", "to": "bcp"}),
        ("/v1/failover", {"to": "primary", "all": True}, "failover", {"all": True, "to": "primary"}),
        ("/v1/failover", {"to": "bcp", "all": True, "partial": True, "spread_s": 300.0}, "failover",
         {"all": True, "to": "bcp", "partial": True, "spread_s": 300.0}),
        ("/v1/failback", {"tenant": "acme-*", "now": True}, "failback", {"tenant": "acme-*", "now": True}),
        ("/v1/operations/op-1/abort", {}, "op-abort", {"id": "op-1"}),
        ("/v1/proposals/P-1/approve", {}, "op-approve", {"id": "P-1"}),
        ("/v1/proposals/P-1/reject", {}, "op-reject", {"id": "P-1"}),
        ("/v1/break-glass", {"state": "on"}, "break-glass", {"state": "on"}),
        ("/v1/groups/acme/failback", {"now": True}, "failback", {"group": "acme", "now": True}),
        ("/v1/groups/acme/pin", {"to": "primary"}, "pin", {"group": "acme", "to": "primary"}),
        ("/v1/groups/acme/unpin", {}, "unpin", {"group": "acme"}),
        ("/v1/groups/acme/unlatch", {}, "unlatch", {"group": "acme"}),
        ("/v1/automation", {"state": "pause"}, "automation", {"state": "pause"}),
        ("/v1/sbcs/fra-a/admin", {"state": "draining", "move": True}, "sbc-admin",
         {"sbc": "fra-a", "state": "draining", "move": True}),
        ("/v1/sbcs/fra-a/probe", {}, "sbc-probe", {"sbc": "fra-a"}),
        ("/v1/trunks/carrier-one/allow", {"cidr": "192.0.2.0/24", "until": "2099-01-01T01:00:00+01:00"}, "trunk-allow",
         {"trunk": "carrier-one", "cidr": "192.0.2.0/24", "until": 4_070_908_800.0}),
        ("/v1/trunks/carrier-one/admin", {"state": "disabled"}, "trunk-admin", {"trunk": "carrier-one", "state": "disabled"}),
        ("/v1/tenants/acme-prod/admin", {"state": "enabled"}, "tenant-admin",
         {"tenant": "acme-prod", "state": "enabled", "move": False}),
        ("/v1/node/admin", {"state": "draining"}, "node-admin", {"state": "draining"}),
        ("/v1/alarms/al-1/ack", {}, "alarm-ack", {"id": "al-1"}),
        ("/v1/revisions", {"base": 812, "commit": "3f9", "files": {"dialplans/a.yaml": "x: 1\n"}, "despite": ["tests"]}, "apply",
         {"base": 812, "files": {"dialplans/a.yaml": "x: 1\n"}, "commit": "3f9", "despite": ["tests"], "again": False}),
        ("/v1/revisions/7/rollback", {"base": 812, "again": True}, "rollback",
         {"revision": 7, "base": 812, "commit": None, "again": True}),
    ],
)  # fmt: skip
async def test_each_write_becomes_its_command(
    desk: RunningDesk, admin: Session, path: str, body: dict[str, Any], op: str, args: dict[str, Any]
) -> None:
    answer = await post(admin, path, {**body, "reason": "CHG0042", "dry_run": True, "force": ["last-usable-sbc"]})
    (command,) = desk.controller.commands
    assert (command.op, dict(command.args), command.actor, command.reason) == (op, args, "admin", "CHG0042")
    assert (command.dry_run, command.force, command.break_glass) == (True, ("last-usable-sbc",), False)
    assert (command.role, command.made_by) == ("admin", ("first start",)) and command.token_at_unix_s > 0
    assert answer["id"] == command.id and answer["status"] == "done"
    stored = await get(admin, f"/v1/operations/{command.id}")
    assert (stored["op"], stored["reason"], "files" in stored["args"]) == (op, "CHG0042", False)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/groups/acme/failover", {"to": "bcp"}, 400, "reason-required"),
        ("/v1/groups/acme/failover", {"to": "bcp", "reason": "  "}, 400, "reason-required"),
        ("/v1/groups/acme/failover", {"to": "both", "reason": "x"}, 400, "bad-json"),
        ("/v1/groups/acme/failover", {"reason": "x"}, 400, "bad-json"),
        ("/v1/groups/acme/failover", {"to": "bcp", "reason": "x", "until": "later"}, 400, "bad-json"),
        ("/v1/groups/acme/failover", {"to": "bcp", "reason": "a\r\nX: y"}, 400, "control-character"),
        ("/v1/groups/acme/failover", {"to": "bcp", "reason": "x", "force": ["a\0"]}, 400, "control-character"),
        ("/v1/groups/acme/failover", {"to": "bcp", "reason": "x" * 2001}, 400, "bad-json"),
        ("/v1/groups/acme/failover", {"to": "bcp", "reason": "x", "force": ["pinned", "x" * 65]}, 400, "bad-request"),
        ("/v1/groups/acme/failover", [], 400, "bad-json"),
        ("/v1/groups/acmi/failover", {"to": "bcp", "reason": "x"}, 404, "unknown-name"),
        ("/v1/sbcs/fra-x/admin", {"state": "draining", "reason": "x"}, 404, "unknown-name"),
        ("/v1/failover", {"to": "bcp", "reason": "x"}, 400, "bad-request"),
        ("/v1/failover", {"to": "bcp", "reason": "x", "all": True, "tenant": "*"}, 400, "bad-request"),
        ("/v1/trunks/carrier-one/allow", {"cidr": "10.0.0.1/8", "until": "2099-01-01T00:00:00Z", "reason": "x"},
         400, "bad-request"),
        ("/v1/trunks/carrier-one/allow", {"cidr": "10.0.0.0/8", "until": "2099-01-01T00:00:00", "reason": "x"},
         400, "bad-request"),
        ("/v1/trunks/carrier-one/allow", {"cidr": "10.0.0.0/8", "until": "2001-01-01T00:00:00Z", "reason": "x"},
         400, "bad-request"),
        ("/v1/trunks/carrier-one/allow", {"cidr": "0.0.0.0/0", "until": "2099-01-01T00:00:00Z", "reason": "x"},
         400, "bad-request"),
        ("/v1/node/admin", {"state": "disabled", "reason": "x"}, 400, "bad-request"),
        ("/v1/revisions", {"files": {"../etc/passwd": "x"}, "reason": "x"}, 400, "bad-request"),
        ("/v1/revisions", {"files": {"dialplans/../../x.yaml": "x"}, "reason": "x"}, 400, "bad-request"),
        ("/v1/revisions", {"files": {"dialplans/a\n.yaml": "x"}, "reason": "x"}, 400, "control-character"),
        ("/v1/revisions", {"files": {"dialplans/a.yaml": "x\0"}, "reason": "x"}, 400, "control-character"),
        ("/v1/revisions", {"files": {"dialplans/a.yaml": 5}, "reason": "x"}, 400, "bad-json"),
    ],
)  # fmt: skip
async def test_a_wrong_write_reaches_no_controller(
    desk: RunningDesk, admin: Session, path: str, body: Any, status: int, code: str
) -> None:
    assert (await post(admin, path, body, status))["code"] == code
    assert desk.controller.commands == []


@pytest.mark.parametrize(
    ("data", "kind", "status", "code"),
    [
        (b'{"to":"bcp","reason":"x"}', "text/plain", 415, "not-json"),
        (b"to=bcp&reason=x", "application/x-www-form-urlencoded", 415, "not-json"),
        (
            b"--x\r\nContent-Disposition: form-data; name=to\r\n\r\nbcp\r\n--x--",
            "multipart/form-data; boundary=x",
            415,
            "not-json",
        ),
        (b'{"to":"bcp","reason":"x"', "application/json", 400, "bad-json"),
        (b'{"to":"bcp","to":"primary","reason":"x"}', "application/json", 400, "bad-json"),
        (b'{"to":NaN,"reason":"x"}', "application/json", 400, "bad-json"),
        (b"[" * 100_000, "application/json", 400, "bad-json"),
        (b'"\xff"', "application/json", 400, "bad-json"),
        (b" " * ((1 << 20) + 1), "application/json", 413, "too-large"),
    ],
)
async def test_a_body_is_json_of_a_reasonable_size_or_nothing(
    desk: RunningDesk, admin: Session, data: bytes, kind: str, status: int, code: str
) -> None:
    async with admin.post("/v1/groups/acme/failover", data=data, headers={"Content-Type": kind}) as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (status, code)
    assert desk.controller.commands == []


async def test_a_plan_of_megabytes_arrives_whole(desk: RunningDesk, admin: Session) -> None:
    text = "".join(f"+4930901{n:06d},sales\n" for n in range(200_000))
    await post(admin, "/v1/revisions", {"files": {"dialplans/n.csv": text}, "reason": "x"})
    assert desk.controller.commands[0].args["files"] == {"dialplans/n.csv": text}


@pytest.mark.parametrize(
    ("status", "http", "code"),
    [("refused", 409, "refused"), ("conflict", 409, "conflict"), ("invalid", 422, "invalid"), ("failed", 500, "failed")],
)
async def test_what_the_controller_refuses_is_a_problem_that_names_rule_and_operation(
    desk: RunningDesk, admin: Session, status: str, http: int, code: str
) -> None:
    desk.controller.script = lambda command: [
        Answer(
            command.id, status, "fra-a is the last usable SBC of acme-prod", "last-usable-sbc", "give --move", {"findings": [1]}
        )
    ]
    body = await post(admin, "/v1/sbcs/fra-a/admin", {"state": "draining", "reason": "x"}, http)
    assert (body["code"], body["rule"], body["hint"], body["body"]) == (code, "last-usable-sbc", "give --move", {"findings": [1]})
    assert body["operation"] == desk.controller.commands[0].id
    assert (await get(admin, f"/v1/operations/{body['operation']}"))["status"] == status


async def test_an_operation_under_way_is_202_and_can_be_waited_for(desk: RunningDesk, admin: Session) -> None:
    desk.controller.script = lambda command: [Answer(command.id, "accepted", "decided; routers take it over", final=False)]
    body = await post(admin, "/v1/groups/acme/failover", {"to": "bcp", "reason": "x"}, 202)
    assert (body["status"], body["ended_at_unix_s"]) == ("accepted", None)
    assert (await get(admin, f"/v1/operations/{body['id']}"))["status"] == "accepted"
    waiting = asyncio.ensure_future(get(admin, f"/v1/operations/{body['id']}?wait=30"))
    await desk.settled()
    assert not waiting.done()
    desk.controller.say(Answer(body["id"], "done", "every router has it"))
    assert (await asyncio.wait_for(waiting, 5))["status"] == "done"
    desk.controller.say(Answer(body["id"], "failed", "a late second end changes nothing"))
    await desk.settled()
    assert (await get(admin, f"/v1/operations/{body['id']}"))["text"] == "every router has it"


async def test_what_a_controller_never_answered_is_lost_when_it_goes(desk: RunningDesk, admin: Session) -> None:
    desk.controller.script = lambda command: []
    asking = asyncio.ensure_future(admin.post("/v1/groups/acme/failover", json={"to": "bcp", "reason": "x"}))
    while not desk.controller.commands:
        await asyncio.sleep(0)
    desk.controller.link.close()
    response = await asyncio.wait_for(asking, 5)
    assert response.status == 503
    assert "repeat it" in (await response.json(content_type=None))["detail"]


async def test_what_a_controller_has_taken_is_kept_until_the_next_one_says_whether_it_goes_on(
    desk: RunningDesk, admin: Session
) -> None:
    desk.controller.script = lambda command: [Answer(command.id, "accepted", "…", final=False)]
    kept, gone = [(await post(admin, "/v1/groups/acme/failover", {"to": "bcp", "reason": "x"}, 202))["id"] for _ in range(2)]
    desk.controller.link.close()
    await desk.settled()
    assert (await get(admin, f"/v1/operations/{kept}"))["status"] == "accepted"
    desk.controller = FakeController()
    going = {
        "id": kept,
        "going": "drain",
        "what": "sbc",
        "name": "fra-a",
        "progress": "fra-a takes no new calls; 3 are up",
        "left": 3,
    }
    desk.connect(View(a_view().status, {**a_view().detail, "operations": [going]}))
    await desk.settled()
    found = await get(admin, f"/v1/operations/{gone}")
    assert found["status"] == "lost" and "repeat it" in found["text"]
    found = await get(admin, f"/v1/operations/{kept}")
    assert found["status"] == "accepted" and found["progress"]["left"] == 3 and found["forecast"]["text"] == "no call is up"
    desk.controller.say(Answer(kept, "done", "fra-a is drained"))
    assert (await get(admin, f"/v1/operations/{kept}?wait=5"))["status"] == "done"


async def test_what_is_open_is_not_forgotten_over_what_came_after_it(
    desk: RunningDesk, admin: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipctl.api.state.MAX_OPERATIONS_KEPT", 3)
    desk.controller.script = lambda command: [
        Answer(command.id, "going", "3 calls are up", final=False)
        if command.op == "sbc-admin"
        else Answer(command.id, "done", "…")
    ]
    drain = (await post(admin, "/v1/sbcs/fra-a/admin", {"state": "draining", "reason": "x"}, 202))["id"]
    for _ in range(5):
        await post(admin, "/v1/groups/acme/unlatch", {"reason": "x"})
    desk.controller.link.close()
    await desk.settled()
    desk.controller = FakeController()
    desk.connect(View(a_view().status, {**a_view().detail, "operations": [{"id": drain, "left": 3}]}))
    await desk.settled()
    await post(admin, "/v1/groups/acme/unlatch", {"reason": "x"})
    assert (await get(admin, f"/v1/operations/{drain}"))["status"] == "going"
    desk.controller.say(Answer(drain, "done", "fra-a is drained"))
    assert (await get(admin, f"/v1/operations/{drain}?wait=5"))["status"] == "done"


async def test_what_goes_on_keeps_nobody_from_writing_but_what_is_unanswered_does(
    desk: RunningDesk, admin: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipctl.api.state.MAX_OPERATIONS_UNANSWERED", 2)
    monkeypatch.setattr("sipctl.api.state.MAX_OPERATIONS_OPEN", 6)
    desk.controller.script = lambda command: [Answer(command.id, "going", "3 calls are up", final=False)]
    for _ in range(3):
        await post(admin, "/v1/sbcs/fra-a/admin", {"state": "draining", "reason": "x"}, 202)
    desk.controller.script = lambda command: []
    monkeypatch.setattr("sipctl.api.state.FIRST_ANSWER_S", 0.0)
    for _ in range(2):
        await post(admin, "/v1/groups/acme/unlatch", {"reason": "x"}, 202)
    busy = await post(admin, "/v1/groups/acme/unlatch", {"reason": "x"}, 503)
    assert (busy["code"], busy["detail"]) == ("busy", "2 operations have no answer yet")
    for command in desk.controller.commands[-2:]:
        desk.controller.say(Answer(command.id, "accepted", "…", final=False))
    await desk.settled()
    await post(admin, "/v1/groups/acme/unlatch", {"reason": "x"}, 202)
    busy = await post(admin, "/v1/groups/acme/unlatch", {"reason": "x"}, 503)
    assert busy["detail"] == "6 operations go on"


async def test_a_frame_that_a_fault_in_the_desk_meets_costs_that_frame_only(
    desk: RunningDesk, admin: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as faulty:
        faulty.setattr(DeskState, "on_view", _faulty)
        desk.controller.say(a_view(revision=813))
        await desk.settled()
    assert (await get(admin, "/v1/status"))["revision"] == 812
    desk.controller.say(a_view(revision=814))
    await desk.settled()
    assert (await get(admin, "/v1/status"))["revision"] == 814


async def test_a_desk_that_cannot_take_controllers_any_more_ends_so_that_another_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = RunningDesk(tmp_path)
    await desk.start()
    with monkeypatch.context() as faulty:
        faulty.setattr(DeskState, "on_link", _faulty)
        desk.connect()
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(desk.ended(), 5)
    desk.store.close()
    assert "the desk ends by a fault in sipctl" in (tmp_path / "log" / "sipctl.jsonl").read_text()


def _faulty(*_: object) -> None:
    raise ZeroDivisionError


async def test_waiting_for_an_operation_ends_when_it_goes_on_by_itself(desk: RunningDesk, admin: Session) -> None:
    desk.controller.script = lambda command: [Answer(command.id, "accepted", "…", final=False)]
    body = await post(admin, "/v1/sbcs/fra-a/admin", {"state": "draining", "reason": "x"}, 202)
    waiting = asyncio.ensure_future(get(admin, f"/v1/operations/{body['id']}?wait=30"))
    await desk.settled()
    desk.controller.say(Answer(body["id"], "going", "3 calls are up", final=False))
    found = await asyncio.wait_for(waiting, 5)
    assert (found["status"], found["ended_at_unix_s"]) == ("going", None)


async def test_operations_outlive_the_desk(tmp_path: Path) -> None:
    first = RunningDesk(tmp_path)
    await first.start()
    async with Session(f"http://{first.address}", headers={"Authorization": f"Bearer {first.secret()}"}) as admin:
        body = await post(admin, "/v1/groups/acme/failover", {"to": "bcp", "reason": "x"})
    await first.stop()
    second = RunningDesk(tmp_path)
    await second.start()
    async with Session(f"http://{second.address}", headers={"Authorization": f"Bearer {second.secret()}"}) as admin:
        assert (await get(admin, f"/v1/operations/{body['id']}"))["status"] == "done"
        assert [entry["id"] for entry in (await get(admin, "/v1/operations"))["operations"]] == [body["id"]]
    await second.stop()


async def test_the_answer_to_a_question_of_an_earlier_desk_is_taken_by_the_next(tmp_path: Path) -> None:
    first = RunningDesk(tmp_path)
    await first.start()
    first.controller.script = lambda command: [Answer(command.id, "accepted", "…", final=False)]
    async with Session(f"http://{first.address}", headers={"Authorization": f"Bearer {first.secret()}"}) as admin:
        answered, forgotten = [
            (await post(admin, "/v1/groups/acme/failover", {"to": "bcp", "reason": "x"}, 202))["id"] for _ in range(2)
        ]
    await first.stop()
    second = RunningDesk(tmp_path)
    await second.start()
    async with Session(f"http://{second.address}", headers={"Authorization": f"Bearer {second.secret()}"}) as admin:
        assert (await get(admin, f"/v1/operations/{answered}"))["status"] == "accepted"
        second.controller.say(Answer(answered, "done", "every router has it"))
        assert (await get(admin, f"/v1/operations/{answered}?wait=5"))["status"] == "done"
        second.now_s += 301
        assert (await get(admin, f"/v1/operations/{forgotten}"))["status"] == "lost"
    await second.stop()


# -- events ----------------------------------------------------------------------------------------------------------------


async def lines_of(response: aiohttp.ClientResponse, wanted: int) -> list[dict[str, str]]:
    """The next ``wanted`` events, comments passed over."""
    found: list[dict[str, str]] = []
    entry: dict[str, str] = {}
    while len(found) < wanted:
        line = (await asyncio.wait_for(response.content.readline(), 5)).decode().rstrip("\n")
        if line and not line.startswith(":"):
            key, _, value = line.partition(": ")
            entry[key] = value
        elif not line and "data" in entry:
            found.append(entry)
            entry = {}
    return found


async def test_events_come_as_they_happen_and_resume_where_a_listener_left(desk: RunningDesk, admin: Session) -> None:
    async with admin.get("/v1/events") as response:
        assert response.content_type == "text/event-stream"
        await response.content.readline()
        desk.controller.say(Notice("decision", "acme goes to BCP", 5.0, {"group": "acme"}))
        (first,) = await lines_of(response, 1)
    assert first["event"] == "decision" and json.loads(first["data"])["text"] == "acme goes to BCP"
    for text in ("two", "three"):
        desk.controller.say(Notice("alarm", text, 6.0))
    await desk.settled()
    async with admin.get("/v1/events", headers={"Last-Event-ID": first["id"]}) as response:
        assert [json.loads(entry["data"])["text"] for entry in await lines_of(response, 2)] == ["two", "three"]


async def test_a_listener_of_another_desks_life_is_told_to_start_anew(desk: RunningDesk, admin: Session) -> None:
    desk.controller.say(Notice("alarm", "one", 6.0))
    await desk.settled()
    async with admin.get("/v1/events", headers={"Last-Event-ID": "0123abcd-7"}) as response:
        events = await lines_of(response, 2)
    assert [entry["event"] for entry in events] == ["reset", "alarm"]


async def test_events_need_a_token(nobody: Session) -> None:
    async with nobody.get("/v1/events") as response:
        assert response.status == 401


async def test_the_ring_forgets_the_oldest_and_says_so() -> None:
    ring = EventRing("boot", kept=3)
    for n in range(1, 6):
        ring.add(Notice("plan", str(n), 0.0))
    assert ring.position(None) == (5, False)
    assert ring.position("boot-4") == (4, False)
    assert ring.position("boot-2") == (2, False)
    assert ring.position("boot-1") == (2, True)
    assert ring.position("boot-9") == (2, True)
    assert ring.position("boot-x") == (2, True)
    entries, is_gone = ring.after(0)
    assert ([entry.number for entry in entries], is_gone) == ([3, 4, 5], True)


# -- records and log -------------------------------------------------------------------------------------------------------


async def test_events_of_routers_become_call_records_and_log_lines(tmp_path: Path) -> None:
    desk = RunningDesk(tmp_path)
    await desk.start()
    desk.controller.say(a_view(node={"name": "fra-2", "admin": "enabled"}))
    for packet in (
        [Answered("aa", desk.now_s, facts()), LogLine("loop-gap", desk.now_s, "r1", {"called": "+4930901820"})],
        [Ended("aa", desk.now_s, 200, "OK", 16, "caller", True)],
    ):
        link = MemoryLink()  # the second packet comes from the router that took the slot over
        desk.links.routers.put_nowait(link)
        link.push(msgspec.msgpack.encode(packet))
        link.push(b"\xc1 nothing a router says")
    desk.controller.say(Notice("decision", "call to +4930901820 moved", 5.0))
    await desk.settled()
    await desk.stop()
    (path,) = (tmp_path / "cdr").glob("2026-*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["called"], line["node"]) for line in lines] == [("+4930901820", "fra-2")]
    log = (tmp_path / "log" / "sipctl.jsonl").read_text()
    assert "loop-gap" in log and "call to +******1820 moved" in log and "4930901820" not in log


async def test_a_cdr_disk_that_is_full_becomes_an_alarm_and_delays_nothing(tmp_path: Path) -> None:
    (tmp_path / "cdr").mkdir()
    desk = RunningDesk(tmp_path)
    (tmp_path / "cdr" / "2026-09-21.jsonl").symlink_to("/dev/full")
    await desk.start()
    link = MemoryLink()
    desk.links.routers.put_nowait(link)
    link.push(msgspec.msgpack.encode([Ended("aa", desk.now_s, 200, "OK", 16, "caller", True, facts())]))
    for _ in range(500):
        if desk.controller.failures:
            break
        await asyncio.sleep(0.01)
    assert [failure.what for failure in desk.controller.failures] == ["cdr"]
    async with Session(f"http://{desk.address}") as session, session.get("/metrics") as response:
        assert 'sipctl_desk_total{what="cdr.lines-dropped"} 1.0' in await response.text()
    await desk.stop()


async def test_no_secret_is_ever_logged_or_told(desk: RunningDesk, admin: Session) -> None:
    made = await post(admin, "/v1/tokens", {"name": "ops", "role": "viewer", "reason": "x"}, 201)
    told = json.dumps([await get(admin, path) for path in ("/v1/status", "/v1/tokens", "/v1/operations")])
    await asyncio.sleep(0)
    for secret in (desk.secret(), made["token"]):
        assert secret not in told
        assert secret not in (desk.state_dir / "log" / "sipctl.jsonl").read_text()
