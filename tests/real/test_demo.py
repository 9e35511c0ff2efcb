"""`sipctl demo` as a newcomer starts it: the whole story on real sockets, told line by line, and no call lost."""

import re

from tests.support.processes import Processes
from tests.support.product import COMMAND

STORY_S = 90


def test_the_demo_loses_no_call_and_says_what_the_carrier_saw(group: Processes) -> None:
    demo = group.start("demo", [COMMAND, "demo", "--no-tty"])
    assert demo.wait(STORY_S) == 0, demo.tail()
    text = demo.log.read_text()
    figures = dict(re.findall(r"^([a-zA-Z ]+?)  +(\S.*)$", text, re.MULTILINE))
    assert int(figures["placed"]) > 100 and figures["lost"] == "0", text
    assert int(figures["moved to BCP"]) > 20
    kept, up = re.findall(r"\d+", figures["kept up"])
    assert int(kept) == int(up) > 10
    story = ("fall silent with", "first call is answered by BCP", "out of service: noticed", "speak again", "new calls go back")
    places = [text.index(words) for words in story]
    assert places == sorted(places), text
    assert "\x1b" not in text, "no orders to a terminal that is none"
