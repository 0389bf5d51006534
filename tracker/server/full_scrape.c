#include "tracker/server/full_scrape.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "engine/base/limits.h"
#include "engine/base/mem.h"
#include "tracker/server/http_answer.h"

#define SHARDS_A_PART  64
#define ENTRIES_A_PART 512

/* --- who may --- */

struct past {
	struct addr source; /* family 0: free */
	int64_t at_ms;
};

struct full_scrapes {
	pthread_mutex_t lock;
	struct swarms *swarms;                    /* borrowed */
	unsigned running;                         /* LOCK */
	struct past past[LIMIT_WEB_FULL_SOURCES]; /* LOCK */
};

struct full_scrapes *full_scrapes_new(struct swarms *swarms)
{
	struct full_scrapes *f = mem_alloc(sizeof(*f));

	pthread_mutex_init(&f->lock, NULL);
	f->swarms = swarms;
	return f;
}

void full_scrapes_free(struct full_scrapes *f)
{
	if (!f)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* One host may use all of its /64. */
static struct addr source_of(const struct addr *a)
{
	struct addr s = *a;

	s.port = 0;
	if (s.family == 6)
		memset(s.ip + 8, 0, 8);
	return s;
}

/* The source's entry, or else a free or outdated one. NULL: all are in use, so
 * many had one lately that the next waits, too. Lock held. */
static struct past *past_of(struct full_scrapes *f, const struct addr *source,
			    int64_t now_ms)
{
	struct past *empty = NULL;

	for (size_t i = 0; i < LIMIT_WEB_FULL_SOURCES; i++) {
		struct past *p = &f->past[i];

		if (p->source.family && addr_ip_eq(&p->source, source))
			return p;
		if (!empty && (!p->source.family ||
			       now_ms - p->at_ms >= LIMIT_WEB_FULL_MS))
			empty = p;
	}
	if (empty)
		empty->source.family = 0;
	return empty;
}

static int admit(struct full_scrapes *f, const struct full_options *o,
		 int64_t *wait_ms)
{
	struct addr source = source_of(&o->source);
	struct past *p = NULL;

	if (f->running == LIMIT_WEB_FULL_RUNNING)
		return -EBUSY;
	if (!o->is_exempt) {
		p = past_of(f, &source, o->now_ms);
		if (!p)
			return -EBUSY;
		if (p->source.family) {
			*wait_ms = p->at_ms + LIMIT_WEB_FULL_MS - o->now_ms;
			if (*wait_ms > 0)
				return -EAGAIN;
		}
		*p = (struct past){ source, o->now_ms };
	}
	f->running++;
	return 0;
}

/* --- one of them --- */

struct entry {
	struct infohash infohash;
	struct swarms_counts counts;
};

enum phase {
	PHASE_COLLECT, /* shards [shard, SWARMS_SHARDS) are still to be seen */
	PHASE_SEND,    /* entries [sent, num) are */
	PHASE_END,
};

struct full_scrape {
	struct full_scrapes *all; /* borrowed */
	enum phase phase;
	unsigned shard;
	struct entry *entries; /* owned */
	size_t num, room, sent;
	bool has_more;  /* some above the last one kept: another pass follows */
	bool is_broken; /* no memory: cut short, so that the client sees it */
	bool has_begun, has_last, is_chunked, is_coded;
	struct infohash last; /* has_last: sent in an earlier pass */
	struct buf plain;     /* not yet coded or framed */
	struct buf coded;
	z_stream z; /* is_coded */
};

static void release_place(struct full_scrapes *f)
{
	pthread_mutex_lock(&f->lock);
	f->running--;
	pthread_mutex_unlock(&f->lock);
}

int full_scrape_new(struct full_scrapes *f, const struct full_options *options,
		    struct full_scrape **out, int64_t *wait_ms)
{
	int window = options->coding == FULL_GZIP ? 15 + 16 : 15;
	struct full_scrape *s;
	int r;

	*wait_ms = 0;
	pthread_mutex_lock(&f->lock);
	r = admit(f, options, wait_ms);
	pthread_mutex_unlock(&f->lock);
	if (r)
		return r;
	s = mem_alloc(sizeof(*s));
	s->all = f;
	s->is_chunked = options->is_chunked;
	buf_init(&s->plain, 0);
	buf_init(&s->coded, 0);
	/* Infohashes do not shrink; the words around them do at any level. */
	if (options->coding != FULL_PLAIN &&
	    deflateInit2(&s->z, 1, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) !=
		    Z_OK) {
		release_place(f);
		free(s);
		return -ENOMEM;
	}
	s->is_coded = options->coding != FULL_PLAIN;
	*out = s;
	return 0;
}

void full_scrape_free(struct full_scrape *s)
{
	if (!s)
		return;
	release_place(s->all);
	if (s->is_coded)
		deflateEnd(&s->z);
	buf_release(&s->plain);
	buf_release(&s->coded);
	free(s->entries);
	free(s);
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct infohash)); /* it comes first */
}

/* A shard's lock is held: only appends. */
static void on_swarm(void *arg, const struct swarm_view *v)
{
	struct full_scrape *s = arg;

	if (s->has_last && memcmp(v->infohash, &s->last, sizeof(s->last)) <= 0)
		return;
	if (s->num == s->room) {
		size_t room = s->room ? s->room * 2 : 1024;
		struct entry *more =
			realloc(s->entries, room * sizeof(*s->entries));

		if (!more) {
			s->is_broken = true;
			return;
		}
		s->entries = more;
		s->room = room;
	}
	s->entries[s->num++] = (struct entry){ *v->infohash, v->counts };
}

static void keep_smallest(struct full_scrape *s)
{
	if (s->num)
		qsort(s->entries, s->num, sizeof(*s->entries), compare);
	if (s->num > LIMIT_WEB_FULL_SORTED) {
		s->num = LIMIT_WEB_FULL_SORTED;
		s->has_more = true;
	}
}

static void collect(struct full_scrape *s)
{
	for (unsigned i = 0; i < SHARDS_A_PART; i++, s->shard++) {
		if (s->shard == SWARMS_SHARDS) {
			keep_smallest(s);
			s->sent = 0;
			s->phase = PHASE_SEND;
			return;
		}
		swarms_visit(s->all->swarms, s->shard, on_swarm, s);
		if (s->num >= (size_t)2 * LIMIT_WEB_FULL_SORTED)
			keep_smallest(s);
	}
}

static void send_entries(struct full_scrape *s)
{
	for (unsigned i = 0; i < ENTRIES_A_PART && s->sent < s->num; i++) {
		struct entry *e = &s->entries[s->sent++];

		http_answer_scrape_entry(&s->plain, &e->infohash, &e->counts);
	}
	if (s->sent < s->num)
		return;
	if (!s->has_more) {
		http_answer_scrape_end(&s->plain);
		s->phase = PHASE_END;
		return;
	}
	s->last = s->entries[s->num - 1].infohash;
	s->has_last = true;
	s->has_more = false;
	s->num = 0;
	s->shard = 0;
	s->phase = PHASE_COLLECT;
}

/* All of PLAIN goes through zlib; what comes out of it is appended. */
static void code(struct full_scrape *s, bool is_last)
{
	const size_t room = 16384;
	int r;

	s->z.next_in = s->plain.ptr;
	s->z.avail_in = (unsigned)s->plain.len;
	do {
		uint8_t *to = buf_reserve(&s->coded, room);

		if (!to)
			return;
		s->z.next_out = to;
		s->z.avail_out = room;
		r = deflate(&s->z, is_last ? Z_FINISH : Z_NO_FLUSH);
		s->coded.len += room - s->z.avail_out;
	} while (r == Z_OK && (s->z.avail_in || !s->z.avail_out || is_last));
}

bool full_scrape_next(struct full_scrape *s, struct buf *out)
{
	struct buf *ready = s->is_coded ? &s->coded : &s->plain;
	bool is_last;

	buf_clear(&s->plain);
	buf_clear(&s->coded);
	if (!s->has_begun)
		http_answer_scrape_begin(&s->plain);
	s->has_begun = true;
	if (s->phase == PHASE_COLLECT)
		collect(s);
	else if (s->phase == PHASE_SEND)
		send_entries(s);
	is_last = s->phase == PHASE_END;
	if (s->is_coded)
		code(s, is_last);
	if (ready->len && s->is_chunked)
		buf_printf(out, "%zx\r\n", ready->len);
	buf_add(out, ready->ptr, ready->len);
	if (ready->len && s->is_chunked)
		buf_add_str(out, "\r\n");
	if (is_last && s->is_chunked)
		buf_add_str(out, "0\r\n\r\n");
	if (ready->is_broken || s->is_broken)
		out->is_broken = true;
	return !is_last;
}
