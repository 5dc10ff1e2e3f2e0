/* SPDX-License-Identifier: BSD-3-Clause */
/* See api/metrics_server.h. */
#include "api/metrics_server.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/routes.h"
#include "base/log.h"

/* Splits "host:port", or "[host]:port", in place. false: it is neither. */
static bool split(char *text, char **host, char **port)
{
	char *colon = strrchr(text, ':');
	const size_t length = colon ? (size_t)(colon - text) : 0;

	if (length < 2)
		return false;
	*colon = '\0';
	*host = text;
	*port = colon + 1;
	if (text[0] == '[' && text[length - 1] == ']') {
		text[length - 1] = '\0';
		*host = text + 1;
	} else if (strchr(text, ':')) {
		return false; /* which is the port's is anybody's guess */
	}
	return true;
}

/* 0 and the addresses, or -EINVAL. Numbers only: a name server is not waited for. */
static int resolve(const char *address, struct addrinfo **info)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
				       .ai_socktype = SOCK_STREAM};
	char text[128], *host, *port;

	if (snprintf(text, sizeof(text), "%s", address) >= (int)sizeof(text) ||
	    !split(text, &host, &port) || getaddrinfo(host, port, &hints, info))
		return -EINVAL;
	return 0;
}

/* A listening descriptor, or -errno. */
static int listen_at(const struct addrinfo *info)
{
	const int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;
	int err = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, info->ai_addr, info->ai_addrlen) || listen(fd, SOMAXCONN))
		err = -errno;
	if (err)
		close(fd);
	return err ? err : fd;
}

/* The same; the error is logged. */
static int find_address(const char *address, struct addrinfo **info)
{
	const int err = resolve(address, info);

	if (err)
		log_error("--metrics-address: '%s' is not ADDRESS:PORT, as 127.0.0.1:9100 or "
			  "[::1]:9100",
			  address);
	return err;
}

int metrics_check(const char *address)
{
	struct addrinfo *info;
	const int err = find_address(address, &info);

	if (!err)
		freeaddrinfo(info);
	return err;
}

int metrics_start(struct http **httpp, const char *address, const struct api_view *view)
{
	struct addrinfo *info;
	int fd, err = find_address(address, &info);

	*httpp = NULL;
	if (err)
		return err;
	fd = listen_at(info);
	freeaddrinfo(info);
	err = fd < 0 ? fd : http_start(httpp, view->loop, fd, routes_answer_metrics, (void *)view);
	if (err)
		log_error("--metrics-address: cannot listen at %s: %s", address, strerror(-err));
	return err;
}
