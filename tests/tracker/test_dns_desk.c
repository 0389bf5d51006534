/* Goal: equal questions are one lookup, answers are as old as they may be and
 * no older, and nobody waits past the deadline. In virtual time. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/limits.h"
#include "tests/tracker/fake_kt.h"
#include "tracker/overlay/dns_cache.h"
#include "tracker/overlay/dns_desk.h"
#include "tracker/overlay/dns_limit.h"

struct world {
	struct kt kt;
	struct dns_desk *desk;
	int64_t now;
	unsigned wakes;
	unsigned answers, by_rcode[6], addresses; /* of the last one */
	struct addr first;
};

static int64_t on_now(void *arg)
{
	return ((struct world *)arg)->now;
}

static void on_wake(void *arg)
{
	((struct world *)arg)->wakes++;
}

static void on_reply(void *arg, const struct dns_question *q,
		     const struct dns_answer *a)
{
	struct world *w = arg;

	w->answers++;
	w->by_rcode[a->rcode]++;
	w->addresses = 0;
	memset(&w->first, 0, sizeof(w->first));
	if (a->num)
		memcpy(w->first.ip, a->records[0].data, 4);
	for (unsigned i = 0; i < a->num; i++)
		w->addresses += a->records[i].type == q->type;
}

static struct dns_wait *ask(struct world *w, const char *name)
{
	return dns_desk_ask(w->desk, name, DNS_A, DNS_CLASS_IN, on_reply, w);
}

static void begin(struct world *w)
{
	struct dns_desk_io io = { on_now, on_wake, w };
	struct dns_desk_options o = { .domain = "BT.Example.org",
				      .port = 6969 };

	memset(w, 0, sizeof(*w));
	w->now = 1000000;
	fake_kt_init(&w->kt);
	fake_kt_add(&w->kt, "192.0.2.1", 6969);
	w->desk = dns_desk_new(&w->kt, &io, &o);
}

static void test_equal_questions__are_one_lookup(void **state)
{
	struct dns_wait *c;
	struct world w;

	begin(&w);
	assert_non_null(ask(&w, "foo.bt.example.org"));
	assert_non_null(ask(&w, "FOO.bt.example.ORG"));
	c = ask(&w, "foo--r0.bt.example.org");
	assert_non_null(ask(&w, "bar.bt.example.org"));
	assert_int_equal(w.kt.finds, 2);
	assert_int_equal(w.wakes, 1);
	dns_wait_cancel(c);
	fake_kt_answer(&w.kt);
	assert_int_equal(w.answers, 3);
	assert_int_equal(w.by_rcode[DNS_NOERROR], 3);
	assert_int_equal(dns_desk_next_ms(w.desk), INT64_MAX);
	dns_desk_free(w.desk);
}

static void test_fresh__is_said_at_once_for_30_s(void **state)
{
	struct world w;

	begin(&w);
	assert_non_null(ask(&w, "foo.bt.example.org"));
	fake_kt_answer(&w.kt);
	w.now += DNS_FRESH_MS - 1;
	assert_null(ask(&w, "foo.bt.example.org"));
	assert_int_equal(w.answers, 2);
	assert_int_equal(w.addresses, 1);
	w.now += 1;
	assert_non_null(ask(&w, "foo.bt.example.org"));
	assert_int_equal(w.kt.finds, 2);
	dns_desk_free(w.desk); /* who waits hears of it */
	assert_int_equal(w.answers, 3);
	assert_int_equal(w.by_rcode[DNS_NOERROR], 3);
	assert_int_equal(w.kt.cancels, 1);
}

static void test_stale__past_the_deadline_for_10_min(void **state)
{
	struct world w;

	begin(&w);
	assert_non_null(ask(&w, "foo.bt.example.org"));
	fake_kt_answer(&w.kt);
	w.now += DNS_FRESH_MS;
	assert_non_null(ask(&w, "foo.bt.example.org"));
	assert_int_equal(dns_desk_next_ms(w.desk), w.now + DNS_DEADLINE_MS);
	w.now += DNS_DEADLINE_MS - 1;
	dns_desk_tick(w.desk);
	assert_int_equal(w.answers, 1);
	w.now += 1;
	dns_desk_tick(w.desk);
	assert_int_equal(w.answers, 2);
	assert_int_equal(w.by_rcode[DNS_NOERROR], 2);
	assert_int_equal(w.addresses, 1);
	/* The lookup goes on: one who asks again joins it. */
	assert_non_null(ask(&w, "foo.bt.example.org"));
	assert_int_equal(w.kt.finds, 2);
	w.kt.num = 0; /* nobody answers it: the old owners stay */
	fake_kt_answer(&w.kt);
	assert_int_equal(w.by_rcode[DNS_NOERROR], 3);
	assert_null(ask(&w, "foo.bt.example.org")); /* for 5 s without asking */
	assert_int_equal(w.by_rcode[DNS_NOERROR], 4);
	w.now += DNS_STALE_MS;
	assert_non_null(ask(&w, "foo.bt.example.org"));
	w.now += DNS_DEADLINE_MS;
	dns_desk_tick(w.desk);
	assert_int_equal(w.by_rcode[DNS_SERVFAIL], 1);
	dns_desk_free(w.desk);
}

static void test_nobody__is_remembered_for_5_s(void **state)
{
	struct world w;

	begin(&w);
	w.kt.num = 0;
	assert_non_null(ask(&w, "foo.bt.example.org"));
	fake_kt_answer(&w.kt);
	assert_int_equal(w.by_rcode[DNS_SERVFAIL], 1);
	w.now += DNS_NOBODY_MS - 1;
	assert_null(ask(&w, "foo.bt.example.org"));
	assert_int_equal(w.by_rcode[DNS_SERVFAIL], 2);
	w.now += 1;
	assert_non_null(ask(&w, "foo.bt.example.org"));
	assert_int_equal(w.kt.finds, 2);
	dns_desk_free(w.desk);
}

/* A tracker that is an owner itself finds the others, and not itself. */
static void test_self__is_put_in_its_place(void **state)
{
	struct addr here;
	struct world w;

	begin(&w);
	assert_int_equal(addr_parse("192.0.2.99", 0, &here), 0);
	fake_kt_add(&w.kt, "192.0.2.2", 6969);
	w.kt.table[0] = w.kt.owners[0];
	w.kt.table[1].id.b[0] = 77;
	w.kt.table[1].is_self = true;
	w.kt.table[1].tr.udp_port = 6969;
	w.kt.table[2] = w.kt.owners[1];
	w.kt.num_table = 3;
	assert_non_null(ask(&w, "foo.bt.example.org"));
	fake_kt_answer(&w.kt);
	assert_int_equal(w.addresses, 2); /* our own is not known */
	dns_desk_set_self(w.desk, &here);
	assert_non_null(ask(&w, "bar--r1.bt.example.org"));
	fake_kt_answer(&w.kt);
	assert_int_equal(w.addresses, 1);
	assert_memory_equal(w.first.ip, here.ip, 4);
	/* Alone in the world. */
	w.kt.table[0] = w.kt.table[1];
	w.kt.num_table = 1;
	w.kt.num = 0;
	assert_non_null(ask(&w, "baz.bt.example.org"));
	w.now += DNS_DEADLINE_MS;
	dns_desk_tick(w.desk);
	assert_int_equal(w.addresses, 1);
	fake_kt_answer(&w.kt);
	assert_null(ask(&w, "baz.bt.example.org"));
	assert_int_equal(w.addresses, 1);
	assert_int_equal(w.by_rcode[DNS_NOERROR], w.answers);
	dns_desk_free(w.desk);
}

static void test_crowds__are_answered_at_once(void **state)
{
	char name[64];
	struct world w;

	begin(&w);
	for (unsigned i = 0; i < LIMIT_DNS_WAITING; i++) {
		snprintf(name, sizeof(name), "k%u.bt.example.org", i);
		assert_non_null(ask(&w, name));
	}
	assert_null(ask(&w, "foo.bt.example.org"));
	assert_int_equal(w.by_rcode[DNS_SERVFAIL], 1);
	fake_kt_answer(&w.kt);
	assert_int_equal(w.answers, LIMIT_DNS_WAITING + 1);
	w.kt.is_full = true;
	assert_null(ask(&w, "other.bt.example.org"));
	assert_int_equal(w.by_rcode[DNS_SERVFAIL], 2);
	dns_desk_free(w.desk);
}

static void test_cache__is_bounded(void **state)
{
	struct dns_cache *c = dns_cache_new();
	struct kad_id id = { { 0 } };
	struct dns_place *first = dns_cache_get(c, &id), *second;
	struct kt_lookup *lookup = (struct kt_lookup *)&id;

	first->lookup = lookup;
	id.b[19] = 1;
	second = dns_cache_get(c, &id);
	second->num = 1;
	for (unsigned i = 2; i < LIMIT_DNS_PLACES + 1; i++) {
		id.b[18] = (uint8_t)(i >> 8);
		id.b[19] = (uint8_t)i;
		assert_non_null(dns_cache_get(c, &id));
	}
	memset(&id, 0, sizeof(id));
	assert_ptr_equal(dns_cache_get(c, &id), first);
	assert_ptr_equal(first->lookup, lookup);
	id.b[19] = 1; /* the oldest without a lookup made room */
	assert_int_equal(dns_cache_get(c, &id)->num, 0);
	dns_cache_free(c);
}

static void test_limit__by_net_and_name(void **state)
{
	static struct dns_limit l;
	static const uint8_t seed[16] = { 1 };
	struct addr a, b, c;

	dns_limit_init(&l, seed);
	assert_int_equal(addr_parse("192.0.2.1", 53, &a), 0);
	assert_int_equal(addr_parse("192.0.2.77", 54, &b), 0);
	assert_int_equal(addr_parse("[2001:db8::1]", 54, &c), 0);
	for (unsigned i = 0; i < LIMIT_DNS_BURST; i++)
		assert_true(dns_limit_take(&l, 5000, i % 2 ? &a : &b,
					   i % 2 ? "foo.x" : "FOO.x"));
	assert_false(dns_limit_take(&l, 5000, &a, "foo.x"));
	assert_true(dns_limit_take(&l, 5000, &a, "bar.x"));
	assert_true(dns_limit_take(&l, 5000, &c, "foo.x"));
	assert_true(dns_limit_take(&l, 5100, &b, "foo.x"));
	assert_false(dns_limit_take(&l, 5100, &b, "foo.x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_questions__are_one_lookup),
		cmocka_unit_test(test_fresh__is_said_at_once_for_30_s),
		cmocka_unit_test(test_stale__past_the_deadline_for_10_min),
		cmocka_unit_test(test_nobody__is_remembered_for_5_s),
		cmocka_unit_test(test_self__is_put_in_its_place),
		cmocka_unit_test(test_crowds__are_answered_at_once),
		cmocka_unit_test(test_cache__is_bounded),
		cmocka_unit_test(test_limit__by_net_and_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
