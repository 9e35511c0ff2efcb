"""One pjsua2 agent in a process of its own: answers or places one call, plays a tone, records what it hears.

    python -m tests.support.pjsua_agent --host 127.0.9.1 --play tone.wav --record heard.wav --talk-s 2 [--call sip:+49…@127.0.9.2]

It prints one JSON object a line: {"is": "ready"}, {"is": "up"}, and at the end {"is": "over", "status": 200, "talked_s": …}.
The library's rules (one Endpoint a process, no threads, every object dead before libDestroy) are kept by `main` alone: objects
live in its frame and are dropped in order.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pjsua2 as pj

SIP_PORT = 5060
SET_UP_S = 20.0
POLL_MS = 20


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


@dataclass(frozen=True, slots=True)
class Orders:
    """What this agent is to do."""

    host: str
    port: int
    play: Path
    record: Path
    talk_s: float
    call: str | None
    answer_for_s: float


class Agent:
    """The state of the one call: plain, so that its end is in our hands."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.call: Any = None
        self.player: Any = None
        self.recorder: Any = None
        self.up_s: float | None = None
        self.over = False
        self.status = 0
        self.reason = ""

    def media_up(self, media: Any) -> None:
        """Our tone to the peer, the peer's tone to the file."""
        self.player, self.recorder = pj.AudioMediaPlayer(), pj.AudioMediaRecorder()
        self.player.createPlayer(str(self.orders.play))
        self.recorder.createRecorder(str(self.orders.record))
        self.player.startTransmit(media)
        media.startTransmit(self.recorder)


def make_call_class() -> type[Any]:
    """The library's Call, wired to an Agent; made late, since pjsua2 is there only with the media extra."""

    class OneCall(pj.Call):  # type: ignore[misc]
        def __init__(self, agent: Agent, account: Any, call_id: int) -> None:
            super().__init__(account, call_id)
            self.agent = agent

        def onCallState(self, prm: Any) -> None:  # noqa: N802
            info = self.getInfo()
            if info.state == pj.PJSIP_INV_STATE_CONFIRMED and self.agent.up_s is None:
                self.agent.up_s = time.monotonic()
                say(**{"is": "up"})
            elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
                self.agent.status, self.agent.reason = info.lastStatusCode, info.lastReason
                self.agent.over = True

        def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
            info = self.getInfo()  # kept: its list is freed with it
            for index, media in enumerate(info.media):
                active = media.type == pj.PJMEDIA_TYPE_AUDIO and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE
                if active and self.agent.player is None:
                    self.agent.media_up(self.getAudioMedia(index))

    return OneCall


def make_account_class(call_class: type[Any]) -> type[Any]:
    class OneAccount(pj.Account):  # type: ignore[misc]
        def __init__(self, agent: Agent) -> None:
            super().__init__()
            self.agent = agent

        def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
            call = call_class(self.agent, self, prm.callId)
            answer = pj.CallOpParam(True)
            if self.agent.call is not None:
                answer.statusCode = 486
                call.answer(answer)
                return
            self.agent.call = call
            answer.statusCode = 200
            call.answer(answer)

    return OneAccount


def start_endpoint(orders: Orders) -> Any:
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.uaConfig.maxCalls = 4
    config.medConfig.clockRate = 8000
    config.medConfig.sndClockRate = 8000
    config.medConfig.noVad = True
    config.medConfig.ecTailLen = 0
    config.logConfig.level = config.logConfig.consoleLevel = 2
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    endpoint.libInit(config)
    endpoint.audDevManager().setNullDev()
    transport = pj.TransportConfig()
    transport.port, transport.boundAddress, transport.publicAddress = orders.port, orders.host, orders.host
    endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, transport)
    endpoint.libStart()
    for codec in endpoint.codecEnum2():
        endpoint.codecSetPriority(codec.codecId, 200 if codec.codecId.startswith("PCMA/") else 0)
    return endpoint


def account_config(orders: Orders) -> Any:
    config = pj.AccountConfig()
    config.idUri = f"sip:agent@{orders.host}:{orders.port}"
    config.regConfig.registerOnAdd = False
    config.mediaConfig.transportConfig.boundAddress = orders.host
    config.mediaConfig.transportConfig.publicAddress = orders.host
    config.mediaConfig.transportConfig.port = 4000
    config.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_DISABLED
    config.callConfig.timerUse = pj.PJSUA_SIP_TIMER_INACTIVE
    return config


def run(endpoint: Any, account: Any, agent: Agent, call_class: type[Any]) -> None:
    """Everything between libStart and libDestroy, by this one thread."""
    orders = agent.orders
    if orders.call is not None:
        agent.call = call_class(agent, account, pj.PJSUA_INVALID_ID)
        agent.call.makeCall(orders.call, pj.CallOpParam(True))
    deadline_s = time.monotonic() + (SET_UP_S if orders.call else orders.answer_for_s)
    while not agent.over:
        endpoint.libHandleEvents(POLL_MS)
        now_s = time.monotonic()
        if agent.up_s is None and now_s > deadline_s:
            break
        if orders.call and agent.up_s is not None and now_s > agent.up_s + orders.talk_s:
            agent.call.hangup(pj.CallOpParam(True))
            agent.up_s = now_s + SET_UP_S  # hung up once; what follows is the wait for the peer's 200
        if agent.up_s is not None and now_s > agent.up_s + orders.talk_s + SET_UP_S:
            break


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=SIP_PORT)
    parser.add_argument("--play", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--talk-s", type=float, default=2.0)
    parser.add_argument("--answer-for-s", type=float, default=30.0)
    parser.add_argument("--call", default=None)
    orders = Orders(**vars(parser.parse_args(argv)))
    agent = Agent(orders)
    call_class = make_call_class()
    endpoint = start_endpoint(orders)
    account = make_account_class(call_class)(agent)
    account.create(account_config(orders))
    say(**{"is": "ready"})
    try:
        run(endpoint, account, agent, call_class)
    finally:
        # In this order, or libDestroy aborts the process: media objects, the call, the account, the library.
        agent.player = agent.recorder = None
        agent.call = None
        account.shutdown()
        del account
        endpoint.libDestroy()
    say(**{"is": "over", "status": agent.status, "reason": agent.reason, "up": agent.up_s is not None})
    return 0 if agent.over and agent.status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
