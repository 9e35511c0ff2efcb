"""RFC 4475 §3.2, §3.3 and §3.4: sound as syntax; what they ask for is the trouble."""

from tests.sip.torture import OFFER, wire
from tests.sip.torture.invalid import a_request

BEYOND: dict[str, bytes] = {
    "3.2.1": a_request(method="OPTIONS", replaced="Via", by="Via: SIP/2.0/UDP 203.0.113.9:5070;branch=z9hG4bK", body=b""),
    # neither From, To, Call-ID nor Max-Forwards
    "3.3.1": wire(
        """
INVITE sip:+4969120@edge.bank.example SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKmissing
CSeq: 31 INVITE
Content-Type: application/sdp
Content-Length: LENGTH
""",
        OFFER,
    ),
    "3.3.2": a_request(method="OPTIONS", start="OPTIONS whatEver+1.0:some(thing);opaque?x=y SIP/2.0", body=b""),
    "3.3.3": a_request(method="OPTIONS", start="OPTIONS https://203.0.113.70:8443/call SIP/2.0", body=b""),
    "3.3.4": a_request(replaced="To", by="To: <urn:service:hotline>")
    .replace(b"<sip:+4930900@carrier.example>", b"<mailto:desk@carrier.example>")
    .replace(b"<sip:desk@203.0.113.9>", b"<whois:desk>"),
    "3.3.5": a_request(
        replaced="Date", by="Require: mindReading\nProxy-Require: timeTravel, teleportation\nProxy-Require: levitation"
    ),
    "3.3.6": a_request(replaced="Date", by="Content-Type: application/x-tone-rows+xml", body=b"<row note='a'/>\r\n"),
    "3.3.7": a_request(replaced="Date", by="Authorization: Handshake firm=yes, hands=2", body=b""),
    "3.3.8": a_request(
        replaced="Date",
        by="CSeq: 22 INVITE\nCall-ID: other@carrier.example\nTo: <sip:+4969121@bank.example>\nFrom: <sip:x@y.example>;tag=2\n"
        "Max-Forwards: 9",
    ),
    "3.3.9": a_request(replaced="Date", by="l: 11", body=b"eleven or more octets"),
    "3.3.10": wire(
        """
SIP/2.0 200 OK
Via: SIP/2.0/UDP 203.0.113.60;branch=z9hG4bKours
Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKeverybody
From: <sip:+4930900@carrier.example>;tag=broadcast
To: <sip:+4969120@bank.example>;tag=answer
Call-ID: broadcast@carrier.example
CSeq: 32 INVITE
Contact: <sip:bank@203.0.113.61>
Content-Type: application/sdp
Content-Length: LENGTH
""",
        OFFER,
    ),
    "3.3.11": a_request(method="OPTIONS", replaced="Max-Forwards", by="Max-Forwards: 0", body=b""),
    "3.3.12": a_request(replaced="Contact", by="Contact: sip:+4930900@203.0.113.9;shoe-size"),
    "3.3.13": a_request(replaced="Contact", by="Contact: <sip:+4930900@203.0.113.9;shoe-size>"),
    "3.3.14": a_request(replaced="Contact", by="m: <sip:+4930900@203.0.113.9?Route=%3Csip:in.carrier.example%3Blr%3E>"),
    "3.3.15": a_request(replaced="Date", by="Accept: audio/x-whistling"),
    # no branch, no From tag, no Max-Forwards, no Content-Length, parameters of the URI without brackets
    "3.4.1": wire(
        """
INVITE sip:+4969120@edge.bank.example SIP/2.0
Via: SIP/2.0/UDP old.carrier.example
Record-Route: <sip:+4969120@old.carrier.example;maddr=203.0.113.9>
From: <sip:+4930900@carrier.example;user=phone>
To: sip:+4969120@bank.example;user=phone
Call-ID: 1999@old.carrier.example
CSeq: 33 INVITE
Content-Type: application/sdp
""",
        OFFER,
    ),
}
