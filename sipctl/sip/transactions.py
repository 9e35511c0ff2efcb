"""The four transaction machines of RFC 3261 §17 with the Accepted state of RFC 6026, as tables of small ints.

`TABLE[state][input] → (state, action)`. The owner keeps the state in an int, arms the timers that its new state names, and does
what the action says; nothing here has a clock or sends. One input stands for "the timer that ends this state": H in Completed,
I in Confirmed and L in Accepted of an INVITE server; B in Calling, D in Completed and M in Accepted of an INVITE client; J; F
and K.

    INVITE server   Proceeding ─2xx→ Accepted ─L→ Ended        INVITE client   Calling ─1xx→ Proceeding ─2xx→ Accepted ─M→ Ended
                               └3xx-6xx→ Completed ─ACK→ Confirmed ─I→ Ended              └──────────┴3xx-6xx→ Completed ─D→ Ended
"""

from __future__ import annotations

from typing import Final, TypeAlias

# [state][input] → (state, action). Named: compiled, a tuple whose length is part of its type would be copied at every look.
Table: TypeAlias = tuple[tuple[tuple[int, int], ...], ...]

# Actions
NOTHING: Final = 0
RESEND: Final = 1  # send again what was sent last
PASS: Final = 2  # hand the response to the proxy core
ACK: Final = 3  # acknowledge hop by hop
ACK_AND_PASS: Final = 4
TIMEOUT: Final = 5  # tell the core that no final response came
END: Final = 6  # forget the transaction

# INVITE server, RFC 3261 figure 7 with RFC 6026 figure 5
IS_PROCEEDING: Final = 0
IS_COMPLETED: Final = 1
IS_CONFIRMED: Final = 2
IS_ACCEPTED: Final = 3
IS_ENDED: Final = 4
ON_REQUEST: Final = 0
ON_ACK: Final = 1
ON_SENT_2XX: Final = 2
ON_SENT_FINAL: Final = 3
ON_RESEND: Final = 4  # timer G
ON_TIMER: Final = 5  # H, I, L

INVITE_SERVER: Final[Table] = (
    # request | ack | sent 2xx | sent 3xx-6xx | timer G | H, I, L
    ((IS_PROCEEDING, RESEND), (IS_PROCEEDING, NOTHING), (IS_ACCEPTED, NOTHING),
     (IS_COMPLETED, NOTHING), (IS_PROCEEDING, NOTHING), (IS_PROCEEDING, NOTHING)),
    ((IS_COMPLETED, RESEND), (IS_CONFIRMED, NOTHING), (IS_COMPLETED, NOTHING),
     (IS_COMPLETED, NOTHING), (IS_COMPLETED, RESEND), (IS_ENDED, END)),
    ((IS_CONFIRMED, NOTHING), (IS_CONFIRMED, NOTHING), (IS_CONFIRMED, NOTHING),
     (IS_CONFIRMED, NOTHING), (IS_CONFIRMED, NOTHING), (IS_ENDED, END)),
    ((IS_ACCEPTED, NOTHING), (IS_ACCEPTED, NOTHING), (IS_ACCEPTED, NOTHING),
     (IS_ACCEPTED, NOTHING), (IS_ACCEPTED, NOTHING), (IS_ENDED, END)),
    ((IS_ENDED, NOTHING), (IS_ENDED, NOTHING), (IS_ENDED, NOTHING),
     (IS_ENDED, NOTHING), (IS_ENDED, NOTHING), (IS_ENDED, NOTHING)),
)  # fmt: skip

# INVITE client, RFC 3261 figure 5 with RFC 6026 figure 8
IC_CALLING: Final = 0
IC_PROCEEDING: Final = 1
IC_COMPLETED: Final = 2
IC_ACCEPTED: Final = 3
IC_ENDED: Final = 4
ON_1XX: Final = 0
ON_2XX: Final = 1
ON_FINAL: Final = 2
ON_CLIENT_RESEND: Final = 3  # timer A, E
ON_CLIENT_TIMER: Final = 4  # B, D, M; F, K

INVITE_CLIENT: Final[Table] = (
    # 1xx                    2xx                  3xx-6xx                     timer A                 B, D, M
    ((IC_PROCEEDING, PASS), (IC_ACCEPTED, PASS), (IC_COMPLETED, ACK_AND_PASS), (IC_CALLING, RESEND), (IC_ENDED, TIMEOUT)),
    ((IC_PROCEEDING, PASS), (IC_ACCEPTED, PASS), (IC_COMPLETED, ACK_AND_PASS), (IC_PROCEEDING, NOTHING), (IC_ENDED, TIMEOUT)),
    ((IC_COMPLETED, NOTHING), (IC_COMPLETED, NOTHING), (IC_COMPLETED, ACK), (IC_COMPLETED, NOTHING), (IC_ENDED, END)),
    ((IC_ACCEPTED, NOTHING), (IC_ACCEPTED, PASS), (IC_ACCEPTED, NOTHING), (IC_ACCEPTED, NOTHING), (IC_ENDED, END)),
    ((IC_ENDED, NOTHING), (IC_ENDED, NOTHING), (IC_ENDED, NOTHING), (IC_ENDED, NOTHING), (IC_ENDED, NOTHING)),
)  # fmt: skip

# Non-INVITE server, RFC 3261 figure 8
NS_TRYING: Final = 0
NS_PROCEEDING: Final = 1
NS_COMPLETED: Final = 2
NS_ENDED: Final = 3

NON_INVITE_SERVER: Final[Table] = (
    # request                 (ack)                 sent 2xx                 sent 3xx-6xx             (timer G)             J
    ((NS_TRYING, NOTHING), (NS_TRYING, NOTHING), (NS_COMPLETED, NOTHING),
     (NS_COMPLETED, NOTHING), (NS_TRYING, NOTHING), (NS_ENDED, END)),
    ((NS_PROCEEDING, RESEND), (NS_PROCEEDING, NOTHING), (NS_COMPLETED, NOTHING),
     (NS_COMPLETED, NOTHING), (NS_PROCEEDING, NOTHING), (NS_ENDED, END)),
    ((NS_COMPLETED, RESEND), (NS_COMPLETED, NOTHING), (NS_COMPLETED, NOTHING),
     (NS_COMPLETED, NOTHING), (NS_COMPLETED, NOTHING), (NS_ENDED, END)),
    ((NS_ENDED, NOTHING), (NS_ENDED, NOTHING), (NS_ENDED, NOTHING),
     (NS_ENDED, NOTHING), (NS_ENDED, NOTHING), (NS_ENDED, NOTHING)),
)  # fmt: skip

# Non-INVITE client, RFC 3261 figure 6: a 1xx slows the retransmissions to T2, it does not stop them (§17.1.2.2)
NC_TRYING: Final = 0
NC_PROCEEDING: Final = 1
NC_COMPLETED: Final = 2
NC_ENDED: Final = 4

NON_INVITE_CLIENT: Final[Table] = (
    # 1xx                    2xx                   3xx-6xx               timer E                 F, K
    ((NC_PROCEEDING, PASS), (NC_COMPLETED, PASS), (NC_COMPLETED, PASS), (NC_TRYING, RESEND), (NC_ENDED, TIMEOUT)),
    ((NC_PROCEEDING, PASS), (NC_COMPLETED, PASS), (NC_COMPLETED, PASS), (NC_PROCEEDING, RESEND), (NC_ENDED, TIMEOUT)),
    ((NC_COMPLETED, NOTHING), (NC_COMPLETED, NOTHING), (NC_COMPLETED, NOTHING), (NC_COMPLETED, NOTHING), (NC_ENDED, END)),
    ((NC_COMPLETED, NOTHING), (NC_COMPLETED, NOTHING), (NC_COMPLETED, NOTHING), (NC_COMPLETED, NOTHING), (NC_ENDED, END)),
    ((NC_ENDED, NOTHING), (NC_ENDED, NOTHING), (NC_ENDED, NOTHING), (NC_ENDED, NOTHING), (NC_ENDED, NOTHING)),
)  # fmt: skip
