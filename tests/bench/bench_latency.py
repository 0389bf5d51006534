#!/usr/bin/python3
"""The first byte, and cold reads of 64 KiB at random places, from one seeder
(libtorrent, TCP) behind a link of 50 ms round trip and 100 Mbit/s.

    tests/bench/bench_latency.py [PIECE-KIB...]      (default: 1024 256)

Contestants: the mount; libtorrent's piece deadlines, without a mount; and a
floor: a bare peer in Python that knows its one piece beforehand, asks for it on
a new connection (first byte) or on a warm one (seek), and hashes nothing.
TMPDIR is where the store lies; WEIRFS_BENCH_RUNS (3).
"""
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from bench import RUNS, median, percentile, rounds, row, wait_quiet
from clients import PY
from harness import LIB, Failed, same, until
from link import A, B, Link
from torrent import MIB, Torrent, random_file
from weir import WEIRFS, mounted

SIZE = 256 * MIB
SEEKS = 30
READ = 64 << 10
PORT = 7001


class MountReader:
    def __init__(self, box, t):
        self.point = box.mkdir("mnt")
        self.p = box.spawn(Link.inside("a", [
            WEIRFS, t.path, self.point, "-f", "-o",
            f"single,peer={B}:{PORT},bind={A},state={box.path('s')},"
            f"data={box.path('d')}"]), "weirfs")
        box.at_end(subprocess.run, ["umount", "-l", self.point])
        until(lambda: mounted(self.point), 15, "mounted")
        self.fd = os.open(self.point + "/big.bin", os.O_RDONLY)
        box.at_end(os.close, self.fd)

    def pread(self, length, offset):
        return os.pread(self.fd, length, offset)


class PipeReader:
    """A process that takes lines "OFFSET LENGTH" and writes those bytes."""

    def __init__(self, box, argv, name):
        self.p = box.spawn(Link.inside("a", argv), name,
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def pread(self, length, offset):
        self.p.p.stdin.write(f"{offset} {length}\n".encode())
        self.p.p.stdin.flush()
        got = self.p.p.stdout.read(length)
        if len(got) != length:
            raise Failed(f"{self.p.name} ended: {self.p.log()[-400:]}")
        return got


def reader(box, name, t):
    if name == "weirfs mount":
        return MountReader(box, t)
    if name == "libtorrent deadline":
        return PipeReader(box, [PY, LIB + "/lt.py", "deadline", t.path,
                                box.mkdir("got"), 7002, f"{B}:{PORT}"], "lt")
    return PipeReader(box, [sys.executable, LIB + "/barepeer.py", t.hash,
                            t.size, t.piece_length, B, PORT], "floor")


def one(box, name, piece_length):
    t = Torrent(random_file(box.path("src/big.bin"), SIZE),
                box.path("big.torrent"), piece_length)
    Link(box, 25, 100)
    box.spawn(Link.inside("b", [PY, LIB + "/lt.py", "seed", t.path,
                                box.path("src"), PORT]), "seeder",
              env={"LT_LISTEN": B})

    def seeds():
        return not subprocess.run(Link.inside("b", [
            sys.executable, "-c", "import socket; "
            f"socket.create_connection(('{B}', {PORT}), 1)"]),
            capture_output=True).returncode
    until(seeds, 30, "the seeder listens")
    wait_quiet()
    began = time.monotonic()
    r = reader(box, name, t)
    first = r.pread(1, 0)
    first_ms = (time.monotonic() - began) * 1e3
    same(first, t.pread(0, 1), "the first byte")
    rnd, seeks = random.Random(piece_length), []
    for piece in rnd.sample(range(1, SIZE // piece_length), SEEKS):
        at = piece * piece_length + rnd.randrange(piece_length // READ) * READ
        sent = time.monotonic()
        got = r.pread(READ, at)
        seeks.append((time.monotonic() - sent) * 1e3)
        same(got, t.pread(at, READ), f"the bytes at {at}")
    return first_ms, seeks


def main():
    names = ["weirfs mount", "libtorrent deadline", "floor"]
    sizes = [int(a) for a in sys.argv[1:]] or [1024, 256]
    got = rounds([f"{n}, {s} KiB" for s in sizes for n in names],
                 lambda box, name: one(box, name.split(",")[0],
                                       int(name.split()[-2]) << 10))
    print(f"50 ms, 100 Mbit/s, medians of {RUNS} runs, {SEEKS} seeks each; ms")
    row("", "first byte", "seek p50", "seek p90", "seek p99")
    for name, runs in got.items():
        if runs:
            seeks = [s for _, some in runs for s in some]
            row(name, f"{median([f for f, _ in runs]):.0f}",
                *(f"{percentile(seeks, q):.0f}" for q in (50, 90, 99)))


main()
