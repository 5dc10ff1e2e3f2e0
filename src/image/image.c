/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See image/image.h. Opens the image and makes a disk of what image/probe.c found out about it and
 * of what the operator asked for. Every refusal is logged here, in one line that names the remedy.
 *
 * Nothing of this writes to the image or keeps others from it: at this time it may belong to
 * another process (image/lock.h).
 */
#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/host_limits.h"
#include "base/log.h"
#include "image/blocks.h"
#include "image/format.h"
#include "image/probe.h"

#define SECTOR         512u
#define MAX_BLOCK_SIZE 4096u
/* One request's length fits the kernel's and QEMU's int (BDRV_REQUEST_MAX_BYTES). */
#define MAX_REQUEST ((uint64_t)INT32_MAX)

static uint64_t round_down(uint64_t n, uint64_t unit)
{
	return n - n % unit;
}

static uint64_t round_up(uint64_t n, uint64_t unit)
{
	return round_down(n + unit - 1, unit);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- opening ---- */

static const char *kind_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFCHR:
		return "a character device";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	default:
		return "of an unknown kind";
	}
}

static int check_kind(const char *path, const struct stat *st)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	log_error("%s: is %s; an image must be a regular file or a block device", path,
		  kind_name(st->st_mode));
	return S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL;
}

static int log_errno(const char *path, const char *what)
{
	int err = -errno;

	log_error("%s: %s: %s", path, what, strerror(-err));
	return err;
}

/* It could not be opened as asked, `errno` says why: for lack of --read-only perhaps? */
static int explain_open(const struct image_options *options)
{
	int error = errno, fd = -1;

	if (!options->read_only && (error == EACCES || error == EPERM || error == EROFS))
		fd = open(options->path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		log_error("%s: cannot be opened for writing: %s; --read-only serves it without",
			  options->path, strerror(error));
	} else {
		log_error("%s: cannot be opened: %s%s", options->path, strerror(error),
			  limits_advice(LIMITS_DESCRIPTOR, -error));
	}
	return -error;
}

static int open_file(struct image *image, const struct image_options *options)
{
	int flags = (options->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;

	image->direct = options->cache == IMAGE_CACHE_NONE;
	image->fd = open(options->path, flags | (image->direct ? O_DIRECT : 0));
	if (image->fd < 0 && image->direct && errno == EINVAL) {
		image->fd = open(options->path, flags);
		image->direct = false;
	}
	return image->fd < 0 ? explain_open(options) : 0;
}

/* Before Linux 5.11 a read-only device could be opened for writing, and then refused the writes. */
static int check_writable(const struct image *image, const char *path)
{
	int read_only = 0;

	if (image->read_only || ioctl(image->fd, BLKROGET, &read_only) < 0 || !read_only)
		return 0;
	log_error("%s: the device is read-only; serve it with --read-only", path);
	return -EROFS;
}

static int open_image(struct image *image, const struct image_options *options)
{
	struct stat st;
	int err;

	/* Look before opening: that may block (a FIFO) or have effects (a tape). */
	if (stat(options->path, &st) < 0)
		return log_errno(options->path, "cannot be opened");
	err = check_kind(options->path, &st);
	if (!err)
		err = open_file(image, options);
	if (err)
		return err;
	/* And again at what was opened. */
	if (fstat(image->fd, &st) < 0)
		return log_errno(options->path, "fstat");
	err = check_kind(options->path, &st);
	if (!err && S_ISBLK(st.st_mode))
		err = check_writable(image, options->path);
	return err;
}

/* ---- what the host says ---- */

/* open() took O_DIRECT but the file cannot do it (ext4 with data=journal, encryption). */
static int drop_direct(struct image *image, const char *path)
{
	int flags = fcntl(image->fd, F_GETFL);

	if (flags < 0 || fcntl(image->fd, F_SETFL, flags & ~O_DIRECT) < 0)
		return log_errno(path, "fcntl");
	image->direct = false;
	return 0;
}

/* FUSE asks its server, which may not know. */
static bool is_on_fuse(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) || fs.f_type == FUSE_SUPER_MAGIC;
}

static int find_facts(struct image *image, const char *path, struct image_facts *facts)
{
	int err = image_probe(image->fd, image->direct, facts);

	if (err) {
		log_error("%s: cannot find out about it: %s", path, strerror(-err));
		return err;
	}
	if (!facts->mem_align) {
		err = drop_direct(image, path);
		facts->mem_align = facts->offset_align = 1;
	}
	image_probe_head(image->fd, facts);
	image->is_device = facts->is_device;
	image->is_fuse = is_on_fuse(image->fd);
	image->mem_align = facts->mem_align;
	image->offset_align = facts->offset_align;
	return err;
}

/* ---- the disk made of it ---- */

/*
 * The operator did not say: what a partition table that is there was made for, else 512, which is
 * what disks commonly have, wherever the image lies now. 0: it is not to be known (logged).
 */
static uint32_t guess_block_size(const struct image_options *options, uint32_t host,
				 const struct image_facts *facts, enum image_blocks made_for)
{
	if (made_for == IMAGE_BLOCKS_4096 && !(facts->size % MAX_BLOCK_SIZE)) {
		log_info("%s: its partition table is for blocks of 4096 bytes, and so the disk has "
			 "these",
			 options->path);
		return MAX_BLOCK_SIZE;
	}
	if (made_for == IMAGE_BLOCKS_UNCLEAR && host > SECTOR) {
		log_error("%s: its storage has blocks of %u bytes, and its partition table may be "
			  "for blocks of 512 or of 4096: choose with --block-size=512 or "
			  "--block-size=4096",
			  options->path, host);
		return 0;
	}
	return SECTOR;
}

static void check_given_size(const struct image_options *options, enum image_blocks made_for)
{
	const uint32_t size = made_for == IMAGE_BLOCKS_512    ? SECTOR
			      : made_for == IMAGE_BLOCKS_4096 ? MAX_BLOCK_SIZE
							      : options->block_size;

	if (size != options->block_size)
		log_warning("%s: its partition table is for blocks of %u bytes; with "
			    "--block-size=%u no guest finds its partitions",
			    options->path, size, options->block_size);
}

/* The page cache writes blocks of the host's in which a part is new, and nothing gets between. */
static int share_blocks(struct image *image, const struct image_options *options)
{
	int err = drop_direct(image, options->path);

	log_warning("%s: its storage has blocks of %u bytes, and the disk of %u: using the page "
		    "cache, as with --cache=writeback; --block-size=4096 allows O_DIRECT, if the "
		    "disk's content was made with it",
		    options->path, image->offset_align, image->block_size);
	image->mem_align = image->offset_align = 1;
	return err;
}

static int choose_block_size(struct image *image, const struct image_options *options,
			     const struct image_facts *facts)
{
	const uint32_t host = larger(image->offset_align, facts->logical);
	const enum image_blocks made_for = image_blocks_find(facts->head, facts->size);

	image->range_align = image->is_device ? facts->logical : 1;
	image->block_size = options->block_size;
	if (image->block_size)
		check_given_size(options, made_for);
	else
		image->block_size = guess_block_size(options, host, facts, made_for);
	if (!image->block_size)
		return -EINVAL;
	return image->block_size < image->offset_align ? share_blocks(image, options) : 0;
}

/*
 * Can a file be as long as this? No offset is beyond INT64_MAX, and a file system may have a limit
 * below, which it tells who wants to go there.
 */
static bool is_possible(const struct image *image, uint64_t size)
{
	if (size > INT64_MAX)
		return false;
	if (image->fd < 0 || image->is_device || image->read_only)
		return true;
	return lseek(image->fd, (off_t)size, SEEK_SET) >= 0 || errno != EINVAL;
}

/* Up to where each block can be read and, if it is to be, written. */
static void choose_end(struct image *image, const char *name, uint64_t size)
{
	image->end = size;
	image->size = round_up(size, SECTOR);
	if (is_possible(image, image->size))
		return;
	image->size = round_down(size, image->block_size);
	log_info("%s: its last %" PRIu64 " bytes are not served: with O_DIRECT this file system "
		 "reads whole blocks only, and they are not one",
		 name, size - image->size);
}

static int choose_size(struct image *image, const struct image_options *options, uint64_t size)
{
	const char *name = options->path ? options->path : "--size";

	if (!size) {
		log_error("%s: it is empty, a disk has at least one block", name);
		return -EINVAL;
	}
	choose_end(image, name, size);
	if (image->size % image->block_size) {
		log_error("%s: its size of %" PRIu64
			  " bytes is not a multiple of its block size, %u",
			  name, size, image->block_size);
		return -EINVAL;
	}
	return 0;
}

static int choose_topology(struct image *image, const struct image_options *options,
			   const struct image_facts *facts)
{
	const char *name = options->path ? options->path : "--size";
	uint32_t block = image->block_size;

	image->physical_block_size = options->physical_block_size ? options->physical_block_size
								  : larger(facts->physical, block);
	if (image->physical_block_size < block) {
		log_error("%s: --physical-block-size=%u is smaller than its block size, %u", name,
			  options->physical_block_size, block);
		return -EINVAL;
	}
	image->optimal_io_size = options->optimal_io_size;
	if (image->optimal_io_size % block) {
		log_error("%s: --optimal-io-size=%u is not a multiple of its block size, %u", name,
			  options->optimal_io_size, block);
		return -EINVAL;
	}
	if (!image->optimal_io_size && !(facts->optimal % block))
		image->optimal_io_size = facts->optimal;
	return 0;
}

static void choose_discard(struct image *image, const struct image_options *options,
			   const struct image_facts *facts)
{
	uint64_t unit = round_up(facts->discard_granularity, image->block_size);

	image->can_discard = options->discard && !image->read_only && unit && unit <= MAX_REQUEST;
	if (!image->can_discard)
		return;
	image->discard_alignment = (uint32_t)unit;
	/* A device whose limit is below its own granularity has the kernel split requests. */
	image->max_discard = round_down(smaller(facts->max_discard, MAX_REQUEST), unit);
	if (!image->max_discard)
		image->max_discard = unit;
}

static void choose_write_zeroes(struct image *image, const struct image_options *options,
				const struct image_facts *facts)
{
	uint64_t limit = facts->max_write_zeroes;

	image->can_write_zeroes = !image->read_only;
	if (!image->can_write_zeroes)
		return;
	image->unmap_zeroes = options->discard && limit;
	image->max_write_zeroes =
		round_down(smaller(limit ? limit : MAX_REQUEST, MAX_REQUEST), image->block_size);
	if (!image->max_write_zeroes)
		image->max_write_zeroes = image->block_size;
}

static int make_disk(struct image *image, const struct image_options *options,
		     const struct image_facts *facts)
{
	int err = choose_block_size(image, options, facts);

	if (!err)
		err = choose_size(image, options, facts->size);
	if (!err)
		err = choose_topology(image, options, facts);
	if (err)
		return err;
	choose_discard(image, options, facts);
	choose_write_zeroes(image, options, facts);
	return 0;
}

/* ---- public ---- */

static int open_with_facts(struct image *image, const struct image_options *options,
			   struct image_facts *facts)
{
	int err;

	if (!options->path) {
		*facts = (struct image_facts){
			.size = options->null_size,
			.logical = SECTOR,
			.physical = SECTOR,
			.mem_align = 1,
			.offset_align = 1,
			.discard_granularity = SECTOR,
			.max_discard = UINT64_MAX,
			.max_write_zeroes = UINT64_MAX,
		};
		image->mem_align = image->offset_align = 1;
		return 0;
	}
	err = open_image(image, options);
	return err ? err : find_facts(image, options->path, facts);
}

static void check_format(const struct image_facts *facts, const char *path)
{
	const char *format = image_format_find(facts->head);

	if (format)
		log_warning("%s: it looks like a %s image, but is served as a raw one: the guest "
			    "sees the file itself, and not the disk in it; \"qemu-img convert -O "
			    "raw\" makes a raw one, and qemu-storage-daemon serves other formats",
			    path, format);
}

int image_open(struct image *image, const struct image_options *options)
{
	struct image_facts facts;
	int err;

	*image = (struct image){
		.fd = -1,
		.read_only = options->read_only,
		.durable = options->cache == IMAGE_CACHE_WRITETHROUGH,
	};
	err = open_with_facts(image, options, &facts);
	if (!err && options->path && options->cache == IMAGE_CACHE_NONE && !image->direct)
		log_warning("%s: this file system does not support O_DIRECT; using the page cache, "
			    "as with --cache=writeback",
			    options->path);
	if (!err)
		err = make_disk(image, options, &facts);
	if (!err)
		check_format(&facts, options->path);
	if (err) {
		image_close(image);
		return err;
	}
	log_debug("%s: %" PRIu64 " bytes, blocks of %u/%u/%u, buffers aligned to %u, %s",
		  options->path ? options->path : "no image", image->size, image->block_size,
		  image->physical_block_size, image->optimal_io_size, image->mem_align,
		  image->direct ? "O_DIRECT" : "page cache");
	return 0;
}

void image_close(struct image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	image->fd = -1;
}
