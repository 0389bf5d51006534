#!/usr/bin/python3
"""Goal: the scriptable peer is a peer to others before it lies to ours: it
seeds to libtorrent, metadata included, and leeches from it."""
from clients import Seeder, leech_libtorrent
from harness import HOSTS, case, check, main, same
from peer import EXT, FAST, PLAIN, Content, Leech, Peer
from torrent import Torrent, random_file, sha256


def torrent(box):
    return Torrent(random_file(box.path("src/film.bin"), 2 ** 22 + 1000),
                   box.path("t.torrent"), 1 << 16)


def seeds(box, by_magnet, reserved):
    t = torrent(box)
    kind = type("Kind", (Peer,), {"reserved": reserved})
    peer = kind(Content(t), HOSTS[1])
    got = box.mkdir("got")
    source = t.magnet() if by_magnet else t.path
    status = leech_libtorrent(box, source, got, [peer.at]).wait(60)
    same(status, 0, "libtorrent's exit status")
    same(sha256(got + "/film.bin"), sha256(t.data), "sha256")
    check(not peer.errors, peer.errors)
    check(peer.num_blocks >= 257, f"only {peer.num_blocks} blocks given")
    peer.close()


for bits, what in ((FAST | EXT, "fast and extended"), (EXT, "extended"),
                   (PLAIN, "plain")):
    case(f"libtorrent fetches from it ({what})")(
        lambda box, b=bits: seeds(box, False, b))
case("libtorrent fetches from it by magnet link")(
    lambda box: seeds(box, True, FAST | EXT))


@case("it fetches from libtorrent")
def leeches(box):
    t = torrent(box)
    seeder = Seeder(box, "libtorrent", t)
    content = Content(t)
    got = Leech(content, seeder.host, seeder.port, HOSTS[2]).get_all(40)
    check(got == content.data, "wrong bytes")


main()
