/* engine/state_blob.h: bits and stamps as blobs that know when they are
 * damaged. SQLite checks the shape of its pages but not the bytes of a blob,
 * and one flipped have-bit would be taken for a verified piece. So each blob
 * ends in a CRC-32 over its kind, the id of its row, and its bytes. Pure.
 * Private to state_sql.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/bytes.h"
#include "engine/store.h"

/* Owned by the caller, *out_len long; NULL: no memory. */
uint8_t *state_blob_from_bits(int64_t id, const uint8_t *bits, size_t len,
			      size_t *out_len);
uint8_t *state_blob_from_stamps(int64_t id, const struct store_stamp *stamps,
				uint32_t n, size_t *out_len);

/* False: damaged, or over a limit. OUT points into BLOB. */
bool state_blob_to_bits(int64_t id, struct span blob, struct span *out);
/* *out is grown and stays the caller's. */
bool state_blob_to_stamps(int64_t id, struct span blob,
			  struct store_stamp **out, uint32_t *n);
