#!/usr/bin/python3
"""Goal: in a torrent of a million pieces, no few bytes from a peer make the
daemon walk over all of them again and again."""
import hashlib
import random
import struct
import time

from abuse import BAD, ME, Content, dial, get, is_listening
from harness import case, main, until
from peer import (ALLOWED_FAST, BITFIELD, CHOKE, HAVE, HAVE_ALL, HAVE_NONE,
                  LT_DONTHAVE, REJECT, UNCHOKE, extended, message)
from torrent import bencode

PIECES, PIECE_LENGTH = 1 << 20, 1 << 18
LAST = PIECES - 1


class Phantom:
    """A torrent whose data nobody has."""

    def __init__(self, box):
        self.num_pieces, self.piece_length = PIECES, PIECE_LENGTH
        self.size, self.name = PIECES * PIECE_LENGTH, "phantom.bin"
        info = {"name": self.name, "piece length": PIECE_LENGTH,
                "length": self.size,
                "pieces": random.Random(1).randbytes(20 * PIECES)}
        self.hash = hashlib.sha1(bencode(info)).hexdigest()
        self.path = box.write("phantom.torrent", bencode({"info": info}))


def take_back(piece):
    return extended(LT_DONTHAVE, struct.pack(">I", piece))


def bitfield(seed):
    return message(BITFIELD, random.Random(seed).randbytes(PIECES // 8))


ALMOST = message(BITFIELD, b"\xff" * (PIECES // 8 - 1) + b"\xfe")
MANY = random.Random(2).sample(range(PIECES), 1000)

# What is sent first, then often; how often.
FLOODS = {
    "bitfields": (b"", bitfield(1) + bitfield(2), 100),
    "have all and have none": (b"", message(HAVE_ALL) + message(HAVE_NONE),
                               100000),
    "have all, one taken back": (b"", message(HAVE_ALL) + take_back(5), 50000),
    "the last piece comes and goes": (
        ALMOST, message(HAVE, LAST) + take_back(LAST), 100000),
    "the same, unchoked between": (
        ALMOST, message(HAVE, LAST) + message(UNCHOKE) + take_back(LAST)
        + message(CHOKE), 20000),
    "haves all over": (b"", b"".join(message(HAVE, i) for i in MANY), 200),
    "haves all over, and back": (
        b"", b"".join(message(HAVE, i) + take_back(i) for i in MANY), 100),
    "unchoke and choke": (message(HAVE_ALL), message(UNCHOKE)
                          + message(CHOKE), 20000),
    "one that has nothing unchokes": (message(HAVE_NONE), message(UNCHOKE)
                                      + message(CHOKE), 20000),
    "pieces allowed": (message(HAVE_ALL), b"".join(
        message(ALLOWED_FAST, i) for i in MANY), 100),
    "rejects": (message(HAVE_ALL), b"".join(
        message(REJECT, i, 0, 16384) for i in MANY), 100),
}


@case("floods of what is had, wanted and allowed, a million pieces", 240)
def large(box):
    torrent = Phantom(box)
    content = Content(torrent, with_data=False)
    daemon = get(box, torrent.path, [])
    until(lambda: is_listening(daemon.port), 20, "weirctl get listens")
    time.sleep(1)
    for what, (first, often, times) in FLOODS.items():
        conn = dial(content, ME, daemon.port, BAD)
        conn.ext_handshake()
        conn.raw(first or message(HAVE_NONE))
        until(daemon.is_calm, 20, "calm before the flood")
        daemon.mark()
        sent = conn.flood(often, times, seconds=60)
        daemon.check_flat(f"{what}, {sent} of {times}", 1)
        conn.close()


main()
