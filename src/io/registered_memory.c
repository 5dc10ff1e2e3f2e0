/* SPDX-License-Identifier: BSD-3-Clause */
/* See io/registered_memory.h. */
#include "io/registered_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define MS         INT64_C(1000000)
#define FIRST_WAIT (1000 * MS)
#define LAST_WAIT  (64000 * MS)
#define TRIES      40 /* of 1 ms; a tick is 10 at most */

static int64_t ns(struct timespec ts)
{
	return (int64_t)ts.tv_sec * 1000 * MS + ts.tv_nsec;
}

/* For how long has nothing changed the file? Negative: since a time that is still to come. */
static int64_t left_alone(const struct stat *st)
{
	const int64_t m = ns(st->st_mtim), c = ns(st->st_ctim);
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return ns(now) - (m > c ? m : c);
}

static bool same_times(const struct stat *a, const struct stat *b)
{
	return ns(a->st_mtim) == ns(b->st_mtim) && ns(a->st_ctim) == ns(b->st_ctim);
}

/*
 * Times of before the present tick. False: it is changed all the time, or the clock was set back.
 */
static bool look_when_settled(int fd, struct stat *st)
{
	for (unsigned i = 0; i < TRIES; i++) {
		if (fstat(fd, st))
			return false;
		if (left_alone(st) > 0)
			return true;
		nanosleep(&(struct timespec){.tv_nsec = MS}, NULL);
	}
	return false;
}

/* Do holes show in the times of this file? */
static bool shows_holes(int fd)
{
	struct statfs fs;

	return fd >= 0 && !fstatfs(fd, &fs) && fs.f_type == TMPFS_MAGIC;
}

static void forget_files(struct registered_memory *memory)
{
	for (unsigned i = 0; i < memory->n_files; i++)
		close(memory->file[i].fd);
	free(memory->file);
	free(memory->range);
	memory->file = NULL;
	memory->range = NULL;
	memory->n_files = memory->n_ranges = 0;
}

void registered_memory_clear(struct registered_memory *memory)
{
	forget_files(memory);
	*memory = (struct registered_memory){0};
}

/* ---- a new set ---- */

/* A range that is to be registered, and what is known of its file. */
struct candidate {
	int fd;
	struct stat st;
	bool watchable; /* st is valid, and holes will show */
	bool carried;   /* registered already, and so it stays */
};

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static const struct memory_file *find(const struct memory_file *file, unsigned n,
				      const struct stat *st)
{
	for (unsigned i = 0; i < n; i++)
		if (same_file(&file[i].as, st))
			return &file[i];
	return NULL;
}

static bool is_registered(const struct registered_memory *memory, const struct iovec *range)
{
	for (unsigned i = 0; i < memory->n_ranges; i++)
		if (memory->range[i].iov_base == range->iov_base &&
		    memory->range[i].iov_len == range->iov_len)
			return true;
	return false;
}

/* Our own first touch changes times, too: now, not later. What cannot be had is found out later. */
static void make_present(const struct iovec *range)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)range->iov_base;
	const uintptr_t start = at & ~(page - 1);

	madvise((void *)start, range->iov_len + (at - start), MADV_POPULATE_WRITE);
}

static void judge(const struct registered_memory *memory, struct candidate *c,
		  const struct iovec *range, int fd)
{
	*c = (struct candidate){.fd = fd};
	c->watchable = shows_holes(fd) && !fstat(fd, &c->st);
	c->carried = c->watchable && is_registered(memory, range);
	if (c->watchable && !c->carried)
		make_present(range);
}

static bool any_carried(const struct candidate *c, unsigned n, const struct stat *st)
{
	for (unsigned i = 0; i < n; i++)
		if (c[i].carried && same_file(&c[i].st, st))
			return true;
	return false;
}

/* Adds a candidate's file to the new list. 1: done, 0: it cannot be watched, -1: not just now. */
static int add_file(struct registered_memory *next, const struct registered_memory *memory,
		    const struct candidate *all, unsigned n, const struct candidate *c)
{
	struct memory_file *file = &next->file[next->n_files];
	const struct memory_file *known = find(memory->file, memory->n_files, &c->st);

	if (!c->watchable)
		return 0;
	if (find(next->file, next->n_files, &c->st))
		return 1;
	if (known && any_carried(all, n, &c->st))
		file->as = known->as;
	else if (!look_when_settled(c->fd, &file->as))
		return -1;
	file->fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
	if (file->fd < 0)
		return 0;
	next->n_files++;
	return 1;
}

static void suspect(struct registered_memory *memory)
{
	memory->state = MEMORY_SUSPECT;
	memory->pause = memory->pause ? 2 * memory->pause : FIRST_WAIT;
	if (memory->pause > LAST_WAIT)
		memory->pause = LAST_WAIT;
	memory->retry_at = now_ns() + memory->pause;
}

unsigned registered_memory_set(struct registered_memory *memory, struct iovec *ranges,
			       const int *fds, unsigned n)
{
	struct candidate *all = calloc(n + 1, sizeof(*all));
	struct registered_memory next = *memory;
	bool settled = true;

	if (memory->state != MEMORY_FRESH)
		n = 0;
	next.n_files = next.n_ranges = 0;
	next.file = calloc(n + 1, sizeof(*next.file));
	next.range = calloc(n + 1, sizeof(*next.range));
	if (!all || !next.file || !next.range)
		n = 0;
	for (unsigned i = 0; i < n; i++)
		judge(memory, &all[i], &ranges[i], fds[i]);
	for (unsigned i = 0; i < n; i++) {
		const int added = add_file(&next, memory, all, n, &all[i]);

		settled &= added >= 0;
		if (added > 0)
			next.range[next.n_ranges++] = ranges[i];
	}
	if (memory->state == MEMORY_FRESH) {
		forget_files(memory);
		*memory = next;
	} else {
		free(next.file);
		free(next.range);
	}
	free(all);
	if (!settled)
		suspect(memory);
	if (memory->state != MEMORY_FRESH)
		return 0;
	if (n)
		memcpy(ranges, memory->range, memory->n_ranges * sizeof(*ranges));
	return memory->n_ranges;
}

/* ---- looking ---- */

static enum memory_change look(struct registered_memory *memory)
{
	enum memory_change change = MEMORY_SAME;

	for (unsigned i = 0; i < memory->n_files; i++) {
		const struct memory_file *file = &memory->file[i];
		struct stat st;

		if (fstat(file->fd, &st) || st.st_size < file->as.st_size ||
		    st.st_blocks < file->as.st_blocks)
			return MEMORY_PUNCHED;
		if (!same_times(&st, &file->as))
			change = MEMORY_TOUCHED;
	}
	return change;
}

/* Nobody has changed the files for a while? */
static bool all_left_alone(const struct registered_memory *memory)
{
	for (unsigned i = 0; i < memory->n_files; i++) {
		struct stat st;

		if (fstat(memory->file[i].fd, &st) || left_alone(&st) < FIRST_WAIT / 2)
			return false;
	}
	return true;
}

static enum memory_change check_suspect(struct registered_memory *memory)
{
	const int64_t now = now_ns();

	if (now < memory->retry_at)
		return MEMORY_SAME;
	if (look(memory) == MEMORY_PUNCHED) {
		memory->state = MEMORY_GIVEN_UP;
		return MEMORY_PUNCHED;
	}
	memory->retry_at = now + FIRST_WAIT;
	if (!all_left_alone(memory))
		return MEMORY_SAME;
	/* Nothing is registered: the times of before mean nothing any more. */
	forget_files(memory);
	memory->state = MEMORY_FRESH;
	return MEMORY_CAN_COME;
}

enum memory_change registered_memory_check(struct registered_memory *memory)
{
	enum memory_change change;

	if (memory->state == MEMORY_GIVEN_UP)
		return MEMORY_SAME;
	if (memory->state == MEMORY_SUSPECT)
		return check_suspect(memory);
	change = look(memory);
	if (change == MEMORY_TOUCHED)
		suspect(memory);
	else if (change == MEMORY_PUNCHED)
		memory->state = MEMORY_GIVEN_UP;
	return change;
}
