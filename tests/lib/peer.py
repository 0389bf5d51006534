"""A BitTorrent peer whose every byte a test decides.

Content(torrent) knows the bytes. Conn is one connection: it writes any message,
also wrong ones, and reads the other side's. Peer listens and seeds honestly;
a lie is a subclass that overrides the one step in which it lies. dial() makes
a connection to a daemon that listens. Plain sockets, one thread a connection.
"""
import os
import select
import socket
import struct
import threading
import time

from torrent import bdecode, bencode

BLOCK = 16384
(CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE, BITFIELD, REQUEST, PIECE,
 CANCEL, PORT) = range(10)
SUGGEST, HAVE_ALL, HAVE_NONE, REJECT, ALLOWED_FAST = range(13, 18)
EXTENDED = 20
EXT_HANDSHAKE, UT_METADATA, LT_DONTHAVE, UT_PEX = range(4)  # weirfs' own ids
MY_METADATA, MY_DONTHAVE = 9, 7  # ours: others must not assume theirs
FAST, EXT, PLAIN = 0x04, 0x10 << 16, 0  # reserved bits, from the last byte
PROTOCOL = b"\x13BitTorrent protocol"


def message(kind, *parts):
    """A message. Integers among PARTS are four bytes each."""
    body = b"".join(struct.pack(">I", p) if isinstance(p, int) else p
                    for p in parts)
    return struct.pack(">IB", 1 + len(body), kind) + body


def extended(ext_id, payload):
    return message(EXTENDED, bytes([ext_id]), payload)


class Content:
    """The bytes of a torrent, as a peer deals in them."""

    def __init__(self, torrent, with_data=True):
        with open(torrent.path, "rb") as f:
            self.info = bencode(bdecode(f.read())[b"info"])
        self.infohash = bytes.fromhex(torrent.hash)
        self.size, self.num_pieces = torrent.size, torrent.num_pieces
        self.piece_length = torrent.piece_length
        self.data = b""
        if with_data:
            with open(torrent.data, "rb") as f:
                self.data = f.read()

    def piece_size(self, piece):
        return min(self.piece_length, self.size - piece * self.piece_length)

    def block(self, piece, begin, length):
        at = piece * self.piece_length + begin
        return self.data[at:at + length]

    def blocks(self):
        """Every (piece, begin, length)."""
        for piece in range(self.num_pieces):
            for begin in range(0, self.piece_size(piece), BLOCK):
                yield piece, begin, min(BLOCK, self.piece_size(piece) - begin)

    def bits(self, have=True):
        """A bitfield, all or nothing, spare bits clear."""
        bits = bytearray((self.num_pieces + 7) // 8)
        for piece in range(self.num_pieces if have else 0):
            bits[piece // 8] |= 0x80 >> piece % 8
        return bytes(bits)


class Closed(Exception):
    """The other side ended the connection (or said nothing for too long)."""


class Conn:
    """One connection. Reading and writing block; flood() does both at once."""

    def __init__(self, sock, content):
        self.sock, self.content = sock, content
        self.buf = b""
        self.theirs = {}  # their extended handshake
        self.their_reserved = 0
        self.sent_bytes = 0

    def close(self, hard=False):
        if hard:  # no TIME_WAIT, so that a test may dial a million times
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 struct.pack("ii", 1, 0))
        self.sock.close()

    # --- bytes

    def raw(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Closed(str(e)) from None
        self.sent_bytes += len(data)

    def take(self, n, seconds=60):
        end = time.monotonic() + seconds
        while len(self.buf) < n:
            self.sock.settimeout(max(0.001, end - time.monotonic()))
            try:
                more = self.sock.recv(1 << 16)
            except socket.timeout:
                raise Closed("nothing came") from None
            except OSError as e:
                raise Closed(str(e)) from None
            finally:
                if self.sock.fileno() >= 0:
                    self.sock.settimeout(60)
            if not more:
                raise Closed("ended")
            self.buf += more
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def is_cut(self, seconds=5):
        """Does the other side end the connection within SECONDS? What it
        says until then is thrown away."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return False
            if not select.select([self.sock], [], [], left)[0]:
                return False
            try:
                if not self.sock.recv(1 << 16):
                    return True
            except OSError:
                return True

    def flood(self, data, times=1, seconds=120):
        """Sends DATA TIMES times, throwing away what comes meanwhile, so that
        neither side waits for the other. Returns how many whole copies went
        out before the connection ended."""
        chunk, per_chunk = data, 1
        while len(chunk) < 1 << 16 and per_chunk * 2 <= times:
            chunk, per_chunk = chunk + chunk, per_chunk * 2
        total, sent = len(data) * times, 0
        end = time.monotonic() + seconds
        self.sock.setblocking(False)
        try:
            while sent < total and time.monotonic() < end:
                r, w, _ = select.select([self.sock], [self.sock], [], 1)
                if r and not self.sock.recv(1 << 18):
                    break
                if w:
                    at = sent % len(chunk)
                    sent += self.sock.send(
                        memoryview(chunk)[at:at + total - sent])
        except BlockingIOError:
            pass
        except OSError:
            pass
        finally:
            if self.sock.fileno() >= 0:
                self.sock.settimeout(60)
        self.sent_bytes += sent
        return sent // len(data)

    # --- messages

    def handshake(self, reserved=FAST | EXT, infohash=None, peerid=None,
                  read=True):
        self.raw(PROTOCOL + struct.pack(">Q", reserved)
                 + (infohash or self.content.infohash)
                 + (peerid or b"-TP0000-" + os.urandom(12)))
        if read:
            self.read_handshake()

    def read_handshake(self):
        theirs = self.take(68)
        if theirs[:20] != PROTOCOL:
            raise Closed("no BitTorrent")
        self.their_reserved = struct.unpack(">Q", theirs[20:28])[0]
        self.their_infohash, self.their_id = theirs[28:48], theirs[48:]

    def send(self, kind, *parts):
        self.raw(message(kind, *parts))

    def recv(self, seconds=60):
        """(kind, payload); (None, b"") for a keepalive."""
        length, = struct.unpack(">I", self.take(4, seconds))
        if not length:
            return None, b""
        body = self.take(length, seconds)
        if body[0] == EXTENDED and body[1] == 0:
            self.theirs = bdecode(body[2:])
        return body[0], body[1:]

    def recv_until(self, kind, seconds=10):
        """The payload of the next message of KIND; others are dropped."""
        end = time.monotonic() + seconds
        while True:
            got, payload = self.recv(max(0.01, end - time.monotonic()))
            if got == kind:
                return payload

    def ext_handshake(self, **keys):
        d = {"m": {"ut_metadata": MY_METADATA, "lt_donthave": MY_DONTHAVE},
             "metadata_size": len(self.content.info), "reqq": 500,
             "v": "test peer", **keys}
        self.raw(extended(0, bencode({k: v for k, v in d.items()
                                      if v is not None})))

    def metadata_id(self):
        return self.theirs.get(b"m", {}).get(b"ut_metadata", UT_METADATA)

    def metadata(self, kind, part, data=b"", **keys):
        d = {"msg_type": kind, "piece": part, **keys}
        self.raw(extended(self.metadata_id(), bencode(d) + data))

    def piece(self, piece, begin, block):
        self.send(PIECE, piece, begin, block)


def dial(content, host, port, source=None, reserved=FAST | EXT, greet=True,
         seconds=5):
    """A connection to a daemon that listens."""
    try:
        sock = socket.create_connection((host, port), seconds,
                                        (source, 0) if source else None)
    except OSError as e:
        raise Closed(str(e)) from None
    sock.settimeout(60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conn = Conn(sock, content)
    if greet:
        try:
            conn.handshake(reserved)
        except Closed:
            conn.close()
            raise
    return conn


class Peer:
    """Listens at HOST and seeds honestly, until close(). Steps are methods;
    a subclass that lies overrides one. `gate` holds back every unchoke until
    it is set, so that a liar can be given the first word."""
    reserved = FAST | EXT

    def __init__(self, content, host, port=0, delay=0.0):
        self.content, self.delay = content, delay
        self.sock = socket.create_server((host, port), backlog=64)
        self.host, self.port = self.sock.getsockname()[:2]
        self.at = f"{host}:{self.port}"
        self.gate = threading.Event()
        self.gate.set()
        self.lied = threading.Event()  # the lie was told at least once
        self.cut = threading.Event()  # the daemon ended a connection
        self.peerid = b"-TP0000-" + os.urandom(12)
        self.accepted = self.num_requests = self.num_blocks = 0
        self.num_parts = 0
        self.conns, self.errors = [], []
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self):
        for conn in [self, *self.conns]:
            try:
                conn.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            conn.sock.close()

    def _listen(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(60)
            self.accepted += 1
            threading.Thread(target=self._serve, args=(sock,),
                             daemon=True).start()

    def _serve(self, sock):
        conn = Conn(sock, self.content)
        self.conns.append(conn)
        try:
            self.serve(conn)
        except Closed:
            self.cut.set()
        except Exception as e:  # a bug of the test, not a finding
            self.errors.append(repr(e))
        finally:
            self.conns.remove(conn)
            sock.close()

    # --- the steps of an honest seed

    def serve(self, conn):
        self.greet(conn)
        self.tell(conn)
        while True:
            self.on_message(conn, *conn.recv())

    def greet(self, conn):
        conn.read_handshake()
        conn.handshake(self.reserved, peerid=self.peerid, read=False)

    def tell(self, conn):
        """What it says after the handshake."""
        if self.reserved & EXT:
            self.ext_handshake(conn)
        self.tell_have(conn)

    def ext_handshake(self, conn):
        conn.ext_handshake()

    def tell_have(self, conn):
        if self.reserved & FAST:
            conn.send(HAVE_ALL)
        else:
            conn.send(BITFIELD, self.content.bits())

    def on_message(self, conn, kind, payload):
        if kind == INTERESTED:
            self.on_interested(conn)
        elif kind == REQUEST:
            self.num_requests += 1
            self.on_request(conn, *struct.unpack(">III", payload))
        elif kind == EXTENDED and payload[0] == MY_METADATA:
            d = bdecode(payload[1:])
            if d[b"msg_type"] == 0:
                self.num_parts += 1
                self.on_metadata_request(conn, d[b"piece"])

    def on_interested(self, conn):
        self.gate.wait(120)
        conn.send(UNCHOKE)

    def on_request(self, conn, piece, begin, length):
        if self.delay:
            time.sleep(self.delay)
        conn.piece(piece, begin, self.content.block(piece, begin, length))
        self.num_blocks += 1

    def on_metadata_request(self, conn, part):
        self.gate.wait(120)
        info = self.content.info
        conn.metadata(1, part, info[part * BLOCK:(part + 1) * BLOCK],
                      total_size=len(info))


class Leech:
    """Fetches from a listening daemon, in order, DEPTH requests at a time."""

    def __init__(self, content, host, port, source=None, depth=32):
        self.content, self.depth = content, depth
        self.conn = dial(content, host, port, source)

    def get_all(self, seconds=60):
        """Every byte of the torrent as the daemon gives them."""
        conn, end = self.conn, time.monotonic() + seconds
        out = bytearray(self.content.size)
        todo, asked = list(self.content.blocks())[::-1], set()
        conn.ext_handshake()
        conn.send(HAVE_NONE)
        conn.send(INTERESTED)
        is_choked = True
        while todo or asked:
            while todo and not is_choked and len(asked) < self.depth:
                block = todo.pop()
                asked.add(block)
                conn.send(REQUEST, *block)
            kind, payload = conn.recv(max(0.01, end - time.monotonic()))
            if kind == UNCHOKE:
                is_choked = False
            elif kind == CHOKE:
                is_choked = True
            elif kind == REJECT:
                block = struct.unpack(">III", payload)
                asked.discard(block)
                todo.append(block)
            elif kind == PIECE:
                piece, begin = struct.unpack(">II", payload[:8])
                block = (piece, begin, len(payload) - 8)
                if block not in asked:
                    raise AssertionError(f"unasked block {block}")
                asked.discard(block)
                at = piece * self.content.piece_length + begin
                out[at:at + block[2]] = payload[8:]
        conn.close()
        return bytes(out)
