#!/usr/bin/python3
"""libtorrent as a peer, as a process of its own.

    lt.py seed TORRENT DATA PORT [HOST:PORT]    until it is killed
    lt.py get  TORRENT|MAGNET DATA PORT [HOST:PORT]...
                                          exit 0 when complete and checked
    lt.py deadline TORRENT DATA PORT HOST:PORT
                                          lines "OFFSET LENGTH" in, bytes out
    lt.py node PORT HOST:PORT             a DHT node; lines in, lines out:
                                          put TEXT | get TARGET | mput SEED
                                          TEXT [SALT] | mget KEY [SALT] (hex
                                          seed and key)
    lt.py scrape TORRENT DATA PORT        says how many seeds the tracker tells of
    lt.py make PATH OUT PIECE_LENGTH v1|v2|hybrid

LT_LISTEN names another address than the tests' first one; LT_DHT a DHT node to
begin with, without it there is no DHT; LT_TRACKERS: they are asked every so many
seconds.
"""
import hashlib
import os
import subprocess
import sys
import time

import libtorrent as lt


def session(port, **more):
    listen = os.environ.get("LT_LISTEN")
    if dht := os.environ.get("LT_DHT"):
        # The tests' addresses are all of one private net.
        more.update(enable_dht=True, dht_bootstrap_nodes=dht,
                    dht_restrict_routing_ips=False,
                    dht_restrict_search_ips=False,
                    dht_ignore_dark_internet=False,
                    dht_enforce_node_id=False)
    return lt.session({
        "listen_interfaces": f"{listen}:{port}" if listen
        else f"10.9.0.1:{port},[::1]:{port},[fd09::1]:{port}",
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
        "enable_natpmp": False, "enable_outgoing_utp": False,
        "allow_multiple_connections_per_ip": True,
        "alert_mask": lt.alert.category_t.status_notification
        | lt.alert.category_t.error_notification
        | lt.alert.category_t.storage_notification
        | lt.alert.category_t.connect_notification
        | lt.alert.category_t.peer_notification
        | lt.alert.category_t.tracker_notification, **more})


def add(s, source, data, flags=0):
    if source.startswith("magnet:"):
        p = lt.parse_magnet_uri(source)
    else:
        p = lt.add_torrent_params()
        p.ti = lt.torrent_info(source)
    p.save_path = data
    p.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    p.flags |= flags
    return s.add_torrent(p)


def turn(s, handle, peers):
    s.wait_for_alert(200)
    for a in s.pop_alerts():
        print(a.what(), a.message(), flush=True)
    if not handle.status().num_peers:
        for peer in peers:
            host, port = peer.rsplit(":", 1)
            handle.connect_peer((host.strip("[]"), int(port)))


def alert_of(s, kinds, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        s.wait_for_alert(100)
        for a in s.pop_alerts():
            if isinstance(a, kinds):
                return a
    return None


def node(s):
    """Items of BEP 44, as libtorrent puts and gets them."""
    while not s.status().dht_nodes:
        time.sleep(0.05)
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *rest = line.rstrip("\n").split(" ")
        if verb == "put":
            target = s.dht_put_immutable_item(rest[0])
            alert_of(s, lt.dht_put_alert)
            print(target, flush=True)
        elif verb == "get":
            s.dht_get_immutable_item(lt.sha1_hash(bytes.fromhex(rest[0])))
            a = alert_of(s, lt.dht_immutable_item_alert)
            v = a and a.item["value"]
            print(v.decode() if isinstance(v, bytes) else v, flush=True)
        elif verb in ("mput", "mget"):
            print(mutable(s, verb, bytes.fromhex(rest[0]), *rest[1:]),
                  flush=True)


def mutable(s, verb, key, *rest):
    """KEY: of mput the seed, of which libtorrent wants what SHA-512 makes."""
    if verb == "mput":
        h = bytearray(hashlib.sha512(key).digest())
        h[0] &= 248
        h[31] = h[31] & 63 | 64
        pub = subprocess.run(
            ["openssl", "pkey", "-inform", "DER", "-pubout", "-outform",
             "DER"], input=bytes.fromhex("302e020100300506032b657004220420")
            + key, stdout=subprocess.PIPE, check=True).stdout[-32:]
        text, salt = (*rest, "")[:2]
        s.dht_put_mutable_item(bytes(h), pub, text, salt)
        a = alert_of(s, lt.dht_put_alert)
        return f"{pub.hex()} {a and a.seq}"
    s.dht_get_mutable_item(key, (*rest, "")[0])
    a = alert_of(s, lt.dht_mutable_item_alert)
    v = a and a.item["value"]
    return f"{v.decode() if isinstance(v, bytes) else v} {a and a.seq}"


def deadline(s, h):
    """Reads as libtorrent's own streaming interface would have it."""
    info = h.torrent_file()
    length = info.piece_length()
    while not h.status().has_metadata or h.status().state in (
            lt.torrent_status.checking_files,
            lt.torrent_status.checking_resume_data):
        time.sleep(0.001)
    h.prioritize_pieces([0] * info.num_pieces())
    for line in sys.stdin:
        offset, size = map(int, line.split())
        first = offset // length
        last = (offset + size - 1) // length
        for piece in range(first, last + 1):
            h.set_piece_deadline(piece, 0, 1)  # alert when available
        got = {}
        while len(got) <= last - first:
            s.wait_for_alert(1000)
            for a in s.pop_alerts():
                if isinstance(a, lt.read_piece_alert):
                    got[a.piece] = a.buffer
        out = b"".join(got[p] for p in range(first, last + 1))
        out = out[offset - first * length:][:size]
        sys.stdout.buffer.write(out)
        sys.stdout.buffer.flush()


def scrape(s, h):
    """Says how many seeds and downloads the tracker tells of."""
    h.scrape_tracker()
    # One of its addresses may not lead there, that is told first.
    a = alert_of(s, lt.scrape_reply_alert)
    print(a.complete if a else "nothing", flush=True)
    os._exit(0 if a else 1)


def add_in_order(files, path):
    """By the bytes of whole paths, as mktorrent has it; libtorrent itself takes
    files of a v1 torrent as folders list them."""
    found = []
    for root, _, names in os.walk(os.fsencode(path)):
        found += [os.path.join(root, n) for n in names]
    top = os.path.dirname(os.fsencode(path))
    for full in sorted(found):
        st = os.stat(full)
        files.add_file(os.fsdecode(os.path.relpath(full, top)), st.st_size,
                       lt.file_storage.flag_executable
                       if st.st_mode & 0o100 else 0)


def main(verb, *args):
    if verb == "make":
        path, out, piece, kind = args
        files = lt.file_storage()
        if kind == "v1" and os.path.isdir(path):
            add_in_order(files, path)
        else:
            lt.add_files(files, path)
        t = lt.create_torrent(files, int(piece), {
            "v1": lt.create_torrent.v1_only,
            "v2": lt.create_torrent.v2_only, "hybrid": 0}[kind])
        lt.set_piece_hashes(t, os.path.dirname(os.path.abspath(path)))
        with open(out, "wb") as f:
            f.write(lt.bencode(t.generate()))
        return
    if verb == "node":
        node(session(int(args[0]), alert_mask=lt.alert.category_t.all_categories))
        return
    source, data, port, *peers = args
    # Between two reads a deadline reader wants nothing, and stays.
    s = session(int(port), close_redundant_connections=verb != "deadline")
    h = add(s, source, data)
    if verb == "deadline":
        host, port = peers[0].rsplit(":", 1)
        h.connect_peer((host, int(port)))
        deadline(s, h)
    if verb == "scrape":
        scrape(s, h)
        return
    asked, began = 0, time.monotonic()
    while verb == "seed" or not h.status().is_seeding:
        turn(s, h, peers)
        # By itself it asks the DHT once, perhaps before it knows a node, and
        # then 15 minutes later.
        if os.environ.get("LT_DHT") and time.monotonic() - asked > 5:
            h.force_dht_announce()
            asked = time.monotonic()
        every = float(os.environ.get("LT_TRACKERS", "inf"))
        if time.monotonic() - max(asked, began) > every:
            h.force_reannounce(0, -1,
                               lt.reannounce_flags_t.ignore_min_interval)
            asked = time.monotonic()
    h.flush_cache()
    while not any(isinstance(a, lt.cache_flushed_alert)
                  for a in s.pop_alerts()):
        s.wait_for_alert(1000)
    os._exit(0)  # no farewell to trackers


main(*sys.argv[1:])
