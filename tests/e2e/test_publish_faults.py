#!/usr/bin/python3
"""Goal: publish/ when things go wrong: full and read-only disks, others who
change what lies behind it, signals, crowds."""
import errno
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import Skip, case, check, main, same, until
from publish import Pub, child, ended, fails, get, put, small_disk
from torrent import Torrent, random_file
from weir import Mount

MIB = 1 << 20


def fill_up(box, kind, mib):
    disk = small_disk(box, kind, mib)
    p = Pub(box, folder=os.path.join(disk, "p"))
    st = os.statvfs(p.at())
    same(st.f_blocks * st.f_frsize, os.statvfs(disk).f_blocks *
         os.statvfs(disk).f_frsize, "statvfs of the store")
    fd = os.open(p.at("f"), os.O_CREAT | os.O_WRONLY)
    wrote = 0
    try:
        while wrote < 4 * mib * MIB:
            wrote += os.write(fd, bytes(300_000))
    except OSError as e:
        same(e.errno, errno.ENOSPC, "what the writer hears")
    check(wrote <= mib * MIB, f"{wrote} bytes written on {mib} MiB")
    same(os.fstat(fd).st_size, wrote, "size: what was acknowledged")
    same(os.stat(p.behind("f")).st_size, wrote, "size behind it")
    try:
        os.posix_fallocate(fd, 0, 4 * mib * MIB)
        check(False, "fallocate does not fail")
    except OSError as e:
        same(e.errno, errno.ENOSPC, "what fallocate says")
    os.close(fd)
    os.unlink(p.at("f"))

    def has_room():  # once the last who had it open let go of it
        st = os.statvfs(p.behind())
        return st.f_bavail * st.f_bsize >= 2 * MIB
    until(has_room, 3, "room after unlink")
    put(p.at("g"), bytes(MIB))
    same(get(p.at("g")), bytes(MIB), "room again after unlink")
    p.m.term()
    box.run(["umount", disk])


case("a full disk (tmpfs): ENOSPC at write, and nothing torn")(
    lambda box: fill_up(box, "tmpfs", 8))
case("a full disk (ext4): ENOSPC at write, and nothing torn")(
    lambda box: fill_up(box, "ext4", 24))


@case("an mmap writer on a full disk hears of it at msync")
def full_mmap(box):
    p = Pub(box, folder=os.path.join(small_disk(box, "tmpfs", 2), "p"))
    code = """
f = open(PATH, "w+b")
f.truncate(16 << 20)
m = mmap.mmap(f.fileno(), 0)
for i in range(0, len(m), 4096):
    m[i] = 1
try:
    m.flush()
    os.fsync(f.fileno())
except OSError as e:
    sys.exit(e.errno)
"""
    same(ended(child(box, code, p.at("f"))), errno.ENOSPC, "errno")
    p.m.term()


@case("a read-only publish_dir: all is read, nothing changes, EROFS says so")
def read_only(box):
    folder = small_disk(box, "tmpfs", 8)
    put(os.path.join(folder, "f"), b"here")
    os.symlink("f", os.path.join(folder, "l"))
    box.run(["mount", "-o", "remount,ro", folder])
    p = Pub(box, folder=folder)
    same(get(p.at("f")), b"here", "bytes")
    same(get(p.at("l")), b"here", "through a link")
    for fn, *args in ((put, p.at("f"), b""), (put, p.at("g"), b""),
                      (os.mkdir, p.at("d")), (os.unlink, p.at("f")),
                      (os.rename, p.at("f"), p.at("g")),
                      (os.symlink, "x", p.at("s")),
                      (os.chmod, p.at("f"), 0o600),
                      (os.utime, p.at("f")), (os.truncate, p.at("f"), 0),
                      (os.setxattr, p.at("f"), "user.x", b"y")):
        fails(errno.EROFS, fn, *args)
    same(get(p.at("f")), b"here", "bytes afterwards")
    p.m.term()


@case("what changes behind our back shows within a second or so")
def behind(box):
    p = Pub(box)
    put(p.at("f"), b"a" * 10_000)
    same(get(p.at("f")), b"a" * 10_000, "before")
    put(p.behind("new"), b"put there")
    until(lambda: os.path.exists(p.at("new")), 1.5, "a new file")
    same(get(p.at("new")), b"put there", "its bytes")
    with open(p.behind("f"), "r+b") as f:
        f.write(b"b" * 10_000)  # the same size
    same(get(p.at("f")), b"b" * 10_000, "opened again")
    with open(p.at("f"), "rb") as f:
        f.read()
        with open(p.behind("f"), "ab") as g:
            g.write(b"tail")

        def whole():
            os.stat(p.at("f"))
            return os.pread(f.fileno(), 20_000, 0) == b"b" * 10_000 + b"tail"
        until(whole, 3, "what was appended, in a file that is open")
    os.unlink(p.behind("f"))
    until(lambda: not os.path.exists(p.at("f")), 1.5, "f is gone")
    put(p.behind("x"), b"1")
    same(get(p.at("x")), b"1", "x")
    put(p.behind("y"), b"another inode")
    os.rename(p.behind("y"), p.behind("x"))
    until(lambda: os.stat(p.at("x")).st_size == 13, 1.5, "x is another")
    same(get(p.at("x")), b"another inode", "its bytes")
    os.mkdir(p.behind("d"))
    put(p.behind("d", "in"), b"in")
    same(get(p.at("d", "in")), b"in", "d/in")
    os.rename(p.behind("d"), p.behind("e"))
    until(lambda: os.path.exists(p.at("e", "in")), 1.5, "the folder moved")
    until(lambda: not os.path.exists(p.at("d")), 1.5, "its old name is gone")


@case("nothing outside publish_dir is reached through a link put there")
def beneath(box):
    p = Pub(box)
    box.write("secret/f", b"secret")
    os.mkdir(p.at("d"))
    put(p.at("d", "f"), b"mine")
    fd = os.open(p.at("d"), os.O_RDONLY)
    os.rename(p.behind("d"), p.behind("was"))
    os.symlink(box.path("secret"), p.behind("d"))
    for fn, args in ((os.open, ("f", os.O_WRONLY | os.O_TRUNC)),
                     (os.unlink, ("f",)), (os.mkdir, ("new",)),
                     (os.truncate, (p.at("d", "f"), 0))):
        try:  # by what the kernel still knows of d
            fn(*args, **({} if fn is os.truncate else {"dir_fd": fd}))
        except OSError:
            pass
    os.close(fd)
    same(get(box.path("secret/f")), b"secret", "a file outside")
    same(os.listdir(box.path("secret")), ["f"], "the folder outside")


@case("SIGTERM while eight write: gone in time, what was acknowledged is there")
def term(box):
    p = Pub(box)
    code = """
n = 0
fd = os.open(PATH, os.O_CREAT | os.O_WRONLY)
try:
    while True:
        n += os.write(fd, b"w" * 500_000)
        with open(sys.argv[2], "w") as f:
            f.write(str(n))
except OSError:
    pass
"""
    writers = [child(box, code, p.at(f"f{n}"), box.path(f"n{n}"))
               for n in range(8)]
    until(lambda: all(os.path.exists(box.path(f"n{n}")) for n in range(8)),
          10, "all write")
    time.sleep(0.3)
    p.m.term()
    for n, w in enumerate(writers):
        same(ended(w), 0, "a writer")
        told = int(get(box.path(f"n{n}")) or 0)
        size = os.stat(p.behind(f"f{n}")).st_size
        check(size >= told, f"{size} bytes of {told} that were acknowledged")
        same(set(get(p.behind(f"f{n}"))), {ord("w")}, "every byte")


@case("SIGKILL of writers: they are gone at once, and the mount goes on")
def kill(box):
    p = Pub(box)
    code = """
fd = os.open(PATH, os.O_CREAT | os.O_WRONLY)
while True:
    os.pwrite(fd, b"w" * 4_000_000, 0)
"""
    writers = [child(box, code, p.at(f"f{n}")) for n in range(4)]
    until(lambda: all(os.path.exists(p.at(f"f{n}")) for n in range(4)), 10,
          "all write")
    for w in writers:
        w.signal(signal.SIGKILL)
        same(ended(w, 3), "killed", "a writer")
    put(p.at("after"), b"x")
    same(get(p.at("after")), b"x", "the mount")


@case("forty writers at once: every byte arrives, in bounded memory")
def crowd(box):
    p = Pub(box)
    code = """
data = bytes([int(sys.argv[2])]) * (1 << 20)
with open(PATH, "wb", buffering=0) as f:
    for i in range(10):
        f.write(data)
"""
    for w in [child(box, code, p.at(f"f{n}"), n) for n in range(40)]:
        same(ended(w, 60), 0, "a writer")
    rss = p.m.rss()
    for n in range(40):
        same(get(p.behind(f"f{n}")), bytes([n]) * (10 * MIB), f"f{n}")
    with open(f"/proc/{p.m.p.pid}/maps", encoding="utf-8") as f:
        if "libasan" in f.read():
            raise Skip("the bytes are right; of memory nothing is said: "
                       "AddressSanitizer keeps what is freed")
    check(rss < 300 * MIB, f"{rss >> 20} MiB resident")


@case("no publish/ with -o single")
def single(box):
    random_file(box.path("src/f"), 1000)
    t = Torrent(box.path("src/f"), box.path("f.torrent"), 16384)
    m = Mount(box, t.path, single=True)
    same(os.listdir(m.point), ["f"], "the root")
    fails(errno.EPERM, os.mkdir, m.path("publish"))


main()
