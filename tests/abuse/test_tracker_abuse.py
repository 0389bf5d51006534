#!/usr/bin/python3
"""Goal: whoever forges, replays, floods, dawdles or talks nonsense at a
weir-tracker meets a limit, costs little, and honest clients get right answers
all the while."""
import os
import random
import resource
import select
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import LONG, SLOW, Failed, case, check, main, same, until
from trackerclient import (MAGIC, Udp, announce_packet, announce_path,
                           http_announce, http_get)
from trackernet import SOURCES, Net
from trackers import PORT, Asker, Flood, Tracker, need_tracker, swarm_hash

MIB = 1 << 20
MORE_KIB = 8 << 10  # over the cap of peers and torrents
HONEST = SOURCES[249]  # of a /24 that no attack comes from
GOOD = swarm_hash(0)
BEHIND_RATE_S = 5  # a bucket that was emptied is full again


def start(box, *more):
    need_tracker("--rate", "--max-memory")
    t = Tracker(box, Net(box).host("t1", 1), domain=None, more=more).start()
    # What it needs once, for threads and first answers.
    http_announce(t.ip, PORT, GOOD, 1001, HONEST, left=0)
    with_udp(t, HONEST).announce(GOOD, 1002, numwant=50)
    t.before = t.stats()
    t.rss0 = t.rss_kib()
    return t


def with_udp(t, source):
    return Udp(t.ip, PORT, source)


def counted(t, what, name):
    """How much more of "udp" or "http" NAME than at the start."""
    return t.stats()[what][name] - t.before[what][name]


def still_right(t, what, most_kib=MORE_KIB):
    """Honest answers over both protocols, no memory lost. Prints figures."""
    check(t.is_up(), f"{what}: it ended: {t.p.log()[-800:]}")
    began = time.monotonic()
    got = http_announce(t.ip, PORT, GOOD, 1001, HONEST, left=0)
    check(f"{HONEST}:1002" in got["all"], f"{what}: HTTP names {got['all']}")
    u = with_udp(t, HONEST)
    seeders, leechers, peers = u.announce(GOOD, 1002, numwant=50)
    u.close()
    same((seeders, leechers), (1, 1), f"{what}: seeders, leechers")
    check(f"{HONEST}:1001" in peers, f"{what}: UDP names {peers}")
    took = time.monotonic() - began
    grown = t.rss_kib() - t.rss0
    print(f"# {what}: {grown:+} KiB, honest answers in {took * 1000:.0f} ms",
          flush=True)
    check(took < 4 * SLOW, f"{what}: honest answers took {took:.2f} s")
    if SLOW == 1:  # a sanitizer's memory says nothing
        check(grown <= most_kib, f"{what}: {grown} KiB more than before")


# --- who they say they are

class Forger:
    """Sends UDP with any source address, to one tracker."""

    def __init__(self, to):
        self.to = to
        self.s = socket.socket(socket.AF_INET, socket.SOCK_RAW,
                               socket.IPPROTO_RAW)
        self.bytes = 0

    def send(self, source, port, payload):
        udp = struct.pack(">HHHH", port, PORT, 8 + len(payload), 0) + payload
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64,
                           17, 0, socket.inet_aton(source),
                           socket.inet_aton(self.to))
        self.s.sendto(head + udp, (self.to, 0))
        self.bytes += len(payload)


class Ear:
    """Counts the bytes of UDP that come from TRACKER."""

    def __init__(self, tracker):
        self.s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM,
                               socket.htons(0x0800))
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * MIB)
        self.s.bind(("br0", 0x0800))  # not the link: bridges go before us
        self.s.setblocking(False)
        self.source = socket.inet_aton(tracker.ip)
        self.bytes = self.packets = 0

    def listen(self, seconds=0.0):
        end = time.monotonic() + seconds
        while True:
            try:
                d, at = self.s.recvfrom(4096)
            except BlockingIOError:
                if time.monotonic() > end:
                    return
                time.sleep(0.01)
                continue
            if d[12:16] == self.source and d[9] == 17 and at[2] != 4:
                self.bytes += len(d) - 28
                self.packets += 1


@case("forged sources list nobody, and get no more bytes than they send", 120)
def forged(box):
    t = start(box, "--rate", "0")
    honest = with_udp(t, HONEST)
    cid = honest.connect()
    ear, forger = Ear(t), Forger(t.ip)
    rnd = random.Random(1)
    count = 50000 if LONG else 10000
    began = time.monotonic()
    for i in range(count):
        source, port = rnd.choice(SOURCES[:249]), rnd.randrange(1, 65536)
        # Connects; announces with guessed ids, and with one that is good for
        # somebody else.
        if i % 3 == 0:
            data = struct.pack(">QII", MAGIC, 0, i)
        else:
            guess = cid if i % 3 == 1 else rnd.getrandbits(64)
            data = announce_packet(guess, i, swarm_hash(1 + i % 50), 7000,
                                   numwant=200)
        forger.send(source, port, data)
        if i % 500 == 0:
            ear.listen()
    ear.listen(1)
    print(f"# {count} forged datagrams in {time.monotonic() - began:.1f} s, "
          f"{forger.bytes} bytes; {ear.packets} answers, {ear.bytes} bytes",
          flush=True)
    check(ear.packets > 0, "not even connects were answered")
    check(ear.bytes <= forger.bytes, "it can be used to send more than it gets")
    stats = t.stats()
    same(stats["swarms"]["torrents"], t.before["swarms"]["torrents"],
         "torrents")
    bad = counted(t, "udp", "bad_connection_id")
    check(bad > 0, "no connection id was found wrong")
    print(f"# {bad} wrong connection ids", flush=True)
    still_right(t, "forged sources")


def is_refused(u, cid, infohash):
    u.cid = cid
    try:
        u.announce(infohash, 9999)
        return False
    except (Failed, OSError):
        return True


@case("a connection id is good for one address and for some minutes",
      420 if LONG else 60)
def replay(box):
    t = start(box)
    a, b = with_udp(t, SOURCES[0]), with_udp(t, SOURCES[1])
    cid = a.connect()
    own = swarm_hash(3)
    check(a.announce(own, 2000), "the owner of the id is refused")
    check(is_refused(b, cid, swarm_hash(1)), "another address may use it")
    check(cid >> 56 not in b"dK", "ids that look like the overlay's")
    wrong = [cid ^ 1 << bit for bit in range(64)]
    u = with_udp(t, SOURCES[0])
    for w in wrong[::8] + [0, 2 ** 64 - 1, MAGIC]:
        u.s.send(announce_packet(w, 1, swarm_hash(2), 9999))
    time.sleep(0.3)
    same(t.stats()["swarms"]["torrents"],
         t.before["swarms"]["torrents"] + 1, "torrents: theirs and its")
    print(f"# {counted(t, 'udp', 'bad_connection_id')} wrong ids", flush=True)
    if LONG:
        time.sleep(115)
        check(not is_refused(a, cid, own), "refused before two minutes")
        time.sleep(250 - 115)
        check(is_refused(a, cid, own), "good after more than four minutes")
    still_right(t, "replayed ids")


# --- too much

@case("a flood of announces from one subnet meets the rate's limit", 120)
def flood(box):
    rate = 100
    t = start(box, "--rate", rate)
    u = with_udp(t, SOURCES[0])
    cid = u.connect()
    u.s.setblocking(False)
    count, answers, refusals = 300000 if LONG else 60000, 0, 0
    waits = []
    began = time.monotonic()
    for i in range(count):
        try:
            u.s.send(announce_packet(cid, i, swarm_hash(1 + i % 1000),
                                     1024 + i % 60000))
        except BlockingIOError:
            pass
        if i % 200 == 0:
            while True:
                try:
                    action = struct.unpack(">I", u.s.recv(2048)[:4])[0]
                except BlockingIOError:
                    break
                answers += action == 1
                refusals += action == 3
        if i % 6000 == 0:
            at = time.monotonic()
            http_announce(t.ip, PORT, GOOD, 1001, HONEST, left=0)
            waits.append(time.monotonic() - at)
    took = time.monotonic() - began
    limited = counted(t, "udp", "rate_limited")
    print(f"# {count} announces in {took:.1f} s: {answers} accepted, {refusals} "
          f"refused in words, {limited} over the rate; others waited at most "
          f"{max(waits) * 1000:.0f} ms", flush=True)
    check(limited > count / 2, "the limit was not met")
    check(answers <= rate * (took + 1 + 10), f"{answers} were accepted")
    check(max(waits) < 4 * SLOW, "others had to wait")
    # Over HTTP it is the same bucket: a refusal in words, or silence.
    same(http_get(t.ip, PORT, announce_path(swarm_hash(1), 5), SOURCES[0])[0],
         200, "status for who is over his rate")
    time.sleep(BEHIND_RATE_S)
    u.s.setblocking(True)
    check(not is_refused(u, u.connect(), swarm_hash(1)), "refused for good")
    still_right(t, "flood of announces")


@case("slow requests are closed, and cost others nothing", 240)
def slow_loris(box):
    t = start(box)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    want = min(12000 if LONG else 3000, hard - 200)
    socks, refused = [], 0
    # The first address alone has more than any may have; the others have few.
    sources = [SOURCES[0]] * 200 + [SOURCES[1 + i % 240]
                                    for i in range(want - 200)]
    began = time.monotonic()
    for source in sources:
        s = socket.socket()
        s.bind((source, 0))
        s.settimeout(5)
        try:
            s.connect((t.ip, PORT))
            s.setblocking(False)
            socks.append(s)
        except OSError:
            refused += 1
    poll = select.poll()
    for s in socks:
        poll.register(s, select.POLLIN | select.POLLRDHUP | select.POLLHUP)
    is_open = {s.fileno(): s for s in socks}
    text = announce_path(GOOD, 4000).encode()
    waits, turn = [], 0
    while is_open and time.monotonic() - began < 90 * SLOW:
        turn += 1
        for fd, s in list(is_open.items()):
            try:
                s.send(b"GET " if turn == 1 else text[turn:turn + 1])
            except BlockingIOError:
                pass
            except OSError:
                poll.unregister(fd)
                del is_open[fd]
        for fd, what in poll.poll(0):
            if fd in is_open and what & (select.POLLHUP | select.POLLRDHUP
                                         | select.POLLERR):
                poll.unregister(fd)
                del is_open[fd]
        at = time.monotonic()
        http_announce(t.ip, PORT, GOOD, 1001, HONEST, left=0)
        waits.append(time.monotonic() - at)
        time.sleep(1)
    stats = t.stats()["http"]
    print(f"# {len(socks)} slow connections, all closed after "
          f"{time.monotonic() - began:.0f} s; {stats['over_cap']} over a cap, "
          f"{stats['timeouts']} timed out; others waited at most "
          f"{max(waits) * 1000:.0f} ms", flush=True)
    check(not is_open, f"{len(is_open)} are still open")
    check(stats["over_cap"] > 0, "one address may have any number")
    check(stats["timeouts"] > 0, "none timed out")
    check(max(waits) < 4 * SLOW, "others had to wait")
    for s in socks:
        s.close()
    still_right(t, "slow requests")


@case("a million torrents of one peer each stay within the caps",
      400 if LONG else 120)
def many_torrents(box):
    count, most = (10 ** 6, 300000) if LONG else (10 ** 5, 30000)
    cap = 16 * MIB
    t = start(box, "--rate", "0", "--max-memory", "16M", "--max-torrents", most)
    flood = Flood(box, 15000, [swarm_hash(10 + i) for i in range(count)], [t],
                  SOURCES[:100])
    until(lambda: t.stats()["udp"]["announces"] - t.before["udp"]["announces"]
          >= count, 300, f"{count} announces are in")
    done = flood.end()
    stats = t.stats()["swarms"]
    print(f"# {count} torrents announced: {stats['torrents']} kept in "
          f"{stats['swarm_bytes'] / MIB:.1f} MiB, {stats['evicted']} evicted, "
          f"{stats['refused']} refused", flush=True)
    # Each thread may add one more before the next second puts it right.
    check(stats["torrents"] <= most + 2 * (os.cpu_count() or 1),
          "more than --max-torrents")
    until(lambda: t.stats()["swarms"]["torrents"] <= most, 5,
          "--max-torrents is kept")
    check(stats["swarm_bytes"] <= cap, "more than --max-memory")
    check(stats["evicted"] + stats["refused"] > 0, "no limit was met")
    # Who came last is there; the honest ones come again.
    asker = Asker(t)
    last = [d for d in done if d[3]][-1]
    check(last[1] in asker.peers(last[0]), "who came last is not listed")
    http_announce(t.ip, PORT, GOOD, 1001, HONEST, left=0)
    with_udp(t, HONEST).announce(GOOD, 1002)
    still_right(t, "a million torrents", cap // 1024 + MORE_KIB)


# --- nonsense

def bad_datagrams(rnd, cid):
    good = announce_packet(cid, 5, GOOD, 6881)
    connect = struct.pack(">QII", MAGIC, 0, 9)
    for n in range(len(good)):
        yield good[:n]
    for n in range(17):
        yield connect[:n]
    yield struct.pack(">QII", MAGIC + 1, 0, 9)
    for action in (3, 4, 255, 2 ** 32 - 1):
        yield struct.pack(">QII", cid, action, 9) + bytes(82)
    yield struct.pack(">QII", cid, 2, 9)  # scrapes of none, of parts, of many
    yield struct.pack(">QII", cid, 2, 9) + bytes(19)
    yield struct.pack(">QII", cid, 2, 9) + bytes(20 * 500)
    yield announce_packet(cid, 5, GOOD, 0)
    for tail in (b"\x02", b"\x02\xff", b"\x02\xffabc", b"\x01" * 900,
                 b"\x03\x00" * 300, b"\xff\xff" + bytes(254), b"\x00" * 900,
                 b"\x02\x00" * 400, b"\x02\x05/\x00\r\n\xff"):
        yield good + tail
    for event in (4, 2 ** 31, 2 ** 32 - 1):
        yield good[:80] + struct.pack(">I", event) + good[84:]
    for want in (-2 ** 31, 2 ** 31 - 1, -2, 0):
        yield good[:92] + struct.pack(">i", want) + good[96:]
    for first in range(256):  # the overlay's, too
        yield bytes([first]) + rnd.randbytes(rnd.randrange(1400))
    yield b"d1:ad2:id20:" + bytes(20) + b"e1:q7:kt_ping1:t2:aa1:y1:qe"
    yield b"d" * 1400
    yield b"l" * 60000
    yield b"d1:t99999999999999999999:"
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(rnd.randrange(1, 6)):
            data[rnd.randrange(8, len(data))] = rnd.randrange(256)
        yield bytes(data[:rnd.randrange(90, 99)])


def bad_requests(rnd):
    path = announce_path(GOOD, 6881)
    host = "Host: x\r\n\r\n"
    yield from (b"", b"\r\n\r\n", b"\0" * 5000, b"GET\r\n\r\n",
                b"\x16\x03\x01\x02\x00" + rnd.randbytes(500),
                b"GET / HTTP/9.9\r\n\r\n", b"G" * 20000,
                b"GET " + b"/" * 20000 + b" HTTP/1.1\r\n\r\n",
                b"POST /announce HTTP/1.1\r\nHost: x\r\n"
                b"Content-Length: 99999999999999999999\r\n\r\n",
                b"GET /announce HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                b"GET /announce HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"ffffffffffffffff\r\n",
                b"GET /announce HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
                b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET /%00%ff HTTP/1.1\r\nHost: x\r\n\r\n")
    for query in ("", "info_hash=", "info_hash=%", "info_hash=%zz",
                  "info_hash=" + "a" * 19, "info_hash=" + "a" * 21,
                  "info_hash=" + "a" * 20,  # no port
                  "info_hash=" + "a" * 20 + "&port=0&left=1",
                  "info_hash=" + "a" * 20 + "&port=65536&left=1",
                  "info_hash=" + "a" * 20 + "&port=-1&left=1",
                  "info_hash=" + "a" * 20 + "&port=1&left=99999999999999999999",
                  "info_hash=" + "a" * 20 + "&info_hash=" + "b" * 20
                  + "&port=1&left=1", "&" * 7000, "=" * 7000,
                  "info_hash=" + "%41" * 2000):
        for verb in ("announce", "scrape"):
            yield f"GET /{verb}?{query} HTTP/1.1\r\n{host}".encode()
    for tail in ("&numwant=99999999999999999999", "&numwant=-5", "&compact=x",
                 "&event=exploded", "&ip=1.2.3.4", "&ipv6=%5b::1%5d:99"):
        yield f"GET {path}{tail} HTTP/1.1\r\n{host}".encode()
    good = f"GET {path} HTTP/1.1\r\n{host}".encode()
    for _ in range(1500):
        data = bytearray(good)
        for _ in range(rnd.randrange(1, 5)):
            data[rnd.randrange(len(data))] = rnd.randrange(256)
        yield bytes(data[:rnd.randrange(20, len(data) + 1)])


@case("nonsense over UDP and HTTP is counted, and nothing else comes of it", 180)
def nonsense(box):
    t = start(box, "--rate", "0")
    rnd = random.Random(7)
    u = with_udp(t, SOURCES[0])
    cid, sent = u.connect(), 0
    for data in bad_datagrams(rnd, cid):
        try:
            u.s.send(data)
            sent += 1
        except ConnectionRefusedError:
            raise Failed("the port is closed") from None
        if sent % 100 == 0:
            time.sleep(0.005)
    asked, silent = 0, 0
    for data in bad_requests(rnd):
        with socket.socket() as s:
            s.bind((SOURCES[1 + asked % 200], 0))
            s.settimeout(0.3)
            s.connect((t.ip, PORT))
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                answer = b""
                while more := s.recv(65536):
                    answer += more
                check(not answer or answer.startswith(b"HTTP/1."),
                      f"{data[:80]!r} is answered with {answer[:80]!r}")
                silent += not answer
            except TimeoutError:
                raise Failed(f"no end of the answer to {data[:200]!r}") from None
            except OSError:
                silent += 1
            asked += 1
    print(f"# {sent} datagrams: {counted(t, 'udp', 'malformed')} malformed, "
          f"{counted(t, 'udp', 'bad_connection_id')} with wrong ids; {asked} "
          f"requests: {counted(t, 'http', 'malformed')} malformed, {silent} "
          f"without an answer", flush=True)
    check(counted(t, "udp", "malformed") > 100, "malformed datagrams")
    check(counted(t, "http", "malformed") > 10, "malformed requests")
    # Some of what was changed at random is a good announce of a wrong peer.
    for source in (SOURCES[0], *SOURCES[1:201]):
        http_announce(t.ip, PORT, GOOD, 6881, source, event="stopped")
    calm = with_udp(t, HONEST).announce(GOOD, 1002, numwant=200)
    check(f"{HONEST}:1001" in calm[2], "the honest peer is not listed")
    check(t.rss_kib() - t.rss0 <= MORE_KIB or SLOW > 1, "memory")
    print(f"# nonsense: {t.rss_kib() - t.rss0:+} KiB", flush=True)


main()
