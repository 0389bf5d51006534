#!/usr/bin/python3
"""Goal: what an announce URL with a key names is found through the overlay:
peers for a mount, also when owners die, and owners for people and for DNS."""
import json
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import HOSTS, LIB, SLOW, case, check, main, need, same, until
from torrent import MIB, Torrent, random_file, sha256
from weir import BUILD, WEIRCTL, Mount, weirctl

NODE = os.path.join(BUILD, "tests/lib/overlaynode")
DOMAIN = "bt.lab.invalid"
KEY = "film"
LIMIT = 90


class Overlay:
    """Three trackers that know one peer, a seeder of ours."""

    def __init__(self, box):
        self.box, self.port, self.dns = box, box.port(), box.port()
        self.seeder = f"{HOSTS[0]}:{box.port()}"
        self.nodes, first = {}, "none"
        for host in HOSTS:
            self.nodes[host] = box.spawn(
                [NODE, DOMAIN, f"{host}:{self.port}", first, self.seeder,
                 str(self.dns)], "node")
            first = f"{HOSTS[0]}:{self.port}"
        until(lambda: len(self.owners(status=None)) == 3, 30,
              "three trackers have met")

    def url(self, key=KEY):
        return f"udp://{key}.{DOMAIN}:{self.port}/announce"

    def o(self):
        return f"nodht,overlay={HOSTS[0]}:{self.port}," \
            f"overlay={HOSTS[1]}:{self.port},overlay={HOSTS[2]}:{self.port}"

    def lookup(self, *what, status=0):
        out = weirctl(self.box, "lookup", "--tracker", *what, "--json", "-o",
                      self.o(), status=status).stdout
        return json.loads(out or '{"owners": []}')

    def owners(self, status=0):
        return [o["addr"].split(":")[0]
                for o in self.lookup(self.url(), status=status)["owners"]]

    def heard(self, host, t):
        return [line for line in self.nodes[host].log().splitlines()
                if line.startswith(t.hash)]

    def torrent(self, name, seed=1, url=None):
        return Torrent(random_file(self.box.path("src/" + name), MIB, seed),
                       self.box.path(name + ".torrent"),
                       announce=[url or self.url()])

    def seed(self, t):
        host, port = self.seeder.split(":")
        return self.box.spawn(
            [WEIRCTL, "seed", t.path, "--data", t.parent, "--port", port,
             "--bind", host, "-o",
             f"nodht,kenosis=0,state={self.box.path('seed.' + t.name)}"],
            "seed")

    def mount(self, *torrents, name="w", more=()):
        return Mount(self.box, *(t.path for t in torrents), name=name,
                     options=[*self.o().split(","), *more])


@case("lookup --tracker: owners by rank, who answers, whatever names the key",
      LIMIT)
def lookup(box):
    lab = Overlay(box)
    t = lab.torrent("film")
    got = lab.lookup(lab.url())
    same([o["rank"] for o in got["owners"]], [0, 1, 2], "ranks")
    same(sorted(o["addr"] for o in got["owners"]),
         [f"{h}:{lab.port}" for h in HOSTS], "addresses")
    for o in got["owners"]:
        same(o["udp_port"], lab.port, "port")
        check(o["udp_ms"] is not None, "it answers UDP")
        check(o["http_status"] is None, "it has no HTTP server")
    for what in ([t.path], [t.magnet(lab.url())], [f"FILM.{DOMAIN}"],
                 ["film", "--domain", DOMAIN]):
        same(lab.lookup(*what)["id"], got["id"], f"key of {what}")
    lab.nodes[HOSTS[2]].signal(signal.SIGKILL)
    until(lambda: HOSTS[2] not in lab.owners(), 40, "the dead one is out")


@case("lookup --tracker says what is wrong", LIMIT)
def lookup_errors(box):
    def error(*args, status=1):
        return weirctl(box, "lookup", "--tracker", *args,
                       status=status).stderr
    check("--domain" in error("film"), "a bare key")
    check("machine" in error("http://tracker.invalid/announce"), "a machine")
    check("is a key" in error("magnet:?xt=urn:btih:" + "0" * 40), "a magnet")
    check("overlay=" in error(f"film.{DOMAIN}"), "nothing to begin with")
    check("answers" in error(f"film.{DOMAIN}", "-o",
                             f"overlay={HOSTS[0]}:{box.port()}"), "nobody")
    error(status=2)


@case("a mount finds peers by the key's URL; the owner is named", LIMIT)
def mount(box):
    lab = Overlay(box)
    t = lab.torrent("film")
    lab.seed(t)
    m = lab.mount(t)
    same(sha256(m.file("film")), sha256(t.data), "content")
    first = lab.owners()[0]
    until(lambda: lab.heard(first, t), 10, "the first owner heard of it")
    check("/announce?kt=film" in lab.heard(first, t)[0], "with its key")
    text = json.dumps(m.status())
    with open(m.path(".weirfs", "film", "status.json"),
              encoding="utf-8") as f:
        text += f.read()
    check(re.search(r"10\.9\.0\.\d:%d rank \d" % lab.port, text),
          "the status names who answered")
    m.stop()
    until(lambda: any(line.split()[1] == "3"
                      for line in lab.heard(first, t)), 10, "a goodbye")


@case("the same by HTTP, with the key as the host that is asked for", LIMIT)
def http(box):
    lab = Overlay(box)
    t = lab.torrent("film", url=f"http://film.{DOMAIN}:{lab.port}/announce"
                    f"/peer={lab.seeder}")
    lab.seed(t)
    servers = {h: box.spawn([sys.executable, os.path.join(LIB, "pytracker.py"),
                             "--bind", h, "--port", str(lab.port)], "http")
               for h in HOSTS}
    until(lambda: all(p.log() for p in servers.values()), 10, "they listen")
    m = lab.mount(t)
    same(sha256(m.file("film")), sha256(t.data), "content")
    asked = [h for h, p in servers.items() if "info_hash" in p.log()]
    check(asked, "an owner was asked")
    for host in HOSTS:
        same(lab.heard(host, t), [], f"what {host} heard by UDP")
    lab.lookup(t.path)
    for host, p in servers.items():
        check('"/scrape"' in p.log(), f"{host} was probed")


@case("an owner dies: peers within 2 s, from those who know its key", LIMIT)
def dead_owner(box):
    lab = Overlay(box)
    one, two = lab.torrent("one"), lab.torrent("two", 2)
    seed = lab.seed(one)
    m = lab.mount(one)
    same(sha256(m.file("one")), sha256(one.data), "content")
    seed.end()  # the next one has its port
    lab.seed(two)
    first = next(h for h in HOSTS  # who is asked beside it hears no "started"
                 if any(s.split()[1] == "2" for s in lab.heard(h, one)))
    lab.nodes[first].signal(signal.SIGKILL)
    began = time.monotonic()
    with open(two.path, "rb") as src, \
            open(m.path("torrents", "two.torrent"), "wb") as dst:
        dst.write(src.read())
    until(lambda: any(lab.heard(h, two) for h in HOSTS), 10,
          "the next owner is asked")
    took = time.monotonic() - began
    print(f"# the next owner was asked after {took:.2f} s")
    check(took < 2 * SLOW, f"it took {took:.2f} s")
    same(sha256(m.file("two")), sha256(two.data), "content")


@case("kenosis=0: keys are names for DNS, and owners hear nothing", LIMIT)
def plain(box):
    lab = Overlay(box)
    t = lab.torrent("film")
    m = lab.mount(t, more=["kenosis=0"])
    time.sleep(3)
    check(m.p.alive(), "the mount lives")
    for host in HOSTS:
        same(lab.heard(host, t), [], f"what {host} heard")


@case("legacy clients get the same owners from the DNS bridge", LIMIT)
def bridge(box):
    need("dig")
    lab = Overlay(box)

    def dig(name, kind="A", host=HOSTS[0], more=("+short",)):
        return box.run(["dig", f"@{host}", "-p", str(lab.dns), *more,
                        "+tries=1", "+time=5", name, kind]).stdout
    until(lambda: all(len(dig(f"root.{DOMAIN}", host=h).split()) == 3
                      for h in HOSTS), 30, "each of them knows all")
    for host in HOSTS:
        owners = dig(f"FiLm.{DOMAIN}", host=host).split()
        same(sorted(owners), HOSTS, f"owners as {host} tells them")
        for rank, owner in enumerate(owners):
            same(dig(f"film--r{rank}.{DOMAIN}", host=host).split(), [owner],
                 f"rank {rank}")
    same(sorted(dig(f"root.{DOMAIN}").split()), HOSTS, "live trackers")
    same(len(dig(DOMAIN, "NS").split()), 3, "name servers")
    check("status: NOERROR" in dig(f"film.{DOMAIN}", "AAAA", more=()),
          "no such type")
    check("status: NXDOMAIN" in dig(f"zz.node.{DOMAIN}", more=()),
          "no such name")
    check("status: REFUSED" in dig("example.org", more=()), "not ours")


if __name__ == "__main__":
    main()
