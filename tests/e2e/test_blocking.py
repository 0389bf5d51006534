#!/usr/bin/python3
"""Goal: a reader that waits for ever can always be got rid of, and bothers
nobody else: the matrix of what kernels do with readers of missing bytes, for
each way of reading, with a peer that has everything and gives only a part."""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import SLOW, case, check, main, same, until
from weir import ABSENT, PIECE, Reader, World, mounted

MODES = ("read", "direct", "mmap")


def interrupted(box, mode):
    w = World(box)
    r = w.waiting(box, mode)
    r.p.signal(signal.SIGINT)
    same(r.result(1), "interrupted", "the reader's answer to SIGINT")
    r.p.wait(1)
    w.mount.parked(0)
    w.check_alive(box)


def killed(box, mode, sig):
    w = World(box)
    r = w.waiting(box, mode, fatal=True)
    r.gone(sig)
    w.mount.parked(0)
    w.check_alive(box)


def second_open(box, mode):
    w = World(box)
    first = w.waiting(box, mode)
    # Beside a mapping that waits the daemon opens through the page cache, and
    # two readers of one page share a request.
    second = w.waiting(box, mode, count=1 if mode == "mmap" else 2)
    second.gone(signal.SIGKILL)
    third = Reader(box, w.path, 0).opened()
    same(third.result(5), "ok " + w.sha(0, 65536), "the given part")
    first.gone(signal.SIGKILL)
    w.mount.parked(0)


def released(box, mode):
    w = World(box)
    readers = [w.waiting(box, mode, ABSENT + i * PIECE,
                         count=i + 1 if mode != "mmap" else 1)
               for i in range(3)]
    w.peer.give()
    for i, r in enumerate(readers):
        same(r.result(10), "ok " + w.sha(ABSENT + i * PIECE, 65536),
             f"reader {i}")


for m in MODES:
    if m != "mmap":  # a page fault heeds deadly signals alone
        case(f"{m}: SIGINT with a handler interrupts within 1 s")(
            lambda box, m=m: interrupted(box, m))
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        case(f"{m}: {s.name} ends a waiting reader within 1 s")(
            lambda box, m=m, s=s: killed(box, m, s))
    case(f"{m}: a second open works, and can be killed")(
        lambda box, m=m: second_open(box, m))
    case(f"{m}: readers get their bytes when they come")(
        lambda box, m=m: released(box, m))


@case("mmap: a page that does not come in time is SIGBUS", limit=60)
def late_page(box):
    w = World(box, "read_timeout=2")
    first = w.waiting(box, "mmap")
    second = Reader(box, w.path, ABSENT, mode="mmap").opened()
    first.p.wait(25, "after read_timeout; the kernel tries three times")
    same(first.p.p.returncode, -signal.SIGBUS, "how a page fault fails")
    second.gone(signal.SIGKILL, 5)
    w.mount.parked(0)


# Threads, each with a read of its own that waits.
CROWD = """
import os, sys, threading
path, count, start, step = sys.argv[1], *map(int, sys.argv[2:])
fd = os.open(path, os.O_RDONLY)
def wait(i):
    try:
        os.pread(fd, 4096, start + i * step)
    except OSError:
        pass
for i in range(count):
    threading.Thread(target=wait, args=(i,), daemon=True).start()
print("started", flush=True)
threading.Event().wait()
"""


def crowd(box, w, count=300):
    p = box.spawn([sys.executable, "-c", CROWD, w.path, count, ABSENT, 16384],
                  "crowd", stdout=subprocess.PIPE, text=True)
    same(p.p.stdout.readline(), "started\n", "the crowd")
    w.mount.parked(count, 20)
    return p


@case("300 parked reads freeze nobody")
def parked_crowd(box):
    w = World(box)
    w.check_alive(box)
    p = crowd(box, w)
    for argv in (["ls", "-l", w.mount.path("files")],
                 ["stat", w.path], ["stat", "-f", w.mount.point],
                 ["ls", "-lR", w.mount.point],
                 ["cmp", "-n", "8192", "-i", "4096", w.path,
                  w.torrent.data]):
        box.quick(argv, 1)
    p.p.kill()
    p.wait(1, "after SIGKILL")
    w.mount.parked(0)
    w.check_alive(box)


@case("SIGTERM with 300 parked reads ends the mount within 5 s")
def term_crowd(box):
    w = World(box)
    p = crowd(box, w)
    w.mount.term()
    p.p.kill()
    p.wait(1)


def term_waiting(box, mode):
    w = World(box)
    r = w.waiting(box, mode)
    w.mount.term()
    if mode == "mmap":
        r.p.wait(2, "SIGBUS")
        same(r.p.p.returncode, -signal.SIGBUS, "how a page fault fails")
    else:
        check(r.result(2).startswith("error E"), "the reader gets an error")
        r.p.wait(2)


for m in MODES:
    case(f"{m}: SIGTERM of the daemon ends a waiting reader")(
        lambda box, m=m: term_waiting(box, m))


@case("fusermount3 -u says busy while a read waits, and unmounts after")
def unmount_busy(box):
    w = World(box)
    r = w.waiting(box)
    got = box.run(["fusermount3", "-u", w.mount.point], status=None)
    check(got.returncode != 0 and "busy" in got.stderr, "EBUSY is told")
    check(mounted(w.mount.point), "still mounted")
    r.gone(signal.SIGKILL)
    w.mount.parked(0)
    until(lambda: not box.run(["fusermount3", "-u", w.mount.point],
                              status=None).returncode, 5, "unmounted")
    w.mount.ended()


@case("a lazy unmount lets a waiting reader finish, then the daemon ends")
def unmount_lazy(box):
    w = World(box)
    r = w.waiting(box)
    box.run(["fusermount3", "-uz", w.mount.point])
    check(not mounted(w.mount.point), "out of the tree at once")
    time.sleep(0.3)
    check(w.mount.p.alive(), "the daemon serves until the file is closed")
    w.peer.give()
    same(r.result(10), "ok " + w.sha(ABSENT, 65536), "the bytes")
    w.mount.ended()


@case("a lazy unmount with a reader that is killed ends the daemon")
def unmount_lazy_kill(box):
    w = World(box)
    r = w.waiting(box)
    box.run(["fusermount3", "-uz", w.mount.point])
    r.gone(signal.SIGKILL)
    w.mount.ended()


@case("SIGINT ends the daemon in the foreground like SIGTERM")
def daemon_int(box):
    w = World(box)
    w.waiting(box)
    w.mount.term(signal.SIGINT)


@case("readers of a daemon that dies get an error")
def daemon_dies(box):
    w = World(box)
    r = w.waiting(box)
    w.mount.kill()
    same(r.result(2), "error ECONNABORTED", "what the reader is told")


@case("read_timeout: no progress fails with ETIMEDOUT, not before", limit=30)
def timeout(box):
    w = World(box, "read_timeout=2")
    began = time.monotonic()
    r = Reader(box, w.path, ABSENT).opened()
    same(r.result(15), "error ETIMEDOUT", "a read without progress")
    took = time.monotonic() - began
    check(1.5 < took < 6 * SLOW, f"it failed after {took:.1f} s")
    w.check_alive(box)
    w.peer.give()
    r = Reader(box, w.path, ABSENT).opened()
    same(r.result(10), "ok " + w.sha(ABSENT, 65536), "the next try")


@case("no source at all fails with ENODATA", limit=60)
def nodata(box):
    # With the DHT on, and no network: the default patience is 120 s.
    w = World(box, has_peer=False)
    r = Reader(box, w.path).opened()
    same(r.result(40), "error ENODATA", "a read without any source")


@case("one reader that waits does not hold back another", limit=30)
def side_by_side(box):
    w = World(box)
    w.waiting(box)
    for i in range(20):
        r = Reader(box, w.path, i * 8192, 8192).opened()
        same(r.result(5), "ok " + w.sha(i * 8192, 8192), f"read {i}")


main()
