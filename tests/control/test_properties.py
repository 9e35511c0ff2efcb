"""Whatever happens to a World, its routers always hold a whole table whose order never falls."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sipctl.control.ports import Hello
from sipctl.control.status import detail, status
from sipctl.control.world import Faults, Gone, Heard
from sipctl.failover.machine import State
from tests.control.scene import Scene
from tests.control.test_scenes import without_first_sbc

WORDS = [
    "kill-primary", "kill-bcp", "heal-primary", "heal-bcp", "deaf", "ears", "to-bcp", "to-primary", "failback", "now", "pin",
    "unpin", "unlatch", "pause", "resume", "drain", "enable", "tenant", "trunk", "allow", "edit", "back", "restart",
    "lost-writes", "router-dies", "router-returns", "gap", "local-error", "fault", "long",
]  # fmt: skip


def perform(scene: Scene, word: str) -> None:
    match word:
        case "kill-primary" | "kill-bcp":
            scene.kill("acme-prod" if word == "kill-primary" else "acme-bcp")
        case "heal-primary" | "heal-bcp":
            scene.heal("acme-prod" if word == "heal-primary" else "acme-bcp")
        case "deaf" | "ears":
            scene.alive_but_gone = word == "deaf"
        case "to-bcp" | "to-primary":
            scene.order("failover", group="acme", to="bcp" if word == "to-bcp" else "primary")
        case "failback" | "now":
            scene.order("failback", group="acme", now=word == "now")
        case "pin":
            scene.order("pin", group="acme", to="bcp", force=("target-out-of-service",))
        case "unpin" | "unlatch":
            scene.order(word, group="acme")
        case "pause" | "resume":
            scene.order("automation", state=word)
        case "drain" | "enable":
            scene.order("sbc-admin", sbc="fra-b", state="draining" if word == "drain" else "enabled", move=True)
        case "tenant":
            scene.order("tenant-admin", tenant="acme-bcp", state="draining")
        case "trunk":
            scene.order("trunk-admin", trunk="carrier-one", state="disabled")
        case "allow":
            scene.order("trunk-allow", trunk="carrier-one", cidr="198.18.0.0/24", until=1_800_001_030.0)
        case "edit" if len(scene.topology.sbcs) == 4:
            scene.live(replace(without_first_sbc(scene.topology), revision=scene.topology.revision + 1))
        case "restart" | "lost-writes":
            scene.restart(lost_writes=word == "lost-writes")
        case "router-dies" if scene.has_router:
            scene.router_dies()
        case "router-returns" if not scene.has_router:
            scene.has_router = True
            scene.put(Heard(1, Hello("r1", 0, 4712, scene.published[-1])))
        case "gap":
            scene.gap(0.8)
        case "local-error":
            scene.local_errors += 1
        case "fault":
            scene.put(Faults("write", {"wishes": "disk full"}))
        case "back":
            scene.put(Gone(99))
    scene.run(30.0 if word == "long" else 1.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14), st.integers(0, 3))
def test_whatever_happens_the_published_state_is_whole_and_its_order_never_falls(script: list[str], seed: int) -> None:
    scene = Scene(seed=seed, failback="automatic", hold_down_s=4.0, ramp_step_s=2.0, start=False)
    for word in script:
        perform(scene, word)  # the scene checks every publication, record, term, seq and epoch
        state = scene.published[-1]
        assert set(state.decisions) == {"acme"} and state.keys, "never an empty table"
        memory = scene.world.groups.get("acme")
        if memory is not None:
            assert memory.state in {one.value for one in State}
            assert state.decisions["acme"].bcp_percent == memory.bcp_percent, "what is decided is what is told"
            assert state.decisions["acme"].pinned == (memory.pinned is not None)
        assert status(scene.world, scene.now_s)["groups"]["acme"]["state"]
        assert detail(scene.world, scene.now_s)["term"] == scene.world.term
