"""Hosts in network namespaces of their own, joined by bridges.

Host I is 198.18.I.1 and 2a0f:77:I::1: another /24 and /48 each, in ranges that
are nobody's and that our code takes for public ones. The test itself is on the
first bridge, with 198.19.K.1 for K in 1..250, so that it can be many clients.
"""
import contextlib
import ctypes
import os
import subprocess

from harness import Failed

V4, V6 = "198.18.{}.1", "2a0f:77:{:x}::1"
SOURCES = [f"198.19.{k}.1" for k in range(1, 251)]
SOURCE6 = "2a0f:77:f000::1"
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*argv):
    p = subprocess.run(["ip", *map(str, argv)], capture_output=True, text=True)
    if p.returncode:
        raise Failed(f"ip {' '.join(map(str, argv))}: {p.stderr.strip()}")


def _batch(lines):
    p = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n",
                       capture_output=True, text=True)
    if p.returncode:
        raise Failed(f"ip -batch: {p.stderr.strip()}")


@contextlib.contextmanager
def in_ns(name):
    """Sockets made inside live in namespace NAME for ever. This thread only."""
    with open("/proc/thread-self/ns/net", encoding="utf-8") as home, \
            open(f"/run/netns/{name}", encoding="utf-8") as there:
        if _libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {name}")
        try:
            yield
        finally:
            if _libc.setns(home.fileno(), CLONE_NEWNET):
                os._exit(99)  # nothing that follows would mean anything


class Host:
    def __init__(self, net, name, number):
        self.net, self.name = net, name
        self.ip4, self.ip6 = V4.format(number), V6.format(number)
        self.link = f"v-{name}"
        ip("netns", "add", name)
        net.box.at_end(subprocess.run, ["ip", "netns", "del", name])
        ip("link", "add", self.link, "type", "veth", "peer", "name", "eth0",
           "netns", name)
        # The link does not go with the namespace while a process is in it.
        net.box.at_end(subprocess.run, ["ip", "link", "del", self.link])
        ip("link", "set", self.link, "master", "br0", "up")
        for argv in (["link", "set", "lo", "up"], ["link", "set", "eth0", "up"],
                     ["addr", "add", self.ip4 + "/15", "dev", "eth0"],
                     ["-6", "addr", "add", self.ip6 + "/32", "dev", "eth0",
                      "nodad"]):
            ip("-n", name, *argv)

    def argv(self, argv):
        """ARGV, to be run on this host. Not `ip netns exec`: it would hide
        mounts that the command makes."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *map(str, argv)]

    def cut(self):
        """No packet comes or goes any more."""
        ip("link", "set", self.link, "down")

    def mend(self):
        ip("link", "set", self.link, "up")

    def move(self, bridge):
        """To the other side of a partition, or back."""
        ip("link", "set", self.link, "master", bridge)


class Net:
    """Bridges br0 and br1: hosts are on br0 until they are moved."""

    def __init__(self, box):
        self.box = box
        for name, mac in (("br0", "02:00:00:00:00:01"),
                          ("br1", "02:00:00:00:00:02")):
            # A bridge without an address of its own takes one of its ports',
            # and another one when that port moves.
            ip("link", "add", name, "address", mac, "type", "bridge",
               "mcast_snooping", "0")
            box.at_end(subprocess.run, ["ip", "link", "del", name])
            ip("link", "set", name, "up")
        _batch([f"addr add {s}/15 dev br0" for s in SOURCES]
               + [f"addr add {SOURCE6}/32 dev br0 nodad"])

    def host(self, name, number):
        return Host(self, name, number)


def with_resolver(box, nameservers, argv):
    """ARGV with a resolv.conf of its own that names NAMESERVERS alone."""
    path = box.write(f"resolv-{box.count}.conf", "".join(
        f"nameserver {n}\n" for n in nameservers)
        + "options timeout:1 attempts:2\n")
    return ["unshare", "--mount", "sh", "-c",
            f'mount --bind "{path}" /etc/resolv.conf && exec "$@"', "sh",
            *map(str, argv)]
