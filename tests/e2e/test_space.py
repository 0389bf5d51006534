#!/usr/bin/python3
"""Goal: a full disk fails the reads that need room, with ENOSPC, and nothing
else; when there is room again, everything goes on."""
import hashlib
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import case, check, main, same, until
from stubpeer import StubPeer
from torrent import MIB, Torrent, random_file
from weir import PIECE, Mount, Reader


def small_disk(box, size):
    disk = box.mkdir("disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs",
                    disk], check=True)
    return disk


@case("a full store fails reads with ENOSPC, and recovers")
def full(box):
    disk = small_disk(box, 4 * MIB)
    ballast = random_file(disk + "/ballast", 2 * MIB)
    path = random_file(box.path("src/file.bin"), 8 * MIB)
    t = Torrent(path, box.path("t.torrent"), PIECE)
    peer = StubPeer(box, t)
    m = Mount(box, t.path, options=[f"peer={peer.at}"], data=disk + "/data")
    file = m.file("file.bin")
    first = Reader(box, file, 0, 65536).opened()
    check(first.result().startswith("ok"), "there is room for the beginning")
    same(Reader(box, file, MIB, 7 * MIB).opened().result(), "error ENOSPC",
         "a read of more than fits")
    again = Reader(box, file, 0, 65536).opened()
    check(again.result().startswith("ok"), "what is here can still be read")
    check(m.p.alive(), "the daemon lives")
    check("space" in str(m.status()).lower(), "the status tells why")
    subprocess.run(["mount", "-o", f"remount,size={16 * MIB}", disk],
                   check=True)
    os.unlink(ballast)
    last = Reader(box, file, 0, 8 * MIB).opened()
    with open(path, "rb") as f:
        same(last.result(), "ok " + hashlib.sha256(f.read()).hexdigest(),
             "after there is room again")


@case("statfs tells the room of the store")
def room(box):
    disk = small_disk(box, 64 * MIB)
    m = Mount(box, data=disk + "/data")
    st, real = os.statvfs(m.point), os.statvfs(disk)
    free, real_free = st.f_bavail * st.f_frsize, real.f_bavail * real.f_frsize
    check(free <= real_free, f"{free} bytes free, really {real_free}")
    check(st.f_blocks > 0 and st.f_namemax >= 255, "sane numbers")


@case("a torrent that cannot be remembered is not added, and can be later")
def full_state(box):
    disk = box.mkdir("w.state")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MIB}", "tmpfs",
                    disk], check=True)
    t = Torrent(random_file(box.path("src/file.bin"), 8 * MIB),
                box.path("t.torrent"), 16384)
    m = Mount(box)
    with open(disk + "/ballast", "wb", buffering=0) as f:
        try:
            while f.write(bytes(4096)):
                pass
        except OSError:
            pass
    for _ in range(2):
        got = box.run(["cp", t.path, m.path("torrents")], status=1)
        check("space" in got.stderr, f"cp says why: {got.stderr}")
        until(lambda: not os.listdir(m.path("files")), 2, "it is not there")
    m.control("add", t.path, status=1)
    os.unlink(disk + "/ballast")
    box.run(["cp", t.path, m.path("torrents")])
    m.term()
    same(os.listdir(Mount(box).path("files")), ["file.bin"], "the next run")


main()
