"""What the crash tests know: a seeder that counts, and what a state database
says after its owner was killed."""
import hashlib
import os
import shutil
import sqlite3
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../lib"))
from clients import PY, need_libtorrent, wait_seeding
from harness import HOSTS, LONG, SLOW, check
from torrent import bdecode

BUILD = os.environ.get("WEIRFS_BUILD", "build")
WEIRFS = os.environ.get("WEIRFS") or BUILD + "/fs/weirfs"
WEIRCTL = os.environ.get("WEIRCTL") or BUILD + "/tools/weirctl"
HERE = os.path.dirname(os.path.abspath(__file__))
BLOCK = 16384
ROUNDS = 200 if LONG else 20
RATE = 6 << 20  # of the seeder, bytes a second
# In flight when the process dies: requests, and pieces that wait for their
# last block or for a worker.
IN_FLIGHT = 1 << 20


def live(rnd, n, longest):
    """Sleeps as long as round N may live: each tenth passes a sync (5 s)."""
    time.sleep((rnd.uniform(5.3, 8) if n % 10 == 9
                else rnd.uniform(0.02, longest)) * SLOW)


def mounted(point):
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return any(line.split()[1] == point for line in f)


class Seeder:
    """Seeds TORRENT at RATE and knows each block it sent."""

    def __init__(self, box, torrent):
        need_libtorrent()
        self.torrent, self.log = torrent, box.path("blocks")
        port = box.port()
        self.at = f"{HOSTS[0]}:{port}"
        self.p = box.spawn([PY, HERE + "/seeder.py", torrent.path,
                            torrent.parent, HOSTS[0], port, self.log, RATE],
                           "seeder")
        wait_seeding(self.p, HOSTS[0], port, torrent)

    def sent(self, since=0):
        """(pieces of the blocks sent, in order; where to go on)."""
        with open(self.log, "rb") as f:
            f.seek(since)
            lines = f.read()
        whole = lines[:lines.rfind(b"\n") + 1]
        return [int(line.split()[0]) for line in whole.splitlines()], \
            since + len(whole)


class Pieces:
    """What a .torrent says of its pieces."""

    def __init__(self, torrent):
        with open(torrent.path, "rb") as f:
            info = bdecode(f.read())[b"info"]
        name = info[b"name"].decode()
        self.length = info[b"piece length"]
        self.hashes = info[b"pieces"]
        self.files = [(os.path.join(name, *(e.decode() for e in f[b"path"])),
                       f[b"length"]) for f in info[b"files"]] \
            if b"files" in info else [(name, info[b"length"])]

    def _chunks(self, folder):
        """All bytes, in chunks that end where pieces do; what is missing or
        short is zeros."""
        room = self.length
        for path, left in self.files:
            path = os.path.join(folder, path)
            with open(path if os.path.exists(path) else os.devnull,
                      "rb") as f:
                while left:
                    n = min(left, room)
                    yield f.read(n).ljust(n, b"\0"), n == room
                    left, room = left - n, room - n or self.length

    def right(self, folder):
        """The pieces that are right in FOLDER."""
        right, piece, h, is_open = set(), 0, hashlib.sha1(), False
        for chunk, is_end in self._chunks(folder):
            h.update(chunk)
            is_open = not is_end
            if is_end:
                right |= self._verdict(piece, h)
                piece, h = piece + 1, hashlib.sha1()
        return right | self._verdict(piece, h) if is_open else right

    def _verdict(self, piece, h):
        want = self.hashes[20 * piece:20 * piece + 20]
        return {piece} if h.digest() == want else set()


def committed_pieces(state, scratch, torrent):
    """The have-bits of TORRENT in a state that was killed. Of a copy, so that
    the owner's next start recovers by itself."""
    shutil.rmtree(scratch, ignore_errors=True)
    os.mkdir(scratch)
    for name in ("state.db", "state.db-wal"):
        if os.path.exists(os.path.join(state, name)):
            shutil.copy(os.path.join(state, name), scratch)
    if not os.path.exists(scratch + "/state.db"):
        return set()
    db = sqlite3.connect(scratch + "/state.db")
    try:
        check(db.execute("PRAGMA integrity_check").fetchone()[0] == "ok",
              "the database is whole")
        if not db.execute("SELECT 1 FROM sqlite_schema"
                          " WHERE name = 'torrent'").fetchone():
            return set()
        row = db.execute(
            "SELECT t.id, h.bits FROM torrent t JOIN have h ON h.id = t.id"
            " WHERE t.infohash = ?", (bytes.fromhex(torrent.hash),)).fetchone()
    finally:
        db.close()
    if not row:
        return set()
    bits, crc = row[1][:-4], row[1][-4:]
    salt = b"b" + row[0].to_bytes(8, "big")
    check(zlib.crc32(salt + bits) == int.from_bytes(crc, "big"),
          "the bits are as they were put")
    return {i for i in range(torrent.num_pieces)
            if bits[i // 8] & 0x80 >> i % 8}


class Ledger:
    """What was durable when, against what the seeder had to send."""

    def __init__(self, seeder):
        self.seeder, self.at = seeder, 0
        self.durable, self.sent, self.again = set(), 0, 0
        self.at_rest, self.was_durable = set(), False

    def close_round(self, durable, at_rest):
        """After a kill: DURABLE pieces were committed, those AT_REST are right
        in the files. What was sent in this round was none that was committed
        before it began."""
        sent, self.at = self.seeder.sent(self.at)
        self.sent += len(sent)
        twice = sorted(set(sent) & self.durable)
        check(not twice, f"committed pieces were fetched again: {twice[:10]}")
        self.again += len([p for p in sent if p in self.at_rest])
        lost = sorted(self.durable - durable)
        check(not lost, f"committed pieces are not any more: {lost[:10]}")
        wrong = sorted(durable - at_rest)
        check(not wrong, f"committed, but not in the file: {wrong[:10]}")
        self.durable, self.at_rest = durable, at_rest
        self.was_durable = self.was_durable or len(durable) > 10
