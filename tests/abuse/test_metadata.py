#!/usr/bin/python3
"""Goal: a magnet link resolves beside peers that lie about metadata, and what
they claim, repeat or nest costs no memory."""
import random
import time

from abuse import (BAD, COUNT, GOOD, Content, check, check_got, get, make)
from harness import SLOW, case, main, until
from peer import BLOCK, HAVE, HAVE_NONE, Peer, extended
from torrent import bencode

MIB = 1 << 20


class Liar(Peer):
    """Has nothing but metadata, and lies about it."""
    claim = None  # metadata_size; None: the true one

    def ext_handshake(self, conn):
        size = len(self.content.info) if self.claim is None else self.claim
        conn.ext_handshake(metadata_size=size)
        self.lied.set()

    def tell_have(self, conn):
        conn.send(HAVE_NONE)

    def on_metadata_request(self, conn, part):
        info = self.content.info
        size = len(info) if self.claim is None else self.claim
        data = (info + bytes(64 * BLOCK))[part * BLOCK:(part + 1) * BLOCK]
        left = max(1, min(BLOCK, size - part * BLOCK))
        conn.metadata(1, part, (data + bytes(BLOCK))[:left], total_size=size)


def claims(size):
    return type(f"Claims{size}", (Liar,), {"claim": size})


class Corrupt(Liar):
    def on_metadata_request(self, conn, part):
        info = self.content.info
        data = bytearray(info[part * BLOCK:(part + 1) * BLOCK])
        data[len(data) // 2] ^= 1
        conn.metadata(1, part, bytes(data), total_size=len(info))


class CorruptOnePart(Liar):
    def on_metadata_request(self, conn, part):
        info = self.content.info
        data = bytearray(info[part * BLOCK:(part + 1) * BLOCK])
        data[0] ^= self.num_parts == 1
        conn.metadata(1, part, bytes(data), total_size=len(info))


class Silent(Liar):
    def on_metadata_request(self, conn, part):
        pass


class Rejects(Liar):
    def on_metadata_request(self, conn, part):
        conn.metadata(2, part)


class OtherTotal(Liar):
    def on_metadata_request(self, conn, part):
        info = self.content.info
        conn.metadata(1, part, info[part * BLOCK:(part + 1) * BLOCK],
                      total_size=len(info) + 1)


class NoTotal(Liar):
    def on_metadata_request(self, conn, part):
        conn.metadata(1, part,
                      self.content.info[part * BLOCK:(part + 1) * BLOCK])


class ShortParts(Liar):
    def on_metadata_request(self, conn, part):
        info = self.content.info
        conn.metadata(1, part, info[part * BLOCK:(part + 1) * BLOCK][:-1],
                      total_size=len(info))


class OtherPart(Liar):
    def on_metadata_request(self, conn, part):
        conn.metadata(1, part + 1, bytes(BLOCK),
                      total_size=len(self.content.info))


class Garbage(Liar):
    def on_metadata_request(self, conn, part):
        conn.raw(extended(conn.metadata_id(), b"\xff\x00d8:msg_ty" * 50))


class FutureType(Liar):
    def on_metadata_request(self, conn, part):
        conn.metadata(9, part)
        super().on_metadata_request(conn, part)


class Flood(Liar):
    """Parts that nobody asked for, rejects, and news of its size."""

    def tell_have(self, conn):
        super().tell_have(conn)
        info = self.content.info
        item = (extended(conn.metadata_id(), bencode(
                    {"msg_type": 1, "piece": 0, "total_size": len(info)})
                    + info[:BLOCK])
                + extended(conn.metadata_id(),
                           bencode({"msg_type": 2, "piece": 0}))
                + b"".join(extended(0, bencode(
                    {"m": {"ut_metadata": 9}, "metadata_size": n * 1000}))
                    for n in range(1, 200)))
        conn.flood(item, COUNT // 200, seconds=10)


class Bomb(Liar):
    def ext_handshake(self, conn):
        self.lied.set()
        conn.raw(extended(0, b"d1:m" + b"d1:a" * 8000 + b"e" * 8001))


class Rename(Liar):
    """Takes its extension back and gives it again, under other ids."""

    def tell_have(self, conn):
        super().tell_have(conn)
        for n in range(2000):
            conn.raw(extended(0, bencode(
                {"m": {"ut_metadata": n % 256}, "metadata_size": 40000})))


LIARS = {
    "claims 1 byte": claims(1),
    "claims a byte too few": None,  # filled in below, needs the true size
    "claims a byte too many": None,
    "claims 0": claims(0),
    "claims -1": claims(-1),
    "claims 2^31": claims(1 << 31),
    "claims 2^63-1": claims((1 << 63) - 1),
    "claims 30 MiB and a byte": claims(30 * MIB + 1),
    "claims 30 MiB, and gives them": claims(30 * MIB),
    "claims a string": claims("many"),
    "gives wrong bytes": Corrupt,
    "gives one wrong part": CorruptOnePart,
    "gives nothing": Silent,
    "rejects": Rejects,
    "tells another size with the data": OtherTotal,
    "tells no size with the data": NoTotal,
    "gives parts a byte too short": ShortParts,
    "gives another part than asked": OtherPart,
    "gives garbage": Garbage,
    "sends a type of the future, then the part": FutureType,
    "floods": Flood,
    "sends a bencode bomb": Bomb,
    "renames its extension all the time": Rename,
}


def big_info(box):
    """A torrent whose info dict has seven parts."""
    filler = random.Random(7).randbytes(100000)
    return make(box, info={"x-filler": filler})


def first_word(box, torrent, liars, good):
    """A get of the magnet link; GOOD answers once each liar told its lie."""
    good.gate.clear()
    daemon = get(box, torrent.magnet(), [*liars, good])
    for p in liars:
        check(p.lied.wait(15 * SLOW), "a liar was never heard")
    time.sleep(1)
    daemon.mark()
    good.gate.set()
    return daemon


def liar_case(goal, cls):
    @case(f"a peer that {goal}", 90)
    def lie(box):
        torrent = big_info(box)
        content = Content(torrent)
        kind = cls or claims(len(content.info)
                             + (1 if "many" in goal else -1))
        bad, good = kind(content, BAD), Peer(content, GOOD)
        daemon = first_word(box, torrent, [bad], good)
        began = time.monotonic()
        check_got(box, daemon, torrent, 50 * SLOW)
        print(f"# {time.monotonic() - began:.1f} s after the honest one "
              f"spoke, {bad.num_parts} parts asked of the liar")
        check(not bad.errors and not good.errors,
              f"{bad.errors} {good.errors}")


for name, what in LIARS.items():
    liar_case(name, what)


@case("all of them at once", 150)
def all_at_once(box):
    torrent = big_info(box)
    content = Content(torrent)
    bad = [cls(content, BAD) for cls in LIARS.values() if cls]
    good = Peer(content, GOOD)
    daemon = first_word(box, torrent, bad, good)
    check_got(box, daemon, torrent, 120 * SLOW)


class LastPiece(Silent):
    """Nine bytes that want a bitfield of 256 KiB."""

    def tell_have(self, conn):
        conn.send(HAVE, (1 << 21) - 1)


class LargeBitfield(Silent):
    def tell_have(self, conn):
        conn.raw(b"\x00\x04\x00\x01\x05" + bytes(1000))  # and no more


def fifty(box, kinds):
    """Fifty liars cost no memory, against the same get with one."""
    torrent = big_info(box)
    content = Content(torrent)
    bad, good = [kind(content, BAD) for kind in kinds], Peer(content, GOOD)
    good.gate.clear()
    few = get(box, torrent.magnet(), [bad[0], good], "few")
    many = get(box, torrent.magnet(), [*bad, good], "many")
    until(lambda: all(p.lied.is_set() for p in bad), 30 * SLOW,
          "all liars are heard")
    time.sleep(2)
    grown = many.rss_kib() - few.rss_kib()
    print(f"# fifty of them cost {grown} KiB")
    if SLOW == 1:
        check(grown <= 8 << 10, f"they cost {grown} KiB")
    good.gate.set()
    check_got(box, few, torrent, 60 * SLOW, "few")
    check_got(box, many, torrent, 60 * SLOW, "many")


@case("fifty peers that claim 30 MiB each, and stall", 120)
def large_claims(box):
    fifty(box, [type("Claims", (Silent,), {"claim": 30 * MIB - n})
                for n in range(50)])


@case("fifty peers that have the last of two million pieces", 120)
def last_pieces(box):
    fifty(box, [LastPiece] * 50)


@case("fifty peers that begin a bitfield of two million pieces", 120)
def large_bitfields(box):
    fifty(box, [LargeBitfield] * 50)


@case("a magnet that nobody has is waited for, quietly", 60)
def nobody(box):
    torrent = big_info(box)
    content = Content(torrent)
    bad = [Silent(content, BAD), Rejects(content, BAD), Garbage(content, BAD)]
    daemon = get(box, torrent.magnet(), bad)
    check(bad[0].lied.wait(15 * SLOW), "not heard")
    time.sleep(1)
    daemon.mark()
    time.sleep(8)
    daemon.check_flat("eight seconds of waiting", 0.5)
    check(bad[1].num_parts < 50, f"{bad[1].num_parts} requests to one that "
          "rejects")


main()
