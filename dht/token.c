#include "dht/token.h"

#include "engine/base/limits.h"

#define ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))

static void sip_rounds(uint64_t v[4], int n)
{
	while (n--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = ROTL(v[1], 13) ^ v[0];
		v[3] = ROTL(v[3], 16) ^ v[2];
		v[0] = ROTL(v[0], 32) + v[3];
		v[2] += v[1];
		v[3] = ROTL(v[3], 21) ^ v[0];
		v[1] = ROTL(v[1], 17) ^ v[2];
		v[2] = ROTL(v[2], 32);
	}
}

static uint64_t load_le64(const uint8_t *p, size_t len)
{
	uint64_t v = 0;

	for (size_t i = 0; i < len; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

uint64_t siphash(const uint64_t key[2], const uint8_t *p, size_t len)
{
	uint64_t v[4] = { key[0] ^ 0x736f6d6570736575u,
			  key[1] ^ 0x646f72616e646f6du,
			  key[0] ^ 0x6c7967656e657261u,
			  key[1] ^ 0x7465646279746573u };
	uint64_t last = (uint64_t)len << 56;

	for (; len >= 8; p += 8, len -= 8) {
		uint64_t m = load_le64(p, 8);

		v[3] ^= m;
		sip_rounds(v, 2);
		v[0] ^= m;
	}
	last |= load_le64(p, len);
	v[3] ^= last;
	sip_rounds(v, 2);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void token_init(struct token_secrets *t, const uint8_t seed[16], int64_t now_ms)
{
	memcpy(t->key[0], seed, sizeof(t->key[0]));
	memcpy(t->key[1], seed, sizeof(t->key[1]));
	t->turn_ms = now_ms;
}

/* The next secret is made from the one before by a function that cannot be
 * turned around. */
static void turn(struct token_secrets *t, int64_t now_ms)
{
	uint64_t next[2];

	if (now_ms - t->turn_ms < LIMIT_DHT_TOKEN_MS)
		return;
	next[0] = siphash(t->key[0], (const uint8_t *)"next 0", 6);
	next[1] = siphash(t->key[0], (const uint8_t *)"next 1", 6);
	memcpy(t->key[1], t->key[0], sizeof(next));
	memcpy(t->key[0], next, sizeof(next));
	/* After a long silence the old one is too old as well. */
	if (now_ms - t->turn_ms >= 2 * LIMIT_DHT_TOKEN_MS)
		memcpy(t->key[1], next, sizeof(next));
	t->turn_ms = now_ms;
}

static void make(const uint64_t key[2], const struct addr *from,
		 const uint8_t id[20], const uint8_t target[20],
		 uint8_t out[TOKEN_BYTES])
{
	uint8_t b[1 + 16 + 20 + 20];

	b[0] = from->family;
	memcpy(b + 1, from->ip, 16);
	memcpy(b + 17, id, 20);
	memcpy(b + 37, target, 20);
	store_be64(out, siphash(key, b, sizeof(b)));
}

void token_make(struct token_secrets *t, int64_t now_ms,
		const struct addr *from, const uint8_t id[20],
		const uint8_t target[20], uint8_t out[TOKEN_BYTES])
{
	turn(t, now_ms);
	make(t->key[0], from, id, target, out);
}

bool token_check(struct token_secrets *t, int64_t now_ms,
		 const struct addr *from, const uint8_t id[20],
		 const uint8_t target[20], struct span token)
{
	bool is_good = false;

	turn(t, now_ms);
	if (token.len != TOKEN_BYTES)
		return false;
	for (unsigned i = 0; i < 2; i++) {
		uint8_t want[TOKEN_BYTES];

		make(t->key[i], from, id, target, want);
		is_good |= load_be64(want) == load_be64(token.ptr);
	}
	return is_good;
}
