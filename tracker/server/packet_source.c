#include "tracker/server/packet_source.h"

#include <errno.h>
#include <string.h>

/*
 * Policy. The way out is the kernel's choice, as it is for all that we send:
 * the interface that a datagram came by is forgotten. Link-local addresses are
 * the exception, for they mean nothing without one. What was sent to a
 * multicast group is answered from an address that the kernel chooses.
 */

bool packet_source_is_wildcard(const struct addr *bound)
{
	static const uint8_t any[16];

	return !memcmp(bound->ip, any, bound->family == 4 ? 4 : 16);
}

int packet_source_ask(int fd, unsigned family)
{
	int one = 1, r;

	if (family == 6)
		r = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one,
			       sizeof(one));
	else
		r = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	return r ? -errno : 0;
}

static struct in_pktinfo *info4(struct msghdr *h)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);

	return c && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO &&
			       c->cmsg_len ==
				       CMSG_LEN(sizeof(struct in_pktinfo))
		       ? (struct in_pktinfo *)CMSG_DATA(c)
		       : NULL;
}

static struct in6_pktinfo *info6(struct msghdr *h)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);

	return c && c->cmsg_level == IPPROTO_IPV6 &&
			       c->cmsg_type == IPV6_PKTINFO &&
			       c->cmsg_len ==
				       CMSG_LEN(sizeof(struct in6_pktinfo))
		       ? (struct in6_pktinfo *)CMSG_DATA(c)
		       : NULL;
}

void packet_source_reply(struct msghdr *answer, struct msghdr *received)
{
	struct in_pktinfo *i4 = info4(received);
	struct in6_pktinfo *i6 = info6(received);
	bool is_known = i4 != NULL;

	if (i4)
		i4->ipi_ifindex = 0;
	if (i6) {
		is_known = !IN6_IS_ADDR_MULTICAST(&i6->ipi6_addr);
		if (!IN6_IS_ADDR_LINKLOCAL(&i6->ipi6_addr))
			i6->ipi6_ifindex = 0;
	}
	answer->msg_control = is_known ? received->msg_control : NULL;
	answer->msg_controllen = is_known ? received->msg_controllen : 0;
}

void packet_source_read(struct msghdr *received, struct addr *out)
{
	const struct in_pktinfo *i4 = info4(received);
	const struct in6_pktinfo *i6 = info6(received);

	*out = (struct addr){ 0 };
	if (i4) {
		out->family = 4;
		memcpy(out->ip, &i4->ipi_spec_dst, 4);
	} else if (i6 && !IN6_IS_ADDR_MULTICAST(&i6->ipi6_addr) &&
		   !IN6_IS_ADDR_LINKLOCAL(&i6->ipi6_addr)) {
		out->family = 6;
		memcpy(out->ip, &i6->ipi6_addr, 16);
	}
}

/* Returns where the data go. */
static void *put(struct msghdr *h, int level, int type, size_t len)
{
	struct cmsghdr *c = h->msg_control;

	h->msg_controllen = CMSG_SPACE(len);
	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	return CMSG_DATA(c);
}

void packet_source_set(struct msghdr *h, const struct addr *a,
		       union packet_source *room)
{
	memset(room, 0, sizeof(*room));
	h->msg_control = a->family ? room : NULL;
	h->msg_controllen = 0;
	if (a->family == 4) {
		struct in_pktinfo *i = put(h, IPPROTO_IP, IP_PKTINFO,
					   sizeof(struct in_pktinfo));

		memcpy(&i->ipi_spec_dst, a->ip, 4);
	} else if (a->family == 6) {
		struct in6_pktinfo *i = put(h, IPPROTO_IPV6, IPV6_PKTINFO,
					    sizeof(struct in6_pktinfo));

		memcpy(&i->ipi6_addr, a->ip, 16);
	}
}
