/*
 * What is said.
 *
 * A KEY has the addresses of its first DNS_OWNERS_MAX owners, in order of
 * their ranks; KEY--rN that of rank N alone; a HEX.node those of the owners of
 * that place; root.DOMAIN those of the live trackers, at most DNS_MEMBERS_MAX.
 * An address of the other family is no answer, and no error either: the name
 * exists (NODATA).
 *
 * The zone's name servers are ns1 to ns3.DOMAIN. They are the live trackers
 * with the smallest ids, so that all trackers name the same ones.
 *
 * A name below DOMAIN that means nothing does not exist. One that means
 * something exists even if nobody can be found now: then the server failed.
 * Resolvers remember "does not exist" and go elsewhere after "failed".
 *
 * Refused: what is not below DOMAIN (this is no resolver), zone transfers,
 * ANY, and classes other than IN. TXT of BEP 34 tells clients where else they
 * may look, and some obey it too well: it is an option.
 */
#include "tracker/overlay/dns_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/base/bytes.h"
#include "engine/base/check.h"

#define SERVERS         3
#define TYPE_META_FIRST 249 /* TKEY, TSIG, IXFR, AXFR, MAILB, MAILA, ANY */
#define TYPE_META_LAST  255
#define HEADER_BYTES    12

#define SOA_REFRESH_S 3600
#define SOA_RETRY_S   600
#define SOA_EXPIRE_S  86400
#define SOA_MINIMUM_S 30 /* how long "does not exist" is remembered */

/* --- questions --- */

/* The N of nsN.DOMAIN, or 0. */
static unsigned server_of(const char *name, size_t below)
{
	if (below != 4 || strncasecmp(name, "ns", 2) != 0 || name[2] < '1' ||
	    name[2] > '0' + SERVERS)
		return 0;
	return (unsigned)(name[2] - '0');
}

static bool wants_address(unsigned type)
{
	return type == DNS_A || type == DNS_AAAA;
}

static enum dns_need need_of(const struct dns_question *q)
{
	if (q->is_refused)
		return DNS_NEED_NOTHING;
	if (q->what.kind == KT_NAME_APEX)
		return q->type == DNS_NS ? DNS_NEED_MEMBERS : DNS_NEED_NOTHING;
	if (!wants_address(q->type))
		return DNS_NEED_NOTHING;
	if (q->server || q->what.kind == KT_NAME_ROOT)
		return DNS_NEED_MEMBERS;
	if (q->what.kind == KT_NAME_KEY || q->what.kind == KT_NAME_NODE)
		return DNS_NEED_OWNERS;
	return DNS_NEED_NOTHING;
}

void dns_question_read(const struct dns_zone *zone, const char *name,
		       unsigned type, unsigned class, struct dns_question *out)
{
	size_t len = strlen(name), below = strlen(zone->domain);

	memset(out, 0, sizeof(*out));
	if (len && name[len - 1] == '.')
		len--;
	out->type = type;
	out->class = class;
	if (len >= sizeof(out->name)) {
		out->is_refused = true;
		return;
	}
	memcpy(out->name, name, len);
	kt_name_parse(out->name, zone->domain, &out->what);
	out->is_refused = class != DNS_CLASS_IN ||
			  out->what.kind == KT_NAME_FOREIGN ||
			  (type >= TYPE_META_FIRST && type <= TYPE_META_LAST);
	if (out->what.kind == KT_NAME_KEY)
		out->server = server_of(out->name, len - below);
	out->need = need_of(out);
}

/* --- records --- */

static struct dns_record *add(struct dns_answer *a, enum dns_section section,
			      unsigned type, const char *name)
{
	struct dns_record *r = &a->records[a->num];

	CHECK(a->num < DNS_RECORDS_MAX);
	a->num++;
	r->section = section;
	r->type = type;
	r->len = 0;
	snprintf(r->name, sizeof(r->name), "%s", name);
	return r;
}

/* DOMAIN as it stands at the end of the question. */
static const char *apex_of(const struct dns_zone *zone,
			   const struct dns_question *q)
{
	return q->name + strlen(q->name) - strlen(zone->domain);
}

/* LABEL.DOMAIN, with a pointer for DOMAIN: a byte of length takes the place of
 * each dot, so offsets are those of the text. */
static void put_name(struct dns_record *r, const char *label,
		     const struct dns_question *q, const char *apex)
{
	size_t len = strlen(label);
	size_t at = HEADER_BYTES + (size_t)(apex - q->name);

	CHECK(r->len + len + 3 <= sizeof(r->data));
	r->data[r->len] = (uint8_t)len;
	memcpy(r->data + r->len + 1, label, len);
	store_be16(r->data + r->len + 1 + len, (uint16_t)(0xc000 | at));
	r->len += len + 3;
}

static void put_u32(struct dns_record *r, uint32_t v)
{
	CHECK(r->len + 4 <= sizeof(r->data));
	store_be32(r->data + r->len, v);
	r->len += 4;
}

static void add_soa(const struct dns_zone *zone, const struct dns_question *q,
		    uint32_t epoch, enum dns_section section,
		    struct dns_answer *a)
{
	const char *apex = apex_of(zone, q);
	struct dns_record *r = add(a, section, DNS_SOA, apex);

	put_name(r, "ns1", q, apex);
	put_name(r, "hostmaster", q, apex);
	put_u32(r, epoch);
	put_u32(r, SOA_REFRESH_S);
	put_u32(r, SOA_RETRY_S);
	put_u32(r, SOA_EXPIRE_S);
	put_u32(r, SOA_MINIMUM_S);
}

static void add_address(struct dns_answer *a, enum dns_section section,
			const char *name, const struct addr *addr)
{
	bool is_v6 = addr->family == 6;
	struct dns_record *r = add(a, section, is_v6 ? DNS_AAAA : DNS_A, name);

	r->len = is_v6 ? 16 : 4;
	memcpy(r->data, addr->ip, r->len);
}

/* --- who may be told --- */

static bool can_be_told(const struct dns_zone *zone, const struct kt_owner *o)
{
	if ((o->addr.family != 4 && o->addr.family != 6) ||
	    addr_is_unspecified(&o->addr) || addr_is_multicast(&o->addr))
		return false;
	return !zone->port || o->tr.http_port == zone->port ||
	       o->tr.https_port == zone->port || o->tr.udp_port == zone->port;
}

static unsigned told(const struct dns_zone *zone, const struct dns_known *known,
		     const struct kt_owner **out, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; known && i < known->num && n < max; i++) {
		if (can_be_told(zone, &known->owners[i]))
			out[n++] = &known->owners[i];
	}
	return n;
}

static int by_id(const void *a, const void *b)
{
	const struct kt_owner *const *x = a, *const *y = b;

	return memcmp((*x)->id.b, (*y)->id.b, sizeof((*x)->id.b));
}

/* --- answers --- */

static void add_no_data(const struct dns_zone *zone,
			const struct dns_question *q, uint32_t epoch,
			struct dns_answer *a)
{
	add_soa(zone, q, epoch, DNS_AUTHORITY, a);
}

static void answer_apex(const struct dns_zone *zone,
			const struct dns_question *q,
			const struct kt_owner **who, unsigned n, uint32_t epoch,
			struct dns_answer *a)
{
	char label[8], name[DNS_NAME_BYTES + sizeof(label)];
	const char *apex = apex_of(zone, q);

	if (q->type == DNS_SOA)
		add_soa(zone, q, epoch, DNS_ANSWER, a);
	else if (q->type != DNS_NS)
		add_no_data(zone, q, epoch, a);
	else if (!n)
		a->rcode = DNS_SERVFAIL;
	if (q->type != DNS_NS)
		return;
	for (unsigned i = 0; i < n && i < SERVERS; i++) {
		snprintf(label, sizeof(label), "ns%u", i + 1);
		put_name(add(a, DNS_ANSWER, DNS_NS, apex), label, q, apex);
	}
	for (unsigned i = 0; i < n && i < SERVERS; i++) {
		snprintf(name, sizeof(name), "ns%u.%s", i + 1, apex);
		name[DNS_NAME_BYTES - 1] = 0;
		add_address(a, DNS_ADDITIONAL, name, &who[i]->addr);
	}
}

/* Addresses of the question's family among WHO[from..to). */
static void answer_addresses(const struct dns_zone *zone,
			     const struct dns_question *q,
			     const struct kt_owner **who, unsigned from,
			     unsigned to, uint32_t epoch, struct dns_answer *a)
{
	int family = q->type == DNS_AAAA ? 6 : 4;

	for (unsigned i = from; i < to; i++) {
		if (who[i]->addr.family == family && a->num < DNS_MEMBERS_MAX)
			add_address(a, DNS_ANSWER, q->name, &who[i]->addr);
	}
	if (!a->num)
		add_no_data(zone, q, epoch, a);
}

static void answer_txt(const struct dns_zone *zone,
		       const struct dns_question *q, uint32_t epoch,
		       struct dns_answer *a)
{
	struct dns_record *r;
	char text[48];
	int n;

	if (!zone->has_txt || !zone->port || q->what.kind != KT_NAME_KEY ||
	    q->server) {
		add_no_data(zone, q, epoch, a);
		return;
	}
	n = snprintf(text, sizeof(text), "BITTORRENT UDP:%u TCP:%u", zone->port,
		     zone->port);
	r = add(a, DNS_ANSWER, DNS_TXT, q->name);
	r->data[0] = (uint8_t)n;
	memcpy(r->data + 1, text, (size_t)n);
	r->len = (size_t)n + 1;
}

static void answer_needed(const struct dns_zone *zone,
			  const struct dns_question *q,
			  const struct kt_owner **who, unsigned n,
			  uint32_t epoch, struct dns_answer *a)
{
	bool is_root = q->what.kind == KT_NAME_ROOT;
	unsigned from = 0, to = is_root ? DNS_MEMBERS_MAX : DNS_OWNERS_MAX;

	if (!n) {
		a->rcode = DNS_SERVFAIL;
		return;
	}
	if (q->server) {
		from = q->server - 1;
		to = from + 1;
	} else if (q->what.kind == KT_NAME_KEY && q->what.rank >= 0) {
		from = (unsigned)q->what.rank;
		to = from + 1;
	}
	answer_addresses(zone, q, who, from, to < n ? to : n, epoch, a);
}

void dns_answer_make(const struct dns_zone *zone, const struct dns_question *q,
		     const struct dns_known *known, struct dns_answer *a)
{
	const struct kt_owner *who[DNS_MEMBERS_KNOWN];
	uint32_t epoch = known ? known->epoch : 0;
	unsigned n;

	a->rcode = DNS_NOERROR;
	a->num = 0;
	a->is_authoritative = !q->is_refused;
	if (q->is_refused) {
		a->rcode = DNS_REFUSED;
		return;
	}
	if (q->what.kind == KT_NAME_BAD) {
		a->rcode = DNS_NXDOMAIN;
		add_soa(zone, q, epoch, DNS_AUTHORITY, a);
		return;
	}
	n = told(zone, known, who, DNS_MEMBERS_KNOWN);
	if (q->server || q->what.kind == KT_NAME_APEX)
		qsort(who, n, sizeof(*who), by_id);
	if (q->what.kind == KT_NAME_APEX)
		answer_apex(zone, q, who, n, epoch, a);
	else if (q->need != DNS_NEED_NOTHING)
		answer_needed(zone, q, who, n, epoch, a);
	else if (q->type == DNS_TXT)
		answer_txt(zone, q, epoch, a);
	else
		add_no_data(zone, q, epoch, a);
	if (a->rcode == DNS_SERVFAIL)
		a->is_authoritative = false;
}
