"""RFC 4475 §3.1.2: looks like SIP, and is not."""

from tests.sip.torture import OFFER, wire


def a_request(*, start: str = "", method: str = "INVITE", replaced: str = "", by: str = "", body: bytes = OFFER) -> bytes:
    """A good request in which one line, the one that begins with ``replaced``, is another."""
    lines = [
        start or f"{method} sip:+4969120@edge.bank.example SIP/2.0",
        "Via: SIP/2.0/UDP 203.0.113.9:5070;branch=z9hG4bKinvalid",
        "Max-Forwards: 70",
        "From: <sip:+4930900@carrier.example>;tag=invalid",
        "To: <sip:+4969120@bank.example>",
        "Call-ID: invalid@carrier.example",
        f"CSeq: 21 {method}",
        "Contact: <sip:desk@203.0.113.9>",
        "Date: Mon, 02 Mar 2026 08:00:00 GMT",
        "Content-Length: LENGTH",
    ]
    assert not replaced or any(line.startswith(replaced) for line in lines)
    return wire("\n".join(by if replaced and line.startswith(replaced) else line for line in lines), body)


def a_response(start: str, *, replaced: str = "", by: str = "") -> bytes:
    """A good response with another start line, and one line replaced."""
    return a_request(start=start, replaced=replaced, by=by, body=b"")


INVALID: dict[str, bytes] = {
    "3.1.2.1": a_request(replaced="Via", by="Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKx;;,,;").replace(
        b"<sip:desk@203.0.113.9>", b'"Desk" <sip:desk@203.0.113.9>;;;'
    ),
    "3.1.2.2": a_request(replaced="Content-Length", by="Content-Length: 4096"),
    "3.1.2.3": a_request(replaced="Content-Length", by="Content-Length: -1"),
    "3.1.2.4": a_request(replaced="CSeq", by="CSeq: 73786976294838206464 INVITE"),
    "3.1.2.5": a_response(
        "SIP/2.0 503 Later", replaced="CSeq", by=f"CSeq: 18446744073709551617 OPTIONS\nRetry-After: {'9' * 30}\nWarning: 2000 x y"
    ),
    "3.1.2.6": a_request(replaced="To", by='To: "The Bank, main office <sip:+4969120@bank.example>'),
    "3.1.2.7": a_request(start="INVITE <sip:+4969120@edge.bank.example> SIP/2.0"),
    "3.1.2.8": a_request(start="INVITE sip:+4969120@edge.bank.example; user=phone SIP/2.0"),
    "3.1.2.9": a_request(start="INVITE   sip:+4969120@edge.bank.example  SIP/2.0"),
    "3.1.2.10": a_request(start="INVITE sip:+4969120@edge.bank.example SIP/2.0 \t"),
    "3.1.2.11": a_request(start="INVITE sip:+4969120@edge.bank.example?Route=%3Csip:elsewhere.example%3Blr%3E SIP/2.0"),
    "3.1.2.12": a_request(replaced="Date", by="Date: Mon, 02 Mar 2026 09:00:00 CET"),
    "3.1.2.13": a_request(replaced="Contact", by="Contact: sip:desk@203.0.113.9?Subject=hello"),
    "3.1.2.14": a_request(replaced="To", by="To: <  sip:+4969120@bank.example  >"),
    "3.1.2.15": a_request(replaced="From", by="From: Desk, Front (second floor) <sip:+4930900@carrier.example>;tag=invalid"),
    "3.1.2.16": a_request(start="INVITE sip:+4969120@edge.bank.example SIP/3.1"),
    "3.1.2.17": a_request(replaced="CSeq", by="CSeq: 21 BYE"),
    "3.1.2.18": a_request(start="TELEPORT sip:+4969120@edge.bank.example SIP/2.0"),
    "3.1.2.19": a_response("SIP/2.0 4294967496 OK once more"),
}
