"""Judge the 49 messages of RFC 4475 themselves: ``python -m tests.sip.rfc4475``, run by ``make torture``.

They are not part of this project.  SIPCTL_TORTURE_DIR names the folder that holds them under the RFC's file names.
Exit: 0 if every verdict is as expected, 1 on any miss, 2 without the folder or with a file missing.
"""

import os
import sys
from pathlib import Path
from typing import Final

from tests.sip.verdict import DEVIATIONS, SECTIONS, expected_of_us, judge

FILES: Final = (
    ("3.1.1", "wsinv intmeth esc01 escnull esc02 lwsdisp longreq dblreq semiuri transports mpart01 unreason noreason"),
    (
        "3.1.2",
        "badinv01 clerr ncl scalar02 scalarlg quotbal ltgtruri lwsruri lwsstart trws escruri baddate regbadct badaspec baddn "
        "badvers mismatch01 mismatch02 bigcode",
    ),
    ("3.2", "badbranch"),
    ("3.3", "insuf unkscm novelsc unksm2 bext01 invut regaut01 multi01 mcl01 bcast zeromf cparam01 cparam02 regescrt sdp01"),
    ("3.4", "inv2543"),
)


def sections() -> dict[str, str]:
    """Section → file name, in the order of the RFC."""
    return {f"{part}.{place}": name for part, names in FILES for place, name in enumerate(names.split(), start=1)}


def main() -> int:
    folder = os.environ.get("SIPCTL_TORTURE_DIR", "")
    if not folder or not Path(folder).is_dir():
        print("SIPCTL_TORTURE_DIR must name the folder with the messages of RFC 4475", file=sys.stderr)
        return 2
    by_section = sections()
    assert by_section.keys() == SECTIONS.keys()
    misses = 0
    for section, name in by_section.items():
        path = Path(folder, f"{name}.dat")
        if not path.is_file():
            print(f"{path} is missing", file=sys.stderr)
            return 2
        verdict = judge(path.read_bytes())
        is_as_expected = expected_of_us(section).allows(verdict)
        misses += not is_as_expected
        mark = "MISS" if not is_as_expected else "own " if section in DEVIATIONS else "ok  "
        answer = "-" if verdict.status is None else verdict.status
        print(f"{mark} {section:9} {name:11} {'read' if verdict.accept else 'refused':8} {answer!s:4} {verdict.reason}")
    for section, (_, reason) in DEVIATIONS.items():
        print(f"own rule for {section}, {SECTIONS[section].title}: {reason}")
    print(f"{len(by_section)} messages, {misses} missed, {len(DEVIATIONS)} judged by a rule of our own")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
