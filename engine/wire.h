/* engine/wire.h: the peer protocol as bytes (BEP 3, 6, 10, 9, 21, 54). Pure:
 * no socket, no clock. A peer feeds what arrived, gets messages; and writes
 * messages into a buffer. Every length is checked against the exact size of
 * its message before a byte of it is kept. */
#pragma once

#include <stdbool.h>

#include "engine/base/addr.h"
#include "engine/base/buf.h"
#include "engine/base/bytes.h"
#include "engine/base/id.h"

#define WIRE_HANDSHAKE_LEN 68

struct wire_handshake {
	struct infohash infohash;
	struct peerid peerid;
	bool has_extended; /* BEP 10 */
	bool has_fast;     /* BEP 6 */
	bool has_dht;      /* BEP 5 */
	bool has_v2;       /* BEP 52: the sender can upgrade to v2 */
};

void wire_write_handshake(uint8_t out[WIRE_HANDSHAKE_LEN],
			  const struct wire_handshake *h);
/* Returns 0 or -EPROTO (not BitTorrent). */
int wire_read_handshake(const uint8_t in[WIRE_HANDSHAKE_LEN],
			struct wire_handshake *out);

enum wire_type {
	WIRE_CHOKE = 0,
	WIRE_UNCHOKE = 1,
	WIRE_INTERESTED = 2,
	WIRE_NOT_INTERESTED = 3,
	WIRE_HAVE = 4,
	WIRE_BITFIELD = 5,
	WIRE_REQUEST = 6,
	WIRE_PIECE = 7, /* delivered in parts, see below */
	WIRE_CANCEL = 8,
	WIRE_PORT = 9,
	WIRE_SUGGEST = 13,
	WIRE_HAVE_ALL = 14,
	WIRE_HAVE_NONE = 15,
	WIRE_REJECT = 16,
	WIRE_ALLOWED_FAST = 17,
	WIRE_EXTENDED = 20,
	WIRE_KEEPALIVE = 256,
	WIRE_UNKNOWN = 257, /* skipped, reported for the log: unknown ids, and
			     * EXTENDED with an ext_id we never announced */
};

struct wire_msg {
	enum wire_type type;
	uint32_t piece;  /* HAVE REQUEST PIECE CANCEL SUGGEST REJECT ALLOWED */
	uint32_t begin;  /* REQUEST PIECE CANCEL REJECT: byte in the piece */
	uint32_t length; /* REQUEST PIECE CANCEL REJECT: bytes of the block */
	uint16_t port;   /* PORT */
	uint8_t ext_id;  /* EXTENDED */
	/* BITFIELD, EXTENDED: the payload, without ext_id. PIECE: the part of
	 * the block that arrived, which starts at `part_at` within the block.
	 * Borrowed until the next call of wire_next or wire_release. */
	struct span payload;
	uint32_t part_at;
	bool is_last_part; /* PIECE: the block is whole now */
};

/* The incoming half of one connection, after the handshake. */
struct wire_in {
	uint32_t num_pieces; /* 0: unknown (magnet): any bitfield size up to the
			      * limit, indexes up to LIMIT_PIECES */
	uint32_t piece_length; /* 0: unknown */
	uint64_t total;
	/* private */
	struct buf carry;      /* a message cut by the end of the input */
	bool is_spent;         /* CARRY was handed out by the last call */
	struct wire_msg piece; /* the block being delivered */
	uint32_t piece_left;   /* bytes of it still to come */
	uint32_t skip_left;    /* bytes of an unknown message to drop */
};

void wire_init(struct wire_in *w);
void wire_release(struct wire_in *w);

/*
 * Takes bytes from the front of *IN (which is advanced) until one message, or
 * a part of a PIECE, can be handed out. Returns 1 with *msg; 0 when *IN is
 * used up and more is needed; -EPROTO when the peer broke the protocol (wrong
 * length, index out of range, oversized) with a reason for the log in *why;
 * -ENOMEM. Blocks are never buffered here: a PIECE comes as soon as its first
 * bytes do. The caller checks what depends on its own state: order of messages,
 * BEP 6 agreed, spare bits of a bitfield (bitfield_load), what was asked for.
 */
int wire_next(struct wire_in *w, struct span *in, struct wire_msg *msg,
	      const char **why);

/* True while a message is half here: the peer owes us bytes (slowloris). */
bool wire_is_mid_message(const struct wire_in *w);

/* Outgoing. Appended to B. */
void wire_add_keepalive(struct buf *b);
void wire_add_simple(struct buf *b, enum wire_type type); /* no payload */
void wire_add_have(struct buf *b, uint32_t piece);
void wire_add_bitfield(struct buf *b, const uint8_t *bits, size_t len);
void wire_add_request(struct buf *b, enum wire_type type, uint32_t piece,
		      uint32_t begin, uint32_t length); /* also CANCEL REJECT */
void wire_add_piece_header(struct buf *b, uint32_t piece, uint32_t begin,
			   uint32_t length); /* the block itself follows */
void wire_add_index(struct buf *b, enum wire_type type,
		    uint32_t piece); /* SUGGEST ALLOWED_FAST */
void wire_add_port(struct buf *b, uint16_t port);

/* --- the extension protocol, BEP 10 --- */

/* Our ids, announced in our handshake; peers use them towards us. */
enum wire_ext {
	WIRE_EXT_HANDSHAKE = 0,
	WIRE_EXT_METADATA = 1, /* ut_metadata, BEP 9 */
	WIRE_EXT_DONTHAVE = 2, /* lt_donthave, BEP 54 */
	WIRE_EXT_PEX = 3,      /* ut_pex, BEP 11; announced once it is spoken */
};

struct wire_ext_handshake {
	uint8_t id_metadata, id_donthave, id_pex;    /* the sender's; 0: none */
	bool says_metadata, says_donthave, says_pex; /* key was present */
	uint32_t metadata_size; /* 0: not told; else <= LIMIT_METADATA_BYTES */
	uint32_t reqq;          /* 0: not told */
	uint16_t port;          /* p; 0: not told */
	bool upload_only, has_upload_only; /* BEP 21 */
	char client[65];    /* v, printable UTF-8, cut; "" if not told */
	struct addr yourip; /* family 0: not told; port is 0 */
};

/* Appends a whole EXTENDED message. yourip of H: the peer's address. */
void wire_add_ext_handshake(struct buf *b, const struct wire_ext_handshake *h);
/* Returns 0 or -EPROTO. Unknown keys are ignored, absurd values too. */
int wire_read_ext_handshake(struct span payload,
			    struct wire_ext_handshake *out);

enum wire_metadata_type {
	WIRE_METADATA_REQUEST = 0,
	WIRE_METADATA_DATA = 1,
	WIRE_METADATA_REJECT = 2,
};
struct wire_metadata {
	enum wire_metadata_type type;
	uint32_t part;       /* index of the 16 KiB part */
	uint32_t total_size; /* DATA */
	struct span data;    /* DATA; borrowed */
};
void wire_add_metadata(struct buf *b, uint8_t ext_id,
		       const struct wire_metadata *m);
/* Returns 0, -EPROTO, or -EOPNOTSUPP for a type that BEP 9 says to ignore.
 * That DATA has the length its part must have is for metaxfer.h. */
int wire_read_metadata(struct span payload, struct wire_metadata *out);

void wire_add_donthave(struct buf *b, uint8_t ext_id, uint32_t piece);
/* The index was checked by wire_next. Returns 0 or -EPROTO. */
int wire_read_donthave(struct span payload, uint32_t *piece);
