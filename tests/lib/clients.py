"""The clients and trackers that people use, as peers of a test.

Seeder(box, NAME, torrent) starts one and returns when it really seeds: a probe
asks it over the wire for its bitfield, so no client's word is taken for it.
Data is copied first: no client may touch the original.
"""
import json
import os
import shutil
import socket
import struct
import subprocess
import time

from harness import Failed, HOSTS, LIB, Skip, need, until
from torrent import bdecode, bencode

PY = "/usr/bin/python3"  # Debian's, which has libtorrent


# --- what a peer has, asked over the wire

def _take(sock, n):
    out = b""
    while len(out) < n:
        more = sock.recv(n - len(out))
        if not more:
            raise OSError("closed")
        out += more
    return out


def pieces_of(host, port, infohash, num_pieces, seconds=2):
    """How many pieces the peer says it has within SECONDS; -1: no answer.
    Asks from an address of its own: some clients, for a while, take no second
    connection from where one came."""
    have = set()
    answered = False
    try:
        with socket.create_connection((host, port), seconds,
                                      (HOSTS[2], 0)) as s:
            s.settimeout(seconds)
            s.sendall(b"\x13BitTorrent protocol" + bytes(5) + b"\x10\0\0"
                      + bytes.fromhex(infohash) + b"-PR0000-" + os.urandom(12))
            if _take(s, 68)[28:48].hex() != infohash:
                return -1
            answered = True
            end = time.monotonic() + seconds
            while len(have) < num_pieces and time.monotonic() < end:
                n, = struct.unpack(">I", _take(s, 4))
                msg = _take(s, n) if n else b" "
                if msg[0] == 5:
                    have |= {i for i in range(num_pieces)
                             if msg[1 + i // 8] & (0x80 >> i % 8)}
                elif msg[0] == 4:
                    have.add(struct.unpack(">I", msg[1:5])[0])
    except OSError:
        pass
    return len(have) if answered else -1


def wait_seeding(p, host, port, torrent, seconds=60):
    """Until the peer at HOST:PORT has all of TORRENT."""
    def ready():
        if not p.alive():
            raise Failed(f"{p.name} exited: {p.log()[-400:]}")
        return pieces_of(host, port, torrent.hash,
                         torrent.num_pieces) == torrent.num_pieces
    until(ready, seconds, f"{p.name} seeds")


# --- seeders; each gets (box, torrent file, data folder, port, state folder)

def libtorrent(box, torrent, data, port, state):
    need_libtorrent()
    return box.spawn([PY, LIB + "/lt.py", "seed", torrent, data, port],
                     "libtorrent")


def transmission(box, torrent, data, port, state, dht=False, bind=HOSTS[1]):
    need("transmission-daemon")
    rpc = box.port()
    os.mkdir(state + "/watch")
    shutil.copy(torrent, state + "/watch/it.torrent")
    box.write(os.path.relpath(state + "/settings.json", box.dir), json.dumps({
        # Not the address of the others: it knows one peer per address.
        "bind-address-ipv4": bind,
        "peer-port": port, "rpc-port": rpc, "rpc-bind-address": "127.0.0.1",
        "download-dir": data, "incomplete-dir-enabled": False,
        "watch-dir": state + "/watch", "watch-dir-enabled": True,
        "dht-enabled": dht, "lpd-enabled": False, "pex-enabled": False,
        "utp-enabled": False, "port-forwarding-enabled": False,
        "encryption": 1, "preallocation": 0, "rename-partial-files": False,
        "ratio-limit-enabled": False, "start-added-torrents": True,
        "trash-original-torrent-files": False}))
    p = box.spawn(["transmission-daemon", "-f", "-g", state], "transmission")
    p.rpc = rpc
    return p


def qbittorrent(box, torrent, data, port, state):
    need("qbittorrent-nox")
    web = box.port()
    where = state + "/qBittorrent/config"
    os.makedirs(where)
    with open(where + "/qBittorrent.conf", "w", encoding="utf-8") as f:
        f.write(f"""[LegalNotice]
Accepted=true
[BitTorrent]
Session\\Port={port}
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\BTProtocol=TCP
Session\\DefaultSavePath={data}
Session\\GlobalMaxRatio=-1
Session\\MultiConnectionsPerIp=true
[Network]
PortForwardingEnabled=false
[Preferences]
WebUI\\Address=127.0.0.1
WebUI\\Port={web}
""")
    return box.spawn(["qbittorrent-nox", f"--profile={state}",
                      f"--save-path={data}", "--skip-dialog=true",
                      "--add-paused=false", torrent], "qbittorrent")


def aria2(box, torrent, data, port, state, *more):
    need("aria2c")
    return box.spawn(["aria2c", "--quiet", "--no-conf", "--seed-ratio=0.0",
                      "--enable-dht=false", "--enable-dht6=false",
                      "--bt-enable-lpd=false", "--enable-peer-exchange=false",
                      "--check-integrity=true", "--allow-overwrite=true",
                      "--auto-file-renaming=false", "--file-allocation=none",
                      f"--listen-port={port}", *more, "-d", data, torrent],
                     "aria2")


def rtorrent(box, torrent, data, port, state):
    need("rtorrent")
    with open(torrent, "rb") as f:
        top = bdecode(f.read())
    if b"announce" not in top:  # it loads none without a tracker
        top[b"announce"] = b"http://127.0.0.1:1/announce"
        torrent = state + "/it.torrent"
        with open(torrent, "wb") as f:
            f.write(bencode(top))
    rc = state + "/rtorrent.rc"
    with open(rc, "w", encoding="utf-8") as f:
        f.write(f"""network.port_range.set = {port}-{port}
network.port_random.set = no
dht.mode.set = disable
protocol.pex.set = no
protocol.encryption.set = allow_incoming
session.path.set = {state}
directory.default.set = {data}
system.daemon.set = true
schedule2 = add,0,0,"load.start={torrent}"
""")
    return box.spawn(["rtorrent", "-n", "-o", f"import={rc}"], "rtorrent",
                     env={"TERM": "dumb"})


STARTERS = {"libtorrent": libtorrent, "transmission": transmission,
            "qbittorrent": qbittorrent, "aria2": aria2, "rtorrent": rtorrent}


def need_libtorrent():
    if subprocess.run([PY, "-c", "import libtorrent"],
                      capture_output=True).returncode:
        raise Skip("python3-libtorrent is not installed")


def copy_data(box, torrent, to):
    """A client's own copy of the content, in a folder that it may write."""
    folder = box.mkdir(to)
    if os.path.isdir(torrent.data):
        shutil.copytree(torrent.data, os.path.join(folder, torrent.name))
    else:
        shutil.copy(torrent.data, folder)
    return folder


class Seeder:
    """Client NAME, seeding TORRENT (torrent.Torrent) by the time this is made."""

    def __init__(self, box, name, torrent, port=None, seconds=60):
        self.port = port or box.port()
        self.host = HOSTS[1] if name == "transmission" else HOSTS[0]
        self.at = f"{self.host}:{self.port}"
        self.at6 = f"[::1]:{self.port}"
        tag = f"{name}-{box.count}"
        data, state = copy_data(box, torrent, tag), box.mkdir(tag + ".state")
        self.p = STARTERS[name](box, torrent.path, data, self.port, state)
        wait_seeding(self.p, self.host, self.port, torrent, seconds)


# --- leechers

def leech_libtorrent(box, source, data, peers=(), port=None):
    need_libtorrent()
    return box.spawn([PY, LIB + "/lt.py", "get", source, data,
                      port or box.port(), *peers], "libtorrent-leech")


def leech_transmission(box, source, data, port=None):
    """Finds peers through the tracker in the torrent."""
    tag = box.mkdir(f"transmission-leech-{box.count}.state")
    return transmission(box, source, data, port or box.port(), tag)


def wait_complete(p, torrent, folder, seconds=90):
    """For a leecher that keeps running: until every byte is right."""
    def done():
        if not p.alive():
            raise Failed(f"{p.name} exited: {p.log()[-400:]}")
        return not subprocess.run(
            ["diff", "-rq", torrent.data, os.path.join(folder, torrent.name)],
            capture_output=True).returncode
    until(done, seconds, f"{p.name} is complete")


# --- tracker

class Opentracker:
    """Debian's, over HTTP and UDP, for the given info hashes alone."""

    def __init__(self, box, *torrents, host=HOSTS[0]):
        need("opentracker")
        port = box.port()
        where = box.mkdir(f"opentracker-{port}")
        with open(where + "/list", "w", encoding="utf-8") as f:
            f.writelines(t.hash + "\n" for t in torrents)
        os.chmod(where, 0o755)
        self.p = box.spawn(["opentracker", "-i", host, "-p", port, "-P", port,
                            "-d", where, "-w", "list"], "opentracker")
        self.http = f"http://{host}:{port}/announce"
        self.udp = f"udp://{host}:{port}/announce"

        def up():
            if not self.p.alive():
                raise Failed("opentracker exited: " + self.p.log())
            try:
                socket.create_connection((host, port), 1).close()
                return True
            except OSError:
                return False
        until(up, 10, "opentracker answers")
        self.at = (host, port)

    def seeds(self, torrent):
        """How many complete peers it knows."""
        key = "".join(f"%{b:02x}" for b in bytes.fromhex(torrent.hash))
        with socket.create_connection(self.at, 5) as s:
            s.sendall(f"GET /scrape?info_hash={key} HTTP/1.0\r\n\r\n".encode())
            s.settimeout(5)
            answer = b""
            while more := s.recv(4096):
                answer += more
        files = bdecode(answer.partition(b"\r\n\r\n")[2]).get(b"files", {})
        return sum(f[b"complete"] for f in files.values())

    def wait_seeds(self, torrent, count=1, seconds=30):
        until(lambda: self.seeds(torrent) >= count, seconds,
              f"{count} seeds at the tracker")
