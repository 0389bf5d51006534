/* fs/publish_parts.h: what a torrent is made of, gathered on the loop and put
 * together on a worker (make_info.h). One owner. */
#pragma once

#include "engine/filehash.h"
#include "engine/make.h"
#include "fs/publish_scan.h"

struct publish_parts;

/* Trackers, web seeds and texts of O are copied. MORE trackers (NUM) come after
 * those. */
struct publish_parts *publish_parts_new(bool is_folder, uint32_t piece_length,
					const struct publish_options *o,
					char *const *more, size_t num);
void publish_parts_free(struct publish_parts *p);
void publish_parts_add_webseed(struct publish_parts *p, const char *url);
/* PATH is below the folder. FILE is whole, of the same piece length; its hashes
 * are copied. */
void publish_parts_add(struct publish_parts *p, const char *path, bool is_exec,
		       const struct filehash *file);
/* The hybrid torrent called NAME; as make_info_assemble. */
int publish_parts_assemble(struct publish_parts *p, const char *name,
			   struct metainfo **out, char why[MAKE_WHY_SIZE]);
