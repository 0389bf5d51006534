#!/usr/bin/python3
"""Goal: what an announce URL with a key names is found through the overlay:
peers for a mount, also when owners die, and owners for people and for DNS.
All trackers are weir-trackers."""
import json
import os
import re
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from harness import HOSTS, SLOW, case, check, main, need, same, until
from overlaylab import DOMAIN, MORE_HOSTS, OWNERS, Lab, same_hosts
from torrent import MIB, Torrent, random_file, sha256
from trackerclient import Udp, http_announce, key_id
from trackernet import with_resolver
from weir import WEIRCTL, weirctl

KEY = "film"
LIMIT = 120


def torrent(box, name, url, seed=1):
    return Torrent(random_file(box.path("src/" + name), MIB, seed),
                   box.path(name + ".torrent"), announce=[url])


def seeded(lab, t):
    """A seeder of T that all owners know."""
    p = lab.seed(t.path, t.parent)
    h = bytes.fromhex(t.hash)
    until(lambda: all(lab.holds(x, h) for x in lab.hosts), 20,
          f"all owners know the seeder of {t.name}")
    return p


@case("lookup --tracker: owners by rank, who answers, whatever names the key",
      LIMIT)
def lookup(box):
    lab = Lab(box)
    t = torrent(box, "film", lab.url(KEY))
    got = lab.lookup(lab.url(KEY))
    same([o["rank"] for o in got["owners"]], [0, 1, 2], "ranks")
    same([o["addr"].split(":")[0] for o in got["owners"]],
         lab.ranks(key_id(KEY)), "owners by their distance")
    for o in got["owners"]:
        same(o["addr"].split(":")[1], str(lab.port), "address")
        same((o["udp_port"], o["http_port"]), (lab.port, lab.port), "ports")
        check(o["udp_ms"] is not None, "it answers UDP")
        same(o["http_status"], 200, "it answers HTTP")
    for m in lab.stats(HOSTS[0])["overlay"]["members"]:
        same(m["addr"].split(":")[1], str(lab.port), "a member's port")
    for what in ([t.path], [t.magnet(lab.url(KEY))], [f"FILM.{DOMAIN}"],
                 ["film", "--domain", DOMAIN]):
        same(lab.lookup(*what)["id"], got["id"], f"key of {what}")
    lab.nodes[HOSTS[2]].p.signal(signal.SIGKILL)
    until(lambda: HOSTS[2] not in lab.owners(lab.url(KEY)), 40,
          "the dead one is out")


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


@case("a mount finds peers by the key's URL; the owner is named, two owners of "
      "a small swarm are asked, and hear a goodbye", LIMIT)
def mount(box):
    lab = Lab(box)
    t = torrent(box, "film", lab.url(KEY))
    seeded(lab, t)
    before = {h: lab.heard(h) for h in HOSTS}
    m = lab.mount(t)
    same(sha256(m.file("film")), sha256(t.data), "content")
    first, second, third = lab.ranks(key_id(KEY))
    until(lambda: lab.heard(first) > before[first], 10, "the first owner heard")
    until(lambda: lab.heard(second) > before[second], 10,
          "a swarm of few peers: the second one heard, too")
    same(lab.heard(third), before[third], "announces to the third one")
    text = json.dumps(m.status())
    with open(m.path(".weirfs", "film", "status.json"),
              encoding="utf-8") as f:
        text += f.read()
    check(re.search(r"10\.9\.0\.\d:%d rank \d" % lab.port, text),
          "the status names who answered")
    h = bytes.fromhex(t.hash)
    until(lambda: all(lab.holds(x, h) > 1 for x in HOSTS), 20,
          "all owners hold the mount as a peer")
    m.stop()
    until(lambda: all(lab.holds(x, h) == 1 for x in HOSTS), 20,
          "the seeder alone is left, at every owner")


def part(box, lab):
    """Trackers hear nothing of each other any more; clients, who have other
    ports, are heard."""
    box.run(["ip", "rule", "add", "pref", "20", "lookup", "local"])
    box.run(["ip", "rule", "del", "pref", "0"])
    box.at_end(box.run, ["ip", "rule", "del", "pref", "20"])
    box.at_end(box.run, ["ip", "rule", "add", "pref", "0", "lookup", "local"])
    rule = ["pref", "10", "ipproto", "udp", "sport", str(lab.port), "dport",
            str(lab.port), "blackhole"]
    box.run(["ip", "rule", "add", *rule])
    box.at_end(box.run, ["ip", "rule", "del", *rule])


@case("what two owners of a small swarm say is put together", LIMIT)
def merged(box):
    lab = Lab(box)
    t = torrent(box, "film", lab.url(KEY))
    owners = lab.ranks(key_id(KEY))
    part(box, lab)
    peers = []
    for owner, host in zip(owners, HOSTS):
        s = socket.socket()
        box.at_end(s.close)
        s.bind((host, 0))
        s.listen()
        s.settimeout(20 * SLOW)
        peers.append(s)
        http_announce(owner, lab.port, bytes.fromhex(t.hash),
                      s.getsockname()[1], host, left=0)
    time.sleep(2)
    for owner in owners:
        same(lab.holds(owner, bytes.fromhex(t.hash)), 1,
             f"what {owner} holds by itself")
    m = lab.mount(t)
    box.spawn(["cat", m.file("film")], "reader")
    for owner, s in zip(owners[:2], peers):
        try:
            s.accept()[0].close()
        except TimeoutError:
            check(False, f"the peer that {owner} alone knows was not tried")


@case("the same by HTTP, with the key as the host that is asked for", LIMIT)
def http(box):
    lab = Lab(box)
    t = torrent(box, "film", lab.url(KEY, "http"))
    seeded(lab, t)
    before = {h: lab.heard(h, "http") for h in HOSTS}
    m = lab.mount(t)
    same(sha256(m.file("film")), sha256(t.data), "content")
    check(any(lab.heard(h, "http") > before[h] for h in HOSTS),
          "an owner was asked")
    for host in HOSTS:
        same(lab.heard(host), 0, f"what {host} heard by UDP")
    lab.lookup(t.path)
    for host in HOSTS:
        lab.nodes[host].wait_log('"/scrape.* 200')  # it is written a bit later


@case("an owner dies: peers within 2 s, from those who know its key", LIMIT)
def dead_owner(box):
    lab = Lab(box)
    one = torrent(box, "one", lab.url(KEY))
    two = torrent(box, "two", lab.url(KEY), 2)
    seeded(lab, one)
    seeded(lab, two)
    m = lab.mount(one)
    same(sha256(m.file("one")), sha256(one.data), "content")
    first, *rest = lab.ranks(key_id(KEY))
    check(lab.heard(first), "the first owner was asked first")
    before = {h: lab.heard(h) for h in rest}
    lab.nodes[first].p.signal(signal.SIGKILL)
    began = time.monotonic()
    with open(two.path, "rb") as src, \
            open(m.path("torrents", "two.torrent"), "wb") as dst:
        dst.write(src.read())
    until(lambda: any(lab.heard(h) > before[h] for h in rest), 10,
          "the next owner is asked")
    took = time.monotonic() - began
    print(f"# the next owner was asked after {took:.2f} s")
    check(took < 2 * SLOW, f"it took {took:.2f} s")
    same(sha256(m.file("two")), sha256(two.data), "content")


@case("kenosis=0: keys are names for DNS, and owners hear of them so or not at "
      "all", LIMIT)
def plain(box):
    lab = Lab(box, dns_port=53)
    t = torrent(box, "film", lab.url(KEY))
    seeded(lab, t)
    before = {h: lab.heard(h) for h in HOSTS}
    m = lab.mount(t, more=["kenosis=0"])
    time.sleep(3)
    check(m.p.alive(), "the mount lives")
    for host in HOSTS:
        same(lab.heard(host), before[host], f"announces to {host}")
    m.stop()
    # The trackers are its name servers.
    box.run(with_resolver(box, HOSTS, [
        WEIRCTL, "get", t.path, "--data", box.mkdir("got"), "-o",
        f"nodht,kenosis=0,state={box.path('get.state')}"]))
    same(sha256(box.path("got/film")), sha256(t.data), "content by DNS")


@case("legacy clients get the same owners from the DNS bridge", LIMIT)
def bridge(box):
    need("dig")
    lab = Lab(box)

    def dig(name, kind="A", host=HOSTS[0], more=("+short",)):
        return box.run(["dig", f"@{host}", "-p", str(lab.dns), *more,
                        "+tries=1", "+time=5", name, kind]).stdout
    until(lambda: all(len(dig(f"root.{DOMAIN}", host=h).split()) == 3
                      for h in HOSTS), 30, "each of them knows all")
    ranks = lab.ranks(key_id(KEY))
    for host in HOSTS:
        same(dig(f"FiLm.{DOMAIN}", host=host).split(), ranks,
             f"owners as {host} tells them")
        for rank, owner in enumerate(ranks):
            same(dig(f"film--r{rank}.{DOMAIN}", host=host).split(), [owner],
                 f"rank {rank}")
    same_hosts(dig(f"root.{DOMAIN}").split(), HOSTS, "live trackers")
    same(len(dig(DOMAIN, "NS").split()), 3, "name servers")
    check("status: NOERROR" in dig(f"film.{DOMAIN}", "AAAA", more=()),
          "no such type")
    check("status: NXDOMAIN" in dig(f"zz.node.{DOMAIN}", more=()),
          "no such name")
    check("status: REFUSED" in dig("example.org", more=()), "not ours")


@case("a KEY of one's own decides who owns the swarm: told by UDP's options, "
      "by HTTP's host, by a client", LIMIT)
def custom_key(box):
    lab = Lab(box, HOSTS + MORE_HOSTS)

    def only_owners_hold(infohash, owners, asked, what):
        until(lambda: all(lab.holds(h, infohash) for h in owners), 20,
              f"the owners of the key hold it ({what})")
        time.sleep(1)
        same_hosts([h for h in lab.hosts if lab.holds(h, infohash)],
                   set(owners) | set(asked), f"who holds it ({what})")

    def way(number, tell, what):
        infohash = bytes([number]) * 20
        key, owners = lab.strange_key(infohash)
        stranger = next(h for h in lab.hosts if h not in owners)
        tell(stranger, key, infohash)
        only_owners_hold(infohash, owners, [stranger], what)

    def by_udp(path):
        def tell(host, key, infohash):
            u = Udp(host, lab.port, HOSTS[0])
            u.announce(infohash, 5000, path=path.format(key))
            u.close()
        return tell
    way(1, by_udp("/announce?kt={}"), "kt= in BEP 41's options")
    way(2, by_udp("/announce?" + "x" * 300 + "=1&kt={}"), "kt= in pieces")
    way(3, by_udp("/{}/announce"), "a path before /announce")
    way(4, lambda host, key, infohash: http_announce(
        host, lab.port, infohash, 5000, name=f"{key}.{DOMAIN}"), "Host")
    t = torrent(box, "film", "")
    key, owners = lab.strange_key(bytes.fromhex(t.hash))
    t = torrent(box, "film", lab.url(key))
    lab.seed(t.path, t.parent)
    only_owners_hold(bytes.fromhex(t.hash), owners, [], "weirctl seed")


@case("a torrent of `make --kenosis` is found by others who know any owner",
      LIMIT)
def made(box):
    lab = Lab(box)
    data = random_file(box.path("src/film"), MIB, 3)
    path = box.path("film.torrent")
    text = weirctl(box, "make", data, "-o", path, "--kenosis",
                   f"{DOMAIN[3:]}:{lab.port}", "--json").stdout
    infohash = json.loads(text)["infohash_v1"]
    owners = lab.ranks(key_id(infohash))
    same(lab.owners(path), owners, "owners of the torrent")
    same(len(owners), OWNERS, "number of owners")
    lab.seed(path, box.path("src"), begin=[owners[2]])
    until(lambda: all(lab.holds(h, bytes.fromhex(infohash)) for h in owners),
          30, "its owners hold the seeder")
    for n, host in enumerate(owners):
        weirctl(box, "get", path, "--data", box.mkdir(f"got{n}"), "-o",
                ",".join([*lab.o(host), f"state={box.path(f'state{n}')}"]))
        same(sha256(box.path(f"got{n}/film")), sha256(data),
             f"content through {host}")


if __name__ == "__main__":
    main()
