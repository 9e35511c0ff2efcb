"""Which of several sockets of one address a datagram goes to: a small program in the kernel, chosen by the Call-ID as we choose.

Every slot has a socket of its own on each UDP listen, bound together (SO_REUSEPORT). The kernel gives each datagram to one of
them; this program tells it to take the owner's (`call/owner.py`), so that hardly anything has to be handed over. It is classic
BPF, which any user may attach: no loops, so its search for the header is written out, and it knows the header as nearly everybody
writes it. What it does not find it gives to slot 0, whose router hands it over: it saves work, and nothing depends on it.

The program, at every fourth octet from FIRST to LAST: is the word here one of the four that stand at such a place if "Call-ID" is
near? Then the octets behind it are summed up to the end of the line, or to SUMMED, as `owner_of_call` does.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Final

from sipctl.call.owner import SUMMED

FIRST: Final = 40  # octets of a message before which no Call-ID stands: the start line
LAST: Final = 2200  # and behind which it is not looked for
MAX_INSTRUCTIONS: Final = 4096  # linux/bpf_common.h: BPF_MAXINSNS
_SO_ATTACH_REUSEPORT_CBPF: Final = 51  # asm-generic/socket.h; Python's socket module lacks it

# linux/filter.h, classic BPF
_LD_ABS: Final = 0x20  # A = four octets at k
_LDB_IND: Final = 0x50  # A = the octet at X + k
_LD_IND: Final = 0x40  # A = four octets at X + k
_LDX_IMM: Final = 0x01
_LDX_MEM: Final = 0x61
_LD_IMM: Final = 0x00
_LD_MEM: Final = 0x60
_ST: Final = 0x02
_STX: Final = 0x03
_ADD_X: Final = 0x0C
_ADD_K: Final = 0x04
_MOD_K: Final = 0x94
_TAX: Final = 0x07
_TXA: Final = 0x87
_JA: Final = 0x05
_JEQ: Final = 0x15
_RET_K: Final = 0x06
_RET_A: Final = 0x16

_HEADER: Final = b"Call-ID:"
_BLOCK: Final = 30  # places between two sets of long jumps: a conditional jump reaches 255 instructions
_SUM, _AT = 0, 1  # scratch memory

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k


def program(slots: int) -> list[Instruction]:
    """The instructions for so many slots."""
    found: list[list[int]] = [[], [], [], []]  # long jumps to be aimed, by how far into the header the word began
    code: list[Instruction] = []
    places = list(range(FIRST, LAST, 4))
    for start in range(0, len(places), _BLOCK):
        block = places[start : start + _BLOCK]
        jumps_at = 6 * len(block)  # behind the block: four long jumps, stepped over
        for number, place in enumerate(block):
            code.append((_LDX_IMM, 0, 0, place))
            code.append((_LD_ABS, 0, 0, place))
            for into in range(4):
                here = 6 * number + 2 + into
                word = int.from_bytes(_HEADER[into : into + 4], "big")
                code.append((_JEQ, jumps_at + 1 + into - here - 1, 0, word))
        code.append((_JA, 0, 0, 4))
        for into in range(4):
            found[into].append(len(code))
            code.append((_JA, 0, 0, 0))
    code.append((_RET_K, 0, 0, 0))
    to_sum: list[int] = []
    for into in range(4):  # X: where the word stands, so the header began `into` octets before
        for at in found[into]:
            code[at] = (_JA, 0, 0, len(code) - at - 1)
        code.append((_LD_IND, 0, 0, 4 - into))
        code.append((_JEQ, 1, 0, int.from_bytes(_HEADER[4:], "big")))
        code.append((_RET_K, 0, 0, 0))
        code.append((_TXA, 0, 0, 0))
        code.append((_ADD_K, 0, 0, len(_HEADER) - into))
        code.append((_TAX, 0, 0, 0))
        to_sum.append(len(code))
        code.append((_JA, 0, 0, 0))
    for at in to_sum:
        code[at] = (_JA, 0, 0, len(code) - at - 1)
    code += _sum_up(slots)
    return code


def _sum_up(slots: int) -> list[Instruction]:
    """X: behind the colon. One blank is stepped over; octets up to the end of the line, or SUMMED, are summed, modulo slots."""
    code: list[Instruction] = [
        (_LDB_IND, 0, 0, 0), (_JEQ, 0, 3, 0x20), (_TXA, 0, 0, 0), (_ADD_K, 0, 0, 1), (_TAX, 0, 0, 0),
        (_STX, 0, 0, _AT),
        (_LD_IMM, 0, 0, 0), (_ST, 0, 0, _SUM),
    ]  # fmt: skip
    per_octet = 7
    for number in range(SUMMED):
        to_end = per_octet * (SUMMED - number) - 3 - 1
        code += [
            (_LDX_MEM, 0, 0, _AT), (_LDB_IND, 0, 0, number), (_JEQ, 0, 1, 0x0D), (_JA, 0, 0, to_end),
            (_LDX_MEM, 0, 0, _SUM), (_ADD_X, 0, 0, 0), (_ST, 0, 0, _SUM),
        ]  # fmt: skip
    code += [(_LD_MEM, 0, 0, _SUM), (_MOD_K, 0, 0, slots), (_RET_A, 0, 0, 0)]
    return code


def steer(sock: socket.socket, slots: int) -> None:
    """Attach the program to the group that this socket is in.

    Raises: OSError if this kernel does not take it: then everything works as before, with more to hand over.
    """
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in program(slots))
    buffer = ctypes.create_string_buffer(packed)
    fprog = struct.pack("@HP", len(packed) // 8, ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, fprog)
