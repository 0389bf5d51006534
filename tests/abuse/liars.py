"""Seeds that lie, each in one way. LIARS: goal -> (class, seconds in which a
transfer beside it must be done, whether it must be dropped)."""
import os
import struct
import threading
import time

import abuse  # finds peer.py
from peer import (ALLOWED_FAST, BITFIELD, BLOCK, CHOKE, EXT, HAVE, HAVE_ALL,
                  HAVE_NONE, PIECE, REJECT, REQUEST, SUGGEST, UNCHOKE, Closed,
                  Peer, extended, message)

PIECE_LENGTH = 1 << 18  # of the torrents they are used with
LIARS = {}


def liar(goal, seconds=20, dropped=False):
    def register(cls):
        LIARS[goal] = (cls, seconds, dropped)
        return cls
    return register


class Liar(Peer):
    def tell_lie(self):
        self.lied.set()


def flip(block):
    return bytes([block[0] ^ 1]) + block[1:]


@liar("every block has a wrong bit", dropped=True)
class Corrupt(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.piece(piece, begin,
                   flip(self.content.block(piece, begin, length)))


@liar("one block in ten has a wrong bit")
class Corrupt10(Liar):
    def on_request(self, conn, piece, begin, length):
        block = self.content.block(piece, begin, length)
        if self.num_requests % 10 == 3:
            self.tell_lie()
            block = flip(block)
        time.sleep(self.delay)
        conn.piece(piece, begin, block)


@liar("zeros instead of blocks", dropped=True)
class Zeros(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.piece(piece, begin, bytes(length))


@liar("unchokes and answers nothing", seconds=45)
class Silent(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()


@liar("sends half of each block and stops", seconds=45)
class HalfBlock(Liar):
    def on_request(self, conn, piece, begin, length):
        if not self.lied.is_set():
            self.tell_lie()
            conn.raw(message(PIECE, piece, begin,
                             self.content.block(piece, begin, length))[:9000])
            time.sleep(100)


@liar("sends a byte of a block a second", seconds=45)
class DripBlock(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        whole = message(PIECE, piece, begin,
                        self.content.block(piece, begin, length))
        for i in range(120):
            conn.raw(whole[i:i + 1])
            time.sleep(1)


@liar("has everything and never unchokes")
class NeverUnchokes(Liar):
    def on_interested(self, conn):
        self.tell_lie()


@liar("chokes and unchokes at each request")
class Flapping(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.send(CHOKE)
        conn.send(REJECT, piece, begin, length)
        conn.send(UNCHOKE)


@liar("the same, without the fast extension")
class FlappingSlow(Liar):
    reserved = EXT

    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.send(CHOKE)
        conn.send(UNCHOKE)


@liar("flaps a thousand times a second")
class FlappingFast(Liar):
    def on_interested(self, conn):
        self.tell_lie()

        def run():
            try:
                while True:
                    conn.raw((message(UNCHOKE) + message(CHOKE)) * 10)
                    time.sleep(0.01)
            except Exception:  # the test is over
                pass
        threading.Thread(target=run, daemon=True).start()

    def on_request(self, conn, piece, begin, length):
        conn.send(REJECT, piece, begin, length)


@liar("rejects every request")
class Rejects(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.send(REJECT, piece, begin, length)


@liar("rejects every request twice, and others' too")
class RejectsMore(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        for _ in range(2):
            conn.send(REJECT, piece, begin, length)
        conn.send(REJECT, (piece + 1) % self.content.num_pieces, 0, 100)


@liar("answers each request with the next block")
class WrongBegin(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        other = (begin + BLOCK) % PIECE_LENGTH
        conn.piece(piece, other, self.content.block(piece, begin, length))


@liar("answers with begin one byte off")
class BeginOff(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.piece(piece, begin + 1,
                   self.content.block(piece, begin, length)[:-1])


@liar("answers with another piece")
class WrongPiece(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.piece((piece + 1) % (self.content.num_pieces - 1), begin,
                   self.content.block(piece, begin, length))


@liar("blocks a byte too short")
class Short(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.piece(piece, begin,
                   self.content.block(piece, begin, length)[:-1])


@liar("blocks twice as long as asked")
class Long(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.piece(piece, 0, self.content.block(piece, 0, 2 * length))


@liar("every block three times")
class Duplicates(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        for _ in range(3):
            conn.piece(piece, begin, self.content.block(piece, begin, length))


@liar("right blocks, and wrong ones that nobody asked for")
class Unasked(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.piece(piece, begin, self.content.block(piece, begin, length))
        conn.piece((piece + 7) % (self.content.num_pieces - 1), begin,
                   bytes(length))


@liar("closes at each request")
class Closing(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        raise Closed("it hangs up")


@liar("closes in the middle of a block")
class ClosingInBlock(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.raw(message(PIECE, piece, begin, self.content.block(
            piece, begin, length))[:5000])
        raise Closed("it hangs up")


@liar("has everything, then takes all of it back")
class DontHave(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        for i in range(self.content.num_pieces):
            conn.raw(extended(conn.theirs.get(b"m", {}).get(b"lt_donthave", 2),
                              struct.pack(">I", i)))


@liar("claims all pieces by HAVE, a million of them", seconds=40)
class HaveFlood(Liar):
    def tell_have(self, conn):
        conn.send(HAVE_NONE)
        self.tell_lie()
        item = b"".join(message(HAVE, i)
                        for i in range(self.content.num_pieces))
        conn.flood(item, 10 ** 6 // self.content.num_pieces)


@liar("allows pieces while choked, then rejects them")
class AllowedFast(Liar):
    def tell_have(self, conn):
        conn.send(HAVE_ALL)
        for i in range(self.content.num_pieces):
            conn.send(ALLOWED_FAST, i)
            conn.send(SUGGEST, i)

    def on_interested(self, conn):
        pass

    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.send(REJECT, piece, begin, length)


@liar("allows pieces while choked, and answers nothing", seconds=45)
class AllowedSilent(AllowedFast):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()


@liar("two bitfields, then a third one that is empty")
class Bitfields(Liar):
    def tell_have(self, conn):
        self.tell_lie()
        conn.send(BITFIELD, self.content.bits())
        conn.send(BITFIELD, self.content.bits())
        conn.send(BITFIELD, self.content.bits(False))


@liar("have all, have none and a bitfield, over and over")
class HaveAllNone(Liar):
    def tell_have(self, conn):
        self.tell_lie()
        for _ in range(200):
            conn.send(HAVE_ALL)
            conn.send(HAVE_NONE)
            conn.send(BITFIELD, self.content.bits())
        conn.send(HAVE_NONE)


@liar("have all without the fast extension")
class HaveAllUnagreed(Liar):
    reserved = EXT

    def tell_have(self, conn):
        self.tell_lie()
        conn.send(HAVE_ALL)

    def on_request(self, conn, piece, begin, length):
        conn.send(REJECT, piece, begin, length)


@liar("says nothing of what it has, and unchokes")
class Mute(Liar):
    def tell_have(self, conn):
        self.tell_lie()
        conn.send(UNCHOKE)


@liar("asks us for everything, while choked", dropped=True)
class Asking(Liar):
    def tell_have(self, conn):
        super().tell_have(conn)
        self.tell_lie()
        conn.flood(message(REQUEST, 0, 0, BLOCK), 100000, seconds=5)


@liar("an oversized message in the middle of a block stream", dropped=True)
class Oversized(Liar):
    def on_request(self, conn, piece, begin, length):
        self.tell_lie()
        conn.piece(piece, begin, self.content.block(piece, begin, length))
        conn.raw(b"\x7f\xff\xff\xff\x07" + bytes(1000))


@liar("a handshake for another torrent", dropped=True)
class OtherTorrent(Liar):
    def greet(self, conn):
        conn.read_handshake()
        self.tell_lie()
        conn.handshake(self.reserved, b"x" * 20, read=False)


@liar("the daemon's own peer id", dropped=True)
class Mirror(Liar):
    def greet(self, conn):
        conn.read_handshake()
        self.tell_lie()
        conn.handshake(self.reserved, peerid=conn.their_id, read=False)


@liar("no handshake at all")
class NoHandshake(Liar):
    def greet(self, conn):
        self.tell_lie()
        time.sleep(100)


@liar("random bytes after the handshake")
class Random(Liar):
    def tell(self, conn):
        self.tell_lie()
        conn.flood(os.urandom(1 << 16), 10, seconds=5)
