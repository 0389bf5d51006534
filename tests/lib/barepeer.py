#!/usr/bin/python3
"""The least that a reader can do, as a floor for measurements.

    barepeer.py INFOHASH SIZE PIECE_LENGTH HOST PORT

Takes lines "OFFSET LENGTH" and writes those bytes: of the piece around them it
asks for every block at once, as a v1 piece has to be whole before it can be
checked, and checks nothing. It connects when the first line comes, and says
"interested" with its handshake.
"""
import os
import socket
import struct
import sys

BLOCK = 16384
infohash, size, piece_length, host, port = sys.argv[1:]
size, piece_length = int(size), int(piece_length)


def connect():
    s = socket.create_connection((host, int(port)))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(b"\x13BitTorrent protocol" + bytes(8) + bytes.fromhex(infohash)
              + b"-FL0000-" + os.urandom(12) + struct.pack(">IB", 1, 2))
    f = s.makefile("rb")
    f.read(68)
    while message(f)[:1] != b"\x01":  # unchoke
        pass
    return s, f


def message(f):
    n, = struct.unpack(">I", f.read(4))
    return f.read(n)


def piece(s, f, index):
    length = min(piece_length, size - index * piece_length)
    s.sendall(b"".join(
        struct.pack(">IBIII", 13, 6, index, at, min(BLOCK, length - at))
        for at in range(0, length, BLOCK)))
    data, left = bytearray(length), length
    while left:
        m = message(f)
        if m[:1] == b"\x07":
            at, = struct.unpack(">I", m[5:9])
            data[at:at + len(m) - 9] = m[9:]
            left -= len(m) - 9
    return data


def main():
    link = None
    for line in sys.stdin:
        offset, length = map(int, line.split())
        link = link or connect()
        index = offset // piece_length
        at = offset - index * piece_length
        sys.stdout.buffer.write(piece(*link, index)[at:at + length])
        sys.stdout.buffer.flush()


main()
