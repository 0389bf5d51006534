/* With SSE 4.2 the processor does it, eight bytes at a time. Else by tables,
 * eight bytes at a time: TABLES[k][b] is what byte b does to the sum when k
 * more bytes follow it. That is linear in b, so eight numbers make a table, and
 * the compiler writes it out. */
#include "engine/base/crc32c.h"

#include <string.h>

/* clang-format off */
#define BIT(b, i, v) ((b) >> (i) & 1 ? v##u : 0u)
#define ENTRY(b, c0, c1, c2, c3, c4, c5, c6, c7)			       \
	BIT(b, 0, c0) ^ BIT(b, 1, c1) ^ BIT(b, 2, c2) ^ BIT(b, 3, c3) ^	       \
	BIT(b, 4, c4) ^ BIT(b, 5, c5) ^ BIT(b, 6, c6) ^ BIT(b, 7, c7)
#define FOUR(b, ...) ENTRY(b, __VA_ARGS__), ENTRY((b) + 1, __VA_ARGS__),       \
	ENTRY((b) + 2, __VA_ARGS__), ENTRY((b) + 3, __VA_ARGS__)
#define SIXTEEN(b, ...) FOUR(b, __VA_ARGS__), FOUR((b) + 4, __VA_ARGS__),      \
	FOUR((b) + 8, __VA_ARGS__), FOUR((b) + 12, __VA_ARGS__)
#define SIXTY_FOUR(b, ...)						       \
	SIXTEEN(b, __VA_ARGS__), SIXTEEN((b) + 16, __VA_ARGS__),	       \
	SIXTEEN((b) + 32, __VA_ARGS__), SIXTEEN((b) + 48, __VA_ARGS__)
#define TABLE(...) {							       \
	SIXTY_FOUR(0, __VA_ARGS__), SIXTY_FOUR(64, __VA_ARGS__),	       \
	SIXTY_FOUR(128, __VA_ARGS__), SIXTY_FOUR(192, __VA_ARGS__) }

static const uint32_t TABLES[8][256] = {
	TABLE(0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf,
	      0x105ec76f, 0x20bd8ede, 0x417b1dbc, 0x82f63b78),
	TABLE(0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8,
	      0x3fc5f181, 0x7f8be302, 0xff17c604, 0xfbc3faf9),
	TABLE(0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5,
	      0x70a27d8a, 0xe144fb14, 0xc76580d9, 0x8b277743),
	TABLE(0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6,
	      0xe964b13d, 0xd725148b, 0xaba65fe7, 0x52a0c93f),
	TABLE(0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91,
	      0x8f2261d3, 0x1ba8b557, 0x37516aae, 0x6ea2d55c),
	TABLE(0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f,
	      0xc00c303e, 0x85f4168d, 0x0e045beb, 0x1c08b7d6),
	TABLE(0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53,
	      0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, 0xf56e0ef4),
	TABLE(0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da,
	      0x847609b4, 0x0d006599, 0x1a00cb32, 0x34019664),
};
/* clang-format on */

static uint32_t step(uint32_t crc, uint8_t byte)
{
	return crc >> 8 ^ TABLES[0][(crc ^ byte) & 0xff];
}

uint32_t crc32c_portable(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xffffffff;

	for (; len >= 8; p += 8, len -= 8) {
		crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 |
		       (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
		crc = TABLES[7][crc & 0xff] ^ TABLES[6][crc >> 8 & 0xff] ^
		      TABLES[5][crc >> 16 & 0xff] ^ TABLES[4][crc >> 24] ^
		      TABLES[3][p[4]] ^ TABLES[2][p[5]] ^ TABLES[1][p[6]] ^
		      TABLES[0][p[7]];
	}
	while (len--)
		crc = step(crc, *p++);
	return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t
with_instruction(const uint8_t *p, size_t len)
{
	uint64_t crc = 0xffffffff, word;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, sizeof(word));
		crc = __builtin_ia32_crc32di(crc, word);
	}
	while (len--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *p++);
	return ~(uint32_t)crc;
}
#endif

uint32_t crc32c(const uint8_t *p, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return with_instruction(p, len);
#endif
	return crc32c_portable(p, len);
}
