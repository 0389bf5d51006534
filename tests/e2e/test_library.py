#!/usr/bin/python3
"""Goal: the library is worked with cp, rm, cat, ls and getfattr alone."""
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import case, check, main, same, until
from stubpeer import StubPeer
from torrent import (MIB, Torrent, bdecode, bencode, random_file, random_tree,
                     sha256)
from weir import Mount, Reader, World, weirctl


def make(box, name="file.bin", size=MIB, seed=1, **kw):
    path = random_file(box.path("src/" + name), size, seed)
    return Torrent(path, box.path(name + ".torrent"), **kw)


def names(*parts):
    return sorted(os.listdir(os.path.join(*parts)))


def gone(path):
    until(lambda: not os.path.exists(path), 5, f"{path} is gone")


@case("an empty library has its folders")
def empty(box):
    m = Mount(box)
    same(names(m.point), [".weirfs", "by-hash", "files", "publish",
                          "torrents"],
         "the root")
    for d in ("by-hash", "files", "torrents"):
        same(names(m.path(d)), [], d)
    same(m.status()["torrents"], [], "torrents in the status")
    same(names(m.path(".weirfs")), ["metrics", "status.json"], ".weirfs")


@case("cp a .torrent into torrents/ adds it, rm removes it")
def add_and_remove(box):
    t = make(box)
    peer = StubPeer(box, t)
    m = Mount(box, options=[f"peer={peer.at}"])
    box.run(["cp", t.path, m.path("torrents/mine.torrent")])
    same(sha256(m.file("file.bin")), sha256(t.data), "content")
    same(names(m.path("torrents")), ["file.bin.torrent"], "torrents/")
    same(names(m.path("by-hash")), [t.hash], "by-hash/")
    same(names(m.path("by-hash", t.hash)), ["file.bin"], "by-hash/HASH/")
    same(names(m.path(".weirfs/file.bin")),
         ["peers.json", "pieces.svg", "status.json"], ".weirfs/NAME/")
    box.run(["rm", m.path("torrents/file.bin.torrent")])
    gone(m.path("files/file.bin"))
    for d in ("by-hash", "files", "torrents"):
        same(names(m.path(d)), [], d)
    m.term()
    m = Mount(box)
    same(names(m.path("files")), [], "files/ of the next run")


@case("what lies in torrents/ is the torrent that was added")
def metainfo_out(box):
    t = make(box, announce="http://10.9.0.3:1/announce", extra={
        "comment": "as it was made", "created by": "a test"})
    m = Mount(box, t.path)
    with open(t.path, "rb") as a, \
            open(m.path("torrents/file.bin.torrent"), "rb") as b:
        want, got = bdecode(a.read()), bdecode(b.read())
    same(got[b"info"], want[b"info"], "the info dictionary")
    same(got[b"announce"], want[b"announce"], "the tracker")


@case("a magnet written into a file: metadata comes, then content")
def magnet(box):
    t = make(box)
    seeder = StubPeer(box, t)
    m = Mount(box, options=[f"peer={seeder.at}"])
    box.run(["sh", "-c", f"echo '{t.magnet()}' > {m.path('torrents/it')}"])
    same(sha256(m.file("file.bin")), sha256(t.data), "content")
    same(names(m.path("torrents")), ["file.bin.torrent"], "torrents/")


@case("a magnet nobody has is visible, and hangs nothing")
def dead_magnet(box):
    m = Mount(box)
    link = "magnet:?xt=urn:btih:" + "ab" * 20 + "&dn=lost"
    box.run(["sh", "-c", f"echo '{link}' > {m.path('torrents/lost.magnet')}"])
    same(names(m.path("torrents")), ["lost.magnet"], "torrents/")
    same(names(m.path("files")), [], "files/")
    same(names(m.path("by-hash")), ["ab" * 20], "by-hash/")
    same(names(m.path("by-hash", "ab" * 20)), [], "by-hash/HASH")
    same(m.status("lost")["state"], "metadata", "its state")
    with open(m.path("torrents/lost.magnet"), encoding="utf-8") as f:
        check("ab" * 20 in f.read(), "the link can be read")
    for argv in (["ls", "-lR", m.point], ["find", m.point],
                 ["stat", "-f", m.point]):
        box.quick(argv, 1)
    box.run(["rm", m.path("torrents/lost.magnet")])
    same(names(m.path("by-hash")), [], "by-hash/ after rm")


@case("looking up an unknown infohash in by-hash/ adds it")
def by_hash(box):
    t = make(box)
    seeder = StubPeer(box, t)
    m = Mount(box, options=[f"peer={seeder.at}"])
    box.quick(["ls", m.path("by-hash", t.hash)], 1)
    until(lambda: names(m.path("by-hash", t.hash)) == ["file.bin"], 15,
          "the name appears")
    same(sha256(m.path("by-hash", t.hash, "file.bin")), sha256(t.data),
         "content")
    check(not os.path.exists(m.path("by-hash", "xyz")), "no such hash")
    check(not os.path.exists(m.path("by-hash", "12" * 19)), "too short")


@case("what is no torrent is refused, with the reason in an attribute")
def refused(box):
    m = Mount(box)
    bad = box.write("bad.torrent", "this is no torrent")
    got = box.run(["cp", bad, m.path("torrents/bad.torrent")], status=None)
    check(got.returncode, "cp fails")
    why = os.getxattr(m.path("torrents"), "user.weirfs.error").decode()
    check(len(why) > 10, f"the reason: {why!r}")
    same(names(m.path("torrents")), [], "torrents/")
    check(m.p.alive(), "the daemon lives")


@case("rsync, install and mv into torrents/ work as cp does")
def other_tools(box):
    m = Mount(box)
    for i, argv in enumerate((["rsync", "{t}", "{d}/"],
                              ["install", "-m", "644", "{t}", "{d}/"],
                              ["mv", "{t}", "{d}/"],
                              ["dd", "if={t}", "of={d}/x.torrent", "bs=100",
                               "status=none"])):
        t = make(box, f"f{i}", 200000, i, piece_length=16384)
        box.run([a.format(t=t.path, d=m.path("torrents")) for a in argv])
        m.file(f"f{i}")
    same(len(m.status()["torrents"]), 4, "torrents")


@case("status.json is JSON, of the library and of a torrent; so is peers.json")
def status(box):
    w = World(box, gives=1 << 30)
    Reader(box, w.path, 0, MIB).opened().result()
    st = w.mount.status("file.bin")
    same(st["infohash"], w.torrent.hash, "infohash")
    same(st["total_bytes"], w.torrent.size, "total_bytes")
    check(st["have_bytes"] >= MIB, "have_bytes")
    check(0 < st["progress"] <= 1, "progress")
    with open(w.mount.path(".weirfs/file.bin/peers.json"),
              encoding="utf-8") as f:
        peers = json.load(f)
    same([p["addr"] for p in peers], [w.peer.at], "peers")
    with open(w.mount.path(".weirfs/file.bin/pieces.svg"),
              encoding="utf-8") as f:
        check(f.read().startswith("<svg"), "a picture")
    with open(w.mount.path(".weirfs/metrics"), encoding="utf-8") as f:
        lines = f.read().splitlines()
    for line in lines:
        check(line.startswith("#") or len(line.split()) == 2, line)
    check(any(line.startswith("weirfs_peers 1") for line in lines), "peers")


@case("attributes tell infohash, progress, peers, have and state")
def xattrs(box):
    w = World(box)
    Reader(box, w.path, 0, 65536).opened().result()

    def get(name):
        return os.getxattr(w.path, "user.weirfs." + name).decode()
    listed = os.listxattr(w.path)
    for name in ("infohash", "magnet", "progress", "have", "peers",
                 "down_bps", "up_bps", "state"):
        check("user.weirfs." + name in listed, f"{name} is listed")
    same(get("infohash"), w.torrent.hash, "infohash")
    check(get("magnet").startswith("magnet:?xt=urn:btih:"), "magnet")
    check(0 < float(get("progress")) < 1, "progress")
    check(get("have").startswith("0-"), "have: " + get("have"))
    same(get("peers"), "1", "peers")
    for bad in ("user.other", "security.selinux", "user.weirfs.nonsense"):
        try:
            os.getxattr(w.path, bad)
            check(False, f"{bad} exists")
        except OSError:
            pass


@case("user.weirfs.prefetch fetches without a reader")
def prefetch(box):
    w = World(box, gives=1 << 30)
    os.setxattr(w.path, "user.weirfs.prefetch", b"1048576,524288")
    until(lambda: w.mount.status("file.bin")["have_bytes"] >= 524288, 10,
          "it is here")
    w.peer.close()
    same(Reader(box, w.path, MIB, 524288).opened().result(),
         "ok " + w.sha(MIB, 524288), "the bytes")


@case("user.weirfs.fill=torrent fetches all of it, and so does -o fill")
def fill(box):
    w = World(box, gives=1 << 30)
    os.setxattr(w.path, "user.weirfs.fill", b"torrent")
    until(lambda: w.mount.status("file.bin")["progress"] == 1, 20, "complete")
    w.mount.term()
    m = Mount(box, w.torrent.path, name="other",
              options=[f"peer={w.peer.at}", "fill=torrent"])
    until(lambda: m.status("file.bin")["progress"] == 1, 20, "complete")


@case("two torrents of one name both have a place")
def same_names(box):
    a, b = (Torrent(random_file(box.path(f"{d}/film"), 100000, i),
                    box.path(f"{d}.torrent")) for i, d in enumerate("ab"))
    peers = [StubPeer(box, a), StubPeer(box, b)]
    m = Mount(box, a.path, b.path, options=[f"peer={p.at}" for p in peers])
    until(lambda: len(names(m.path("files"))) == 2, 10, "two entries")
    shas = {sha256(m.path("files", n)) for n in names(m.path("files"))}
    same(shas, {sha256(a.data), sha256(b.data)}, "both contents")


@case("inodes, times, links and modes are the same after a remount")
def stable(box):
    t = Torrent(random_tree(box.path("src/tree"), 60), box.path("t.torrent"))

    def picture(m):
        top = m.file("tree")
        out = {}
        for d, dirs, files in os.walk(top):
            for p in [d] + [os.path.join(d, f) for f in files]:
                st = os.lstat(p)
                out[os.path.relpath(p, top)] = (
                    st.st_ino, st.st_mtime_ns, st.st_nlink, st.st_mode,
                    st.st_size if os.path.isfile(p) else 0)
            same(os.stat(d).st_nlink, 2 + len(dirs), f"links of {d}")
        return out
    m = Mount(box, t.path)
    first = picture(m)
    same(len({v[0] for v in first.values()}), len(first), "distinct inodes")
    check(all(v[3] & 0o222 == 0 for v in first.values()), "read-only modes")
    m.term()
    time.sleep(1.1)
    m = Mount(box)
    same(picture(m), first, "attributes of the next run")


@case("-o single: the root holds the torrent, file or folder, and no more")
def single(box):
    t = make(box)
    peer = StubPeer(box, t)
    m = Mount(box, t.path, single=True, options=[f"peer={peer.at}"])
    same(names(m.point), ["file.bin"], "the root")
    same(sha256(m.path("file.bin")), sha256(t.data), "content")
    m.term()
    tree = Torrent(random_tree(box.path("src/tree"), 30), box.path("u.torrent"))
    peer = StubPeer(box, tree)
    m = Mount(box, tree.path, single=True, name="s",
              options=[f"peer={peer.at}"])
    same(names(m.point), ["tree"], "the root")
    box.run(["diff", "-r", tree.data, m.path("tree")])


@case("hostile names are made safe, and stay inside")
def hostile(box):
    t = make(box)
    with open(t.path, "rb") as f:
        top = bdecode(f.read())
    info = top[b"info"]
    del info[b"length"]
    paths = [[b"..", b"..", b"escape"], [b"a/b"], [b"ok"], [b"ok"],
             [b"x" * 300], [b"\xff\xfe"], [b".", b"dot"], [b"nul\0nul"],
             [b"con\x1btrol"], [b"ok", b"below"]]
    info[b"files"] = [{b"length": 1000 + i, b"path": p}
                      for i, p in enumerate(paths)]
    total = sum(1000 + i for i in range(len(paths)))
    info[b"pieces"] = bytes(20 * -(-total // info[b"piece length"]))
    info[b"name"] = b"../../evil"
    bad = box.write("evil.torrent", bencode(top))
    m = Mount(box, bad)
    sizes = []
    for d, _, files in os.walk(m.path("files")):
        for f in files:
            check(len(os.fsencode(f)) <= 255, "name length")
            sizes.append(os.lstat(os.path.join(d, f)).st_size)
    same(sorted(sizes), [1000 + i for i in range(len(paths))], "files shown")
    check(not os.path.exists(box.path("escape")), "nothing escaped")
    check(not os.path.exists(box.path("evil")), "nothing escaped")


@case("weirctl status tells a person of trackers, in words")
def tracker_words(box):
    t = make(box, announce="http://10.9.0.3:1/announce")
    m = Mount(box, t.path)
    until(lambda: "failing" in m.control("status", "file.bin"), 5, "it fails")
    text = m.control("status", "file.bin")
    line = next(x for x in text.splitlines() if x.startswith("tracker"))
    check("http://10.9.0.3:1/announce" in line and "connect" in line,
          f"url and error: {line}")
    check("{" not in text, f"no JSON: {text}")
    check("good nodes" in text, f"and of the DHT: {text}")
    for command in ("status", "rm", "peers"):
        got = weirctl(box, command, "nosuch", "-o", f"state={m.state}",
                      status=1)
        check("nosuch" in got.stderr, f"it names the torrent: {got.stderr}")


@case("weirctl add, ls, status, peers and rm talk to the mount")
def control(box):
    t = make(box)
    peer = StubPeer(box, t)
    m = Mount(box, options=[f"peer={peer.at}"])
    m.control("add", t.path)
    # Now: two that are complete have nothing to say to each other.
    until(lambda: peer.at in m.control("peers", "file.bin"), 5,
          "peers names it")
    same(sha256(m.file("file.bin")), sha256(t.data), "content")
    check("file.bin" in m.control("ls"), "ls names it")
    same(json.loads(m.control("status", "--json"))["torrents"][0]["infohash"],
         t.hash, "status --json")
    check("file.bin" in m.control("status"), "status names it")
    m.control("rm", "file.bin")
    gone(m.path("files/file.bin"))
    check(m.control("rm", "file.bin", status=None) is not None, "")
    same(json.loads(m.control("ls", "--json")) in ([], {"torrents": []}), True,
         "ls --json of nothing")


@case("100 torrents are added, shown and removed")
def many(box):
    m = Mount(box)
    for i in range(100):
        t = make(box, f"n{i:03}", 1000 + i, i, piece_length=16384)
        shutil.copy(t.path, m.path("torrents"))
    same(len(names(m.path("files"))), 100, "files/")
    same(len(m.status()["torrents"]), 100, "status.json")
    m.term()
    began = time.monotonic()
    m = Mount(box)
    check(time.monotonic() - began < 3, "the next start is quick")
    same(len(names(m.path("files"))), 100, "files/ of the next run")
    subprocess.run(["sh", "-c", "rm " + m.path("torrents") + "/*"], check=True)
    until(lambda: not names(m.path("files")), 5, "all gone")


main()
