/* SPDX-License-Identifier: BSD-3-Clause */
/* See image/end.h. */
#include "image/end.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/log.h"

#define SECTOR 512u

/* The bits of one number all over another. */
static uint64_t mix(uint64_t hash, uint64_t number)
{
	hash = (hash ^ number) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 29;
}

/* Which file it is, and how large; of a device only that, for its number may change. */
static uint32_t identity_of(const struct image *image)
{
	uint64_t hash = mix(0, image->size);
	struct stat st;

	if (image->fd >= 0 && !image->is_device && !fstat(image->fd, &st))
		hash = mix(hash, (uint64_t)st.st_ino);
	return (uint32_t)(hash >> 32) | 1;
}

void image_end_init(struct image_end *end, const struct image *image, const char *name)
{
	*end = (struct image_end){
		.limit = image->size,
		.size = image->end,
		.ask_at = image->fd < 0 || image->is_device ? UINT64_MAX : image->end,
		.identity = identity_of(image),
		.fd = image->fd,
		.is_device = image->is_device,
		.name = name,
	};
}

static void tell(struct image_end *end, uint64_t size)
{
	if (atomic_exchange(&end->told, true))
		return;
	log_error("%s: the image was truncated under the running disk, from %llu to %llu bytes: "
		  "what lay beyond is lost, and reads and writes there fail from now on; stop the "
		  "guest, restore the image, and start both again",
		  end->name, (unsigned long long)end->size, (unsigned long long)size);
}

void image_end_found(struct image_end *end, uint64_t size)
{
	uint64_t limit = image_end_limit(end);
	const uint64_t lower = size - size % SECTOR;

	if (size >= end->size)
		return;
	while (lower < limit && !atomic_compare_exchange_weak(&end->limit, &limit, lower))
		;
	tell(end, size);
}

void image_end_recognise(struct image_end *end, uint32_t identity)
{
	if (!identity || identity == end->identity || atomic_exchange(&end->told_other, true))
		return;
	log_error(
		"%s: this is not the image that the running guest was started with: it is "
		"another file, or has another size (%llu bytes now), and the guest does not know; "
		"stop the guest, and start it with the image that it is to have",
		end->name, (unsigned long long)end->size);
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

void image_end_check(struct image_end *end)
{
	struct statx sx;

	if (end->is_device || end->fd < 0)
		return;
	if (!statx(end->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &sx) &&
	    sx.stx_mask & STATX_SIZE)
		image_end_found(end, sx.stx_size);
}
