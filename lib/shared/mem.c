/* SPDX-License-Identifier: BSD-3-Clause */
/* See shared/mem.h. Every number of a region is checked before it is mapped. */
#include "shared/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "shared/gate.h"
#include "shared/guard.h"
#include "vublk.h"

/* One mmap(), shared by every map that has the region. */
struct mapping {
	atomic_uint refs;
	void *base;
	size_t size;     /* bytes mapped */
	uint64_t offset; /* of the first one in the file */
	int guard;
	struct file *file; /* NULL: there was no descriptor left for it */
};

/* What it is a mapping of: one descriptor, shared by all mappings of a map that are of one file. */
struct file {
	atomic_uint refs;
	int fd;
	dev_t dev;
	ino_t ino;
};

struct region {
	uint64_t gpa, uva, size; /* bytes */
	uint8_t *host;           /* where the region's first byte is in our address space */
	struct mapping *mapping;
};

struct vhu_mem {
	atomic_uint refs;
	unsigned n;
	struct region region[]; /* in order of gpa */
};

static void file_put(struct file *file)
{
	if (!file || atomic_fetch_sub(&file->refs, 1) != 1)
		return;
	close(file->fd);
	free(file);
}

/* The file of a descriptor, the map's if it has it already; or NULL. One reference. */
static struct file *file_get(const struct vhu_mem *mem, int fd)
{
	struct file *file;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return NULL;
	for (unsigned i = 0; i < mem->n; i++) {
		file = mem->region[i].mapping->file;
		if (!file || file->dev != st.st_dev || file->ino != st.st_ino)
			continue;
		atomic_fetch_add(&file->refs, 1);
		return file;
	}
	file = malloc(sizeof(*file));
	if (!file)
		return NULL;
	*file = (struct file){
		.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0), .dev = st.st_dev, .ino = st.st_ino};
	atomic_init(&file->refs, 1);
	if (file->fd >= 0)
		return file;
	free(file);
	return NULL;
}

static void mapping_put(struct mapping *mapping)
{
	if (atomic_fetch_sub(&mapping->refs, 1) != 1)
		return;
	vhu_gate_close(mapping->base);
	vhu_guard_remove(mapping->guard);
	munmap(mapping->base, mapping->size);
	file_put(mapping->file);
	free(mapping);
}

static struct vhu_mem *mem_alloc(unsigned n)
{
	struct vhu_mem *mem = calloc(1, sizeof(*mem) + n * sizeof(mem->region[0]));

	if (mem)
		atomic_init(&mem->refs, 1);
	return mem;
}

struct vhu_mem *vhu_mem_get(struct vhu_mem *mem)
{
	if (mem)
		atomic_fetch_add(&mem->refs, 1);
	return mem;
}

bool vhu_mem_is_sole(const struct vhu_mem *mem)
{
	return atomic_load(&mem->refs) == 1;
}

void vhu_mem_put(struct vhu_mem *mem)
{
	if (!mem || atomic_fetch_sub(&mem->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < mem->n; i++)
		mapping_put(mem->region[i].mapping);
	free(mem);
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* Would the region fit beside those that the map has? Checks what needs no descriptor. */
static int check_region(const char *name, const struct vhu_mem *mem, const struct vhu_region *r)
{
	const char *wrong = NULL;

	/* The sum may reach the end of the address space, but its end address must exist. */
	if (!r->size)
		wrong = "is empty";
	else if (r->guest_addr > UINT64_MAX - r->size || r->user_addr > UINT64_MAX - r->size ||
		 r->mmap_offset > INT64_MAX || r->size > INT64_MAX - r->mmap_offset)
		wrong = "wraps around";
	for (unsigned i = 0; !wrong && i < mem->n; i++) {
		const struct region *o = &mem->region[i];

		/* Not so user addresses: a machine may show the same memory at two places. */
		if (overlap(r->guest_addr, r->size, o->gpa, o->size))
			wrong = "overlaps another one";
	}
	if (!wrong)
		return 0;
	vhu_log(VUBLK_LOG_WARNING,
		"%s: memory region (guest 0x%llx, user 0x%llx, size 0x%llx, offset 0x%llx) %s",
		name, (unsigned long long)r->guest_addr, (unsigned long long)r->user_addr,
		(unsigned long long)r->size, (unsigned long long)r->mmap_offset, wrong);
	return -EINVAL;
}

/*
 * Is the descriptor a memory file of at least this size? Touching memory beyond the end of the file
 * raises SIGBUS, so a short one is refused here. DAX devices are character devices without a
 * size.
 */
static int check_file(const char *name, const struct vhu_region *r, int fd, uint64_t *align)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: a memory region's descriptor is not a file that can be shared; guest "
			"memory must be a memfd or a file (share=on)",
			name);
		return -EBADF;
	}
	if (S_ISREG(st.st_mode) && r->mmap_offset + r->size > (uint64_t)st.st_size) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: memory region ends at byte %llu of a file of %llu bytes", name,
			(unsigned long long)(r->mmap_offset + r->size),
			(unsigned long long)st.st_size);
		return -EINVAL;
	}
	/* hugetlbfs tells its page size as block size, and maps whole pages only. */
	*align = page;
	if (S_ISREG(st.st_mode) && st.st_blksize > (blksize_t)page &&
	    !(st.st_blksize & (st.st_blksize - 1)))
		*align = (uint64_t)st.st_blksize;
	return 0;
}

/* Maps a part of a file, in whole pages, and guards it. 0 or -errno (logged). */
static int map(struct mapping *mapping, const char *name, int fd, off_t offset, size_t size)
{
	int err = 0;

	mapping->size = size;
	mapping->base = mmap(NULL, size, VHU_GATE_PROT, MAP_SHARED | MAP_NORESERVE, fd, offset);
	if (mapping->base == MAP_FAILED) {
		err = -errno;
		vhu_log(VUBLK_LOG_WARNING, "%s: cannot map a memory region of %zu bytes: %s%s",
			name, size, strerror(-err),
			err == -ENOMEM ? "; with many disks vm.max_map_count may have to be raised"
				       : "");
		return err;
	}
	mapping->guard = vhu_guard_add(mapping->base, size);
	if (mapping->guard < 0) {
		err = mapping->guard;
		vhu_log(VUBLK_LOG_WARNING, "%s: cannot guard a memory region: %s", name,
			strerror(-err));
	} else {
		err = vhu_gate_open(mapping->base, size, fd, offset);
		if (err)
			vhu_guard_remove(mapping->guard);
	}
	if (err)
		munmap(mapping->base, size);
	return err;
}

static int map_region(const struct vhu_mem *mem, const char *name, const struct vhu_region *r,
		      int fd, struct region *to)
{
	struct mapping *mapping;
	uint64_t align = 0, skip, size;
	int err = check_file(name, r, fd, &align);

	if (err)
		return err;
	skip = r->mmap_offset & (align - 1);
	if (r->size > SIZE_MAX - skip - align)
		return -EINVAL;
	size = (r->size + skip + align - 1) & ~(align - 1);
	mapping = malloc(sizeof(*mapping));
	if (!mapping)
		return -ENOMEM;
	err = map(mapping, name, fd, (off_t)(r->mmap_offset - skip), (size_t)size);
	if (err) {
		free(mapping);
		return err;
	}
	/* A core dump is about us; the guest's secrets do not belong in it. */
	madvise(mapping->base, mapping->size, MADV_DONTDUMP);
	atomic_init(&mapping->refs, 1);
	mapping->offset = r->mmap_offset - skip;
	mapping->file = file_get(mem, fd);
	*to = (struct region){r->guest_addr, r->user_addr, r->size, (uint8_t *)mapping->base + skip,
			      mapping};
	return 0;
}

/* Puts a region into its place; the map has room for it. */
static int insert(struct vhu_mem *mem, const char *name, const struct vhu_region *r, int fd)
{
	struct region region;
	unsigned at = mem->n;
	int err = check_region(name, mem, r);

	while (at && mem->region[at - 1].gpa > r->guest_addr)
		at--;
	if (!err)
		err = map_region(mem, name, r, fd, &region);
	if (err)
		return err;
	memmove(&mem->region[at + 1], &mem->region[at], (mem->n - at) * sizeof(region));
	mem->region[at] = region;
	mem->n++;
	return 0;
}

int vhu_mem_new(struct vhu_mem **memp, const char *name, const struct vhu_region *regions,
		const int *fds, unsigned n)
{
	struct vhu_mem *mem = mem_alloc(n);
	int err = mem ? 0 : -ENOMEM;

	for (unsigned i = 0; !err && i < n; i++)
		err = insert(mem, name, &regions[i], fds[i]);
	if (err) {
		vhu_mem_put(mem);
		mem = NULL;
	}
	*memp = mem;
	return err;
}

/* The regions of `mem` but for number `without`, in a new map with room for `n`. */
static struct vhu_mem *copy(const struct vhu_mem *mem, unsigned n, unsigned without)
{
	struct vhu_mem *next = mem_alloc(n);

	for (unsigned i = 0; next && mem && i < mem->n; i++) {
		if (i == without)
			continue;
		atomic_fetch_add(&mem->region[i].mapping->refs, 1);
		next->region[next->n++] = mem->region[i];
	}
	return next;
}

int vhu_mem_add(struct vhu_mem **memp, const char *name, const struct vhu_mem *mem,
		const struct vhu_region *region, int fd)
{
	unsigned n = mem ? mem->n : 0;
	struct vhu_mem *next;
	int err;

	*memp = NULL;
	if (n >= VHU_MEM_MAX_SLOTS) {
		vhu_log(VUBLK_LOG_WARNING, "%s: more than %d memory regions", name,
			VHU_MEM_MAX_SLOTS);
		return -ENOSPC;
	}
	next = copy(mem, n + 1, UINT32_MAX);
	if (!next)
		return -ENOMEM;
	err = insert(next, name, region, fd);
	if (err) {
		vhu_mem_put(next);
		return err;
	}
	*memp = next;
	return 0;
}

int vhu_mem_remove(struct vhu_mem **memp, const char *name, const struct vhu_mem *mem,
		   const struct vhu_region *region)
{
	*memp = NULL;
	for (unsigned i = 0; mem && i < mem->n; i++) {
		const struct region *r = &mem->region[i];

		if (r->gpa != region->guest_addr || r->uva != region->user_addr ||
		    r->size != region->size)
			continue;
		*memp = copy(mem, mem->n - 1, i);
		return *memp ? 0 : -ENOMEM;
	}
	vhu_log(VUBLK_LOG_WARNING,
		"%s: no memory region (guest 0x%llx, user 0x%llx, size 0x%llx) to remove", name,
		(unsigned long long)region->guest_addr, (unsigned long long)region->user_addr,
		(unsigned long long)region->size);
	return -ENOENT;
}

bool vhu_mem_is_lost(const struct vhu_mem *mem)
{
	for (unsigned i = 0; mem && i < mem->n; i++) {
		const struct mapping *mapping = mem->region[i].mapping;

		if (vhu_guard_is_lost(mapping->guard) || vhu_gate_is_lost(mapping->base))
			return true;
	}
	return false;
}

unsigned vhu_mem_ranges(const struct vhu_mem *mem, struct iovec *ranges, unsigned max)
{
	for (unsigned i = 0; i < mem->n && i < max; i++)
		ranges[i] = (struct iovec){vublk_guest_writable(mem->region[i].host),
					   (size_t)mem->region[i].size};
	return mem->n;
}

void vhu_mem_lose(const struct vhu_mem *mem, int nothing)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct mapping *mapping = mem->region[i].mapping;

		vhu_guard_by_page(mapping->guard);
		mmap(mapping->base, mapping->size, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_FIXED | MAP_NORESERVE, nothing, 0);
	}
}

unsigned vhu_mem_mappings(const struct vhu_mem *mem, struct iovec *mappings, unsigned max)
{
	for (unsigned i = 0; i < mem->n && i < max; i++)
		mappings[i] =
			(struct iovec){mem->region[i].mapping->base, mem->region[i].mapping->size};
	return mem->n;
}

unsigned vhu_mem_files(const struct vhu_mem *mem, int *fds, unsigned max)
{
	for (unsigned i = 0; i < mem->n && i < max; i++)
		fds[i] = mem->region[i].mapping->file ? mem->region[i].mapping->file->fd : -1;
	return mem->n;
}

struct vhu_mem_piece vhu_mem_piece(const struct vhu_mem *mem, uint64_t gpa)
{
	unsigned low = 0, high = mem->n;
	const struct region *r;

	/* The last region that begins at or below gpa. */
	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (mem->region[middle].gpa <= gpa)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return (struct vhu_mem_piece){0};
	r = &mem->region[low - 1];
	if (gpa - r->gpa >= r->size)
		return (struct vhu_mem_piece){0};
	return (struct vhu_mem_piece){r->gpa, r->size, r->host};
}

static const struct region *region_at(const struct vhu_mem *mem, const void *host)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct region *r = &mem->region[i];

		if ((uintptr_t)host - (uintptr_t)r->host < r->size)
			return r;
	}
	return NULL;
}

struct vhu_mem_piece vhu_mem_piece_at(const struct vhu_mem *mem, const void *host)
{
	const struct region *r = region_at(mem, host);

	return r ? (struct vhu_mem_piece){r->gpa, r->size, r->host} : (struct vhu_mem_piece){0};
}

struct vhu_mem_piece vhu_mem_piece_uva(const struct vhu_mem *mem, uint64_t uva)
{
	for (unsigned i = 0; i < mem->n; i++) {
		const struct region *r = &mem->region[i];

		if (uva - r->uva < r->size)
			return (struct vhu_mem_piece){r->uva, r->size, r->host};
	}
	return (struct vhu_mem_piece){0};
}

bool vhu_mem_uva_at(const struct vhu_mem *mem, const void *host, uint64_t *uva)
{
	const struct region *r = region_at(mem, host);

	if (r)
		*uva = r->uva + (uint64_t)((const uint8_t *)host - r->host);
	return r;
}

int vhu_mem_file_at(const struct vhu_mem *mem, const void *host, int *fd, uint64_t *offset)
{
	const struct region *r = region_at(mem, host);

	if (!r)
		return -EFAULT;
	if (!r->mapping->file)
		return -EBADF;
	*fd = r->mapping->file->fd;
	*offset = r->mapping->offset +
		  (uint64_t)((const uint8_t *)host - (const uint8_t *)r->mapping->base);
	return 0;
}

void *vhu_mem_gpa(const struct vhu_mem *mem, uint64_t gpa, uint64_t size)
{
	const struct vhu_mem_piece piece =
		mem ? vhu_mem_piece(mem, gpa) : (struct vhu_mem_piece){0};
	const uint64_t offset = gpa - piece.gpa;

	return piece.size && size <= piece.size - offset ? piece.host + offset : NULL;
}

void *vhu_mem_uva(const struct vhu_mem *mem, uint64_t uva, uint64_t size)
{
	for (unsigned i = 0; mem && i < mem->n; i++) {
		const struct region *r = &mem->region[i];

		if (uva >= r->uva && uva - r->uva < r->size && size <= r->size - (uva - r->uva))
			return r->host + (uva - r->uva);
	}
	return NULL;
}
