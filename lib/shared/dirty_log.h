/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The log of dirty pages, in memory that the front-end shares while it migrates the guest: a bit
 * for each page of guest-physical memory, which whoever writes there sets and the front-end clears
 * ("Migration" of vhost-user.rst). Reference-counted, as memory is (shared/mem.h).
 *
 * A page is marked after it was written: the front-end clears the bit before it copies the page, so
 * that one of two copies, this or the next, has what was written.
 *
 * The control thread makes logs, any thread marks.
 */
#ifndef SHARED_DIRTY_LOG_H
#define SHARED_DIRTY_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "proto.h"

#define VHU_DIRTY_PAGE 4096u /* bytes that a bit stands for, whatever pages the host has */

struct vhu_dirty_log;

/*
 * Maps a log ("Log description") of a memory file. `signal_fd`, or -1, is to be signalled when
 * something was marked (SET_LOG_FD). Both descriptors stay the caller's. 0 and one reference, or:
 * -EINVAL (logged under `name`) if it is empty, or not all in its file; -errno.
 */
int vhu_dirty_log_new(struct vhu_dirty_log **logp, const char *name, const struct vhu_log *desc,
		      int fd, int signal_fd);

/* The same log, in a new mapping, with another descriptor to be signalled. As above. */
int vhu_dirty_log_renew(struct vhu_dirty_log **logp, const char *name,
			const struct vhu_dirty_log *log, int signal_fd);

/* One reference more, one less; NULL is allowed. */
struct vhu_dirty_log *vhu_dirty_log_get(struct vhu_dirty_log *log);
void vhu_dirty_log_put(struct vhu_dirty_log *log);

/* Has the front-end truncated it, so that it was replaced (shared/guard.h)? NULL: no. */
bool vhu_dirty_log_is_lost(const struct vhu_dirty_log *log);

/*
 * Marks the pages of `size` bytes (> 0) at a guest-physical address, which does not wrap around.
 * What lies beyond the log's end cannot be marked: that is logged, once.
 */
void vhu_dirty_log_mark(struct vhu_dirty_log *log, uint64_t gpa, uint64_t size);

/* Tells the front-end that something was marked, if it wanted to be told. */
void vhu_dirty_log_signal(const struct vhu_dirty_log *log);

#endif
