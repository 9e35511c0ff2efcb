"""RFC 4475 §3.1.1: odd, and valid."""

from tests.sip.torture import OFFER, wire

LONG_NAME = "Hotline of the " + "very " * 40 + "large department"
LONG_TAG = "t" * 240
LONG_VALUE = "value" * 60
LONG_USER = "extension-" * 20

VALID: dict[str, bytes] = {
    # spaces and folds wherever they are allowed, compact and odd-case names, an empty header, leading zeros, quoted quotes
    "3.1.1.1": wire(
        r"""
INVITE sip:+4969120@edge.bank.example;route=unknown;x SIP/2.0
fROM:
  "Front \"desk\" \\"     <sip:+4930900@carrier.example>
   ;   tag    =   f-1
TO   :   <sip:+4969120@edge.bank.example>   ;
 x-kind = main
mAx-forwards  : 0007
I : tortuous-1@carrier.example
l :LENGTH
CSEQ:
   00042
   INVITE
k:
X-Nothing-Known : ,,;;;,,,
vIA :  SIP /2.0/   UDP
   203.0.113.9 : 5070   ; branch
 =   z9hG4bKtop-1
V: SIP  /  2.0/TCP inner-a.carrier.example;branch= z9hG4bK-a ,
  SIP/2.0  / UDP   [2001:db8::a] ;branch=z9hG4bK-b
M :"Desk, second \"floor\""<sip:desk@203.0.113.9>  ;  q = 0.7;
  flag
X-Folded: one
 two
	three
Route  :
 <sip:in.edge.example;lr;colour=blue;flag>
C: application/sdp
""",
        OFFER,
    ),
    # every kind of character a token, a user part, a quoted string, a Call-ID and an unknown header may hold
    "3.1.1.2": wire(
        "`Call~it+what*you%will_it's!a.method- "
        "sip:2_much~(isn't)&he=said+so$/or?not,;x;*:p&ss=w+rd$,x!y*z~@bank.example SIP/2.0\n"
        "Via: SIP/2.0/UDP odd.carrier.example;branch=z9hG4bK*+`!.'%~_-1\n"
        'To: "tab\t bell \\\x07 null \\\x00 rubout \\\x7f" <sip:_~!odd.USER-(maybe)?yes/no;;;@bank.example>\n'
        "From: to.ken! ~other`token' +*%_- <sip:plain@carrier.example>;x!%*_+`'~.-=\"Привет, мир\";tag=t!%*_+`'~.-9\n"
        'Call-ID: every(thing)<that>:is\\"a[word]?{may}/hold@`here~!\n'
        "CSeq: 2147483646 `Call~it+what*you%will_it's!a.method-\n"
        "Max-Forwards: 254\n"
        "x!%*_+`'~.-header: \xa0\u2028Ελληνικά 日本語\n"
        "l: LENGTH\n"
    ),
    # escapes in user parts, parameters and header-like text, some of them of letters that need none
    "3.1.1.3": wire(
        """
INVITE sip:tel%3A%2B4969120%40bank.example@edge.bank.example SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKesc
From: <sip:two%20words@carrier.example>;tag=esc-1
To: sip:%63all%65r@bank.example
i: escapes@carrier.example
CSeq: 8 INVITE
Max-Forwards: 70
Contact:
 <sip:d%65sk@203.0.113.9;%6Cr;c%6Flour=bl%75e%20%32>
Content-Type: application/sdp
Content-Length: LENGTH
""",
        OFFER,
    ),
    # an escaped null is three visible characters
    "3.1.1.4": wire(
        """
OPTIONS sip:a%00b@edge.bank.example SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKnull
From: sip:x%00@carrier.example;tag=null-1
To: <sip:%00@bank.example>
Call-ID: nulls@carrier.example
CSeq: 9 OPTIONS
Max-Forwards: 70
Contact: <sip:%00%00%00@203.0.113.9>
L:0
"""
    ),
    # % in a method, a header name, a branch and a quoted name escapes nothing
    "3.1.1.5": wire(
        """
O%50TI%4FNS sip:edge.bank.example SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bK100%sure
From: "%Q 100%" <sip:x@carrier.example>;tag=percent%1
To: "%Q 100%" <sip:y@bank.example>
Call-ID: percent%%@carrier.example
CSeq: 10 O%50TI%4FNS
Max-Forwards: 70
Contact: <sip:one@203.0.113.9>
Cont%61ct: <sip:two@203.0.113.9>
l: 0
"""
    ),
    "3.1.1.6": wire(
        """
OPTIONS sip:edge.bank.example SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKnospace
From: Front Desk<sip:desk@carrier.example>;tag=nospace
To: "Second Desk"<sip:bank.example>
Call-ID: nospace@carrier.example
CSeq: 11 OPTIONS
Max-Forwards: 70
Content-Length: 0
"""
    ),
    # long everything, and 33 hops of which none has a cookie
    "3.1.1.7": wire(
        "INVITE sip:+4969120@edge.bank.example SIP/2.0\n"
        + "\n".join(f"{name}: SIP/2.0/UDP hop{hop}.carrier.example" for hop, name in enumerate(["Via", "v", "V ", "VIA"] * 8))
        + f"""
Via: SIP/2.0/TCP first.carrier.example;received=203.0.113.77;branch={"long" * 60}
To: "{LONG_NAME}"<sip:+4969120@bank.example:5090;{"name" * 30}={LONG_VALUE};{"flag" * 40}>
F: sip:{LONG_USER}@carrier.example;tag={LONG_TAG};{"other" * 20}={LONG_VALUE};{"mark" * 30}
Call-ID: {"call" * 50}
CSeq: 12 INVITE
{"X-Very-Long" * 12}-Header: {LONG_VALUE}; {"param" * 30} = {LONG_VALUE}
Max-Forwards: 36
Contact: <sip:{LONG_USER}@203.0.113.9>
Content-Type: application/sdp
l: LENGTH
""",
        OFFER,
    ),
    # a second request in the same datagram does not exist
    "3.1.1.8": wire(
        """
OPTIONS sip:edge.bank.example SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKouter
From: sip:desk@carrier.example;tag=outer
To: sip:bank.example
Call-ID: outer@carrier.example
CSeq: 13 OPTIONS
Max-Forwards: 70
Content-Length: 0
"""
    )
    + b"\r\n"
    + wire(
        """
INVITE sip:+4969120@edge.bank.example SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKinner
From: sip:desk@carrier.example;tag=inner
To: sip:bank.example
Call-ID: inner@carrier.example
CSeq: 14 INVITE
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: LENGTH
""",
        OFFER,
    ),
    # all of it is the user: parameters, and an escaped @
    "3.1.1.9": wire(
        """
OPTIONS sip:4969120;ctx=main%40bank.example@edge.bank.example SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKsemi
From: sip:desk@carrier.example;tag=semi
To: sip:4969120@bank.example
Call-ID: semicolons@carrier.example
CSeq: 15 OPTIONS
Max-Forwards: 3
Accept: application/sdp,
 application/resource-lists+xml, message/sipfrag,
   multipart/mixed
l: 0
"""
    ),
    "3.1.1.10": wire(
        """
OPTIONS sip:edge.bank.example SIP/2.0
Via: SIP/2.0/UDP h1.carrier.example;branch=z9hG4bKt1
Via: SIP/2.0/PIGEON h2.carrier.example;branch=z9hG4bKt2
Via: SIP/2.0/TLS-SCTP h3.carrier.example;branch=z9hG4bKt3
Via: SIP/2.0/WSS h4.carrier.example;branch=z9hG4bKt4
Via: SIP/2.0/TCP h5.carrier.example;branch=z9hG4bKt5
From: <sip:desk@carrier.example>;tag=transports
To: sip:bank.example
Call-ID:   transports@carrier.example
CSeq: 16 OPTIONS
Max-Forwards: 70
l: 0
"""
    ),
    # a body with binary octets, line ends and what looks like the end of a head
    "3.1.1.11": wire(
        """
MESSAGE sip:+4969120@edge.bank.example SIP/2.0
Via: SIP/2.0/UDP 203.0.113.9:5070;branch=z9hG4bKparts;rport
Max-Forwards: 70
Route: <sip:in.edge.example;lr>
From: <sip:desk@carrier.example>;tag=parts
To: <sip:+4969120@bank.example>
Call-ID: parts@carrier.example
CSeq: 17 MESSAGE
Date: Mon, 02 Mar 2026 08:00:00 GMT
Content-Type: multipart/mixed;boundary="cut here"
Content-Length: LENGTH
""",
        b"--cut here\r\nContent-Type: text/plain\r\n\r\nsee below\r\n--cut here\r\nContent-Type: application/octet-stream\r\n\r\n"
        + bytes(range(256))
        + b"\r\n\r\n\x00\r\n--cut here--\r\n",
    ),
    "3.1.1.12": wire(
        """
SIP/2.0 200 1+1=2; äußerst "ungewöhnlich" <но разрешено> 100%
Via: SIP/2.0/UDP 203.0.113.60;branch=z9hG4bKphrase
From: sip:desk@carrier.example;tag=phrase
To: sip:bank.example;tag=answer
Call-ID: phrase@carrier.example
CSeq: 18 INVITE
Contact: <sip:bank@203.0.113.61>
Content-Type: application/sdp
Content-Length: LENGTH
""",
        OFFER,
    ),
    # the space behind the code stays, the phrase does not
    "3.1.1.13": wire(
        "SIP/2.0 183 \n"
        """Via: SIP/2.0/UDP 203.0.113.60;branch=z9hG4bKsilent
From: <sip:desk@carrier.example>;tag=silent
To: <sip:bank.example>;tag=ringing
Call-ID: silent@carrier.example
CSeq: 19 INVITE
Content-Length: 0
"""
    ),
}
