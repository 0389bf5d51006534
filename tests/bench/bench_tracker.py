#!/usr/bin/env python3
"""bench_tracker: the tracker beside Debian's opentracker, under one load, by turns.

    bench_tracker.py BUILD-FOLDER [--runs N] [--seconds S] [--peers N] [--wildcard] [MODE ...]

Both run all the time, with two threads of ours, and are first told of a million peers of 10,000 torrents: resident bytes
a peer. Then by turns, MODE (all of them): udp, scrape (UDP, one torrent each), http (a connection each), http-kept (one
connection for many, where the tracker keeps it). One line of JSON for each tracker, mode and run: answers a second and
the processor time of the tracker for each (us); then medians, and the ratio of ours to opentracker's. --wildcard: ours
once more, bound to 0.0.0.0, which has to learn of each datagram where it was sent to. Generator and trackers share this
machine: compare ratios, and believe no rate whose core_busy is near 1, nor any taken while others work."""
import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

MODES = ["udp", "scrape", "http", "http-kept"]
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


class Tracker:
    def __init__(self, name, command, port, load):
        self.name, self.at, self.load = name, f"127.0.0.1:{port}", load
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.rows = {}
        self.bytes_a_peer = 0

    def run(self, mode, *more):
        done = subprocess.run([self.load, mode, self.at, *map(str, more)], check=True, capture_output=True)
        return json.loads(done.stdout)

    def fill(self, peers):
        before = rss(self.process.pid)
        r = self.run("udp", 0, 512, peers)
        self.bytes_a_peer = (rss(self.process.pid) - before) / peers
        print(json.dumps({"tracker": self.name, "peers": peers, "lost": r["lost"], "bytes_a_peer": round(self.bytes_a_peer, 1)}), flush=True)

    def measure(self, mode, seconds):
        c = cpu_s(self.process.pid)
        r = self.run(mode, seconds)
        r["cpu_us_each"] = round((cpu_s(self.process.pid) - c) * 1e6 / max(1, r["answered"]), 2)
        self.rows.setdefault(mode, []).append(r)
        print(json.dumps({"tracker": self.name, **r}), flush=True)

    def median(self, mode, key):
        return statistics.median(r[key] for r in self.rows[mode])

    def stop(self):
        self.process.terminate()
        self.process.wait()


def commands(build, folder, is_wildcard):
    ours = [f"{build}/tracker/weir-tracker", "--threads", "2", "--bind"]
    port = free_port()
    yield "weirfs", port, [*ours, "127.0.0.1", "--port", str(port)]
    if is_wildcard:
        port = free_port()
        yield "weirfs-wildcard", port, [*ours, "0.0.0.0", "--port", str(port)]
    if shutil.which("opentracker"):
        port = free_port()
        yield "opentracker", port, ["opentracker", "-i", "127.0.0.1", "-p", str(port), "-P", str(port), "-d", folder, "-w", "list"]


def print_ratios(ours, theirs, modes):
    for mode in modes:
        line = {"mode": mode}
        for key in ("per_s", "cpu_us_each"):
            a, b = ours.median(mode, key), theirs.median(mode, key)
            line |= {key: [a, b], key + "_ratio": round(a / b, 3) if b else None}
        print(json.dumps({"trackers": [ours.name, theirs.name], **line}), flush=True)
    if theirs.bytes_a_peer:
        print(json.dumps({"trackers": [ours.name, theirs.name], "memory_ratio": round(ours.bytes_a_peer / theirs.bytes_a_peer, 3)}))


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("build")
    a.add_argument("modes", nargs="*", metavar="MODE")
    a.add_argument("--runs", type=int, default=3)
    a.add_argument("--seconds", type=float, default=2)
    a.add_argument("--peers", type=int, default=1000000)
    a.add_argument("--wildcard", action="store_true")
    args = a.parse_intermixed_args()
    modes = args.modes or MODES
    load = f"{args.build}/tests/bench/announce_load"
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.chmod(folder, 0o755)  # opentracker gives up root
        with open(folder + "/list", "wb") as f:
            subprocess.run([load, "hashes"], check=True, stdout=f)
        trackers = []
        for name, port, command in commands(args.build, folder, args.wildcard):
            trackers.append(Tracker(name, command, port, load))
            stack.callback(trackers[-1].stop)
        time.sleep(0.5)
        for t in trackers:
            t.fill(args.peers)
        for _ in range(args.runs):
            for mode in modes:
                for t in trackers:
                    t.measure(mode, args.seconds)
        for other in trackers[1:]:
            print_ratios(trackers[0], other, modes)


if __name__ == "__main__":
    main()
