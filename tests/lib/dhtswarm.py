"""DHT nodes of ours that find each other, for others to begin with."""
import json
import time

from harness import HOSTS, same, until
from torrent import MIB, Torrent, random_file, sha256
from weir import WEIRCTL, weirctl

LIMIT = 90


class Swarm:
    """Nodes of ours, which all others begin with: on several addresses, since
    some clients keep one node an address. Transmission announces nothing with
    fewer than nine."""

    def __init__(self, box, size=3):
        self.box, self.nodes = box, []
        first = "none"
        for host in (HOSTS * size)[:size]:
            port = box.port()
            box.spawn([WEIRCTL, "dht", "-o",
                       f"bind={host},port={port},bootstrap={first}"], "node")
            self.nodes.append(f"{host}:{port}")
            first = self.nodes[0]
        until(lambda: json.loads(weirctl(
            box, "lookup", "--node", "0" * 40, "--json", "-o", self.o(),
            status=None).stdout or '{"nodes": []}')["nodes"][2:], 20,
            "three nodes know each other")

    def o(self, host=HOSTS[0]):
        """Options that join it."""
        return f"bind={host},bootstrap={self.nodes[1]}"

    def seed(self, t, host=HOSTS[0]):
        """weirctl seed, and wait until the DHT knows."""
        box = self.box
        box.spawn([WEIRCTL, "seed", t.path, "--data", t.parent, "--port",
                   box.port(), "--bind", host, "-o",
                   f"bootstrap={self.nodes[1]},"
                   f"state={box.path('seed' + str(box.count))}"], "seed")
        self.wait_announced(t)

    def peers(self, t):
        out = weirctl(self.box, "lookup", t.hash, "--json", "-o", self.o(),
                      status=None).stdout
        return json.loads(out)["peers"]

    def wait_announced(self, t, seconds=45, pause=0.5):
        """Each look-up is a node of its own, which transmission takes for one
        that stays: PAUSE between them."""
        def found():
            time.sleep(pause)
            return self.peers(t)
        until(found, seconds, "somebody announced it")


def small(box, name="film", size=3 * MIB + 77, seed=1):
    return Torrent(random_file(box.path("src/" + name), size, seed),
                   box.path(name + ".torrent"))


def get(box, swarm, t, seconds=LIMIT):
    to = box.mkdir("got")
    weirctl(box, "get", t.magnet(), "--data", to, "-o",
            swarm.o(HOSTS[1]) + f",port={box.port()}", seconds=seconds)
    same(sha256(f"{to}/{t.name}"), sha256(t.data), "content")
