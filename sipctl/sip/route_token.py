"""The token in our Record-Route, and the ring of keys that signs it.

A dialog outlives routers and plan edits, so what a router must know of it travels in the dialog itself: every in-dialog
request brings our ``<sip:TOKEN@address;lr>`` back as its Route.  The token names the trunk, tenant, SBC, slot and start of
the call, and its MAC covers these together with the Call-ID and the caller's tag.  So a token is worth something in its own
dialog only, and nobody without the key can make one.  The carrier and the SBC both see tokens; neither learns more than
numbers that mean nothing to it.

Layout, 31 octets, big-endian: key id 1, trunk 3, tenant 3, SBC 3, start 4, slot 1, MAC 16.  Each half octet is one letter of
a..p: 62 characters that no element along the way escapes, quotes or cuts.  Letters by translation table are faster
than base32 and still fit the 64 characters allowed.

Invariant of rotation: a key verifies at every router before any router signs with it, and verifies until the last call that
carries it is over.  Hence three steps, each published and acknowledged before the next: ``with_key``, ``signing_with``, and
``max_call_age`` later ``without``.
"""

from binascii import Error as NotHexError
from binascii import hexlify, unhexlify
from dataclasses import dataclass, field
from hashlib import blake2b
from hmac import compare_digest
from struct import Struct
from typing import Final, NamedTuple

MAX_TOKEN_CHARS: Final = 64  # CALLS 1.9
TOKEN_CHARS: Final = 62
SECRET_BYTES: Final = 32
MAC_CHARS: Final = 24  # of KeyRing.mac
MAX_KEYS: Final = 256  # ids 0..255; a ring in service holds two or three
MAX_ID: Final = (1 << 24) - 1  # of a trunk, a tenant, an SBC
MAX_SLOT: Final = 255
MAX_START_S: Final = (1 << 32) - 1  # year 2106

_MAC_BYTES: Final = 12
_TOKEN_MAC_BYTES: Final = 16
_FIELD_BYTES: Final = 15
_HEX: Final = b"0123456789abcdef"
_LETTERS: Final = b"abcdefghijklmnop"
_TO_LETTERS: Final = bytes.maketrans(_HEX, _LETTERS)
_TO_HEX: Final = bytes(_HEX[_LETTERS.index(octet)] if octet in _LETTERS else 0x21 for octet in range(256))  # else "!": no hex
_HEAD: Final = Struct(">QQI")  # 0, key, trunk, tenant | sbc, start, slot | length of the Call-ID, which ends its ambiguity


class Token(NamedTuple):
    """What a valid token says of its call."""

    trunk_id: int
    tenant_id: int
    sbc_id: int
    start_s: int  # unix seconds
    slot: int  # of the router that set the call up
    from_caller: bool  # this request was sent by the caller's side


@dataclass(frozen=True, slots=True)
class Key:
    """One secret and the number it goes by; the secret stays out of repr, so out of logs."""

    id: int
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.id < MAX_KEYS:
            raise ValueError(f"key id {self.id} is not in 0..{MAX_KEYS - 1}")
        if len(self.secret) != SECRET_BYTES:
            raise ValueError(f"the secret of key {self.id} has {len(self.secret)} octets, not {SECRET_BYTES}")


class _Hasher:
    """The keyed hashes of one key, prepared once, and copied for each use."""

    __slots__ = ("mac", "token")

    def __init__(self, secret: bytes) -> None:
        self.token = blake2b(key=secret, digest_size=_TOKEN_MAC_BYTES, person=b"sipctl-token")
        self.mac = blake2b(key=secret, digest_size=_MAC_BYTES, person=b"sipctl-branch")


class KeyRing:
    """All keys that verify, and the one that signs; nobody changes a ring, the steps of a rotation make new ones.

    Raises: ValueError when two keys share an id or the signing key is not among them.
    """

    __slots__ = ("_hashers", "_signer", "keys", "signing_id")

    def __init__(self, keys: tuple[Key, ...], signing_id: int) -> None:
        self.keys = keys
        self.signing_id = signing_id
        self._hashers = {key.id: _Hasher(key.secret) for key in keys}
        if len(self._hashers) != len(keys):
            raise ValueError("two keys share an id")
        if signing_id not in self._hashers:
            raise ValueError(f"the signing key {signing_id} is not in the ring")
        self._signer = self._hashers[signing_id]

    def __repr__(self) -> str:
        """Without the secrets, so that they stay out of logs."""
        return f"KeyRing({self.keys!r}, {self.signing_id})"

    def sign(
        self, trunk_id: int, tenant_id: int, sbc_id: int, start_s: int, slot: int, call_id: bytes, caller_tag: bytes
    ) -> bytes:
        """Make the token of one call: 62 characters of a..p.

        Args:
            trunk_id, tenant_id, sbc_id: stable numbers, 0..MAX_ID.
            start_s: unix seconds, 0..MAX_START_S.
            call_id, caller_tag: octets as received; the tag is that of the INVITE's From, empty if it had none.
        Cost: 1.5 µs.
        """
        assert 0 <= trunk_id <= MAX_ID and 0 <= tenant_id <= MAX_ID and 0 <= sbc_id <= MAX_ID
        assert 0 <= start_s <= MAX_START_S and 0 <= slot <= MAX_SLOT
        head = _HEAD.pack(self.signing_id << 48 | trunk_id << 24 | tenant_id, sbc_id << 40 | start_s << 8 | slot, len(call_id))
        hasher = self._signer.token.copy()
        hasher.update(head + call_id + caller_tag)
        return hexlify(head[1:16] + hasher.digest()).translate(_TO_LETTERS)

    def verify(self, token: bytes, call_id: bytes, from_tag: bytes, to_tag: bytes) -> Token | None:
        """Read the token of an in-dialog request, or None if we did not make it for this dialog.

        The From tag is tried as the caller's, then the To tag: in a dialog either side sends requests.

        Returns: None for any octets that are no token of ours, whatever they are; never raises.
        Cost: 2.5 µs from the caller's side, 3 µs from the callee's.
        """
        if len(token) != TOKEN_CHARS:
            return None
        try:
            raw = unhexlify(token.translate(_TO_HEX))
        except NotHexError:
            return None
        hashers = self._hashers.get(raw[0])
        if hashers is None:
            return None
        head = b"\0" + raw[:_FIELD_BYTES] + len(call_id).to_bytes(4, "big") + call_id
        mac = raw[_FIELD_BYTES:]
        from_caller = True
        hasher = hashers.token.copy()
        hasher.update(head + from_tag)
        if not compare_digest(hasher.digest(), mac):
            from_caller = False
            hasher = hashers.token.copy()
            hasher.update(head + to_tag)
            if not compare_digest(hasher.digest(), mac):
                return None
        first, second, _ = _HEAD.unpack_from(head)
        return Token(
            first >> 24 & MAX_ID, first & MAX_ID, second >> 40, second >> 8 & MAX_START_S, second & MAX_SLOT, from_caller
        )

    def mac(self, data: bytes) -> bytes:
        """Hash ``data`` with the signing key: 24 characters of a..p, for our Via branch. Cost: 1 µs."""
        hasher = self._signer.mac.copy()
        hasher.update(data)
        return hexlify(hasher.digest()).translate(_TO_LETTERS)

    def mac_with(self, key_id: int, data: bytes) -> bytes | None:
        """Hash ``data`` as ``mac`` did when ``key_id`` signed; None if that key is gone. Compare with compare_digest."""
        hashers = self._hashers.get(key_id)
        if hashers is None:
            return None
        hasher = hashers.mac.copy()
        hasher.update(data)
        return hexlify(hasher.digest()).translate(_TO_LETTERS)

    def with_key(self, key: Key) -> "KeyRing":
        """First step of a rotation: ``key`` verifies, the old one still signs. Raises: ValueError if its id is taken."""
        return KeyRing((*self.keys, key), self.signing_id)

    def signing_with(self, key_id: int) -> "KeyRing":
        """Second step, once every router holds the key: it signs. Raises: ValueError if it is not in the ring."""
        return KeyRing(self.keys, key_id)

    def without(self, key_id: int) -> "KeyRing":
        """Last step, ``max_call_age`` after it last signed. Raises: ValueError if it signs, or is not in the ring."""
        if all(key.id != key_id for key in self.keys):
            raise ValueError(f"key {key_id} is not in the ring")
        return KeyRing(tuple(key for key in self.keys if key.id != key_id), self.signing_id)
