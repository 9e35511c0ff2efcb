"""`sipctl calls stats`, and what the lists of SBCs, trunks, tenants and strangers show of observations."""

from __future__ import annotations

import msgspec

from sipctl.call.events import Answered
from tests.api.support import MemoryLink, ThreadedDesk, a_view
from tests.cli.support import Shell
from tests.telemetry.test_observing import UNIX_S, an_attempt, refused, some_facts

OBSERVED = {"n": 120, "ner": 0.51, "asr": 0.4, "pdd_n": 60, "pdd_p95_s": 1.25}
DOUBTFUL = {"kind": "fails", "reason": "NER 51 % of 120 calls within 1m", "times": 1}


def some_calls(desk: ThreadedDesk) -> None:
    """An answered call, and one that fra-a refused."""
    events = [an_attempt(), Answered("aa", UNIX_S + 4, some_facts(ring_s=1.5)), an_attempt("bb", status=404), refused("bb", 404)]

    async def come() -> None:
        router = MemoryLink()
        desk.desk.links.routers.put_nowait(router)
        router.push(msgspec.msgpack.encode(events))
        await desk.desk.settled()

    desk.run(come())


def test_each_ratio_stands_beside_its_samples(desk: ThreadedDesk, shell: Shell) -> None:
    some_calls(desk)
    ended = shell("calls", "stats", "--sbc", "fra-a", "--window", "1m")
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[0] == "calls within 1m"
    words = ended.out.splitlines()[2].split()
    assert words[:8] == ["sbc", "fra-a", "2", "2", "50.0", "%", "50.0", "%"]
    assert words[-8:] == ["0", "of", "1", "-", "-", "1", "×", "404"]


def test_all_of_a_kind_and_as_json(desk: ThreadedDesk, shell: Shell) -> None:
    some_calls(desk)
    body = shell("calls", "stats", "--by", "entry-point", "-o", "json").json
    (row,) = body["observations"]
    assert (row["kind"], row["name"], row["windows"]["5m"]["calls"]) == ("entry-point", "acme-sales", 2)
    assert {one["kind"] for one in shell("calls", "stats", "-o", "json").json["observations"]} == {
        "sbc",
        "pair",
        "tenant",
        "trunk",
    }


def test_one_question_at_a_time(desk: ThreadedDesk, shell: Shell) -> None:
    ended = shell("calls", "stats", "--sbc", "fra-a", "--trunk", "carrier-one")
    assert ended.code == 2 and "at a time" in ended.err


def test_an_unknown_name_is_answered_with_the_nearest(desk: ThreadedDesk, shell: Shell) -> None:
    ended = shell("calls", "stats", "--sbc", "fra-x")
    assert ended.code == 2 and "did you mean" in ended.err


def test_lists_show_ner_with_its_samples_and_who_is_doubtful(desk: ThreadedDesk, shell: Shell) -> None:
    sbc = {"operating": "in-service", "admin": "enabled", "calls": 3, "resting_s": 0, "reason": "answers OPTIONS"}
    desk.show(
        sbcs={"fra-a": {**sbc, "observed": OBSERVED, "doubtful": DOUBTFUL}, "fra-b": sbc},
        trunks={"carrier-one": {"calls": 1, "cps": 0, "last_invite": None, "admin": "enabled", "observed": OBSERVED}},
    )
    table = shell("sbc", "ls").out
    assert "51.0 % (n=120)" in table and "1.25 s (n=60)" in table
    assert "doubtful, so last of its pair: NER 51 % of 120 calls within 1m; answers OPTIONS" in table
    assert "51.0 % (n=120)" in shell("trunk", "ls").out


def test_strangers_beside_a_trunk_say_so(desk: ThreadedDesk, shell: Shell) -> None:
    near = {"address": "198.51.100.20", "packets": 4, "last_seen": "2026-09-21T14:13:20Z", "near": "near carrier-one"}

    async def come() -> None:
        desk.controller.say(msgspec.structs.replace(a_view(), detail={"strangers": [near]}))
        await desk.desk.settled()

    desk.run(come())
    assert "near carrier-one" in shell("strangers").out
