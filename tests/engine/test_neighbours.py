"""Builds next to each other: what one says the other reads, fields it does not know or does not get included (DESIGN §4.3)."""

from __future__ import annotations

import socket
from dataclasses import fields as data_fields
from dataclasses import is_dataclass
from typing import Any, get_args

import msgspec
import pytest
from msgspec.inspect import (
    BoolType,
    BytesType,
    CollectionType,
    CustomType,
    DataclassType,
    DictType,
    Field,
    FloatType,
    IntType,
    ListType,
    NoneType,
    StrType,
    StructType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from sipctl.control import ports
from sipctl.engine.embedded import wire
from sipctl.engine.embedded.router import Wire
from sipctl.engine.generation import decode_state, encode_state
from sipctl.routing.snapshot import RoutingState
from sipctl.supervisor import local_wire
from sipctl.supervisor.children import Child

FAMILIES: dict[str, tuple[Any, ...]] = {
    "router to controller": get_args(ports.FromRouter),
    "controller to router": get_args(ports.ToRouter),
    "desk to controller": get_args(ports.FromDesk),
    "controller to desk": get_args(ports.ToDesk),
    "child to supervisor": get_args(wire.FromChild),
    "supervisor to child": get_args(wire.ToChild),
    "asked on the node": get_args(local_wire.Request),
    "answered on the node": get_args(local_wire.Answer),
}
FRAMES = [(family, frame) for family, frames in FAMILIES.items() for frame in frames]


def a_value(kind: Type) -> Any:
    """The plainest value of a type, as it stands in a message."""
    match kind:
        case BoolType():
            return False
        case IntType() | FloatType():
            return 0
        case StrType():
            return ""
        case BytesType():
            return b""
        case NoneType():
            return None
        case StructType(fields=parts) | DataclassType(fields=parts):
            return a_message(parts)
        case UnionType(types=types):
            return None if any(isinstance(one, NoneType) for one in types) else a_value(types[0])
        case DictType():
            return {}
        case VarTupleType() | ListType() | CollectionType():
            return []
        case CustomType():
            return {}
    items = getattr(kind, "item_types", None)
    if items is not None:
        return [a_value(item) for item in items]
    values = getattr(kind, "values", None) or getattr(kind, "cls", None)
    return next(iter(values)) if values is not None else None


def a_message(parts: tuple[Field, ...]) -> dict[str, Any]:
    """Only what must be there: what an older build, that knows nothing newer, would say."""
    return {part.encode_name: a_value(part.type) for part in parts if part.required}


def told(frame: type[msgspec.Struct], **more: Any) -> bytes:
    info = type_info(frame)
    assert isinstance(info, StructType)
    return msgspec.msgpack.encode({str(info.tag_field): info.tag, **a_message(info.fields), **more})


def heard(family: str, data: bytes) -> Any:
    union: Any = FAMILIES[family][0]
    for frame in FAMILIES[family][1:]:
        union = union | frame
    return msgspec.msgpack.decode(data, type=union)


@pytest.mark.parametrize(("family", "frame"), FRAMES, ids=lambda one: getattr(one, "__name__", one))
def test_a_frame_without_what_is_newer_and_with_what_is_unknown_is_understood(family: str, frame: type[msgspec.Struct]) -> None:
    assert type(heard(family, told(frame))) is frame
    assert heard(family, told(frame, brand_new=[1, {"x": "y"}])) == heard(family, told(frame))


def test_every_field_that_was_added_to_a_state_has_a_default() -> None:
    """The four a state was born with are all that an older build must have said."""
    assert is_dataclass(RoutingState)
    required = [part.name for part in data_fields(RoutingState) if part.default is part.default_factory]
    assert required == ["term", "seq", "revision", "table"]


def test_a_state_of_a_newer_build_is_read_and_one_of_an_older_gets_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    state = RoutingState(3, 9, 12, "ab" * 32)
    plain = {**msgspec.to_builtins(state), "brand_new": {"x": 1}}
    older = {name: plain[name] for name in ("term", "seq", "revision", "table")}
    encode = msgspec.msgpack.encode
    for told_state in (plain, older):
        monkeypatch.setattr("sipctl.engine.generation.msgspec.msgpack.encode", lambda _, told=told_state: encode(told))
        assert decode_state(encode_state(state)) == state


def test_a_frame_of_a_kind_that_is_not_known_is_passed_over_by_both_ends() -> None:
    ours, theirs = wire.socket_pair()
    unknown = msgspec.msgpack.encode({"type": "brand-new", "x": 1})
    with ours, theirs:
        child = Child("router", 1, ours, 0.0, None)
        wire.send_packet(theirs, unknown)
        wire.send_packet(theirs, wire.encode(wire.Beat()))
        assert [type(frame) for frame, _ in child.frames()] == [wire.Beat]
        router = Wire(theirs, None)
        wire.send_packet(ours, unknown)
        assert router.receive() is None and router.sock is not None, "the wire stays"
        wire.send_packet(ours, wire.encode(wire.Look()))
        received = router.receive()
        assert received is not None and isinstance(received[0], wire.Look)


def test_a_wire_that_is_closed_is_told_from_one_that_says_something_unknown() -> None:
    ours, theirs = wire.socket_pair()
    ours.close()
    router = Wire(theirs, None)
    assert router.receive() is None and router.sock is None
    assert isinstance(theirs, socket.socket)
