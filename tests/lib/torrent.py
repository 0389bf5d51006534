"""Bencode, a maker of v1 torrents, and data to put into them."""
import hashlib
import os
import random

MIB = 1 << 20


def bencode(x):
    if isinstance(x, bool):
        raise TypeError("no booleans in bencode")
    if isinstance(x, int):
        return b"i%de" % x
    if isinstance(x, str):
        x = x.encode()
    if isinstance(x, bytes):
        return b"%d:%s" % (len(x), x)
    if isinstance(x, (list, tuple)):
        return b"l" + b"".join(map(bencode, x)) + b"e"
    items = sorted((k.encode() if isinstance(k, str) else k, v)
                   for k, v in x.items())
    return b"d" + b"".join(bencode(k) + bencode(v) for k, v in items) + b"e"


def bdecode(data):
    value, end = _item(data, 0)
    if end != len(data):
        raise ValueError("bytes after the end")
    return value


def _item(d, i):
    c = d[i:i + 1]
    if c == b"i":
        end = d.index(b"e", i)
        return int(d[i + 1:end]), end + 1
    if c == b"l":
        out, i = [], i + 1
        while d[i:i + 1] != b"e":
            value, i = _item(d, i)
            out.append(value)
        return out, i + 1
    if c == b"d":
        out, i = {}, i + 1
        while d[i:i + 1] != b"e":
            key, i = _item(d, i)
            out[key], i = _item(d, i)
        return out, i + 1
    colon = d.index(b":", i)
    end = colon + 1 + int(d[i:colon])
    return d[colon + 1:end], end


def random_file(path, size, seed=1):
    """SIZE reproducible random bytes."""
    rnd = random.Random(seed)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        while size:
            n = min(size, 4 * MIB)
            f.write(rnd.randbytes(n))
            size -= n
    return path


def random_tree(path, files=1000, seed=2, biggest=17, has_empty=True):
    """Folders two deep; sizes 0 to 2**BIGGEST, most of them small, some empty;
    names with spaces and umlauts."""
    rnd = random.Random(seed)
    for n in range(files):
        size = int(2 ** rnd.uniform(3, biggest))
        if has_empty and n % 50 == 7:
            size = 0
        where = os.path.join(path, f"d{n % 12:02}", f"größe {n % 5}")
        os.makedirs(where, exist_ok=True)
        with open(os.path.join(where, f"f {n:04}.dat"), "wb") as f:
            f.write(rnd.randbytes(size))
    return path


def _walk(path):
    out = []
    for root, dirs, names in os.walk(path):
        dirs.sort()
        out += [os.path.join(root, n) for n in names]
    return sorted(out)


class Torrent:
    """A v1 torrent of PATH, written to OUT. EXTRA: more top-level keys; INFO:
    more keys (or other values) of the info dictionary."""

    def __init__(self, path, out, piece_length=256 << 10, announce=(),
                 extra=None, info=None):
        self.data, self.path, self.name = path, out, os.path.basename(path)
        self.parent = os.path.dirname(path)
        is_file = os.path.isfile(path)
        files = [path] if is_file else _walk(path)
        self.files = [(f, os.path.getsize(f)) for f in files]
        self.size = sum(n for _, n in self.files)
        pieces, rest = [], b""
        for f in files:
            with open(f, "rb") as src:
                while True:
                    chunk = src.read(piece_length - len(rest))
                    if not chunk:
                        break
                    rest += chunk
                    if len(rest) == piece_length:
                        pieces.append(hashlib.sha1(rest).digest())
                        rest = b""
        if rest:
            pieces.append(hashlib.sha1(rest).digest())
        self.num_pieces, self.piece_length = len(pieces), piece_length
        d = {"name": self.name, "piece length": piece_length,
             "pieces": b"".join(pieces)}
        if is_file:
            d["length"] = self.size
        else:
            d["files"] = [
                {"length": os.path.getsize(f),
                 "path": os.path.relpath(f, path).split(os.sep)}
                for f in files]
        d.update(info or {})
        raw = bencode(d)
        self.hash = hashlib.sha1(raw).hexdigest()
        top = {"info": d, **(extra or {})}
        announce = [announce] if isinstance(announce, str) else list(announce)
        if announce:
            top["announce"] = announce[0]
        if len(announce) > 1:
            top["announce-list"] = [[u] for u in announce]
        with open(out, "wb") as f:
            f.write(bencode(top))

    def pread(self, offset, length):
        """Bytes of the torrent, across files."""
        out = b""
        for path, size in self.files:
            if offset < size and length:
                with open(path, "rb") as f:
                    f.seek(offset)
                    out += f.read(min(length, size - offset))
                length -= min(length, size - offset)
                offset = 0
            else:
                offset = max(0, offset - size)
        return out

    def magnet(self, *trackers, peers=()):
        return f"magnet:?xt=urn:btih:{self.hash}&dn={self.name}" + \
            "".join(f"&tr={t}" for t in trackers) + \
            "".join(f"&x.pe={p}" for p in peers)


def sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while chunk := f.read(MIB):
            h.update(chunk)
    return h.hexdigest()
