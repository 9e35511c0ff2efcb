"""`sipctl alerts`: who is told of alarms, whether that works, and whether the file that says so is sound."""

from __future__ import annotations

from typing import Final

import typer

from sipctl.cli.client import EXIT_UNHEALTHY, EXIT_USAGE, Client, segment, stop
from sipctl.cli.findings import finding_lines
from sipctl.cli.options import DryRunOption, Output, OutputOption, ReasonOption, StateOption, state_dir
from sipctl.cli.output import complain, print_json, print_table, say, when
from sipctl.telemetry.alert_config import FILE, AlertsConfigError, read_config

HINT: Final = "docs/alerts.md has an example"


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    alerts = typer.Typer(no_args_is_help=True, help="Webhooks that are told of alarms.")
    alerts.command("ls")(ls)
    alerts.command("test")(test)
    alerts.command("check")(check)
    app.add_typer(alerts, name="alerts")


def ls(output: OutputOption = Output.table, state: StateOption = None) -> None:
    """The webhooks in force, what waits for them, and how they do. Exit 1 if one fails or the file is not in force."""
    body = Client.find(state_dir(state)).get("/v1/alerts")
    if output is Output.json:
        print_json(body)
    else:
        rows = [
            (one["name"], f"{one['host']}:{one['port']}", " ".join(one["events"]), one["severity"], one["waiting"],
             one["delivered"], one["dropped"] + one["given_up"], when(one["last_ok_unix_s"]), one["last_error"])
            for one in body["webhooks"]
        ]  # fmt: skip
        columns = ("WEBHOOK", "HOST", "EVENTS", "FROM", "WAITING", "DELIVERED", "LOST", "LAST OK", "LAST ERROR")
        print_table("webhooks", columns, rows)
    if body["fault"]:
        complain(str(body["fault"]), "sipctl alerts check")
    if body["fault"] or any(one["last_error"] for one in body["webhooks"]):
        raise typer.Exit(EXIT_UNHEALTHY)


def test(
    name: str = typer.Argument(metavar="NAME"),
    reason: ReasonOption = "a test",
    dry_run: DryRunOption = False,
    state: StateOption = None,
) -> None:
    """Send a test to one webhook now and say what became of it. Exit 1 if it did not arrive."""
    body = {"reason": reason, "dry_run": dry_run}
    say(str(Client.find(state_dir(state)).post(f"/v1/alerts/{segment(name)}/test", body)["text"]))


def check(state: StateOption = None) -> None:
    """Read STATE/alerts.yaml as the desk would. Exit 1 with each finding and its place."""
    path = state_dir(state) / FILE
    try:
        config = read_config(path.read_bytes())
    except OSError as error:
        stop(EXIT_USAGE, f"{path} cannot be read: {error.strerror}", HINT)
    except AlertsConfigError as error:
        for finding in error.findings:
            say("\n".join(finding_lines(finding, path.parent)))
        raise typer.Exit(EXIT_UNHEALTHY) from None
    for webhook in config.webhooks:
        say(f"{webhook.name}: {webhook.place.host}:{webhook.place.port}, told of {', '.join(webhook.events)}")
    say(f"{len(config.webhooks)} webhooks, {len(config.targets.hosts)} hosts listed")
