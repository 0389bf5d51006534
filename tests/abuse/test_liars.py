#!/usr/bin/python3
"""Goal: a transfer beside a lying peer completes from the honest one, in time,
with every byte right."""
import time

from abuse import BAD, GOOD, LONG, Content, check, check_got, get, make
import liars
from harness import SLOW, case, main
from liars import LIARS, PIECE_LENGTH
from peer import BLOCK, Peer


def liar_case(goal, cls, seconds, dropped, delay=0.0):
    @case(f"a peer that lies: {goal}", 3 * seconds + 60)
    def lie(box):
        torrent = make(box, 2 ** 24 + 1000, PIECE_LENGTH)
        content = Content(torrent)
        bad = cls(content, BAD)
        good = Peer(content, GOOD, delay=delay)
        good.gate.clear()
        began = time.monotonic()
        daemon = get(box, torrent.path, [bad, good])
        # The honest one unchokes once the liar has had its chance.
        check(bad.lied.wait(10 * SLOW), "the liar was never asked")
        time.sleep(0.3)
        good.gate.set()
        check_got(box, daemon, torrent, seconds * SLOW + 10)
        took = time.monotonic() - began
        print(f"# {took:.1f} s, {bad.num_requests} requests and "
              f"{bad.accepted} connections to the liar, "
              f"{good.num_requests} to the honest one")
        check(took <= seconds * SLOW, f"took {took:.1f} s")
        if dropped:
            check(bad.cut.is_set(), "the liar was never dropped")
        check(not bad.errors and not good.errors,
              f"{bad.errors} {good.errors}")
        check(good.num_requests < 3 * content.size // BLOCK + 100,
              "the honest one was asked for everything three times")
        for peer in (bad, good):
            peer.close()


for name, (kind, limit, must_drop) in LIARS.items():
    liar_case(name, kind, limit, must_drop)
    if LONG or kind in (liars.Corrupt10, liars.Rejects, liars.Duplicates):
        liar_case(name + "; the honest one is slow", kind, limit, must_drop,
                  0.003)


@case("an honest peer that shares pieces with polluters is not the one blamed",
      200)
def shared(box):
    """Few large pieces, blocks of each from four peers: whoever is punished
    for being near a wrong piece is soon punished often enough."""
    torrent = make(box, 2 ** 24 + 1000, 1 << 21)
    content = Content(torrent)
    for delay in (0.002, 0.004, 0.008, 0.001):
        bad = [cls(content, BAD, delay=0.001) for cls in (
            liars.Corrupt10, liars.Corrupt10, liars.WrongBegin)]
        good = Peer(content, GOOD, delay=delay)
        daemon = get(box, torrent.path, [*bad, good], f"got{delay}")
        check_got(box, daemon, torrent, 30 * SLOW, f"got{delay}")
        check(good.accepted == 1, f"the honest one was connected to "
              f"{good.accepted} times")
        for peer in (*bad, good):
            peer.close()


@case("nine liars of all kinds beside one honest peer", 240)
def nine(box):
    torrent = make(box, 2 ** 23 + 1000, PIECE_LENGTH)
    content = Content(torrent)
    # All on one address: an address is banned for what one of its peers did,
    # so those that only waste time come first.
    bad = [cls(content, BAD) for cls in (
        liars.Rejects, liars.Silent, liars.Flapping, liars.NeverUnchokes,
        liars.WrongBegin, liars.Duplicates, liars.HaveFlood, liars.Unasked,
        liars.Corrupt)]
    good = Peer(content, GOOD)
    daemon = get(box, torrent.path, [*bad, good])
    check_got(box, daemon, torrent, 210 * SLOW)
    check(not any(p.errors for p in bad), [p.errors for p in bad])


main()
