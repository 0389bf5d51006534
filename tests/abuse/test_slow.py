#!/usr/bin/python3
"""Goal: who connects and says little, slowly or nothing holds up nobody, and
is gone in time."""
import time

from abuse import (BAD, COUNT, LONG, ME, Closed, check, check_serves, dial,
                   make, seed)
from harness import SLOW, case, main
from peer import HAVE_NONE, PROTOCOL, message


def strangers(content, daemon, n, greeting=b""):
    conns = []
    for _ in range(n):
        try:
            conn = dial(content, ME, daemon.port, BAD, greet=False)
            conn.raw(greeting)
            conns.append(conn)
        except Closed:
            pass
    return conns


def still_open(conns):
    return sum(not c.is_cut(0.01) for c in conns)


@case("three hundred who never greet keep nobody out, and are gone in 15 s")
def silent(box):
    daemon, content = seed(box, make(box))
    check_serves(daemon, content)
    daemon.mark()
    conns = strangers(content, daemon, 300)
    held = still_open(conns)
    print(f"# {held} of 300 are kept waiting")
    check(held <= 64, f"{held} strangers are kept")
    check_serves(daemon, content)
    time.sleep(13 * SLOW)
    held = still_open(conns)
    check(held == 0, f"{held} strangers are still there")
    daemon.check_flat("silent strangers", 1)


@case("half a handshake, and one that comes a byte a second")
def half(box):
    daemon, content = seed(box, make(box))
    conns = strangers(content, daemon, 5, PROTOCOL + bytes(20))
    drip = dial(content, ME, daemon.port, BAD, greet=False)
    greeting = PROTOCOL + bytes(8) + content.infohash + bytes(20)
    began = time.monotonic()
    try:
        for i in range(60):
            drip.raw(greeting[i:i + 1])
            if drip.is_cut(0.7):
                break
    except Closed:
        pass
    took = time.monotonic() - began
    check(took < 15 * SLOW, f"a dripping handshake is borne {took:.0f} s")
    check(still_open(conns) == 0, "half handshakes are borne")
    check_serves(daemon, content)


@case("half a bitfield is borne without memory for the rest", 200)
def half_message(box):
    daemon, content = seed(box, make(box))
    check_serves(daemon, content)
    daemon.mark()
    conns = []
    for i in range(60):
        try:
            conn = dial(content, ME, daemon.port, BAD, greet=False)
            conn.handshake(peerid=b"-TP0000-%012d" % i)
            # An extended handshake of 64 KiB, of which a part comes.
            conn.raw(b"\x00\x01\x00\x00\x14\x00" + b"d" * 100)
            conns.append(conn)
        except Closed:
            pass
    check_serves(daemon, content)
    daemon.check_flat(f"{len(conns)} messages half here", 2)
    if LONG:
        time.sleep(75 * SLOW)
        check(still_open(conns) == 0, "half messages are borne for ever")


@case("a message that comes byte by byte costs no more than its bytes", 300)
def bytewise(box):
    daemon, content = seed(box, make(box))
    check_serves(daemon, content)
    conn = dial(content, ME, daemon.port, BAD)
    conn.send(HAVE_NONE)
    daemon.mark()
    body = b"\x00\x00\xc3\x50\x14\x00" + b"d" * (COUNT // 10)
    try:
        for i in range(COUNT // 10):
            conn.raw(body[i:i + 1])
    except Closed:
        pass
    daemon.check_flat("an extended message in single bytes", COUNT * 2e-5)
    check_serves(daemon, content)


@case("connections that come and go leave nothing behind", 600)
def coming_and_going(box):
    daemon, content = seed(box, make(box))
    check_serves(daemon, content)
    for n in range(COUNT // 10):
        if n == 200:
            daemon.mark()
        try:
            conn = dial(content, ME, daemon.port, BAD, greet=False)
        except Closed:
            continue
        try:
            if n % 4 > 0:
                conn.handshake(read=n % 4 > 1)
            if n % 4 > 2:
                conn.raw(message(HAVE_NONE))
        except Closed:
            pass
        conn.close(hard=n % 2)
    daemon.check_flat(f"{COUNT // 10} short connections", COUNT / 10 * 0.001)
    check_serves(daemon, content)


main()
