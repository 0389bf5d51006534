/* tracker/udp_tracker.h: the packets of the UDP tracker protocol (BEP 15, 41).
 * No I/O, no state. Any thread. */
#pragma once

#include "tracker/request.h"

enum udp_tracker_action {
	UDP_TRACKER_CONNECT = 0,
	UDP_TRACKER_ANNOUNCE = 1,
	UDP_TRACKER_SCRAPE = 2,
	UDP_TRACKER_ERROR = 3,
};

#define UDP_TRACKER_CONNECT_BYTES 16
#define UDP_TRACKER_SCRAPE_HASHES 74 /* that fit into one packet */
/* 98 bytes, then the URL's path and query in options of at most 255 bytes */
#define UDP_TRACKER_PACKET_MAX (98 + LIMIT_URL_BYTES + LIMIT_URL_BYTES / 64)

void udp_tracker_connect(uint8_t out[UDP_TRACKER_CONNECT_BYTES], uint32_t tid);

/*
 * Writes an announce. FAMILY decides whether an address of Q fits in. PATH:
 * the URL's path and query (BEP 41), at most LIMIT_URL_BYTES; NULL for none.
 * Returns the length.
 */
size_t udp_tracker_announce(uint8_t out[UDP_TRACKER_PACKET_MAX], uint64_t cid,
			    uint32_t tid, const struct announce_request *q,
			    int family, const char *path);

/* Asks about N hashes, at most UDP_TRACKER_SCRAPE_HASHES. */
size_t udp_tracker_scrape(uint8_t out[UDP_TRACKER_PACKET_MAX], uint64_t cid,
			  uint32_t tid, const struct infohash *hashes,
			  size_t n);

/* What every reply begins with; false: too short to be one. */
bool udp_tracker_peek(const uint8_t *bytes, size_t len, uint32_t *action,
		      uint32_t *tid);

/* The rest of each kind of reply. Returns 0 or -EBADMSG. */
int udp_tracker_parse_connect(const uint8_t *bytes, size_t len, uint64_t *cid);
/* Fills OUT, initialised before. FAMILY: 6-byte peers or 18-byte peers.
 * Returns out->r. An error packet makes it -EPERM. */
int udp_tracker_parse_announce(const uint8_t *bytes, size_t len, int family,
			       struct announce_answer *out);

struct udp_tracker_counts {
	uint32_t seeders, completed, leechers;
};
/* OUT has N elements, for the hashes asked; *got: how many came. */
int udp_tracker_parse_scrape(const uint8_t *bytes, size_t len,
			     struct udp_tracker_counts *out, size_t n,
			     size_t *got);
