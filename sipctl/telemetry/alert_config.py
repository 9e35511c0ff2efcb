"""`STATE/alerts.yaml`: who is told of alarms, and where alerts may be sent at all.

The file belongs to the machine, not to the plan: whoever may edit a plan over the API must not thereby choose what this machine
connects to or which file it reads a secret from; and a rollback must not bring back yesterday's on-call.

    webhooks:
      oncall:
        url: https://hooks.example.net/sipctl
        secret_file: /etc/sipctl/oncall.secret   # or secret_env: SIPCTL_ONCALL_SECRET
        events: [alarm, decision]                # default: alarm
        severity: warning                        # of alarms, at least; default: info
        ca_file: /etc/ssl/our-ca.pem             # default: the system's
    targets:
      hosts: [hooks.example.net, "*.pager.example"]
      networks: [10.1.2.0/24]                    # besides the public Internet; default: none
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sipctl.dialplan.report import Mark, Report, did_you_mean
from sipctl.dialplan.source import Fields, Items, Node, Scalar, read_yaml
from sipctl.errors import Finding, SipctlError
from sipctl.telemetry.alert_targets import Network, Place, Targets, host_of, network_of, place_of

FILE: Final = "alerts.yaml"
MAX_FILE_BYTES: Final = 256 << 10
MAX_WEBHOOKS: Final = 20
MAX_TARGETS: Final = 256
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
EVENTS: Final = ("alarm", "decision", "overlay", "switch", "plan", "operator")
SEVERITIES: Final = ("info", "warning", "critical")
_ENV: Final = re.compile(r"[A-Z][A-Z0-9_]{0,100}")
_SECTIONS: Final = ("webhooks", "targets")
_KEYS: Final = ("url", "secret_file", "secret_env", "events", "severity", "ca_file")


class AlertsConfigError(SipctlError):
    """The file was refused; carries every finding."""

    code = "alerts.invalid"

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("; ".join(str(one) for one in findings[:3]), hint="sipctl alerts check")
        self.findings = findings


@dataclass(frozen=True, slots=True)
class Webhook:
    """Somebody who is told."""

    name: str
    place: Place
    secret_file: str = ""
    secret_env: str = ""
    events: tuple[str, ...] = ("alarm",)
    severity: str = "info"
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class AlertsConfig:
    """The whole file."""

    webhooks: tuple[Webhook, ...] = ()
    targets: Targets = field(default_factory=Targets)


def read_config(data: bytes) -> AlertsConfig:
    """Raises: AlertsConfigError with all that is wrong, each with its place."""
    reader = _Reader(data)
    config = reader.read()
    if reader.findings:
        raise AlertsConfigError(tuple(reader.findings))
    return config


class _Reader:
    """Reads one file; what is wrong with it is kept and reading goes on."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.findings: list[Finding] = []

    def read(self) -> AlertsConfig:
        if len(self._data) > MAX_FILE_BYTES:
            self._add(Mark(FILE), f"the file has {len(self._data)} bytes, {MAX_FILE_BYTES} is the most")
            return AlertsConfig()
        report = Report({FILE: self._data})
        document = read_yaml(FILE, self._data, report)
        self.findings += report.findings()
        if document is None:
            return AlertsConfig()
        sections = self._fields(document, _SECTIONS)
        targets = self._targets(sections.get("targets"))
        webhooks = []
        named = sections.get("webhooks")
        if named is not None and not isinstance(named, Fields):
            self._add(named.mark, "webhooks is a map of names")
        elif named is not None:
            for name, node in list(named.fields.items())[:MAX_WEBHOOKS]:
                if not NAME.fullmatch(name):
                    self._add(named.keys[name], f"{name!r} is no name", "small letters, digits and hyphens, 63 at most")
                elif (webhook := self._webhook(name, node, targets)) is not None:
                    webhooks.append(webhook)
            if len(named.fields) > MAX_WEBHOOKS:
                self._add(named.mark, f"{len(named.fields)} webhooks, {MAX_WEBHOOKS} is the most")
        return AlertsConfig(tuple(webhooks), targets)

    def _webhook(self, name: str, node: Node, targets: Targets) -> Webhook | None:
        fields = self._fields(node, _KEYS)
        place = self._place(node, fields.get("url"), targets)
        secret_file, secret_env = self._text(fields.get("secret_file")), self._text(fields.get("secret_env"))
        if bool(secret_file) == bool(secret_env):
            self._add(node.mark, f"webhook {name} needs secret_file or secret_env, one of them")
        if secret_file and not secret_file.startswith("/"):
            self._add(fields["secret_file"].mark, "secret_file is a whole path, from /")
        if secret_env and not _ENV.fullmatch(secret_env):
            self._add(fields["secret_env"].mark, f"{secret_env!r} is no name of an environment variable", "such as SIPCTL_ONCALL")
        events = self._chosen(fields.get("events"), EVENTS) or ("alarm",)
        severity = (self._chosen(fields.get("severity"), SEVERITIES) or ("info",))[0]
        ca_file = self._text(fields.get("ca_file"))
        return None if place is None else Webhook(name, place, secret_file, secret_env, events, severity, ca_file)

    def _place(self, webhook: Node, node: Node | None, targets: Targets) -> Place | None:
        if node is None:
            self._add(webhook.mark, "a webhook needs its url")
            return None
        try:
            place = place_of(self._text(node))
        except ValueError as error:
            self._add(node.mark, f"url: {error}")
            return None
        if not targets.allows_host(place.host):
            self._add(node.mark, f"url: {place.host} is not among targets.hosts", f"targets: {{hosts: [{place.host}]}}")
        if not place.is_tls and not targets.networks:
            self._add(node.mark, "url: without TLS the host must be in one of targets.networks", "https://, or list its network")
        return place

    def _targets(self, node: Node | None) -> Targets:
        if node is None:
            return Targets()
        fields = self._fields(node, ("hosts", "networks"))
        hosts: list[str] = []
        networks: list[Network] = []
        for one in self._items(fields.get("hosts")):
            text = one.text.lower()
            try:
                hosts.append(f"*.{host_of(text[2:])}" if text.startswith("*.") else host_of(text.strip("[]")))
            except ValueError as error:
                self._add(one.mark, f"hosts: {error}", "a name, an address, or *.example.net for all names below it")
        for one in self._items(fields.get("networks")):
            try:
                networks.append(network_of(one.text))
            except ValueError as error:
                self._add(one.mark, f"networks: {error}", "such as 10.1.2.0/24")
        return Targets(tuple(hosts), tuple(networks))

    def _chosen(self, node: Node | None, known: tuple[str, ...]) -> tuple[str, ...]:
        chosen = []
        for one in self._items(node):
            if one.text in known:
                chosen.append(one.text)
            else:
                self._add(one.mark, f"{one.text!r} is none of {', '.join(known)}", did_you_mean(one.text, known))
        return tuple(dict.fromkeys(chosen))

    def _fields(self, node: Node, known: Iterable[str]) -> dict[str, Node]:
        if not isinstance(node, Fields):
            self._add(node.mark, "a map of keys is expected here")
            return {}
        for key in node.fields:
            if key not in known:
                self._add(node.keys[key], f"no such key here: {key}", did_you_mean(key, known))
        return node.fields

    def _items(self, node: Node | None) -> list[Scalar]:
        if node is None:
            return []
        nodes = node.items if isinstance(node, Items) else [node]
        found = [one for one in nodes if isinstance(one, Scalar) and one.text]
        if len(found) != len(nodes) or len(found) > MAX_TARGETS:
            self._add(node.mark, f"a list of up to {MAX_TARGETS} texts is expected here")
        return found[:MAX_TARGETS]

    def _text(self, node: Node | None) -> str:
        if node is None:
            return ""
        if not isinstance(node, Scalar) or not node.text:
            self._add(node.mark, "a text is expected here")
            return ""
        return node.text

    def _add(self, mark: Mark, message: str, hint: str = "") -> None:
        self.findings.append(Finding(mark.path, mark.line, mark.column, AlertsConfigError.code, "error", message, hint))
