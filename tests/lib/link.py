"""Two hosts with a slow, long or lossy link between them."""
import os
import subprocess

from harness import Failed, Skip

A, B = "10.77.0.1", "10.77.0.2"
BUILD = os.environ.get("WEIRFS_BUILD") or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "../../build")


class Link:
    """Namespaces "a" (10.77.0.1) and "b" (10.77.0.2). RTT is twice DELAY_MS;
    RATE_MBIT 0: no limit. Queues are 100 ms long, TCP is cubic in both."""

    def __init__(self, box, delay_ms, rate_mbit, loss_percent=0):
        program = os.path.join(BUILD, "tests/lib/linkemu")
        if not os.path.exists("/dev/net/tun"):
            raise Skip("no /dev/net/tun")
        for name in "ab":
            subprocess.run(["ip", "netns", "add", name], check=True)
            box.at_end(subprocess.run, ["ip", "netns", "del", name])
        self.p = box.spawn([program, "a", "b", delay_ms, rate_mbit,
                            loss_percent], stdout=subprocess.PIPE, text=True)
        if self.p.p.stdout.readline() != "ready\n":
            raise Failed("linkemu: " + self.p.log())
        for name, ip in (("a", A), ("b", B)):
            for argv in (["link", "set", "lo", "up"],
                         ["link", "set", "emu0", "up", "mtu", "1500"],
                         ["addr", "add", ip + "/24", "dev", "emu0"],
                         ["route", "replace", "10.77.0.0/24", "dev", "emu0",
                          "src", ip, "congctl", "cubic"]):
                subprocess.run(["ip", "-n", name, *argv], check=True)

    @staticmethod
    def inside(name, argv):
        """ARGV, to be run at host NAME. Not `ip netns exec`: it would hide
        mounts that the command makes."""
        return ["nsenter", f"--net=/run/netns/{name}", *map(str, argv)]

    def end(self):
        """Counters of both directions, as linkemu prints them."""
        self.p.p.terminate()
        return self.p.p.communicate(timeout=5)[0]
