#!/usr/bin/python3
"""Goal: publish/ is a folder like any other for the tools that people use, and
what it holds lies in publish_dir as plain files, whatever goes wrong."""
import ctypes
import errno
import mmap
import os
import shutil
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import SLOW, case, check, main, need, same
from publish import Pub, child, ended, fails, get, put, tree_of
from torrent import random_file

MIB = 1 << 20
libc = ctypes.CDLL(None, use_errno=True)


def sample(box):
    """A folder with what people copy: sizes, modes, links, odd names."""
    top = box.mkdir("src/album")
    for name, size in (("one.bin", 3 * MIB + 17), ("empty", 0), ("x", 1),
                       ("sub/deep/er/two.bin", 300_000), ("\u00e9 \u2603", 5),
                       ("sub/" + "n" * 255, 70_000)):
        random_file(os.path.join(top, name), size)
    os.chmod(os.path.join(top, "x"), 0o755)
    os.symlink("sub/deep", os.path.join(top, "link"))
    os.symlink("nowhere", os.path.join(top, "sub/broken"))
    os.makedirs(os.path.join(top, "nothing"))
    return top


def arrived(p, top, name="album"):
    same(tree_of(p.at(name)), tree_of(top), "the copy")
    same(tree_of(p.behind(name)), tree_of(top), "what lies in publish_dir")


TOOLS = {
    "cp -r": "cp -r {src} {pub}/",
    "cp -a": "cp -a {src} {pub}/",
    "rsync -a": "rsync -a {src} {pub}/",
    "rsync -a --inplace": "rsync -a --inplace {src} {pub}/",
    "rsync -a --partial": "rsync -a --partial {src} {pub}/",
    "tar x": "tar -C {up} -cf {box}/t.tar album && tar -C {pub} -xf {box}/t.tar",
    "mv in": "cp -a {src} {box}/album && mv {box}/album {pub}/",
}


def by_tool(box, name):
    need(TOOLS[name].split()[0])
    p, src = Pub(box), sample(box)
    box.run(["sh", "-c", TOOLS[name].format(
        src=src, up=os.path.dirname(src), pub=p.at(), box=box.dir)])
    arrived(p, src)
    box.run(["rm", "-r", p.at("album")])
    same(os.listdir(p.behind()), [], "publish_dir after rm -r")


for t in TOOLS:
    case(f"{t}: every byte, mode and link arrives")(
        lambda box, t=t: by_tool(box, t))


@case("unzip: every byte arrives")
def unzip(box):
    need("unzip")
    p, src = Pub(box), sample(box)
    os.unlink(os.path.join(src, "sub", "n" * 255))
    for link in ("link", "sub/broken"):
        os.unlink(os.path.join(src, link))
    shutil.make_archive(box.path("a"), "zip", os.path.dirname(src), "album")
    box.run(["unzip", "-q", box.path("a.zip"), "-d", p.at()])
    for name in ("one.bin", "sub/deep/er/two.bin", "empty"):
        same(get(p.at("album", name)), get(os.path.join(src, name)), name)


@case("mv out, and mv within, keep what it is")
def move_out(box):
    p, src = Pub(box), sample(box)
    want = tree_of(src)
    box.run(["cp", "-a", src, p.at("a")])
    box.run(["mv", p.at("a"), p.at("b")])
    box.run(["mv", p.at("b"), box.path("out")])
    same(tree_of(box.path("out")), want, "what came out")
    same(os.listdir(p.at()), [], "what is left")


@case("rsync again writes only what has changed, and --inplace keeps the inode")
def rsync_again(box):
    need("rsync")
    p = Pub(box)
    src = random_file(box.path("src/f"), 4 * MIB)
    box.run(["rsync", "-a", src, p.at()])
    before = os.stat(p.at("f"))
    same(before.st_mtime_ns // 10**9, os.stat(src).st_mtime_ns // 10**9,
         "mtime")
    with open(src, "r+b") as f:
        f.seek(MIB)
        f.write(b"changed")
    os.utime(src, (1, 1))  # rsync looks at size and second alone
    box.run(["rsync", "-a", "--inplace", "--no-whole-file", src, p.at()])
    same(os.stat(p.at("f")).st_ino, before.st_ino, "inode")
    same(get(p.behind("f")), get(src), "bytes")


@case("dd, truncate and fallocate change what they are told to")
def dd(box):
    p = Pub(box)
    random_file(box.path("src"), 3 * MIB)
    want = bytearray(get(box.path("src")))
    box.run(["cp", box.path("src"), p.at("f")])
    box.run(["dd", "if=/dev/zero", "of=" + p.at("f"), "bs=1000", "count=7",
             "seek=500", "conv=notrunc,fsync"])
    want[500_000:507_000] = bytes(7000)
    same(get(p.at("f")), bytes(want), "after dd")
    box.run(["fallocate", "--punch-hole", "-o", "4096", "-l", "8192",
             p.at("f")])
    want[4096:12288] = bytes(8192)
    same(get(p.at("f")), bytes(want), "after a punched hole")
    box.run(["truncate", "-s", "1000001", p.at("f")])
    box.run(["truncate", "-s", "+999999", p.at("f")])
    want[1000001:] = bytes(999_999)
    same(get(p.at("f")), bytes(want), "after truncate")
    box.run(["fallocate", "-l", "5M", p.at("g")])
    same(os.stat(p.at("g")).st_size, 5 * MIB, "allocated")
    fd = os.open(p.at("g"), os.O_RDWR)
    fails(errno.EOPNOTSUPP, fallocate, fd, 8, 0, 4096)  # COLLAPSE_RANGE
    os.close(fd)


def fallocate(fd, mode, off, n):
    if libc.fallocate64(fd, mode, ctypes.c_int64(off), ctypes.c_int64(n)) < 0:
        raise OSError(ctypes.get_errno(), "fallocate")


@case("an editor's write-and-rename, and curl -o")
def editor(box):
    p = Pub(box)
    put(p.at("text"), b"old")
    fd = os.open(p.at("text"), os.O_RDONLY)
    put(p.at(".text.swp"), b"new and longer")
    os.rename(p.at(".text.swp"), p.at("text"))
    same(get(p.at("text")), b"new and longer", "after the rename")
    same(os.pread(fd, 100, 0), b"old", "the old one, still open")
    same(os.fstat(fd).st_nlink, 0, "its links")
    os.close(fd)
    same(os.listdir(p.behind()), ["text"], "publish_dir")
    need("curl")
    box.run(["curl", "-s", "-o", p.at("c"), "file://" + p.behind("text")])
    same(get(p.at("c")), b"new and longer", "what curl wrote")


@case("eight writers append to one file: no line is lost or torn")
def appenders(box):
    p = Pub(box)
    code = """
fd = os.open(PATH, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
for i in range(200):
    os.write(fd, (sys.argv[2] * 60 + "\\n").encode())
"""
    writers = [child(box, code, p.at("log"), c) for c in "abcdefgh"]
    for w in writers:
        same(ended(w), 0, "a writer")
    lines = get(p.at("log")).decode().splitlines()
    same(sorted(lines), sorted(c * 60 for c in "abcdefgh" for _ in range(200)),
         "the lines")


@case("of many that create a file with O_EXCL one wins")
def exclusive(box):
    p = Pub(box)
    code = """
won = 0
for i in range(100):
    try:
        os.close(os.open(f"{PATH}{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        won += 1
    except FileExistsError:
        pass
print(won)
"""
    runs = [box.spawn(["python3", "-c",
                       "import os, sys\nPATH = sys.argv[1]\n" + code,
                       p.at("f")], stdout=-1, text=True) for _ in range(4)]
    won = [int(r.p.communicate(timeout=30 * SLOW)[0]) for r in runs]
    same(sum(won), 100, "files won by all together")


@case("mmap writers: what they wrote is there after msync, and after munmap")
def mmaps(box):
    p = Pub(box)
    with open(p.at("f"), "w+b") as f:
        f.truncate(3 * MIB + 5)
        with mmap.mmap(f.fileno(), 0) as m:
            m[MIB - 2:MIB + 2] = b"wxyz"
            m.flush()
            same(get(p.behind("f"))[MIB - 2:MIB + 2], b"wxyz", "after msync")
            m[-3:] = b"end"
    same(get(p.behind("f"))[-3:], b"end", "after munmap and close")
    code = """
f = open(PATH, "r+b")
m = mmap.mmap(f.fileno(), 0)
n = int(sys.argv[2])
m[n * 4096:(n + 1) * 4096] = bytes([n]) * 4096
m.flush()
"""
    for w in [child(box, code, p.at("f"), n) for n in range(1, 9)]:
        same(ended(w), 0, "a writer")
    for n in range(1, 9):
        same(get(p.behind("f"))[n * 4096:(n + 1) * 4096], bytes([n]) * 4096,
             f"page {n}")


def renameat2(a, b, flags):
    if libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")


@case("RENAME_EXCHANGE and RENAME_NOREPLACE; other folders are another disk")
def renames(box):
    p = Pub(box)
    os.mkdir(p.at("d"))
    put(p.at("d", "in"), b"in")
    put(p.at("f"), b"file")
    fails(errno.EEXIST, renameat2, p.at("f"), p.at("d"), 1)
    renameat2(p.at("f"), p.at("d"), 2)
    same(get(p.at("d")), b"file", "d")
    same(get(p.at("f", "in")), b"in", "f/in")
    put(p.at("f", "more"), b"x")
    same(sorted(os.listdir(p.behind("f"))), ["in", "more"], "f behind")
    renameat2(p.at("d"), p.at("g"), 1)
    fails(errno.EINVAL, os.rename, p.at("f"), p.at("f", "f"))
    fails(errno.EXDEV, os.rename, p.at("g"), p.m.path("torrents", "g"))
    fails(errno.EXDEV, os.rename, p.at("g"), p.m.path("files", "g"))


@case("an unlinked file, and a removed folder, live on while they are open")
def unlinked(box):
    p = Pub(box)
    with open(p.at("f"), "w+b") as f:
        f.write(b"one")
        f.flush()
        os.unlink(p.at("f"))
        f.write(b"two")
        f.flush()
        os.fchmod(f.fileno(), 0o600)
        os.ftruncate(f.fileno(), 5)
        st = os.fstat(f.fileno())
        same((st.st_nlink, st.st_size, st.st_mode & 0o777), (0, 5, 0o600),
             "its state")
        same(os.pread(f.fileno(), 10, 0), b"onetw", "its bytes")
        with open(f"/proc/self/fd/{f.fileno()}", "rb") as g:
            same(g.read(), b"onetw", "opened again by its descriptor")
    same(os.listdir(p.behind()), [], "publish_dir")
    os.mkdir(p.at("d"))
    put(p.at("other"), b"")
    fd = os.open(p.at("d"), os.O_PATH)
    os.rmdir(p.at("d"))
    os.mkdir(p.at("e"))  # may get the inode of d, if that was freed
    same(os.fstat(fd).st_nlink, 0, "links of a removed folder")
    fails(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.close(fd)


@case("what cannot be is refused: hard links, devices, FIFOs, a full folder")
def refused(box):
    p = Pub(box)
    put(p.at("f"), b"")
    os.mkdir(p.at("d"))
    put(p.at("d", "f"), b"")
    fails(errno.EPERM, os.link, p.at("f"), p.at("g"))
    fails(errno.EPERM, os.mkfifo, p.at("p"))
    fails(errno.EPERM, os.mknod, p.at("n"), 0o20644, os.makedev(1, 3))
    fails(errno.ENOTEMPTY, os.rmdir, p.at("d"))
    fails(errno.ENOTDIR, os.rmdir, p.at("f"))
    fails(errno.EISDIR, os.unlink, p.at("d"))
    fails(errno.ENOTSUP, os.open, p.at(), os.O_TMPFILE | os.O_RDWR)
    os.mknod(p.at("m"), 0o100640)
    same(os.stat(p.at("m")).st_mode, 0o100640, "a file by mknod")
    fails(errno.ENODATA, os.getxattr, p.at("f"), "security.capability")
    fails(errno.ENOTSUP, os.setxattr, p.at("f"), "system.posix_acl_access",
          b"\x02\0\0\0")
    fails(errno.ENODATA, os.getxattr, p.at("f"), "user.weirfs.nonsense")


@case("long names and deep paths, as far as Linux goes")
def names(box):
    p = Pub(box)
    long = "n" * 255
    put(p.at(long), b"x")
    same(os.listdir(p.at()), [long], "listed")
    fails(errno.ENAMETOOLONG, put, p.at("n" * 256), b"")
    fails(errno.ENAMETOOLONG, os.stat, p.at("n" * 256))
    os.unlink(p.at(long))
    top = os.getcwd()
    try:
        os.chdir(p.at())
        for _ in range(40):  # 10 KiB of path: beyond PATH_MAX
            os.mkdir(long)
            os.chdir(long)
        put("f", b"deep")
        same(get("f"), b"deep", "a file below")
        os.rename("f", "g")
        same(os.listdir("."), ["g"], "listed below")
    finally:
        os.chdir(top)
    box.run(["rm", "-r", p.at(long)])
    same(os.listdir(p.behind()), [], "publish_dir after rm -r")


@case("10,000 files in a folder: listed, each once, and removed by rm -r")
def many(box):
    p = Pub(box)
    os.mkdir(p.at("d"))
    want = [f"file-{n:05}" for n in range(10_000)]
    for n in want:
        os.close(os.open(p.at("d", n), os.O_CREAT | os.O_WRONLY))
    same(sorted(os.listdir(p.at("d"))), want, "listed")
    out = box.run(["ls", "-l", p.at("d")]).stdout.splitlines()
    same(len(out), len(want) + 1, "lines of ls -l")
    half = set()
    with os.scandir(p.at("d")) as it:  # half of it goes while we list
        for n, e in enumerate(it):
            half.add(e.name)
            if n == 100:
                for gone in want[::2]:
                    os.unlink(p.at("d", gone))
    check(half >= set(want[1::2]), "what stayed is listed while others go")
    same(sorted(os.listdir(p.at("d"))), want[1::2], "what stayed")
    box.run(["rm", "-r", p.at("d")])
    same(os.listdir(p.behind()), [], "publish_dir after rm -r")


@case("a remount shows the same inode numbers, modes, times and owners")
def remount(box):
    p = Pub(box)
    box.run(["cp", "-a", sample(box), p.at("a")])
    os.chown(p.at("a", "x"), 1234, 4321)

    def all_of(q):
        return {path: (st.st_ino, st.st_mode, st.st_mtime_ns, st.st_uid,
                       st.st_gid, st.st_nlink)
                for folder, dirs, files in os.walk(q.at())
                for path in (os.path.relpath(os.path.join(folder, n), q.at())
                             for n in dirs + files)
                for st in (os.lstat(q.at(path)),)}
    before = all_of(p)
    numbers = {e.name: e.inode() for e in os.scandir(p.at("a"))}
    q = p.again()
    same(all_of(q), before, "after a remount")
    same({e.name: e.inode() for e in os.scandir(q.at("a"))}, numbers,
         "numbers in listings")
    for name, ino in numbers.items():
        same(os.lstat(q.at("a", name)).st_ino, ino, f"number of {name}")


@case("what is made belongs to whoever made it; folders pass their group on")
def owners(box):
    p = Pub(box)
    os.chmod(p.at(), 0o777)
    os.mkdir(p.at("shared"))
    os.chown(p.at("shared"), -1, 777)
    os.chmod(p.at("shared"), 0o2777)
    code = """
os.setgroups([]); os.setgid(1001); os.setuid(1000); os.umask(0o027)
open(PATH + "/f", "w").close()
os.mkdir(PATH + "/d")
os.symlink("x", PATH + "/l")
open(PATH + "/shared/f", "w").close()
os.mkdir(PATH + "/shared/d")
try:
    os.chmod(PATH + "/shared", 0o700)
    sys.exit(3)
except PermissionError:
    pass
"""
    same(ended(child(box, code, p.at())), 0, "the user's process")
    for name, want in (("f", (0o640, 1000, 1001)), ("d", (0o750, 1000, 1001)),
                       ("l", (0o777, 1000, 1001)),
                       ("shared/f", (0o640, 1000, 777)),
                       ("shared/d", (0o2750, 1000, 777))):
        for path in (p.at(name), p.behind(name)):
            st = os.lstat(path)
            same((st.st_mode & 0o7777, st.st_uid, st.st_gid), want, path)
    put(p.at("s"), b"x")
    os.chmod(p.at("s"), 0o4777)
    code = "os.setuid(1000)\nopen(PATH, 'r+b').write(b'y')\n"
    same(ended(child(box, code, p.at("s"))), 0, "a stranger's write")
    same(os.stat(p.behind("s")).st_mode & 0o7777, 0o777, "set-user-ID is gone")


@case("user.* attributes lie with the file; user.weirfs.* are not stored")
def attributes(box):
    p = Pub(box)
    put(p.at("f"), b"x")
    os.setxattr(p.at("f"), "user.mine", b"v" * 1000)
    same(os.getxattr(p.behind("f"), "user.mine"), b"v" * 1000, "behind")
    fails(errno.EEXIST, os.setxattr, p.at("f"), "user.mine", b"", 1)
    check("user.mine" in os.listxattr(p.at("f")), "listed")
    os.removexattr(p.at("f"), "user.mine")
    fails(errno.ENODATA, os.getxattr, p.at("f"), "user.mine")
    try:
        os.setxattr(p.at("f"), "user.weirfs.nonsense", b"1")
        check(False, "an attribute of ours that is none is taken")
    except OSError as e:
        check(e.errno in (errno.EOPNOTSUPP, errno.ENODATA), f"errno {e}")
    same(os.listxattr(p.behind("f")), [], "nothing of it lies on disk")


@case("copy_file_range within publish/ and from a torrent")
def copies(box):
    p = Pub(box)
    random_file(box.path("src"), 2 * MIB)
    shutil.copyfile(box.path("src"), p.at("a"))
    with open(p.at("a"), "rb") as a, open(p.at("b"), "w+b") as b:
        n = os.copy_file_range(a.fileno(), b.fileno(), 2 * MIB, 0, 0)
        check(n > 0, f"{n} bytes copied")
    same(get(p.at("b")), get(p.at("a"))[:n], "the copy")
    box.run(["cp", "--sparse=never", p.m.path(".weirfs", "status.json"),
             p.at("s")])
    check(get(p.behind("s")).startswith(b"{"), "copied from the mount")


main()
