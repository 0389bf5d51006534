#!/usr/bin/python3
"""Goal: weirfs, killed with SIGKILL at any moment under readers, never yields
a wrong byte, then or later; its mount point is usable again; and what was
committed is not fetched again."""
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading

from crashlib import BLOCK, HERE, IN_FLIGHT, ROUNDS, WEIRFS, Ledger, \
    Pieces, Seeder, committed_pieces, live, mounted
from harness import SLOW, Failed, Skip, case, check, main, same, until
from torrent import MIB, Torrent, bdecode, bencode, random_file, sha256

READERS = 3


class Daemon:
    def __init__(self, box, torrent, seeder, fill):
        self.box, self.point = box, box.path("mnt")
        source = [] if os.path.exists(box.path("state")) else [torrent.path]
        self.p = box.spawn([WEIRFS, *source, self.point, "-f", "-o",
                            f"state={box.path('state')},"
                            f"data={box.path('data')},port={box.port()},"
                            f"bind=10.9.0.2,peer={seeder.at},fill={fill}"],
                           "weirfs")

    def wait(self, path):
        def there():
            if not self.p.alive():
                raise Failed(f"weirfs ended: {self.p.log()[-800:]}")
            return mounted(self.point) and os.path.exists(path)
        until(there, 20, f"{path} is there")

    def kill(self):
        self.p.p.kill()
        self.p.p.wait(10)


def clear(point):
    if mounted(point):
        subprocess.run(["fusermount3", "-uz", point], check=True)


def readers(box, path, torrent, rnd):
    return [box.spawn([sys.executable, HERE + "/reader.py", path, torrent.data,
                       rnd.randrange(1 << 30), longest], "reader")
            for longest in (3000, 100000, MIB)[:READERS]]


def rounds(box, fill):
    if not os.path.exists("/dev/fuse"):
        raise Skip("no /dev/fuse")
    t = Torrent(random_file(box.path("src/file.bin"),
                            (4 + 6 * ROUNDS) * MIB),
                box.path("t.torrent"), 256 << 10)
    seeder = Seeder(box, t)
    ledger, pieces = Ledger(seeder), Pieces(t)
    path, rnd = box.mkdir("mnt") + "/files/file.bin", random.Random(len(fill))
    data = box.path(f"data/{t.hash}")
    box.at_end(clear, box.path("mnt"))
    for n in range(ROUNDS):
        d = Daemon(box, t, seeder, fill)
        # Also before the mount is up, and before its readers have begun.
        if n % 5 or not n:
            d.wait(path)
            procs = readers(box, path, t, rnd)
        else:
            procs = []
        live(rnd, n, 1.0)
        check(d.p.alive(), f"weirfs ended: {d.p.log()[-800:]}")
        d.kill()
        for p in procs:
            # What the kernel keeps can be read on; nobody may be stuck.
            p.signal(signal.SIGTERM)
            check(p.wait(10, "after the kill") in (0, -signal.SIGTERM),
                  f"a reader said {p.log()!r}")
        # A dead mount point is cleared by hand, or by the next daemon.
        if n % 2:
            clear(box.path("mnt"))
        ledger.close_round(
            committed_pieces(box.path("state"), box.path("copy"), t),
            pieces.right(data))
    d = Daemon(box, t, seeder, fill)
    d.wait(path)
    same(sha256(path), sha256(t.data), "sha256 of the whole")
    d.p.signal(signal.SIGTERM)
    same(d.p.wait(5, "after SIGTERM"), 0, "exit status")
    ledger.close_round(
        committed_pieces(box.path("state"), box.path("copy"), t),
        pieces.right(data))
    same(len(ledger.durable), t.num_pieces, "pieces committed at the end")
    sent, bound = ledger.sent * BLOCK, t.size + ROUNDS * IN_FLIGHT
    check(ledger.was_durable, "some rounds passed a sync")
    print(f"# {ROUNDS} kills: sent {sent / t.size:.3f} x the size")
    check(sent <= bound, f"sent {sent} bytes, at most {bound} were to be sent")
    # Nothing is lost by a mere kill: the kernel has what was written.
    same(ledger.again, 0, "blocks fetched again that were right on disk")


def small_torrent(n):
    info = {"name": f"torrent-{n:04}", "piece length": 16384, "length": 40000,
            "pieces": hashlib.sha1(b"%d" % n).digest() * 3}
    return info["name"], bencode({"info": info})


def add_until_killed(point, first, acknowledged):
    """Copies torrents in; those whose close() said yes are ACKNOWLEDGED."""
    n = first
    while True:
        name, data = small_torrent(n)
        n += 1
        try:
            with open(f"{point}/torrents/{name}.torrent", "wb",
                      buffering=0) as f:
                f.write(data)
            acknowledged.append(name)
        except OSError:
            return n


LIMIT = 400 if ROUNDS == 20 else 4000


@case("under readers, fetching what they read", limit=LIMIT)
def on_demand(box):
    rounds(box, "none")


@case("under readers, while everything is fetched", limit=LIMIT)
def filling(box):
    rounds(box, "torrent")



@case("torrents whose copy was acknowledged are in the library", limit=LIMIT)
def library(box):
    if not os.path.exists("/dev/fuse"):
        raise Skip("no /dev/fuse")
    point = box.mkdir("mnt")
    box.at_end(clear, point)
    rnd, acknowledged, n = random.Random(3), [], 0

    def start():
        p = box.spawn([WEIRFS, point, "-f", "-o",
                       f"state={box.path('state')},data={box.path('data')},"
                       f"port={box.port()},bind=10.9.0.2"], "weirfs")
        until(lambda: mounted(point) and
              os.path.exists(point + "/torrents"), 20, "mounted")
        return p
    for _ in range(ROUNDS):
        p = start()
        there = set(os.listdir(point + "/torrents"))
        lost = [a for a in acknowledged if a + ".torrent" not in there]
        same(lost, [], "torrents that were acknowledged and are not there")
        timer = threading.Timer(rnd.uniform(0.02, 0.3) * SLOW, p.p.kill)
        timer.start()
        n = add_until_killed(point, n, acknowledged)
        p.p.wait(10)
        clear(point)
    print(f"# {len(acknowledged)} of {n} torrents were acknowledged")
    check(len(acknowledged) > ROUNDS, "some were added in most rounds")
    p = start()
    for name in acknowledged:
        with open(f"{point}/torrents/{name}.torrent", "rb") as f:
            data = f.read()
        same(bdecode(data)[b"info"],
             bdecode(small_torrent(int(name[-4:]))[1])[b"info"], name)
    p.signal(signal.SIGTERM)
    same(p.wait(5, "after SIGTERM"), 0, "exit status")


main()
