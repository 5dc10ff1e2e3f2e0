/* SPDX-License-Identifier: BSD-3-Clause */
/* See image_end.h. */
#include "image_end.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "log.h"

#define SECTOR 512u

void image_end_init(struct image_end *end, const struct image *image, const char *name)
{
	*end = (struct image_end){
		.limit = image->size,
		.size = image->end,
		.ask_at = image->fd < 0 || image->is_device ? UINT64_MAX : image->end,
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
		  "guest, restore the image and start anew",
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

void image_end_check(struct image_end *end)
{
	struct statx sx;

	if (end->is_device || end->fd < 0)
		return;
	if (!statx(end->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &sx) &&
	    sx.stx_mask & STATX_SIZE)
		image_end_found(end, sx.stx_size);
}
