#!/usr/bin/python3
"""Goal: every way of reading gives the right bytes, alone and side by side,
and looking at a tree costs no payload."""
import hashlib
import os
import random
import select
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import case, check, main, same, until
from peer import Closed
from stubpeer import StubPeer
from torrent import MIB, Torrent, random_file, random_tree, sha256
from weir import ABSENT, PIECE, Mount, Reader, World


@case("random preads of many threads on one descriptor")
def concurrent(box):
    w = World(box, gives=1 << 30)
    fd = os.open(w.path, os.O_RDONLY)
    wrong = []

    def read(seed):
        rnd = random.Random(seed)
        for _ in range(40):
            n = rnd.choice((1, 100, 4096, 16384, 65536, 300000))
            at = rnd.randrange(w.torrent.size)
            if os.pread(fd, n, at) != w.torrent.pread(at, n):
                wrong.append((at, n))
    threads = [threading.Thread(target=read, args=(i,)) for i in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    os.close(fd)
    same(wrong, [], "reads with wrong bytes")


@case("two readers at different places both go on")
def two_readers(box):
    w = World(box, gives=1 << 30)
    half = w.torrent.size // 2
    a = Reader(box, w.path, 0, half).opened()
    b = Reader(box, w.path, half, half).opened()
    same(a.result(), "ok " + w.sha(0, half), "the first half")
    same(b.result(), "ok " + w.sha(half, half), "the second half")


class Shy(StubPeer):
    """As aria2 1.36: leaves whoever says more than a handshake at first."""
    num_left = 0

    def greet(self, conn):
        conn.read_handshake()
        time.sleep(0.1)
        is_much = conn.buf or select.select([conn.sock], [], [], 0)[0]
        conn.handshake(self.reserved, read=False)
        if is_much:
            self.num_left += 1
            raise Closed("too much at once")


@case("a seeder that bears no early words is dialled again at once")
def shy_seeder(box):
    t = Torrent(random_file(box.path("src/file.bin"), MIB),
                box.path("t.torrent"))
    peer = Shy(box, t)
    m = Mount(box, t.path, options=[f"peer={peer.at}"])
    began = time.monotonic()
    same(sha256(m.file("file.bin")), sha256(t.data), "content")
    check(time.monotonic() - began < 3, "it took no retry interval")
    same(peer.num_left, 1, "how often it left")


@case("reads at and beyond the end")
def at_end(box):
    w = World(box, gives=1 << 30, size=MIB + 12345)
    with open(w.path, "rb", buffering=0) as f:
        f.seek(MIB + 12000)
        same(f.read(4096), w.torrent.pread(MIB + 12000, 345), "the tail")
        same(f.read(10), b"", "at the end")
        f.seek(MIB * 3)
        same(f.read(10), b"", "far beyond")


# A page fault holds Python's lock, which the seeder in this process needs.
MAPPER = """
import mmap, sys
for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
    with open(sys.argv[1], "rb") as f, \\
            mmap.mmap(f.fileno(), 0, flags, mmap.PROT_READ) as m:
        for at in map(int, sys.argv[2:]):
            print(m[at:at + 3].hex())
"""


@case("private and shared mappings show the right bytes")
def mapped(box):
    w = World(box, gives=1 << 30)
    places = (0, 5, ABSENT + 4095, w.torrent.size - 3)
    got = box.run([sys.executable, "-c", MAPPER, w.path, *places]).stdout
    same(got.split(), [w.torrent.pread(at, 3).hex() for at in places] * 2,
         "bytes")


@case("a program can be run from the mount with -o exec")
def execute(box):
    path = box.write("src/hello", "#!/bin/sh\necho hello\n")
    t = Torrent(path, box.path("t.torrent"), 32768,
                info={"attr": "x"})
    peer = StubPeer(box, t)
    m = Mount(box, t.path, options=[f"peer={peer.at}", "exec"])
    same(box.run([m.file("hello")]).stdout, "hello\n", "what it says")


@case("writing is refused")
def read_only(box):
    w = World(box)
    for argv in (["dd", "if=/dev/zero", f"of={w.path}", "count=1",
                  "conv=notrunc"],
                 ["truncate", "-s", "0", w.path], ["rm", "-f", w.path],
                 ["mv", w.path, w.path + "2"], ["chmod", "777", w.path],
                 ["mkdir", w.mount.path("files/new")],
                 ["ln", "-s", "x", w.mount.path("files/link")],
                 ["touch", w.mount.path("files/new")]):
        check(box.run(argv, status=None).returncode, f"{argv[0]} fails")
    w.check_alive(box)


@case("a small read fetches a few pieces, not the file")
def frugal(box):
    w = World(box, gives=1 << 30, size=32 * MIB)
    r = Reader(box, w.path, 20 * MIB, 65536).opened()
    same(r.result(10), "ok " + w.sha(20 * MIB, 65536), "the bytes")
    w.mount.term()
    check(w.peer.sent <= 2 * MIB, f"{w.peer.sent} bytes were fetched")


@case("find, ls -lR, du and stat of 1,000 files cost no payload")
def metadata_is_free(box):
    t = Torrent(random_tree(box.path("src/tree")), box.path("t.torrent"))
    peer = StubPeer(box, t)
    m = Mount(box, t.path, options=[f"peer={peer.at}"])
    tree = m.file("tree")
    for argv in (["find", tree], ["ls", "-lR", tree], ["du", "-a", tree],
                 ["find", tree, "-name", "*.dat", "-size", "+1k"],
                 ["stat", "-f", tree],
                 ["find", tree, "-type", "f", "-links", "1"]):
        box.quick(argv, 5)
    same(len(peer.pieces_asked()), 0, "pieces asked for")
    same(box.run(["find", tree, "-type", "f"]).stdout.count("\n"), 1000,
         "files found")


@case("scanning the first 4 KiB of 200 files fetches little more")
def scanner(box):
    src = box.mkdir("src/movies")
    for i in range(200):
        random_file(f"{src}/{i:03}.mkv", 256 << 10, i)
    t = Torrent(src, box.path("t.torrent"), 64 << 10)
    peer = StubPeer(box, t)
    m = Mount(box, t.path, options=[f"peer={peer.at}"])
    for i in range(200):
        with open(m.file("movies", f"{i:03}.mkv"), "rb", buffering=0) as f:
            same(f.read(4096), t.pread(i * (256 << 10), 4096), f"file {i}")
    m.term()
    share = peer.sent / t.size
    check(share <= 0.5, f"{share:.0%} of the torrent was fetched")


@case("small files read whole in order are fetched ahead, in proportion")
def walker(box):
    src = box.mkdir("src/small")
    for i in range(400):
        random_file(f"{src}/{i:03}.txt", 20000, i)
    t = Torrent(src, box.path("t.torrent"), 16384)
    peer = StubPeer(box, t)
    m = Mount(box, t.path, options=[f"peer={peer.at}"])

    def read(first, end):
        for i in range(first, end):
            with open(m.file("small", f"{i:03}.txt"), "rb") as f:
                same(f.read(), t.pread(i * 20000, 20000), f"file {i}")
    read(0, 2)
    read(300, 302)
    time.sleep(0.5)
    check(len(peer.pieces_asked()) <= 6, "two in a row: nothing ahead")
    read(2, 5)
    until(lambda: len(peer.pieces_asked()) >= 40, 5, "the next ones")
    time.sleep(0.5)
    check(len(peer.pieces_asked()) <= 60, "8 bytes ahead for one read")
    read(5, 20)  # some of these are here, and count as well
    until(lambda: len(peer.pieces_asked()) >= 150, 5, "more of them")


@case("1,000 files through the mount are the same")
def tree_diff(box):
    t = Torrent(random_tree(box.path("src/tree")), box.path("t.torrent"))
    peer = StubPeer(box, t)
    m = Mount(box, t.path, options=[f"peer={peer.at}"])
    box.run(["diff", "-r", t.data, m.file("tree")], seconds=50)


@case("what is complete opens buffered: a second read is the kernel's")
def cached(box):
    w = World(box, gives=1 << 30)
    same(sha256(w.path), sha256(w.torrent.data), "first read")
    with open(w.path, "rb") as f:
        hashlib.sha256(f.read()).hexdigest()
    before = w.mount.io()["rchar"]
    same(sha256(w.path), sha256(w.torrent.data), "third read")
    check(w.mount.io()["rchar"] - before < MIB, "the daemon read nothing")


@case("a wrong byte on disk never reaches a reader", limit=90)
def disk_rot(box):
    w = World(box, gives=1 << 30)
    same(sha256(w.path), sha256(w.torrent.data), "first read")
    w.mount.term()
    stored = [os.path.join(d, f) for d, _, files in os.walk(w.mount.data)
              for f in files if f == "file.bin"]
    same(len(stored), 1, "files in the store")
    with open(stored[0], "r+b") as f:
        f.seek(ABSENT + 5)
        f.write(b"rotten")
    m = Mount(box, w.torrent.path, options=[f"peer={w.peer.at}"])
    same(sha256(m.file("file.bin")), sha256(w.torrent.data), "after the rot")


@case("a file that somebody deletes from the store is fetched again", limit=90)
def deleted(box):
    w = World(box, gives=1 << 30)
    same(sha256(w.path), sha256(w.torrent.data), "first read")
    w.mount.term()
    for d, _, files in os.walk(w.mount.data):
        for f in files:
            os.unlink(os.path.join(d, f))
    m = Mount(box, w.torrent.path, options=[f"peer={w.peer.at}"])
    until(lambda: m.status()["torrents"][0]["state"] != "checking", 10, "")
    same(sha256(m.file("file.bin")), sha256(w.torrent.data), "fetched again")


main()
