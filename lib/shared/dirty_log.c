/* SPDX-License-Identifier: BSD-3-Clause */
/* See shared/dirty_log.h. */
#include "shared/dirty_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "shared/fd.h"
#include "shared/guard.h"

struct vhu_dirty_log {
	atomic_uint refs;
	atomic_bool too_small; /* and that has been said */
	char *name;            /* for messages */
	struct vhu_log desc;
	void *base;    /* of the mapping */
	size_t mapped; /* bytes */
	uint8_t *bits; /* desc.size bytes */
	int guard;
	int fd, signal_fd; /* owned; the latter may be -1 */
};

/* What is wrong with a log that was handed in; NULL: nothing. */
static const char *refusal(const struct vhu_log *desc, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return "is not a memory file";
	if (!desc->size)
		return "is empty";
	if (desc->offset > INT64_MAX || desc->size > INT64_MAX - desc->offset ||
	    desc->offset + desc->size > (uint64_t)st.st_size)
		return "is beyond the end of its file";
	return NULL;
}

static int map(struct vhu_dirty_log *log)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	const uint64_t skip = log->desc.offset & (page - 1);

	log->mapped = (size_t)(log->desc.size + skip);
	log->base = mmap(NULL, log->mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			 log->fd, (off_t)(log->desc.offset - skip));
	if (log->base == MAP_FAILED) {
		log->base = NULL;
		return -errno;
	}
	log->bits = (uint8_t *)log->base + skip;
	log->mapped = (size_t)((log->mapped + page - 1) & ~(page - 1));
	log->guard = vhu_guard_add(log->base, log->mapped);
	return log->guard < 0 ? log->guard : 0;
}

int vhu_dirty_log_new(struct vhu_dirty_log **logp, const char *name, const struct vhu_log *desc,
		      int fd, int signal_fd)
{
	const char *why = refusal(desc, fd);
	struct vhu_dirty_log *log;
	int err = -ENOMEM;

	*logp = NULL;
	if (why) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: the log of dirty pages, %llu bytes at %llu of its file, %s", name,
			(unsigned long long)desc->size, (unsigned long long)desc->offset, why);
		return -EINVAL;
	}
	log = malloc(sizeof(*log));
	if (!log)
		return -ENOMEM;
	*log = (struct vhu_dirty_log){.desc = *desc, .guard = -1, .signal_fd = -1};
	atomic_init(&log->refs, 1);
	log->name = strdup(name);
	log->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (signal_fd >= 0)
		log->signal_fd = fcntl(signal_fd, F_DUPFD_CLOEXEC, 0);
	if (log->fd < 0 || (signal_fd >= 0 && log->signal_fd < 0))
		err = -errno;
	else if (log->name)
		err = map(log);
	if (err) {
		vhu_log(VUBLK_LOG_WARNING, "%s: cannot map the log of dirty pages: %s", name,
			strerror(-err));
		vhu_dirty_log_put(log);
		return err;
	}
	*logp = log;
	return 0;
}

int vhu_dirty_log_renew(struct vhu_dirty_log **logp, const char *name,
			const struct vhu_dirty_log *log, int signal_fd)
{
	return vhu_dirty_log_new(logp, name, &log->desc, log->fd, signal_fd);
}

struct vhu_dirty_log *vhu_dirty_log_get(struct vhu_dirty_log *log)
{
	if (log)
		atomic_fetch_add(&log->refs, 1);
	return log;
}

void vhu_dirty_log_put(struct vhu_dirty_log *log)
{
	if (!log || atomic_fetch_sub(&log->refs, 1) != 1)
		return;
	if (log->guard >= 0)
		vhu_guard_remove(log->guard);
	if (log->base)
		munmap(log->base, log->mapped);
	vhu_fd_close(log->fd);
	vhu_fd_close(log->signal_fd);
	free(log->name);
	free(log);
}

bool vhu_dirty_log_is_lost(const struct vhu_dirty_log *log)
{
	return log && vhu_guard_is_lost(log->guard);
}

void vhu_dirty_log_mark(struct vhu_dirty_log *log, uint64_t gpa, uint64_t size)
{
	const uint64_t last = (gpa + size - 1) / VHU_DIRTY_PAGE;

	for (uint64_t page = gpa / VHU_DIRTY_PAGE; page <= last;) {
		const uint64_t n = last - page < 7 - page % 8 ? last - page + 1 : 8 - page % 8;
		const uint8_t bits = (uint8_t)(((1u << n) - 1) << page % 8);

		if (page / 8 >= log->desc.size) {
			if (!atomic_exchange(&log->too_small, true))
				vhu_log(VUBLK_LOG_ERROR,
					"%s: the log of dirty pages has %llu bytes and no room for "
					"guest address 0x%llx: what is written there is not "
					"migrated",
					log->name, (unsigned long long)log->desc.size,
					(unsigned long long)page * VHU_DIRTY_PAGE);
			return;
		}
		/* Release: what was written comes first. Others set and clear bits beside it. */
		__atomic_fetch_or(&log->bits[page / 8], bits, __ATOMIC_RELEASE);
		page += n;
	}
}

void vhu_dirty_log_signal(const struct vhu_dirty_log *log)
{
	if (log->signal_fd >= 0)
		vhu_fd_signal(log->signal_fd);
}
