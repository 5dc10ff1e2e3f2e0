/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a chain to what is to be done: framing, header, checks, and the table of request types.
 * Worker thread.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "request/exec.h"
#include "request/rw.h"
#include "request/sync.h"
#include "request/tally.h"
#include "request/zeroes.h"

#define SECTOR 512u

/* The flush of drivers from before virtio had a specification; so illumos's still asks. */
#define T_FLUSH_OUT 5u

/* ---- framing: any that the guest chooses (virtio 2.7.4) ---- */

#define HEADER sizeof(struct virtio_blk_outhdr)

/* Reads the header off the front of what the device reads; false if that is too short. */
static bool read_header(const struct vublk_chain *chain, struct virtio_blk_outhdr *header)
{
	/* As nearly every driver frames it. */
	if (chain->n_out && chain->out->iov_len == HEADER) {
		memcpy(header, chain->out->iov_base, HEADER);
		/* Keep the compiler from going back to the original. */
		__asm__ volatile("" : : "r"(header) : "memory");
		return true;
	}
	return vublk_iov_read(chain->out, chain->n_out, 0, header, HEADER) == HEADER;
}

/* The status byte at the end of what the device writes; NULL if there is none. */
static uint8_t *find_status(const struct vublk_chain *chain)
{
	const struct iovec *last;

	if (!chain->n_in)
		return NULL;
	last = &chain->in[chain->n_in - 1];
	return (uint8_t *)last->iov_base + last->iov_len - 1;
}

/* What a write has between the header and the end, or a read before the status. */
static void find_data(struct blk_req *req, bool write)
{
	const struct vublk_chain *chain = &req->chain;

	if (write) {
		req->data = (struct vublk_cursor){chain->out + 1, chain->n_out - 1, 0};
		if (chain->out->iov_len != HEADER) {
			req->data = (struct vublk_cursor){chain->out, chain->n_out, 0};
			vublk_cursor_advance(&req->data, HEADER);
		}
		req->ends_inside = false;
		req->left = chain->out_size - HEADER;
	} else {
		req->ends_inside = chain->in[chain->n_in - 1].iov_len > 1;
		req->data = (struct vublk_cursor){chain->in, chain->n_in - !req->ends_inside, 0};
		req->left = chain->in_size - 1;
	}
}

/* ---- checks ---- */

/* Is the range, in sectors, on the disk and in whole blocks? 0 or -errno. */
static int check_range(const struct blk_disk *disk, uint64_t sector, uint64_t size)
{
	const uint64_t capacity = image_end_limit(disk->end) / SECTOR;

	if (size % SECTOR)
		return -EINVAL;
	if (sector > capacity || size / SECTOR > capacity - sector) {
		const uint64_t told = image_end_capacity(disk->end);

		if (sector > told / SECTOR || size / SECTOR > told / SECTOR - sector)
			image_end_reached(disk->end, told);
		return -EINVAL;
	}
	if ((sector * SECTOR | size) & (disk->image->block_size - 1))
		return -EINVAL;
	return 0;
}

/*
 * Before a write, which makes a file that was truncated grow. A queue that is busy does not look:
 * image/watch.h does.
 */
static void look_at_end(struct blk_env *env)
{
	if (!env->rested)
		return;
	env->rested = false;
	image_end_check(env->disk->end);
}

/* Nothing is wrong with it: `begin` does it, now or when the disk's limits let it. */
static void do_when_admitted(struct blk_req *req, void (*begin)(struct blk_req *req))
{
	if (req->env->admit) {
		req->resume = begin;
		if (!req->env->admit(req))
			return;
	}
	begin(req);
}

void blk_req_resume(struct blk_req *req)
{
	/* The image may have been truncated meanwhile, and is not to grow again. */
	const int err = check_range(req->env->disk, req->offset / SECTOR, req->left);

	if (err)
		blk_req_finish(req, err);
	else
		req->resume(req);
}

/* ---- the types ---- */

static void begin_rw(struct blk_req *req, uint64_t sector, enum io_op op)
{
	const struct blk_disk *disk = req->env->disk;
	const bool write = op == IO_WRITE;
	int err;

	find_data(req, write);
	req->size = req->left;
	if (write)
		look_at_end(req->env);
	err = check_range(disk, sector, req->left);
	if (err || !req->left) {
		blk_req_finish(req, err);
		return;
	}
	req->offset = req->start = sector * SECTOR;
	req->io.op = (uint8_t)op;
	req->io.flags = 0;
	if (write && blk_disk_durable(disk)) {
		/*
		 * A write past the page cache to a device answers for itself. All others could take
		 * each other's error, or a flush's.
		 */
		if (disk->image->direct && disk->image->is_device)
			req->io.flags = IO_F_DSYNC;
		else
			req->durable = true;
	}
	do_when_admitted(req, blk_rw_begin);
}

static void begin_read(struct blk_req *req, uint64_t sector)
{
	begin_rw(req, sector, IO_READ);
}

static void begin_write(struct blk_req *req, uint64_t sector)
{
	begin_rw(req, sector, IO_WRITE);
}

static void begin_flush(struct blk_req *req, uint64_t sector)
{
	(void)sector;
	/* Nothing to sync; and some file systems that cannot be written to refuse it. */
	if (req->env->disk->image->read_only)
		blk_req_finish(req, 0);
	else
		blk_sync_join(req);
}

/* The device ID string: NUL-padded, 20 bytes, cut to the room there is. */
static void begin_get_id(struct blk_req *req, uint64_t sector)
{
	const struct vublk_chain *chain = &req->chain;
	const uint64_t room = chain->in_size - 1;
	const char *serial = req->env->disk->serial;
	char id[VIRTIO_BLK_ID_BYTES] = {0};

	(void)sector;
	memcpy(id, serial, strnlen(serial, sizeof(id)));
	req->size = vublk_iov_write(chain->in, chain->n_in, 0, id,
				    room < sizeof(id) ? (size_t)room : sizeof(id));
	blk_req_finish(req, 0);
}

/*
 * DISCARD and WRITE_ZEROES carry one segment, of at most `most` bytes; more segments than one are
 * not supported, nor are flags other than `allowed`. Its own in *flags. false: refused, or nothing
 * to do; then it is answered.
 */
static bool take_segment(struct blk_req *req, uint64_t most, uint32_t allowed, uint32_t *flags)
{
	const struct vublk_chain *chain = &req->chain;
	struct virtio_blk_discard_write_zeroes segment;
	uint64_t sector, size;
	int err = 0;

	if (chain->out_size > HEADER + sizeof(segment))
		err = -EOPNOTSUPP;
	else if (vublk_iov_read(chain->out, chain->n_out, HEADER, &segment, sizeof(segment)) !=
		 sizeof(segment))
		err = -EINVAL;
	if (err) {
		blk_req_finish(req, err);
		return false;
	}
	look_at_end(req->env);
	sector = le64toh(segment.sector);
	size = (uint64_t)le32toh(segment.num_sectors) * SECTOR;
	*flags = le32toh(segment.flags);
	if (*flags & ~allowed)
		err = -EOPNOTSUPP;
	else if (size > most)
		err = -EINVAL;
	else
		err = check_range(req->env->disk, sector, size);
	if (err || !size) {
		blk_req_finish(req, err);
		return false;
	}
	req->offset = req->start = sector * SECTOR;
	req->left = size;
	return true;
}

static void begin_discard(struct blk_req *req, uint64_t sector)
{
	uint32_t flags;

	(void)sector;
	if (take_segment(req, req->env->disk->image->max_discard, 0, &flags))
		do_when_admitted(req, blk_discard_begin);
}

static void zero(struct blk_req *req)
{
	blk_zeroes_begin(req, false);
}

static void zero_and_unmap(struct blk_req *req)
{
	blk_zeroes_begin(req, true);
}

static void begin_write_zeroes(struct blk_req *req, uint64_t sector)
{
	uint32_t flags;

	(void)sector;
	if (take_segment(req, req->env->disk->image->max_write_zeroes,
			 VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP, &flags))
		do_when_admitted(req, flags ? zero_and_unmap : zero);
}

static void begin_unknown(struct blk_req *req, uint64_t sector)
{
	(void)sector;
	blk_req_finish(req, -EOPNOTSUPP);
}

#define FEATURE(name) (1ull << VIRTIO_BLK_F_##name)

static const struct blk_type types[] = {
	{VIRTIO_BLK_T_IN, "read", .answers = true, .kind = IO_ERRORS_READ, .counted = BLK_KIND_READ,
	 .begin = begin_read},
	{VIRTIO_BLK_T_OUT, "write", .changes = true, .kind = IO_ERRORS_WRITE,
	 .counted = BLK_KIND_WRITE, .begin = begin_write},
	{VIRTIO_BLK_T_FLUSH, "flush", .kind = IO_ERRORS_FLUSH, .counted = BLK_KIND_FLUSH,
	 .begin = begin_flush},
	{T_FLUSH_OUT, "flush", .kind = IO_ERRORS_FLUSH, .counted = BLK_KIND_FLUSH,
	 .begin = begin_flush},
	{VIRTIO_BLK_T_GET_ID, "get-id", .answers = true, .kind = IO_ERRORS_OTHER,
	 .counted = BLK_KIND_OTHER, .begin = begin_get_id},
	{VIRTIO_BLK_T_DISCARD, "discard", .feature = FEATURE(DISCARD), .changes = true,
	 .kind = IO_ERRORS_OTHER, .counted = BLK_KIND_DISCARD, .begin = begin_discard},
	{VIRTIO_BLK_T_WRITE_ZEROES, "write-zeroes", .feature = FEATURE(WRITE_ZEROES),
	 .changes = true, .kind = IO_ERRORS_OTHER, .counted = BLK_KIND_WRITE_ZEROES,
	 .begin = begin_write_zeroes},
};

/* What no row is for, or is not even a request. */
static const struct blk_type unknown = {
	.name = "request", .counted = BLK_KIND_OTHER, .begin = begin_unknown};

static const struct blk_type *find_type(uint32_t type)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (types[i].type == type)
			return &types[i];
	return &unknown;
}

/* May a request of this type be done on this disk? 0 or -errno. */
static int check_type(const struct blk_type *type, const struct blk_disk *disk)
{
	/* virtio 5.2.6.2: "MUST set ... IOERR for a write request if ... RO ... is offered" */
	if (type->changes && disk->image->read_only)
		return -EROFS;
	return type->feature & ~disk->features ? -EOPNOTSUPP : 0;
}

void blk_req_begin(struct blk_req *req)
{
	struct virtio_blk_outhdr header;
	int err;

	req->active = true;
	req->stalled = req->durable = req->syncing = false;
	req->start = req->size = 0;
	req->bounce = NULL;
	req->merged = NULL;
	req->type = &unknown;
	req->status = find_status(&req->chain);
	if (!req->status) {
		req->active = false;
		blk_tally_add(req, -EINVAL);
		req->env->malformed(req, "a request without a status byte");
		return;
	}
	if (!read_header(&req->chain, &header)) {
		blk_req_finish(req, -EINVAL);
		return;
	}
	req->type = find_type(le32toh(header.type));
	err = check_type(req->type, req->env->disk);
	if (err)
		blk_req_finish(req, err);
	else
		req->type->begin(req, le64toh(header.sector));
}
