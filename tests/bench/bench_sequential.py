#!/usr/bin/python3
"""One large file, whole and in order, from one seeder (libtorrent) on loopback:
read through the mount, and downloaded by clients without one.

    tests/bench/bench_sequential.py [CONTESTANT...]

MiB/s of the whole wall time from the start of the program; CPU seconds of the
contestant per GiB. TMPDIR is where the store lies (a tmpfs: no disk takes part);
WEIRFS_BENCH_MIB (2048), WEIRFS_BENCH_RUNS (3).
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from bench import RUNS, cpu_s, cpu_s_at_end, median, rounds, row, wait_quiet
from clients import PY, libtorrent, wait_seeding
from harness import HOSTS, LIB, Failed, same
from torrent import MIB, Torrent, random_file
from weir import WEIRCTL, Mount

SIZE = int(os.environ.get("WEIRFS_BENCH_MIB", "2048")) * MIB
GIB = SIZE / (1 << 30)


def mount(box, t, at):
    began = time.monotonic()
    m = Mount(box, t.path, options=[f"peer={at}"])
    with open(m.file("big.bin"), "rb", buffering=0) as f:
        got = 0
        while chunk := f.read(MIB):
            got += len(chunk)
    took = time.monotonic() - began
    same(got, SIZE, "bytes read")
    cost = cpu_s(m.p.pid)
    box.run(["cmp", t.data, m.file("big.bin")], seconds=300)
    return took, cost


def client(box, t, argv):
    began = time.monotonic()
    p = box.spawn(argv)
    cost, status = cpu_s_at_end(p)
    took = time.monotonic() - began
    if status:
        raise Failed(f"exit status {status}: {p.log()[-400:]}")
    box.run(["cmp", t.data, box.path("got/big.bin")], seconds=300)
    return took, cost


def argv_of(box, name, t, at):
    got, port = box.mkdir("got"), box.port()
    return {
        "weirctl get": [WEIRCTL, "get", t.path, "--data", got, "-o",
                        f"peer={at},state={box.path('s')},port={port}"],
        "libtorrent": [PY, LIB + "/lt.py", "get", t.path, got, port, at],
    }[name]


def one(box, name):
    t = Torrent(random_file(box.path("src/big.bin"), SIZE),
                box.path("big.torrent"), MIB)
    port = box.port()
    at = f"{HOSTS[0]}:{port}"
    seeder = libtorrent(box, t.path, box.path("src"), port, None)
    wait_seeding(seeder, HOSTS[0], port, t, 120)
    noise = wait_quiet()
    took, cost = (mount(box, t, at) if name == "weirfs mount"
                  else client(box, t, argv_of(box, name, t, at)))
    return SIZE / MIB / took, cost / GIB, noise


def main():
    names = ["weirfs mount", "weirctl get", "libtorrent"]
    names = [n for n in names
             if len(sys.argv) == 1 or any(a in n for a in sys.argv[1:])]
    got = rounds(names, one)
    where = os.environ.get("TMPDIR", "/tmp")
    kind = subprocess.run(["stat", "-f", "-c", "%T", where], text=True,
                          capture_output=True).stdout.strip()
    print(f"{SIZE // MIB} MiB, store on {kind}, medians of {RUNS} runs")
    row("", "MiB/s", "min", "max", "cpu-s/GiB", "others' cores")
    for name, runs in got.items():
        if runs:
            rate, cost, noise = zip(*runs)
            row(name, f"{median(rate):.0f}", f"{min(rate):.0f}",
                f"{max(rate):.0f}", f"{median(cost):.2f}", f"{max(noise):.1f}")


main()
