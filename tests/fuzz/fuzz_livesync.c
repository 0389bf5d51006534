/* Goal: no datagram of the livesync group makes the parser misbehave; what it
 * accepts says the same when it is written and read again. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "engine/base/check.h"
#include "tracker/server/livesync_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct livesync_parsed first, second;
	struct livesync_batch batch;

	if (livesync_parse(data, size, &first))
		return 0;
	CHECK(first.num + first.martians <= LIMIT_LIVESYNC_RECORDS);
	CHECK((first.num + first.martians) * LIVESYNC_RECORD4 < size);
	if (!first.num)
		return 0;
	livesync_batch_init(&batch, (enum livesync_type)data[7],
			    first.tracker_id);
	for (unsigned i = 0; i < first.num; i++)
		CHECK(livesync_batch_add(&batch, &first.records[i]));
	CHECK(batch.len <= size);
	CHECK(!livesync_parse(batch.bytes, batch.len, &second));
	CHECK(second.num == first.num && !second.martians);
	CHECK(second.tracker_id == first.tracker_id);
	for (unsigned i = 0; i < first.num; i++) {
		const struct swarm_record *a = &first.records[i];
		const struct swarm_record *b = &second.records[i];

		CHECK(infohash_eq(&a->infohash, &b->infohash));
		CHECK(addr_eq(&a->peer, &b->peer));
		CHECK(!addr_is_martian(&a->peer));
		CHECK(a->state == b->state && !a->age_min);
		CHECK(a->is_completion == b->is_completion);
	}
	return 0;
}
