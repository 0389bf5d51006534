#!/usr/bin/python3
"""Goal: `weirctl get`, killed with SIGKILL at any moment, goes on where it was:
in the end every byte is right, and what was committed is not fetched again."""
import random

from crashlib import BLOCK, IN_FLIGHT, ROUNDS, WEIRCTL, Ledger, Pieces, \
    Seeder, committed_pieces, live
from harness import case, check, main, same
from torrent import MIB, Torrent, random_file, random_tree


def get(box, torrent, seeder):
    return box.spawn([WEIRCTL, "get", torrent.path, "--data", box.path("data"),
                      "-o", f"state={box.path('state')},port={box.port()},"
                      f"bind=10.9.0.2,peer={seeder.at}"], "weirctl")


def rounds(box, torrent, longest):
    seeder = Seeder(box, torrent)
    pieces, ledger = Pieces(torrent), Ledger(seeder)
    rnd, kills = random.Random(len(torrent.hash) + torrent.size), 0
    for n in range(ROUNDS):
        p = get(box, torrent, seeder)
        live(rnd, n, longest)
        if not p.alive():
            check(p.p.returncode == 0, f"weirctl get failed: {p.log()[-500:]}")
            break
        p.p.kill()
        p.p.wait(10)
        kills += 1
        ledger.close_round(
            committed_pieces(box.path("state"), box.path("copy"), torrent),
            pieces.right(box.path("data")))
    p = get(box, torrent, seeder)
    check(p.wait(120) == 0, f"weirctl get failed: {p.log()[-500:]}")
    everything = set(range(torrent.num_pieces))
    ledger.close_round(ledger.durable,
                       pieces.right(box.path("data")))
    check(ledger.at_rest == everything, "everything is right in the end")
    sent = ledger.sent * BLOCK
    bound = torrent.size + kills * IN_FLIGHT
    if kills > 10:
        check(ledger.was_durable, "some rounds passed a sync")
    print(f"# {kills} kills: sent {sent / torrent.size:.3f} x the size")
    check(sent <= bound, f"sent {sent} bytes, at most {bound} were to be sent")
    # Nothing is lost by a mere kill: the kernel has what was written.
    same(ledger.again, 0, "blocks fetched again that were right on disk")


@case("a file, killed within seconds", limit=300 if ROUNDS == 20 else 3000)
def a_file(box):
    rounds(box, Torrent(random_file(box.path("src/file.bin"),
                                    (4 + 7 * ROUNDS) * MIB),
                        box.path("t.torrent"), 256 << 10), 1.2)


@case("a tree of many files, pieces across them",
      limit=300 if ROUNDS == 20 else 3000)
def a_tree(box):
    rounds(box, Torrent(random_tree(box.path("src/tree"), 100 * ROUNDS,
                                    biggest=19),
                        box.path("t.torrent"), 64 << 10), 0.8)


main()
