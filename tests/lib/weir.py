"""weirfs and weirctl as a test drives them.

WEIRFS and WEIRCTL name other programs than those of the build folder;
WEIRFS_WRAP goes before the daemon's command line (valgrind).
"""
import hashlib
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time

from harness import Failed, LIB, SLOW, Skip, check, same, until
from stubpeer import StubPeer
from torrent import MIB, Torrent, random_file

BUILD = os.environ.get("WEIRFS_BUILD") or os.path.join(LIB, "../../build")
WEIRFS = os.environ.get("WEIRFS") or os.path.join(BUILD, "fs/weirfs")
WEIRCTL = os.environ.get("WEIRCTL") or os.path.join(BUILD, "tools/weirctl")
WRAP = shlex.split(os.environ.get("WEIRFS_WRAP", ""))
STOP_S = 5  # what SIGTERM may take


def mounted(point):
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return any(line.split()[1] == point for line in f)


def weirctl(box, *args, seconds=60, status=0):
    return box.run([WEIRCTL, *args], seconds=seconds, status=status)


class Mount:
    """A running weirfs. SOURCES as on the command line; OPTIONS: list of -o
    items; a library unless SINGLE. State and data are kept in the box under
    NAME, so that a second Mount with that name goes on where the first ended.
    """

    def __init__(self, box, *sources, options=(), single=False, name="w",
                 wait=True, argv=None, data=None, env=None):
        if not os.path.exists("/dev/fuse"):
            raise Skip("no /dev/fuse")
        check(os.path.exists(WEIRFS), f"{WEIRFS} is not built")
        self.box, self.point = box, box.mkdir(name + ".mnt")
        self.state = box.path(name + ".state")
        self.data = data or box.path(name + ".data")
        self.port = box.port()
        items = [f"state={self.state}", f"data={self.data}",
                 f"port={self.port}", *options]
        if single:
            items.append("single")
        self.argv = argv or [*WRAP, WEIRFS, *sources, self.point, "-f",
                             "-o", ",".join(items)]
        self.p = box.spawn(self.argv, "weirfs", env=env)
        self.is_done = False
        box.at_end(self.stop)
        if wait:
            self.wait_mounted()

    def wait_mounted(self, seconds=15):
        def there():
            if not self.p.alive():
                raise Failed("weirfs exited with status "
                             f"{self.p.p.returncode}: {self.p.log()[-800:]}")
            try:  # a mount that a crash left says ENOTCONN
                return mounted(self.point) and os.listdir(self.point)
            except OSError:
                return False
        until(there, seconds, "mounted")

    def path(self, *parts):
        return os.path.join(self.point, *parts)

    def file(self, *parts):
        """A path below files/, once it is there."""
        path = self.path("files", *parts)
        until(lambda: os.path.exists(path), 20, f"{path} is there")
        return path

    def control(self, *args, seconds=10, status=0):
        """weirctl ARGS..., at this mount; returns what it printed."""
        return weirctl(self.box, *args, "-o", f"state={self.state}",
                       seconds=seconds, status=status).stdout

    def status(self, torrent=None):
        """Of the library, or of one torrent."""
        with open(self.path(".weirfs", *([torrent] if torrent else []),
                            "status.json"), encoding="utf-8") as f:
            return json.load(f)

    def sum(self, key):
        return sum(t[key] for t in self.status()["torrents"])

    def io(self):
        """/proc/PID/io of the daemon: rchar is all it read, cached or not."""
        with open(f"/proc/{self.p.pid}/io", encoding="utf-8") as f:
            return {k: int(v) for k, v in (line.split(": ") for line in f)}

    def rss(self):
        """Resident bytes of the daemon."""
        with open(f"/proc/{self.p.pid}/statm", encoding="utf-8") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def parked(self, count, seconds=5):
        """Waits until so many reads wait for bytes."""
        if count:
            until(lambda: self.sum("parked_reads") >= count, seconds,
                  f"{count} reads are parked")
        else:
            until(lambda: not self.sum("parked_reads"), seconds,
                  "no read is parked any more")

    def term(self, sig=signal.SIGTERM):
        """Asks it to end; how long that took, in seconds."""
        began = time.monotonic()
        self.p.signal(sig)
        code = self.p.wait(STOP_S, "after SIGTERM")
        took = time.monotonic() - began
        self.is_done = True
        same(code, 0, "exit status of weirfs")
        check(not mounted(self.point), "the mount is gone")
        return took

    def unmount(self):
        self.box.run(["fusermount3", "-u", self.point])
        self.ended()

    def ended(self):
        """After an unmount the daemon ends by itself."""
        self.is_done = True
        same(self.p.wait(STOP_S, "after the unmount"), 0, "exit status")

    def kill(self):
        """As a crash: the mount point stays behind."""
        self.p.p.kill()
        self.p.p.wait(10)
        self.is_done = True

    def stop(self):
        if not self.is_done and self.p.alive():
            self.term()
        elif not self.is_done:
            self.is_done = True
            raise Failed("weirfs ended by itself with status "
                         f"{self.p.p.returncode}")


READER = LIB + "/reader.py"


class Reader:
    """A process that opens PATH and reads LENGTH bytes at OFFSET, in one go.
    MODE: read, direct (O_DIRECT) or mmap. FATAL: SIGINT kills it; else it
    handles it, as Python and players do."""

    def __init__(self, box, path, offset=0, length=65536, mode="read",
                 fatal=False):
        self.p = box.spawn([sys.executable, READER, path, mode, offset, length,
                            "fatal" if fatal else "handled"], "reader",
                           stdout=subprocess.PIPE, text=True)

    def line(self, seconds=5):
        """The next line it prints, "" at the end."""
        ready, _, _ = select.select([self.p.p.stdout], [], [],
                                    seconds * SLOW)
        if not ready:
            raise Failed(f"the reader said nothing for {seconds * SLOW:g} s, "
                         f"state {self.p.state()}")
        return self.p.p.stdout.readline().strip()

    def opened(self, seconds=1):
        same(self.line(seconds), "open", "what the reader says first")
        return self

    def result(self, seconds=30):
        """"ok SHA256", "error ENAME" or "interrupted"."""
        return self.line(seconds)

    def gone(self, sig, seconds=1):
        """Sends SIG; the reader must be no more within SECONDS."""
        self.p.signal(sig)
        self.p.wait(seconds, f"after signal {int(sig)}")


PIECE = 256 << 10
GIVEN = 4             # pieces that the peer of a World gives
ABSENT = 8 * PIECE    # an offset of what it keeps back


class World:
    """A mounted file of 8 MiB, and a peer that has it and gives the first
    MiB of it, until told otherwise."""

    def __init__(self, box, *options, has_peer=True, gives=GIVEN, size=8 * MIB):
        path = random_file(box.path("src/file.bin"), size)
        self.torrent = Torrent(path, box.path("file.torrent"), PIECE)
        self.peer = StubPeer(box, self.torrent, gives) if has_peer else None
        self.mount_options = [
            *([f"peer={self.peer.at}"] if has_peer else []), *options]
        self.mount = Mount(box, self.torrent.path, options=self.mount_options)
        self.path = self.mount.file("file.bin")

    def sha(self, offset, length):
        return hashlib.sha256(self.torrent.pread(offset, length)).hexdigest()

    def waiting(self, box, mode="read", offset=ABSENT, fatal=False, count=1):
        """A reader that waits for what does not come; COUNT: with those that
        wait already."""
        r = Reader(box, self.path, offset, mode=mode, fatal=fatal).opened()
        self.mount.parked(count)
        return r

    def check_alive(self, box):
        """What is given can be read."""
        r = Reader(box, self.path, 4096, 8192).opened()
        same(r.result(5), "ok " + self.sha(4096, 8192), "the given part")
