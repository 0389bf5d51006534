/* Goal: no bytes over TCP make the DNS bridge read what is not there, or write
 * an answer that is longer than its room, or not to the question. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "engine/base/check.h"
#include "engine/base/limits.h"
#include "tracker/overlay/dns_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const struct dns_zone zone = { .domain = "bt.example.org",
					      .port = 6969,
					      .has_txt = true };
	struct kt_owner owners[8] = { { .id = { { 1 } } } };
	struct dns_known known = { owners, 8, 1 };
	uint8_t out[LIMIT_DNS_ANSWER_BYTES];
	struct dns_question question;
	struct dns_answer answer;
	struct dns_query q, again;
	size_t n;

	if (dns_wire_read(bytes, len, &q))
		return 0;
	CHECK(q.has_question && strlen(q.name) < DNS_NAME_BYTES);
	for (unsigned i = 0; i < 8; i++) {
		owners[i].addr.family = i % 2 ? 6 : 4;
		owners[i].addr.ip[0] = 10;
		owners[i].tr.udp_port = 6969;
	}
	dns_question_read(&zone, q.name, q.type, q.class, &question);
	dns_answer_make(&zone, &question, &known, &answer);
	n = dns_wire_write(out, sizeof(out), &q, &answer);
	CHECK(n >= DNS_HEADER_BYTES);
	CHECK(dns_wire_read(out, n, &again) < 0); /* it is an answer */
	out[2] &= 0x7f;
	CHECK(dns_wire_read(out, n, &again) == DNS_NOERROR);
	CHECK(!strcmp(again.name, q.name) && again.type == q.type);
	return 0;
}
