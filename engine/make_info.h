/* engine/make_info.h: a torrent from parts that are known: names, lengths and
 * hashes. Part of the engine's public face, for whoever hashes by himself;
 * make.c does so, too. Reads no file. Any thread.
 *
 * The form is libtorrent's (2.0, create_torrent with v1_only, v2_only or
 * neither), bit for bit, so that the infohashes are the same:
 * - Order of files, make_info_compare(). v1: by the bytes of the whole path, as
 *   mktorrent has it: "a.b" before "a/x". v2 and hybrid: by the bytes of each
 *   element in turn, as the file tree asks for: "a/x" before "a.b".
 * - v1: files follow each other without a gap. The last piece is as long as
 *   what is left.
 * - hybrid: each file begins at a piece border. In a torrent of several files
 *   (empty ones count) EVERY file whose length is no multiple of the piece
 *   length is followed by a pad of zeros up to the border, the last one, too:
 *   then the last piece is a whole one. A pad is listed in the v1 part alone:
 *   attr "p", path [".pad", "LENGTH"]. A torrent of one file has no pad, be it
 *   in a folder or not: its last piece ends with it.
 *   So the SHA-1 of a file's last piece is over its bytes and the zeros of its
 *   pad, and the pieces of all files, one after the other, are those of the
 *   torrent: files can be hashed alone and in any order.
 * - v2: no pads are listed; each file begins at a piece border and the last
 *   piece ends with the last file that is not empty. No SHA-1 at all.
 * - An empty file is listed, has no pieces, no pad and no root.
 * - v2 hashes: the root is over the leaves of the file alone (SHA-256 of each
 *   16 KiB, the last one shorter, never padded; merkle.h), filled up to a power
 *   of two. The layer has a node per piece, each over piece_length bytes' worth
 *   of leaves, the last one filled up with zero leaves to that size; only files
 *   longer than a piece have one. A shorter file's root is NOT that node, but
 *   over as few leaves as it has.
 * - "attr" is "x" for files that their owner may execute (S_IXUSR), in each
 *   part, also in the info dict of a file alone (v1 and hybrid).
 * - The file tree of a single file is its name; so a v2 torrent of a folder
 *   that holds nothing but a file of the folder's own name is one of that file
 *   alone. (v1 and hybrid tell them apart by "files".) */
#pragma once

#include "engine/make.h"

struct make_info_file {
	const char *path; /* borrowed; below the folder; of a file alone: not
			   * looked at */
	uint64_t length;
	bool is_exec;
	const uint8_t *root; /* borrowed; 32 bytes; v2 and hybrid; NULL for an
			      * empty file */
	const uint8_t
		*layer; /* borrowed; 32 bytes a piece; v2 and hybrid, of
			 * files longer than a piece; else not looked at */
};

struct make_info {
	const char *name; /* borrowed; of the folder, or of the file alone */
	bool is_folder;   /* false: there is one file */
	const struct make_info_file *files; /* borrowed; in order */
	uint32_t num_files;
	uint32_t piece_length; /* a power of two, as in struct make_options */
	const uint8_t *pieces; /* borrowed; v1 and hybrid: the SHA-1 of each */
	/* borrowed; kind, private, source and all that stands outside the info
	 * dict; not its name, piece_length, threads and callbacks */
	const struct make_options *options;
};

/* <0, 0, >0: the order of two paths in a torrent of KIND. */
int make_info_compare(enum make_kind kind, const char *a, const char *b);

/* Zeros that follow a file of LENGTH in the v1 pieces of a torrent of KIND. */
uint32_t make_info_pad(enum make_kind kind, uint32_t num_files, uint64_t length,
		       uint32_t piece_length);

/*
 * Would it be a torrent? Hashes are not looked at: to be asked before hours of
 * hashing. *out, if OUT is not NULL, has the names that others will see, and
 * the layout; its hashes mean nothing. 0 or as make_info_assemble.
 */
int make_info_check(const struct make_info *in, struct metainfo **out,
		    char why[MAKE_WHY_SIZE]);

/*
 * *out is owned by the caller; its raw bytes are the .torrent. Returns 0, or
 * with a sentence in WHY: -EINVAL an option, or files out of order; -EBADMSG
 * and -E2BIG it would be no valid torrent (layers that do not belong to their
 * root among other things); -ENOMEM.
 */
int make_info_assemble(const struct make_info *in, struct metainfo **out,
		       char why[MAKE_WHY_SIZE]);
