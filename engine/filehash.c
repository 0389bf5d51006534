#include "engine/filehash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/base/sha_side.h"
#include "engine/merkle.h"

#define CELL_HEIGHT 4u /* 2^4 leaves of LIMIT_BLOCK_BYTES */
#define CELL_LEAVES (FILEHASH_CELL / LIMIT_BLOCK_BYTES)

_Static_assert(CELL_LEAVES == 1u << CELL_HEIGHT, "leaves of a cell");

static uint32_t count(uint64_t size, uint32_t unit)
{
	return (uint32_t)((size + unit - 1) / unit);
}

void filehash_init(struct filehash *f, uint32_t piece_length)
{
	memset(f, 0, sizeof(*f));
	f->piece_length = piece_length;
}

void filehash_release(struct filehash *f)
{
	uint32_t piece_length = f->piece_length;

	free(f->sha1);
	free(f->cells);
	free(f->has_sha1);
	free(f->has_cell);
	filehash_init(f, piece_length);
}

size_t filehash_bytes(const struct filehash *f)
{
	return (size_t)f->cap_pieces * (SHA1_LEN + 1) +
	       (size_t)f->cap_cells * (SHA256_LEN + 1);
}

/* ---- what is there ---- */

static uint32_t cells_per_piece(const struct filehash *f)
{
	return f->piece_length / FILEHASH_CELL;
}

bool filehash_has_piece(const struct filehash *f, uint32_t piece)
{
	uint32_t per = cells_per_piece(f), end = (piece + 1) * per;

	if (!f->has_sha1[piece])
		return false;
	for (uint32_t i = piece * per; i < end && i < f->num_cells; i++) {
		if (!f->has_cell[i])
			return false;
	}
	return true;
}

uint32_t filehash_next(const struct filehash *f, uint32_t from)
{
	while (from < f->num_pieces && filehash_has_piece(f, from))
		from++;
	return from;
}

static void forget_piece(struct filehash *f, uint32_t piece)
{
	f->missing += filehash_has_piece(f, piece);
	f->has_sha1[piece] = 0;
}

void filehash_forget(struct filehash *f, uint64_t off, uint64_t len)
{
	uint64_t end;

	if (off >= f->size || !len)
		return;
	end = len < f->size - off ? off + len : f->size;
	for (uint32_t i = (uint32_t)(off / f->piece_length);
	     i < count(end, f->piece_length); i++)
		forget_piece(f, i);
	for (uint32_t i = (uint32_t)(off / FILEHASH_CELL);
	     i < count(end, FILEHASH_CELL); i++)
		f->has_cell[i] = 0;
}

/* ---- size ---- */

static bool grow(void **array, uint32_t cap, size_t unit)
{
	void *more = realloc(*array, (size_t)cap * unit);

	if (more)
		*array = more;
	return more != NULL;
}

static bool reserve(struct filehash *f, uint32_t pieces, uint32_t cells)
{
	if (pieces > f->cap_pieces) {
		uint32_t cap = pieces + pieces / 2 + 8;

		if (!grow((void **)&f->sha1, cap, SHA1_LEN) ||
		    !grow((void **)&f->has_sha1, cap, 1))
			return false;
		f->cap_pieces = cap;
	}
	if (cells > f->cap_cells) {
		uint32_t cap = cells + cells / 2 + 8;

		if (!grow((void **)&f->cells, cap, SHA256_LEN) ||
		    !grow((void **)&f->has_cell, cap, 1))
			return false;
		f->cap_cells = cap;
	}
	return true;
}

static void count_missing(struct filehash *f)
{
	f->missing = 0;
	for (uint32_t i = 0; i < f->num_pieces; i++)
		f->missing += !filehash_has_piece(f, i);
}

bool filehash_resize(struct filehash *f, uint64_t size)
{
	uint64_t same = size < f->size ? size : f->size;
	uint64_t most = (uint64_t)UINT32_MAX / 4 * FILEHASH_CELL;
	uint32_t pieces, cells, whole;

	if (size == f->size)
		return true;
	if (size > most) {
		filehash_release(f);
		return false;
	}
	pieces = count(size, f->piece_length);
	cells = count(size, FILEHASH_CELL);
	if (!reserve(f, pieces, cells)) {
		filehash_release(f);
		return false;
	}
	whole = (uint32_t)(same / f->piece_length);
	if (pieces > whole)
		memset(f->has_sha1 + whole, 0, pieces - whole);
	whole = (uint32_t)(same / FILEHASH_CELL);
	if (cells > whole)
		memset(f->has_cell + whole, 0, cells - whole);
	f->size = size;
	f->num_pieces = pieces;
	f->num_cells = cells;
	count_missing(f);
	return true;
}

void filehash_set_piece_length(struct filehash *f, uint32_t piece_length)
{
	uint64_t size = f->size;

	if (piece_length == f->piece_length)
		return;
	CHECK(piece_length >= FILEHASH_CELL &&
	      piece_length <= FILEHASH_PIECE_MAX);
	f->piece_length = piece_length;
	f->num_pieces = 0;
	/* Longer pieces are fewer: what there is has room for them. */
	if (!reserve(f, count(size, piece_length), f->num_cells)) {
		filehash_release(f);
		return;
	}
	f->num_pieces = count(size, piece_length);
	if (f->num_pieces)
		memset(f->has_sha1, 0, f->num_pieces);
	count_missing(f);
}

/* ---- the work ---- */

void filehash_begin(const struct filehash *f, uint32_t piece,
		    struct filehash_step *s)
{
	uint32_t per = cells_per_piece(f), end = (piece + 1) * per;
	uint64_t left;

	s->piece = piece;
	s->piece_length = f->piece_length;
	s->off = (uint64_t)piece * f->piece_length;
	s->size = f->size;
	left = f->size - s->off;
	s->len = left < f->piece_length ? (uint32_t)left : f->piece_length;
	s->needs_padded = s->len < f->piece_length;
	s->needs_cells = false;
	for (uint32_t i = piece * per; i < end && i < f->num_cells; i++)
		s->needs_cells |= !f->has_cell[i];
}

static int read_all(int fd, uint8_t *out, uint32_t len, uint64_t off)
{
	while (len) {
		ssize_t n = pread(fd, out, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ESTALE;
		out += n;
		off += (uint64_t)n;
		len -= (uint32_t)n;
	}
	return 0;
}

/* Feeds LEN bytes at P to H, and with CELL writes the root of their leaves. A
 * file of one cell has a tree of its own height; in any other the last cell is
 * filled up. */
static void hash_cell(struct sha1_run *h, const uint8_t *p, uint32_t len,
		      bool is_only, uint8_t cell[SHA256_LEN])
{
	uint8_t leaves[CELL_LEAVES][SHA256_LEN] = { { 0 } };
	uint32_t n = count(len, LIMIT_BLOCK_BYTES);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = i * LIMIT_BLOCK_BYTES;
		uint32_t size = len - at < LIMIT_BLOCK_BYTES
					? len - at
					: LIMIT_BLOCK_BYTES;

		sha1_run_update_leaf(h, p + at, size, leaves[i]);
	}
	merkle_root(leaves[0], is_only ? n : CELL_LEAVES, 0, cell);
}

static void hash_zeros(struct sha1_run *h, uint32_t len)
{
	static const uint8_t zeros[64 << 10];

	while (len) {
		uint32_t n = len < sizeof(zeros) ? len : sizeof(zeros);

		sha1_run_update(h, zeros, n);
		len -= n;
	}
}

int filehash_run(struct filehash_step *s, int fd)
{
	struct sha1_run *h = sha1_run_new();
	struct sha1_run *h2 = s->needs_padded ? sha1_run_new() : NULL;
	uint8_t *cell = mem_alloc(FILEHASH_CELL);
	int r = 0;

	for (uint32_t at = 0, i = 0; at < s->len && !r;
	     at += FILEHASH_CELL, i++) {
		uint32_t n = s->len - at < FILEHASH_CELL ? s->len - at
							 : FILEHASH_CELL;

		r = read_all(fd, cell, n, s->off + at);
		if (r < 0)
			break;
		if (s->needs_cells)
			hash_cell(h, cell, n, s->size <= FILEHASH_CELL,
				  s->cells[i]);
		else
			sha1_run_update(h, cell, n);
		if (h2)
			sha1_run_update(h2, cell, n);
	}
	sha1_run_final(h, s->sha1);
	if (h2) {
		hash_zeros(h2, s->piece_length - s->len);
		sha1_run_final(h2, s->padded);
	}
	sha1_run_free(h2);
	sha1_run_free(h);
	free(cell);
	return r;
}

void filehash_end(struct filehash *f, const struct filehash_step *s)
{
	uint32_t first = s->piece * cells_per_piece(f), n;
	bool had;

	if (f->piece_length != s->piece_length || s->piece >= f->num_pieces)
		return;
	/* A full piece is the same whatever comes after it. */
	if (f->size != s->size &&
	    (f->size - s->off < s->len || s->needs_padded))
		return;
	had = filehash_has_piece(f, s->piece);
	memcpy(f->sha1[s->piece], s->sha1, SHA1_LEN);
	f->has_sha1[s->piece] = 1;
	if (s->needs_padded)
		memcpy(f->padded, s->padded, SHA1_LEN);
	n = count(s->len, FILEHASH_CELL);
	for (uint32_t i = 0; s->needs_cells && i < n; i++) {
		memcpy(f->cells[first + i], s->cells[i], SHA256_LEN);
		f->has_cell[first + i] = 1;
	}
	f->missing -= !had && filehash_has_piece(f, s->piece);
}

/* ---- the tree ---- */

void filehash_root(const struct filehash *f, uint8_t root[SHA256_LEN])
{
	CHECK(filehash_is_whole(f) && f->size);
	if (f->num_cells == 1)
		memcpy(root, f->cells[0], SHA256_LEN);
	else
		merkle_root(f->cells[0], f->num_cells, CELL_HEIGHT, root);
}

void filehash_layer(const struct filehash *f, struct buf *out)
{
	uint32_t per = cells_per_piece(f);
	uint8_t(*full)[SHA256_LEN];

	if (f->num_pieces < 2)
		return;
	full = mem_alloc_array(per, SHA256_LEN);
	for (uint32_t i = 0; i < f->num_pieces; i++) {
		uint32_t n = f->num_cells - i * per;
		uint8_t node[SHA256_LEN];

		if (n > per)
			n = per;
		memcpy(full, f->cells[(size_t)i * per], (size_t)n * SHA256_LEN);
		for (uint32_t k = n; k < per; k++)
			merkle_filling(CELL_HEIGHT, full[k]);
		merkle_root(full[0], per, CELL_HEIGHT, node);
		buf_add(out, node, sizeof(node));
	}
	free(full);
}
