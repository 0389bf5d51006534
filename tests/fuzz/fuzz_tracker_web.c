/* Goal: no request makes the tracker's web misbehave. What is parsed lies
 * inside the input; a request that is cut short is waited for or refused; an
 * answer has a head, the length that it says, and a body whose keys are sorted.
 * The input is a connection's bytes, answered one request after the other. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/bencode.h"
#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "tracker/server/http_site.h"

#define REQUESTS_MAX 16

struct world {
	struct tracker_policy policy;
	struct web_options options;
	struct http_site site;
	struct http_asker asker;
	struct web_counts counts;
};

static void no_stats(void *arg, struct web_stats *out)
{
	memset(out, 0, sizeof(*out));
}

static void set_up(struct world *w)
{
	struct swarms_options so = { .max_bytes = 1 << 20 };

	memset(w, 0, sizeof(*w));
	w->policy.swarms = swarms_new(&so, 1000);
	w->policy.interval_s = 1800;
	w->policy.min_interval_s = 900;
	w->policy.num_want = w->policy.max_want = 50;
	w->policy.domain = "bt.example";
	w->policy.allows_full_scrape = true;
	CHECK(subnet_parse("10.0.0.0/8", &w->policy.proxies[0]) == 0);
	w->policy.num_proxies = 1;
	w->options.policy = &w->policy;
	w->site.options = &w->options;
	w->site.policy = &w->policy;
	w->site.full = full_scrapes_new(w->policy.swarms);
	w->site.stats = no_stats;
	http_asker_init(&w->asker, &w->policy, &w->counts);
	w->asker.random.state = 1;
	w->asker.now_ms = 1000;
	CHECK(addr_parse("10.1.2.3", 0, &w->asker.source) == 0);
}

static void tear_down(struct world *w)
{
	http_asker_release(&w->asker);
	full_scrapes_free(w->site.full);
	swarms_free(w->policy.swarms);
}

static void check_span(struct span s, const uint8_t *bytes, size_t len)
{
	if (!s.len || (s.len == 1 && s.ptr[0] == '/')) /* may be a constant */
		return;
	CHECK(s.ptr >= bytes && s.ptr + s.len <= bytes + len);
}

static void check_sorted(struct bnode n)
{
	struct bwalk walk = bwalk_of(n);
	struct span key, last = { NULL, 0 };
	struct bnode value;

	while (bwalk_next(&walk, &key, &value)) {
		size_t len = key.len < last.len ? key.len : last.len;
		int order = last.ptr ? memcmp(last.ptr, key.ptr, len) : -1;

		CHECK(order < 0 || (!order && last.len < key.len));
		last = key;
		if (bnode_is_dict(value))
			check_sorted(value);
	}
}

static void check_body(const uint8_t *body, size_t len)
{
	const struct bencode_limits limits = { 8, 10000 };
	struct bnode n;
	size_t used;

	if (!len || body[0] != 'd')
		return;
	CHECK(bencode_parse(body, len, &limits, &n, &used, NULL) == 0);
	CHECK(used == len && bnode_is_dict(n));
	check_sorted(n);
}

static void check_answer(const struct buf *out, bool has_body)
{
	const uint8_t *end = memmem(out->ptr, out->len, "\r\n\r\n", 4);
	const char *at;

	CHECK(!out->is_broken && out->len > 12 && end);
	CHECK(!memcmp(out->ptr, "HTTP/1.1 ", 9));
	at = memmem(out->ptr, (size_t)(end - out->ptr), "Content-Length: ", 16);
	CHECK(at);
	end += 4;
	if (!has_body) {
		CHECK(end == out->ptr + out->len);
		return;
	}
	CHECK(strtoul(at + 16, NULL, 10) ==
	      (size_t)(out->ptr + out->len - end));
	check_body(end, (size_t)(out->ptr + out->len - end));
}

static void drain(struct full_scrape *full)
{
	struct buf out;
	bool goes_on;

	buf_init(&out, 0);
	do
		goes_on = full_scrape_next(full, &out);
	while (goes_on);
	CHECK(out.len && !out.is_broken);
	buf_release(&out);
	full_scrape_free(full);
}

/* Returns the bytes used; 0: no more is taken. */
static size_t try_one(struct world *w, const uint8_t *data, size_t size)
{
	struct full_scrape *full = NULL;
	struct http_head head;
	const char *why;
	unsigned status;
	struct buf out;
	int r = http_parse(data, size, &head, &status, &why);
	bool keeps = false;

	CHECK(r == 0 || r == -EAGAIN || r == -EBADMSG);
	if (r == -EAGAIN) {
		CHECK(size < LIMIT_WEB_HEAD_BYTES);
		return 0;
	}
	buf_init(&out, 0);
	if (r) {
		http_site_refuse(&w->site, &w->asker, status, why, &out);
	} else {
		CHECK(head.len <= size && head.len <= LIMIT_WEB_HEAD_BYTES);
		check_span(head.path, data, head.len);
		check_span(head.query, data, head.len);
		check_span(head.host, data, head.len);
		keeps = http_site_answer(&w->site, &w->asker, &head, &out,
					 &full);
	}
	if (full)
		drain(full);
	else
		check_answer(&out, r || head.method != HTTP_METHOD_HEAD);
	buf_release(&out);
	return keeps ? head.len : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w;
	size_t used;

	set_up(&w);
	for (unsigned i = 0; i < REQUESTS_MAX; i++) {
		used = try_one(&w, data, size);
		if (!used)
			break;
		data += used;
		size -= used;
	}
	tear_down(&w);
	return 0;
}
