"""Kamailio as a neighbour: an independent SIP stack in front of us and behind us.

One plain stateful proxy: Record-Route, loose routing, every INVITE relayed to one next hop. In front of us it is the carrier's
edge (SIPp → Kamailio → sipctl), behind us the tenant's SBC (sipctl → Kamailio → SIPp).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.processes import SIP_PORT, Child, Processes, is_bound, wait_until

START_S = 15.0
CONFIG = """#!KAMAILIO
debug=0
log_stderror=yes
fork=yes
children=1
disable_tcp=yes
auto_aliases=no
listen=udp:@HOST@:@PORT@
mpath="@MODULES@/"
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
modparam("tm", "fr_timer", 10000)
request_route {
  if (!mf_process_maxfwd_header("20")) { sl_send_reply("483", "Too Many Hops"); exit; }
  if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
  if (has_totag()) {
    if (loose_route()) { t_relay(); exit; }
    if (is_method("ACK")) { if (t_check_trans()) { t_relay(); } exit; }
    sl_send_reply("404", "Not here");
    exit;
  }
  t_check_trans();
  if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
  if (!is_method("INVITE")) { sl_send_reply("405", "Method Not Allowed"); exit; }
  record_route();
  $rd = "@NEXT_HOST@";
  $rp = "@NEXT_PORT@";
  $du = "sip:@NEXT_HOST@:@NEXT_PORT@";
  t_relay();
}
"""


def module_path() -> Path:
    """Where Debian keeps Kamailio's modules on this machine."""
    found = sorted(Path("/usr/lib").glob("*/kamailio/modules"))
    assert found, "kamailio is not installed: make test installs it as root, else: apt-get install kamailio"
    return found[0]


def start_kamailio(group: Processes, host: str, config: str, *arguments: str, port: int = SIP_PORT) -> Child:
    """A Kamailio with this configuration, ready when this returns; @HOST@, @PORT@, @MODULES@ are filled in."""
    program = shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin")
    assert program is not None, "kamailio is not installed: make test installs it as root, else: apt-get install kamailio"
    folder = group.work / f"kamailio-{host}"
    folder.mkdir(parents=True, exist_ok=True)
    text = config.replace("@HOST@", host).replace("@PORT@", str(port)).replace("@MODULES@", str(module_path()))
    (folder / "kamailio.cfg").write_text(text.replace("@FOLDER@", str(folder)))
    argv = [program, "-DD", "-E", "-f", str(folder / "kamailio.cfg"), "-Y", str(folder), *arguments]
    child = group.start(f"kamailio-{host}", argv, cwd=folder)
    wait_until(lambda: is_bound(host, port) or not child.is_running, START_S, f"Kamailio bound to {host}")
    assert child.is_running, f"Kamailio did not start: {child.tail()}"
    return child


def start_proxy(group: Processes, host: str, next_host: str, next_port: int = SIP_PORT) -> Child:
    """A Kamailio at `host` that sends every new call on to one next hop."""
    return start_kamailio(group, host, CONFIG.replace("@NEXT_HOST@", next_host).replace("@NEXT_PORT@", str(next_port)))
