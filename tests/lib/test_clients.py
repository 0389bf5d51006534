#!/usr/bin/python3
"""Goal: the drivers of other people's clients do what the tests believe: each
seeder serves a libtorrent leecher, found by address and through a tracker."""
from clients import (STARTERS, Opentracker, Seeder, leech_libtorrent,
                     leech_transmission, wait_complete)
from harness import case, main, same
from torrent import MIB, Torrent, random_file, random_tree, sha256


def by_address(box, name):
    t = Torrent(random_tree(box.path("src/tree"), 100), box.path("t.torrent"))
    seeder = Seeder(box, name, t)
    got = box.mkdir("got")
    leech_libtorrent(box, t.path, got, [seeder.at]).wait(60)
    box.run(["diff", "-rq", t.data, got + "/tree"])


def by_tracker(box, name):
    path = random_file(box.path("src/file.bin"), 8 * MIB)
    t = Torrent(path, box.path("t.torrent"))
    tracker = Opentracker(box, t)
    t = Torrent(path, t.path, announce=tracker.http)
    Seeder(box, name, t)
    tracker.wait_seeds(t)
    udp = Torrent(path, box.path("u.torrent"), announce=tracker.udp)
    got = box.mkdir("got")
    leech_libtorrent(box, udp.path, got).wait(60)
    same(sha256(got + "/file.bin"), sha256(path), "sha256")


for client in STARTERS:
    case(f"{client} seeds a tree to a leecher that has its address")(
        lambda box, c=client: by_address(box, c))
    case(f"{client} seeds a file to a leecher that asks a tracker")(
        lambda box, c=client: by_tracker(box, c))


@case("transmission leeches through a tracker")
def transmission_leeches(box):
    path = random_file(box.path("src/file.bin"), 8 * MIB)
    t = Torrent(path, box.path("t.torrent"))
    tracker = Opentracker(box, t)
    t = Torrent(path, t.path, announce=tracker.http)
    Seeder(box, "libtorrent", t)
    tracker.wait_seeds(t)
    got = box.mkdir("got")
    p = leech_transmission(box, t.path, got)
    wait_complete(p, t, got)


main()
