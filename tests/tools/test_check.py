#!/usr/bin/python3
"""Goal: `weirctl check` says "all right" of data that is right and of nothing
else, and names the pieces and files that are not."""
import os
import shutil

from weirctl import (REFUSED, USAGE, facts, libtorrent, lt_torrent, small_tree,
                     weirctl)
from harness import case, check, main, same
from torrent import Torrent, random_file, random_tree

PIECE = 16384


def torrent(box):
    """tree/, where a.bin fills pieces 0..18 and shares the last."""
    t = Torrent(small_tree(box), box.path("t.torrent"), PIECE)
    return t, ("check", t.path, "--data", box.dir)


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x40]))


def find(got, path):
    return next(f for f in got["files"] if f["path"] == path)


@case("a file, a folder, a thousand files: all right")
def right(box):
    t, args = torrent(box)
    r = weirctl(box, *args)
    check(f"all right, {t.num_pieces} of {t.num_pieces} pieces" in r.stdout,
          r.stdout)
    got = facts(box, *args)
    check(got["complete"] and not got["wrong"] and not got["missing"] and
          all(f["right"] for f in got["files"]), got)
    one = Torrent(random_file(box.path("film.bin"), 3 * 2 ** 20 + 1),
                  box.path("f.torrent"), 1 << 18)
    for n in ("1", "2", "16"):
        check(facts(box, "check", one.path, "--data", box.dir, "--threads",
                    n)["complete"], n)
    many = Torrent(random_tree(box.path("many"), 1000), box.path("m.torrent"),
                   1 << 16)
    check(facts(box, "check", many.path, "--data", box.dir)["complete"], "many")


@case("--data is this folder by default")
def here(box):
    t, _ = torrent(box)
    weirctl(box, "check", t.path, cwd=box.dir)


@case("one wrong bit anywhere: its piece, its files, exit status 1")
def wrong(box):
    t, args = torrent(box)
    sizes = {"a.bin": 300000, "b/größe 1": 70001, "b/d/e": 1, "z": 5}
    for path, size in sizes.items():
        for at in {0, size // 2, size - 1}:
            flip(f"{t.data}/{path}", at)
            got = facts(box, *args, status=REFUSED)
            same((got["complete"], len(got["wrong"]), got["missing"]),
                 (False, 1, []), f"{path} at {at}")
            same(find(got, path)["wrong"], 1, "pieces wrong in the file")
            out = weirctl(box, *args, status=REFUSED).stdout
            check(f"wrong pieces: {got['wrong'][0]}\n" in out and
                  f"tree/{path}: 1 of " in out, out)
            flip(f"{t.data}/{path}", at)
    weirctl(box, *args)


@case("missing, short, long, replaced: each is named, none passes")
def not_as_it_should_be(box):
    t, args = torrent(box)
    a, keep = t.data + "/a.bin", box.path("keep")
    os.rename(a, keep)

    def refused(trouble, **want):
        got = facts(box, *args, status=REFUSED)
        same(find(got, "a.bin")["trouble"], trouble, "trouble")
        for key, value in want.items():
            same(got[key], value, key)
        out = weirctl(box, *args, status=REFUSED).stdout
        check(f"tree/a.bin: {trouble}" in out, out)

    refused("missing", missing=list(range(19)), wrong=[])
    os.symlink(keep, a)
    refused("is no plain file", missing=list(range(19)))
    os.unlink(a)
    os.mkdir(a)
    refused("is no plain file", missing=list(range(19)))
    os.rmdir(a)
    shutil.copy(keep, a)
    os.truncate(a, 20000)
    refused("too short", missing=list(range(1, 19)), wrong=[])
    os.truncate(a, 300000)  # zeros now
    got = facts(box, *args, status=REFUSED)
    same(got["wrong"], list(range(1, 19)), "wrong")
    shutil.copy(keep, a)
    with open(a, "ab") as f:
        f.write(b"x")
    refused("too long", missing=[], wrong=[])
    shutil.copy(keep, a)
    weirctl(box, *args)


@case("an empty file that is missing is missing")
def empty(box):
    t, args = torrent(box)
    os.unlink(t.data + "/b/d/empty")
    got = facts(box, *args, status=REFUSED)
    same((find(got, "b/d/empty")["trouble"], got["wrong"], got["missing"]),
         ("missing", [], []), "trouble")


@case("a folder behind a symlink is not followed, as a seeder would not")
def behind_a_link(box):
    t, args = torrent(box)
    os.rename(t.data + "/b", box.path("elsewhere"))
    os.symlink(box.path("elsewhere"), t.data + "/b")
    got = facts(box, *args, status=REFUSED)
    same(find(got, "b/c.bin")["trouble"], "lies behind a symlink", "trouble")


@case("nothing there: the folder to give is named")
def nothing(box):
    t, args = torrent(box)
    r = weirctl(box, "check", t.path, "--data", t.data, status=REFUSED)
    check("holds no tree: give the folder in which it lies" in r.stderr,
          r.stderr)
    r = weirctl(box, "check", t.path, "--data", box.path("no"), status=REFUSED)
    check("No such file" in r.stderr, r.stderr)
    weirctl(box, "check", status=USAGE)
    weirctl(box, "check", t.path, "--threads", "x", status=USAGE)
    weirctl(box, "check", box.path("no.torrent"), status=REFUSED)


@case("hybrid torrents with pads, and v1 ones of libtorrent")
def pads(box):
    libtorrent()
    tree = small_tree(box)
    for kind in ("hybrid", "v1"):
        out = lt_torrent(tree, box.path(kind + ".torrent"), 65536, kind)
        check(facts(box, "check", out, "--data", box.dir)["complete"], kind)
        flip(tree + "/z", 0)
        got = facts(box, "check", out, "--data", box.dir, status=REFUSED)
        same(find(got, "z")["right"], False, kind)
        flip(tree + "/z", 0)


@case("v2 only: it says that it cannot yet")
def v2(box):
    libtorrent()
    out = lt_torrent(small_tree(box), box.path("t.torrent"), 65536, "v2")
    r = weirctl(box, "check", out, "--data", box.dir, status=REFUSED)
    check("v2-only" in r.stderr, r.stderr)


@case("what make makes, check finds right")
def round_trip(box):
    tree = random_tree(box.path("many"), 200)
    for length in ("16k", "256k", "4M"):
        weirctl(box, "make", tree, "--v1", "-q", "--piece-length", length,
                "-o", box.path("t"))
        weirctl(box, "check", box.path("t"), "--data", box.dir)


main()
