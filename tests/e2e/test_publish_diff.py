#!/usr/bin/python3
"""Goal: publish/ behaves like any folder: a long row of random operations, done
there and in a plain folder, gives the same bytes, sizes, modes, times, names and
errors.

WEIRFS_SEED repeats a run; WEIRFS_TEST_LONG=1 does 10^5 operations.
"""
import errno
import mmap
import os
import random
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import Failed, case, check, main, same
from weir import Mount

LONG = os.environ.get("WEIRFS_TEST_LONG")
STEPS = 100_000 if LONG else 20_000
SEED = int(os.environ.get("WEIRFS_SEED", random.randrange(1 << 30)))
NAMES = ["a", "b", "c.txt", "d", "e.part", ".hidden", "föö", "x y", "core",
         "n" * 255]
FALLOC_KEEP, FALLOC_PUNCH, FALLOC_ZERO = 1, 2, 16


class Side:
    """One of the two folders, with the files it has open."""

    def __init__(self, top):
        self.top, self.open = top, {}

    def at(self, path):
        return os.path.join(self.top, path)


def outcome(fn, *args):
    try:
        return ("ok", fn(*args))
    except OSError as e:
        return ("error", errno.errorcode.get(e.errno, e.errno))
    except ValueError as e:
        return ("error", str(e))


def facts(path):
    st = os.lstat(path)
    f = [stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), st.st_uid,
         st.st_gid]
    if not stat.S_ISDIR(st.st_mode):
        f += [st.st_size, st.st_nlink]
    if stat.S_ISLNK(st.st_mode):
        f.append(os.readlink(path))
    return f


def whole(side):
    """Everything below, with every byte."""
    out = []
    for folder, dirs, files in sorted(os.walk(side.top)):
        rel = os.path.relpath(folder, side.top)
        out.append((rel, sorted(dirs), sorted(files)))
        for n in sorted(dirs + files):
            path = os.path.join(folder, n)
            f = facts(path)
            if stat.S_ISREG(f[0]) and f[1] & 0o400 or os.geteuid() == 0 and \
                    stat.S_ISREG(f[0]):
                with open(path, "rb") as fh:
                    f.append(hash(fh.read()))
            out.append((os.path.join(rel, n), f))
    return out


# Each operation takes a side and what the dice said, and returns what can be
# compared. The same dice are thrown for both.

def op_create(s, d):
    fd = os.open(s.at(d["path"]), os.O_CREAT | os.O_RDWR | d["flags"],
                 d["mode"])
    s.open[d["slot"]] = fd
    return facts(s.at(d["path"]))


def op_open(s, d):
    s.open[d["slot"]] = os.open(s.at(d["path"]), d["how"] | d["flags"])
    return os.fstat(s.open[d["slot"]]).st_size


def op_close(s, d):
    os.close(s.open.pop(d["slot"]))


def op_pwrite(s, d):
    n = os.pwrite(s.open[d["slot"]], d["data"], d["off"])
    return n, os.fstat(s.open[d["slot"]]).st_size


def op_write(s, d):
    return os.write(s.open[d["slot"]], d["data"])


def op_pread(s, d):
    return hash(os.pread(s.open[d["slot"]], d["len"], d["off"]))


def op_ftruncate(s, d):
    os.ftruncate(s.open[d["slot"]], d["size"])
    return os.fstat(s.open[d["slot"]]).st_size


def op_truncate(s, d):
    os.truncate(s.at(d["path"]), d["size"])
    return facts(s.at(d["path"]))


def op_fsync(s, d):
    os.fsync(s.open[d["slot"]])


def op_fallocate(s, d):
    os.posix_fallocate(s.open[d["slot"]], d["off"], d["len"] + 1)
    return os.fstat(s.open[d["slot"]]).st_size


def op_mmap(s, d):
    fd = s.open[d["slot"]]
    size = os.fstat(fd).st_size
    if not size:
        return None
    with mmap.mmap(fd, size) as m:
        off = d["off"] % size
        m[off:off + len(d["data"])] = d["data"][:size - off]
        m.flush()
    return hash(os.pread(fd, size, 0))


def op_copy(s, d):
    return os.copy_file_range(s.open[d["slot"]], s.open[d["slot2"]], d["len"],
                              d["off"], d["off2"])


def op_mkdir(s, d):
    os.mkdir(s.at(d["path"]), d["mode"])
    return facts(s.at(d["path"]))


def op_rmdir(s, d):
    os.rmdir(s.at(d["path"]))


def op_unlink(s, d):
    os.unlink(s.at(d["path"]))


def op_rename(s, d):
    os.rename(s.at(d["path"]), s.at(d["path2"]))
    return facts(s.at(d["path2"]))


def op_symlink(s, d):
    os.symlink(d["path2"], s.at(d["path"]))
    return facts(s.at(d["path"]))


def op_chmod(s, d):
    os.chmod(s.at(d["path"]), d["mode"])
    return facts(s.at(d["path"]))


def op_utime(s, d):
    os.utime(s.at(d["path"]), ns=(d["time"], d["time"] + 7),
             follow_symlinks=False)
    st = os.lstat(s.at(d["path"]))
    return st.st_atime_ns, st.st_mtime_ns


def op_stat(s, d):
    return facts(s.at(d["path"]))


def op_list(s, d):
    return sorted(os.listdir(s.at(d["path"])))


def op_setxattr(s, d):
    os.setxattr(s.at(d["path"]), "user.k%d" % (d["off"] % 3), d["data"][:50],
                follow_symlinks=False)


def op_getxattr(s, d):
    return os.getxattr(s.at(d["path"]), "user.k%d" % (d["off"] % 3),
                       follow_symlinks=False)


def op_removexattr(s, d):
    os.removexattr(s.at(d["path"]), "user.k%d" % (d["off"] % 3),
                   follow_symlinks=False)


def op_listxattr(s, d):
    return sorted(os.listxattr(s.at(d["path"]), follow_symlinks=False))


BY_NAME = [op_create] * 5 + [op_open] * 4 + [
    op_truncate, op_mkdir, op_mkdir, op_rmdir, op_unlink, op_unlink,
    op_rename, op_rename, op_symlink, op_chmod, op_utime, op_stat, op_list,
    op_setxattr, op_getxattr, op_removexattr, op_listxattr]
BY_SLOT = [op_pwrite] * 6 + [op_write] * 3 + [op_pread] * 3 + [
    op_ftruncate, op_fsync, op_fallocate, op_mmap, op_copy, op_close, op_close,
    op_close]


def throw(rng, slots):
    """The dice of one operation, the same for both sides."""
    def path():
        return "/".join(rng.choice(NAMES) for _ in range(rng.choice((1, 1, 2,
                                                                     2, 3))))
    sizes = (0, 1, 100, 4095, 4096, 4097, 16384, 70000, 262144, 300000)
    d = {"path": path(), "path2": path(), "slot": rng.randrange(12),
         "slot2": rng.randrange(12), "off": rng.choice(sizes),
         "off2": rng.choice(sizes), "len": rng.choice(sizes),
         "size": rng.choice(sizes), "time": rng.randrange(1 << 60),
         "data": rng.randbytes(rng.choice((1, 10, 4096, 5000, 140000))),
         "mode": rng.choice((0o644, 0o600, 0o755, 0o444, 0o4755, 0o2755)),
         "how": rng.choice((os.O_RDONLY, os.O_WRONLY, os.O_RDWR)),
         "flags": rng.choice((0, 0, 0, os.O_TRUNC, os.O_EXCL, os.O_APPEND))}
    if slots and rng.random() < 0.55:
        fn = rng.choice(BY_SLOT)
        d["slot"], d["slot2"] = rng.choice(slots), rng.choice(slots)
    else:
        fn = rng.choice(BY_NAME)
        if d["slot"] in slots:
            fn = op_stat if fn in (op_create, op_open) else fn
    return fn, d


def compare(a, b, number, seed):
    x, y = whole(a), whole(b)
    for p, q in zip(x, y):
        if p != q:
            raise Failed(f"seed {seed}, after {number}: plain {p}, ours {q}")
    same(len(y), len(x), f"seed {seed}, after {number}: entries")


def run(plain, ours, steps, seed):
    rng = random.Random(seed)
    a, b = Side(plain), Side(ours)
    log = []
    for number in range(steps):
        fn, d = throw(rng, sorted(a.open))
        x, y = outcome(fn, a, d), outcome(fn, b, d)
        log.append(f"{fn.__name__} {d['path']} {d['path2']} slot={d['slot']} "
                   f"off={d['off']} len={d['len']} size={d['size']} "
                   f"data={len(d['data'])} mode={d['mode']:o} "
                   f"flags={d['flags']} how={d['how']}: {str(x)[:90]}")
        if x != y:
            raise Failed(f"seed {seed}, step {number}: plain {x}, ours {y}; "
                         "before:\n" + "\n".join(log[-12:]))
        same(sorted(b.open), sorted(a.open), "open files")
        if number % 1000 == 999:
            compare(a, b, number, seed)
    for fd in [*a.open.values(), *b.open.values()]:
        os.close(fd)
    compare(a, b, steps, seed)


@case(f"{STEPS} random operations, seed {SEED}", limit=1800 if LONG else 200)
def differ(box):
    m = Mount(box, options=["publish_delay=3600"])
    plain = box.mkdir("plain")
    run(plain, m.path("publish"), STEPS, SEED)
    check(m.p.alive(), "the daemon lives")


@case("the same while everything is being published all the time", limit=300)
def busy(box):
    m = Mount(box, options=["publish_delay=0"])
    run(box.mkdir("plain"), m.path("publish"), STEPS // 4, SEED + 1)
    check(m.p.alive(), "the daemon lives")


if __name__ == "__main__":
    main()
