"""What the tests of publish/ share: a mount of it, and the disks behind."""
import errno
import os
import signal

from harness import Skip, check, same
from weir import Mount


class Pub:
    """A mount; `at` is a path in publish/, `behind` the same in publish_dir."""

    def __init__(self, box, *options, name="w", folder=None):
        self.box = box
        self.behind_top = folder or box.path(name + ".publish")
        self.m = Mount(box, name=name, options=(
            "nodht", "allow_other", f"publish_dir={self.behind_top}",
            *options))

    def at(self, *parts):
        return self.m.path("publish", *parts)

    def behind(self, *parts):
        return os.path.join(self.behind_top, *parts)

    def again(self):
        """A daemon of a later day."""
        self.m.term()
        return Pub(self.box, folder=self.behind_top)


def fails(number, fn, *args, **kw):
    try:
        fn(*args, **kw)
    except OSError as e:
        same(errno.errorcode[e.errno], errno.errorcode[number], "errno")
        return
    check(False, f"{fn} does not fail, want {errno.errorcode[number]}")


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def tree_of(top):
    """{path: (mode, size or target, bytes)}, without the folders' sizes."""
    out = {}
    for folder, dirs, files in os.walk(top):
        for n in dirs + files:
            path = os.path.join(folder, n)
            st = os.lstat(path)
            what = os.readlink(path) if os.path.islink(path) else \
                get(path) if n in files else None
            out[os.path.relpath(path, top)] = (oct(st.st_mode), what)
    return out


def small_disk(box, kind, mib):
    """A file system of so many MiB, of KIND; its mount point."""
    point = box.mkdir("disk")
    if kind == "tmpfs":
        argv = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", point]
    else:
        image = box.path("disk.img")
        with open(image, "wb") as f:
            f.truncate(mib << 20)
        box.run([f"mkfs.{kind}", "-q", image])
        argv = ["mount", "-o", "loop", image, point]
    if box.run(argv, status=None).returncode:
        raise Skip(f"no {kind} can be mounted here")
    return point


def child(box, code, *args, **kw):
    """A python process that runs CODE with sys, os, mmap and PATH = args[0]."""
    text = "import mmap, os, sys, time\nPATH = sys.argv[1]\n" + code
    return box.spawn(["python3", "-c", text, *args], "child", **kw)


def ended(process, seconds=20):
    status = process.wait(seconds)
    if status == -signal.SIGKILL:
        return "killed"
    return status
