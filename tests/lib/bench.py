"""What measurements share: a private world, costs of a process, medians.

A bench prints a table and asserts nothing but that bytes are right: machines
differ, so a figure means something beside another one of the same run.
"""
import os
import statistics
import sys
import time
import traceback

from harness import Box, isolate

RUNS = int(os.environ.get("WEIRFS_BENCH_RUNS", "3"))
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    """CPU seconds of a running process, its ended children included."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICKS


def cpu_s_at_end(p):
    """Waits until P (harness.Proc) ends; what it cost, and how it ended."""
    _, status, use = os.wait4(p.pid, 0)
    p.p.returncode = os.waitstatus_to_exitcode(status)
    return use.ru_utime + use.ru_stime, p.p.returncode


def wait_quiet(seconds=20):
    """Until nobody else uses the machine; how many cores others used."""
    def idle():
        with open("/proc/stat", encoding="utf-8") as f:
            return int(f.readline().split()[4]) / TICKS
    cores, end = os.cpu_count(), time.monotonic() + seconds
    while True:
        was, began = idle(), time.monotonic()
        time.sleep(0.5)
        busy = cores - (idle() - was) / (time.monotonic() - began)
        if busy < 0.2 or time.monotonic() > end:
            return max(0.0, busy)


def median(values):
    return statistics.median(values)


def percentile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * q / 100))]


def rounds(contestants, one):
    """RUNS times each of CONTESTANTS in turn, so that a busy minute hits all:
    {name: [what one(box, name) returned, ...]}. One that fails is told."""
    isolate()
    got = {name: [] for name in contestants}
    for _ in range(RUNS):
        for name in contestants:
            box = Box()
            try:
                got[name].append(one(box, name))
            except Exception:
                traceback.print_exc()
                box.tell()
            finally:
                wrong = box.close()
                box.delete()
                if wrong:
                    print(wrong, file=sys.stderr)
    return got


def row(name, *cells):
    print(f"{name:26}" + "".join(f"{c:>14}" for c in cells), flush=True)
