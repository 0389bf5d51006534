#!/usr/bin/python3
"""Goal: other people's clients complete from weirctl seed and from a mount,
and all of them together from each other."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from clients import (Opentracker, Seeder, leech_libtorrent,
                     leech_transmission, wait_complete, wait_seeding)
from harness import HOSTS, LONG, case, main, same, until
from torrent import MIB, Torrent, random_file, random_tree, sha256
from weir import WEIRCTL, Mount, weirctl

SIZE = (1024 if LONG else 24) * MIB
LIMIT = 600 if LONG else 90


def content(box, kind):
    if kind == "tree":  # transmission makes no empty files
        return random_tree(box.path("src/tree"), 300, has_empty=False)
    return random_file(box.path("src/file.bin"), SIZE + 999)


def seeded(box, kind, *options):
    """A tracker, and weirctl seed announced at it."""
    path = content(box, kind)
    t = Torrent(path, box.path("t.torrent"))
    tracker = Opentracker(box, t)
    t = Torrent(path, t.path, announce=tracker.http)
    port = box.port()
    box.spawn([WEIRCTL, "seed", t.path, "--data", t.parent, "--port", port,
               "-o", ",".join([f"state={box.path('seed.state')}",
                               *options])], "weirctl-seed")
    tracker.wait_seeds(t)
    return tracker, t, f"{HOSTS[0]}:{port}"


@case("a libtorrent leecher completes from weirctl seed, by address", LIMIT)
def libtorrent_address(box):
    _, t, at = seeded(box, "file")
    got = box.mkdir("got")
    same(leech_libtorrent(box, t.path, got, [at]).wait(LIMIT), 0, "exit")
    same(sha256(got + "/file.bin"), sha256(t.data), "content")


@case("a libtorrent leecher completes a tree by magnet and UDP tracker", LIMIT)
def libtorrent_magnet(box):
    tracker, t, _ = seeded(box, "tree")
    got = box.mkdir("got")
    same(leech_libtorrent(box, t.magnet(tracker.udp), got).wait(LIMIT), 0,
         "exit")
    box.run(["diff", "-r", t.data, got + "/tree"])


@case("a transmission leecher completes from weirctl seed", LIMIT)
def transmission(box):
    _, t, _ = seeded(box, "tree")
    got = box.mkdir("got")
    wait_complete(leech_transmission(box, t.path, got), t, got, LIMIT)


@case("announce_ip tells the tracker another address", LIMIT)
def announce_ip(box):
    tracker, t, _ = seeded(box, "tree", f"announce_ip={HOSTS[2]}",
                           f"bind={HOSTS[2]}")
    got = box.mkdir("got")
    same(leech_libtorrent(box, t.path, got).wait(LIMIT), 0, "exit")
    box.run(["diff", "-r", t.data, got + "/tree"])


@case("a mount gives what it has: a leecher completes from a mounted torrent",
      LIMIT)
def from_mount(box):
    t = Torrent(content(box, "file"), box.path("t.torrent"))
    seeder = Seeder(box, "libtorrent", t)
    m = Mount(box, t.path, options=[f"peer={seeder.at}"])
    same(sha256(m.file("file.bin")), sha256(t.data), "through the mount")
    seeder.p.end()
    wait_seeding(m.p, HOSTS[0], m.port, t)
    got = box.mkdir("got")
    leech = leech_libtorrent(box, t.path, got, [f"{HOSTS[0]}:{m.port}"])
    same(leech.wait(LIMIT), 0, "exit")
    same(sha256(got + "/file.bin"), sha256(t.data), "content")


@case("weirctl get from weirctl seed through the tracker", LIMIT)
def own(box):
    _, t, _ = seeded(box, "file")
    got = box.mkdir("got")
    weirctl(box, "get", t.path, "--data", got, "-o",
            f"state={box.path('g')},port={box.port()}", seconds=LIMIT)
    same(sha256(got + "/file.bin"), sha256(t.data), "content")


@case("two mounts and a libtorrent fetch from one seed at the same time",
      LIMIT)
def swarm(box):
    _, t, at = seeded(box, "file")
    mounts = [Mount(box, t.path, name=f"m{i}", options=["fill=torrent"])
              for i in range(2)]
    got = box.mkdir("got")
    leech = leech_libtorrent(box, t.path, got, [at])
    same(leech.wait(LIMIT), 0, "exit")
    for m in mounts:
        until(lambda m=m: m.status("file.bin")["progress"] == 1, LIMIT,
              "complete")
        same(sha256(m.file("file.bin")), sha256(t.data), "content")


main()
