#!/usr/bin/python3
"""Making a torrent of one large file that is hot in the page cache.

    tests/bench/bench_make.py [CONTESTANT...]

MiB/s of the whole wall time from the start of the program, and beside it what
`openssl speed` says the hashes alone would take on all cores: of both together
when it is a hybrid. On a machine that others use, too, the last columns tell
more: MiB for each second of CPU time, beside openssl's for one core. TMPDIR is
where the file lies, a tmpfs or a disk; WEIRFS_BENCH_MIB (2048),
WEIRFS_BENCH_RUNS (3), WEIRFS_BENCH_QUIET: seconds to wait for others (20).
"""
import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from bench import RUNS, cpu_s_at_end, median, rounds, row, wait_quiet
from clients import PY
from harness import LIB, Failed
from torrent import MIB, random_file
from weir import WEIRCTL

SIZE = int(os.environ.get("WEIRFS_BENCH_MIB", "2048")) * MIB
QUIET = int(os.environ.get("WEIRFS_BENCH_QUIET", "20"))
CORES = os.cpu_count()
HASHES = {"v1": ["sha1"], "v2": ["sha256"], "hybrid": ["sha1", "sha256"]}
CONTESTANTS = {
    "weirctl v1": "v1", "weirctl v2": "v2", "weirctl hybrid": "hybrid",
    "mktorrent v1": "v1", "transmission-create v1": "v1",
    "libtorrent v1": "v1", "libtorrent v2": "v2", "libtorrent hybrid": "hybrid",
}


def openssl(digest):
    """MiB/s of one core."""
    out = subprocess.run(["openssl", "speed", "-seconds", "1", "-bytes",
                          "16384", "-evp", digest], text=True, check=True,
                         capture_output=True).stdout
    return float(out.split()[-1].rstrip("k")) * 1000 / MIB


def bound(kind):
    """MiB/s of one core that does nothing but hash."""
    return 1 / sum(1 / openssl(d) for d in HASHES[kind])


def argv_of(name, src, out):
    program, kind = name.split()
    return {
        "weirctl": [WEIRCTL, "make", src, "--" + kind, "--piece-length", "1M",
                    "-q", "-o", out],
        "mktorrent": ["mktorrent", "-t", CORES, "-l", "20", "-a",
                      "http://t.example/", "-o", out, src],
        "transmission-create": ["transmission-create", "-s", "1024", "-o", out,
                                src],
        "libtorrent": [PY, LIB + "/lt.py", "make", src, out, MIB, kind],
    }[program]


@functools.lru_cache
def the_file():
    """Made once, and in the page cache then. rounds() must have begun."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return random_file(folder + "/big.bin", SIZE)


def one(box, name):
    src = the_file()
    noise = wait_quiet(QUIET)
    most = bound(CONTESTANTS[name])
    began = time.monotonic()
    p = box.spawn(argv_of(name, src, box.path("t.torrent")))
    cost, status = cpu_s_at_end(p)
    took = time.monotonic() - began
    if status:
        raise Failed(f"exit status {status}: {p.log()[-400:]}")
    rate, work = SIZE / MIB / took, SIZE / MIB / cost
    return rate, rate / most / CORES, work, work / most, most * CORES, noise


def main():
    names = [n for n in CONTESTANTS
             if len(sys.argv) == 1 or any(a in n for a in sys.argv[1:])]
    got = rounds(names, one)
    print(f"{SIZE // MIB} MiB in pieces of 1 MiB, {CORES} cores, medians of "
          f"{RUNS} runs")
    row("", "MiB/s", "bound", "of it", "MiB/cpu-s", "of openssl",
        "others' cores")
    for name, runs in got.items():
        if runs:
            rate, part, work, eff, most, noise = zip(*runs)
            row(name, f"{median(rate):.0f}", f"{median(most):.0f}",
                f"{median(part):.2f}", f"{median(work):.0f}",
                f"{median(eff):.2f}", f"{max(noise):.1f}")


main()
