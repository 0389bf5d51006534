#!/usr/bin/python3
"""Goal: a mount whose peers lie gives right bytes or waits, never a wrong one,
and stays small and quick to answer."""
import os
import threading
import time

import liars
from abuse import (BAD, COUNT, GOOD, ME, Closed, Content, Daemon, check, dial,
                   make, program)
from harness import SLOW, case, main, until
from peer import HAVE, INTERESTED, NOT_INTERESTED, Peer, message


def mount(box, torrent, peers):
    at, port = box.mkdir("mnt"), box.port()
    proc = box.spawn([program("fs/weirfs"), torrent.path, at, "-f", "-o",
                      "single,nodht,nolsd,"
                      f"state={box.mkdir('state')},data={box.mkdir('data')},"
                      f"port={port},bind={ME},"
                      + ",".join(f"peer={p.at}" for p in peers)], "weirfs")
    daemon = Daemon(proc, port)
    film = os.path.join(at, torrent.name)

    def ready():
        daemon.check_alive()
        return os.path.ismount(at) and os.path.exists(film)
    until(ready, 20, "the mount is up")
    return daemon, film


def read_all(path, into):
    try:
        with open(path, "rb", buffering=0) as f:
            while chunk := f.read(1 << 17):
                into.append(chunk)
    except OSError as e:
        print(f"# the reader ended: {e}")


def reading(path):
    """A reader in a thread; its bytes so far."""
    into = []
    thread = threading.Thread(target=read_all, args=(path, into), daemon=True)
    thread.start()
    return thread, into


def read_case(goal, cls, seconds):
    @case(f"read through a mount beside a peer that lies: {goal}",
          3 * seconds + 60)
    def read(box):
        torrent = make(box, 2 ** 23 + 1000, liars.PIECE_LENGTH)
        content = Content(torrent)
        bad, good = cls(content, BAD), Peer(content, GOOD)
        good.gate.clear()
        daemon, film = mount(box, torrent, [bad, good])
        thread, into = reading(film)
        bad.lied.wait(10 * SLOW)
        time.sleep(0.5)
        box.quick(["ls", "-l", os.path.dirname(film)], 2)
        got = b"".join(into)
        check(content.data.startswith(got), "wrong bytes were read")
        good.gate.set()
        thread.join(seconds * SLOW)
        check(not thread.is_alive(),
              f"not read in {seconds * SLOW:g} s: {len(b''.join(into))} bytes")
        check(b"".join(into) == content.data, "wrong bytes were read")
        daemon.check_alive()


for name in ("every block has a wrong bit", "one block in ten has a wrong bit",
             "unchokes and answers nothing", "sends half of each block and stops",
             "chokes and unchokes at each request", "rejects every request",
             "answers each request with the next block",
             "has everything, then takes all of it back"):
    read_case(name, *liars.LIARS[name][:2])


@case("a mount with nobody but a liar waits, and never shows a wrong byte", 60)
def alone(box):
    torrent = make(box, 2 ** 21 + 1000, liars.PIECE_LENGTH)
    content = Content(torrent)
    bad = liars.Corrupt(content, BAD)
    daemon, film = mount(box, torrent, [bad])
    thread, into = reading(film)
    time.sleep(6)
    check(not into, f"{len(into)} reads of wrong bytes")
    box.quick(["ls", "-l", os.path.dirname(film)], 2)
    check(bad.accepted < 20, f"{bad.accepted} connections to a banned peer")
    bad.close()
    daemon.check_alive()


@case("ls and stat answer at once while a mount is flooded", 120)
def flooded(box):
    torrent = make(box)
    content = Content(torrent)
    good = Peer(content, GOOD)
    daemon, film = mount(box, torrent, [good])
    into = []
    read_all(film, into)
    check(b"".join(into) == content.data, "wrong bytes were read")
    daemon.mark()
    stop = threading.Event()
    sent = []

    def flood(item):
        while not stop.is_set():
            try:
                conn = dial(content, ME, daemon.port, BAD)
                conn.ext_handshake()
                sent.append(conn.flood(item, COUNT, seconds=10))
                conn.close()
            except Closed:
                time.sleep(0.05)

    floods = [threading.Thread(target=flood, args=(item,)) for item in (
        message(HAVE, 1), message(INTERESTED) + message(NOT_INTERESTED))]
    for t in floods:
        t.start()
    worst, end = 0.0, time.monotonic() + 10
    try:
        while time.monotonic() < end:
            worst = max(worst, box.quick(["ls", "-l", os.path.dirname(film)],
                                         3))
            time.sleep(0.1)
    finally:
        stop.set()
        for t in floods:
            t.join()
    print(f"# slowest ls: {worst * 1000:.0f} ms, {sum(sent)} items")
    daemon.check_flat("floods of a mount")


main()
