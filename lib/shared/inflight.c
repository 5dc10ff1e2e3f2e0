/* SPDX-License-Identifier: BSD-3-Clause */
/* See shared/inflight.h. Control thread. */
#include "shared/inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "shared/guard.h"

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
	int fd; /* a duplicate, or -1 */
	uint64_t offset;
};

static size_t stride_of(unsigned queue_size, bool packed)
{
	const size_t size = packed ? sizeof(struct inflight_packed) +
					     queue_size * sizeof(struct inflight_desc_packed)
				   : sizeof(struct inflight_split) +
					     queue_size * sizeof(struct inflight_desc_split);

	return (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
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
	inflight->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	inflight->offset = offset;
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

/* ---- a region that is handed in ---- */

/* What is wrong with a region that was handed in; NULL: nothing. */
static const char *refusal(const struct vhu_inflight_desc *desc, uint64_t needed,
			   const struct stat *st, unsigned max_queues)
{
	if (!desc->num_queues || desc->num_queues > max_queues)
		return "has a wrong number of queues";
	if (!desc->queue_size || desc->queue_size > MAX_QUEUE_SIZE)
		return "has a wrong queue size";
	if (desc->mmap_size < needed)
		return "is smaller than its queues need";
	if (desc->mmap_offset % 8 || desc->mmap_offset > INT64_MAX ||
	    desc->mmap_size > INT64_MAX - desc->mmap_offset)
		return "has a wrong offset";
	if (!S_ISREG(st->st_mode))
		return "is not a memory file";
	if (desc->mmap_offset + needed > (uint64_t)st->st_size)
		return "is beyond the end of its file";
	return NULL;
}

/*
 * The entries of a queue's region of `stride` bytes. More may fit into its last cache line, but
 * whole lines of them are what was asked for when it was made, for all sizes that a split ring can
 * have.
 */
static unsigned entries_of(size_t stride, bool packed)
{
	const size_t header =
		packed ? sizeof(struct inflight_packed) : sizeof(struct inflight_split);
	const size_t entry =
		packed ? sizeof(struct inflight_desc_packed) : sizeof(struct inflight_desc_split);
	const size_t n = (stride - header) / entry;

	return (unsigned)(n - n % (ALIGNMENT / entry));
}

/* What its header says of a queue's region that begins here. Both layouts begin alike. */
static unsigned told_size(const uint8_t *at, bool *used)
{
	const struct inflight_split *region = (const void *)at;

	*used = __atomic_load_n(&region->version, __ATOMIC_RELAXED);
	return __atomic_load_n(&region->desc_num, __ATOMIC_RELAXED);
}

/*
 * Finds the layout of a mapped region that has room for more than was asked for; `wide` is the
 * stride that its size suggests. Of the queues that were used one says by its number of entries
 * who laid it out: we, or a back-end that gives what is asked for. All of it can be a lie: what is
 * found here lies within the mapping, and recovery compares each queue's number with it. 0, or
 * -EINVAL if it was used, and is neither.
 */
static int find_layout(struct vhu_inflight *inflight, size_t wide)
{
	unsigned n;
	bool used;

	for (unsigned i = 0; i < inflight->num_queues; i++) {
		n = told_size(inflight->first + i * wide, &used);
		if (used && n <= MAX_QUEUE_SIZE && stride_of(n, inflight->packed) == wide) {
			inflight->stride = wide;
			inflight->queue_size = n;
			return 0;
		}
		n = told_size(inflight->first + i * inflight->stride, &used);
		if (used && n == inflight->queue_size)
			return 0;
	}
	/* The first queue's is where it is in any layout. */
	told_size(inflight->first, &used);
	if (used)
		return -EINVAL;
	inflight->stride = wide;
	inflight->queue_size = entries_of(wide, inflight->packed);
	return 0;
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
	const uint64_t needed = like.num_queues * like.stride;
	struct stat st = {0};
	const char *why;
	size_t wide;
	int err;

	*inflightp = NULL;
	fstat(fd, &st);
	why = refusal(desc, needed, &st, max_queues);
	if (why) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: the in-flight region (%llu bytes at %llu, %u queues of %u) %s", name,
			(unsigned long long)desc->mmap_size, (unsigned long long)desc->mmap_offset,
			desc->num_queues, desc->queue_size, why);
		return -EINVAL;
	}
	/* The front-end hands in the size that it got, and the queue size that it asked for. */
	wide = smaller(desc->mmap_size, (uint64_t)st.st_size - desc->mmap_offset) / like.num_queues;
	wide = smaller(wide & ~(size_t)(ALIGNMENT - 1), stride_of(MAX_QUEUE_SIZE, packed));
	err = map(inflightp, &like, fd, desc->mmap_offset, like.num_queues * wide);
	if (err) {
		vhu_log(VUBLK_LOG_WARNING, "%s: cannot map the in-flight region: %s", name,
			strerror(-err));
		return err;
	}
	err = wide > like.stride ? find_layout(*inflightp, wide) : 0;
	if (err) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: the in-flight region (%llu bytes, %u queues of %u) was used with "
			"another "
			"number of entries than fits its size",
			name, (unsigned long long)desc->mmap_size, desc->num_queues,
			desc->queue_size);
		vhu_inflight_put(*inflightp);
		*inflightp = NULL;
	}
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
	if (inflight->fd >= 0)
		close(inflight->fd);
	free(inflight);
}

int vhu_inflight_file(const struct vhu_inflight *inflight, uint64_t *offset)
{
	*offset = inflight->offset;
	return inflight->fd;
}

void *vhu_inflight_queue(const struct vhu_inflight *inflight, unsigned index)
{
	if (!inflight || index >= inflight->num_queues)
		return NULL;
	return inflight->first + index * inflight->stride;
}

void vhu_inflight_forget_queue(const struct vhu_inflight *inflight, unsigned index)
{
	/* Both layouts begin alike. */
	struct inflight_split *region = vhu_inflight_queue(inflight, index);

	if (region)
		__atomic_store_n(&region->version, 0, __ATOMIC_RELAXED);
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
