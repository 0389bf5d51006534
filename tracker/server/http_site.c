#include "tracker/server/http_site.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "tracker/overlay/names.h"
#include "tracker/server/http_answer.h"
#include "tracker/server/http_pages.h"
#include "tracker/server/http_query.h"

/*
 * Policy of announces. Somebody who leaves is told nobody. Others get as many
 * peers of their own family as they want, and half as many of the other one
 * besides, for hosts of two families (BEP 7). The interval varies by a tenth
 * either way, so that clients which came together do not stay together. A full
 * tracker still answers and says that it did not list the peer. A scrape counts
 * like an announce where a subnet asks too often.
 */

#define PATH_KEY_BYTES 255

/* One request on its way through. */
struct ask {
	const struct http_site *site;
	struct http_asker *asker;
	const struct http_head *head;
	struct addr source; /* of who asks, behind proxies */
	struct span key;    /* KEY of the path; empty: none */
	struct http_reply reply;
	struct buf *out;
	struct full_scrape *full;
};

void http_asker_init(struct http_asker *a, const struct tracker_policy *policy,
		     struct web_counts *counts)
{
	memset(a, 0, sizeof(*a));
	random_bytes(&a->random.state, sizeof(a->random.state));
	a->counts = counts;
	a->peers = mem_alloc_array((size_t)policy->max_want + 1, 6 + 18);
}

void http_asker_release(struct http_asker *a)
{
	free(a->peers);
	memset(a, 0, sizeof(*a));
}

/* --- who asks --- */

static bool is_proxy(const struct tracker_policy *p, const struct addr *a)
{
	for (unsigned i = 0; i < p->num_proxies; i++)
		if (subnet_has(&p->proxies[i], a))
			return true;
	return false;
}

/* Takes the last hop of a list. False: it was empty. */
static bool last_hop(struct span *list, struct span *hop)
{
	const uint8_t *comma;
	size_t from;

	if (!list->ptr)
		return false;
	comma = list->len ? memrchr(list->ptr, ',', list->len) : NULL;
	from = comma ? (size_t)(comma + 1 - list->ptr) : 0;
	*hop = (struct span){ list->ptr + from, list->len - from };
	*list = comma ? (struct span){ list->ptr, from - 1 }
		      : (struct span){ NULL, 0 };
	while (hop->len && (hop->ptr[0] == ' ' || hop->ptr[0] == '\t'))
		*hop = (struct span){ hop->ptr + 1, hop->len - 1 };
	while (hop->len && (hop->ptr[hop->len - 1] == ' ' ||
			    hop->ptr[hop->len - 1] == '\t'))
		hop->len--;
	return true;
}

bool http_site_source(const struct tracker_policy *policy,
		      const struct http_head *head, const struct addr *source,
		      struct addr *out)
{
	char text[ADDR_STR_MAX];
	struct span list, hop;

	*out = *source;
	if (!is_proxy(policy, source))
		return true;
	for (unsigned i = head->num_forwarded; i-- > 0;) {
		list = head->forwarded[i];
		while (last_hop(&list, &hop)) {
			if (hop.len >= sizeof(text))
				return false;
			memcpy(text, hop.ptr, hop.len);
			text[hop.len] = 0;
			if (addr_parse(text, 0, out))
				return false;
			if (!is_proxy(policy, out))
				return true;
		}
	}
	return true;
}

static bool may_see_stats(const struct ask *q)
{
	const struct web_options *o = q->site->options;

	for (size_t i = 0; i < o->num_stats_from; i++)
		if (subnet_has(&o->stats_from[i], &q->source))
			return true;
	return !o->num_stats_from;
}

/* --- answers --- */

static void answer_text(struct ask *q, unsigned status, const char *why)
{
	q->reply.status = status;
	http_answer_text(q->out, &q->reply, why);
}

static void answer_failure(struct ask *q, const char *why, int retry_min)
{
	size_t mark = http_answer_begin(q->out);

	http_answer_failure(q->out, why, retry_min);
	http_answer_end(q->out, mark, &q->reply);
}

/* --- announce --- */

/* The place in the overlay that an announce names. */
static bool key_of(const struct ask *q, uint8_t out[20])
{
	const char *domain = q->site->policy->domain;
	char text[LIMIT_WEB_HOST_BYTES + 1];
	struct span host = q->head->host;
	const uint8_t *colon;
	struct kt_name name;
	struct kad_id id;
	int n;

	if (q->key.len) {
		n = http_unescape(q->key, (uint8_t *)text, PATH_KEY_BYTES);
		if (n < 1)
			return false;
		kt_key_id(text, (size_t)n, &id);
		memcpy(out, id.b, 20);
		return true;
	}
	colon = host.len ? memchr(host.ptr, ':', host.len) : NULL;
	if (colon)
		host.len = (size_t)(colon - host.ptr);
	if (!domain || !host.len || host.len >= sizeof(text))
		return false;
	memcpy(text, host.ptr, host.len);
	text[host.len] = 0;
	kt_name_parse(text, domain, &name);
	if (name.kind != KT_NAME_KEY && name.kind != KT_NAME_NODE)
		return false;
	memcpy(out, name.id.b, 20);
	return true;
}

static void tell_owners(const struct ask *q, const struct swarms_announce *a,
			const struct swarms_answer *said)
{
	struct tellq *tellq = q->site->policy->tellq;
	struct telling t = { .is_change = said->tell == SWARMS_TELL_CHANGE };

	if (!tellq || said->tell == SWARMS_TELL_NOTHING)
		return;
	t.record = (struct swarm_record){
		.infohash = a->infohash,
		.peer = a->peer,
		.state = said->state,
		.is_completion = t.is_change &&
				 said->state == SWARM_SEEDER_COMPLETED &&
				 a->event == ANNOUNCE_COMPLETED,
	};
	t.has_key = key_of(q, t.key);
	tellq_push(tellq, &t);
}

/* A local host of two families may name its other address (BEP 7). */
static void list_other(struct ask *q, const struct swarms_announce *first,
		       const struct addr *other)
{
	struct swarms_announce a = *first;
	struct swarms_answer said;

	if (!other->family || other->family == first->peer.family ||
	    addr_is_martian(other))
		return;
	a.peer = *other;
	a.want4 = a.want6 = 0;
	swarms_announce(q->site->policy->swarms, &a, 0, &said);
	tell_owners(q, &a, &said);
}

static unsigned varied(struct http_asker *asker, unsigned interval_s)
{
	unsigned tenth = interval_s / 10;

	return interval_s - tenth + prng_below(&asker->random, 2 * tenth + 1);
}

static void set_wants(const struct ask *q, const struct http_announce *said,
		      struct swarms_announce *a)
{
	const struct tracker_policy *p = q->site->policy;
	unsigned want = said->has_num_want ? said->num_want : p->num_want;

	if (want > p->max_want)
		want = p->max_want;
	if (said->event == ANNOUNCE_STOPPED)
		want = 0;
	a->want4 = a->peer.family == 4 ? want : want / 2;
	a->want6 = a->peer.family == 6 ? want : want / 2;
	a->out4 = q->asker->peers;
	a->out6 = q->asker->peers + 6 * (size_t)p->max_want;
}

/* The endpoint to be listed. NULL, or why there is none. */
static const char *peer_of(const struct ask *q,
			   const struct http_announce *said, bool is_local,
			   struct addr *out)
{
	*out = q->source;
	out->port = said->port;
	if (!is_local || !said->ip.family)
		return NULL;
	*out = said->ip;
	return addr_is_martian(out) ? "ip is nobody's address" : NULL;
}

static void answer_announce(struct ask *q, const struct http_announce *said)
{
	const struct tracker_policy *p = q->site->policy;
	bool is_local = addr_is_local(&q->source);
	struct swarms_announce a = {
		.infohash = said->infohash,
		.event = said->event,
		.is_seed = said->left == 0,
		.is_partial = said->is_partial && said->left != 0,
	};
	struct swarms_answer got;
	struct http_peers peers;
	const char *why = peer_of(q, said, is_local, &a.peer);
	size_t mark;

	if (why) {
		web_count(&q->asker->counts->failures);
		answer_failure(q, why, 0);
		return;
	}
	set_wants(q, said, &a);
	swarms_announce(p->swarms, &a, (uint32_t)prng_u64(&q->asker->random),
			&got);
	tell_owners(q, &a, &got);
	if (is_local) {
		list_other(q, &a, &said->ip4);
		list_other(q, &a, &said->ip6);
	}
	peers = (struct http_peers){
		.counts = got.counts,
		.interval_s = varied(q->asker, p->interval_s),
		.min_interval_s = p->min_interval_s,
		.external = q->source,
		.is_compact = said->is_compact,
		.says_peers6 = q->source.family == 6,
		.peers4 = a.out4,
		.peers6 = a.out6,
		.num4 = got.num4,
		.num6 = got.num6,
		.warning = got.is_full ? "this tracker is full and could not "
					 "list you"
				       : NULL,
	};
	mark = http_answer_begin(q->out);
	http_answer_peers(q->out, &peers);
	http_answer_end(q->out, mark, &q->reply);
	web_count(&q->asker->counts->announces);
}

static bool is_leaving(const struct http_site *site)
{
	return atomic_load_explicit(&site->policy->is_leaving,
				    memory_order_relaxed);
}

/* Answers, if the subnet of who asks does it too often. */
static bool is_limited(struct ask *q)
{
	const struct tracker_policy *p = q->site->policy;

	if (!p->limit || (!p->limits_private && addr_is_local(&q->source)) ||
	    subnet_limit_take(p->limit, q->asker->now_ms, &q->source))
		return false;
	web_count(&q->asker->counts->rate_limited);
	answer_failure(q, "too many requests from your network", 1);
	return true;
}

static void on_announce(struct ask *q)
{
	const struct tracker_policy *p = q->site->policy;
	struct web_counts *counts = q->asker->counts;
	struct http_announce said;
	const char *why;

	if (is_leaving(q->site)) {
		answer_failure(q, "this tracker is being restarted", 1);
		return;
	}
	if (is_limited(q))
		return;
	why = http_query_announce(q->head->query, &said);
	if (why) {
		web_count(&counts->failures);
		answer_failure(q, why, 0);
		return;
	}
	if (p->access && !access_allows(p->access, &said.infohash)) {
		web_count(&counts->denied);
		answer_failure(q, "this torrent is not tracked here",
			       HTTP_RETRY_NEVER);
		return;
	}
	answer_announce(q, &said);
}

/* --- scrape --- */

static void begin_full(struct ask *q)
{
	const struct tracker_policy *p = q->site->policy;
	struct full_options o = {
		.source = q->source,
		.is_exempt = !p->limits_private && addr_is_local(&q->source),
		.coding = q->head->takes_gzip      ? FULL_GZIP
			  : q->head->takes_deflate ? FULL_DEFLATE
						   : FULL_PLAIN,
		.is_chunked = q->head->minor == 1,
		.now_ms = q->asker->now_ms,
	};
	static const char *const codings[] = { NULL, "gzip", "deflate" };
	char retry[64];
	int64_t wait_ms;
	int r;

	r = full_scrape_new(q->site->full, &o, &q->full, &wait_ms);
	if (!r) {
		web_count(&q->asker->counts->full_scrapes);
		q->reply.keeps_alive &= o.is_chunked;
		http_answer_stream_head(q->out, &q->reply, codings[o.coding],
					o.is_chunked);
		return;
	}
	web_count(&q->asker->counts->rate_limited);
	if (wait_ms <= 0)
		wait_ms = 60000;
	snprintf(retry, sizeof(retry), "Retry-After: %u\r\n",
		 (unsigned)((wait_ms + 999) / 1000));
	q->reply.extra = retry;
	answer_text(q, r == -EAGAIN ? 429 : 503,
		    r == -EAGAIN ? "one full scrape every five minutes"
				 : "too many full scrapes at a time");
	q->reply.extra = NULL;
}

static void answer_scrape(struct ask *q, const struct infohash *hashes,
			  unsigned num)
{
	const struct tracker_policy *p = q->site->policy;
	size_t mark = http_answer_begin(q->out);
	struct swarms_counts counts;

	http_answer_scrape_begin(q->out);
	for (unsigned i = 0; i < num; i++)
		if ((!p->access || access_allows(p->access, &hashes[i])) &&
		    swarms_scrape(p->swarms, &hashes[i], &counts))
			http_answer_scrape_entry(q->out, &hashes[i], &counts);
	http_answer_scrape_end(q->out);
	http_answer_end(q->out, mark, &q->reply);
	web_count(&q->asker->counts->scrapes);
}

static void on_scrape(struct ask *q)
{
	struct infohash hashes[LIMIT_WEB_SCRAPE_HASHES];
	const char *why;
	unsigned num;

	if (is_limited(q))
		return;
	why = http_query_scrape(q->head->query, hashes, &num);
	if (!why && num) {
		answer_scrape(q, hashes, num);
		return;
	}
	if (!why && q->site->policy->allows_full_scrape && may_see_stats(q) &&
	    !q->reply.is_head_only) {
		begin_full(q);
		return;
	}
	web_count(&q->asker->counts->failures);
	answer_failure(q, why ? why : "info_hash is missing", 0);
}

/* --- pages --- */

static void on_page(struct ask *q, const char *type,
		    void (*fill)(const struct http_site *site, struct buf *out))
{
	size_t mark;

	if (!may_see_stats(q)) {
		answer_text(q, 403, "not for you");
		return;
	}
	q->reply.type = type;
	mark = http_answer_begin(q->out);
	fill(q->site, q->out);
	http_answer_end(q->out, mark, &q->reply);
}

static void on_index(struct ask *q)
{
	size_t mark;

	q->reply.type = "text/html; charset=utf-8";
	q->reply.extra = "Content-Security-Policy: default-src 'none'; "
			 "style-src 'unsafe-inline'\r\n";
	mark = http_answer_begin(q->out);
	http_page_index(q->site, q->head->host, q->asker->is_tls,
			may_see_stats(q), q->out);
	http_answer_end(q->out, mark, &q->reply);
}

static void on_robots(struct ask *q)
{
	size_t mark = http_answer_begin(q->out);

	http_page_robots(q->out);
	http_answer_end(q->out, mark, &q->reply);
}

/* --- which --- */

/* "/WORD" or "/KEY/WORD". */
static bool is_verb(struct ask *q, const char *word)
{
	struct span path = q->head->path;
	size_t len = strlen(word);
	struct span key;

	if (path.len < len + 1 ||
	    memcmp(path.ptr + path.len - len, word, len) != 0 ||
	    path.ptr[path.len - len - 1] != '/')
		return false;
	if (path.len == len + 1)
		return true;
	key = (struct span){ path.ptr + 1, path.len - len - 2 };
	if (!key.len || key.len > PATH_KEY_BYTES ||
	    memchr(key.ptr, '/', key.len))
		return false;
	q->key = key;
	return true;
}

static void route(struct ask *q)
{
	struct span path = q->head->path;

	if (is_verb(q, "announce"))
		on_announce(q);
	else if (is_verb(q, "scrape"))
		on_scrape(q);
	else if (path.len == 1)
		on_index(q);
	else if (http_span_is(path, "/stats.json"))
		on_page(q, "application/json", http_page_json);
	else if (http_span_is(path, "/metrics"))
		on_page(q, "text/plain; version=0.0.4; charset=utf-8",
			http_page_metrics);
	else if (http_span_is(path, "/robots.txt"))
		on_robots(q);
	else
		answer_text(q, 404,
			    "there are /announce, /scrape, /stats.json "
			    "and /metrics");
}

static void log_access(const struct ask *q)
{
	char ip[ADDR_STR_MAX], path[128], query[256], when[32];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	log_vis(q->head->path.ptr, q->head->path.len, path, sizeof(path));
	log_vis(q->head->query.ptr, q->head->query.len, query, sizeof(query));
	printf("%s %s \"%s%s%s\" %u\n", when, addr_ip_str(&q->source, ip), path,
	       query[0] ? "?" : "", query, q->reply.status);
}

bool http_site_answer(const struct http_site *site, struct http_asker *asker,
		      const struct http_head *head, struct buf *out,
		      struct full_scrape **full)
{
	struct ask q = {
		.site = site,
		.asker = asker,
		.head = head,
		.out = out,
		.reply = { .status = 200,
			   .type = "text/plain",
			   .keeps_alive =
				   head->keeps_alive && !is_leaving(site),
			   .is_head_only = head->method == HTTP_METHOD_HEAD },
	};

	*full = NULL;
	web_count(&asker->counts->requests);
	if (!http_site_source(site->policy, head, &asker->source, &q.source)) {
		q.reply.keeps_alive = false;
		answer_text(&q, 400, "X-Forwarded-For holds no address");
	} else if (head->method == HTTP_METHOD_OTHER) {
		q.reply.keeps_alive = false;
		q.reply.extra = "Allow: GET, HEAD\r\n";
		answer_text(&q, 405, "GET and HEAD are understood here");
	} else {
		route(&q);
	}
	if (site->policy->is_access_logged)
		log_access(&q);
	*full = q.full;
	return q.reply.keeps_alive;
}

void http_site_refuse(const struct http_site *site, struct http_asker *asker,
		      unsigned status, const char *why, struct buf *out)
{
	struct http_reply reply = { .status = status };

	web_count(&asker->counts->malformed);
	http_answer_text(out, &reply, why);
}
