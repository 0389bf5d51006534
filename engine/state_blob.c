#include "engine/state_blob.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"

#define STAMP_BYTES 32 /* four 64-bit numbers, big endian */
#define CRC_BYTES   4
#define BITS_MAX    ((LIMIT_PIECES + 7) / 8)
#define STAMPS_MAX  ((size_t)LIMIT_FILES * STAMP_BYTES)

static uint32_t sum(char kind, int64_t id, const uint8_t *bytes, size_t len)
{
	uint8_t salt[9];
	uLong crc;

	salt[0] = (uint8_t)kind;
	store_be64(salt + 1, (uint64_t)id);
	crc = crc32_z(0, salt, sizeof(salt));
	return (uint32_t)crc32_z(crc, bytes, len);
}

static bool check(char kind, int64_t id, struct span blob, size_t max,
		  struct span *out)
{
	size_t len;

	if (!blob.ptr || blob.len <= CRC_BYTES)
		return false;
	len = blob.len - CRC_BYTES;
	if (len > max ||
	    load_be32(blob.ptr + len) != sum(kind, id, blob.ptr, len))
		return false;
	*out = (struct span){ blob.ptr, len };
	return true;
}

uint8_t *state_blob_from_bits(int64_t id, const uint8_t *bits, size_t len,
			      size_t *out_len)
{
	uint8_t *blob = mem_try(1, len + CRC_BYTES);

	if (!blob)
		return NULL;
	memcpy(blob, bits, len);
	store_be32(blob + len, sum('b', id, blob, len));
	*out_len = len + CRC_BYTES;
	return blob;
}

uint8_t *state_blob_from_stamps(int64_t id, const struct store_stamp *stamps,
				uint32_t n, size_t *out_len)
{
	size_t len = (size_t)n * STAMP_BYTES;
	uint8_t *blob = mem_try(1, len + CRC_BYTES);

	if (!blob)
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *p = blob + (size_t)i * STAMP_BYTES;

		store_be64(p, (uint64_t)stamps[i].size);
		store_be64(p + 8, (uint64_t)stamps[i].mtime_ns);
		store_be64(p + 16, (uint64_t)stamps[i].ctime_ns);
		store_be64(p + 24, stamps[i].ino);
	}
	store_be32(blob + len, sum('s', id, blob, len));
	*out_len = len + CRC_BYTES;
	return blob;
}

bool state_blob_to_bits(int64_t id, struct span blob, struct span *out)
{
	return check('b', id, blob, BITS_MAX, out);
}

bool state_blob_to_stamps(int64_t id, struct span blob,
			  struct store_stamp **out, uint32_t *num)
{
	struct store_stamp *stamps;
	struct span bytes;
	size_t n;

	if (!check('s', id, blob, STAMPS_MAX, &bytes) ||
	    bytes.len % STAMP_BYTES)
		return false;
	n = bytes.len / STAMP_BYTES;
	stamps = realloc(*out, n * sizeof(*stamps));
	if (!stamps)
		return false;
	*out = stamps;
	*num = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = bytes.ptr + i * STAMP_BYTES;

		stamps[i] = (struct store_stamp){
			.size = (int64_t)load_be64(p),
			.mtime_ns = (int64_t)load_be64(p + 8),
			.ctime_ns = (int64_t)load_be64(p + 16),
			.ino = load_be64(p + 24),
		};
	}
	return true;
}
