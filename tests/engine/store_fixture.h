/* tests/engine/store_fixture.h: a torrent made by hand, a folder for it, and
 * a store over both. */
#pragma once

#include "tests/engine/scratch.h"

#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/store.h"

#define PIECE (64u << 10)

struct fixture {
	char dir[PATH_MAX];  /* everything of this test lives here */
	char root[PATH_MAX]; /* DIR of the store; not made yet */
	struct metainfo mi;
	struct fdcache *cache;
	struct store *store;
};

/* Appends a file. FLAGS of enum file_flag; GAP bytes before it have no file. */
static inline uint32_t fixture_add(struct metainfo *mi, const char *path,
				   uint64_t length, unsigned flags,
				   uint64_t gap)
{
	struct metainfo_file *f;

	mi->files = mem_realloc_array(mi->files, mi->num_files + 1,
				      sizeof(*mi->files));
	f = &mi->files[mi->num_files];
	*f = (struct metainfo_file){
		.path = mem_strdup(path),
		.origpath = mem_strdup(path),
		.offset = mi->layout.total + gap,
		.length = length,
		.flags = flags,
	};
	mi->layout.total = f->offset + length;
	mi->layout.piece_length = PIECE;
	mi->layout.num_pieces =
		(uint32_t)((mi->layout.total + PIECE - 1) / PIECE);
	return mi->num_files++;
}

static inline void fixture_release_files(struct metainfo *mi)
{
	for (uint32_t i = 0; i < mi->num_files; i++) {
		free(mi->files[i].path);
		free(mi->files[i].origpath);
		free(mi->files[i].symlink);
	}
	free(mi->files);
	free(mi->name);
	*mi = (struct metainfo){ 0 };
}

/* NAME with files a (100000), a pad, sub/b (70000), empty, sub/deep/c (12345),
 * a gap of 1000 bytes, d (200000, executable), link -> sub/b. */
enum {
	FILE_A,
	FILE_PAD1,
	FILE_B,
	FILE_EMPTY,
	FILE_C,
	FILE_D,
	FILE_LINK
};

static inline void fixture_tree(struct metainfo *mi)
{
	uint32_t link;

	mi->name = mem_strdup("NAME");
	mi->is_multi = true;
	fixture_add(mi, "a", 100000, 0, 0);
	fixture_add(mi, ".pad/31072", 31072, FILE_PAD, 0);
	fixture_add(mi, "sub/b", 70000, 0, 0);
	fixture_add(mi, "empty", 0, 0, 0);
	fixture_add(mi, "sub/deep/c", 12345, 0, 0);
	fixture_add(mi, "d", 200000, FILE_EXEC, 1000);
	link = fixture_add(mi, "links/link", 0, FILE_SYMLINK, 0);
	mi->files[link].symlink = mem_strdup("../sub/b");
}

static inline void fixture_single(struct metainfo *mi, uint64_t length)
{
	mi->name = mem_strdup("film");
	fixture_add(mi, "film", length, 0, 0);
}

static inline void fixture_open(struct fixture *f, bool is_read_only)
{
	f->store = store_new(f->cache, &f->mi, f->root, NULL, is_read_only);
}

static inline void fixture_reopen(struct fixture *f, bool is_read_only)
{
	store_unref(f->store);
	fixture_open(f, is_read_only);
}

/* BASE: where the folder is made, NULL for where temporary files go. */
static inline struct fixture *fixture_new(const char *base,
					  void (*shape)(struct metainfo *mi))
{
	struct fixture *f = mem_alloc(sizeof(*f));

	scratch_make(base, f->dir);
	snprintf(f->root, sizeof(f->root), "%.4000s/data/hash", f->dir);
	shape(&f->mi);
	f->cache = fdcache_new(4);
	fixture_open(f, false);
	return f;
}

static inline void fixture_free(struct fixture *f)
{
	store_unref(f->store);
	assert_int_equal(fdcache_num_open(f->cache), 0);
	fdcache_free(f->cache);
	fixture_release_files(&f->mi);
	scratch_remove(f->dir);
	free(f);
}

/* What the torrent holds at OFF: nowhere zero, and never the same for long. */
static inline uint8_t fixture_byte(uint64_t off)
{
	return (uint8_t)(off * 2654435761u >> 13 | 1);
}

static inline bool fixture_is_hole(const struct metainfo *mi, uint64_t off)
{
	for (uint32_t i = 0; i < mi->num_files; i++) {
		const struct metainfo_file *mf = &mi->files[i];

		if (off >= mf->offset && off - mf->offset < mf->length)
			return mf->flags & FILE_PAD;
	}
	return true;
}

/* What the store must return at OFF. */
static inline uint8_t fixture_expected(const struct metainfo *mi, uint64_t off)
{
	return fixture_is_hole(mi, off) ? 0 : fixture_byte(off);
}

static inline int fixture_write(struct fixture *f, uint64_t off, size_t len)
{
	uint8_t *bytes = malloc(len);
	int r;

	for (size_t i = 0; i < len; i++)
		bytes[i] = fixture_byte(off + i);
	r = store_write(f->store, off, bytes, len);
	free(bytes);
	return r;
}

static inline void fixture_write_all(struct fixture *f)
{
	uint64_t total = f->mi.layout.total;

	for (uint64_t off = 0; off < total; off += PIECE)
		assert_int_equal(fixture_write(f, off,
					       total - off < PIECE ? total - off
								   : PIECE),
				 0);
}

static inline bool fixture_matches(const struct fixture *f, uint64_t off,
				   const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != fixture_expected(&f->mi, off + i))
			return false;
	return true;
}

/* Reads and compares; 0, -errno, or 1 if the bytes are wrong. */
static inline int fixture_check(struct fixture *f, uint64_t off, size_t len)
{
	uint8_t *bytes = malloc(len + 1);
	int r;

	memset(bytes, 0xee, len + 1);
	r = store_read(f->store, off, bytes, len);
	if (!r && (bytes[len] != 0xee || !fixture_matches(f, off, bytes, len)))
		r = 1;
	free(bytes);
	return r;
}
