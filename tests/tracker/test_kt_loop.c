/* Goal: trackers on real sockets meet through a name and prove themselves; a
 * client shares its port with mainline and gets its owners, in an open realm
 * and in a closed one; a file of a realm is read as its header says. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dht/dht_loop.h"
#include "engine/base/mem.h"
#include "tracker/overlay/kt_loop.h"

#define TRACKERS 3
#define CLIENT   TRACKERS
#define NODES    (TRACKERS + 1)

struct lab {
	struct loop *loop;
	struct workers *workers;
	struct udp *udp[NODES];
	struct kt_loop *node[NODES];
	struct dht_loop *dht; /* on the client's port */
	struct kt_owner owners[KT_OWNERS_MAX];
	unsigned num_owners, finds, changes;
};

static void on_send(void *arg, const struct addr *to, const uint8_t *bytes,
		    size_t len)
{
	(void)udp_send(*(struct udp **)arg, to, bytes, len);
}

static struct kt *node_of(struct lab *l, unsigned i)
{
	return kt_loop_node(l->node[i]);
}

/* REALM: NULL, or what trackers hold; of it clients have the public key. */
static void open_lab(struct lab *l, const struct kt_realm_file *realm)
{
	static const struct addr lo = { .family = 4, .ip = { 127, 0, 0, 1 } };
	char name[32] = "127.0.0.1:1";
	const char *names[] = { name };
	struct kt_realm_file of_clients = { 0 };
	struct dht_loop_options d = { .allow_local = true,
				      .bootstrap = names,
				      .num_bootstrap = 1 };

	memset(l, 0, sizeof(*l));
	l->loop = loop_new();
	l->workers = workers_new(l->loop);
	if (realm)
		memcpy(of_clients.pk, realm->pk, sizeof(realm->pk));
	for (unsigned i = 0; i < NODES; i++) {
		struct kt_loop_options o = { .domain = "bt.example.org",
					     .v4 = true,
					     .is_client = i == CLIENT,
					     .allow_local = true,
					     .bootstrap = names,
					     .num_bootstrap = 1,
					     .tag = 'K',
					     .send = on_send,
					     .arg = &l->udp[i] };

		if (realm)
			o.realm = i == CLIENT ? &of_clients : realm;
		assert_int_equal(udp_open(l->loop, &lo, NULL, 0, &l->udp[i]),
				 0);
		o.self.http_port = o.self.udp_port = udp_port(l->udp[i]);
		l->node[i] = kt_loop_new(l->loop, l->workers, &o);
		kt_loop_tap(l->node[i], l->udp[i]);
		if (!i)
			(void)snprintf(name, sizeof(name), "localhost:%u",
				       udp_port(l->udp[0]));
	}
	l->dht = dht_loop_new(l->loop, l->workers, l->udp[CLIENT], &d);
}

static void close_lab(struct lab *l)
{
	dht_loop_free(l->dht);
	for (unsigned i = 0; i < NODES; i++) {
		kt_loop_free(l->node[i]);
		udp_close(l->udp[i]);
	}
	workers_free(l->workers);
	loop_free(l->loop);
}

static void on_found(void *arg, const struct kt_found *f)
{
	struct lab *l = arg;

	l->finds++;
	l->num_owners = f->num;
	memcpy(l->owners, f->owners, f->num * sizeof(*f->owners));
}

static unsigned good(struct lab *l, unsigned i)
{
	struct kt_stats s;

	kt_stats(node_of(l, i), &s);
	return s.good[0];
}

static void run_until_met(struct lab *l)
{
	int64_t end = loop_now_ms(l->loop) + 20000;

	while (loop_now_ms(l->loop) < end) {
		unsigned sum = 0;

		for (unsigned i = 0; i < TRACKERS; i++)
			sum += good(l, i);
		if (sum == TRACKERS * (TRACKERS - 1) && good(l, CLIENT))
			return;
		loop_run_once(l->loop, 10);
	}
}

static void find(struct lab *l)
{
	struct kad_id key = { { 1 } };
	unsigned before = l->finds;
	int64_t end = loop_now_ms(l->loop) + 10000;

	assert_non_null(kt_find(node_of(l, CLIENT), &key, on_found, l));
	while (l->finds == before && loop_now_ms(l->loop) < end)
		loop_run_once(l->loop, 10);
	assert_int_equal(l->finds, before + 1);
}

static void test_kt_loop__trackers_meet(void **state)
{
	struct lab l;
	struct dht_stats d;

	open_lab(&l, NULL);
	run_until_met(&l);
	find(&l);
	assert_int_equal(l.num_owners, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(l.owners[i].addr.port,
				 l.owners[i].tr.http_port);
		assert_true(addr_is_loopback(&l.owners[i].addr));
	}
	/* Not one of all those datagrams was mainline's. */
	dht_stats(dht_loop_node(l.dht), &d);
	assert_int_equal(d.bytes_in, 0);
	close_lab(&l);
}

static void test_kt_loop__closed_realm(void **state)
{
	/* Goal: who holds the realm's secret certifies itself; a realm's
	 * secret of somebody else opens no door. */
	struct kt_realm_file realm, wrong;
	struct buf text;
	struct kt_stats s;
	char why[128];
	struct lab l;

	buf_init(&text, 0);
	kt_realm_file_make((const uint8_t *)"0123456789abcdef0123456789abcdef",
			   &text);
	assert_int_equal(kt_realm_file_parse((char *)text.ptr, text.len, &realm,
					     why, sizeof(why)),
			 0);
	buf_release(&text);
	open_lab(&l, &realm);
	run_until_met(&l);
	find(&l);
	assert_int_equal(l.num_owners, 3);
	close_lab(&l);
	wrong = realm;
	memset(wrong.secret, 7, sizeof(wrong.secret));
	open_lab(&l, &wrong);
	find(&l);
	assert_int_equal(l.num_owners, 0);
	kt_stats(node_of(&l, CLIENT), &s);
	assert_true(s.bad_sig > 0);
	close_lab(&l);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void test_realm_file__is_read(void **state)
{
	static const char *const bad[] = {
		"",
		"realm-public 00\n",
		"realm-secret "
		"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e"
		"0f\n",
		"realm-public "
		"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e"
		"0f\nsomething else\n",
		/* A pair that is none. */
		"realm-public "
		"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e"
		"0f\nrealm-secret "
		"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e"
		"0f\n",
	};
	char path[] = "/tmp/weirfs-realm-XXXXXX", why[128];
	struct kt_realm_file f, one;
	struct buf text;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		write_file(path, bad[i]);
		why[0] = 0;
		assert_int_equal(kt_realm_file_read(path, &f, why, sizeof(why)),
				 -EBADMSG);
		assert_true(why[0] != 0);
	}
	buf_init(&text, 0);
	buf_add_str(&text, "# of our trackers\r\n\n");
	kt_realm_file_make((const uint8_t *)"0123456789abcdef0123456789abcdef",
			   &text);
	buf_add(&text, "", 1);
	write_file(path, (char *)text.ptr);
	assert_int_equal(kt_realm_file_read(path, &f, why, sizeof(why)), 0);
	assert_true(f.has_secret && !f.has_cert);
	buf_clear(&text);
	kt_realm_file_certify(&f, "bt.example.org", f.pk, 2000000000, &text);
	buf_add(&text, "", 1);
	write_file(path, (char *)text.ptr);
	assert_int_equal(kt_realm_file_read(path, &one, why, sizeof(why)), 0);
	assert_true(one.has_cert && !one.has_secret);
	assert_memory_equal(one.pk, f.pk, sizeof(f.pk));
	buf_release(&text);
	unlink(path);
	assert_int_equal(kt_realm_file_read(path, &f, why, sizeof(why)),
			 -ENOENT);
}

static void check_file(const struct kt_realm_file *f, const char *domain,
		       const uint8_t pk[KT_PK_BYTES], int64_t wall_s,
		       const char *says)
{
	char why[384] = "";
	int r = kt_realm_file_check(f, domain, pk, wall_s, why, sizeof(why));

	assert_int_equal(r, says ? -EACCES : 0);
	if (says && !strstr(why, says))
		fail_msg("%s: not %s", why, says);
}

static void test_realm_file__lets_one_tracker_in(void **state)
{
	const uint8_t pk[KT_PK_BYTES] = { 1 }, other[KT_PK_BYTES] = { 2 };
	struct kt_realm_file realm, one;
	struct buf text;
	char why[128];

	buf_init(&text, 0);
	kt_realm_file_make((const uint8_t *)"0123456789abcdef0123456789abcdef",
			   &text);
	assert_int_equal(kt_realm_file_parse((char *)text.ptr, text.len, &realm,
					     why, sizeof(why)),
			 0);
	check_file(&realm, "bt.example.org", pk, 1000, NULL);
	buf_clear(&text);
	kt_realm_file_certify(&realm, "bt.example.org", pk, 1000, &text);
	assert_int_equal(kt_realm_file_parse((char *)text.ptr, text.len, &one,
					     why, sizeof(why)),
			 0);
	check_file(&one, "bt.example.org", pk, 999, NULL);
	check_file(&one, "BT.example.org", pk, 999, NULL);
	check_file(&one, "bt.example.org", pk, 1000, "expired");
	check_file(&one, "bt.example.org", other, 999, "another tracker");
	check_file(&one, "bt.example.org", other, 1000, "another tracker");
	check_file(&one, "bt.example.net", pk, 999, "another tracker");
	one.pk[0] ^= 1; /* of another realm's key */
	check_file(&one, "bt.example.org", pk, 999, "another tracker");
	one.has_cert = false;
	check_file(&one, "bt.example.org", pk, 999,
		   "no certificate is in it; this tracker needs one for its "
		   "key: --certify 01000000");
	buf_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kt_loop__trackers_meet),
		cmocka_unit_test(test_kt_loop__closed_realm),
		cmocka_unit_test(test_realm_file__is_read),
		cmocka_unit_test(test_realm_file__lets_one_tracker_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
