/* SPDX-License-Identifier: BSD-3-Clause */
/* See image/end.h. */
#include "image/end.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/log.h"
#include "image/size.h"

#define SECTOR 512u

/* ---- which image it is ---- */

#define MANTISSA  14 /* bits of a size: 1/16384 more or less is not seen */
#define SIZE_BITS 20

/*
 * A size in few bits, which are more for a larger one: the position of its first bit, not 0, and
 * those that follow.
 */
static uint32_t size_code(uint64_t size)
{
	const uint64_t sectors = size < SECTOR ? 1 : size / SECTOR;
	const unsigned first = 63u - (unsigned)__builtin_clzll(sectors);
	const uint64_t rest = sectors << (63 - first) << 1 >> (64 - MANTISSA);

	return (first + 1) << MANTISSA | (uint32_t)rest;
}

/* Which file it is; of a device nothing, for its number may change. */
static uint32_t file_code(const struct image *image)
{
	struct stat st;

	if (image->fd < 0 || image->is_device || fstat(image->fd, &st))
		return 0;
	return (uint32_t)((uint64_t)st.st_ino * UINT64_C(0x9e3779b97f4a7c15) >> (32 + SIZE_BITS));
}

static uint32_t identity_of(const struct image *image, uint64_t capacity)
{
	return file_code(image) << SIZE_BITS | size_code(capacity);
}

void image_end_recognise(struct image_end *end, uint32_t identity)
{
	const uint32_t now = atomic_load_explicit(&end->identity, memory_order_relaxed);

	if (!identity || identity == now)
		return;
	/* The guest is told of a larger one. */
	if (identity >> SIZE_BITS == now >> SIZE_BITS && identity < now)
		return;
	if (atomic_exchange(&end->told_other, true))
		return;
	log_error("%s: this is not the image that the running guest was started with: it is "
		  "another file, or a smaller one (%llu bytes now); stop the guest, and start it "
		  "with the image that it is to have",
		  end->name, (unsigned long long)image_end_size(end));
}

/* ---- where it ends ---- */

void image_end_init(struct image_end *end, const struct image *image, const char *name)
{
	*end = (struct image_end){
		.limit = image->size,
		.capacity = image->size,
		.size = image->end,
		.ask_at = image_grows_by_writes(image) ? image->end : UINT64_MAX,
		.identity = identity_of(image, image->size),
		.image = image,
		.name = name,
	};
}

static void tell(struct image_end *end, uint64_t had, uint64_t size)
{
	if (atomic_exchange(&end->told, true))
		return;
	log_error("%s: the image was truncated under the running disk, from %llu to %llu bytes: "
		  "what lay beyond is lost, and reads and writes there fail from now on; stop the "
		  "guest, restore the image, and start both again",
		  end->name, (unsigned long long)had, (unsigned long long)size);
}

void image_end_found(struct image_end *end, uint64_t had, uint64_t size)
{
	uint64_t limit = image_end_limit(end);
	const uint64_t lower = size - size % SECTOR;

	if (size >= had)
		return;
	while (lower < limit && !atomic_compare_exchange_weak(&end->limit, &limit, lower))
		;
	tell(end, had, size);
}

void image_end_reached(struct image_end *end, uint64_t capacity)
{
	if (atomic_exchange(&end->told_beyond, true))
		return;
	log_error("%s: the guest reaches beyond the end of the disk, at %llu bytes: either it "
		  "makes a mistake, or it was started with a larger image, which was cut or "
		  "replaced meanwhile",
		  end->name, (unsigned long long)capacity);
}

/* -1 if it is not to be known now. */
static int64_t size_now(const struct image *image)
{
	struct statx sx;
	uint64_t size;

	if (image->fd < 0)
		return -1;
	if (image->is_device)
		return ioctl(image->fd, BLKGETSIZE64, &size) < 0 ? -1 : (int64_t)size;
	if (statx(image->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &sx) < 0 ||
	    !(sx.stx_mask & STATX_SIZE))
		return -1;
	return (int64_t)sx.stx_size;
}

void image_end_check(struct image_end *end)
{
	const uint64_t had = image_end_size(end);
	int64_t size;

	if (end->image->is_device)
		return;
	size = size_now(end->image);
	if (size >= 0)
		image_end_found(end, had, (uint64_t)size);
}

/*
 * The limit goes first, and only if nobody has lowered it. Who meets what goes with it half changed
 * asks once more than needed, or compares with a size that it had, too.
 */
static bool grow(struct image_end *end, uint64_t size)
{
	const struct image *image = end->image;
	uint64_t limit = image_end_capacity(end);
	uint64_t capacity = image_size_round(image_grows_by_writes(image) ? image->fd : -1, size,
					     image->block_size);

	capacity -= capacity % image->block_size;
	if (capacity <= limit || !atomic_compare_exchange_strong(&end->limit, &limit, capacity))
		return false;
	if (image_grows_by_writes(image))
		atomic_store(&end->ask_at, size);
	atomic_store(&end->size, size);
	atomic_store(&end->identity, identity_of(image, capacity));
	atomic_store(&end->capacity, capacity);
	return true;
}

bool image_end_look(struct image_end *end)
{
	const uint64_t had = image_end_size(end);
	const int64_t size = size_now(end->image);

	if (size < 0)
		return false;
	image_end_found(end, had, (uint64_t)size);
	return grow(end, (uint64_t)size);
}
