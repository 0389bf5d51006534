/* A question's name is never packed: nothing stands before it to point at. A
 * label with a dot or a zero in it would be another name as text, and is no
 * name of ours. */
#include "tracker/overlay/dns_wire.h"

#include <errno.h>
#include <string.h>

#include "engine/base/cursor.h"

#define FLAG_QR     0x8000
#define FLAG_OPCODE 0x7800
#define FLAG_AA     0x0400
#define FLAG_RD     0x0100
#define LABEL_MAX   63
#define POINTER     0xc000

/* --- in --- */

static bool read_name(struct cursor *c, char out[DNS_NAME_BYTES])
{
	size_t len = 0;

	for (;;) {
		uint8_t n = cursor_u8(c);
		struct span label;

		if (c->is_bad || n > LABEL_MAX)
			return false;
		if (!n)
			break;
		label = cursor_span(c, n);
		if (c->is_bad || len + n + 2 > DNS_NAME_BYTES ||
		    memchr(label.ptr, '.', n) || memchr(label.ptr, 0, n))
			return false;
		if (len)
			out[len++] = '.';
		memcpy(out + len, label.ptr, n);
		len += n;
	}
	out[len] = 0;
	return true;
}

int dns_wire_read(const uint8_t *bytes, size_t len, struct dns_query *out)
{
	struct cursor c = cursor_of(bytes, len);
	unsigned flags, questions;

	memset(out, 0, sizeof(*out));
	out->id = cursor_be16(&c);
	flags = cursor_be16(&c);
	questions = cursor_be16(&c);
	cursor_skip(&c, 6);
	if (c.is_bad || (flags & FLAG_QR))
		return -EBADMSG;
	out->wants_recursion = flags & FLAG_RD;
	if (flags & FLAG_OPCODE)
		return DNS_NOTIMP;
	if (questions != 1 || !read_name(&c, out->name))
		return DNS_FORMERR;
	out->type = cursor_be16(&c);
	out->class = cursor_be16(&c);
	out->has_question = !c.is_bad;
	return c.is_bad ? DNS_FORMERR : DNS_NOERROR;
}

/* --- out --- */

/* NAME, or its end, as a pointer into the question where it stands there. */
static void put_name(struct wcursor *w, const char *name, const char *asked)
{
	size_t all = strlen(asked);

	while (*name) {
		size_t len = strlen(name), n = strcspn(name, ".");

		if (asked[0] && len <= all &&
		    !strcmp(asked + all - len, name) &&
		    (len == all || asked[all - len - 1] == '.')) {
			wcursor_be16(w, (uint16_t)(POINTER | (DNS_HEADER_BYTES +
							      all - len)));
			return;
		}
		wcursor_u8(w, (uint8_t)n);
		wcursor_copy(w, name, n);
		name += n + (name[n] == '.');
	}
	wcursor_u8(w, 0);
}

static void put_header(struct wcursor *w, const struct dns_query *q,
		       const struct dns_answer *a)
{
	unsigned in_section[3] = { 0 };

	for (unsigned i = 0; i < a->num; i++)
		in_section[a->records[i].section]++;
	wcursor_be16(w, q->id);
	wcursor_be16(w,
		     (uint16_t)(FLAG_QR | (a->is_authoritative ? FLAG_AA : 0) |
				(q->wants_recursion ? FLAG_RD : 0) |
				(unsigned)a->rcode));
	wcursor_be16(w, q->has_question);
	for (unsigned i = 0; i < 3; i++)
		wcursor_be16(w, (uint16_t)in_section[i]);
}

size_t dns_wire_write(uint8_t *out, size_t size, const struct dns_query *q,
		      const struct dns_answer *a)
{
	struct wcursor w = wcursor_of(out, size);

	put_header(&w, q, a);
	if (q->has_question) {
		put_name(&w, q->name, "");
		wcursor_be16(&w, (uint16_t)q->type);
		wcursor_be16(&w, (uint16_t)q->class);
	}
	/* Records stand in order of their sections. */
	for (unsigned i = 0; i < a->num; i++) {
		const struct dns_record *r = &a->records[i];

		put_name(&w, r->name, q->name);
		wcursor_be16(&w, (uint16_t)r->type);
		wcursor_be16(&w, DNS_CLASS_IN);
		wcursor_be32(&w, DNS_TTL_S);
		wcursor_be16(&w, (uint16_t)r->len);
		wcursor_copy(&w, r->data, r->len);
	}
	return w.is_bad ? 0 : wcursor_len(&w);
}
