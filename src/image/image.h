/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The image: what is behind a disk. It is of a kind, which opens it, finds out about it, and keeps
 * others from it; what is made of that, its size, its alignments and what it can discard and zero,
 * is the same for all. Immutable once open, so every thread may read it; what becomes of its size
 * then, image/end.h knows. Trusts the host's kernel, not the file's content or the path.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum image_cache {
	IMAGE_CACHE_NONE,         /* O_DIRECT */
	IMAGE_CACHE_WRITEBACK,    /* the page cache; durable after a flush */
	IMAGE_CACHE_WRITETHROUGH, /* the page cache; every write durable when it completes */
};

/* What the operator asked for. */
struct image_options {
	const char *path;   /* of a file or block device; NULL: none, but `null_size` bytes */
	uint64_t null_size; /* bytes */
	bool read_only;
	enum image_cache cache;
	uint32_t block_size;          /* 512 or 4096; 0: the partition table's, or 512 */
	uint32_t physical_block_size; /* bytes; 0: take it from the image */
	uint32_t optimal_io_size;     /* bytes; 0: take it from the image */
	bool discard;                 /* pass discards on (--discard=unmap) */
};

struct image;
struct image_facts;

/* What keeps others from an image, while it is held; the control thread's. */
struct image_hold {
	int fd;    /* where I/O goes: image->fd, or the claim; -1 without a file */
	int claim; /* a device, opened for us alone (image/claim.h); -1: none */
};

/* What stands against it, or went wrong, in words for the operator. */
struct image_reason {
	char text[160];
	const char *others; /* who else may have it, as "another process"; NULL: nobody has */
};

/* Where the I/O of an image goes. */
enum image_io {
	IMAGE_IO_FILE, /* to its file */
	IMAGE_IO_NULL, /* nowhere: nothing of it can outlive the process, either */
};

/* Control thread. */
struct image_kind {
	enum image_io io;
	/* Opens it and finds out about it; *facts is all zero. 0 or -errno (logged). */
	int (*open)(struct image *image, const struct image_options *options,
		    struct image_facts *facts);
	/* Does without O_DIRECT, with which it was opened. 0 or -errno (logged). */
	int (*go_buffered)(struct image *image, const char *path);
	/*
	 * 0, and *hold says so; -EAGAIN: somebody else has it, or other -errno: *why, all zero at
	 * first, says which.
	 */
	int (*lock)(const struct image *image, struct image_hold *hold, struct image_reason *why);
	void (*unlock)(const struct image *image, struct image_hold *hold);
	/* Safe also when open() failed. */
	void (*close)(struct image *image);
};

extern const struct image_kind image_file, image_null;

struct image {
	const struct image_kind *kind;
	int fd;         /* -1 without a file */
	bool is_device; /* a block device, else a regular file */
	bool is_fuse;   /* on FUSE, with which io_uring does not go along; io/uring/target.c */
	bool read_only;
	bool direct;  /* opened with O_DIRECT */
	bool durable; /* writethrough: every write is to be durable before it completes */
	uint64_t end; /* bytes that it really had when it was opened */
	/* Rounded up to 512: a file may end before, reads there come short. Rounded down where no
	 * file can end there. At most INT64_MAX. */
	uint64_t size;
	uint32_t block_size;          /* logical, 512 or 4096: granularity of offsets and lengths */
	uint32_t physical_block_size; /* bytes, a power of two multiple of block_size */
	uint32_t optimal_io_size;     /* bytes, a multiple of block_size, 0: none known */
	uint32_t mem_align;           /* bytes that buffer addresses must be aligned to (1 = any) */
	uint32_t offset_align;        /* the same for offsets and lengths; divides block_size */
	uint32_t range_align;         /* the same for ranges to discard or zero; 1 for files */
	bool can_discard;             /* a discard may be passed on; see image/probe.h */
	uint32_t discard_alignment; /* bytes: what frees space, a multiple of block_size, 0: none */
	uint64_t max_discard;       /* bytes in one request, a multiple of both, 0: none */
	bool can_write_zeroes;      /* not read-only */
	bool unmap_zeroes;          /* write-zeroes with unmap may free space */
	uint64_t max_write_zeroes;  /* bytes in one request, a multiple of block_size, 0: none */
};

/* Is it a file that writes can make longer, as far as its file system allows? */
static inline bool image_grows_by_writes(const struct image *image)
{
	return image->fd >= 0 && !image->is_device && !image->read_only;
}

/*
 * Opens the image and finds out about it. On failure the error has been logged in one line that
 * says what was wrong and what was expected, and -errno is returned: a missing file, no
 * permission, a directory or other thing that is neither regular file nor block device, an
 * empty image, a size that is not a multiple of the block size, a partition table that does not
 * tell which blocks it counts in where the host's are not 512, a read-only medium without
 * read_only. Where the file system has no O_DIRECT, or one of larger blocks than the disk's, says
 * so in a warning and goes on buffered. Control thread. The caller closes it.
 */
int image_open(struct image *image, const struct image_options *options);

/* Closes it; its lock goes with it. Safe on a zeroed image. */
void image_close(struct image *image);

/* Is it the same file or device? Any thread. */
bool image_is_same(const struct image *a, const struct image *b);

/* Nobody is kept from it. */
void image_hold_init(struct image_hold *hold, const struct image *image);

#endif
