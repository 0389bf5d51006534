/* engine/make_parts.h: a hybrid torrent of files whose hashes are known
 * (filehash.h). Part of the engine's public face. Parts are gathered on the
 * loop and belong to one owner; make_assemble may run on a worker.
 *
 * In a folder every file begins at a piece border, in the order of the v2 file
 * tree (the bytes of each name, element by element), and a pad (BEP 47, attr
 * p, path .pad/LENGTH) fills up the last piece of each, the last file's too; so
 * the hashes of a file do not depend on its neighbours. A single file has no
 * pad. This is how libtorrent 2 does it, and the infohash is the same. */
#pragma once

#include "engine/filehash.h"
#include "engine/metainfo.h"

struct make_parts;

struct make_parts *make_parts_new(bool is_folder, uint32_t piece_length);
void make_parts_free(struct make_parts *p);

/* PATH is below the folder; of a single file it says nothing. FILE is whole, of
 * the same piece length; its hashes are copied. */
void make_parts_add(struct make_parts *p, const char *path, bool is_exec,
		    const struct filehash *file);
void make_parts_set_private(struct make_parts *p);
void make_parts_add_tracker(struct make_parts *p, const char *url); /* a tier */
void make_parts_add_webseed(struct make_parts *p, const char *url);
/* Any may be NULL. */
void make_parts_set_texts(struct make_parts *p, const char *comment,
			  const char *source, const char *created_by);

/* The torrent called NAME. *out is owned by the caller. 0; or with a sentence
 * in WHY: -EINVAL: a URL is of no use; -EBADMSG or -E2BIG: it would be no valid
 * torrent (empty, too many pieces, ...); -ENOMEM. */
#define MAKE_PARTS_WHY_SIZE 512
int make_assemble(struct make_parts *p, const char *name, struct metainfo **out,
		  char why[MAKE_PARTS_WHY_SIZE]);
