#!/usr/bin/python3
"""Goal: the clients people use announce to and scrape weir-tracker, over HTTP
and UDP, IPv4 and IPv6; two of them that know nothing but the tracker find each
other through it and pass a file on."""
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from clients import (PY, STARTERS, Seeder, copy_data, leech_libtorrent,
                     leech_transmission, need_libtorrent, wait_complete)
from harness import (HOSTS, HOSTS6, LIB, Failed, Skip, case, check, main, need,
                     same, until)
from torrent import Torrent, random_file
from weirtracker import WeirTracker

NPM = os.environ.get("WEIRFS_NPM") or os.path.join(LIB, "../../build-npm")
# One by one, so that UDP answers leave from where they were asked.
BINDS = [word for a in (*HOSTS[:2], *HOSTS6, "127.0.0.1", "::1")
         for word in ("--bind", a)]
WAYS = [(kind, host) for kind in ("http", "udp")
        for host in (HOSTS[0], HOSTS6[0])]


def url_of(tracker, kind, host):
    return (tracker.http_url if kind == "http" else tracker.udp_url)(host)


def small(box, *announce, name="it.bin", seed=1):
    """A torrent of one small file."""
    data = random_file(box.path(name), 700000, seed)
    return Torrent(data, box.path(name + ".torrent"), 1 << 16,
                   announce=list(announce))


def count(tracker, torrent):
    return tracker.scrape(bytes.fromhex(torrent.hash)) or (0, 0, 0)


def wait_seeds(tracker, torrent, number=1, seconds=40):
    until(lambda: count(tracker, torrent)[0] >= number, seconds,
          f"{number} seeds at the tracker")


def announced(tracker):
    stats = tracker.stats()
    return {"http": stats["http"]["announces"],
            "udp": stats["udp"]["announces"]}


def announces(name):
    """A seeder's announce, over each way that the client knows."""
    def run(box):
        for kind, host in WAYS:
            if (name, kind, ":" in host) in CANNOT:
                continue
            tracker = WeirTracker(box, *BINDS)
            t = small(box, url_of(tracker, kind, host),
                      name=f"{kind}{host[:4]}")
            s = Seeder(box, name, t)
            wait_seeds(tracker, t)
            check(announced(tracker)[kind] >= 1, f"{kind} in statistics")
            here = tracker.announce(bytes.fromhex(t.hash), 9, left=1)["all"]
            check(any(p.endswith(f":{s.port}") for p in here),
                  f"{name} over {kind} {host}: {here}, port {s.port}")
            if name == "aria2":  # others say no goodbye in a hurry
                s.p.signal(signal.SIGINT)
                until(lambda: count(tracker, t)[0] == 0, 20,
                      f"{name} left, over {kind} {host}")
            s.p.end()
            tracker.p.end()
    return run


# Not ours to mend, or in a case of its own below: (client, kind, over IPv6).
CANNOT = {
    ("aria2", "udp", False),  # speaks UDP with its DHT alone, which is off
    ("aria2", "udp", True),
    ("transmission", "http", True),  # bound to an IPv4 address here
    ("transmission", "udp", True),  # 3.00 does not understand such a URL
    ("rtorrent", "http", True),  # 0.9.8 knows IPv4 alone
    ("rtorrent", "udp", True),
}

for client in STARTERS:
    case(f"{client} announces, is listed and leaves", limit=300)(
        announces(client))


def starts(box, start, url, *more, **options):
    """A seeder that is started by itself is listed."""
    tracker = WeirTracker(box, *BINDS)
    t = small(box, url(tracker))
    data = copy_data(box, t, "data")
    port = box.port()
    p = start(box, t.path, data, port, box.mkdir("state"), *more, **options)
    wait_seeds(tracker, t)
    here = tracker.announce(bytes.fromhex(t.hash), 9, left=1)["all"]
    check(any(peer.endswith(f":{port}") for peer in here), f"{here}, {port}")
    p.end()


@case("transmission announces over HTTP and IPv6", limit=90)
def transmission_ipv6(box):
    starts(box, STARTERS["transmission"], lambda t: t.http_url(HOSTS6[0]),
           bind="0.0.0.0")


@case("aria2 announces over UDP, with its DHT on", limit=90)
def aria2_udp(box):
    starts(box, STARTERS["aria2"], lambda t: t.udp_url(HOSTS[0]),
           "--enable-dht=true", f"--dht-listen-port={box.port()}",
           f"--dht-file-path={box.path('dht.dat')}")


@case("transmission-show scrapes over HTTP", limit=60)
def transmission_scrape(box):
    need("transmission-show")
    tracker = WeirTracker(box, *BINDS)
    for host in (HOSTS[0], HOSTS6[0]):
        t = small(box, tracker.http_url(host), name="a" + host[:2])
        for port in (1, 2):
            tracker.announce(bytes.fromhex(t.hash), port, left=0)
        tracker.announce(bytes.fromhex(t.hash), 3)
        text = box.run(["transmission-show", "--scrape", t.path]).stdout
        check("2 seeders, 1 leechers" in text, text)


@case("libtorrent scrapes over HTTP and UDP, IPv4 and IPv6", limit=90)
def libtorrent_scrape(box):
    need_libtorrent()
    tracker = WeirTracker(box, *BINDS)
    for kind, host in WAYS:
        t = small(box, url_of(tracker, kind, host), name=kind + host[:2])
        for port in (1, 2):
            tracker.announce(bytes.fromhex(t.hash), port, left=0)
        p = box.spawn([PY, LIB + "/lt.py", "scrape", t.path, box.mkdir("d"),
                       box.port()], "libtorrent", stdout=subprocess.PIPE,
                      text=True)
        out, _ = p.p.communicate(timeout=30)
        same(out.strip(), "2", f"scrape of libtorrent over {kind} {host}")


class WebTorrent:
    """bittorrent-tracker of npm."""

    def __init__(self, box, url, infohash, port, left):
        need("node")
        if not os.path.isdir(NPM + "/node_modules/bittorrent-tracker"):
            raise Skip("bittorrent-tracker is not in build-npm "
                       "(tools/deps test)")
        self.p = box.spawn(["node", LIB + "/wttracker.mjs",
                            os.path.abspath(NPM), url, infohash, port, left],
                           "webtorrent", stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, text=True)

    def say(self, word):
        self.p.p.stdin.write(word + "\n")
        self.p.p.stdin.flush()

    def hear(self, key):
        for line in self.p.p.stdout:
            said = json.loads(line)
            if "error" in said:
                raise Failed(f"bittorrent-tracker: {said['error']}")
            if key in said:
                return said[key]
        raise Failed("bittorrent-tracker ended")


@case("webtorrent announces, finds, completes, scrapes, leaves", limit=120)
def webtorrent(box):
    for kind, host in WAYS:
        if kind == "udp" and ":" in host:
            continue  # it sends over IPv4 alone
        tracker = WeirTracker(box, *BINDS)
        url, infohash = url_of(tracker, kind, host), "ab" * 20
        tracker.announce(bytes.fromhex(infohash), 4711, host=host)
        w = WebTorrent(box, url, infohash, 4712, 1000)
        same(w.hear("update"), {"complete": 0, "incomplete": 2}, "counts")
        at = f"[{host}]" if ":" in host else host
        same(w.hear("peer"), f"{at}:4711", "the other peer")
        w.say("complete")
        same(w.hear("update")["complete"], 1, "seeders")
        w.say("scrape")
        same(w.hear("scrape"), {"complete": 1, "incomplete": 1,
                                "downloaded": 1}, "scrape")
        w.say("stop")
        w.p.wait(10)
        same(tracker.scrape(bytes.fromhex(infohash)), (0, 1, 1), "who is left")
        tracker.p.end()


def pair(seeder, leecher):
    def run(box):
        for kind in ("http", "udp"):
            if kind == "udp" and "aria2" in (seeder, leecher):
                continue  # see above
            tracker = WeirTracker(box, *BINDS)
            t = small(box, url_of(tracker, kind, HOSTS[0]), name="via-" + kind)
            Seeder(box, seeder, t)
            wait_seeds(tracker, t)
            data = box.mkdir("to-" + kind)
            if leecher == "libtorrent":
                p = leech_libtorrent(box, t.path, data)
                same(p.wait(90), 0, "exit status of libtorrent")
            elif leecher == "transmission":
                wait_complete(leech_transmission(box, t.path, data), t, data)
            else:
                state = box.mkdir(f"{leecher}-{kind}.leech")
                p = STARTERS[leecher](box, t.path, data, box.port(), state)
                wait_complete(p, t, data)
            check(announced(tracker)[kind] >= 2, announced(tracker))
            for p in box.procs[-3:]:
                p.end()
    return run


for one, other in (("transmission", "libtorrent"),
                   ("libtorrent", "transmission"),
                   ("aria2", "libtorrent"), ("libtorrent", "aria2"),
                   ("qbittorrent", "transmission"),
                   ("rtorrent", "libtorrent")):
    case(f"{other} finds {one} through the tracker and gets the file",
         limit=300)(pair(one, other))


@case("peers of IPv6 alone find each other", limit=120)
def over_ipv6(box):
    need_libtorrent()
    for kind in ("http", "udp"):
        tracker = WeirTracker(box, "--bind", HOSTS6[0])
        t = small(box, url_of(tracker, kind, HOSTS6[0]), name="six-" + kind)
        data = copy_data(box, t, "six-seed-" + kind)
        env = {"LT_LISTEN": f"[{HOSTS6[0]}]"}
        box.spawn([PY, LIB + "/lt.py", "seed", t.path, data, box.port()],
                  "libtorrent", env=env)
        until(lambda: tracker.scrape(bytes.fromhex(t.hash), host=HOSTS6[0]),
              30, "the seed at the tracker")
        p = box.spawn([PY, LIB + "/lt.py", "get", t.path,
                       box.mkdir("six-" + kind + ".d"), box.port()],
                      "libtorrent-leech", env={"LT_LISTEN": f"[{HOSTS6[1]}]"})
        same(p.wait(60), 0, "exit status of libtorrent")


if __name__ == "__main__":
    main()
