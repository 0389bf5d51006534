/* tools/facts.h: torrents from where a person points, and what there is to say
 * about them. Main thread. */
#pragma once

#include <jansson.h>

#include "engine/magnet.h"
#include "engine/metainfo.h"

#define FACTS_WHY_SIZE 512

/* Reads the .torrent at PATH ("-": standard input). 0, or a negative error
 * with a sentence that begins with PATH. */
int facts_read_torrent(const char *path, struct metainfo **out,
		       char why[FACTS_WHY_SIZE]);

/* What is known, as JSON. Keys are the same for both; what a link does not
 * tell is null. The caller owns the result. */
json_t *facts_of_torrent(const struct metainfo *mi);
json_t *facts_of_magnet(const struct magnet *m);

/* Prints J and drops it. */
void facts_print_json(json_t *j);

/* The same for people. */
void facts_print_torrent(const struct metainfo *mi, bool with_files);
void facts_print_magnet(const struct magnet *m);

/* "3 files". */
const char *facts_count(uint64_t n, const char *noun, char out[48]);
/* Bytes of the files, without pads; *num: how many files. */
uint64_t facts_size(const struct metainfo *mi, uint32_t *num);
