#!/usr/bin/python3
"""Goal: `weirctl info` tells the truth about torrents of other programs, and
about a torrent that it refuses, which rule it breaks."""
import os

from weirctl import (REFUSED, bencode, facts, libtorrent, lt_torrent,
                     read_torrent, small_tree, tree_files, weirctl)
from harness import case, check, main, need, same
from torrent import random_file

HEX = "0123456789abcdef0123456789abcdef01234567"


def check_facts(got, path, want_files, name="tree"):
    top, infohash = read_torrent(path)
    same(got["name"], name, "name")
    same(got["infohash_v1"], infohash, "infohash")
    same(got["piece_length"], top[b"info"][b"piece length"], "piece length")
    same({f["path"]: f["length"] for f in got["files"]}, want_files, "files")


@case("a folder made by mktorrent")
def mktorrent_folder(box):
    need("mktorrent")
    tree, out = small_tree(box), box.path("t.torrent")
    box.run(["mktorrent", "-p", "-l", "16", "-a", "http://t.example/a,"
             "udp://u.example:80/a", "-a", "https://v.example/", "-w",
             "http://w.example/d", "-c", "words", "-o", out, tree])
    got = facts(box, "info", out)
    check_facts(got, out, tree_files(tree))
    same(got["infohash_v2"], None, "infohash v2")
    same(got["private"], True, "private")
    same(got["tiers"], [["http://t.example/a", "udp://u.example:80/a"],
                        ["https://v.example/"]], "tiers")
    same(got["trackers"], sum(got["tiers"], []), "trackers")
    same(got["webseeds"], ["http://w.example/d/"], "web seeds")
    same(got["comment"], "words", "comment")
    check(got["magnet"].startswith("magnet:?xt=urn:btih:" +
                                   got["infohash_v1"]), got["magnet"])


@case("a file and a folder made by transmission-create")
def transmission(box):
    need("transmission-create")
    tree, out = small_tree(box), box.path("t.torrent")
    box.run(["transmission-create", "-s", "32", "-t", "http://t.example/a",
             "-o", out, tree])
    got = facts(box, "info", out)
    # transmission leaves dot-files and empty files out
    want = {p: n for p, n in tree_files(tree).items() if n and p[0] != "."}
    have = {f["path"]: f["length"] for f in got["files"] if f["length"]}
    same(have, {p: n for p, n in want.items() if p in have}, "files")
    same(got["infohash_v1"], read_torrent(out)[1], "infohash")
    same(got["piece_length"], 32768, "piece length")
    out2 = box.path("f.torrent")
    box.run(["transmission-create", "-o", out2, tree + "/a.bin"])
    check_facts(facts(box, "info", out2), out2, {"a.bin": 300000}, "a.bin")


@case("v1, v2 and hybrid made by libtorrent")
def by_libtorrent(box):
    lt = libtorrent()
    tree = small_tree(box)
    for kind in ("v1", "v2", "hybrid"):
        out = lt_torrent(tree, box.path(kind + ".torrent"), 65536, kind,
                         ["http://t.example/a"])
        got, want = facts(box, "info", out), lt.torrent_info(out)
        same(got["infohash_v1"], None if kind == "v2"
             else str(want.info_hashes().v1), kind + " infohash v1")
        same(got["infohash_v2"], None if kind == "v1"
             else str(want.info_hashes().v2), kind + " infohash v2")
        same(got["piece_length"], 65536, "piece length")
        same(got["pieces"], want.num_pieces(), kind + " pieces")
        same({f["path"]: f["length"] for f in got["files"]}, tree_files(tree),
             kind + " files")
        same(got["trackers"], ["http://t.example/a"], "trackers")


@case("a v2 file, whose layers hash to its root")
def v2_file(box):
    libtorrent()
    data = random_file(box.path("film.bin"), 5 * 2 ** 20 + 12345)
    out = lt_torrent(data, box.path("t.torrent"), 1 << 16, "v2")
    got = facts(box, "info", out)
    same(got["files"], [{"path": "film.bin", "length": 5 * 2 ** 20 + 12345}],
         "files")
    same(got["folder"], False, "folder")
    raw = bytearray(open(out, "rb").read())
    raw[raw.index(b"12:piece layers") + 100] ^= 1  # in a hash of the layer
    bad = box.write("bad.torrent", bytes(raw))
    err = weirctl(box, "info", bad, status=REFUSED).stderr
    check("piece layer" in err, err)


@case("for people: sizes, links, nothing that moves the cursor")
def words(box):
    data = random_file(box.path("film\x1b.bin"), 100000)
    torrent = {"announce": "http://t.example/\x1b[2J", "comment": "a\x1b[2Jb\n"
               "c", "created by": "\x9b\xff".encode("latin-1"),
               "info": {"length": 100000, "name": "film\x1b.bin",
                        "piece length": 131072, "pieces": b"x" * 20}}
    out = weirctl(box, "info", box.write("t.torrent", bencode(torrent))).stdout
    check("film_.bin" in out and "97.7 KiB (100000 bytes) in 1 file" in out,
          out)
    check(all(c.isprintable() or c == "\n" for c in out), repr(out))
    check(os.path.exists(data), "the data")


@case("standard input, and bytes after the end")
def stdin(box):
    torrent = bencode({"info": {"length": 1, "name": "a", "pieces": b"x" * 20,
                                "piece length": 16384}})
    path = box.write("t.torrent", torrent + b"\ngarbage")
    with open(path, "rb") as f:
        same(facts(box, "info", "-", stdin=f)["name"], "a", "name")


def info_of(files, name="temp", pieces=1, **more):
    return {"info": {"files": files, "name": name, "piece length": 16384,
                     "pieces": b"x" * 20 * pieces, **more}}


def file_of(*path, **more):
    return {"length": 5, "path": list(path), **more}


NAMES = [  # path elements, what becomes of them
    ([["/", "/", "bar"]], ["_/_/bar"]),
    ([["abc/../../def"]], ["abc....def"]),
    ([["..", "bar"]], ["bar"]),
    ([["foo/../../../bar"]], ["foo......bar"]),
    ([["/foobar"]], ["foobar"]),
    ([["."], ["\\est2"]], ["_", "est2"]),
    ([["foo", "x"], ["foo"]], ["foo/x", "foo.1"]),
    ([["bar.txt"], ["bar.txt"]], ["bar.txt", "bar.1.txt"]),
    ([[b"\x82/estMB"]], ["_estMB"]),
    ([["a" * 300 + ".mkv"]], ["a" * 236 + ".mkv"]),
]


@case("hostile names become safe ones")
def names(box):
    for i, (paths, want) in enumerate(NAMES):
        path = box.write(f"{i}.torrent",
                         bencode(info_of([file_of(*p) for p in paths])))
        got = facts(box, "info", path)
        same([f["path"] for f in got["files"]], want, paths)
    for name, want in (("temp/../../abc", "temp....abc"), ("..", None)):
        path = box.write("n.torrent", bencode(info_of([file_of("f")], name)))
        got = facts(box, "info", path)
        same(got["name"], want or got["infohash_v1"], "name")


@case("pads are not shown, links stay inside")
def pads_and_links(box):
    files = [file_of("a"), {"length": 2124, "attr": "p"}, file_of("b"),
             {"attr": "l", "path": ["d", "l"], "symlink path": ["a"]},
             {"attr": "l", "path": ["m"], "symlink path": ["..", "etc"]}]
    got = facts(box, "info", box.write("t.torrent", bencode(info_of(files))))
    same(got["files"], [{"path": "a", "length": 5}, {"path": "b", "length": 5},
                        {"path": "d/l", "length": 0, "symlink": "../a"},
                        {"path": "m", "length": 0}], "files")
    same(got["length"], 10, "length")


def single(**more):
    return {"info": {"length": 1, "name": "a", "piece length": 16384,
                     "pieces": b"x" * 20, **more}}


REFUSALS = [  # what, the rule in words
    (b"", "not a torrent"),
    (b"<html>", "not a torrent"),
    (single(**{"piece length": 0}), "piece length is 0: must be at least 1"),
    (single(**{"piece length": -3}), "piece length is -3"),
    (single(pieces=b"x" * 24), "multiple of 20"),
    (single(pieces=b"x" * 40), "2 hashes: the files make 1 pieces"),
    (single(name=3), '"name" is not a string'),
    (single(name="a\0b"), "zero byte"),
    (single(length=-1), "length is -1"),
    (single(length=0), "no file that is not empty"),
    (info_of([]), "no file that is not empty"),
    (info_of([{"length": 5}]), '"path" is missing'),
    (info_of([file_of("a")] * 118), "more than 100 files have the name a"),
    (info_of([file_of(*["d"] * 102)]), "more than 100 folders"),
    ({"info": "x"}, "not a dictionary"),
    (b"l" * 200 + b"e" * 200, "more than 100 levels"),
    (b"d4:infod6:lengthi07eee", "not bencoded"),
]


@case("a refused torrent: exit status 1 and the rule")
def refused(box):
    for i, (torrent, rule) in enumerate(REFUSALS):
        raw = torrent if isinstance(torrent, bytes) else bencode(torrent)
        path = box.write(f"{i}.torrent", raw)
        err = weirctl(box, "info", path, status=REFUSED).stderr
        check(rule in err and path in err, f"{rule!r} not in {err!r}")
        got = facts(box, "info", path, status=REFUSED)
        check(rule in got["error"], got)
    for path, rule in ((box.path("nowhere"), "No such file"),
                       (box.dir, "Is a directory")):
        err = weirctl(box, "info", path, status=REFUSED).stderr
        check(rule in err, err)


@case("magnet links and bare infohashes")
def magnets(box):
    got = facts(box, "info", "magnet:?xt=urn:btih:" + HEX + "&dn=a%20b&tr="
                "http%3A%2F%2Ft.example%2Fa&ws=http://w.example/&x.pe="
                "10.0.0.1:80&so=1,3-5")
    same(got["name"], "a b", "name")
    same(got["infohash_v1"], HEX, "infohash")
    same(got["trackers"], ["http://t.example/a"], "trackers")
    same(got["webseeds"], ["http://w.example/"], "web seeds")
    same(got["peers"], ["10.0.0.1:80"], "peers")
    same(got["select"], [[1, 1], [3, 5]], "selection")
    same(got["files"], [], "files")
    same(facts(box, "info", HEX)["infohash_v1"], HEX, "infohash")
    same(facts(box, "info", HEX.upper())["infohash_v1"], HEX, "infohash")
    two = HEX + HEX[:24]
    same(facts(box, "info", two)["infohash_v2"], two, "infohash v2")
    same(facts(box, "info", "magnet:?xt=urn:btmh:1220" + two)["infohash_v2"],
         two, "infohash v2")
    same(facts(box, "info", "magnet:?xt=urn:btih:AERUKZ4JVPG66AJDIVTYTK6N54ASG"
               "RLH")["infohash_v1"], HEX, "base32")
    for bad in ("magnet:?dn=x", "magnet:?xt=urn:btih:123", "magnet:",
                "magnet:?xt=urn:btih:" + HEX + "&so=3-1"):
        weirctl(box, "info", bad, status=REFUSED)


@case("a magnet link that libtorrent writes, and one that it reads")
def libtorrent_magnet(box):
    lt = libtorrent()
    tree = small_tree(box)
    for kind in ("v1", "v2", "hybrid"):
        out = lt_torrent(tree, box.path(kind + ".torrent"), 65536, kind,
                         ["http://t.example/a?b=c"])
        ours = facts(box, "info", out)
        theirs = lt.make_magnet_uri(lt.torrent_info(out))
        got = facts(box, "info", theirs)
        for key in ("name", "infohash_v1", "infohash_v2", "trackers"):
            same(got[key], ours[key], f"{kind} {key} of {theirs}")
        read = lt.parse_magnet_uri(ours["magnet"])
        same(read.info_hashes, lt.torrent_info(out).info_hashes(), kind)
        same(read.trackers, ours["trackers"], "trackers")


main()
