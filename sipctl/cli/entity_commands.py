"""Commands on SBCs, trunks, tenants and the node: list, drain, enable, disable, probe, allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer

from sipctl.cli import node_commands
from sipctl.cli.calls_commands import delay_of_status, of_status
from sipctl.cli.client import Client
from sipctl.cli.options import MoveOption, Output, OutputOption, StateOption, state_dir
from sipctl.cli.output import moment, print_json, print_table
from sipctl.cli.until import FORMS, until_text
from sipctl.cli.writes import Wish, as_write, wish

NameArgument = Annotated[str, typer.Argument(metavar="NAME")]
ADMIN: Final = (
    ("enable", "enabled", "Let it take calls again."),
    ("drain", "draining", "It takes no new calls and keeps the old ones."),
    ("disable", "disabled", "It takes no new calls; probes stop."),
)
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "sbc": ("operating", "admin", "calls", "resting_s", "ner_5m", "pdd_p95", "reason"),
    "trunk": ("admin", "calls", "cps", "last_invite", "ner_5m", "pdd_p95"),
    "tenant": ("operating", "admin", "calls", "ner_5m", "pdd_p95"),
}


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    for kind, help_text, moves in (
        ("sbc", "SBCs: what they measure, what you wish.", True),
        ("trunk", "Trunks: who sends us calls.", False),
        ("tenant", "Tenants: who takes calls.", True),
    ):
        group = typer.Typer(no_args_is_help=True, help=help_text)
        group.command("ls", help=f"List every {kind}.")(lister(kind, print_entities))
        for verb, state, text in ADMIN:
            group.command(verb, help=text)(as_write(_mover(kind, state) if moves else _setter(kind, state)))
        if kind == "sbc":
            group.command("probe")(as_write(probe, forced=False, rehearsed=False, reason="probe now"))
        if kind == "trunk":
            group.command("allow")(as_write(allow))
        app.add_typer(group, name=kind)
    node = typer.Typer(no_args_is_help=True, help="This node: drain, enable, restart, upgrade.")
    node.command("drain")(as_write(node_drain))
    node.command("enable")(as_write(node_enable, forced=False))
    node_commands.register_on(node)
    app.add_typer(node, name="node")


def lister(kind: str, show: Callable[[str, Mapping[str, Mapping[str, Any]]], None]) -> Callable[..., None]:
    """`ls`: one section of the status, as a table or as JSON."""

    def ls(output: OutputOption = Output.table, state: StateOption = None) -> None:
        entities = Client.find(state_dir(state)).get("/v1/status").get(section_of(kind)) or {}
        if output is Output.json:
            print_json(entities)
        else:
            show(kind, entities)

    return ls


def section_of(kind: str) -> str:
    """Where things of a kind stand in the status, and in paths of the API."""
    return f"{kind}es" if kind.endswith("ch") else f"{kind}s"


def print_entities(kind: str, entities: Mapping[str, Mapping[str, Any]]) -> None:
    columns = COLUMNS[kind]
    rows = [[name, *(_told(entity, column) for column in columns)] for name, entity in sorted(entities.items())]
    print_table(section_of(kind), [kind.upper(), *(column.upper().replace("_", " ") for column in columns)], rows)


def print_switched(kind: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    """A table of overlays or switches; what is on stands first."""
    rows = [
        (name, one.get("state"), _until(one), one.get("by"), *(one.get(word) for word in ("numbers", "calls", "what", "reason")))
        for name, one in sorted(found.items(), key=lambda item: (item[1].get("state") != "on", item[0]))
    ]
    print_table(section_of(kind), (kind.upper(), "STATE", "UNTIL", "BY", "NUMBERS", "CALLS", "WHAT", "REASON"), rows)


def _until(one: Mapping[str, Any]) -> str | None:
    """Until when it is on, for people; None while it is off."""
    if one.get("state") != "on":
        return None
    return moment(one["until"]) if one.get("until") else "switched off"


def _told(entity: Mapping[str, Any], column: str) -> Any:
    value = entity.get(column)
    if column == "last_invite":
        return moment(value)
    if column in ("ner_5m", "pdd_p95"):
        return (of_status if column == "ner_5m" else delay_of_status)(entity.get("observed"))
    if column == "reason" and entity.get("doubtful"):
        value = f"doubtful, so last of its pair: {entity['doubtful'].get('reason')}; {value}"
    if column == "reason" and entity.get("suspect"):
        return f"suspect: its last INVITE got no reply; {value}"
    return value


# -- wishes ----------------------------------------------------------------------------------------------------------------


def probe(name: NameArgument) -> Wish:
    """Send OPTIONS to an SBC now; `sipctl sbc ls` shows what came of it."""
    return wish("sbcs", name, "probe")


def allow(
    name: NameArgument,
    cidr: Annotated[str, typer.Argument(metavar="CIDR", help="Such as 192.0.2.0/28.")],
    until: Annotated[str, typer.Option("--until", metavar="TIME", help=f"The end of it, {FORMS}.")],
) -> Wish:
    """Let a trunk call from more addresses for a time: a carrier that calls from its disaster-recovery site."""
    return wish("trunks", name, "allow", cidr=cidr, until=until_text(until))


def node_drain() -> Wish:
    """OPTIONS and new INVITEs get 503; calls that are up go on."""
    return wish("node", "admin", state="draining")


def node_enable() -> Wish:
    """Take new calls again."""
    return wish("node", "admin", state="enabled")


def _mover(kind: str, wished: str) -> Callable[..., Wish]:
    def change(name: NameArgument, move: MoveOption = False) -> Wish:
        return wish(section_of(kind), name, "admin", state=wished, move=move)

    return change


def _setter(kind: str, wished: str) -> Callable[..., Wish]:
    def change(name: NameArgument) -> Wish:
        return wish(section_of(kind), name, "admin", state=wished)

    return change
