/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors that go along with a message. */
#ifndef FE_FDS_H
#define FE_FDS_H

#include <string.h>
#include <sys/socket.h>

#define FE_FDS_MOST 253 /* of the kernel's, SCM_MAX_FD */

union fe_fds_room {
	char bytes[CMSG_SPACE(FE_FDS_MOST * sizeof(int))];
	struct cmsghdr aligned;
};

/* Has these n go along; the room has to live as long. */
static inline void fe_pass_fds(struct msghdr *message, union fe_fds_room *room, const int *fds,
			       unsigned n)
{
	if (!n)
		return;
	*room = (union fe_fds_room){{0}};
	message->msg_control = room;
	message->msg_controllen = CMSG_SPACE(n * sizeof(*fds));
	room->aligned.cmsg_level = SOL_SOCKET;
	room->aligned.cmsg_type = SCM_RIGHTS;
	room->aligned.cmsg_len = CMSG_LEN(n * sizeof(*fds));
	memcpy(CMSG_DATA(&room->aligned), fds, n * sizeof(*fds));
}

#endif
