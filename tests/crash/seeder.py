#!/usr/bin/python3
"""A libtorrent seeder that writes down each block it has sent.

    seeder.py TORRENT DATA HOST PORT LOG BYTES_PER_SECOND

LOG grows by a line "PIECE BLOCK" for each, until the seeder is killed.
"""
import sys

import libtorrent as lt


def main(torrent, data, host, port, log, rate):
    s = lt.session({
        "listen_interfaces": f"{host}:{port}",
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
        "enable_natpmp": False, "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "allow_multiple_connections_per_ip": True,
        # Whoever was killed and comes back is unchoked at once.
        "unchoke_slots_limit": 100, "seed_choking_algorithm": 0,
        "max_out_request_queue": 4000, "alert_queue_size": 1000000,
        "alert_mask": lt.alert.category_t.upload_notification})
    p = lt.add_torrent_params()
    p.ti = lt.torrent_info(torrent)
    p.save_path = data
    p.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    p.flags |= lt.torrent_flags.seed_mode
    s.add_torrent(p).set_upload_limit(int(rate))
    with open(log, "a", encoding="ascii") as out:
        while True:
            s.wait_for_alert(100)
            for a in s.pop_alerts():
                if isinstance(a, lt.block_uploaded_alert):
                    out.write(f"{a.piece_index} {a.block_index}\n")
            out.flush()


main(*sys.argv[1:])
