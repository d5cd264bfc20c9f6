"""Jobs in processes: started again when they die, not when they refuse, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from palaestra.policies.processes import Job, run_all

DIES_TWICE = """
import os, signal, sys
from pathlib import Path
tries = Path(sys.argv[1]); tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
if len(tries.read_text()) < 3: os.kill(os.getpid(), signal.SIGKILL)
"""


def job(folder, name, code, *arguments):
    return Job(name, [[sys.executable, "-c", code, *map(str, arguments)]], folder)


def test_a_job_that_dies_is_started_again_a_limited_number_of_times(tmp_path):
    said = []
    jobs = [job(tmp_path, "mended", DIES_TWICE, tmp_path / "a"), job(tmp_path, "hopeless", DIES_TWICE, tmp_path / "b")]
    assert run_all(jobs[:1], 1, 2, said.append) == {}
    assert said == [
        "mended: started",
        "mended: killed by signal 9",
        "mended: started again, try 2",
        "mended: killed by signal 9",
        "mended: started again, try 3",
        "mended: finished",
    ]
    assert "killed by signal 9 after 2 tries" in run_all(jobs[1:], 1, 1)["hopeless"]


def test_a_job_that_refuses_is_not_tried_again_and_stops_no_other(tmp_path):
    jobs = [job(tmp_path, "refused", "import sys; print('seed: got x'); sys.exit(2)"), job(tmp_path, "fine", "print('done')")]
    failed = run_all(jobs, 2, 3)
    assert list(failed) == ["refused"]
    assert failed["refused"].endswith("seed: got x")
    assert jobs[0].tries == 1
    assert (tmp_path / "fine.log").read_text() == "done\n"


def test_processes_of_one_job_live_and_die_together(tmp_path):
    """One of two ends badly: the other, which would wait for ever, is ended too, and both start again."""
    code = """
import sys, time
from pathlib import Path
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
if (folder / "again").exists(): sys.exit(0)
if rank == 0: time.sleep(60)
(folder / "again").touch(); sys.exit(1)
"""
    both = Job("both", [[sys.executable, "-c", code, rank, str(tmp_path)] for rank in "01"], tmp_path)
    start = time.monotonic()
    assert run_all([both], 1, 1) == {}
    assert both.tries == 2
    assert time.monotonic() - start < 30


PARENT = """
import sys
from pathlib import Path
from palaestra.policies.processes import Job, run_all
code = '''
import os, sys, time
from pathlib import Path
from palaestra.policies.processes import die_with_parent
die_with_parent()
Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)
'''
run_all([Job("child", [[sys.executable, "-c", code, sys.argv[1]]], Path(sys.argv[1]).parent)], 1, 0)
"""


def test_a_job_dies_with_the_process_that_would_start_it_again(tmp_path):
    file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(file)])
    while not file.exists() or not file.read_text():
        time.sleep(0.02)
    child = int(file.read_text())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 4
    while lives(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert not lives(child)


def lives(process: int) -> bool:
    """Whether it runs: it is there, and not only waits for being collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
