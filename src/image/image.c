/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See image/image.h. Makes a disk of what the image's kind found out about it and of what the
 * operator asked for. Every refusal is logged, in one line that names the remedy. Control thread.
 */
#include "image/image.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>
#include <sys/stat.h>

#include "base/log.h"
#include "image/blocks.h"
#include "image/format.h"
#include "image/probe.h"
#include "image/size.h"

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
	int err = image->kind->go_buffered(image, options->path);

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

/* Up to where each block can be read and, if it is to be, written. */
static void choose_end(struct image *image, const char *name, uint64_t size)
{
	image->end = size;
	image->size = image_size_round(image_grows_by_writes(image) ? image->fd : -1, size,
				       image->block_size);
	if (image->size >= size)
		return;
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
		.kind = options->path ? &image_file : &image_null,
		.fd = -1,
		.read_only = options->read_only,
		.durable = options->cache == IMAGE_CACHE_WRITETHROUGH,
	};
	facts = (struct image_facts){0};
	err = image->kind->open(image, options, &facts);
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
	if (image->kind)
		image->kind->close(image);
}

bool image_is_same(const struct image *a, const struct image *b)
{
	struct stat sa, sb;

	if (a->fd < 0 || b->fd < 0 || fstat(a->fd, &sa) || fstat(b->fd, &sb))
		return false;
	/* A device may have many nodes. */
	if (S_ISBLK(sa.st_mode) && S_ISBLK(sb.st_mode))
		return sa.st_rdev == sb.st_rdev;
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

void image_hold_init(struct image_hold *hold, const struct image *image)
{
	*hold = (struct image_hold){.fd = image->fd, .claim = -1};
}
