/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/kept_socket.h. Control thread. */
#include "disk/kept_socket.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fdstore.h"
#include "base/kept_name.h"

/* One byte more than the kernel fills, which ends a path that has no end of its own. */
static void find_path(int fd, struct kept_socket_there *there)
{
	struct sockaddr_un addr = {0};
	socklen_t size = sizeof(addr);

	static_assert(sizeof(there->path) > sizeof(addr.sun_path), "it has an end");
	if (!getsockname(fd, (struct sockaddr *)&addr, &size) && addr.sun_family == AF_UNIX)
		memcpy(there->path, addr.sun_path, sizeof(addr.sun_path));
}

void kept_sockets_open(struct kept_sockets *sockets)
{
	const char *name;

	*sockets = (struct kept_sockets){.on = fdstore_is_kept()};
	for (unsigned i = 0; (name = fdstore_name(i)); i++) {
		struct kept_socket_there *more;
		uint32_t number;

		if (!kept_name_parse(name, KEPT_SOCKET, &number))
			continue;
		if (number > sockets->last)
			sockets->last = number;
		more = reallocarray(sockets->there, sockets->n_there + 1, sizeof(*more));
		if (!more)
			continue; /* it is made again */
		sockets->there = more;
		more[sockets->n_there] = (struct kept_socket_there){.number = number};
		find_path(fdstore_look(i), &more[sockets->n_there++]);
	}
}

int kept_socket_take(struct kept_sockets *sockets, struct kept_socket *socket, const char *path)
{
	char name[KEPT_NAME_SIZE];
	int fd;

	for (unsigned i = 0; path && i < sockets->n_there; i++) {
		struct kept_socket_there *there = &sockets->there[i];

		if (!*there->path || strcmp(there->path, path) != 0)
			continue;
		*there->path = '\0';
		kept_name_make(name, KEPT_SOCKET, there->number);
		fd = fdstore_take(name);
		socket->number = fd < 0 ? 0 : there->number;
		return fd < 0 ? -1 : fd;
	}
	return -1;
}

void kept_socket_keep(struct kept_sockets *sockets, struct kept_socket *socket, int fd)
{
	char name[KEPT_NAME_SIZE];

	if (!sockets->on || socket->number)
		return;
	kept_name_make(name, KEPT_SOCKET, ++sockets->last);
	if (!fdstore_keep(fd, name))
		socket->number = sockets->last;
}

void kept_socket_forget(const struct kept_sockets *sockets, struct kept_socket *socket)
{
	char name[KEPT_NAME_SIZE];

	if (!socket->number || atomic_load(&sockets->restarts))
		return;
	kept_name_make(name, KEPT_SOCKET, socket->number);
	fdstore_forget(name);
	socket->number = 0;
}
