#!/usr/bin/python3
"""Reads random ranges of PATH and compares them with ORIGINAL, until a read
fails: the file system was killed. Exit 0 then; 3 if a byte was wrong.

    reader.py PATH ORIGINAL SEED LONGEST
"""
import errno
import os
import random
import sys


def main(path, original, seed, longest):
    rnd = random.Random(int(seed))
    want = os.open(original, os.O_RDONLY)
    size = os.fstat(want).st_size
    try:
        got = os.open(path, os.O_RDONLY)
        while True:
            at = rnd.randrange(size)
            n = 1 + int(rnd.random() ** 3 * int(longest))
            end = min(at + n, size)
            # A kill may cut a read short; the next one tells why.
            while at < end:
                data = os.pread(got, end - at, at)
                if not data or data != os.pread(want, len(data), at):
                    print(f"wrong: {len(data)} bytes at {at}", flush=True)
                    return 3
                at += len(data)
    except OSError as e:
        print("ended by", errno.errorcode.get(e.errno, e.errno), flush=True)
        return 0


sys.exit(main(*sys.argv[1:]))
