#!/usr/bin/python3
"""Goal: files mounted by weirfs are right whoever seeds them, and however the
seeder is found. An argument chooses the client. With WEIRFS_TEST_LONG the file has 2 GiB
(256 MiB where the client is slow)."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from clients import STARTERS, Opentracker, Seeder
from harness import LONG, case, main, same, until
from torrent import MIB, Torrent, random_file, random_tree, sha256
from weir import Mount, weirctl

LIMIT = 600 if LONG else 90
SLOW_CLIENT = "transmission"  # gives 2 MiB/s, and nothing for the first 10 s


def big(box, client):
    if LONG:
        mib = 256 if client in (SLOW_CLIENT, "rtorrent") else 2048
    else:
        mib = 8 if client == SLOW_CLIENT else 64
    path = random_file(box.path("src/big.bin"), mib * MIB + 12345)
    return Torrent(path, box.path("big.torrent"), MIB)


def tree(box, client):
    biggest = 13 if client == SLOW_CLIENT else 17
    return Torrent(random_tree(box.path("src/tree"), biggest=biggest),
                   box.path("tree.torrent"))


def tracked(box, client, t, kind):
    """T, seeded and at a tracker, as a torrent with the tracker's KIND URL."""
    tracker = Opentracker(box, t)
    Seeder(box, client, Torrent(t.data, t.path, t.piece_length,
                                announce=tracker.http))
    tracker.wait_seeds(t)
    return Torrent(t.data, box.path("mine.torrent"), t.piece_length,
                   announce=getattr(tracker, kind))


def file_http(box, client):
    t = tracked(box, client, big(box, client), "http")
    m = Mount(box, t.path)
    got = box.run(["sha256sum", m.file("big.bin")], seconds=LIMIT).stdout
    same(got.split()[0], sha256(t.data), "sha256sum")


def tree_udp(box, client):
    t = tracked(box, client, tree(box, client), "udp")
    m = Mount(box, t.path)
    box.run(["diff", "-r", t.data, m.file("tree")], seconds=LIMIT)


def tree_address(box, client):
    t = tree(box, client)
    seeder = Seeder(box, client, t)
    m = Mount(box, t.path, options=[f"peer={seeder.at}"])
    box.run(["diff", "-r", t.data, m.file("tree")], seconds=LIMIT)
    m.term()
    seeder.p.end()
    m = Mount(box)
    until(lambda: m.status("tree")["state"] == "seeding", 5, "seeding again")
    box.run(["diff", "-r", t.data, m.file("tree")])


def magnet(box, client):
    t = tree(box, client)
    seeder = Seeder(box, client, t)
    m = Mount(box, t.magnet(), options=[f"peer={seeder.at}"])
    box.run(["diff", "-r", t.data, m.file("tree")], seconds=LIMIT)


def get_ipv6(box, client):
    t = tree(box, client)
    seeder = Seeder(box, client, t)
    got = box.mkdir("got")
    weirctl(box, "get", t.path, "--data", got, "-o",
            f"peer={seeder.at6},state={box.path('g')},port={box.port()}",
            seconds=LIMIT)
    box.run(["diff", "-r", t.data, got + "/tree"])


WAYS = {
    "sha256sum of a file, through an HTTP tracker": file_http,
    "diff -r of 1,000 files, through a UDP tracker": tree_udp,
    "by its address alone; then all of it without the seeder": tree_address,
    "a magnet link, metadata from it": magnet,
    "weirctl get over IPv6": get_ipv6,
}
for name in STARTERS:
    for what, way in WAYS.items():
        case(f"{name}: {what}", LIMIT)(
            lambda box, way=way, name=name: way(box, name))

main()
