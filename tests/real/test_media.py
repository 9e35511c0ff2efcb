"""Two pjsua2 agents with real RTP: first back to back, then through a router; each must hear the tone the other plays."""

from tests.support.agents import MediaAgent, start_agent
from tests.support.configs import CARRIER, NUMBER, OUTSIDE, PRIMARY_SBCS, a_plan
from tests.support.processes import Net, Processes
from tests.support.product import a_running_product

LOW_HZ, HIGH_HZ = 440, 1040  # multiples of 10 Hz, so a 100 ms window holds whole waves; no harmonic of each other
TALK_S = 3.0


def assert_heard_each_other(caller: MediaAgent, callee: MediaAgent) -> None:
    caller.finish(30)
    callee.finish(30)
    assert caller.heard_s(callee.tone_hz) >= TALK_S / 2
    assert callee.heard_s(caller.tone_hz) >= TALK_S / 2
    assert caller.heard_s(caller.tone_hz) == 0, "heard its own tone"
    assert callee.heard_s(callee.tone_hz) == 0, "heard its own tone"


def test_agents_hear_each_other_back_to_back(net: Net, group: Processes) -> None:
    callee = start_agent(group, "callee", net[21], HIGH_HZ, talk_s=TALK_S)
    caller = start_agent(group, "caller", net[11], LOW_HZ, talk_s=TALK_S, call=f"sip:+4930901820@{net[21]}")
    assert_heard_each_other(caller, callee)


def test_agents_hear_each_other_through_the_router(net: Net, group: Processes) -> None:
    plan = a_plan(net)
    plan.sbcs["sbc_pairs"]["fra"]["probe"] = "off"
    product = a_running_product(group, plan)
    callee = start_agent(group, "callee", net[PRIMARY_SBCS[0]], HIGH_HZ, talk_s=TALK_S)
    caller = start_agent(group, "caller", net[CARRIER], LOW_HZ, talk_s=TALK_S, call=f"sip:{NUMBER}@{net[OUTSIDE]}")
    assert_heard_each_other(caller, callee)
    product.wait_calls(0)
