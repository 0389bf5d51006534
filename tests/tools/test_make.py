#!/usr/bin/python3
"""Goal: `weirctl make` makes the torrents that mktorrent and libtorrent make
of the same files, and leaves nothing behind when it cannot."""
import hashlib
import os
import pty
import select
import signal
import time

from weirctl import (PROGRAM, REFUSED, STOPPED, USAGE, facts, libtorrent,
                     lt_torrent, read_torrent, small_tree, tree_files, weirctl)
from harness import case, check, main, need, same, until
from torrent import bencode, random_file, random_tree, sha256

TREES = {
    "a small tree": lambda box: small_tree(box),
    "a file": lambda box: random_file(box.path("film.bin"), 3000001),
    "a file of whole pieces": lambda box: random_file(box.path("w"), 1 << 20),
    "a file of one byte": lambda box: random_file(box.path("one"), 1),
    "300 files in folders": lambda box: random_tree(box.path("many"), 300),
}


def make(box, src, *args, out="ours.torrent"):
    got = facts(box, "make", src, "--v1", "-q", "-o", box.path(out), *args)
    top, infohash = read_torrent(box.path(out))
    same(got["infohash_v1"], infohash, "infohash that is printed")
    return top, infohash


for what, build in TREES.items():
    @case(f"{what}: the infohash that mktorrent gives")
    def like_mktorrent(box, build=build):
        need("mktorrent")
        src = build(box)
        for power in (15, 18, 20):
            theirs = box.path(f"{power}.torrent")
            box.run(["mktorrent", "-l", power, "-a", "http://t.example/", "-o",
                     theirs, src])
            ours = make(box, src, "--piece-length", str(1 << power))
            want = read_torrent(theirs)
            same(ours[0][b"info"][b"pieces"], want[0][b"info"][b"pieces"],
                 f"pieces of 2^{power}")
            same(ours[1], want[1], f"infohash with 2^{power}")

    @case(f"{what}: the infohash that libtorrent gives")
    def like_libtorrent(box, build=build):
        libtorrent()
        src = build(box)
        for length in (16384, 1 << 18):
            theirs = lt_torrent(src, box.path(f"{length}.torrent"), length,
                                "v1")
            ours = make(box, src, "--piece-length", str(length))
            want = read_torrent(theirs)
            same(ours[0][b"info"][b"pieces"], want[0][b"info"][b"pieces"],
                 f"pieces of {length}")
            same(ours[1], want[1], f"infohash with {length}")


@case("the same with one thread and with many")
def threads(box):
    src = random_file(box.path("film.bin"), 20 * 2 ** 20 + 77)
    hashes = {make(box, src, "--threads", str(n))[1] for n in (1, 2, 7, 1000)}
    same(len(hashes), 1, "different infohashes")


@case("options reach the torrent; only some of them the infohash")
def options(box):
    src = small_tree(box)
    plain = make(box, src)
    top, infohash = make(box, src, "--announce", "http://a.example/x",
                         "--announce", "udp://b.example:80", "--comment", "é",
                         "--webseed", "http://w.example/ x", "--node",
                         "router.example:6881", "--no-date")
    same(infohash, plain[1], "infohash")
    same(top[b"announce"], b"http://a.example/x", "announce")
    same(top[b"announce-list"], [[b"http://a.example/x"],
                                 [b"udp://b.example:80"]], "announce-list")
    same(top[b"comment"], "é".encode(), "comment")
    same(top[b"url-list"], [b"http://w.example/%20x"], "url-list")
    same(top[b"nodes"], [[b"router.example", 6881]], "nodes")
    check(b"creation date" not in top, "a date")
    check(abs(plain[0][b"creation date"] - time.time()) < 100, "the date")
    check(plain[0][b"created by"].startswith(b"weirfs/"), "created by")
    top, infohash = make(box, src, "--private", "--name", "other",
                         "--piece-length", "64k")
    same(top[b"info"][b"private"], 1, "private")
    same(top[b"info"][b"name"], b"other", "name")
    same(top[b"info"][b"piece length"], 65536, "piece length")
    check(infohash != plain[1], "the same infohash")
    top, other = make(box, src, "--source", "S")
    same(top[b"info"][b"source"], b"S", "source")
    check(other not in (infohash, plain[1]), "the same infohash")


@case("--kenosis: trackers named after the infohash, before the others")
def kenosis(box):
    top, infohash = make(box, small_tree(box), "--kenosis", "Example.ORG:80",
                         "--announce", "http://a.example/x")
    names = [f"{infohash}{rank}.bt.example.org:80/announce"
             for rank in ("", "--r1", "--r2")]
    same([[u.decode() for u in tier] for tier in top[b"announce-list"]],
         [["http://" + names[0]], ["udp://" + names[0]],
          ["http://" + names[1], "udp://" + names[1]],
          ["http://" + names[2], "udp://" + names[2]],
          ["http://a.example/x"]], "tiers")
    same(top[b"announce"].decode(), "http://" + names[0], "announce")
    weirctl(box, "make", box.path("tree"), "--v2", "-q", "--kenosis", "x.y",
            "-o", box.path("2.torrent"))
    top, _ = read_torrent(box.path("2.torrent"))
    key = hashlib.sha256(bencode(top[b"info"])).hexdigest()[:40]
    same(top[b"announce"].decode(), f"http://{key}.bt.x.y:6969/announce", "v2")


@case("names, sizes and order are those of the files; links are left out")
def content(box):
    src = small_tree(box)
    os.symlink("a.bin", src + "/link")
    os.mkfifo(src + "/pipe")
    r = weirctl(box, "make", src, "--v1", "-q", "-o", box.path("t.torrent"))
    check("link is a symlink: left out" in r.stderr and
          "pipe is no plain file" in r.stderr, r.stderr)
    top, _ = read_torrent(box.path("t.torrent"))
    got = {b"/".join(f[b"path"]).decode(): f[b"length"]
           for f in top[b"info"][b"files"]}
    os.unlink(src + "/pipe")
    same(got, tree_files(src), "files")
    paths = [f[b"path"] for f in top[b"info"][b"files"]]
    same(paths, sorted(paths), "order")


@case("without a kind it is a hybrid")
def kinds(box):
    src = random_file(box.path("f"), 10)
    out = box.path("t.torrent")
    for args, keys in (((), (True, True)), (("--hybrid",), (True, True)),
                       (("--v1",), (True, False)), (("--v2",), (False, True))):
        weirctl(box, "make", src, *args, "-o", out)
        info = read_torrent(out)[0][b"info"]
        same((b"pieces" in info, b"file tree" in info), keys, f"{args}")


@case("to standard output, to NAME.torrent, over an older one")
def outputs(box):
    src = random_file(box.path("src/f"), 100000)
    where = box.mkdir("where")
    r = weirctl(box, "make", src, "--v1", "-q", "--no-date", "-o",
                box.path("t.torrent"))
    with open(box.path("out"), "wb") as f:
        box.spawn([PROGRAM, "make", src, "--v1", "-q", "--no-date", "-o", "-"],
                  stdout=f).wait(20)
    same(sha256(box.path("out")), sha256(box.path("t.torrent")), "bytes")
    weirctl(box, "make", src, "--v1", "-q", cwd=where)
    same(os.listdir(where), ["f.torrent"], "files made")
    os.chmod(where + "/f.torrent", 0o444)
    weirctl(box, "make", src, "--v1", "-q", cwd=where)
    same(os.listdir(where), ["f.torrent"], "files made")
    same(os.stat(where + "/f.torrent").st_mode & 0o777, 0o644, "mode")
    check(r.stdout, "nothing printed")


@case("errors say what to do and leave no file")
def errors(box):
    src, out = small_tree(box), box.path("out/t.torrent")
    box.mkdir("out")
    empty = box.mkdir("empty")
    for args, status, words in (
            ((box.path("nowhere"),), REFUSED, "No such file"),
            ((empty,), REFUSED, "nothing in it to hash"),
            (("/dev/null",), USAGE, "no plain file and no folder"),
            ((src, "--piece-length", "100000"), USAGE, "power of two"),
            ((src, "--piece-length", "x"), USAGE, "no number"),
            ((src, "--announce", "tracker"), USAGE, "http, https or udp"),
            ((src, "--name", "a/b"), USAGE, "one element"),
            ((src, "--kenosis", "http://x"), USAGE, "DOMAIN or DOMAIN:PORT"),
            ((src, "--node", "x"), USAGE, "HOST:PORT"),
            ((src, "--v1", "--v2"), USAGE, "one of --v1"),
            ((src, src), USAGE, "one SRC"),
            ((), USAGE, "one SRC"),
            ((src, "--nonsense"), USAGE, "nonsense")):
        r = weirctl(box, "make", *args, "-o", out, status=status)
        check(words in r.stderr, f"{args}: {r.stderr}")
    same(os.listdir(box.path("out")), [], "files left")
    r = weirctl(box, "make", src, "-o", box.path("no/t.torrent"),
                status=REFUSED)
    check("No such file" in r.stderr, r.stderr)
    inside = box.write("tree/old.torrent", b"old")
    r = weirctl(box, "make", src, "-o", inside, status=REFUSED)
    check("cannot hold itself" in r.stderr, r.stderr)
    same(open(inside, "rb").read(), b"old", "the older file")


def meddle_with(box, kind, how):
    """While a file is hashed that would take minutes. What is there at the end
    is small, so that it does not."""
    src, out = box.path("src/film"), box.mkdir("out")
    random_file(src, 1 << 20)
    os.truncate(src, 2 ** 33)
    p = box.spawn([PROGRAM, "make", src, kind, "-o", out + "/t.torrent"])
    until(lambda: cpu_ticks(p) > 5, 20, "it hashes")
    how(src)
    same(p.wait(120), REFUSED, "exit status")
    check("film: changed while it was hashed" in p.log(), p.log()[-300:])
    same(os.listdir(out), [], "files left")


def rewrite(path):
    with open(path, "r+b") as f:
        f.write(b"other")


for how_name, how in (("shrinks", lambda p: os.truncate(p, 1 << 20)),
                      ("grows", lambda p: os.truncate(p, 2 ** 33 + 1)),
                      ("is rewritten", rewrite)):
    @case(f"a file that {how_name} while it is hashed is an error", 150)
    def changed(box, how=how):
        meddle_with(box, "--v1" if how is rewrite else "--hybrid", how)


def cpu_ticks(p):
    with open(f"/proc/{p.pid}/stat", encoding="utf-8") as f:
        return int(f.read().rsplit(")")[1].split()[11])


@case("^C: exit status 130 and nothing left behind")
def stopped(box):
    out = box.mkdir("out")
    sparse = box.path("sparse")
    with open(sparse, "wb") as f:
        f.truncate(2 ** 36)  # minutes of zeros
    p = box.spawn([PROGRAM, "make", sparse, "--v1", "-o", out + "/t.torrent"])
    until(lambda: cpu_ticks(p) > 5, 20, "it hashes")
    p.signal(signal.SIGINT)
    same(p.wait(5), STOPPED, "exit status")
    same(os.listdir(out), [], "files left")


@case("progress: a bar on a terminal, nothing with -q")
def progress(box):
    src = box.path("sparse")
    with open(src, "wb") as f:
        f.truncate(2 ** 30)
    for args, wanted in (((), True), (("-q",), False)):
        main_end, child_end = pty.openpty()
        p = box.spawn([PROGRAM, "make", src, "--v1", *args, "-o",
                       box.path("t")], stdout=child_end, stderr=child_end)
        os.close(child_end)
        seen = b""
        while select.select([main_end], [], [], 60)[0]:
            try:
                seen += os.read(main_end, 4096)
            except OSError:
                break
        same(p.wait(20), 0, "exit status")
        os.close(main_end)
        check((b"hashing" in seen and b"ETA" in seen and b"[=" in seen)
              == wanted, seen[-300:])


main()
