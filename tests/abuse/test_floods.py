#!/usr/bin/python3
"""Goal: messages that are legal one by one cost nothing by the hundred
thousand: no memory, little time, and others are served meanwhile."""
import os
import struct
import threading

from abuse import (BAD, COUNT, GOOD, ME, Closed, check, check_serves, dial,
                   make, seed)
from harness import SLOW, case, main
from peer import (ALLOWED_FAST, BITFIELD, CANCEL, CHOKE, EXT, HAVE, HAVE_ALL,
                  HAVE_NONE, INTERESTED, LT_DONTHAVE, NOT_INTERESTED, PIECE,
                  PORT, REJECT, REQUEST, SUGGEST, UNCHOKE, UT_METADATA, Leech,
                  extended, message)
from torrent import bencode

PIECES = 33
NONE, ALL = bytes(5), b"\xff" * 4 + b"\x80"
ext = bencode({"m": {"ut_metadata": 9, "lt_donthave": 7, "x" * 200: 3},
               "metadata_size": 4321, "reqq": 1, "v": "x" * 3000, "p": 6881})


def data_part(n):
    return bencode({"msg_type": 1, "piece": n, "total_size": 999}) + b"x" * 999


# One item of each flood, and how many of what it holds it counts as.
FLOODS = {
    "keepalives": bytes(4),
    "the same have": message(HAVE, 3),
    "all haves, over and over": b"".join(message(HAVE, i)
                                         for i in range(PIECES)),
    "have and dont-have": message(HAVE, 1)
    + extended(LT_DONTHAVE, struct.pack(">I", 1)),
    "bitfields": message(BITFIELD, NONE) + message(BITFIELD, ALL[:4] + b"\0"),
    "have none, bitfield, have none": message(HAVE_NONE)
    + message(BITFIELD, b"\x55" * 4 + b"\0"),
    "interest that comes and goes": message(INTERESTED)
    + message(NOT_INTERESTED),
    "choke and unchoke": message(UNCHOKE) + message(CHOKE),
    "cancels of nothing": message(CANCEL, 1, 0, 16384),
    "rejects of nothing": message(REJECT, 1, 0, 16384),
    "suggestions": message(SUGGEST, 5),
    "allowed fast": b"".join(message(ALLOWED_FAST, i) for i in range(PIECES)),
    "ports": message(PORT, b"\x1a\xe1"),
    "unknown ids": message(77, b"whatever"),
    "unknown extensions": extended(99, b"whatever"),
    "long unknown messages": message(200, bytes(5000)),
    "extended handshakes": extended(0, ext),
    "metadata nobody asked for": extended(UT_METADATA, data_part(0)),
    "metadata rejects": extended(UT_METADATA,
                                 bencode({"msg_type": 2, "piece": 0})),
    "metadata messages of the future": extended(
        UT_METADATA, bencode({"msg_type": 7, "piece": 0})),
    "metadata requests": extended(UT_METADATA,
                                  bencode({"msg_type": 0, "piece": 0})),
    "metadata requests beyond the end": extended(
        UT_METADATA, bencode({"msg_type": 0, "piece": 1000})),
}
# Those that keep the connection; of the others it is the daemon's choice.
KEPT = {"keepalives", "the same have", "cancels of nothing", "suggestions",
        "ports", "unknown ids", "unknown extensions"}


def opened(content, daemon):
    conn = dial(content, ME, daemon.port, BAD)
    conn.ext_handshake()
    conn.send(HAVE_NONE)
    return conn


def flood_case(what, item):
    @case(f"{what}, {COUNT} times", 120)
    def flood(box):
        daemon, content = seed(box, make(box))
        check_serves(daemon, content)
        conn = opened(content, daemon)
        conn.flood(item, 1000)
        daemon.mark()
        # Long items are counted by their bytes, as 64 a message.
        times = max(1000, COUNT * 64 // max(64, len(item)))
        sent = conn.flood(item, times)
        print(f"# {sent} of {times} taken")
        if what in KEPT:
            check(sent == times, f"dropped after {sent} of {what}")
            # The next good message is understood.
            conn.send(REQUEST, 0, 0, 16384)
            conn.recv_until(REJECT)
        daemon.check_flat(what, 2 + times * 2e-5)
        conn.close()
        check_serves(daemon, content)


for name, one in FLOODS.items():
    flood_case(name, one)


@case("an honest leecher is served while floods run", 120)
def beside(box):
    daemon, content = seed(box, make(box, 2 ** 24 + 1000, 1 << 19))
    stop = threading.Event()

    def run(item):
        while not stop.is_set():
            try:
                conn = opened(content, daemon)
                conn.flood(item, 20000, seconds=2)
                conn.close()
            except Closed:
                pass

    floods = [threading.Thread(target=run, args=(message(HAVE, 3),)),
              threading.Thread(target=run, args=(message(INTERESTED)
                                                 + message(NOT_INTERESTED),))]
    for t in floods:
        t.start()
    try:
        got = Leech(content, ME, daemon.port, GOOD).get_all(40 * SLOW)
    finally:
        stop.set()
        for t in floods:
            t.join()
    check(got == content.data, "wrong bytes")
    daemon.check_flat("floods beside a leecher")


@case("requests while choked are answered a few hundred times, then dropped")
def choked(box):
    daemon, content = seed(box, make(box))
    conn = opened(content, daemon)
    conn.flood(message(REQUEST, 0, 0, 16384), COUNT, seconds=20)
    check(conn.is_cut(5), "still connected")
    daemon.check_flat("requests while choked", 2)
    check_serves(daemon, content)


def unchoked(content, daemon, reserved=None):
    conn = dial(content, ME, daemon.port, BAD,
                **({} if reserved is None else {"reserved": reserved}))
    if reserved is None:
        conn.send(HAVE_NONE)
    conn.send(INTERESTED)
    conn.recv_until(UNCHOKE, 15)
    return conn


def request_flood(box, reserved):
    daemon, content = seed(box, make(box))
    check_serves(daemon, content)
    conn = unchoked(content, daemon, reserved)
    daemon.mark()
    # Nothing is read: what the daemon keeps for us is its own limit.
    conn.sock.settimeout(10)
    try:
        for _ in range(COUNT // 1000):
            conn.sock.sendall(message(REQUEST, 0, 0, 16384) * 1000)
    except OSError:
        pass
    daemon.check_flat(f"{COUNT} requests, no answer read", 3)
    conn.close()
    daemon.check_flat("the same, gone", 3)
    check_serves(daemon, content)


@case("a hundred thousand requests by one who reads nothing")
def requests(box):
    request_flood(box, None)


@case("the same without the fast extension")
def requests_slow(box):
    request_flood(box, EXT)


@case("metadata requests by one who reads nothing")
def metadata_unread(box):
    daemon, content = seed(box, make(box, 2 ** 22, 1 << 14))  # 5 KiB of info
    check_serves(daemon, content)
    conn = opened(content, daemon)
    item = extended(UT_METADATA, bencode({"msg_type": 0, "piece": 0}))
    conn.sock.settimeout(5)
    daemon.mark()
    try:
        for _ in range(COUNT // 1000):
            conn.sock.sendall(item * 1000)
    except OSError:
        pass
    conn.close()
    daemon.check_flat("metadata requests unread", 3)
    check_serves(daemon, content)


@case("blocks that nobody asked for", 120)
def unasked(box):
    daemon, content = seed(box, make(box))
    check_serves(daemon, content)
    daemon.mark()
    for _ in range(20):
        conn = opened(content, daemon)
        conn.flood(message(PIECE, 1, 0, os.urandom(16384)), COUNT // 200,
                   seconds=10)
        conn.close()
    daemon.check_flat("unasked blocks", 10)
    check_serves(daemon, content)


@case("upload slots cannot be held by many who ask for nothing", 90)
def slots(box):
    daemon, content = seed(box, make(box))
    idle = []
    for i in range(40):
        try:
            conn = dial(content, ME, daemon.port, BAD, greet=False)
            conn.handshake(peerid=b"-TP0000-%012d" % i)
            conn.send(HAVE_NONE)
            conn.send(INTERESTED)
            idle.append(conn)
        except Closed:
            pass
    print(f"# {len(idle)} idle peers are connected")
    # Who takes nothing is relieved after 20 s.
    got = Leech(content, ME, daemon.port, GOOD).get_all(45 * SLOW)
    check(got == content.data, "wrong bytes")


main()
