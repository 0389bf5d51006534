#!/usr/bin/python3
"""Announces new peers over UDP at a steady rate, until its input ends.

    announcer.py OUT RATE SWARMS TRACKER[,TRACKER...] SOURCE...

TRACKER and SOURCE are IP:PORT and IP, SWARMS a file with an infohash in hex a
line; OUT gets the record. With S swarms, the N-th announce (from 0) is of swarm
N % S, from source N % (number of sources), and lists port 1024 + N // S, so that
no endpoint comes twice in a swarm. All go to the first tracker; when it is
silent for a second, to the next one, with those that were not acknowledged.

The record: a line "SENT ACKED TRACKER" for each announce, monotonic seconds of
the first sending and of the acknowledgement ("-" without one), and the number
of the tracker that acknowledged. Prints "going" once all sources have their
connection ids, a line for each change of tracker, and the sum at the end.
"""
import itertools
import select
import socket
import struct
import sys
import time

from trackerclient import MAGIC, announce_packet

SILENCE_S = 1.0


class Announcer:
    def __init__(self, out, rate, swarms, trackers, sources):
        self.out, self.rate = out, rate
        self.swarms = swarms
        self.trackers = [(t.rsplit(":", 1)[0], int(t.rsplit(":", 1)[1]))
                         for t in trackers]
        self.current = 0
        self.socks, self.by_fd = [], {}
        self.poll = select.epoll()
        for n, source in enumerate(sources):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind((source, 0))
            s.setblocking(False)
            self.poll.register(s.fileno(), select.EPOLLIN)
            self.socks.append(s)
            self.by_fd[s.fileno()] = n
        self.ids = {}  # (tracker, source): connection id
        self.sent, self.acked, self.by = [], [], []
        self.pending = {}  # N: time of the last sending
        self.heard = time.monotonic()

    def send(self, n, packet):
        try:
            self.socks[n].sendto(packet, self.trackers[self.current])
        except OSError:
            pass  # the news of a dead tracker, or a full queue: as lost

    def connect(self):
        """A connection id of the current tracker for every source."""
        missing = set(range(len(self.socks)))
        end = time.monotonic() + 5
        while missing and time.monotonic() < end:
            for n in missing:
                self.send(n, struct.pack(">QII", MAGIC, 0, 0xffff0000 + n))
            until = time.monotonic() + 0.3
            while missing and time.monotonic() < until:
                self.receive(0.05)
                missing = {n for n in missing
                           if (self.current, n) not in self.ids}
        return not missing

    def announce(self, n):
        source = n % len(self.socks)
        cid = self.ids.get((self.current, source))
        if cid is None:
            return
        self.pending[n] = time.monotonic()
        self.send(source, announce_packet(
            cid, n, self.swarms[n % len(self.swarms)],
            1024 + n // len(self.swarms), numwant=0))

    def again(self, now):
        """Those that went unanswered, not all at once."""
        due = (n for n, t in self.pending.items() if now - t > 2)
        for n in list(itertools.islice(due, 40)):
            self.announce(n)

    def receive(self, timeout):
        """Takes what came. True: the input has ended."""
        for fd, _ in self.poll.poll(timeout):
            if fd == 0:
                return True
            while True:
                try:
                    got, at = self.socks[self.by_fd[fd]].recvfrom(2048)
                except OSError:
                    break
                self.on_answer(self.by_fd[fd], got, at)
        return False

    def on_answer(self, source, got, at):
        if len(got) < 8 or at not in self.trackers:
            return
        tracker = self.trackers.index(at)
        action, tid = struct.unpack_from(">II", got)
        if action == 0 and tid == 0xffff0000 + source and len(got) >= 16:
            self.ids[tracker, source] = struct.unpack_from(">Q", got, 8)[0]
        elif action == 1 and tid in self.pending:
            self.acked[tid], self.by[tid] = time.monotonic(), tracker
            del self.pending[tid]
        elif action == 3 and tid in self.pending:
            self.ids.pop((tracker, source), None)
            self.send(source, struct.pack(">QII", MAGIC, 0,
                                          0xffff0000 + source))
        if tracker == self.current:
            self.heard = time.monotonic()

    def change(self):
        self.current = (self.current + 1) % len(self.trackers)
        print(f"to {self.current}", flush=True)
        if not self.ids.get((self.current, 0)):
            self.connect()
        self.heard = time.monotonic()
        for n in self.pending:
            self.pending[n] = 0  # all are due

    def run(self):
        if not self.connect():
            print("no connection ids", flush=True)
            sys.exit(1)
        print("going", flush=True)
        began = renewed = time.monotonic()
        # The test holds our standard input: closing it ends us.
        self.poll.register(0, select.EPOLLIN | select.EPOLLHUP)
        while True:
            now = time.monotonic()
            for n in range(len(self.sent), int((now - began) * self.rate)):
                self.sent.append(now)
                self.acked.append(None)
                self.by.append(0)
                self.announce(n)
            if self.receive(0.002):
                break
            if now - self.heard > SILENCE_S and self.pending:
                self.change()
            if now - renewed > 60:
                renewed = now
                for n in range(len(self.socks)):
                    self.send(n, struct.pack(">QII", MAGIC, 0,
                                             0xffff0000 + n))
            self.again(now)
        self.poll.unregister(0)
        self.finish()

    def finish(self):
        end = time.monotonic() + 1  # the last ones are on their way
        while self.pending and time.monotonic() < end:
            self.receive(0.05)
        with open(self.out, "w", encoding="utf-8") as f:
            for sent, acked, by in zip(self.sent, self.acked, self.by):
                f.write(f"{sent:.6f} {'-' if acked is None else f'{acked:.6f}'}"
                        f" {by}\n")
        print(f"{len(self.sent)} sent, {len(self.pending)} not acknowledged",
              flush=True)


def main():
    out, rate, swarms, trackers, *sources = sys.argv[1:]
    with open(swarms, encoding="utf-8") as f:
        hashes = [bytes.fromhex(line) for line in f]
    Announcer(out, int(rate), hashes, trackers.split(","), sources).run()


if __name__ == "__main__":
    main()
