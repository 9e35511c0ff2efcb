"""What a test starts ends with it, whichever way it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support.processes import wait_until

SCRIPT = """
    import sys, time
    from pathlib import Path
    from tests.support.processes import processes

    with processes(Path(sys.argv[1])) as group:
        print(group.start("sleeper", ["sleep", "600"]).pid, flush=True)
        time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_told_to_end_it_ends_what_it_started(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as script:
        assert script.stdout is not None
        sleeper = int(script.stdout.readline())
        assert is_alive(sleeper)
        script.send_signal(signal.SIGTERM)
        assert script.wait(20) == 128 + signal.SIGTERM
        wait_until(lambda: not is_alive(sleeper), 10, "the child is gone")
