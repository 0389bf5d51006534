/*
 * The first 21 bits of an id are those of CRC-32C over the address, of which
 * only some bits count, so that an owner of a subnet cannot choose at will. For
 * IPv4 it is over four bytes: that is what the vectors of BEP 42 say, whatever
 * its text does.
 */
#include "dht/secure_id.h"

#include "engine/base/crc32c.h"

static uint32_t prefix_of(const struct addr *ip, uint8_t random)
{
	static const uint8_t mask4[4] = { 0x03, 0x0f, 0x3f, 0xff };
	static const uint8_t mask6[8] = { 0x01, 0x03, 0x07, 0x0f,
					  0x1f, 0x3f, 0x7f, 0xff };
	size_t len = ip->family == 4 ? 4 : 8;
	uint8_t b[8];

	for (size_t i = 0; i < len; i++)
		b[i] = ip->ip[i] & (len == 4 ? mask4[i] : mask6[i]);
	b[0] |= (uint8_t)((random & 7) << 5);
	return crc32c(b, len);
}

void secure_id_make(struct kad_id *id, const struct addr *ip, uint8_t random)
{
	uint32_t crc = prefix_of(ip, random);

	id->b[0] = (uint8_t)(crc >> 24);
	id->b[1] = (uint8_t)(crc >> 16);
	id->b[2] = (uint8_t)((crc >> 8 & 0xf8) | (id->b[2] & 7));
	id->b[19] = random;
}

bool secure_id_check(const struct kad_id *id, const struct addr *ip)
{
	uint32_t crc = prefix_of(ip, id->b[19]);

	return ((load_be32(id->b) ^ crc) & 0xfffff800u) == 0;
}
