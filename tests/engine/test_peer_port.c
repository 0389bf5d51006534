/* Goal: peers of public torrents, and those alone, hear of our DHT node and
 * tell of theirs. */
#include "tests/cmocka_all.h"

#include "engine/base/bytes.h"
#include "engine/engine_private.h"
#include "tests/engine/raw_peer.h"

static struct rig rig;
static struct node node;
static struct raw raw;

/* A source that knows nobody and notes what it is told. */
static unsigned num_hints;
static struct addr hinted;

static struct peersource_job *source_start(struct peersource *source,
					   struct swarm_face *face)
{
	return NULL;
}

static void source_hint(struct peersource *source, const struct addr *addr)
{
	num_hints++;
	hinted = *addr;
}

static const struct peersource_ops source_ops = {
	.name = "test",
	.start = source_start,
	.hint_node = source_hint,
};
static struct peersource source = { .ops = &source_ops };

static int set_up(void **state)
{
	rig_start(&rig);
	rig_make_file(&rig, "a", "film", 65536, 1);
	node_start(&node, &rig, "b", false, FILL_TORRENT, false);
	engine_add_source(node.engine, &source);
	engine_set_dht_port(node.engine, 6881);
	num_hints = 0;
	raw.fd = raw.listen_fd = -1;
	return 0;
}

static int tear_down(void **state)
{
	raw_close(&raw);
	node_stop(&node);
	rig_end(&rig);
	return 0;
}

static void say_port(uint16_t port)
{
	struct buf b;

	buf_init(&b, 0);
	wire_add_port(&b, port);
	assert_true(raw_send(&raw, b.ptr, b.len));
	buf_release(&b);
}

static void meet(bool is_private, int flags)
{
	node_add(&node, rig_metainfo(&rig, "a", "film", 65536));
	node.torrent->face.is_private = is_private;
	rig_run(&rig, 50);
	raw_connect(&raw, &node, 0);
	raw_greet(&raw, node.torrent, 'a', flags);
	raw_take_greeting(&raw);
}

static void test_port__is_told_and_heard_once(void **state)
{
	struct raw_msg m;

	meet(false, RAW_FAST | RAW_DHT);
	assert_true(raw_wait(&raw, WIRE_PORT, &m, 1000));
	assert_true(raw.reserved[7] & 1);
	assert_int_equal(m.len, 2);
	assert_int_equal(load_be16(m.body), 6881);
	say_port(0);
	say_port(7000);
	say_port(7001);
	rig_run(&rig, 100);
	assert_int_equal(num_hints, 1);
	assert_int_equal(hinted.port, 7000);
	assert_false(raw_is_closed(&raw, 50));
}

static void test_port__not_to_who_has_no_node(void **state)
{
	unsigned counts[256];

	meet(false, RAW_FAST);
	raw_count(&raw, 200, counts);
	assert_int_equal(counts[WIRE_PORT], 0);
}

static void test_port__not_in_a_private_torrent(void **state)
{
	unsigned counts[256];

	meet(true, RAW_FAST | RAW_DHT);
	assert_false(raw.reserved[7] & 1);
	raw_count(&raw, 200, counts);
	assert_int_equal(counts[WIRE_PORT], 0);
	say_port(7000);
	rig_run(&rig, 100);
	assert_int_equal(num_hints, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_port__is_told_and_heard_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_port__not_to_who_has_no_node, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_port__not_in_a_private_torrent, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
