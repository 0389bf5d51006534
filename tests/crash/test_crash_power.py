#!/usr/bin/python3
"""Goal: after a power cut each committed bit stands on bytes that are on the
disk, and what was committed is never lost or fetched again.

The disk is an image with ext4 on a loop device; the cut is the ioctl that
ends the file system at once, without writing its journal out."""
import fcntl
import os
import random
import subprocess
import time

from crashlib import LONG, SLOW, WEIRCTL, Ledger, Pieces, Seeder, \
    committed_pieces
from harness import Skip, case, check, main, need
from torrent import MIB, Torrent, random_file, random_tree

FS_IOC_SHUTDOWN = 0x8004587d  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = (2).to_bytes(4, "little")
ROUNDS = 30 if LONG else 4


class Disk:
    def __init__(self, box, size):
        need("mkfs.ext4")
        self.box, self.image, self.point = box, box.path("image"), \
            box.mkdir("disk")
        with open(self.image, "wb") as f:
            f.truncate(size)
        box.run(["mkfs.ext4", "-q", "-F", self.image])
        self.mount()
        box.at_end(self.umount)

    def mount(self):
        r = subprocess.run(["mount", "-o", "loop", self.image, self.point],
                           capture_output=True, text=True)
        if r.returncode:
            raise Skip(f"no loop mounts here: {r.stderr.strip()}")

    def umount(self):
        subprocess.run(["umount", self.point], stderr=subprocess.DEVNULL)

    def cut(self):
        fd = os.open(self.point, os.O_RDONLY)
        fcntl.ioctl(fd, FS_IOC_SHUTDOWN, NO_LOG_FLUSH)
        os.close(fd)


def rounds(box, torrent):
    if os.getuid():
        raise Skip("wants root")
    disk, seeder = Disk(box, 2 * torrent.size + 64 * MIB), Seeder(box, torrent)
    pieces, ledger = Pieces(torrent), Ledger(seeder)
    rnd = random.Random(torrent.size)
    state, data = disk.point + "/state", disk.point + "/data"
    argv = [WEIRCTL, "get", torrent.path, "--data", data, "-o",
            f"state={state},port={box.port()},bind=10.9.0.2,peer={seeder.at}"]
    kept = 0
    for n in range(ROUNDS):
        p = box.spawn(argv, "weirctl")
        time.sleep(rnd.uniform(0.3, 1) if n % 4 == 1 else
                   rnd.uniform(5.5, 8.5) * SLOW)
        was_alive = p.alive()
        disk.cut()
        p.p.kill()
        p.p.wait(10)
        disk.umount()
        disk.mount()
        durable = committed_pieces(state, box.path("copy"), torrent)
        right = pieces.right(data)
        # Pieces without a bit may or may not have reached the disk.
        ledger.close_round(durable, right)
        kept = max(kept, len(durable))
        if not was_alive:
            break
    check(kept > 20, f"only {kept} pieces were ever committed")
    p = box.spawn(argv, "weirctl")
    check(p.wait(120) == 0, f"weirctl get failed: {p.log()[-500:]}")
    disk.cut()  # it said that all is there and synced
    disk.umount()
    disk.mount()
    ledger.close_round(ledger.durable, pieces.right(data))
    check(len(ledger.at_rest) == torrent.num_pieces, "everything is right")


@case("a file", limit=200 if not LONG else 1200)
def a_file(box):
    rounds(box, Torrent(random_file(box.path("src/file.bin"),
                                    (120 if not LONG else 700) * MIB),
                        box.path("t.torrent"), 256 << 10))


@case("a tree of many files", limit=200 if not LONG else 1200)
def a_tree(box):
    rounds(box, Torrent(random_tree(box.path("src/tree"),
                                    3000 if not LONG else 15000, biggest=18),
                        box.path("t.torrent"), 64 << 10))


main()
