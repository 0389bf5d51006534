#!/usr/bin/python3
"""reader.py PATH read|direct|mmap OFFSET LENGTH fatal|handled

Opens PATH ("open"), reads (then "ok SHA256", "error ENAME" or "interrupted").
OFFSET and LENGTH are multiples of 4096 for direct.
"""
import errno
import hashlib
import mmap
import os
import signal
import sys


def say(text):
    print(text, flush=True)


def read(fd, mode, offset, length):
    if mode == "mmap":
        with mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ) as m:
            return m[offset:offset + length]
    if mode == "direct":
        page = mmap.mmap(-1, length)
        n = os.preadv(fd, [page], offset)
        return page[:n]
    out = b""
    while len(out) < length:
        more = os.pread(fd, length - len(out), offset + len(out))
        if not more:
            break
        out += more
    return out


def main(path, mode, offset, length, how):
    if how == "fatal":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        fd = os.open(path, os.O_RDONLY
                     | (os.O_DIRECT if mode == "direct" else 0))
        say("open")
        data = read(fd, mode, int(offset), int(length))
        say("ok " + hashlib.sha256(data).hexdigest())
    except KeyboardInterrupt:
        say("interrupted")
    except OSError as e:
        say("error " + errno.errorcode.get(e.errno, str(e.errno)))


main(*sys.argv[1:])
