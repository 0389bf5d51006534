#!/usr/bin/env python3
"""bench_tracker: the tracker beside Debian's opentracker, under one load, by turns.

    bench_tracker.py BUILD-FOLDER [--runs N] [--seconds S] [--memory] [MODE ...]

MODE: udp (default), http, http-kept. One line of JSON for each tracker, mode and run: answers a second and the
processor time of the tracker for each (us), then medians and the ratio of ours to opentracker's. With --memory: resident
bytes a peer after a million peers of 10,000 torrents. Ours is BUILD-FOLDER/tracker/weir-tracker, or the UDP side alone
(tests/bench/udp_tracker_alone) as long as no other mode is asked for and there is no weir-tracker. Generator and trackers
share this machine: compare ratios, and believe no rate whose core_busy is near 1."""
import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

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


def contestants(build, modes):
    ours = f"{build}/tracker/weir-tracker"
    if os.path.exists(ours):
        yield "weirfs", lambda port, folder: [ours, "--bind", "127.0.0.1", "--port", str(port)]
    elif modes == ["udp"]:
        alone = f"{build}/tests/bench/udp_tracker_alone"
        yield "weirfs", lambda port, folder: [alone, f"127.0.0.1:{port}"]
    if shutil.which("opentracker"):
        yield "opentracker", lambda port, folder: ["opentracker", "-i", "127.0.0.1", "-p", str(port), "-P", str(port), "-d",
                                                   folder, "-w", "list"]


def measure(load, command, mode, args, folder):
    port = free_port()
    at = f"127.0.0.1:{port}"
    with subprocess.Popen(command(port, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
        try:
            time.sleep(0.5)
            before = rss(p.pid)
            peers = 1000000 if args.memory else 300000
            subprocess.run([load, "udp", at, "0", "512", str(peers)], check=True, stdout=subprocess.DEVNULL)
            grown = rss(p.pid) - before
            c = cpu_s(p.pid)
            r = json.loads(subprocess.run([load, mode, at, str(args.seconds)], check=True, capture_output=True).stdout)
            r["cpu_us_each"] = (cpu_s(p.pid) - c) * 1e6 / max(1, r["answered"])
            r["bytes_a_peer"] = grown / peers
        finally:
            p.terminate()
    return r


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("build")
    a.add_argument("modes", nargs="*", default=["udp"], metavar="MODE")
    a.add_argument("--runs", type=int, default=3)
    a.add_argument("--seconds", type=float, default=3)
    a.add_argument("--memory", action="store_true")
    args = a.parse_args()
    load = f"{args.build}/tests/bench/announce_load"
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # opentracker gives up root
        with open(folder + "/list", "wb") as f:
            subprocess.run([load, "hashes"], check=True, stdout=f)
        for mode in args.modes:
            for _ in range(args.runs):
                for name, command in contestants(args.build, args.modes):
                    r = measure(load, command, mode, args, folder)
                    rows.setdefault((mode, name), []).append(r)
                    print(json.dumps({"tracker": name, **r}), flush=True)
            ours, theirs = ([statistics.median(r[k] for r in rows.get((mode, n), [])) for k in ("per_s", "cpu_us_each", "bytes_a_peer")]
                            if rows.get((mode, n)) else None for n in ("weirfs", "opentracker"))
            if ours and theirs:
                print(json.dumps({"mode": mode, "rate_ratio": ours[0] / theirs[0], "cpu_ratio": ours[1] / theirs[1],
                                  **({"memory_ratio": ours[2] / theirs[2]} if args.memory else {})}), flush=True)


if __name__ == "__main__":
    main()
