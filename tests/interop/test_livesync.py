#!/usr/bin/python3
"""Goal: a member of a cluster of opentrackers hears what they hear and tells
what it hears, over real multicast between hosts.

WEIRFS_OPENTRACKER_LIVE names an opentracker that was built with WANT_SYNC_LIVE
(Debian's is not). Without it, what opentracker had to say is what was once
captured of it, and what we say is read by a parser written for this test."""
import os
import re
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import LIB, Failed, Skip, case, check, main, same, until
from trackerclient import http_announce, http_get, http_scrape
from trackernet import Net, in_ns

BUILD = os.environ.get("WEIRFS_BUILD") or os.path.join(LIB, "../../build")
PROGRAM = os.environ.get("WEIR_TRACKER") or os.path.join(
    BUILD, "tracker/weir-tracker")
NODE = os.path.join(BUILD, "tests/interop/livesync_node")
OPENTRACKER = os.environ.get("WEIRFS_OPENTRACKER_LIVE")
VECTORS = os.path.join(os.path.dirname(__file__),
                       "../tracker/test_livesync.c")
GROUP, PORT = "224.0.23.5", 9696
IP_RECVTTL = 12  # Python has no name for it
A, B, C, X = (bytes([c]) * 20 for c in b"ABCX")


def captured(name):
    """The datagram that the unit test has under NAME."""
    with open(VECTORS, encoding="utf-8") as f:
        text = re.search(name + r"\[\] =\s*((?:\"[0-9a-f]+\"\s*)+);", f.read())
    return bytes.fromhex("".join(re.findall("[0-9a-f]+", text[1])))


def parse(data):
    """(tracker id, {(infohash, peer, flags)}) of a datagram."""
    kind, = struct.unpack_from(">I", data, 4)
    family, n = ((socket.AF_INET, 4), (socket.AF_INET6, 16))[kind]
    check(len(data) <= 1480, f"{len(data)} bytes")
    same((len(data) - 8) % (24 + n), 0, "bytes after the last record")
    out = []
    for i in range(8, len(data), 24 + n):
        ip = socket.inet_ntop(family, data[i + 20:i + 20 + n])
        port, flags, age = struct.unpack_from(">HBB", data, i + 20 + n)
        same(age, 0, "the last byte of a record")
        out.append((data[i:i + 20], f"{ip}:{port}", flags))
    return data[:4], out


class Node:
    """Ours, on HOST. It believes SOURCES."""

    def __init__(self, box, host, sources, *more):
        self.p = box.spawn(host.argv([NODE, host.ip4, ",".join(sources),
                                      *more]), "livesync-node",
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           text=True)
        same(self.p.p.stdout.readline(), "ready\n", "what our node says")

    def ask(self, *words):
        self.p.p.stdin.write(" ".join(map(str, words)) + "\n")
        self.p.p.stdin.flush()
        return self.p.p.stdout.readline().strip()

    def announce(self, infohash, at, left=1, event="none"):
        return self.ask("announce", infohash.hex(), at, left, event)

    def peers(self, infohash):
        return dict(x.split("=") for x in
                    self.ask("peers", infohash.hex()).split())

    def stats(self):
        return {k: int(v) for k, v in (x.split("=") for x in
                                       self.ask("stats").split())}


class Member:
    """A socket in the group, on HOST: what an opentracker there would hear."""

    def __init__(self, host):
        with in_ns(host.name):
            self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind(("", PORT))
        here = socket.inet_aton(host.ip4)
        self.s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                          socket.inet_aton(GROUP) + here)
        self.s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
        self.s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        self.s.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)

    def send(self, data):
        self.s.sendto(data, (GROUP, PORT))

    def hear(self, seconds=5):
        """(datagram, source, TTL)"""
        self.s.settimeout(seconds)
        try:
            data, more, _, at = self.s.recvmsg(4096, 64)
        except TimeoutError:
            raise Failed(f"nothing from the group in {seconds} s") from None
        return data, at, struct.unpack("i", more[0][2])[0]


def need_node():
    if not os.path.exists(NODE):
        raise Skip("livesync_node is not built")


@case("what opentrackers said when it was captured is believed")
def replay(box):
    need_node()
    net = Net(box)
    ours, theirs = net.host("a", 1), net.host("b", 2)
    node = Node(box, ours, [theirs.ip4])
    member = Member(theirs)
    member.send(captured("captured4"))
    member.send(captured("captured6"))
    until(lambda: node.stats()["packets_in"] == 2, 5, "both are in")
    same(node.stats()["records_in"], 12, "records")
    same(node.peers(A), {"10.77.0.254:1001": "gone",
                         "10.77.0.254:1002": "gone",
                         "10.77.0.254:1003": "completed"}, "swarm A")
    same(node.peers(B), {"10.77.0.254:1004": "completed",
                         "10.77.0.254:1005": "leecher"}, "swarm B")
    same(node.peers(C), {"[fd77::254]:2001": "gone",
                         "[fd77::254]:2002": "completed"}, "swarm C")
    same(node.announce(A, "9.9.9.9:9"), "1 1 1", "counts of A")
    time.sleep(1.5)
    same(node.stats()["records_out"], 1, "records told: ours alone")


@case("what we say has the form of theirs")
def ours_is_read(box):
    need_node()
    net = Net(box)
    ours, theirs = net.host("a", 1), net.host("b", 2)
    member = Member(theirs)
    node = Node(box, ours, [theirs.ip4])
    node.announce(A, "9.1.1.1:1001", 0, "started")
    node.announce(A, "9.1.1.1:1002", 5, "started")
    node.announce(A, "9.1.1.1:1002", 0, "completed")
    node.announce(A, "9.1.1.1:1001", 0, "stopped")
    node.announce(B, "[2a00::1]:1003", 5, "started")
    node.announce(B, "[2a00::1]:1003", 5)  # nothing new: not told
    got = {}
    for _ in range(2):
        data, at, ttl = member.hear()
        same(at, (ours.ip4, PORT), "where it comes from")
        same(ttl, 1, "its TTL")
        got[data[7]] = parse(data)
    same(got[0][1], [(A, "9.1.1.1:1001", 0x80), (A, "9.1.1.1:1002", 0),
                     (A, "9.1.1.1:1002", 0xc0), (A, "9.1.1.1:1001", 0x20)],
         "records of IPv4")
    same(got[1][1], [(B, "2a00::1:1003", 0)], "records of IPv6")
    same(got[0][0], got[1][0], "tracker ids")
    for i in range(200):
        node.announce(X, f"9.2.2.2:{1000 + i}")
    sizes = []
    while sum(sizes) < 200:
        sizes.append(len(parse(member.hear()[0])[1]))
    same(sizes, [52, 52, 52, 44], "records of each datagram")


@case("two of ours hear each other, and nobody tells on what he heard")
def two(box):
    need_node()
    net = Net(box)
    hosts = net.host("a", 1), net.host("b", 2)
    a, b = (Node(box, h, ["198.18.0.0/16"]) for h in hosts)
    for i in range(300):
        a.announce(X, f"9.2.2.2:{1000 + i}", i % 2)
    b.announce(A, "[2a00::1]:7", 0)
    until(lambda: len(b.peers(X)) == 300 and a.peers(A), 5, "copies")
    same(b.peers(X), a.peers(X), "swarm X")
    a.announce(X, "9.2.2.2:1000", 1, "stopped")
    until(lambda: b.peers(X)["9.2.2.2:1000"] == "gone", 5, "it left")
    time.sleep(1.5)
    same(a.stats()["records_out"], 301, "told by the first")
    same(b.stats()["records_out"], 1, "told by the second")


@case("two weir-trackers with --livesync tell each other their peers")
def whole_programs(box):
    if not os.path.exists(PROGRAM):
        raise Skip("weir-tracker is not built")
    net = Net(box)
    hosts = [net.host("a", 1), net.host("b", 2)]
    for ours, other in (hosts, hosts[::-1]):
        p = box.spawn(ours.argv([PROGRAM, "--port", 6969, "--livesync",
                                 ours.ip4, "--livesync-from", other.ip4]),
                      "weir-tracker")
        until(lambda: "ready version=" in p.log(), 10, "weir-tracker is ready")
    for number, host in enumerate(hosts):
        http_announce(host.ip4, 6969, X, 1000 + number)
    for host in hosts:
        until(lambda: http_scrape(host.ip4, 6969, X)[X][2] == 2, 20,
              f"both peers at {host.name}")


@case("nothing is believed of strangers, of floods, of nonsense")
def hostile(box):
    need_node()
    net = Net(box)
    ours, theirs, stranger = (net.host(n, i) for n, i in
                              (("a", 1), ("b", 2), ("c", 3)))
    node = Node(box, ours, [theirs.ip4])
    good = captured("captured4")
    Member(stranger).send(good)
    until(lambda: node.stats()["strangers"] == 1, 5, "the stranger came")
    member = Member(theirs)
    # To the host itself, not to the group: nobody listens there.
    member.s.sendto(good, (ours.ip4, PORT))
    for bad in (good[:7], good[:8], good[:-1], good + bytes(2000),
                good[:7] + b"\1" + good[8:]):
        member.send(bad)
    member.send(good[:7] + b"\2" + good[8:])
    member.send(good[:8] + good[8:28] + socket.inet_aton("224.1.1.1")
                + b"\1\1\0\0")
    until(lambda: node.stats()["martians"] == 1, 5, "all of it came")
    stats = node.stats()
    same((stats["malformed"], stats["unknown_type"], stats["records_in"]),
         (5, 1, 0), "malformed, of unknown type, believed")
    began = time.monotonic()
    for _ in range(20000):
        member.send(good)
    took = time.monotonic() - began
    until(lambda: node.stats()["over_rate"], 5, "the rate's limit is hit")
    stats = node.stats()
    print(f"# 20000 datagrams in {took:.2f} s: {stats['packets_in']} believed, "
          f"{stats['over_rate']} over the rate", flush=True)
    check(stats["packets_in"] <= 1000 * (took + 1), "too many were believed")
    time.sleep(1)
    member.send(b"ZZZZ" + bytes(4) + X + socket.inet_aton("9.1.1.1")
                + b"\1\1\0\0")
    until(lambda: node.peers(X), 5, "it still listens")


# --- with a real one

class Opentracker:
    """On HOST. Some versions, and builds, are for IPv4 only."""

    def __init__(self, box, host, friends):
        self.ip4, self.ip6 = host.ip4, host.ip6
        for self.has_v6 in (True, False):
            conf = box.write(f"ot-{host.name}.conf", "".join(
                [f"listen.tcp_udp {host.ip4}:6969\n",
                 f"listen.tcp_udp [{host.ip6}]:6969\n" * self.has_v6,
                 f"livesync.cluster.listen {host.ip4}:{PORT}\n",
                 *(f"livesync.cluster.node_ip {f}\n" for f in friends),
                 "tracker.user nobody\n"]))
            self.p = box.spawn(host.argv([OPENTRACKER, "-f", conf]),
                               "opentracker-live")
            until(lambda: self.is_up() or not self.p.alive(), 5,
                  "opentracker answers")
            if self.p.alive():
                return
        raise Failed("opentracker ended: " + self.p.log())

    def is_up(self):
        try:
            return bool(http_get(self.ip4, 6969, "/scrape")[0])
        except OSError:
            return False

    def announce(self, infohash, port, at=None, **more):
        return http_announce(at or self.ip4, 6969, infohash, port, **more)

    def scrape(self, infohash):
        """Its timers run only when something happens: this is something."""
        return http_scrape(self.ip4, 6969, infohash).get(infohash)


def real(box, *more):
    need_node()
    if not OPENTRACKER:
        raise Skip("WEIRFS_OPENTRACKER_LIVE names no opentracker with livesync")
    net = Net(box)
    ours, theirs = net.host("a", 1), net.host("b", 2)
    ot = Opentracker(box, theirs, [ours.ip4])
    if more == ("by version",):
        more = ("mapped",) if ot.has_v6 else ()
    return ot, Node(box, ours, [theirs.ip4], *more)


@case("a real opentracker's peers come to us")
def from_opentracker(box):
    ot, node = real(box)
    ot.announce(A, 1001, left=0, event="started")
    ot.announce(A, 1002, event="started")
    ot.announce(A, 1003, event="started")
    ot.announce(A, 1003, left=0, event="completed")
    ot.announce(A, 1002, event="stopped")
    until(lambda: ot.scrape(A) and node.peers(A), 25, "a datagram came")
    same({p.split(":")[1]: s for p, s in node.peers(A).items()},
         {"1001": "seeder", "1002": "gone", "1003": "completed"}, "swarm A")
    if ot.has_v6:
        ot.announce(C, 2001, at=ot.ip6, left=0, event="started")
        until(lambda: ot.scrape(C) and node.peers(C), 25, "one of IPv6, too")
        same(list(node.peers(C).values()), ["seeder"], "swarm C")


@case("our peers come to a real opentracker")
def to_opentracker(box):
    ot, node = real(box, "by version")
    node.announce(A, "9.1.1.1:1001", 0, "started")
    node.announce(A, "9.1.1.1:1002", 5, "started")
    node.announce(A, "9.1.1.1:1003", 5, "started")
    node.announce(A, "9.1.1.1:1003", 0, "completed")
    node.announce(A, "9.1.1.1:1002", 5, "stopped")
    until(lambda: ot.scrape(A) == (2, 1, 0), 5, "its counts are ours")
    got = ot.announce(A, 4000)["all"]
    same({p for p in got if not p.endswith(":4000")},
         {"9.1.1.1:1001", "9.1.1.1:1003"}, "its peers")
    for i in range(150):
        node.announce(B, f"9.2.2.2:{1000 + i}", i % 2, "started")
    until(lambda: ot.scrape(B) == (75, 0, 75), 5, "a hundred and fifty")
    if ot.has_v6:
        for i in range(80):
            node.announce(C, f"[2a00::1]:{1000 + i}", 0, "started")
        until(lambda: ot.scrape(C) == (80, 0, 0), 5, "eighty of IPv6")


main()
