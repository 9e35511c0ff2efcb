"""Kamailio's `mtree`, `dialplan` and `dispatcher`: prefixes, rules and gateways.

A prefix of `mtree` is a pattern with any further digits; the longest one wins there and the most fixed digits win here, which is
the same. Rules of `dialplan` are taken where they are a number, a prefix or so many digits; regular expressions beyond that
are told. Gateways of a `dispatcher` set become an SBC pair: there the higher priority is tried first, here the lower number.

Source: Kamailio module documentation, mtree, dialplan, dispatcher (flags: 1 inactive, 4 disabled, 8 probing).
"""

from __future__ import annotations

import re
from typing import Final

from sipctl.dialplan.importers.gathered import Gathered, Sbc, name_of
from sipctl.dialplan.importers.kamailio_tables import TableRow, rows

_INACTIVE: Final = 1 | 4
_URI: Final = re.compile(r"(sips?):(?:[^@;]*@)?(\[[0-9A-Fa-f:.]+\]|[^:;?\s]+)(?::(\d+))?((?:;[^?]*)?)$")
_ATTRIBUTE: Final = re.compile(r"([^=;]+)=([^;]*)")
_EQUAL, _REGEX, _FNMATCH = "0", "1", "2"


def read(text: str, into: Gathered) -> None:
    """Take every table of a dump."""
    gateways: dict[str, list[tuple[int, int, Sbc]]] = {}  # set → (its priority, line, SBC)
    trees: list[TableRow] = []
    orders: set[tuple[str, str]] = set()
    for row in rows(text):
        if isinstance(row, tuple):
            into.skip(*row)
        elif row.table == "dispatcher":
            _gateway(row, gateways, into)
        elif row.table == "mtree":
            trees.append(row)
        else:
            orders.add((row.cells.get("dpid", ""), row.cells.get("pr", "")))
            _rule(row, into)
    _pairs(gateways, into)
    for row in trees:
        _prefix(row, into)
    if len(orders) > len({dpid for dpid, _ in orders}):
        into.note(0, "rules of dialplan are tried in order of pr; here the most specific number wins, whatever its order")


# -- mtree -----------------------------------------------------------------------------------------------------------------------


def _prefix(row: TableRow, into: Gathered) -> None:
    prefix, value = row.cells["tprefix"].strip(), row.cells["tvalue"].strip()
    if not re.fullmatch(r"\+?[0-9]+", prefix):
        into.skip(row.line, f"prefix {prefix!r} is not of digits")
        return
    pair = f"ds-{value}" if f"ds-{value}" in into.pairs else ""
    entry_point = name_of(f"mtree-{value}" if value.isdigit() or not value else value)
    if into.add(f"{prefix}.", entry_point, row.line) and pair:
        into.groups[name_of(into.entry_point or entry_point)] = pair


# -- dialplan --------------------------------------------------------------------------------------------------------------------


def _rule(row: TableRow, into: Gathered) -> None:
    cells = row.cells
    expression, kind = cells["match_exp"].strip(), cells["match_op"].strip()
    pattern = translate(expression, kind)
    if pattern is None:
        what = {_EQUAL: "string", _REGEX: "regular expression", _FNMATCH: "shell pattern"}.get(kind, f"match_op {kind}")
        into.skip(row.line, f"the {what} {expression!r} cannot be said as a number, range or pattern")
        return
    length = cells.get("match_len", "0").strip()
    if length not in ("", "0") and pattern.endswith("."):
        missing = int(length) - _digits(pattern) if length.isdigit() else -1
        if missing < 0:
            into.skip(row.line, f"match_len {length} does not fit {expression!r}")
            return
        pattern = pattern[:-1] + "X" * missing
    attrs = cells.get("attrs", "").strip()
    entry_point = name_of(attrs if attrs and not attrs.isdigit() and "=" not in attrs else f"dp-{cells.get('dpid', '') or 0}")
    primary = ""
    rewrite = cells.get("repl_exp", "").strip()
    if rewrite and rewrite not in (r"\0", expression):
        dialled = into.form.plus(rewrite)
        if re.fullmatch(r"\+[0-9]+", dialled):
            primary = dialled
        else:
            into.note(row.line, f"{expression} is rewritten to {rewrite} there: not carried over", "say it with called_at")
    into.add(pattern, entry_point, row.line, primary=primary)


def translate(expression: str, kind: str) -> str | None:
    """A rule's expression as our plans write it; None if they cannot."""
    if kind == _EQUAL:
        return expression if re.fullmatch(r"\+?[0-9]+", expression) else None
    if kind == _FNMATCH:
        body = expression.replace("[!", "(").removesuffix("*").replace("?", "X")
        tail = "." if expression.endswith("*") else ""
        return body + tail if re.fullmatch(r"\+?(?:[0-9X]|\[[0-9-]+\])+", body) else None
    if kind != _REGEX or not expression.startswith("^"):
        return None  # an expression that may begin anywhere is no number
    return _from_regex(expression)


def _from_regex(expression: str) -> str | None:
    """`^\\+?4930[0-9]{4}$` and its like."""
    body = expression[1:].replace("(", "").replace(")", "") if "|" not in expression and "(?" not in expression else ""
    ended = body.endswith("$")
    body = body.removesuffix("$")
    made, at = "", 0
    plus = re.match(r"(\\\+|\[\+\])(\?)?|00\|", body)
    if plus is not None:
        made, at = "+", plus.end()
    while at < len(body):
        step = re.match(r"(\d|\\d|\[0-9\]|\[[0-9-]+\]|\.)(?:\{(\d+)\}|([*+]))?", body[at:])
        if step is None:
            return None
        at += step.end()
        unit = "X" if step[1] in ("\\d", "[0-9]", ".") else step[1]
        if step[3]:
            if at < len(body) or unit != "X":
                return None
            return made + ("X." if step[3] == "+" else ".") if made not in ("", "+") else None
        made += unit * int(step[2] or 1)
    if not made.strip("+"):
        return None
    return made if ended else made + "."


def _digits(pattern: str) -> int:
    return len(re.findall(r"[0-9XNZ]|\[[^\]]*\]", pattern.rstrip(".")))


# -- dispatcher ------------------------------------------------------------------------------------------------------------------


def _gateway(row: TableRow, gateways: dict[str, list[tuple[int, int, Sbc]]], into: Gathered) -> None:
    cells = row.cells
    setid, destination = cells["setid"].strip(), cells["destination"].strip()
    read = _URI.match(destination)
    if read is None:
        into.skip(row.line, f"{destination} of set {setid} is no SIP URI")
        return
    scheme, host, port, params = read.groups()
    transport = next((part[10:].lower() for part in params.split(";") if part.startswith("transport=")), "udp")
    if scheme == "sips" or transport not in ("udp", "tcp"):
        into.skip(row.line, f"{destination} of set {setid}: {'tls' if scheme == 'sips' else transport} is not built yet")
        return
    flags = cells.get("flags", "").strip()
    if flags.isdigit() and int(flags) & _INACTIVE:
        into.note(row.line, f"{destination} of set {setid} is inactive there", "after apply: sipctl sbc disable NAME --reason …")
    priority = cells.get("priority", "").strip()
    attributes = dict(_ATTRIBUTE.findall(cells.get("attrs", "")))
    weight = attributes.pop("weight", "100").strip()
    for known in ("rweight", "duid"):
        attributes.pop(known, None)
    if attributes:
        told = ", ".join(f"{name}={value}" for name, value in attributes.items())
        into.note(row.line, f"attributes of {destination} that are not carried over: {told}")
    sbc = Sbc(f"sip:{host}:{port or 5060};transport={transport}", 1, int(weight) if weight.isdigit() else 100, row.line)
    gateways.setdefault(setid, []).append((int(priority) if priority.lstrip("-").isdigit() else 0, row.line, sbc))


def _pairs(gateways: dict[str, list[tuple[int, int, Sbc]]], into: Gathered) -> None:
    for setid, members in gateways.items():
        ranks = {priority: rank for rank, priority in enumerate(sorted({member[0] for member in members}, reverse=True), 1)}
        ordered = sorted(members, key=lambda member: (ranks[member[0]], member[1]))
        made: list[Sbc] = []
        for priority, line, sbc in ordered:
            if any(known.uri == sbc.uri for known in made):
                into.skip(line, f"{sbc.uri} stands in set {setid} twice")
                continue
            made.append(Sbc(sbc.uri, ranks[priority], sbc.weight, line))
        into.pairs[name_of(f"ds-{setid}")] = made
