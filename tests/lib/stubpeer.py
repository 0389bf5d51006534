"""An honest seeder under the test's control: it has everything, gives what it
is told to give when it is told to, and remembers what it was asked for."""
import struct
import threading

from harness import HOSTS
from peer import CANCEL, EXT, Closed, Content, Peer


class StubPeer(Peer):
    """Has all of TORRENT. Answers requests for pieces below GIVES; others wait
    until give() allows them. Without the fast extension a cancelled request
    needs no answer."""
    reserved = EXT

    def __init__(self, box, torrent, gives=1 << 30, host=HOSTS[0]):
        self.torrent, self.gives = torrent, gives
        self.lock = threading.Lock()  # guards what follows, and writing
        self.waiting = []  # (conn, piece, begin, length)
        self.asked = set()  # (piece, begin)
        self.sent = 0  # payload bytes
        super().__init__(Content(torrent, with_data=False), host)
        box.at_end(self.close)

    def give(self, gives=1 << 30):
        """Pieces below GIVES from now on, those asked for already included."""
        with self.lock:
            self.gives = gives
            ready = [w for w in self.waiting if w[1] < gives]
            self.waiting = [w for w in self.waiting if w[1] >= gives]
            for block in ready:
                self.answer(*block)

    def pieces_asked(self):
        with self.lock:
            return {piece for piece, _ in self.asked}

    def answer(self, conn, piece, begin, length):
        data = self.torrent.pread(
            piece * self.torrent.piece_length + begin, length)
        try:
            conn.piece(piece, begin, data)
        except Closed:
            return
        self.sent += length

    # --- steps of Peer

    def on_request(self, conn, piece, begin, length):
        with self.lock:
            self.asked.add((piece, begin))
            if piece < self.gives:
                self.answer(conn, piece, begin, length)
            else:
                self.waiting.append((conn, piece, begin, length))

    def on_message(self, conn, kind, payload):
        if kind == CANCEL:
            block = (conn, *struct.unpack(">III", payload))
            with self.lock:
                self.waiting = [w for w in self.waiting if w != block]
        else:
            super().on_message(conn, kind, payload)
