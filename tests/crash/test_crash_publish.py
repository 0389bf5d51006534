#!/usr/bin/python3
"""Goal: weirfs, killed with SIGKILL at any moment while files are copied into
publish/: afterwards no torrent describes bytes that differ from its file, and
what fsync promised is there."""
import hashlib
import os
import random
import shutil
import subprocess
import sys

from crashlib import ROUNDS, live
from harness import HOSTS, case, check, main, same, until
from torrent import bdecode
from weir import Mount


def mount(box):
    return Mount(box, options=["publish_delay=0", "nodht",
                               f"bind={HOSTS[0]}"])


# Copies until it is killed or the mount goes: NAME SIZE SEED lines of what was
# fsynced go to standard output.
WRITER = """
import os, random, sys
top, number = sys.argv[1], int(sys.argv[2])
rng = random.Random(number)
for i in range(1000):
    name = f"r{number}-{i}" if rng.random() < 0.8 else "again"
    folder = rng.random() < 0.3
    path = os.path.join(top, name + ("-d" if folder else ""))
    if folder:
        os.makedirs(path, exist_ok=True)
        path = os.path.join(path, f"f{rng.randrange(4)}")
    seed, size = rng.randrange(1 << 30), rng.choice((1, 5000, 300000, 1500000))
    data = random.Random(seed).randbytes(size)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    at = 0
    while at < size:
        at += os.write(fd, data[at:at + 65536])
    if rng.random() < 0.5:
        os.fsync(fd)
        print(os.path.relpath(path, top), size, seed, flush=True)
    os.close(fd)
    if rng.random() < 0.1:
        print(os.path.relpath(path, top), "moved", 0, flush=True)
        os.rename(path, path + "-x")
    elif rng.random() < 0.1:
        print(os.path.relpath(path, top), "gone", 0, flush=True)
        os.unlink(path)
"""


def pieces_of(info, top):
    """Each piece's bytes, as they lie on disk under the name NAME."""
    if b"files" not in info:
        with open(top, "rb") as f:
            data = f.read()
    else:
        data = b""
        for f in info[b"files"]:
            if b"p" in f.get(b"attr", b""):
                data += bytes(f[b"length"])
                continue
            with open(os.path.join(top, *(p.decode() for p in f[b"path"])),
                      "rb") as fh:
                data += fh.read()
    n = info[b"piece length"]
    return [hashlib.sha1(data[i:i + n]).digest()
            for i in range(0, len(data), n)]


def check_torrents(m, number):
    """Of all that is called published, each byte is as its torrent says."""
    count = 0
    for e in m.status()["publish"]:
        if e["state"] != "published":
            continue
        with open(m.path("torrents", e["torrent"] + ".torrent"), "rb") as f:
            info = bdecode(f.read())[b"info"]
        got = pieces_of(info, os.path.join(m.state, "publish", e["path"]))
        want = info[b"pieces"]
        same(b"".join(got), want, f"round {number}: pieces of {e['path']}")
        count += 1
    return count


def settled(m):
    return all(e["state"] in ("published", "empty")
               for e in m.status()["publish"])


def check_synced(m, promised, number):
    for path, (size, seed) in promised.items():
        with open(os.path.join(m.state, "publish", path), "rb") as f:
            data = f.read()
        same(len(data), size, f"round {number}: size of {path}")
        check(data == random.Random(seed).randbytes(size),
              f"round {number}: bytes of {path}")


@case(f"{ROUNDS} kills while files and folders are copied in", limit=4000)
def kills(box):
    rnd, published, synced = random.Random(11), 0, 0
    for number in range(ROUNDS):
        m = mount(box)
        w = subprocess.Popen([sys.executable, "-c", WRITER,
                              m.path("publish"), str(number)],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             text=True)
        live(rnd, number, 1.5)
        m.kill()
        w.kill()
        out = w.communicate(timeout=20)[0].split("\n")
        promised = {}
        for line in out:
            if not line.strip():
                continue
            path, size, seed = line.rsplit(" ", 2)
            promised.pop(path, None)
            if size.isdigit():
                promised[path] = int(size), int(seed)
        m = mount(box)
        for path in list(promised):
            if path.startswith("again") or "-d/" in path:
                promised.pop(path)  # may have been written over since
        synced += len(promised)
        check_synced(m, promised, number)
        until(lambda: settled(m), 60, "all is published again")
        published += check_torrents(m, number)
        m.term()
        shutil.rmtree(os.path.join(m.state, "publish"))
        os.mkdir(os.path.join(m.state, "publish"))
    print(f"# {published} torrents compared, {synced} synced files")
    check(published > ROUNDS and synced, "there was something to compare")


main()
