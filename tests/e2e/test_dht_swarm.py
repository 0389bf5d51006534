#!/usr/bin/python3
"""Goal: programs of ours find each other by the DHT alone: magnets, mounts,
nodes that a torrent names, both families; private torrents stay private."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
from dhtswarm import LIMIT, Swarm, get, small
from harness import HOSTS, HOSTS6, SLOW, case, check, main, same, until
from torrent import MIB, Torrent, random_file, sha256
from weir import WEIRCTL, Mount, weirctl


@case("ours: a magnet with nothing but its infohash, from weirctl seed", LIMIT)
def ours(box):
    swarm = Swarm(box)
    t = small(box)
    swarm.seed(t)
    get(box, swarm, t)


@case("a mount reads by-hash/INFOHASH within 2 s of the look-up", LIMIT)
def by_hash(box):
    swarm = Swarm(box)
    t = small(box)
    swarm.seed(t)
    m = Mount(box, options=[swarm.o(HOSTS[1])])
    until(lambda: (m.status().get("dht") or {}).get("well"), 10,
          "the mount's node is well")
    began = time.monotonic()
    folder = m.path("by-hash", t.hash)
    check(os.path.isdir(folder), "it is a folder at once")
    until(lambda: os.listdir(folder), 10, "metadata is here")
    with open(folder + "/film", "rb") as f:
        same(f.read(65536), t.pread(0, 65536), "what is read")
    took = time.monotonic() - began
    print(f"# by-hash: {took:.2f} s")
    check(took < 2 * SLOW, f"it took {took:.2f} s")


@case("weirfs INFOHASH MNT -o single, and nothing else", LIMIT)
def single(box):
    swarm = Swarm(box)
    t = small(box)
    swarm.seed(t)
    began = time.monotonic()
    m = Mount(box, t.hash, single=True, options=[swarm.o(HOSTS[1])],
              wait=False)
    until(lambda: os.path.exists(m.path("film")), 20, "the file is there")
    with open(m.path("film"), "rb") as f:
        same(f.read(65536), t.pread(0, 65536), "what is read")
    took = time.monotonic() - began
    print(f"# single: {took:.2f} s from the command to 64 KiB")
    check(took < 2 * SLOW, f"it took {took:.2f} s")
    same(sha256(m.path("film")), sha256(t.data), "content")


@case("a private torrent is not announced", LIMIT)
def private(box):
    swarm = Swarm(box)
    t = Torrent(random_file(box.path("src/film"), MIB),
                box.path("p.torrent"), info={"private": 1})
    open_t = small(box, "other", MIB, 2)
    box.spawn([WEIRCTL, "seed", t.path, "--data", t.parent, "--port",
               box.port(), "-o", swarm.o() +
               f",state={box.path('s')}"], "seed-private")
    swarm.seed(open_t, HOSTS[2])  # by then the other would be known
    time.sleep(2)
    same(swarm.peers(t), [], "who has the private one")


@case("nodes that a torrent names are enough; of a private one they are not",
      LIMIT)
def torrent_nodes(box):
    swarm = Swarm(box)
    host, port = swarm.nodes[0].split(":")
    files, torrents = [], []
    for name, info in (("film", {}), ("secret", {"private": 1})):
        files.append(random_file(box.path("src/" + name), MIB, 1))
        torrents.append(Torrent(
            files[-1], box.path(name + ".torrent"), info=info,
            extra={"nodes": [[7], ["10.9.0.9", 0], [host, int(port)]]}))
    t, secret = torrents
    same(json.loads(weirctl(box, "info", t.path, "--json").stdout)["nodes"],
         [swarm.nodes[0]], "weirctl info")
    to = box.mkdir("got")
    # One that has nothing but the private torrent stays alone.
    m = Mount(box, secret.path, options=[f"bind={HOSTS[2]}",
                                         "bootstrap=none"])
    box.spawn([WEIRCTL, "seed", t.path, "--data", t.parent, "--port",
               box.port(), "--bind", HOSTS[0], "-o",
               f"bootstrap=none,state={box.path('seed')}"], "seed")
    swarm.wait_announced(t)
    weirctl(box, "get", t.path, "--data", to, "-o",
            f"bind={HOSTS[1]},bootstrap=none,port={box.port()}",
            seconds=LIMIT)
    same(sha256(f"{to}/{t.name}"), sha256(t.data), "content")
    same(m.status()["dht"]["good_nodes"], 0, "nodes of the one left alone")


@case("nodes on IPv4 and IPv6 at once find, and are found on, both", LIMIT)
def both_families(box):
    both = f"bind={HOSTS[0]},bind=[{HOSTS6[0]}]"
    ports = [box.port() for _ in range(2)]
    box.spawn([WEIRCTL, "dht", "-o", f"{both},port={ports[0]},"
               "bootstrap=none"], "node")
    box.spawn([WEIRCTL, "dht", "-o", f"{both},port={ports[1]},"
               f"bootstrap={HOSTS[0]}:{ports[0]}"], "node")
    t = small(box)

    def seed(bind, bootstrap):
        port = box.port()
        box.spawn([WEIRCTL, "seed", t.path, "--data", t.parent, "--port",
                   port, "-o", f"{bind},bootstrap={bootstrap}:{ports[0]},"
                   f"state={box.path('seed' + str(port))}"], "seed")
        return port
    four = f"bind={HOSTS[1]}"
    six = f"bind=[{HOSTS6[1]}]"
    want = {f"{HOSTS[1]}:{seed(four, HOSTS[0])}",
            f"[{HOSTS6[1]}]:{seed(six, '[' + HOSTS6[0] + ']')}"}

    def found(bind, bootstrap):
        return set(json.loads(weirctl(
            box, "lookup", t.hash, "--json", "-o",
            f"{bind},bootstrap={bootstrap}:{ports[1]}",
            status=None).stdout or '{"peers": []}')["peers"])
    # One that is on both, and told of an IPv4 address alone.
    asks = f"bind={HOSTS[2]},bind=[{HOSTS6[1]}]"
    until(lambda: found(asks, HOSTS[0]) == want, 30, "peers of both")
    third = seed(f"bind={HOSTS[2]},bind=[{HOSTS6[0]}]", HOSTS[0])
    until(lambda: f"{HOSTS[2]}:{third}" in found(four, HOSTS[0]), 30,
          "it is found on IPv4")
    until(lambda: f"[{HOSTS6[0]}]:{third}" in found(
        six, f"[{HOSTS6[0]}]"), 30, "and on IPv6")


main()
