"""Forty-nine messages of our own, one for each section of RFC 4475, each with the trap that section sets.

The words, hosts and numbers are ours; tests/sip/rfc4475.py judges the RFC's own messages where somebody has them.
"""

OFFER = (
    b"v=0\r\no=sbc 4711 1 IN IP4 203.0.113.60\r\ns=call\r\nc=IN IP4 203.0.113.60\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)


def wire(text: str, body: bytes = b"") -> bytes:
    """Octets of a message written as lines; LENGTH in it becomes the length of the body."""
    head = text.strip("\n").replace("LENGTH", str(len(body)))
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body
