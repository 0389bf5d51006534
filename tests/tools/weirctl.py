"""What tests of weirctl share: the program, its answers, torrents to show it."""
import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

from harness import Skip, check, need, same
from torrent import bdecode, bencode, random_file

BUILD = os.environ.get("WEIRFS_BUILD") or os.path.join(
    os.path.dirname(os.path.dirname(HERE)), "build")
PROGRAM = os.path.join(BUILD, "tools", "weirctl")
OK, REFUSED, USAGE, STOPPED = 0, 1, 2, 130


def weirctl(box, *args, status=OK, **kw):
    """Runs it to its end; its output must be text, whatever it was given."""
    if not os.path.exists(PROGRAM):
        raise Skip("weirctl is not built")
    return box.run([PROGRAM, *args], status=status, **kw)


def facts(box, *args, status=OK, **kw):
    """The JSON that a command prints."""
    return json.loads(weirctl(box, *args, "--json", status=status, **kw).stdout)


def libtorrent():
    try:
        import libtorrent as lt
    except ImportError:
        raise Skip("python3-libtorrent is not installed") from None
    return lt


def small_tree(box, name="tree"):
    """Files in folders, some empty, with names in which '/' sorts the same
    way as in every client: no '-', '.', ' ' beside a folder of that name."""
    for rel, size in (("a.bin", 300000), ("b/c.bin", 16384), ("b/d/e", 1),
                      ("b/d/empty", 0), ("b/größe 1", 70001), ("z", 5)):
        random_file(box.path(f"{name}/{rel}"), size, seed=size + 1)
    return box.path(name)


def tree_files(path):
    """{path below PATH: size}"""
    out = {}
    for root, _, names in os.walk(path):
        for n in names:
            full = os.path.join(root, n)
            if not os.path.islink(full):
                out[os.path.relpath(full, path)] = os.path.getsize(full)
    return out


def read_torrent(path):
    """The decoded torrent, and the SHA-1 of its info dictionary."""
    with open(path, "rb") as f:
        top = bdecode(f.read())
    return top, hashlib.sha1(bencode(top[b"info"])).hexdigest()


def lt_torrent(path, out, piece_length, kind, trackers=()):
    """A torrent of PATH by libtorrent; KIND: v1, v2 or hybrid."""
    lt = libtorrent()
    fs = lt.file_storage()
    if kind == "v1" and os.path.isdir(path):
        # It would take them as the folder lists them.
        for rel in sorted(tree_files(path), key=lambda r: r.encode()
                          .split(b"/")):
            fs.add_file(os.path.join(os.path.basename(path), rel),
                        os.path.getsize(os.path.join(path, rel)))
    else:
        lt.add_files(fs, path)
    flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only,
             "hybrid": 0}[kind]
    t = lt.create_torrent(fs, piece_length, flags)
    for url in trackers:
        t.add_tracker(url)
    lt.set_piece_hashes(t, os.path.dirname(path))
    with open(out, "wb") as f:
        f.write(lt.bencode(t.generate()))
    return out
