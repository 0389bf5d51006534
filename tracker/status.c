#include "tracker/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/buf.h"
#include "engine/base/log.h"

#define TAIL_MAX 32 /* of the line: ],"left_out":N} */

const char *status_short_url(const char *url, char out[STATUS_URL_MAX])
{
	const char *colon = strstr(url, "://");
	const char *host = colon ? colon + 3 : url;
	size_t scheme_len = (size_t)(host - url), len = strcspn(host, "/?#");
	const char *at = memrchr(host, '@', len);
	char raw[STATUS_URL_MAX];

	if (at) { /* user:password@ */
		len -= (size_t)(at + 1 - host);
		host = at + 1;
	}
	snprintf(raw, sizeof(raw), "%.*s%.*s", (int)scheme_len, url, (int)len,
		 host);
	return log_vis(raw, strlen(raw), out, STATUS_URL_MAX);
}

/* S has been through log_vis: what JSON would mind is a backslash. */
static void add_string(struct buf *b, const char *key, const char *s)
{
	buf_printf(b, "\"%s\":\"", key);
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			buf_add_str(b, "\\");
		buf_add(b, s, 1);
	}
	buf_add_str(b, "\",");
}

static void add_number(struct buf *b, const char *key, int64_t v, bool is_known)
{
	if (is_known)
		buf_printf(b, "\"%s\":%" PRId64 ",", key, v);
	else
		buf_printf(b, "\"%s\":null,", key);
}

static const char *state_name(const struct tier_entry *e)
{
	if (e->is_busy)
		return "announcing";
	switch (e->state) {
	case TIER_NEW:
		return "new";
	case TIER_WORKING:
		return "working";
	case TIER_FAILING:
		return "failing";
	case TIER_REFUSED:
		return "refused";
	}
	return "";
}

static void add_entry(struct buf *b, const struct tier_entry *e, int64_t now_ms)
{
	char url[LIMIT_URL_BYTES * 4 + 1];
	int64_t next_ms =
		e->state == TIER_WORKING ? e->next_ms : e->not_before_ms;
	int64_t next_s = next_ms > now_ms ? (next_ms - now_ms) / 1000 : 0;

	buf_add_str(b, "{");
	add_string(b, "url", log_vis(e->url, strlen(e->url), url, sizeof(url)));
	add_number(b, "tier", e->tier, true);
	add_string(b, "state", state_name(e));
	add_string(b, "error", e->error);
	if (e->owner[0])
		add_string(b, "owner", e->owner);
	add_number(b, "seeders", e->seeders, e->seeders >= 0);
	add_number(b, "leechers", e->leechers, e->leechers >= 0);
	add_number(b, "next_s", next_s,
		   !e->is_busy && e->state != TIER_REFUSED);
	b->len--; /* the last comma */
	buf_add_str(b, "}");
}

void status_describe(const struct tiers *t, int64_t now_ms, char *out,
		     size_t size)
{
	static const char head[] = "{\"trackers\":[";
	size_t len = sizeof(head) - 1, i;
	struct buf b;

	if (size < sizeof(head) + TAIL_MAX) {
		if (size)
			out[0] = '\0';
		return;
	}
	memcpy(out, head, len);
	buf_init(&b, 0);
	for (i = 0; i < t->num; i++) {
		buf_clear(&b);
		if (i)
			buf_add_str(&b, ",");
		add_entry(&b, t->ladder[i], now_ms);
		if (len + b.len + TAIL_MAX > size)
			break;
		memcpy(out + len, b.ptr, b.len);
		len += b.len;
	}
	buf_release(&b);
	snprintf(out + len, size - len, "],\"left_out\":%zu}", t->num - i);
}
