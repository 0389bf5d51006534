#!/usr/bin/python3
"""Goal: weirctl alone: make, info, check, get and seed."""
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from clients import PY, leech_libtorrent, need_libtorrent, wait_seeding
from harness import HOSTS, LIB, case, check, main, need, same, until
from stubpeer import StubPeer
from torrent import (MIB, Torrent, bdecode, random_file, random_tree, sha256)
from weir import WEIRCTL, weirctl


def info(box, source):
    return json.loads(weirctl(box, "info", source, "--json").stdout)


def start_seed(box, t, folder=None, *more):
    port = box.port()
    p = box.spawn([WEIRCTL, "seed", t.path, "--data", folder or t.parent,
                   "--port", port, "-o", f"state={box.path('seed.state')}",
                   *more], "weirctl-seed")
    wait_seeding(p, HOSTS[0], port, t)
    return p, f"{HOSTS[0]}:{port}"


@case("make: other people's tools agree on every byte")
def make(box):
    path = random_file(box.path("src/file.bin"), 5 * MIB + 77)
    tree = random_tree(box.path("src/tree"), 100)
    for src in (path, tree):
        out = box.path("made.torrent")
        weirctl(box, "make", src, "-o", out, "--v1", "--piece-length",
                "65536", "--announce", "http://10.9.0.1:1/announce",
                "--announce", "udp://10.9.0.1:1/announce")
        ours = Torrent(src, box.path("ours.torrent"), 65536)
        with open(out, "rb") as f:
            top = bdecode(f.read())
        with open(ours.path, "rb") as f:
            want = bdecode(f.read())[b"info"]
        for key in (b"name", b"piece length"):
            same(top[b"info"][key], want[key], key)
        same(top[b"announce"], b"http://10.9.0.1:1/announce", "tracker")
        if src == path:
            same(top[b"info"][b"pieces"], want[b"pieces"], "pieces")
        need("transmission-show")
        shown = box.run(["transmission-show", out]).stdout
        check(info(box, out)["infohash_v1"] in shown, "the infohash")
        weirctl(box, "check", out, "--data", os.path.dirname(src))


@case("make twice gives the same infohash")
def deterministic(box):
    tree = random_tree(box.path("src/tree"), 50)
    hashes = set()
    for name in ("a", "b"):
        out = box.path(name + ".torrent")
        weirctl(box, "make", tree, "-o", out, "--v1")
        hashes.add(info(box, out)["infohash_v1"])
    same(len(hashes), 1, "infohashes")


@case("make leaves nothing behind when it fails")
def make_fails(box):
    out = box.path("x.torrent")
    weirctl(box, "make", box.path("none"), "-o", out, "--v1", status=1)
    check(not os.path.exists(out), "no half-written torrent")


@case("info --json has all keys, of v1, v2 and hybrid torrents and magnets")
def info_json(box):
    need_libtorrent()
    tree = random_tree(box.path("src/tree"), 20)
    for kind in ("v1", "v2", "hybrid"):
        out = box.path(kind + ".torrent")
        box.run([PY, LIB + "/lt.py", "make", tree, out, "65536", kind])
        d = info(box, out)
        for key in ("name", "infohash_v1", "infohash_v2", "piece_length",
                    "private", "files", "trackers", "webseeds"):
            check(key in d, f"{key} of {kind}")
        same(d["name"], "tree", "name")
        same(bool(d["infohash_v1"]), kind != "v2", f"v1 hash of {kind}")
        same(bool(d["infohash_v2"]), kind != "v1", f"v2 hash of {kind}")
        same(sum(f["length"] for f in d["files"]),
             sum(os.path.getsize(os.path.join(r, f))
                 for r, _, fs in os.walk(tree) for f in fs), "length")
    d = info(box, "magnet:?xt=urn:btih:" + "ab" * 20 + "&dn=x&tr=http://t/a")
    same(d["infohash_v1"], "ab" * 20, "of a magnet")
    same(d["trackers"], ["http://t/a"], "trackers of a magnet")
    got = weirctl(box, "info", box.path("v1.torrent")).stdout
    check("tree" in got and "65536" in got or "64" in got, "text for people")


@case("check tells good data from bad, and what is bad")
def check_data(box):
    path = random_file(box.path("src/file.bin"), 2 * MIB)
    t = Torrent(path, box.path("t.torrent"), 65536)
    weirctl(box, "check", t.path, "--data", box.path("src"))
    with open(path, "r+b") as f:
        f.seek(MIB)
        f.write(b"x")
    got = weirctl(box, "check", t.path, "--data", box.path("src"), status=1)
    check(re.search(r"file\.bin|piece|%", got.stdout + got.stderr), "details")
    os.unlink(path)
    weirctl(box, "check", t.path, "--data", box.path("src"), status=1)


def got_from(box, source, t, *peers, extra=()):
    got = box.mkdir("got")
    options = [f"state={box.path('get.state')}", f"port={box.port()}",
               *(f"peer={p}" for p in peers), *extra]
    p = weirctl(box, "get", source, "--data", got, "-o", ",".join(options))
    box.run(["diff", "-r", t.data, os.path.join(got, t.name)])
    return p


@case("get from weirctl seed, by address: a file and a tree")
def get_file(box):
    t = Torrent(random_file(box.path("src/f.bin"), 16 * MIB + 5),
                box.path("t.torrent"))
    _, at = start_seed(box, t)
    got_from(box, t.path, t, at)


@case("get of a tree with empty files and folders")
def get_tree(box):
    t = Torrent(random_tree(box.path("src/tree"), 200), box.path("t.torrent"))
    _, at = start_seed(box, t)
    got_from(box, t.path, t, at)


@case("get of a magnet: metadata from the peer")
def get_magnet(box):
    t = Torrent(random_file(box.path("src/f.bin"), 4 * MIB),
                box.path("t.torrent"))
    _, at = start_seed(box, t)
    got_from(box, t.magnet(), t, at)


@case("get goes on where it was stopped, and keeps what is right")
def get_again(box):
    t = Torrent(random_file(box.path("src/f.bin"), 8 * MIB),
                box.path("t.torrent"))
    peer = StubPeer(box, t, gives=16)
    got = box.mkdir("got")
    argv = [WEIRCTL, "get", t.path, "--data", got, "-o",
            f"state={box.path('get.state')},peer={peer.at},"
            f"port={box.port()}"]
    p = box.spawn(argv, "weirctl-get")
    until(lambda: peer.sent >= 16 * t.piece_length, 20, "half of it came")
    p.signal(signal.SIGINT)
    check(p.wait(6) != 0, "exit status of an interrupted get")
    peer.give()
    before = peer.sent
    box.run(argv)
    check(peer.sent - before < 5 * MIB, f"{peer.sent - before} bytes again")
    same(sha256(got + "/f.bin"), sha256(t.data), "content")


@case("get of what is already there checks it and ends without a peer")
def get_complete(box):
    t = Torrent(random_file(box.path("src/f.bin"), MIB), box.path("t.torrent"))
    weirctl(box, "get", t.path, "--data", box.path("src"), "-o",
            f"state={box.path('g')},port={box.port()}", seconds=10)


@case("get shows progress, rate and peers on a terminal")
def progress(box):
    need("script")
    t = Torrent(random_file(box.path("src/f.bin"), 8 * MIB),
                box.path("t.torrent"))
    peer = StubPeer(box, t)
    got = box.mkdir("got")
    out = box.run(["script", "-qec", f"{WEIRCTL} get {t.path} --data {got} "
                   f"-o peer={peer.at},state={box.path('g')},"
                   f"port={box.port()}", "/dev/null"]).stdout
    check("%" in out, f"a percentage: {out!r:.300}")
    check(re.search(r"\dB/s|\d [KM]?i?B/s", out), f"a rate: {out!r:.300}")


@case("seed refuses data that is wrong")
def seed_wrong(box):
    path = random_file(box.path("src/f.bin"), MIB)
    t = Torrent(path, box.path("t.torrent"))
    with open(path, "r+b") as f:
        f.write(b"wrong")
    weirctl(box, "seed", t.path, "--data", box.path("src"), "--port",
            box.port(), "-o", f"state={box.path('s')}", seconds=10, status=1)


@case("seed never writes to the data")
def seed_reads(box):
    t = Torrent(random_tree(box.path("src/tree"), 50), box.path("t.torrent"))
    box.run(["sh", "-c", f"chmod -R a-w {t.parent}"])

    def stamps():
        return box.run(["find", t.parent, "-printf",
                        "%p %s %T@ %C@ %i\n"]).stdout
    before = stamps()
    p, at = start_seed(box, t)
    got_from(box, t.path, t, at)
    p.signal(signal.SIGTERM)
    same(p.wait(6), 0, "exit status of seed")
    same(stamps(), before, "the data")


@case("seed --bind listens on that address alone")
def seed_bind(box):
    t = Torrent(random_file(box.path("src/f.bin"), MIB), box.path("t.torrent"))
    port = box.port()
    p = box.spawn([WEIRCTL, "seed", t.path, "--data", t.parent, "--port", port,
                   "--bind", HOSTS[1], "-o", f"state={box.path('s')}"])
    wait_seeding(p, HOSTS[1], port, t)
    listening = subprocess.run(["ss", "-Htln", f"sport = :{port}"],
                               capture_output=True, text=True).stdout
    same([line.split()[3] for line in listening.splitlines()],
         [f"{HOSTS[1]}:{port}"], "listening sockets")


@case("libtorrent completes from seed, with four others beside it", limit=90)
def seed_many(box):
    t = Torrent(random_file(box.path("src/f.bin"), 32 * MIB),
                box.path("t.torrent"))
    _, at = start_seed(box, t)
    leechers = [leech_libtorrent(box, t.path, box.mkdir(f"got{i}"), [at])
                for i in range(5)]
    for i, p in enumerate(leechers):
        same(p.wait(60), 0, "exit status of a leecher")
        same(sha256(box.path(f"got{i}/f.bin")), sha256(t.data), "content")


main()
