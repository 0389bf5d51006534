/* Goal: we read what real opentrackers say to each other, say the same of the
 * same peers, and believe nothing that is not of the format. */
#include "tests/cmocka_all.h"

#include <errno.h>

#include "engine/base/bytes.h"
#include "engine/base/hex.h"
#include "tracker/server/livesync_packet.h"

/* Captured with an AF_PACKET socket on a bridge between two opentrackers built
 * with WANT_SYNC_LIVE, in network namespaces; peers at 10.77.0.254 and
 * fd77::254 announced over HTTP, infohashes AAA..., BBB... and CCC....
 *
 * Commit 110868e (2021-08-23), IPv4, and the same bytes but for the tracker id
 * from 716dcfb (2026-04-13). In order: a seeder (port 1001), two leechers
 * (1002, 1003), the second of which completes, a new seeder with "completed"
 * (1004), the leecher stops, another leecher (1005), the seeder stops. */
static const char captured4[] =
	"1add155c00000000"
	"41414141414141414141414141414141414141410a4d00fe03e98000"
	"41414141414141414141414141414141414141410a4d00fe03ea0000"
	"41414141414141414141414141414141414141410a4d00fe03eb0000"
	"41414141414141414141414141414141414141410a4d00fe03ebc000"
	"42424242424242424242424242424242424242420a4d00fe03ecc000"
	"41414141414141414141414141414141414141410a4d00fe03ea2000"
	"42424242424242424242424242424242424242420a4d00fe03ed0000"
	"41414141414141414141414141414141414141410a4d00fe03e9a000";
/* Commit 716dcfb, IPv6: a seeder (2001), a leecher (2002) that completes, the
 * seeder stops. */
static const char captured6[] = "56de1a2d00000001"
				"4343434343434343434343434343434343434343"
				"fd77000000000000000000000000025407d18000"
				"4343434343434343434343434343434343434343"
				"fd77000000000000000000000000025407d20000"
				"4343434343434343434343434343434343434343"
				"fd77000000000000000000000000025407d2c000"
				"4343434343434343434343434343434343434343"
				"fd77000000000000000000000000025407d1a000";

struct expected {
	uint8_t torrent;
	uint16_t port;
	enum swarm_state state;
};

static const struct expected expected4[] = {
	{ 'A', 1001, SWARM_SEEDER },
	{ 'A', 1002, SWARM_LEECHER },
	{ 'A', 1003, SWARM_LEECHER },
	{ 'A', 1003, SWARM_SEEDER_COMPLETED },
	{ 'B', 1004, SWARM_SEEDER_COMPLETED },
	{ 'A', 1002, SWARM_GONE },
	{ 'B', 1005, SWARM_LEECHER },
	{ 'A', 1001, SWARM_GONE },
};
static const struct expected expected6[] = {
	{ 'C', 2001, SWARM_SEEDER },
	{ 'C', 2002, SWARM_LEECHER },
	{ 'C', 2002, SWARM_SEEDER_COMPLETED },
	{ 'C', 2001, SWARM_GONE },
};

static size_t unhex(const char *hex, uint8_t *out, size_t size)
{
	size_t len = strlen(hex) / 2;

	assert_true(len <= size);
	assert_true(hex_decode(hex, strlen(hex), out, len));
	return len;
}

static void expect(const char *hex, const char *host, uint32_t id,
		   const struct expected *e, unsigned num)
{
	uint8_t bytes[LIMIT_LIVESYNC_BYTES];
	size_t len = unhex(hex, bytes, sizeof(bytes));
	struct livesync_parsed p;

	assert_int_equal(livesync_parse(bytes, len, &p), 0);
	assert_int_equal(p.tracker_id, id);
	assert_int_equal(p.num, num);
	assert_int_equal(p.martians, 0);
	for (unsigned i = 0; i < num; i++) {
		const struct swarm_record *r = &p.records[i];
		struct addr want;

		assert_int_equal(addr_parse(host, e[i].port, &want), 0);
		assert_true(addr_eq(&r->peer, &want));
		for (size_t k = 0; k < sizeof(r->infohash.b); k++)
			assert_int_equal(r->infohash.b[k], e[i].torrent);
		assert_int_equal(r->state, e[i].state);
		assert_int_equal(r->is_completion,
				 e[i].state == SWARM_SEEDER_COMPLETED);
		assert_int_equal(r->age_min, 0);
	}
}

static void reads_what_opentracker_says(void **state)
{
	expect(captured4, "10.77.0.254", 0x1add155c, expected4, 8);
	expect(captured6, "fd77::254", 0x56de1a2d, expected6, 4);
}

/* All that opentracker said, said again by us; of who stopped it adds that it
 * was a seeder, which nobody looks at. */
static void says_what_opentracker_says(void **state)
{
	const char *const hexes[] = { captured4, captured6 };

	for (unsigned t = LIVESYNC_V4; t <= LIVESYNC_V6; t++) {
		uint8_t bytes[LIMIT_LIVESYNC_BYTES];
		size_t len = unhex(hexes[t], bytes, sizeof(bytes));
		struct livesync_parsed p;
		struct livesync_batch b;

		assert_int_equal(livesync_parse(bytes, len, &p), 0);
		livesync_batch_init(&b, (enum livesync_type)t, p.tracker_id);
		assert_true(livesync_batch_is_empty(&b));
		for (unsigned i = 0; i < p.num; i++)
			assert_true(livesync_batch_add(&b, &p.records[i]));
		assert_int_equal(bytes[len - 2], 0xa0);
		bytes[len - 2] = 0x20;
		assert_int_equal(b.len, len);
		assert_memory_equal(b.bytes, bytes, len);
	}
}

static struct swarm_record seeder(const char *at)
{
	struct swarm_record r = { .state = SWARM_SEEDER };

	memset(r.infohash.b, 'x', sizeof(r.infohash.b));
	assert_int_equal(addr_parse(at, 0, &r.peer), 0);
	return r;
}

static void only_a_completion_of_now_is_told(void **state)
{
	struct swarm_record r = seeder("9.8.7.6:54");
	struct livesync_batch b;

	r.state = SWARM_SEEDER_COMPLETED;
	livesync_batch_init(&b, LIVESYNC_V4, 1);
	assert_true(livesync_batch_add(&b, &r));
	assert_int_equal(b.bytes[b.len - 2], 0x80);
	r.is_completion = true;
	assert_true(livesync_batch_add(&b, &r));
	assert_int_equal(b.bytes[b.len - 2], 0xc0);
}

/* Opentracker's own buffers end at 1480 bytes, too. */
static void batches_fill_to_the_brim(void **state)
{
	struct swarm_record r4 = seeder("9.8.7.6:54"),
			    r6 = seeder("[2a00::1]:1");
	struct livesync_batch b;
	struct livesync_parsed p;
	unsigned n = 0;

	livesync_batch_init(&b, LIVESYNC_V4, 1);
	while (livesync_batch_add(&b, &r4))
		n++;
	assert_int_equal(n, LIMIT_LIVESYNC_RECORDS);
	assert_int_equal(b.len, 8 + 52 * 28);
	assert_int_equal(livesync_parse(b.bytes, b.len, &p), 0);
	assert_int_equal(p.num, n);
	livesync_batch_clear(&b);
	assert_true(livesync_batch_is_empty(&b));
	assert_true(livesync_batch_add(&b, &r4));
	livesync_batch_init(&b, LIVESYNC_V6, 1);
	for (n = 0; livesync_batch_add(&b, &r6);)
		n++;
	assert_int_equal(n, 36);
	assert_int_equal(b.len, 8 + 36 * 40);
	assert_int_equal(livesync_parse(b.bytes, b.len, &p), 0);
	assert_int_equal(p.num, n);
}

static void mapped_peers_are_of_ipv4(void **state)
{
	struct swarm_record r = seeder("9.8.7.6:54");
	struct livesync_parsed p;
	struct livesync_batch b;

	livesync_batch_init(&b, LIVESYNC_V6, 7);
	assert_true(livesync_batch_add(&b, &r));
	assert_int_equal(b.len, 8 + 40);
	assert_memory_equal(b.bytes + 28, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
	assert_int_equal(livesync_parse(b.bytes, b.len, &p), 0);
	assert_int_equal(p.num, 1);
	assert_true(addr_eq(&p.records[0].peer, &r.peer));
}

static void completed_without_seeding_is_a_leecher(void **state)
{
	struct swarm_record r = seeder("9.8.7.6:54");
	struct livesync_parsed p;
	struct livesync_batch b;

	livesync_batch_init(&b, LIVESYNC_V4, 7);
	assert_true(livesync_batch_add(&b, &r));
	b.bytes[b.len - 2] = 0x40;
	b.bytes[b.len - 1] = 44; /* an age: not believed */
	assert_int_equal(livesync_parse(b.bytes, b.len, &p), 0);
	assert_int_equal(p.records[0].state, SWARM_LEECHER);
	assert_false(p.records[0].is_completion);
	assert_int_equal(p.records[0].age_min, 0);
	b.bytes[b.len - 2] = 0x9f; /* flags of a future */
	assert_int_equal(livesync_parse(b.bytes, b.len, &p), 0);
	assert_int_equal(p.records[0].state, SWARM_SEEDER);
}

static void peers_that_nobody_can_be_are_left_out(void **state)
{
	static const char *const at[] = { "0.0.0.0:1", "224.0.0.1:1",
					  "255.255.255.255:1", "9.8.7.6:0",
					  "192.0.2.1:1" };
	struct livesync_parsed p;
	struct livesync_batch b;
	struct swarm_record r = seeder("9.8.7.6:54");

	livesync_batch_init(&b, LIVESYNC_V4, 7);
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		struct swarm_record bad = seeder(at[i]);

		assert_true(livesync_batch_add(&b, &bad));
	}
	assert_true(livesync_batch_add(&b, &r));
	assert_int_equal(livesync_parse(b.bytes, b.len, &p), 0);
	assert_int_equal(p.num, 1);
	assert_int_equal(p.martians, 5);
	assert_true(addr_eq(&p.records[0].peer, &r.peer));
}

static void wrong_sizes_and_types_are_refused(void **state)
{
	uint8_t bytes[2048];
	size_t len = unhex(captured4, bytes, sizeof(bytes));
	struct livesync_parsed p;

	for (size_t n = 0; n <= len; n++) {
		int want = n > 8 && (n - 8) % 28 == 0 ? 0 : -EBADMSG;

		assert_int_equal(livesync_parse(bytes, n, &p), want);
	}
	memset(bytes + len, 1, sizeof(bytes) - len);
	assert_int_equal(livesync_parse(bytes, 8 + 53 * 28, &p), -EBADMSG);
	assert_int_equal(livesync_parse(bytes, sizeof(bytes), &p), -EBADMSG);
	bytes[7] = LIVESYNC_V6; /* eight records of 28 are none of 40 */
	assert_int_equal(livesync_parse(bytes, len, &p), -EBADMSG);
	bytes[7] = 2;
	assert_int_equal(livesync_parse(bytes, len, &p), -ENOTSUP);
	bytes[7] = 0;
	bytes[4] = 1;
	assert_int_equal(livesync_parse(bytes, len, &p), -ENOTSUP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_opentracker_says),
		cmocka_unit_test(says_what_opentracker_says),
		cmocka_unit_test(only_a_completion_of_now_is_told),
		cmocka_unit_test(batches_fill_to_the_brim),
		cmocka_unit_test(mapped_peers_are_of_ipv4),
		cmocka_unit_test(completed_without_seeding_is_a_leecher),
		cmocka_unit_test(peers_that_nobody_can_be_are_left_out),
		cmocka_unit_test(wrong_sizes_and_types_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
