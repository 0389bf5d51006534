/* engine/metainfo_parser.h: what the metainfo_*.c share while one torrent is
 * taken in. Private to them. */
#pragma once

#include "engine/base/bencode.h"
#include "engine/metainfo.h"

/* A growing list of files. */
struct metainfo_files {
	struct metainfo_file *at; /* owned, with what it points at */
	uint32_t num, cap;
};

struct metainfo_parser {
	struct metainfo *mi; /* owned until it is handed out */
	struct bnode root;   /* the .torrent; absent for an info dict alone */
	struct bnode info;
	struct span rawname;
	struct metainfo_files v1, v2; /* as each part lists them */
	struct buf path;              /* safe path being built */
	struct buf origpath;          /* its raw elements, joined with '/' */
	unsigned depth;               /* its elements */
	uint64_t end; /* bytes of the files so far, pads of v1 included */
	char *why;    /* borrowed */
};

/* Writes the sentence for people. Returns ERR. */
int metainfo_refuse(struct metainfo_parser *p, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Appends an empty file to L. NULL: no memory. */
struct metainfo_file *metainfo_files_add(struct metainfo_files *l);
void metainfo_files_release(struct metainfo_files *l);

/* Building p->path and p->origpath from elements. 0 or refused. */
void metainfo_path_start(struct metainfo_parser *p);
int metainfo_path_add(struct metainfo_parser *p, struct span element);
/* Where a path stands, to come back to it. */
struct metainfo_path_mark {
	size_t path, origpath;
	unsigned depth;
};
struct metainfo_path_mark metainfo_path_mark(const struct metainfo_parser *p);
void metainfo_path_back(struct metainfo_parser *p, struct metainfo_path_mark m);

/*
 * Appends to L the file that DICT describes under the path in P: "length",
 * "attr", "symlink path". p->end grows by its length. *out is borrowed from L
 * until the next file. 0 or refused.
 */
int metainfo_file_add(struct metainfo_parser *p, struct metainfo_files *l,
		      struct bnode dict, struct metainfo_file **out);

int metainfo_v1_parse(struct metainfo_parser *p); /* fills p->v1 */
int metainfo_v2_parse(struct metainfo_parser *p); /* fills p->v2 */

/* Hybrid: p->v1 and p->v2 must be the same files; gives the roots to v1. */
int metainfo_v2_match(struct metainfo_parser *p);
/* v2 only: places the files of p->v2 at piece boundaries, with pads between,
 * and sets the layout. */
int metainfo_v2_place(struct metainfo_parser *p);
/* Checks "piece layers" against the roots in p->v2. */
int metainfo_v2_check_layers(struct metainfo_parser *p);

/* "nodes" of BEP 5. */
void metainfo_nodes_parse(struct metainfo_parser *p);
void metainfo_nodes_write(const struct metainfo *mi, struct buf *out);

/* Derives the layout of TOTAL bytes. 0 or refused. */
int metainfo_set_layout(struct metainfo_parser *p, uint64_t total);

/* As metainfo_add_tracker and metainfo_add_webseed, from foreign bytes. */
void metainfo_add_tracker_span(struct metainfo *mi, struct span url,
			       unsigned tier);
void metainfo_add_webseed_span(struct metainfo *mi, struct span url);
