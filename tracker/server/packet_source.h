/* tracker/server/packet_source.h: the address of ours that a datagram came to,
 * and that its answer has to leave from. A socket that is bound to one address
 * knows; one that is bound to a wildcard learns it from control data of each
 * datagram, and says it with each answer. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "engine/base/addr.h"

/* Room for the control data of one datagram. */
union packet_source {
	struct cmsghdr head; /* for its alignment */
	uint8_t v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
	uint8_t v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

bool packet_source_is_wildcard(const struct addr *bound);

/* The socket gives control data from now on. Returns 0 or -errno. */
int packet_source_ask(int fd, unsigned family);

/* ANSWER leaves from where RECEIVED came to, and borrows RECEIVED's control
 * data until it is sent. If that says nothing, the kernel chooses. */
void packet_source_reply(struct msghdr *answer, struct msghdr *received);

/* Family 0: not known. No port. */
void packet_source_read(struct msghdr *received, struct addr *out);

/* H leaves from A, which packet_source_read gave; family 0: as the kernel
 * chooses. ROOM is borrowed until it is sent. */
void packet_source_set(struct msghdr *h, const struct addr *a,
		       union packet_source *room);
