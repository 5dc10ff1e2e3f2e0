/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory, see fe_mem.h. Owns the memfds and their mappings. */
#define _GNU_SOURCE
#include "fe_mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool fe_mem_prealloc;

int fe_mem_add(struct fe_mem *mem, uint64_t gpa, uint64_t size, uint64_t mmap_offset)
{
	struct fe_region *r = &mem->region[mem->n_regions];
	int err;

	if (mem->n_regions == FE_MAX_REGIONS)
		return -ENOSPC;
	int fd = memfd_create("guest-memory", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)(mmap_offset + size)) < 0)
		goto fail;
	void *host =
		mmap(NULL, size, PROT_READ | PROT_WRITE,
		     MAP_SHARED | (fe_mem_prealloc ? MAP_POPULATE : 0), fd, (off_t)mmap_offset);

	if (host == MAP_FAILED)
		goto fail;
	*r = (struct fe_region){
		.wire = {.guest_addr = gpa,
			 .size = size,
			 .user_addr = (uintptr_t)host,
			 .mmap_offset = mmap_offset},
		.fd = fd,
		.host = host,
		.size = size,
		.gpa = gpa,
	};
	return (int)mem->n_regions++;
fail:
	err = -errno;
	close(fd);
	return err;
}

void fe_mem_free(struct fe_mem *mem)
{
	while (mem->n_regions) {
		struct fe_region *r = &mem->region[--mem->n_regions];

		munmap(r->host, r->size);
		close(r->fd);
	}
}

uint64_t fe_alloc_in(struct fe_mem *mem, unsigned int region, uint64_t size, uint64_t align)
{
	struct fe_region *r = &mem->region[region];

	if (align < mem->min_align)
		align = mem->min_align;
	uint64_t gpa = (r->gpa + r->allocated + align - 1) & ~(align - 1);

	if (region >= mem->n_regions || gpa - r->gpa > r->size || size > r->size - (gpa - r->gpa))
		return FE_NO_ADDR;
	r->allocated = gpa - r->gpa + size;
	return gpa;
}

uint64_t fe_alloc(struct fe_mem *mem, uint64_t size, uint64_t align)
{
	uint64_t gpa = FE_NO_ADDR;

	for (unsigned int i = 0; i < mem->n_regions && gpa == FE_NO_ADDR; i++)
		gpa = fe_alloc_in(mem, i, size, align);
	return gpa;
}

void fe_mem_release(struct fe_mem *mem, unsigned int region, uint64_t allocated)
{
	mem->region[region].allocated = allocated;
}

static const struct fe_region *region_of(const struct fe_mem *mem, uint64_t gpa)
{
	for (unsigned int i = 0; i < mem->n_regions; i++)
		if (gpa - mem->region[i].gpa < mem->region[i].size)
			return &mem->region[i];
	return NULL;
}

void *fe_ptr(const struct fe_mem *mem, uint64_t gpa, uint64_t len)
{
	const struct fe_region *r = region_of(mem, gpa);

	if (!r || len > r->size - (gpa - r->gpa))
		return NULL;
	return r->host + (gpa - r->gpa);
}

uint64_t fe_user_addr(const struct fe_mem *mem, uint64_t gpa)
{
	const struct fe_region *r = region_of(mem, gpa);

	return r ? r->wire.user_addr + (gpa - r->gpa) : 0;
}

/* The piece of [gpa, gpa + len) that lies in one region: its pointer, NULL outside memory. */
static uint8_t *piece(const struct fe_mem *mem, uint64_t gpa, size_t len, size_t *piece_len)
{
	const struct fe_region *r = region_of(mem, gpa);

	if (!r)
		return NULL;
	uint64_t left = r->size - (gpa - r->gpa);

	*piece_len = len < left ? len : left;
	return r->host + (gpa - r->gpa);
}

int fe_mem_write(const struct fe_mem *mem, uint64_t gpa, const void *src, size_t len)
{
	const uint8_t *from = src;
	size_t n;

	for (; len; len -= n, gpa += n, from += n) {
		uint8_t *to = piece(mem, gpa, len, &n);

		if (!to)
			return -EFAULT;
		memcpy(to, from, n);
	}
	return 0;
}

int fe_mem_read(const struct fe_mem *mem, uint64_t gpa, void *dst, size_t len)
{
	uint8_t *to = dst;
	size_t n;

	for (; len; len -= n, gpa += n, to += n) {
		const uint8_t *from = piece(mem, gpa, len, &n);

		if (!from)
			return -EFAULT;
		memcpy(to, from, n);
	}
	return 0;
}
