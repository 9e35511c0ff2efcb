"""Two revisions in one router: who goes by which, what both share, and what neither may do to the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sipctl.call import adopt as adopting
from sipctl.call import canary as canary_side
from sipctl.call.events import Answered, Attempt, Ended
from sipctl.call.relay import SetUp
from sipctl.control.retire import retired_now
from sipctl.dialplan.compile import compile_plan
from sipctl.routing.canary import canary_takes, moved_sbcs, with_sbc_ids
from sipctl.routing.counts import ENTRY
from sipctl.routing.counts import SBC as SBC_CALLS
from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.select import Target
from sipctl.routing.snapshot import Admin, Canary, Operating, RoutingState
from sipctl.routing.table import Table, load_table
from tests.call.support import CARRIER, INSIDE, OUTSIDE, Bench, Out, a_request, a_response, an_invite
from tests.call.test_shared import Machine
from tests.support.plans import a_state

EDGE = """
listen: {outside: {bind: "udp:203.0.113.9:5060"}, inside: {bind: "udp:10.1.0.5:5060"}}
trunks: {carrier: {listen: outside, sources: [198.51.100.0/28]%s}}
sbc_pairs:
  fra: {listen: inside, probe: off, in_dialog: symmetric, sbcs: {fra-a: {uri: "sip:%s"%s}}}
  ams: {listen: inside, probe: off, sbcs: {ams-a: {uri: "sip:10.5.1.11"}}}
tenants: {prod: {reached_by: fra}, bcp: {reached_by: ams}}
"""
PLAN = """
continuity_groups: {acme: {primary: prod, bcp: bcp, failover: manual}}
entry_points: {sales: {group: acme, numbers: [%s]%s}}
"""
OLD, NEW = "10.4.1.11", "10.4.1.99"
NEW_ID = 1 << 23
RENEWED = 2  # the canary's revision


def a_table(revision: int, host: str = OLD, *, limit: str = "", sources: str = "", numbers: str = '"+4930901820"') -> Table:
    files = {"sbc_configs/a.yaml": (EDGE % (sources, host, "")).encode(), "dialplans/a.yaml": (PLAN % (numbers, limit)).encode()}
    compiled = compile_plan(files, {}, revision=revision)
    assert compiled.image, compiled.findings
    return load_table(compiled.image)


def both(live: Table, other: Table, permille: int, seq: int = 1, **state: Any) -> RoutingSnapshot:
    """As the controller publishes it: what only one of the two plans has is a retired source in the other."""
    ids = {name: NEW_ID + at for at, name in enumerate(moved_sbcs(live.topology, other.topology))}
    canary = Canary(RENEWED, other.hash, permille, ids)
    state.setdefault("retired", retired_now(with_sbc_ids(other.topology, ids), {}, live.topology, {}, (), 1e9))
    return RoutingSnapshot.build(live, a_state(live, seq=seq, canary=canary, **state), other)


def from_(caller: int, number: int) -> bytes:
    return an_invite(number).replace(b"+4930123456", b"+49301%06d" % caller)


def callers(permille: int, count: int = 4000) -> list[int]:
    return [one for one in range(count) if canary_takes(RENEWED, permille, b"+49301%06d" % one)]


def invited(out: Out) -> list[str]:
    return [to[0] for _, data, to in out if data.startswith(b"INVITE")]


def the_bench(permille: int = 100, **edit: Any) -> tuple[Bench, int, int]:
    """A bench with a canary, one of its callers and one that is not."""
    bench = Bench(both(a_table(1), a_table(RENEWED, **(edit or {"host": NEW})), permille))
    ours = callers(permille)[0]
    other = next(one for one in range(4000) if one not in set(callers(permille)))
    return bench, ours, other


def answered(bench: Bench, out: Out, host: str) -> Out:
    request = next(data for _, data, to in out if data.startswith(b"INVITE") and to[0] == host)
    return bench.receive(a_response(request, 200, b"Contact: <sip:agent@%b:5060>\r\n" % host.encode()), INSIDE, (host, 5060))


# -- who -----------------------------------------------------------------------------------------------------------------------


def test_a_share_is_stable_near_what_was_asked_and_a_growing_one_only_adds_callers() -> None:
    before: set[int] = set()
    for permille in (10, 50, 100, 250, 500, 999):
        now = set(callers(permille))
        assert before <= now and abs(len(now) / 4000 - permille / 1000) < 0.02, permille
        before = now
    mine, next_ = set(callers(100)), {one for one in range(4000) if canary_takes(3, 100, b"+49301%06d" % one)}
    assert len(mine & next_) < len(mine) / 4, "the next canary begins with others"


def test_callers_of_the_share_go_by_the_new_revision_and_all_others_by_the_old_one() -> None:
    bench, _, _ = the_bench(permille=300)
    ours = set(callers(300, 60))
    for caller in range(60):
        host = NEW if caller in ours else OLD
        assert invited(bench.receive(from_(caller, caller))) == [host]
    assert 5 < len(ours) < 35


def test_an_asserted_number_decides_and_an_anonymous_call_goes_by_its_call_id() -> None:
    bench, ours, other = the_bench()
    asserted = b"P-Asserted-Identity: <sip:+49301%06d@198.51.100.1>\r\n"
    headers = an_invite(1, headers=asserted % ours).replace(b"+4930123456", b"+49301%06d" % other)
    assert invited(bench.receive(headers)) == [NEW]
    seen = set()
    for number in range(2, 60):
        invite = an_invite(number).replace(b"sip:+4930123456@", b"sip:anonymous@")
        (host,) = invited(bench.receive(invite))
        assert (host == NEW) == canary_takes(RENEWED, 100, b"call-%d" % number)
        seen.add(host)
    assert seen == {OLD, NEW}


def test_without_a_canary_there_is_none_and_its_end_leaves_nothing_behind() -> None:
    bench, ours, _ = the_bench()
    assert bench.core.canary is not None
    live = a_table(1)
    bench.core.swap(RoutingSnapshot.build(live, a_state(live, seq=2)), bench.now_s)
    assert bench.core.canary is None and invited(bench.receive(from_(ours, 1))) == [OLD]
    assert bench.core.call_judge is bench.core.judge


def test_a_state_whose_canarys_table_is_not_there_gives_every_caller_the_live_revision() -> None:
    live, other = a_table(1), a_table(RENEWED, NEW)
    snapshot = RoutingSnapshot.build(live, a_state(live, canary=Canary(RENEWED, other.hash, 999)))
    assert invited(Bench(snapshot).receive(from_(1, 1))) == [OLD]


# -- a call sees one revision --------------------------------------------------------------------------------------------------


def test_a_call_record_names_the_revision_that_carried_its_call() -> None:
    bench, ours, other = the_bench()
    for number, caller, host in ((1, ours, NEW), (2, other, OLD)):
        answered(bench, bench.receive(from_(caller, number)), host)
    told = [note[1] for note in bench.notes if note[0] == "event"]
    found = {one.facts.calling: (one.facts.revision, one.facts.sbc) for one in told if isinstance(one, Answered)}
    assert found == {f"+49301{ours:06d}": (RENEWED, "fra-a"), f"+49301{other:06d}": (1, "fra-a")}
    assert bench.core.canary is not None
    assert (bench.core.canary.counts, bench.core.canary.others) == ([1, 0, 0, 0], [1, 0, 0, 0])


def test_a_call_searches_on_in_its_own_revision_when_the_state_changes_and_when_the_share_falls() -> None:
    """With `advance_across` the second target is the BCP tenant's; only the new plan may cross."""
    live, other = a_table(1), a_table(RENEWED, NEW)
    other = replace_group(other, advance_across="to-bcp")
    bench = Bench(both(live, other, 500))
    ours = callers(10)[0]
    bench.receive(from_(ours, 1))
    bench.core.swap(both(live, other, 10, seq=2), bench.now_s)
    assert bench.core.canary is not None and bench.core.canary.permille == 10
    assert "10.5.1.11" in invited(bench.run(3.0)), "the new plan's way across"
    bench.receive(from_(next(one for one in range(99) if one not in callers(500)), 2))
    assert "10.5.1.11" not in invited(bench.run(3.0)), "the old plan has none"


def replace_group(table: Table, **fields: Any) -> Table:
    groups = tuple(replace(group, **fields) for group in table.topology.groups)
    return Table(replace(table.topology, groups=groups), table.numbers, table.hash, table.image)


@pytest.mark.parametrize("share_now", [100, 1])
def test_a_successor_goes_on_with_a_set_up_in_the_revision_that_began_it(share_now: int) -> None:
    """Also if the share has changed meanwhile: what was tried says whose call it is."""
    live, other = a_table(1), a_table(RENEWED, NEW)
    bench = Bench(both(live, other, 100))
    ours = callers(100)[0]
    first = bench.receive(from_(ours, 1))
    heir = Bench(both(live, other, share_now, seq=2), memory=bench.memory)
    heir.now_s = bench.now_s + 0.1
    out: Out = []
    heir.core.adopt(heir.now_s, out, heir.notes)
    assert [(data, to) for _, data, to in out if to[0] == NEW] == [(data, to) for _, data, to in first if to[0] == NEW]
    heard = answered(heir, out, NEW)
    assert any(data.startswith(b"SIP/2.0 200") and to == CARRIER for _, data, to in heard)
    told = [note[1] for note in heir.notes if note[0] == "event" and isinstance(note[1], Answered)]
    assert [one.facts.revision for one in told] == [RENEWED]


@pytest.mark.interpreted
def test_a_successor_looks_its_canarys_targets_up_once_however_many_set_ups_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, _, _ = the_bench(permille=500)
    ours = callers(500)[:12]
    for number, caller in enumerate(ours):
        bench.receive(from_(caller, number))
    looked: list[int] = []
    real = adopting._targets_by_key

    def counting(plan: RoutingSnapshot) -> dict[bytes, Target]:
        looked.append(plan.revision)
        return real(plan)

    monkeypatch.setattr(adopting, "_targets_by_key", counting)
    heir = Bench(bench.snapshot, memory=bench.memory)
    heir.core.adopt(heir.now_s, [], heir.notes)
    assert heir.core.counters["adopted_setups"] == len(ours) and looked == [1, RENEWED]
    relays = [relay for relay in heir.core.invites.values() if isinstance(relay, SetUp)]
    assert all(relay.attempts[0].target is not None and relay.attempts[0].target.host == NEW for relay in relays)


def test_in_dialog_requests_of_a_canarys_call_reach_its_sbc_during_it_and_after_it_ended_either_way() -> None:
    live, other = a_table(1), a_table(RENEWED, NEW)
    moved = with_sbc_ids(other.topology, {"fra-a": NEW_ID})
    retired = retired_now(moved, {}, live.topology, {}, (), 1e9)
    bench = Bench(both(live, other, 100, retired=retired))
    out = answered(bench, bench.receive(from_(callers(100)[0], 1)), NEW)
    answer = next(data for _, data, to in out if to == CARRIER)
    promoted = retired_now(live.topology, {}, other.topology, {}, retired, 1e9)
    states: list[RoutingSnapshot | None] = [
        None,
        RoutingSnapshot.build(live, a_state(live, seq=2, retired=retired)),
        RoutingSnapshot.build(other, a_state(other, seq=3, revision=RENEWED, retired=promoted)),
    ]
    for at, snapshot in enumerate(states):
        if snapshot is not None:
            bench.core.swap(snapshot, bench.now_s)
        sent = bench.receive(in_dialog(a_request(b"INFO", answer, 1, at + 2, b"b%d" % at)))
        assert [to for _, data, to in sent if data.startswith(b"INFO")] == [(NEW, 5060)], at
    sent = bench.receive(in_dialog(a_request(b"BYE", answer, 1, 9, b"bye")))
    assert [to[0] for _, data, to in sent if data.startswith(b"BYE")] == [NEW]


def in_dialog(request: bytes) -> bytes:
    return request.replace(b"agent@10.4.1.11", b"agent@10.4.1.99")


# -- what both share, and what they do not -------------------------------------------------------------------------------------


def test_an_entry_points_limit_holds_over_both_revisions() -> None:
    live, other = a_table(1, limit=", max_calls: 2"), a_table(RENEWED, NEW, limit=", max_calls: 2")
    bench = Bench(both(live, other, 500))
    ours, rest = callers(500)[:5], [one for one in range(40) if one not in callers(500)][:5]
    assert invited(bench.receive(from_(ours[0], 1))) == [NEW] and invited(bench.receive(from_(rest[0], 2))) == [OLD]
    for number, caller in ((3, ours[1]), (4, rest[1])):
        assert not invited(bench.receive(from_(caller, number))), "two are up, whoever carries them"
    assert bench.core.live.entry_calls == [2] and bench.core.canary is not None
    assert bench.core.canary.live.entry_calls == [2]


def test_calls_of_what_only_the_new_plan_has_are_told_to_the_other_routers_also_as_they_end() -> None:
    live, other = a_table(1), a_table(RENEWED, NEW, limit=", max_calls: 1")
    topology = other.topology
    (sales,) = topology.entry_points
    limited = tuple(replace(sbc, max_calls=1) for sbc in topology.sbcs)
    topology = replace(topology, entry_points=(replace(sales, id=type(sales.id)(77)),), sbcs=limited)
    machine = Machine(both(live, Table(topology, other.numbers, other.hash, other.image), 500))
    ours = callers(500)
    here, there = machine.cores
    assert here.canary is not None and there.canary is not None

    def seen_there() -> tuple[int, int]:
        shared = there.canary.live.shared  # type: ignore[union-attr]
        assert shared is not None
        return shared.elsewhere(ENTRY, 77), shared.elsewhere(SBC_CALLS, NEW_ID)

    for number in range(3):
        (invite,) = [data for _, data, to in machine.receive(0, from_(ours[0], number)) if data.startswith(b"INVITE")]
        assert seen_there() == (1, 1) and not invited(machine.receive(1, from_(ours[1], 10 + number)))
        machine.receive(0, a_response(invite, 200, b"Contact: <sip:agent@10.4.1.99:5060>\r\n"), INSIDE, (NEW, 5060))
        assert seen_there() == (1, 1)
        (index,) = here.ledger.calls.values()
        here.ledger.end(index, "caller")
        assert seen_there() == (0, 0), "its place is free for the other router"


def test_a_trunks_calls_a_second_are_limited_over_both_revisions() -> None:
    live, other = (a_table(at, host, sources=", max_cps: 2") for at, host in ((1, OLD), (RENEWED, NEW)))
    bench = Bench(both(live, other, 500))
    ours, rest = callers(500)[:5], [one for one in range(40) if one not in callers(500)][:5]
    sent = [bool(invited(bench.receive(from_(caller, at)))) for at, caller in enumerate((ours[0], rest[0], ours[1], rest[1]))]
    assert sent == [True, True, False, False]


def test_an_sbc_that_fails_the_canarys_calls_stays_well_for_everybody_else() -> None:
    """The edit points to a port where nobody answers: same SBC by name, another box by address."""
    bench, _, other = the_bench(permille=500)
    for number, caller in enumerate(callers(500)[:12]):
        bench.receive(from_(caller, number))
        bench.run(4.0)
    canary = bench.core.canary
    assert canary is not None and canary.counts[2] == 12
    assert bench.core.live.operating != [Operating.OUT_OF_SERVICE] and not any(bench.core.live.suspect)
    assert canary.live.suspect[0], "its own side knows"
    assert invited(bench.receive(from_(other, 99))) == [OLD]


def test_calls_that_a_shared_sbc_refuses_for_the_edits_sake_are_no_evidence_against_it() -> None:
    bench, _, other = the_bench(permille=500, limit=", labels: {a: b}")
    for number, caller in enumerate(callers(500)[:20]):
        (invite,) = [data for _, data, to in bench.receive(from_(caller, number)) if to[0] == OLD]
        bench.receive(a_response(invite, 500), INSIDE, (OLD, 5060))
        bench.run(1.0)
    assert bench.core.judge.operating(int(bench.snapshot.sbcs[0].id)) != Operating.OUT_OF_SERVICE
    assert invited(bench.receive(from_(other, 99))) == [OLD]


def test_attempts_say_whether_a_canary_made_them_also_after_an_adoption() -> None:
    live, other = a_table(1), a_table(RENEWED, NEW)
    bench = Bench(both(live, other, 500))
    ours, rest = callers(500)[0], next(one for one in range(40) if one not in callers(500))
    bench.receive(from_(ours, 1))
    bench.receive(from_(rest, 2))
    heir = Bench(both(live, other, 500, seq=2), memory=bench.memory)
    heir.core.adopt(heir.now_s, [], heir.notes)
    for one in (bench, heir):
        one.run(40.0)
        told = [note[1] for note in one.notes if note[0] == "event" and isinstance(note[1], Attempt)]
        assert sorted(event.canary for event in told) == [False, True]


def test_what_a_canarys_calls_show_of_an_sbc_is_not_told_to_the_other_routers() -> None:
    bench, ours, other = the_bench(permille=500, limit=", labels: {a: b}")
    bench.core.slots = 2
    for number, caller, told in ((1, ours, 0), (2, other, 1)):
        (invite,) = [data for _, data, to in bench.receive(from_(caller, number)) if to[0] == OLD]
        bench.receive(a_response(invite, 503, b"Retry-After: 20\r\n"), INSIDE, (OLD, 5060))
        assert sum(note[0] == "flag" for note in bench.notes) == told
    bench, ours, _ = the_bench(permille=500, limit=", labels: {a: b}")
    bench.core.slots = 2
    bench.receive(from_(ours, 1))
    bench.run(40.0)
    assert bench.core.canary is not None and bench.core.canary.live.suspect[0]
    assert not [note for note in bench.notes if note[0] == "flag"]


def test_a_box_that_only_the_canary_has_is_probed_and_judged_by_itself() -> None:
    edge = EDGE.replace("probe: off, in_dialog", "probe: {interval: 1s, fast_interval: 500ms, timeout: 500ms}, in_dialog")
    tables = []
    for revision, host in ((1, OLD), (RENEWED, NEW)):
        files = {
            "sbc_configs/a.yaml": (edge % ("", host, "")).encode(),
            "dialplans/a.yaml": (PLAN % ('"+4930901820"', "")).encode(),
        }
        tables.append(load_table(compile_plan(files, {}, revision=revision).image or b""))
    bench = Bench(both(tables[0], tables[1], 100))
    out: Out = []
    for _ in range(12):
        bench.now_s += 0.5
        sent: Out = []
        bench.core.tick(bench.now_s, sent, bench.notes)
        out += sent
        for _, data, to in sent:
            if data.startswith(b"OPTIONS") and to[0] == OLD:
                bench.receive(a_response(data, 200), INSIDE, to)
    assert {to[0] for _, data, to in out if data.startswith(b"OPTIONS")} == {OLD, NEW}
    canary = bench.core.canary
    assert canary is not None
    at = canary.snapshot.sbc_index["fra-a"]
    assert canary.live.operating[at] == Operating.OUT_OF_SERVICE
    assert bench.core.live.operating[bench.snapshot.sbc_index["fra-a"]] == Operating.IN_SERVICE


def test_a_source_that_only_the_new_plan_allows_may_call_if_its_caller_is_the_canarys() -> None:
    live, other = a_table(1), a_table(RENEWED, NEW).topology
    wider = replace(other.trunks[0], sources=(*other.trunks[0].sources, "203.0.113.64/28"))
    table = a_table(RENEWED, NEW)
    table = Table(replace(other, trunks=(wider,)), table.numbers, table.hash, table.image)
    bench = Bench(both(live, table, 100))
    stranger = ("203.0.113.65", 5060)
    ours, rest = callers(100)[0], next(one for one in range(99) if one not in callers(100))

    def via(invite: bytes) -> bytes:
        return invite.replace(b"UDP 198.51.100.1", b"UDP 203.0.113.65")

    assert invited(bench.receive(via(from_(ours, 1)), OUTSIDE, stranger)) == [NEW]
    assert bench.receive(via(from_(rest, 2)), OUTSIDE, stranger) == [], "the plan of its caller does not know that source"


def test_the_counts_of_both_sides_go_on_through_changes_of_the_state_and_begin_anew_with_another_canary() -> None:
    live, other = a_table(1), a_table(RENEWED, NEW)
    bench = Bench(both(live, other, 100))
    answered(bench, bench.receive(from_(callers(100)[0], 1)), NEW)
    bench.core.swap(both(live, other, 200, seq=2), bench.now_s)
    assert bench.core.canary is not None and bench.core.canary.counts == [1, 0, 0, 0]
    third = a_table(3, NEW)
    state: RoutingState = a_state(live, seq=3, canary=Canary(3, third.hash, 100, {"fra-a": NEW_ID}))
    bench.core.swap(RoutingSnapshot.build(live, state, third), bench.now_s)
    assert bench.core.canary is not None and bench.core.canary.counts == [0, 0, 0, 0]


def test_a_set_up_that_is_cancelled_is_no_verdict_and_a_refused_number_is_a_failure() -> None:
    bench, ours, _ = the_bench(numbers='"+4930901899"')
    bench.receive(from_(ours, 1))
    told = [note[1] for note in bench.notes if note[0] == "event" and isinstance(note[1], Ended)]
    assert [one.status for one in told] == [404], "the new plan lost the number"
    assert bench.core.canary is not None and bench.core.canary.counts == [0, 0, 1, 0]
    bench, ours, _ = the_bench()
    invite = from_(ours, 1)
    bench.receive(invite)
    bench.receive(invite.replace(b"INVITE", b"CANCEL"))
    bench.run(40.0)
    assert bench.core.canary is not None and bench.core.canary.counts == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("edit", "status"),
    [(", called_from: p-called-party-id", b"404"), (", match: {header: {X-Site: b}}", b"403")],
)
def test_a_call_that_the_edit_refuses_before_it_is_looked_up_is_a_failure_of_the_canary(edit: str, status: bytes) -> None:
    bench, ours, other = the_bench(sources=edit)
    invite = from_(ours, 1)
    for _ in range(2):
        assert [data[8:11] for _, data, _ in bench.receive(invite) if data.startswith(b"SIP")] == [status]
    bench.receive(from_(other, 2))
    canary = bench.core.canary
    assert canary is not None and (canary.counts, canary.others) == ([0, 0, 1, 0], [0, 0, 0, 0])


def test_a_call_that_both_plans_refuse_before_it_is_looked_up_counts_on_either_side_alike() -> None:
    tables = [a_table(at, host, sources=", called_from: p-called-party-id") for at, host in ((1, OLD), (RENEWED, NEW))]
    bench = Bench(both(tables[0], tables[1], 500))
    ours, rest = callers(500)[0], next(one for one in range(40) if one not in callers(500))
    bench.receive(from_(ours, 1))
    bench.receive(from_(rest, 2))
    canary = bench.core.canary
    assert canary is not None and (canary.counts, canary.others) == ([0, 0, 1, 0], [0, 0, 1, 0])


def test_a_limit_that_both_plans_have_turns_calls_of_either_side_away_alike() -> None:
    live, other = a_table(1, limit=", max_calls: 1"), a_table(RENEWED, NEW, limit=", max_calls: 1")
    bench = Bench(both(live, other, 500))
    ours, rest = callers(500), [one for one in range(40) if one not in callers(500)]
    assert invited(bench.receive(from_(rest[0], 1)))
    for at in range(1, 4):
        bench.receive(from_(ours[at], 10 + at))
        bench.receive(from_(rest[at], 20 + at))
    canary = bench.core.canary
    assert canary is not None and canary.counts == canary.others and sum(canary.counts) == 3


def test_what_no_plan_would_take_is_no_verdict_on_one() -> None:
    bench, ours, _ = the_bench()
    out = bench.receive(from_(ours, 1).replace(b"Max-Forwards: 70", b"Max-Forwards: 0"))
    assert [data[8:11] for _, data, _ in out] == [b"483"]
    live, other = a_table(1), a_table(RENEWED, NEW)
    bench.core.swap(both(live, other, 100, seq=2, node_admin=Admin.DISABLED), bench.now_s)
    assert [data[8:11] for _, data, _ in bench.receive(from_(ours, 2))] == [b"503"]
    canary = bench.core.canary
    assert canary is not None and (canary.counts, canary.others) == ([0, 0, 0, 0], [0, 0, 0, 0])


def moved_sources(table: Table) -> Table:
    trunks = tuple(replace(trunk, sources=("203.0.113.64/28",)) for trunk in table.topology.trunks)
    return Table(replace(table.topology, trunks=trunks), table.numbers, table.hash, table.image)


def test_a_call_whose_source_the_edit_took_away_is_one_failure_of_the_canary_however_often_it_is_sent() -> None:
    live, other = a_table(1), moved_sources(a_table(RENEWED, NEW))
    bench = Bench(both(live, other, 100))
    ours, rest = callers(100)[:2], next(one for one in range(99) if one not in callers(100))
    for _ in range(3):
        assert bench.receive(from_(ours[0], 1)) == []
    bench.core.swap(both(live, other, 200, seq=2), bench.now_s)
    assert bench.receive(from_(ours[0], 1)) == [] and bench.receive(from_(ours[1], 2)) == []
    assert invited(bench.receive(from_(rest, 3))) == ([OLD] if rest not in callers(200) else [])
    canary = bench.core.canary
    assert canary is not None and canary.counts == [0, 0, 2, 0]


@pytest.mark.interpreted
def test_of_lost_calls_so_many_are_known_again_and_the_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary_side, "MAX_LOST", 3)
    bench = Bench(both(a_table(1), moved_sources(a_table(RENEWED, NEW)), 500))
    ours = callers(500)[0]
    for number in (1, 2, 3, 4, 5, 5, 4, 3):
        bench.receive(from_(ours, number))
    canary = bench.core.canary
    assert canary is not None and canary.counts[2] == 5 and len(canary._lost) == 3


def test_everything_returns_to_zero_when_calls_of_both_sides_are_over() -> None:
    bench, ours, other = the_bench()
    for number, caller, host in ((1, ours, NEW), (2, other, OLD)):
        answered(bench, bench.receive(from_(caller, number)), host)
    for index in tuple(bench.core.ledger.calls.values()):
        bench.core.ledger.end(index, "caller")
    bench.run(60.0)
    canary = bench.core.canary
    assert canary is not None
    assert bench.core.census()["counts"] == 0 and bench.core.census()["invites"] == 0
    live = canary.live
    assert not any((*live.sbc_calls, *live.tenant_calls, *live.trunk_calls, *live.entry_calls))


def test_an_exception_in_a_canarys_call_leaves_the_live_revision_in_force() -> None:
    live, other = a_table(1), a_table(RENEWED, NEW)
    bench = Bench(both(live, other, 100))
    canary = bench.core.canary
    assert canary is not None
    canary.live.sbc_calls.clear()  # its first INVITE trips over that
    with pytest.raises(IndexError):
        bench.receive(from_(callers(100)[0], 1))
    assert bench.core.snapshot is bench.snapshot and not canary.is_in_force
