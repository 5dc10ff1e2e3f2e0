/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhu_inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhu_guard.h"
#include "vhu_log.h"

/* Queue regions begin at multiples of a cache line, as those of other back-ends do. */
#define ALIGNMENT 64u

#define MAX_QUEUE_SIZE 32768u

struct vhu_inflight {
	atomic_uint refs;
	unsigned num_queues, queue_size;
	bool packed;
	size_t stride; /* bytes from one queue's region to the next */
	void *base;    /* of the mapping */
	size_t mapped; /* bytes */
	uint8_t *first;
	int guard;
};

static size_t stride_of(unsigned queue_size, bool packed)
{
	const size_t size = packed ? sizeof(struct inflight_packed) +
					     queue_size * sizeof(struct inflight_desc_packed)
				   : sizeof(struct inflight_split) +
					     queue_size * sizeof(struct inflight_desc_split);

	return (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* Maps `size` bytes at `offset` of the file, which is long enough. */
static int map(struct vhu_inflight **inflightp, const struct vhu_inflight *like, int fd,
	       uint64_t offset, uint64_t size)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	const uint64_t skip = offset & (page - 1);
	struct vhu_inflight *inflight = malloc(sizeof(*inflight));
	int err;

	if (!inflight)
		return -ENOMEM;
	*inflight = *like;
	atomic_init(&inflight->refs, 1);
	inflight->mapped = (size_t)((size + skip + page - 1) & ~(page - 1));
	inflight->base = mmap(NULL, inflight->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			      (off_t)(offset - skip));
	if (inflight->base == MAP_FAILED) {
		err = -errno;
		free(inflight);
		return err;
	}
	inflight->first = (uint8_t *)inflight->base + skip;
	inflight->guard = vhu_guard_add(inflight->base, inflight->mapped);
	if (inflight->guard < 0) {
		err = inflight->guard;
		munmap(inflight->base, inflight->mapped);
		free(inflight);
		return err;
	}
	*inflightp = inflight;
	return 0;
}

int vhu_inflight_create(unsigned num_queues, unsigned queue_size, bool packed, int *fd,
			uint64_t *size)
{
	const uint64_t needed = num_queues * stride_of(queue_size, packed);
	int err;

	*fd = -1;
	if (!num_queues || !queue_size || queue_size > MAX_QUEUE_SIZE)
		return -EINVAL;
	*fd = memfd_create("vublkd-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0)
		return -errno;
	/* Nobody, the front-end included, can take it away under us. */
	if (ftruncate(*fd, (off_t)needed) ||
	    fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		err = -errno;
		close(*fd);
		*fd = -1;
		return err;
	}
	*size = needed;
	return 0;
}

/* What is wrong with a region that was handed in; NULL: nothing. */
static const char *refusal(const struct vhu_inflight_desc *desc, const struct vhu_inflight *like,
			   int fd, unsigned max_queues)
{
	const uint64_t needed = like->num_queues * like->stride;
	struct stat st;

	if (!desc->num_queues || desc->num_queues > max_queues)
		return "has a wrong number of queues";
	if (!desc->queue_size || desc->queue_size > MAX_QUEUE_SIZE)
		return "has a wrong queue size";
	if (desc->mmap_size < needed)
		return "is smaller than its queues need";
	if (desc->mmap_offset % 8 || desc->mmap_offset > INT64_MAX ||
	    desc->mmap_size > INT64_MAX - desc->mmap_offset)
		return "has a wrong offset";
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return "is no memory file";
	if (desc->mmap_offset + needed > (uint64_t)st.st_size)
		return "is beyond the end of its file";
	return NULL;
}

int vhu_inflight_adopt(struct vhu_inflight **inflightp, const char *name,
		       const struct vhu_inflight_desc *desc, int fd, bool packed,
		       unsigned max_queues)
{
	const struct vhu_inflight like = {
		.num_queues = desc->num_queues,
		.queue_size = desc->queue_size,
		.packed = packed,
		.stride = stride_of(desc->queue_size, packed),
	};
	const char *why = refusal(desc, &like, fd, max_queues);
	int err;

	*inflightp = NULL;
	if (why) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: the in-flight region (%llu bytes at %llu, %u queues of %u) %s", name,
			(unsigned long long)desc->mmap_size, (unsigned long long)desc->mmap_offset,
			desc->num_queues, desc->queue_size, why);
		return -EINVAL;
	}
	err = map(inflightp, &like, fd, desc->mmap_offset, like.num_queues * like.stride);
	if (err)
		vhu_log(VUBLK_LOG_WARNING, "%s: cannot map the in-flight region: %s", name,
			strerror(-err));
	return err;
}

struct vhu_inflight *vhu_inflight_get(struct vhu_inflight *inflight)
{
	if (inflight)
		atomic_fetch_add(&inflight->refs, 1);
	return inflight;
}

void vhu_inflight_put(struct vhu_inflight *inflight)
{
	if (!inflight || atomic_fetch_sub(&inflight->refs, 1) != 1)
		return;
	vhu_guard_remove(inflight->guard);
	munmap(inflight->base, inflight->mapped);
	free(inflight);
}

void *vhu_inflight_queue(const struct vhu_inflight *inflight, unsigned index)
{
	if (!inflight || index >= inflight->num_queues)
		return NULL;
	return inflight->first + index * inflight->stride;
}

unsigned vhu_inflight_queue_size(const struct vhu_inflight *inflight)
{
	return inflight->queue_size;
}

bool vhu_inflight_is_packed(const struct vhu_inflight *inflight)
{
	return inflight->packed;
}

bool vhu_inflight_is_lost(const struct vhu_inflight *inflight)
{
	return inflight && vhu_guard_is_lost(inflight->guard);
}
