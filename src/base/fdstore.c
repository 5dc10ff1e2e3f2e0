/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See base/fdstore.h. Owns what was taken over and not yet taken. The environment is that of
 * whoever starts us, and no more trusted than a command line: what it says is checked.
 */
#include "base/fdstore.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/control_chars.h"
#include "base/notify.h"

#define OURS "v."

static struct {
	bool is_kept;
	char **name; /* of all n; NULL: there are none */
	int *fd;     /* -1: it has been taken */
	unsigned n;
	unsigned next; /* after what was taken last: who takes all goes through them once */
} came;

/* ---- the environment ---- */

static bool says_a_number(const char *variable)
{
	const char *text = getenv(variable);
	char *end;

	return text && *text >= '0' && *text <= '9' && strtoul(text, &end, 10) > 0 && !*end;
}

static bool is_ours(const char *name)
{
	return !strncmp(name, OURS, strlen(OURS));
}

static void free_names(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

/* Has LISTEN_FDS and LISTEN_FDNAMES speak of the first n alone. */
static int limit_to(unsigned n, char *const *names)
{
	size_t size = 1;
	char number[16], *list, *end;
	int err = 0;

	for (unsigned i = 0; i < n; i++)
		size += strlen(names[i]) + 1;
	list = malloc(size);
	if (!list)
		return -ENOMEM;
	*list = '\0';
	end = list;
	for (unsigned i = 0; i < n; i++)
		end += sprintf(end, "%s%s", i ? ":" : "", names[i]);
	snprintf(number, sizeof(number), "%u", n);
	if (setenv("LISTEN_FDS", number, 1) || setenv("LISTEN_FDNAMES", list, 1))
		err = -ENOMEM;
	free(list);
	return err;
}

static void forget_activation(void)
{
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	unsetenv("LISTEN_PIDFDID");
}

/* Takes names and descriptors from the first on over; `names` becomes ours if all goes well. */
static int take_over(char **names, unsigned first, unsigned n)
{
	int *fd = malloc((n - first) * sizeof(*fd));
	int err = fd ? 0 : -ENOMEM;

	if (!err && first)
		err = limit_to(first, names);
	if (err) {
		free(fd);
		return err;
	}
	if (!first)
		forget_activation();
	for (unsigned i = first; i < n; i++)
		fd[i - first] = SD_LISTEN_FDS_START + (int)i;
	for (unsigned i = 0; i < first; i++)
		free(names[i]);
	memmove(names, names + first, (n - first + 1) * sizeof(*names));
	came.name = names;
	came.fd = fd;
	came.n = n - first;
	return 0;
}

int fdstore_open(void)
{
	char **names = NULL;
	int n, err = 0;
	unsigned first = 0;

	came.is_kept = getenv("NOTIFY_SOCKET") &&
		       (says_a_number("FDSTORE") ||
			(!getenv("FDSTORE") && says_a_number("VUBLKD_FDSTORE")));
	n = sd_listen_fds_with_names(0, &names);
	if (n <= 0)
		return n;
	while (first < (unsigned)n && !is_ours(names[first]))
		first++;
	if (first < (unsigned)n)
		err = take_over(names, first, (unsigned)n);
	if (err || first == (unsigned)n)
		free_names(names);
	return err;
}

bool fdstore_is_kept(void)
{
	return came.is_kept;
}

/* ---- what the keeper is told ---- */

/* Can it stand in a message? */
static bool is_name(const char *name)
{
	if (strlen(name) > FDSTORE_NAME_MAX)
		return false;
	for (; *name; name++)
		if (is_control_char(*name) || (unsigned char)*name > 0x7f || *name == ':')
			return false;
	return true;
}

static int tell(const char *what, const char *name, int fd)
{
	const char *address = getenv("NOTIFY_SOCKET");
	char text[64 + FDSTORE_NAME_MAX];

	if (!came.is_kept || !address)
		return -EOPNOTSUPP;
	snprintf(text, sizeof(text), "%s\nFDNAME=%s", what, name);
	return notify_send(address, text, fd);
}

int fdstore_keep(int fd, const char *name)
{
	if (fd < 0 || !is_ours(name) || !is_name(name))
		return -EINVAL;
	return tell("FDSTORE=1\nFDPOLL=0", name, fd);
}

int fdstore_forget(const char *name)
{
	if (!is_ours(name) || !is_name(name))
		return -EINVAL;
	return tell("FDSTOREREMOVE=1", name, -1);
}

/* ---- what came ---- */

const char *fdstore_name(unsigned i)
{
	return i < came.n ? came.name[i] : NULL;
}

int fdstore_look(unsigned i)
{
	return i < came.n ? came.fd[i] : -1;
}

int fdstore_take(const char *name)
{
	for (unsigned k = 0; k < came.n; k++) {
		const unsigned i = (came.next + k) % came.n;
		const int fd = came.fd[i];

		if (fd < 0 || strcmp(came.name[i], name) != 0)
			continue;
		came.fd[i] = -1;
		came.next = i + 1;
		return fd;
	}
	return -ENOENT;
}

static bool one_was_taken(const char *name)
{
	for (unsigned i = 0; i < came.n; i++)
		if (came.fd[i] < 0 && !strcmp(came.name[i], name))
			return true;
	return false;
}

unsigned fdstore_drop_rest(void)
{
	unsigned dropped = 0;
	bool listens = true; /* who does not read is not waited for each time */

	for (unsigned i = 0; i < came.n; i++) {
		if (came.fd[i] < 0)
			continue;
		if (listens && is_name(came.name[i]) && !one_was_taken(came.name[i]))
			listens = !tell("FDSTOREREMOVE=1", came.name[i], -1);
		close(came.fd[i]);
		dropped++;
	}
	free_names(came.name);
	free(came.fd);
	came.name = NULL;
	came.fd = NULL;
	came.n = came.next = 0;
	return dropped;
}
