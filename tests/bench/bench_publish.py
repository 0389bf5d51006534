#!/usr/bin/python3
"""Publishing by copying: from the start of the copy until the .torrent can be
read, fsync included, sealed by publish=now; beside a plain copy with fsync to
the same disk, and that followed by mktorrent.

    tests/bench/bench_publish.py

TMPDIR is where both lie (a disk: /var/tmp); the source is on a tmpfs. The bound
is the larger of the plain copy and the CPU that all of it needs, spread over
the cores: cp's own, what FUSE adds to it (measured with a file of the same
size whose name is left out of torrents) and both hashes, as openssl speed gives
them. WEIRFS_BENCH_MIB (2048), WEIRFS_BENCH_RUNS (3).
"""
import mmap
import os
import re
import resource
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from bench import RUNS, median, wait_quiet
from harness import case, main
from torrent import MIB, random_file
from weir import Mount

SIZE = int(os.environ.get("WEIRFS_BENCH_MIB", "2048")) * MIB
CORES = os.cpu_count()


def copy(src, dst):
    """cp and fsync: seconds, CPU seconds of the copier, seconds of writing."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()
    i = os.open(src, os.O_RDONLY)
    o = os.open(dst, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    while chunk := os.read(i, MIB):
        os.write(o, chunk)
    written = time.monotonic() - began
    os.fsync(o)
    os.close(o)
    took = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    os.close(i)
    return took, (after.ru_utime + after.ru_stime - before.ru_utime
                  - before.ru_stime), written


def openssl(name):
    """Bytes a second of one core, 16 KiB at a time."""
    out = subprocess.run(["openssl", "speed", "-seconds", "1", "-bytes",
                          "16384", "-evp", name], capture_output=True,
                         text=True, check=True)
    return float(re.search(r"([0-9.]+)k\s*$", out.stdout).group(1)) * 1000


def warm():
    """Memory that a virtual machine's host must find first costs more than all
    that is measured here: touches as much as a run needs, and frees it."""
    with mmap.mmap(-1, 2 * SIZE + 512 * MIB) as m:
        for at in range(0, len(m), 4096):
            m[at] = 1


def cpu_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        s = f.read().rsplit(")", 1)[1].split()
    return (int(s[11]) + int(s[12])) / os.sysconf("SC_CLK_TCK")


def left_out(box, src):
    """CPU seconds of the same copy when nothing is hashed."""
    m = Mount(box, options=["publish_delay=600", "nodht"], name="m%d"
              % box.count)
    warm()
    _, cpu, _ = copy(src, m.path("publish/.big.bin"))
    cpu += cpu_of(m.p.pid)
    m.term()
    shutil.rmtree(m.state)
    return cpu


def publish(box, src):
    m = Mount(box, options=["publish_delay=600", "nodht"], name="m%d"
              % box.count)
    warm()
    began = time.monotonic()
    took, cpu, written = copy(src, m.path("publish/big.bin"))
    closed = time.monotonic()
    os.setxattr(m.path("publish/big.bin"), "user.weirfs.publish", b"now")
    path = m.path("torrents/big.bin.torrent")
    while not os.path.exists(path):
        time.sleep(0.002)
    with open(path, "rb") as f:
        f.read()
    end = time.monotonic()
    daemon = cpu_of(m.p.pid)
    m.term()
    shutil.rmtree(m.state)
    return end - began, end - closed, written, daemon


def mktorrent(src, out):
    began = time.monotonic()
    subprocess.run(["mktorrent", "-t", "2", "-l", "20", "-o", out, src],
                   check=True, capture_output=True)
    return time.monotonic() - began


@case("publish", limit=1800)
def bench(box):
    src = random_file(f"/dev/shm/weirfs-bench-{os.getpid()}", SIZE)
    plain, ours, fuse = [], [], []
    dst = box.path("plain.bin")
    try:
        for _ in range(RUNS):
            wait_quiet()
            warm()
            p = copy(src, dst)
            made = mktorrent(dst, box.path("t.torrent"))
            os.unlink(box.path("t.torrent"))
            os.unlink(dst)
            os.sync()
            plain.append((*p, made))
            wait_quiet()
            ours.append(publish(box, src))
            os.sync()
            fuse.append(left_out(box, src))
            os.sync()
    finally:
        os.unlink(src)
    cp, cp_cpu, cp_written, made = (median([r[i] for r in plain])
                                    for i in range(4))
    total, seal, written, daemon = (median([r[i] for r in ours])
                                    for i in range(4))
    hashes = SIZE / openssl("sha1") + SIZE / openssl("sha256")
    cpu = (max(cp_cpu, median(fuse)) + hashes) / CORES
    mib = SIZE / MIB
    print(f"# {mib:.0f} MiB, medians of {RUNS} runs")
    print(f"# cp + fsync {cp:.2f} s ({mib / cp:.0f} MiB/s), writing alone "
          f"{mib / cp_written:.0f} MiB/s; then mktorrent -t 2 {made:.2f} s: "
          f"{cp + made:.2f} s")
    print(f"# publish until the .torrent is read {total:.2f} s, sealed "
          f"{seal:.3f} s after the last close; writing alone "
          f"{mib / written:.0f} MiB/s; daemon's CPU {daemon:.2f} s")
    print(f"# CPU bound (cp {cp_cpu:.2f} s, with FUSE {median(fuse):.2f} s, "
          f"both hashes {hashes:.2f} s, {CORES} cores) {cpu:.2f} s")
    bound = max(cp, cpu)
    print(f"# publish / max(cp + fsync, CPU bound) = {total / bound:.2f}; "
          f"write rate / the same = {bound / written:.2f}")


main()
