"""What abuse tests share: the daemon under test, what it may cost, torrents."""
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

from harness import HOSTS, LONG, SLOW, Failed, Skip, check, same, until
from peer import Closed, Content, Leech, dial
from torrent import Torrent, random_file, sha256

BUILD = os.environ.get("WEIRFS_BUILD") or os.path.join(
    os.path.dirname(os.path.dirname(HERE)), "build")
ME, GOOD, BAD = HOSTS  # the daemon, honest peers, liars
COUNT = 10 ** 6 if LONG else 10 ** 5  # bad items
MEMORY_KIB = 8 << 10  # what they may cost
TICKS = os.sysconf("SC_CLK_TCK")


def program(path):
    full = os.path.join(BUILD, path)
    if not os.path.exists(full):
        raise Skip(f"{path} is not built")
    return full


def make(box, size=2 ** 21 + 1000, piece_length=1 << 16, name="film.bin",
         info=None):
    """A torrent of one file, by default of 33 pieces: the bitfield has spare
    bits, the last piece is short. INFO: more keys of its info dict."""
    data = random_file(box.path("src/" + name), size)
    return Torrent(data, box.path(name + ".torrent"), piece_length, info=info)


class Daemon:
    """A process under test: weirctl or weirfs."""

    def __init__(self, proc, port):
        self.proc, self.port, self.pid = proc, port, proc.pid
        self.mark()

    def rss_kib(self):
        try:
            with open(f"/proc/{self.pid}/status", encoding="utf-8") as f:
                for line in f:
                    if line.startswith("VmRSS:"):
                        return int(line.split()[1])
        except OSError:
            pass
        raise Failed(f"{self.proc.name} is gone:\n{self.proc.log()[-2000:]}")

    def cpu_s(self):
        with open(f"/proc/{self.pid}/stat", encoding="utf-8") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def mark(self):
        """What follows is measured from here."""
        self.rss0, self.cpu0 = self.rss_kib(), self.cpu_s()

    def check_alive(self):
        check(self.proc.alive(), f"{self.proc.name} died: "
              f"{self.proc.p.returncode}\n{self.proc.log()[-2000:]}")

    def is_calm(self):
        self.check_alive()
        cpu = self.cpu_s()
        time.sleep(0.3)
        return self.cpu_s() - cpu <= 0.02 * SLOW

    def check_flat(self, what, cpu_s=None):
        """It lives, it is calm again, and WHAT cost no memory (and at most
        CPU_S seconds of CPU time)."""
        until(self.is_calm, 20, f"{what}: it has come to rest")
        self.check_alive()
        spent = self.cpu_s() - self.cpu0
        grown = self.rss_kib() - self.rss0
        print(f"# {what}: {grown:+} KiB, {spent:.2f} s of CPU", flush=True)
        if SLOW > 1:
            return  # a sanitizer's memory and time say nothing
        check(grown <= MEMORY_KIB, f"{what}: {grown} KiB more than before")
        if cpu_s is not None:
            check(spent <= cpu_s, f"{what}: {spent} s of CPU time")


def is_listening(port):
    """Without a connection, which the daemon would count."""
    with open("/proc/net/tcp", encoding="utf-8") as f:
        return any(line.split()[1].endswith(f":{port:04X}")
                   and line.split()[3] == "0A" for line in list(f)[1:])


def seed(box, torrent):
    """weirctl seed, which has checked the data and listens."""
    port = box.port()
    proc = box.spawn([program("tools/weirctl"), "seed", torrent.path, "--data",
                      torrent.parent, "--bind", ME, "--port", port, "-o",
                      f"state={box.mkdir('seed-state')},nodht,nolsd"],
                     "weirctl-seed")
    daemon = Daemon(proc, port)
    content = Content(torrent)

    def ready():
        daemon.check_alive()
        return is_listening(port) and serves(content, port)
    until(ready, 30, "weirctl seed serves")
    daemon.mark()
    return daemon, content


def serves(content, port):
    """Does it greet a stranger? The first piece is here then."""
    try:
        conn = dial(content, ME, port, GOOD, seconds=2)
        conn.close()
        return True
    except Closed:
        return False


def get(box, source, peers, name="got", options=""):
    """weirctl get, under way."""
    port = box.port()
    at = ",".join(f"peer={p.at}" for p in peers)
    proc = box.spawn([program("tools/weirctl"), "get", source, "--data",
                      box.mkdir(name), "-o",
                      f"state={box.mkdir(name + '-state')},{at},port={port},"
                      f"bind={ME},nodht,nolsd{options}"], "weirctl-get")
    return Daemon(proc, port)


def check_got(box, daemon, torrent, seconds=60, name="got"):
    """The transfer ends well, and the bytes are right."""
    status = daemon.proc.wait(seconds, "the transfer")
    same(status, 0, f"exit status of weirctl get\n{daemon.proc.log()[-2000:]}")
    same(sha256(os.path.join(box.path(name), torrent.name)),
         sha256(torrent.data), "sha256")


def check_serves(daemon, content):
    """An honest leecher still gets every byte."""
    daemon.check_alive()
    same(Leech(content, ME, daemon.port, GOOD).get_all(30) == content.data,
         True, "the bytes an honest leecher got are right")
