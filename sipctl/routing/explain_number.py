"""The first half of a decision told step by step: the number as the trunk wrote it, and the rule that holds it.

Each step's text is made here; what it ends in is asked of the same functions the call path asks (`normalise`, the table's
`lookup`), so a story cannot end elsewhere than the call.
"""

from __future__ import annotations

from typing import Final

from sipctl.routing.join import RoutingSnapshot
from sipctl.routing.numbers import E164_SCOPE, NOT_FOUND, RULE_EXACT, Numbers
from sipctl.routing.resolve import NoRoute, normalise
from sipctl.routing.rulebook import Holder, RuleBook, precedence_of
from sipctl.routing.snapshot import Trunk
from sipctl.routing.steps import FACT, PASSED, REFUSED, SKIPPED, TAKEN, Step, step

_SEPARATORS: Final = str.maketrans("", "", " -.()/")


def number_step(trunk: Trunk, number: str) -> Step:
    """How the number as written becomes the one the plan knows: the last step below holds it, or says why there is none."""
    called = normalise(trunk, number, None)
    steps = [step("as-written", FACT, f"{number}, as trunk {trunk.name} writes it (called_format: {trunk.called_format})")]
    steps += _changes(trunk, number)
    if isinstance(called, NoRoute):
        return step(
            "number", REFUSED, f"refused {called.status}: {called.reason}", *steps, status=called.status, cause=called.cause
        )
    form = "private number" if called[:1] != "+" else "E.164"
    text = f"{called} ({form})" if called == number else f"{number} is {called} ({form})"
    return step("number", PASSED, text, *steps, called=called)


def _changes(trunk: Trunk, number: str) -> list[Step]:
    """What `normalise` does to a number of this trunk, one step for each change."""
    if trunk.called_format == "exact":
        return [step("kept", FACT, "kept as it is: private numbers are never changed")]
    bare = number.translate(_SEPARATORS)
    steps = [] if bare == number else [step("separators", FACT, f"without separators: {bare}")]
    if bare[:1] == "+":
        return [*steps, step("plus", FACT, "has its + already")]
    if trunk.called_format == "national":
        prefix = trunk.national_prefix
        if prefix and bare.startswith(prefix):
            bare = bare[len(prefix) :]
            steps.append(step("national-prefix", FACT, f"without the national prefix {prefix}: {bare}"))
        steps.append(step("country", FACT, f"country code {trunk.country_code} in front: +{trunk.country_code}{bare}"))
    elif trunk.called_format == "e164-no-plus":
        steps.append(step("plus", FACT, f"+ in front: +{bare}"))
    else:
        steps.append(step("plus", FACT, "has no +, which this trunk must send: nothing is guessed"))
    return steps


def rules_step(snapshot: RoutingSnapshot, book: RuleBook, trunk: int, called: str) -> Step:
    """Exact number, ranges, patterns, then the entry point's allow-list: what holds the number, and why not the others."""
    numbers = snapshot.table.numbers
    found, _ = numbers.lookup(trunk, called)
    holders, more = book.holders(called)
    steps = [_exact(snapshot, found)]
    steps += [_block(snapshot, numbers, trunk, found, holder) for holder in holders]
    for kind in ("range", "pattern"):
        if not any(holder.text.startswith(kind) for holder in holders):
            steps.append(step("rule", SKIPPED, f"{kind}: none holds it", rule=kind))
    if more:
        steps.append(step("rule", SKIPPED, f"{more} more ranges and patterns hold it, all after these", rule="more"))
    if found == NOT_FOUND:
        return _nobody(snapshot, book, trunk, called, steps)
    entry = snapshot.entry_points[numbers.entry_point[found]]
    rule = numbers.rules[numbers.rule[found]]
    sender = snapshot.trunks[trunk].name
    if entry.trunks is None:
        steps.append(step("allow-list", PASSED, f"{entry.name} has no allow-list: every trunk may call it"))
    else:
        names = tuple(snapshot.trunks[index].name for index in entry.trunks)
        if trunk not in entry.trunks:
            text = f"{sender} is not among the trunks of {entry.name}: {', '.join(names)}"
            steps.append(step("allow-list", REFUSED, text, trunks=names))
            text = f"refused 404: {called} is {entry.name}, which trunk {sender} may not call"
            return step("rules", REFUSED, text, *steps, status=404, entry_point=entry.name, rule=rule)
        steps.append(step("allow-list", PASSED, f"{sender} is among the trunks of {entry.name}", trunks=names))
    return step("rules", PASSED, f"entry point {entry.name}, by {rule}", *steps, entry_point=entry.name, rule=rule)


def _exact(snapshot: RoutingSnapshot, found: int) -> Step:
    numbers = snapshot.table.numbers
    if found != NOT_FOUND and numbers.rule[found] == RULE_EXACT:
        name = snapshot.entry_points[numbers.entry_point[found]].name
        return step("rule", TAKEN, f"exact number of {name}", rule=numbers.rules[RULE_EXACT], entry_point=name)
    return step("rule", SKIPPED, "exact number: none", rule=numbers.rules[RULE_EXACT])


def _block(snapshot: RoutingSnapshot, numbers: Numbers, trunk: int, found: int, holder: Holder) -> Step:
    """A range or pattern that holds the number: the winner, or why it is not."""
    owners = holder.entry_points
    if found != NOT_FOUND and numbers.rule[found] == holder.rule:
        name = snapshot.entry_points[numbers.entry_point[found]].name
        return step("rule", TAKEN, f"{holder.text} of {name} holds it", rule=holder.text, entry_point=name)
    names = ", ".join(snapshot.entry_points[owner].name for owner in owners)
    facts = {"rule": holder.text, "entry_point": names}
    if " +" not in holder.text and not any(trunk in (snapshot.entry_points[owner].trunks or ()) for owner in owners):
        return step("rule", SKIPPED, f"{holder.text} of {names}: private, for other trunks", **facts)
    if holder.precedence < precedence_of(numbers, found):
        return step("rule", SKIPPED, f"{holder.text} of {names} holds it, but comes later", **facts)
    return step("rule", SKIPPED, f"{holder.text} of {names} would hold it, but `except` takes it out", **facts)


def _nobody(snapshot: RoutingSnapshot, book: RuleBook, trunk: int, called: str, steps: list[Step]) -> Step:
    numbers, sender = snapshot.table.numbers, snapshot.trunks[trunk]
    scope = E164_SCOPE if called[:1] == "+" else numbers.scope_of_trunk[trunk]
    near = book.neighbours(scope, called)
    for place, neighbour in (("below", near.below), ("above", near.above)):
        if neighbour is not None:
            digits, entry = neighbour
            name = snapshot.entry_points[entry].name
            steps.append(step("near", FACT, f"nearest {place}: {digits} of {name}", number=digits, entry_point=name))
    if sender.overlap and numbers.is_proper_prefix(trunk, called):
        return step("rules", REFUSED, f"refused 484: {called} is only the beginning of a number", *steps, status=484)
    return step("rules", REFUSED, f"refused 404: {called} is in no entry point", *steps, status=404)
