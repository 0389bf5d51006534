#!/usr/bin/python3
"""Goal: what `weirctl make` makes is what others make of the same files, bit for
bit where they agree with each other; and others fetch it from us, and we from
them.

40 random trees, 200 with WEIRFS_TEST_LONG. What is compared:
- libtorrent: the infohash, of v1, v2 and hybrid, and the piece layers. In v1 it
  lists files as a folder happens to give them: it is told our order.
- mktorrent: pieces, piece length and list of files of v1. It knows no "attr".
- transmission-create: pieces of v1. It leaves out empty files (which changes no
  piece) and sorts as if all letters were small and bytes above 127 negative: so
  only trees of small ASCII names are compared.
"""
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from clients import (PY, STARTERS, Opentracker, Seeder, leech_libtorrent,
                     leech_transmission, need_libtorrent, wait_seeding)
from harness import (HOSTS, LIB, LONG, Failed, Skip, case, check, main, need,
                     same, until)
from torrent import bdecode, bencode, random_file, sha256
from weir import WEIRCTL, Mount, weirctl

TREES, BATCH, LIMIT = 200 if LONG else 40, 10, 240
KINDS = ("v1", "v2", "hybrid")
PLAIN = ["a", "a.b", "a-b", "a b", "ab", "a0", "b", "b.txt", "c+d", "aa", "z"]
NAMES = PLAIN + ["A", "B", "Ab", "aB", "ä", "e\u0301", "é", "größe 1", "日本",
                 "!", "~", "%41", "[x]", "x" * 200, "_", "CVS2", "Core"]


def run(argv):
    r = subprocess.run([str(a) for a in argv], capture_output=True, text=True,
                       timeout=120, stdin=subprocess.DEVNULL)
    if r.returncode:
        raise Failed(f"{argv}: {r.stderr[-300:]}")
    return r.stderr


def decoded(path):
    with open(path, "rb") as f:
        return bdecode(f.read())


def ours(src, out, kind, length):
    run([WEIRCTL, "make", src, "--" + kind, "-q", "--piece-length", length,
         "-o", out])
    return decoded(out)


def libtorrents(src, out, kind, length):
    run([PY, LIB + "/lt.py", "make", src, out, length, kind])
    return decoded(out)


def sizes(length):
    return [0, 1, 16383, 16384, 16385, length - 1, length, length + 1,
            3 * length, 3 * length + 7, 5 * length - 1]


def fill(rnd, path, names, length, depth=0):
    os.makedirs(path)
    for name in rnd.sample(names, rnd.randint(1, min(6, len(names)))):
        at = f"{path}/{name}"
        if depth < 5 and rnd.random() < 0.4:
            fill(rnd, at, names, length, depth + 1)
            continue
        with open(at, "wb") as f:
            f.write(rnd.randbytes(rnd.choice(sizes(length))))
        os.chmod(at, rnd.choice((0o644, 0o755, 0o600, 0o744, 0o655)))


def random_source(rnd, path, number, length):
    """A file, a tree that transmission sorts as we do, or any tree."""
    if number % 10 == 0:
        random_file(path, rnd.choice(sizes(length)[1:]), number)
        os.chmod(path, rnd.choice((0o644, 0o755)))
        return "file"
    kind = "plain" if number % 3 == 0 else "any"
    fill(rnd, path, PLAIN if kind == "plain" else NAMES, length)
    random_file(path + "/z-last", rnd.choice(sizes(length)[1:]), number)
    return kind


def compare(box, number):
    rnd = random.Random(number)
    length = 1 << rnd.choice((15, 16, 17))  # mktorrent has no less
    where = box.mkdir(f"tree{number}")
    src = f"{where}/{rnd.choice(NAMES)}"
    kind = random_source(rnd, src, number, length)
    about = f"tree {number} ({kind}), pieces of {length}: "
    made = {k: ours(src, f"{where}/{k}.torrent", k, length) for k in KINDS}
    for k in KINDS:
        want = libtorrents(src, f"{where}/lt-{k}.torrent", k, length)
        for part in (b"info", b"piece layers"):
            same(bencode(made[k].get(part, b"")), bencode(want.get(part, b"")),
                 f"{about}{part} of {k}, libtorrent")
    v1 = made["v1"][b"info"]
    if shutil.which("mktorrent"):
        out = f"{where}/mktorrent.torrent"
        run(["mktorrent", "-l", length.bit_length() - 1, "-a", "http://x/",
             "-o", out, src])
        want = decoded(out)[b"info"]
        for f in v1.get(b"files", [v1]):
            f.pop(b"attr", None)
        same(bencode(v1), bencode(want), about + "mktorrent")
    if kind != "any" and shutil.which("transmission-create"):
        out = f"{where}/transmission.torrent"
        run(["transmission-create", "-s", length >> 10, "-o", out, src])
        want = decoded(out)[b"info"]
        same(want[b"piece length"], length, about + "transmission's length")
        same(v1[b"pieces"], want[b"pieces"], about + "transmission")
    shutil.rmtree(where)


for first in range(0, TREES, BATCH):
    @case(f"random trees {first} to {first + BATCH - 1} are others' torrents",
          LIMIT)
    def trees(box, first=first):
        need_libtorrent()
        with ThreadPoolExecutor(4) as pool:  # some of them sleep a lot
            list(pool.map(lambda n: compare(box, n),
                          range(first, first + BATCH)))


@case("40 folders deep", LIMIT)
def deep(box):
    need_libtorrent()
    src = box.path("src/top")
    random_file(src + "/d" * 40 + "/f", 40000)
    random_file(src + "/d" * 20 + "/e", 40000)
    for kind in KINDS:
        same(bencode(ours(src, box.path("o"), kind, 16384)[b"info"]),
             bencode(libtorrents(src, box.path("t"), kind, 16384)[b"info"]),
             kind)


@case("what is left out leaves no trace: links, special files, empty folders, "
      "dot-files, CVS and the like", LIMIT)
def left_out(box):
    need_libtorrent()
    src, clean = box.path("a/tree"), box.path("b/tree")
    for rel in ("core.c", "d/e/f", "z"):
        random_file(f"{clean}/{rel}", 30000, len(rel))
    shutil.copytree(clean, src)
    os.symlink("z", src + "/link")
    os.symlink("d", src + "/d/link to folder")
    os.symlink("/nowhere", src + "/dangling")
    os.mkfifo(src + "/d/pipe")
    os.makedirs(src + "/empty/deeper")
    for rel in (".hidden", ".git/config", "d/CVS/Root", "core",
                "d/Thumbs.db", "d/e/desktop.ini"):
        random_file(f"{src}/{rel}", 1000)
    for kind in KINDS:
        got = ours(src, box.path("o"), kind, 16384)[b"info"]
        want = libtorrents(clean, box.path("t"), kind, 16384)[b"info"]
        same(bencode(got), bencode(want), kind)
    said = run([WEIRCTL, "make", src, "-q", "-o", box.path("o")])
    for name in ("link", "dangling", "d/pipe", ".git", "d/CVS", "core"):
        check(f" {name} " in said, f"nothing said of {name}: {said}")


@case("the same tree elsewhere, made anew in another order: the same infohash",
      LIMIT)
def deterministic(box):
    names = [f"{a}/{b}" for a in "bca" for b in ("y", "x", "z.1")]
    hashes = set()
    for turn, order in enumerate((names, names[::-1], sorted(names))):
        src = box.path(f"{turn}/tree")
        for rel in order:
            random_file(f"{src}/{rel}", 20000 + len(rel), names.index(rel))
            os.utime(f"{src}/{rel}", (turn, turn))
        for threads in (1, 3):
            weirctl(box, "make", src, "-q", "-o", box.path("o"), "--threads",
                    threads, "--comment", str(turn))
            hashes.add(bencode(decoded(box.path("o"))[b"info"]))
    same(len(hashes), 1, "different info dicts")


# --- given and taken

class Made:
    """A torrent by `weirctl make`, as torrent.Torrent has it."""

    def __init__(self, box, data, *args):
        self.data, self.path = data, box.path("made.torrent")
        self.parent, self.name = os.path.split(data)
        facts = weirctl(box, "make", data, "-q", "--json", "--piece-length",
                        "32k", "-o", self.path, *args).stdout
        self.num_pieces = len(decoded(self.path)[b"info"][b"pieces"]) // 20
        self.hash = facts.split('"infohash_v1": "')[1][:40]

    def is_in(self, folder):
        """Every file is there and right; pads may be, too."""
        for root, _, names in os.walk(self.data):
            for name in names:
                want = os.path.join(root, name)
                got = os.path.join(folder, self.name,
                                   os.path.relpath(want, self.data))
                if not os.path.isfile(got) or sha256(got) != sha256(want):
                    return False
        return True


def content(box):
    src = box.path("src/tree")
    for n, size in enumerate((1, 16384, 32768, 32769, 100000, 700001, 5)):
        random_file(f"{src}/d{n % 3}/f{n}.bin", size, n + 1)
    return src


def seeded(box, kind):
    """A torrent of KIND at a tracker, given by weirctl seed."""
    t = Made(box, content(box), "--" + kind)
    tracker = Opentracker(box, t)
    t = Made(box, t.data, "--" + kind, "--announce", tracker.http)
    port = box.port()
    box.spawn([WEIRCTL, "seed", t.path, "--data", t.parent, "--port", port,
               "-o", f"state={box.path('seed.state')}"], "weirctl-seed")
    tracker.wait_seeds(t)
    return t


def libtorrent_gets(box, t, got):
    leech_libtorrent(box, t.path, got)


def transmission_gets(box, t, got):
    need("transmission-show")
    if subprocess.run(["transmission-show", t.path],
                      capture_output=True).returncode:
        raise Skip("this transmission reads no hybrid, before 4.0 none does")
    leech_transmission(box, t.path, got)


def aria2_gets(box, t, got):
    need("aria2c")
    said = box.run(["aria2c", "-S", t.path]).stdout
    if f"Info Hash: {t.hash}" not in said:
        raise Skip("this aria2 gets the infohash of a hybrid wrong: it drops "
                   "the empty keys of a file tree")
    STARTERS["aria2"](box, t.path, got, box.port(), None)


for gets in (libtorrent_gets, transmission_gets, aria2_gets):
    for kind in ("v1", "hybrid"):
        @case(f"{gets.__name__.removesuffix('_gets')} fetches a {kind} torrent "
              "from weirctl seed", LIMIT)
        def fetched(box, gets=gets, kind=kind):
            t, got = seeded(box, kind), box.mkdir("got")
            gets(box, t, got)
            until(lambda: t.is_in(got), 90, "complete")


@case("weirctl get and a mount fetch a hybrid from libtorrent", LIMIT)
def from_libtorrent(box):
    t = Made(box, content(box))
    seeder = Seeder(box, "libtorrent", t)
    got = box.mkdir("got")
    weirctl(box, "get", t.path, "--data", got, "-o",
            f"peer={seeder.at},state={box.path('g')},port={box.port()}",
            seconds=90)
    box.run(["diff", "-r", t.data, got + "/tree"])  # and no pad
    m = Mount(box, t.path, options=[f"peer={seeder.at}"])
    box.run(["diff", "-r", t.data, m.file("tree")], seconds=90)


@case("weirctl get fetches a hybrid of one file from weirctl seed", LIMIT)
def alone(box):
    src = random_file(box.path("src/film.bin"), 500001)
    t = Made(box, src)
    port = box.port()
    p = box.spawn([WEIRCTL, "seed", t.path, "--data", t.parent, "--port", port,
                   "-o", f"state={box.path('s')}"], "weirctl-seed")
    wait_seeding(p, HOSTS[0], port, t)
    got = box.mkdir("got")
    weirctl(box, "get", t.path, "--data", got, "-o",
            f"peer={HOSTS[0]}:{port},state={box.path('g')},port={box.port()}",
            seconds=90)
    same(sha256(got + "/film.bin"), sha256(src), "content")


main()
