/* engine/filehash.h: both hashes of one file, gathered piece by piece in any
 * order while the file grows and changes: SHA-1 of each piece, and the SHA-256
 * tree of BEP 52, cut into cells of FILEHASH_CELL bytes, the smallest piece
 * there is for those who publish. Another piece length makes the SHA-1 void and
 * leaves the cells as they are. Part of the engine's public face.
 *
 * A struct filehash belongs to the loop, a struct filehash_step to whoever
 * runs it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/sha.h"

#define FILEHASH_CELL      (256u << 10)
#define FILEHASH_PIECE_MAX (16u << 20) /* bytes */
#define FILEHASH_CELLS_MAX (FILEHASH_PIECE_MAX / FILEHASH_CELL)

struct filehash {
	uint64_t size;         /* bytes of the file */
	uint32_t piece_length; /* a power of two, at least FILEHASH_CELL */
	uint32_t num_pieces, num_cells;
	uint32_t cap_pieces, cap_cells;
	uint8_t (*sha1)[SHA1_LEN];    /* owned; per piece */
	uint8_t (*cells)[SHA256_LEN]; /* owned; per cell */
	uint8_t *has_sha1, *has_cell; /* owned; a byte each */
	uint32_t missing;             /* pieces without all their hashes */
	/* The last piece with zeros up to its full length (a pad follows). */
	uint8_t padded[SHA1_LEN];
};

void filehash_init(struct filehash *f, uint32_t piece_length);
void filehash_release(struct filehash *f);
/* The file is SIZE bytes long now; what lies beyond the smaller size is not
 * known any more. False: no memory; then F is empty, of size 0. */
bool filehash_resize(struct filehash *f, uint64_t size);
void filehash_set_piece_length(struct filehash *f, uint32_t piece_length);
/* Bytes [OFF, OFF + LEN) are not what they were. */
void filehash_forget(struct filehash *f, uint64_t off, uint64_t len);

/* Is there everything? Of an empty file there is. */
static inline bool filehash_is_whole(const struct filehash *f)
{
	return !f->missing;
}
bool filehash_has_piece(const struct filehash *f, uint32_t piece);
/* The first piece from FROM on that lacks something; num_pieces: none. */
uint32_t filehash_next(const struct filehash *f, uint32_t from);
/* All that is kept, in bytes. */
size_t filehash_bytes(const struct filehash *f);

/* What BEP 52 wants of a whole one: the root (of a file that is not empty), and
 * the layer of pieces if there is more than one. The layer is appended to OUT,
 * 32 bytes a piece; nothing for a file of one piece. */
void filehash_root(const struct filehash *f, uint8_t root[SHA256_LEN]);
void filehash_layer(const struct filehash *f, struct buf *out);

/* The work for one piece. */
struct filehash_step {
	uint32_t piece, piece_length;
	uint64_t off, size; /* of the piece; of the file */
	uint32_t len;
	bool needs_cells;
	bool needs_padded; /* it is the last piece, and not full */
	uint8_t sha1[SHA1_LEN], padded[SHA1_LEN];
	uint8_t cells[FILEHASH_CELLS_MAX][SHA256_LEN];
};

/* Loop: what is to be done for PIECE. */
void filehash_begin(const struct filehash *f, uint32_t piece,
		    struct filehash_step *s);
/* Worker: reads FD. 0; -ESTALE: the file is shorter; -errno. */
int filehash_run(struct filehash_step *s, int fd);
/* Loop: takes the result. The caller knows that its bytes did not change
 * meanwhile; if the piece length did, or the size of that piece, it is left. */
void filehash_end(struct filehash *f, const struct filehash_step *s);
