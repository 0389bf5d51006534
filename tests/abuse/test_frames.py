#!/usr/bin/python3
"""Goal: a peer that breaks a rule of the wire is dropped at once, and nothing
else comes of it, however often it returns."""
from abuse import (BAD, COUNT, ME, Closed, check, check_serves, dial, make,
                   seed)
from harness import case, main
from peer import (ALLOWED_FAST, BITFIELD, CANCEL, CHOKE, EXTENDED, HAVE,
                  HAVE_ALL, HAVE_NONE, INTERESTED, LT_DONTHAVE,
                  NOT_INTERESTED, PIECE, PORT, REJECT, REQUEST, SUGGEST,
                  UNCHOKE, UT_METADATA, extended, message)
from torrent import bencode

PIECES, PIECE_LENGTH, LAST = 33, 1 << 16, 1000
EVEN = b"\xff" * 4 + b"\x80"  # a bitfield of 33 pieces


def deep(n):
    return b"d1:m" + b"l" * n + b"e" * (n + 1)


FRAMES = {
    "4 GiB message": b"\xff\xff\xff\xff\x14",
    "message of 1 MiB and a byte": b"\x00\x10\x00\x01\x14",
    "keepalive of 2 GiB": b"\x80\x00\x00\x00",
    "long choke": message(CHOKE, b"\0"),
    "long unchoke": message(UNCHOKE, b"\0"),
    "long interested": message(INTERESTED, b"\0"),
    "long not interested": message(NOT_INTERESTED, b"\0"),
    "short have": message(HAVE, b"\0\0\0"),
    "long have": message(HAVE, 0, b"\0"),
    "have beyond the end": message(HAVE, PIECES),
    "have of 2^32-1": message(HAVE, 0xffffffff),
    "empty bitfield": message(BITFIELD),
    "short bitfield": message(BITFIELD, EVEN[:-1]),
    "long bitfield": message(BITFIELD, EVEN + b"\0"),
    "bitfield of 1 MiB": b"\x00\x10\x00\x00\x05",
    "bitfield with a spare bit": message(BITFIELD, EVEN[:-1] + b"\x81"),
    "bitfield of spare bits": message(BITFIELD, bytes(4) + b"\x7f"),
    "short request": message(REQUEST, 0, 0),
    "long request": message(REQUEST, 0, 0, 16384, b"\0"),
    "request beyond the end": message(REQUEST, PIECES, 0, 16384),
    "request over the piece's end": message(REQUEST, 0, PIECE_LENGTH, 1),
    "request over the last piece's end": message(REQUEST, PIECES - 1, 0,
                                                 LAST + 1),
    "request whose end wraps": message(REQUEST, 0, 0xffffffff, 16384),
    "request of nothing": message(REQUEST, 0, 0, 0),
    "request of 128 KiB and a byte": message(REQUEST, 0, 0, (1 << 17) + 1),
    "request of 4 GiB": message(REQUEST, 0, 0, 0xffffffff),
    "cancel beyond the end": message(CANCEL, PIECES, 0, 16384),
    "short cancel": message(CANCEL, b"\0"),
    "reject beyond the end": message(REJECT, PIECES, 0, 16384),
    "long reject": message(REJECT, 0, 0, 0, 0),
    "piece beyond the end": message(PIECE, PIECES, 0, b"x"),
    "piece over the piece's end": message(PIECE, 0, PIECE_LENGTH, b"x"),
    "piece at 2^32-1": message(PIECE, 0, 0xffffffff, b"x"),
    "piece without a block": message(PIECE, 0, 0),
    "piece of 1 MiB": b"\x00\x10\x00\x00\x07" + bytes(8),
    "short port": message(PORT, b"\0"),
    "long port": message(PORT, b"\0\0\0"),
    "suggest beyond the end": message(SUGGEST, PIECES),
    "long have all": message(HAVE_ALL, b"\0"),
    "long have none": message(HAVE_NONE, b"\0"),
    "allowed fast beyond the end": message(ALLOWED_FAST, PIECES),
    "extended without an id": message(EXTENDED),
    "extended handshake of 1 MiB": b"\x00\x10\x00\x00\x14\x00",
    "extended handshake of nothing": extended(0, b""),
    "extended handshake that is a list": extended(0, b"le"),
    "extended handshake cut short": extended(0, b"d1:md11:ut_met"),
    "bencode bomb: deep": extended(0, deep(5000)),
    "bencode bomb: wide": extended(0, b"d1:ml" + b"0:" * 20000 + b"ee"),
    "bencode bomb: long string": extended(0, b"d1:m99999999999999999999:x"),
    "bencode bomb: long number": extended(
        0, b"d1:pi" + b"9" * 30000 + b"ee"),
    "metadata that is no bencode": extended(UT_METADATA, b"\xff" * 100),
    "metadata without a type": extended(UT_METADATA, b"de"),
    "metadata part of 2^31": extended(
        UT_METADATA, bencode({"msg_type": 0, "piece": 1 << 31})),
    "metadata part below 0": extended(
        UT_METADATA, bencode({"msg_type": 0, "piece": -1})),
    "metadata message of 1 MiB": b"\x00\x10\x00\x00\x14\x01",
    "short lt_donthave": extended(LT_DONTHAVE, b"\0\0\0"),
    "lt_donthave beyond the end": extended(LT_DONTHAVE, b"\0\0\0\x21"),
}


@case("each bad frame ends its connection, and only that", 180)
def each(box):
    daemon, content = seed(box, make(box))
    missed = []
    for what, frame in FRAMES.items():
        conn = dial(content, ME, daemon.port, BAD)
        conn.raw(frame)
        if not conn.is_cut(3):
            missed.append(what)
        conn.close(hard=True)
        daemon.check_alive()
    check(not missed, f"not dropped after: {missed}")
    check_serves(daemon, content)


@case("each bad frame, cut into single bytes", 180)
def bytewise(box):
    daemon, content = seed(box, make(box))
    missed = []
    for what, frame in FRAMES.items():
        conn = dial(content, ME, daemon.port, BAD)
        try:
            for i in range(min(len(frame), 60)):
                conn.raw(frame[i:i + 1])
            conn.raw(frame[60:])
        except Closed:
            pass  # it did not wait for the rest
        if not conn.is_cut(3):
            missed.append(what)
        conn.close(hard=True)
    check(not missed, f"not dropped after: {missed}")
    check_serves(daemon, content)


@case("handshakes that are none, for no torrent, or its own", 60)
def handshakes(box):
    daemon, content = seed(box, make(box))
    for greeting in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(60),
                     b"\x13BitTorrent protocoL" + bytes(48), b"\x14" * 68,
                     bytes(68),
                     b"\x13BitTorrent protocol" + bytes(8) + b"x" * 40):
        conn = dial(content, ME, daemon.port, BAD, greet=False)
        conn.raw(greeting)
        check(conn.is_cut(3), f"stays connected after {greeting[:30]!r}")
        conn.close(hard=True)
    conn = dial(content, ME, daemon.port, BAD)  # tells us its id
    again = dial(content, ME, daemon.port, BAD, greet=False)
    again.handshake(peerid=conn.their_id, read=False)
    check(again.is_cut(3), "it talks to itself")
    check_serves(daemon, content)


@case("a liar that returns thousands of times leaves no trace", 1800)
def returning(box):
    daemon, content = seed(box, make(box))
    check_serves(daemon, content)
    frames = list(FRAMES.values())
    greeted = 0
    for n in range(COUNT // 10):
        if n == 200:
            daemon.mark()  # caches have been filled
        try:
            conn = dial(content, ME, daemon.port, BAD, greet=False)
        except Closed:
            continue
        try:
            # Handshake and frame in one write: half of the connections
            # are cut before the answer is read.
            conn.handshake(read=n % 2 == 0)
            greeted += n % 2 == 0
            conn.raw(frames[n % len(frames)])
            check(conn.is_cut(2), "not cut")
        except Closed:
            pass
        conn.close(hard=True)
    check(greeted > COUNT // 25, f"greeted {greeted} times only")
    daemon.check_flat(f"{COUNT // 10} bad connections", COUNT / 10 * 0.001)
    check_serves(daemon, content)


main()
