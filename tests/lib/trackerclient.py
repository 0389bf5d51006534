"""A small client of trackers, written from the specifications and not from our
code: HTTP (BEP 3, 7, 23, 48), UDP (BEP 15, 41), the overlay's KRPC, DNS.

Addresses are strings; peers are strings "IP:PORT", as sets.
"""
import hashlib
import os
import random
import socket
import struct
import time
import urllib.parse

from harness import SLOW, Failed
from torrent import bdecode, bencode

MAGIC = 0x41727101980
EVENTS = {"": 0, "completed": 1, "started": 2, "stopped": 3}


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def peer_str(ip, port):
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def unpack_peers(data, size):
    """Compact peers; SIZE 6 or 18."""
    if len(data) % size:
        raise Failed(f"{len(data)} bytes of peers, {size} each")
    family = socket.AF_INET if size == 6 else socket.AF_INET6
    return {peer_str(socket.inet_ntop(family, data[i:i + size - 2]),
                     *struct.unpack(">H", data[i + size - 2:i + size]))
            for i in range(0, len(data), size)}


# --- HTTP

def read_answer(sock):
    """(status, headers, body) of one answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise OSError(f"closed after {data[:200]!r}")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {k.strip().lower(): v.strip() for k, v in
               (line.split(":", 1) for line in lines)}
    want = int(headers["content-length"]) if "content-length" in headers \
        else None
    while want is None or len(body) < want:
        more = sock.recv(65536)
        if not more:
            break
        body += more
    return int(first.split()[1]), headers, body


def http_get(host, port, path, source=None, headers=(), seconds=5):
    """(status, headers, body)."""
    with socket.socket(family_of(host), socket.SOCK_STREAM) as s:
        s.settimeout(seconds * SLOW)
        if source:
            s.bind((source, 0))
        s.connect((host, port))
        lines = [f"GET {path} HTTP/1.1", "Connection: close",
                 *(f"{k}: {v}" for k, v in headers)]
        if not any(k.lower() == "host" for k, _ in headers):
            lines.append(f"Host: {host}")
        s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        return read_answer(s)


def announce_path(infohash, port, left=1, event="", numwant=200, compact=1,
                  **more):
    query = {"info_hash": infohash, "peer_id": b"-TC0001-" + os.urandom(6).hex()
             .encode(), "port": port, "uploaded": 0, "downloaded": 0,
             "left": left, "compact": compact, "numwant": numwant, **more}
    if event:
        query["event"] = event
    return "/announce?" + urllib.parse.urlencode(
        query, quote_via=urllib.parse.quote)  # no "+" for a space


def http_announce(host, tracker_port, infohash, port, source=None, name=None,
                  **more):
    """The answer as a dict, with "all": every peer. NAME: the Host header."""
    headers = [("Host", name)] if name else []
    status, _, body = http_get(host, tracker_port,
                               announce_path(infohash, port, **more), source,
                               headers)
    if status != 200:
        raise Failed(f"status {status}: {body[:200]!r}")
    d = bdecode(body)
    if b"failure reason" in d:
        raise Failed(f"refused: {d[b'failure reason']!r}")
    peers = d.get(b"peers", b"")
    if isinstance(peers, list):
        got = {peer_str(p[b"ip"].decode(), p[b"port"]) for p in peers}
    else:
        got = unpack_peers(peers, 6)
    d["all"] = got | unpack_peers(d.get(b"peers6", b""), 18)
    return d


def http_scrape(host, port, *infohashes, source=None):
    """{infohash: (seeders, completed, leechers)} of those that are known."""
    query = "&".join("info_hash=" + urllib.parse.quote(h) for h in infohashes)
    _, _, body = http_get(host, port, "/scrape?" + query, source)
    return {h: (f[b"complete"], f[b"downloaded"], f[b"incomplete"])
            for h, f in bdecode(body)[b"files"].items()}


# --- UDP

def announce_packet(cid, tid, infohash, port, left=1, event="", numwant=-1,
                    path=None):
    p = struct.pack(">QII20s20sQQQIIIiH", cid, 1, tid, infohash,
                    b"-TC0001-%012d" % port, 0, left, 0, EVENTS[event], 0,
                    tid, numwant, port)
    while path:  # BEP 41
        part, path = path[:255].encode(), path[255:]
        p += b"\x02" + bytes([len(part)]) + part
    return p


class Udp:
    """A socket with one tracker. Asks again after 1, 2 and 4 s."""

    def __init__(self, host, port, source=None):
        self.at = (host, port)
        self.peer_bytes = 18 if ":" in host else 6
        self.s = socket.socket(family_of(host), socket.SOCK_DGRAM)
        if source:
            self.s.bind((source, 0))
        self.s.connect(self.at)
        self.cid = None

    def close(self):
        self.s.close()

    def ask(self, packet, tid, tries=3):
        for n in range(tries):
            try:
                self.s.send(packet)
                end = time.monotonic() + (1 << n) * SLOW
                while (left := end - time.monotonic()) > 0:
                    self.s.settimeout(left)
                    got = self.s.recv(65536)
                    if len(got) >= 8 and struct.unpack_from(
                            ">I", got, 4)[0] == tid:
                        return got
            except TimeoutError:
                pass
            except ConnectionRefusedError:
                time.sleep(0.1)
        raise OSError(f"{self.at} does not answer")

    def connect(self):
        tid = random.getrandbits(32)
        got = self.ask(struct.pack(">QII", MAGIC, 0, tid), tid)
        action, _, self.cid = struct.unpack(">IIQ", got[:16])
        if action:
            raise Failed(f"connect: action {action}")
        return self.cid

    def announce(self, infohash, port, **more):
        """(seeders, leechers, peers)"""
        if self.cid is None:
            self.connect()
        tid = random.getrandbits(32)
        got = self.ask(announce_packet(self.cid, tid, infohash, port, **more),
                       tid)
        if struct.unpack_from(">I", got)[0] != 1:
            raise Failed(f"refused: {got[8:]!r}")
        _, leechers, seeders = struct.unpack_from(">III", got, 8)
        return seeders, leechers, unpack_peers(got[20:], self.peer_bytes)

    def scrape(self, *infohashes):
        if self.cid is None:
            self.connect()
        tid = random.getrandbits(32)
        got = self.ask(struct.pack(">QII", self.cid, 2, tid)
                       + b"".join(infohashes), tid)
        if struct.unpack_from(">I", got)[0] != 2:
            raise Failed(f"refused: {got[8:]!r}")
        return [struct.unpack_from(">III", got, 8 + 12 * i)
                for i in range((len(got) - 8) // 12)]


# --- the overlay

def realm(domain):
    return hashlib.sha1(domain.lower().encode()).digest()[:8]


def krpc(host, port, domain, verb, source=None, **args):
    """The "r" of the answer, or None."""
    tid = os.urandom(2)
    query = bencode({"t": tid, "y": "q", "q": verb, "n": realm(domain),
                     "ro": 1, "a": {"id": bytes(19) + b"\x01", **args}})
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as s:
        if source:
            s.bind((source, 0))
        s.connect((host, port))
        for _ in range(3):
            try:
                s.send(query)
                s.settimeout(0.7 * SLOW)
                while True:
                    d = bdecode(s.recv(4096))
                    if d.get(b"t") == tid and d.get(b"y") == b"r" \
                            and d.get(b"n") == realm(domain):
                        return d[b"r"]
            except (OSError, ValueError, IndexError):
                pass
    return None


def key_id(key):
    return hashlib.sha1(key.lower().encode()).digest()


def distance(a, b):
    return int.from_bytes(a, "big") ^ int.from_bytes(b, "big")


# --- DNS

DNS_TYPES = {"A": 1, "NS": 2, "SOA": 6, "TXT": 16, "AAAA": 28}


def _skip_name(d, i):
    while d[i]:
        if d[i] >= 0xc0:
            return i + 2
        i += 1 + d[i]
    return i + 1


def dns(server, name, kind="A", port=53, source=None, seconds=2):
    """(rcode, addresses, has SOA, whole answer); None: silence."""
    tid = random.getrandbits(16)
    q = struct.pack(">HHHHHH", tid, 0x0100, 1, 0, 0, 0) + b"".join(
        bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0" \
        + struct.pack(">HH", DNS_TYPES[kind], 1)
    with socket.socket(family_of(server), socket.SOCK_DGRAM) as s:
        if source:
            s.bind((source, 0))
        s.settimeout(seconds * SLOW)
        s.connect((server, port))
        try:
            s.send(q)
            while True:
                d = s.recv(4096)
                if len(d) >= 12 and d[:2] == q[:2]:
                    break
        except OSError:
            return None
    _, flags, _, answers, authority, _ = struct.unpack_from(">HHHHHH", d)
    i, found, has_soa = len(q), [], False
    if d[12:i].lower() != q[12:].lower():
        raise Failed("another question comes back")
    for n in range(answers + authority):
        i = _skip_name(d, i)
        rtype, _, _, length = struct.unpack_from(">HHIH", d, i)
        data = d[i + 10:i + 10 + length]
        i += 10 + length
        if n < answers and rtype == 1:
            found.append(socket.inet_ntop(socket.AF_INET, data))
        elif n < answers and rtype == 28:
            found.append(socket.inet_ntop(socket.AF_INET6, data))
        has_soa |= rtype == 6 and n >= answers
    return flags & 15, found, has_soa, d
