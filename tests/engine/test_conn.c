/* Goal: a connection carries every byte in order through short writes, tells
 * its owner once when it ends, and may be freed inside any of its callbacks. */
#include "tests/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "engine/conn.h"

#define KIB (1u << 10)
#define MIB (1u << 20)

struct side { /* the owner of a connection */
	struct conn *conn;
	struct conn *frees; /* freed in the callback named by FREE_IN */
	char free_in;       /* 'c' connected, 'b' bytes, 'd' drained, 'x' end */
	int num_connected, num_bytes, num_drained, num_closed;
	int closed_r;
	uint8_t last;
};

static struct loop *loop;
static struct conn_hub *hub;
static struct side side, other;
static int far = -1; /* the other end, a plain socket */

static void maybe_free(struct side *s, char in)
{
	if (s->free_in != in)
		return;
	s->free_in = 0;
	conn_free(s->frees);
	if (s->frees == s->conn)
		s->conn = NULL;
	s->frees = NULL;
}

static void on_connected(void *arg)
{
	struct side *s = arg;

	s->num_connected++;
	maybe_free(s, 'c');
}

static void on_bytes(void *arg, struct span bytes)
{
	struct side *s = arg;

	s->num_bytes += (int)bytes.len;
	s->last = bytes.ptr[bytes.len - 1];
	maybe_free(s, 'b');
}

static void on_drained(void *arg)
{
	struct side *s = arg;

	s->num_drained++;
	maybe_free(s, 'd');
}

static void on_closed(void *arg, int r)
{
	struct side *s = arg;

	s->num_closed++;
	s->closed_r = r;
	maybe_free(s, 'x');
}

static const struct conn_events events = {
	.on_connected = on_connected,
	.on_bytes = on_bytes,
	.on_drained = on_drained,
	.on_closed = on_closed,
};

static struct conn *adopt(struct side *s, int *end)
{
	int fds[2], small = 16 * KIB;

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	/* So that every large write is a short one. */
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	memset(s, 0, sizeof(*s));
	s->conn = conn_adopt(hub, fds[0], &events, s);
	*end = fds[1];
	return s->conn;
}

static int set_up(void **state)
{
	loop = loop_new();
	hub = conn_hub_new(loop);
	adopt(&side, &far);
	return 0;
}

static int tear_down(void **state)
{
	conn_free(side.conn);
	conn_hub_free(hub);
	loop_free(loop);
	if (far >= 0)
		close(far);
	far = -1;
	return 0;
}

static void turn(int times)
{
	while (times-- > 0)
		loop_run_once(loop, 1);
}

static void write_pattern(struct conn *c, size_t len)
{
	uint8_t *p = conn_reserve(c, len);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7 + i / 251);
	conn_commit(c, len);
}

/* Reads what is there. Checks the pattern from byte AT on; returns how many. */
static size_t read_pattern(size_t at)
{
	uint8_t some[8 * KIB];
	ssize_t n = read(far, some, sizeof(some));

	for (ssize_t i = 0; i < n; i++, at++)
		assert_int_equal(some[i], (uint8_t)(at * 7 + at / 251));
	return n > 0 ? (size_t)n : 0;
}

/* At least LEN bytes. */
static void drain(size_t len)
{
	size_t at = 0;

	for (int i = 0; i < 100000 && at < len; i++) {
		size_t n = read_pattern(at);

		at += n;
		if (!n)
			loop_run_once(loop, 1);
	}
	assert_true(at >= len);
}

static void test_short_writes__keep_the_order(void **state)
{
	write_pattern(side.conn, 3 * MIB);
	turn(2);
	assert_true(conn_unsent(side.conn) > 2 * MIB);
	assert_int_equal(side.num_drained, 0);
	drain(3 * MIB);
	turn(2);
	assert_int_equal(conn_unsent(side.conn), 0);
	assert_int_equal(side.num_drained, 1);
}

static void test_write__over_the_limit_is_refused(void **state)
{
	assert_null(conn_reserve(side.conn, LIMIT_SEND_QUEUE_BYTES + 1));
	write_pattern(side.conn, LIMIT_SEND_QUEUE_BYTES);
	assert_false(conn_write(side.conn, "x", 1));
	drain(LIMIT_SEND_QUEUE_BYTES);
	assert_true(conn_write(side.conn, "x", 1));
}

static void test_peer_closes__in_the_middle_of_a_write(void **state)
{
	write_pattern(side.conn, MIB);
	turn(2);
	assert_true(read_pattern(0) > 0);
	close(far);
	far = -1;
	turn(3);
	assert_int_equal(side.num_closed, 1);
	/* The owner may still write; nothing happens. */
	assert_true(conn_write(side.conn, "x", 1));
	turn(2);
	assert_int_equal(side.num_closed, 1);
}

static void test_peer_closes__between_two_writes(void **state)
{
	close(far);
	far = -1;
	assert_true(conn_write(side.conn, "x", 1));
	turn(3);
	assert_int_equal(side.num_closed, 1);
}

static void test_free__inside_each_callback(void **state)
{
	side.frees = side.conn;
	side.free_in = 'b';
	assert_int_equal(write(far, "abc", 3), 3);
	turn(2);
	assert_null(side.conn);
	assert_int_equal(side.num_bytes, 3);
	close(far);

	adopt(&side, &far);
	side.frees = side.conn;
	side.free_in = 'd';
	write_pattern(side.conn, 300 * KIB);
	drain(60 * KIB);
	turn(3);
	assert_null(side.conn);
	assert_int_equal(side.num_drained, 1);
	close(far);

	adopt(&side, &far);
	side.frees = side.conn;
	side.free_in = 'x';
	close(far);
	far = -1;
	turn(3);
	assert_null(side.conn);
	assert_int_equal(side.num_closed, 1);
	assert_int_equal(side.closed_r, 0);
}

/* The last write of an ended stream may fail in the flush. */
static void test_free__inside_closed_from_a_flush(void **state)
{
	side.frees = side.conn;
	side.free_in = 'x';
	assert_int_equal(shutdown(far, SHUT_RD), 0);
	assert_true(conn_write(side.conn, "x", 1));
	turn(3);
	assert_null(side.conn);
	assert_int_equal(side.closed_r, -EPIPE);
}

static void test_free__the_next_one_to_be_flushed(void **state)
{
	int end;

	adopt(&other, &end);
	/* SIDE is flushed first and, below the mark at once, frees OTHER. */
	side.frees = other.conn;
	side.free_in = 'd';
	write_pattern(side.conn, 256 * KIB);
	assert_true(conn_write(other.conn, "y", 1));
	turn(3);
	assert_int_equal(side.num_drained, 1);
	assert_null(side.frees);
	close(end);
}

static void test_farewell__leaves_with_the_free(void **state)
{
	char got[4];

	assert_true(conn_write(side.conn, "bye", 3));
	conn_free(side.conn);
	side.conn = NULL;
	assert_int_equal(read(far, got, sizeof(got)), 3);
	assert_int_equal(read(far, got, sizeof(got)), 0);
}

static int listen_here(struct addr *at)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	addr_parse("127.0.0.1", 0, at);
	len = addr_to_sockaddr(at, &ss);
	assert_int_equal(bind(fd, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(listen(fd, 4), 0);
	len = sizeof(ss);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
	assert_true(addr_from_sockaddr(at, (struct sockaddr *)&ss, len));
	return fd;
}

static void test_connect__sends_what_was_written_before(void **state)
{
	struct addr at;
	int l = listen_here(&at), fd, r = 0;
	char got[8];

	conn_free(side.conn);
	side.conn = conn_connect(hub, &at, NULL, &events, &side, &r);
	assert_non_null(side.conn);
	assert_true(conn_write(side.conn, "early", 5));
	turn(4);
	assert_int_equal(side.num_connected, 1);
	fd = accept(l, NULL, NULL);
	assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), 5);
	assert_memory_equal(got, "early", 5);
	close(fd);
	close(l);
}

static void test_connect__freed_inside_connected(void **state)
{
	struct addr at;
	int l = listen_here(&at), r = 0;

	conn_free(side.conn);
	side.conn = conn_connect(hub, &at, NULL, &events, &side, &r);
	side.frees = side.conn;
	side.free_in = 'c';
	assert_true(conn_write(side.conn, "early", 5));
	turn(4);
	assert_null(side.conn);
	close(l);
}

static void test_connect__refused(void **state)
{
	struct addr at;
	int r = 0;

	close(listen_here(&at));
	conn_free(side.conn);
	side.conn = conn_connect(hub, &at, NULL, &events, &side, &r);
	turn(4);
	assert_true(!side.conn || side.num_closed == 1);
	assert_int_equal(side.conn ? side.closed_r : r, -ECONNREFUSED);
}

static size_t heap_bytes(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void test_burst__memory_comes_back(void **state)
{
	size_t before = heap_bytes();

	write_pattern(side.conn, 3 * MIB);
	conn_tidy(side.conn); /* not while bytes wait */
	drain(3 * MIB);
	conn_tidy(side.conn);
	conn_tidy(side.conn);
	assert_true(heap_bytes() < before + 128 * KIB);
	write_pattern(side.conn, 100 * KIB);
	drain(100 * KIB);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_short_writes__keep_the_order),
		CASE(test_write__over_the_limit_is_refused),
		CASE(test_peer_closes__in_the_middle_of_a_write),
		CASE(test_peer_closes__between_two_writes),
		CASE(test_free__inside_each_callback),
		CASE(test_free__inside_closed_from_a_flush),
		CASE(test_free__the_next_one_to_be_flushed),
		CASE(test_farewell__leaves_with_the_free),
		CASE(test_connect__sends_what_was_written_before),
		CASE(test_connect__freed_inside_connected),
		CASE(test_connect__refused),
		CASE(test_burst__memory_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
