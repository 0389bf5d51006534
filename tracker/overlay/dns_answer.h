/* tracker/overlay/dns_answer.h: what the DNS bridge says to a question, as a
 * rule and not as bytes (RFC 1034, 1035, 2308, BEP 34). The policy stands on
 * top of dns_answer.c. No I/O, no state. Any thread. */
#pragma once

#include "tracker/overlay/kt.h"

#define DNS_NAME_BYTES    256 /* a name as text, with its zero byte */
#define DNS_TTL_S         30  /* of every record; owners come and go */
#define DNS_OWNERS_MAX    3   /* told of a KEY */
#define DNS_MEMBERS_MAX   8   /* told of root.DOMAIN; fits into 512 bytes */
#define DNS_RECORDS_MAX   12
#define DNS_MEMBERS_KNOWN 64 /* that are looked at */
#define DNS_RDATA_BYTES   64
#define DNS_CLASS_IN      1

/* The numbers of RFC 1035 and those after it. */
enum dns_type {
	DNS_A = 1,
	DNS_NS = 2,
	DNS_SOA = 6,
	DNS_TXT = 16,
	DNS_AAAA = 28,
};

enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
};

enum dns_section {
	DNS_ANSWER,
	DNS_AUTHORITY,
	DNS_ADDITIONAL,
};

struct dns_zone {
	const char *domain; /* borrowed; lower case */
	/* Trackers that serve announces elsewhere are not told, for an address
	 * record carries no port. 0: any port. */
	uint16_t port;
	bool has_txt; /* BEP 34 */
};

/* What must be known to answer. */
enum dns_need {
	DNS_NEED_NOTHING,
	DNS_NEED_OWNERS, /* of question.name.id */
	DNS_NEED_MEMBERS,
};

struct dns_question {
	char name[DNS_NAME_BYTES]; /* as it was asked, its cases too */
	unsigned type, class;
	/* Set by dns_question_read. */
	struct kt_name what;
	unsigned server; /* 1..3: ns1.DOMAIN and so on; 0: none of them */
	bool is_refused;
	enum dns_need need;
};

struct dns_record {
	enum dns_section section;
	unsigned type;
	char name[DNS_NAME_BYTES];
	/* As it is sent, in a message where the question's name stands at
	 * offset 12, unpacked: names in it end in pointers there. */
	uint8_t data[DNS_RDATA_BYTES];
	size_t len;
};

struct dns_answer {
	enum dns_rcode rcode;
	bool is_authoritative;
	struct dns_record records[DNS_RECORDS_MAX];
	unsigned num;
};

/* What NAME, TYPE, CLASS ask for, and what must be known for an answer. NAME
 * may have a dot at its end. */
void dns_question_read(const struct dns_zone *zone, const char *name,
		       unsigned type, unsigned class, struct dns_question *out);

struct dns_known {
	const struct kt_owner *owners; /* or members, as needed; in order */
	unsigned num;   /* 0: the overlay says nothing, nor did it of late */
	uint32_t epoch; /* serial number of the zone */
};

/* KNOWN may be NULL where nothing was needed. */
void dns_answer_make(const struct dns_zone *zone, const struct dns_question *q,
		     const struct dns_known *known, struct dns_answer *out);
