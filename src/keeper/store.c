/* SPDX-License-Identifier: BSD-3-Clause */
/* See keeper/store.h. */
#include "keeper/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/host_limits.h"
#include "base/log.h"

int store_init(struct store *store, unsigned most, size_t names_most)
{
	*store = (struct store){.most = most, .names_most = names_most};
	store->kept = calloc(most ? most : 1, sizeof(*store->kept));
	if (!store->kept || file_index_init(&store->files, most))
		return -ENOMEM;
	store->epoll = epoll_create1(EPOLL_CLOEXEC);
	return store->epoll < 0 ? -errno : 0;
}

/* ---- is it kept already? ---- */

/*
 * The same file by the same name? That is what can be said without the kernel's help; inodes that
 * all of a kind share, as those of eventfds, have no type.
 */
static bool is_like(const struct kept *a, const struct kept *b)
{
	struct stat st_a, st_b;

	return !strcmp(a->name, b->name) && !fstat(a->fd, &st_a) && !fstat(b->fd, &st_b) &&
	       st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino &&
	       (st_a.st_mode & S_IFMT) && fcntl(a->fd, F_GETFL) == fcntl(b->fd, F_GETFL);
}

static bool one_is_like(const struct store *store, const struct kept *new)
{
	for (unsigned i = 0; i < store->n; i++)
		if (is_like(&store->kept[i], new))
			return true;
	return false;
}

/* ---- in and out ---- */

static int refuse(const struct store *store, const char *name, int err)
{
	static struct log_limit limit;

	if (!log_limit_ok(&limit, LOG_LEVEL_WARNING, "descriptors that cannot be kept"))
		return err;
	if (err == -EMFILE)
		log_warning(
			"cannot keep '%s': %u descriptors are kept, and RLIMIT_NOFILE (systemd: "
			"LimitNOFILE=) allows no more",
			name, store->n);
	else if (err == -E2BIG)
		log_warning("cannot keep '%s': the names of the %u descriptors that are kept leave "
			    "no room for it in the environment of the next process",
			    name, store->n);
	else
		log_warning("cannot keep '%s': %s%s", name, strerror(-err),
			    limits_advice(LIMITS_DESCRIPTOR, err));
	return err;
}

/* What cannot be watched (EPERM: a file, or memory) never hangs up. */
static int watch(const struct store *store, struct kept *kept)
{
	struct epoll_event event = {.data.fd = kept->fd};

	if (!epoll_ctl(store->epoll, EPOLL_CTL_ADD, kept->fd, &event))
		kept->watched = true;
	else if (errno != EPERM)
		return -errno;
	return 0;
}

static int check_room(const struct store *store, const char *name)
{
	if (store->n >= store->most)
		return -EMFILE;
	if (store->names_size + strlen(name) + 1 > store->names_most)
		return -E2BIG;
	return 0;
}

/* 0: it is in; 1: it was already; or -errno. */
static int add(struct store *store, struct kept *new, bool poll)
{
	unsigned at = 0;
	const int found = file_index_find(&store->files, new->fd, &at);
	int err;

	if (found > 0 || (found < 0 && one_is_like(store, new)))
		return 1;
	err = check_room(store, new->name);
	if (!err && poll)
		err = watch(store, new);
	if (err)
		return err;
	if (!found)
		file_index_insert(&store->files, at, new->fd);
	store->kept[store->n++] = *new;
	store->names_size += strlen(new->name) + 1;
	return 0;
}

int store_add(struct store *store, int fd, const char *name, bool poll)
{
	struct kept new = {.fd = fd, .name = strdup(name)};
	const int err = new.name ? add(store, &new, poll) : -ENOMEM;

	if (!err)
		return 0;
	close(fd);
	free(new.name);
	return err < 0 ? refuse(store, name, err) : 0;
}

static void drop(struct store *store, unsigned i)
{
	struct kept *kept = &store->kept[i];

	/* As long as anybody has the open file, the child perhaps, it would stay watched. */
	if (kept->watched)
		epoll_ctl(store->epoll, EPOLL_CTL_DEL, kept->fd, NULL);
	file_index_remove(&store->files, kept->fd);
	store->names_size -= strlen(kept->name) + 1;
	close(kept->fd);
	free(kept->name);
	store->n--;
	memmove(kept, kept + 1, (store->n - i) * sizeof(*kept));
}

unsigned store_remove(struct store *store, const char *name)
{
	unsigned n = 0;

	for (unsigned i = store->n; i-- > 0;) {
		if (strcmp(store->kept[i].name, name) != 0)
			continue;
		drop(store, i);
		n++;
	}
	return n;
}

static void drop_fd(struct store *store, int fd)
{
	for (unsigned i = 0; i < store->n; i++) {
		if (store->kept[i].fd != fd)
			continue;
		log_debug("'%s' has hung up and is dropped", store->kept[i].name);
		drop(store, i);
		return;
	}
}

void store_drop_hung_up(struct store *store)
{
	struct epoll_event event;

	/* One at a time: none is of a descriptor that has just been closed. */
	while (epoll_wait(store->epoll, &event, 1, 0) > 0)
		drop_fd(store, event.data.fd);
}
