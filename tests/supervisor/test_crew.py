"""What the crew refuses before it starts anybody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sipctl.engine.embedded import wire
from sipctl.engine.generation import Generations
from sipctl.routing.snapshot import Listen
from sipctl.supervisor.crew import SNAPSHOT_FDS, Crew, Settings, max_listens
from sipctl.supervisor.hand_off import close_shared, make_shared
from sipctl.supervisor.snapshots import Snapshots
from sipctl.supervisor.sockets import ListenError
from sipctl.supervisor.state_dir import StateDir


def listens(count: int) -> Sequence[Listen]:
    return [Listen(f"l{number}", "udp", "192.0.2.1", 5060 + number, "192.0.2.1", 5060 + number) for number in range(count)]


@pytest.mark.parametrize(("slots", "room"), [(1, 189), (2, 91), (4, 44), (8, 20), (16, 8)])
def test_as_many_listens_as_a_router_can_be_given_and_one_more_is_refused_with_its_reason(
    tmp_path: Path, slots: int, room: int
) -> None:
    shared = make_shared(slots, 4096)
    ours, theirs = wire.socket_pair()
    try:
        assert max_listens(slots) == room
        riding = shared.fds + [shared.memories[0]] * SNAPSHOT_FDS
        with ours, theirs:
            wire.send_packet(ours, b"an assignment", [shared.memories[0]] * (room * slots) + riding)
            packet = wire.receive_packet(theirs)
            assert packet is not None
            wire.close_all(packet[1])
            assert len(packet[1]) == room * slots + len(riding)
        state = StateDir(tmp_path)
        crew = Crew(Settings(tmp_path), state, Snapshots(Generations(state.snapshots)), 1, lambda text: None)
        crew.share(shared)
        with pytest.raises(ListenError, match=rf"{room + 1} listens: {slots} routers? can have {room} at most"):
            crew.open_sockets(listens(room + 1))
        assert crew.sockets == []
    finally:
        close_shared(shared)
