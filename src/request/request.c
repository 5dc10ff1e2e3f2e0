/* SPDX-License-Identifier: BSD-3-Clause */
#include "request/request.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_blk.h>
#include <string.h>

#include "base/container.h"
#include "queue/queue.h"
#include "request/merge.h"
#include "worker/worker.h"

#define SECTOR 512u

/* The flush of drivers from before virtio had a specification; so illumos's still asks. */
#define T_FLUSH_OUT 5u

/* ---- framing: any that the guest chooses (virtio 2.7.4) ---- */

/* Takes `size` bytes off the front of what the device reads; false if there are fewer. */
static bool take_front(struct vublk_chain *chain, void *to, size_t size)
{
	/* As nearly every driver frames it. */
	if (chain->n_out && chain->out->iov_len == size) {
		memcpy(to, chain->out->iov_base, size);
		/* Keep the compiler from going back to the original. */
		__asm__ volatile("" : : "r"(to) : "memory");
		chain->out_size -= size;
		chain->out++;
		chain->n_out--;
		return true;
	}
	if (vublk_iov_read(chain->out, chain->n_out, 0, to, size) != size)
		return false;
	chain->out_size -= size;
	vublk_iov_drop(&chain->out, &chain->n_out, size);
	return true;
}

/* Takes the status byte off the end of what the device writes; NULL if there is none. */
static uint8_t *take_status(struct vublk_chain *chain)
{
	struct iovec *last;

	if (!chain->n_in)
		return NULL;
	last = &chain->in[chain->n_in - 1];
	last->iov_len--;
	chain->in_size--;
	if (!last->iov_len)
		chain->n_in--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

/* ---- checks ---- */

/* Is the range, in sectors, on the disk and in whole blocks? 0 or -errno. */
static int check_range(const struct blk_disk *disk, uint64_t sector, uint64_t size)
{
	const uint64_t capacity = image_end_limit(disk->end) / SECTOR;

	if (size % SECTOR)
		return -EINVAL;
	if (sector > capacity || size / SECTOR > capacity - sector) {
		if (sector > disk->image->size / SECTOR ||
		    size / SECTOR > disk->image->size / SECTOR - sector)
			image_end_reached(disk->end, disk->image->size);
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
static void look_at_end(struct queue *queue)
{
	if (!queue->rested)
		return;
	queue->rested = false;
	image_end_check(queue->disk->end);
}

static void begin_rw(struct blk_req *req, uint64_t sector, bool write)
{
	const struct blk_disk *disk = req->queue->disk;
	struct vublk_chain *chain = &req->chain;
	int err;

	req->data = write ? chain->out : chain->in;
	req->n_data = write ? chain->n_out : chain->n_in;
	req->left = req->size = write ? chain->out_size : chain->in_size;
	if (write)
		look_at_end(req->queue);
	err = check_range(disk, sector, req->left);
	/* virtio 5.2.6.2: "MUST set ... IOERR for a write request if ... RO ... is offered" */
	if (!err && write && disk->image->read_only)
		err = -EROFS;
	if (err || !req->left) {
		blk_req_finish(req, err);
		return;
	}
	req->offset = req->start = sector * SECTOR;
	req->io.op = write ? IO_WRITE : IO_READ;
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
	blk_rw_begin(req);
}

/* DISCARD and WRITE_ZEROES carry one segment; more than one is not supported. */
static void begin_zeroes(struct blk_req *req, bool discard)
{
	const struct image *image = req->queue->disk->image;
	const uint64_t feature = discard ? VIRTIO_BLK_F_DISCARD : VIRTIO_BLK_F_WRITE_ZEROES;
	const uint64_t most = discard ? image->max_discard : image->max_write_zeroes;
	struct virtio_blk_discard_write_zeroes segment;
	uint64_t sector, size;
	uint32_t flags;
	int err = 0;

	if (image->read_only)
		err = -EROFS;
	else if (!(req->queue->disk->features >> feature & 1))
		err = -EOPNOTSUPP;
	else if (req->chain.out_size > sizeof(segment))
		err = -EOPNOTSUPP;
	else if (!take_front(&req->chain, &segment, sizeof(segment)))
		err = -EINVAL;
	if (err) {
		blk_req_finish(req, err);
		return;
	}
	look_at_end(req->queue);
	sector = le64toh(segment.sector);
	size = (uint64_t)le32toh(segment.num_sectors) * SECTOR;
	flags = le32toh(segment.flags);
	if (flags & ~VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP || (discard && flags))
		err = -EOPNOTSUPP;
	else if (size > most)
		err = -EINVAL;
	else
		err = check_range(req->queue->disk, sector, size);
	if (err || !size) {
		blk_req_finish(req, err);
		return;
	}
	req->offset = req->start = sector * SECTOR;
	req->left = size;
	if (discard)
		blk_discard_begin(req);
	else
		blk_zeroes_begin(req, flags);
}

static void begin_flush(struct blk_req *req)
{
	/* Nothing to sync; and some file systems that cannot be written to refuse it. */
	if (req->queue->disk->image->read_only) {
		blk_req_finish(req, 0);
		return;
	}
	req->type = VIRTIO_BLK_T_FLUSH;
	blk_sync_join(req);
}

/* The device ID string: NUL-padded, 20 bytes, cut to the room there is. */
static void begin_get_id(struct blk_req *req)
{
	char id[VIRTIO_BLK_ID_BYTES] = {0};
	size_t length = strnlen(req->queue->disk->serial, sizeof(id));

	memcpy(id, req->queue->disk->serial, length);
	req->size = vublk_iov_write(req->chain.in, req->chain.n_in, 0, id, sizeof(id));
	blk_req_finish(req, 0);
}

void blk_req_begin(struct blk_req *req)
{
	struct virtio_blk_outhdr header;
	uint64_t sector;

	req->active = true;
	req->stalled = req->durable = req->syncing = false;
	req->start = req->size = 0;
	req->bounce = NULL;
	req->merged = NULL;
	req->type = UINT32_MAX;
	req->status = take_status(&req->chain);
	if (!req->status) {
		req->active = false;
		vublk_queue_break(req->queue->vq, "a request without a status byte");
		queue_finished(req->queue, req, 0);
		return;
	}
	if (!take_front(&req->chain, &header, sizeof(header))) {
		blk_req_finish(req, -EINVAL);
		return;
	}
	req->type = le32toh(header.type);
	sector = le64toh(header.sector);
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		begin_rw(req, sector, false);
		break;
	case VIRTIO_BLK_T_OUT:
		begin_rw(req, sector, true);
		break;
	case VIRTIO_BLK_T_FLUSH:
	case T_FLUSH_OUT:
		begin_flush(req);
		break;
	case VIRTIO_BLK_T_GET_ID:
		begin_get_id(req);
		break;
	case VIRTIO_BLK_T_DISCARD:
		begin_zeroes(req, true);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		begin_zeroes(req, false);
		break;
	default:
		blk_req_finish(req, -EOPNOTSUPP);
	}
}

/* ---- execution ---- */

/* It stays in flight, for whoever serves the ring next, who begins it anew. */
static void drop_one(struct blk_req *req)
{
	if (req->bounce)
		worker_bounce_put(req->queue->worker, req->bounce);
	req->bounce = NULL;
	req->active = false;
	req->merged = NULL;
	queue_dropped(req->queue, req);
}

/* And those that are done by the same operation. */
static void drop(struct blk_req *req)
{
	while (req) {
		struct blk_req *next = req->merged;

		drop_one(req);
		req = next;
	}
}

bool blk_req_withdraw(struct blk_req *req)
{
	struct worker *worker = req->queue->worker;

	if (req->syncing ? !blk_sync_leave(req)
			 : !worker_bounce_cancel(worker, req) &&
				   !engine_withdraw(worker_engine(worker), &req->io))
		return false;
	drop(req);
	return true;
}

void blk_req_submit(struct blk_req *req)
{
	if (req->queue->suspending) {
		drop(req);
		return;
	}
	req->io.file = req->queue->file;
	req->io.done = blk_req_io_done;
	engine_submit(worker_engine(req->queue->worker), &req->io);
}

static const char *type_name(uint32_t type)
{
	switch (type) {
	case VIRTIO_BLK_T_IN:
		return "read";
	case VIRTIO_BLK_T_OUT:
		return "write";
	case VIRTIO_BLK_T_FLUSH:
		return "flush";
	case VIRTIO_BLK_T_DISCARD:
		return "discard";
	default:
		return "write-zeroes";
	}
}

void blk_req_io_done(struct io *io)
{
	struct blk_req *req = container_of(io, struct blk_req, io);

	if (req->syncing) {
		blk_sync_io_done(req);
		return;
	}
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		if (req->merged)
			blk_merge_done(req);
		else
			blk_rw_io_done(req);
		break;
	default:
		blk_zeroes_io_done(req);
	}
}

static enum io_errors_kind error_kind(uint32_t type)
{
	switch (type) {
	case VIRTIO_BLK_T_IN:
		return IO_ERRORS_READ;
	case VIRTIO_BLK_T_OUT:
		return IO_ERRORS_WRITE;
	case VIRTIO_BLK_T_FLUSH:
		return IO_ERRORS_FLUSH;
	default:
		return IO_ERRORS_OTHER;
	}
}

void blk_req_host_done(struct blk_req *req, int err)
{
	struct queue *queue = req->queue;

	if (err)
		io_errors_count(queue->disk->errors, error_kind(req->type));
	if (err && log_limit_ok(&queue->io_errors, LOG_LEVEL_ERROR, "I/O errors"))
		log_error("%s: queue %u: %s of %llu bytes at sector %llu failed: %s",
			  queue->disk->name, vublk_queue_index(queue->vq), type_name(req->type),
			  (unsigned long long)req->size, (unsigned long long)req->start / SECTOR,
			  strerror(-err));
	/* The host's "not supported" is not the guest's affair. */
	blk_req_finish(req, err == -EOPNOTSUPP ? -EIO : err);
}

/* ---- reply ---- */

static uint8_t status_of(int err)
{
	switch (err) {
	case 0:
		return VIRTIO_BLK_S_OK;
	case -EOPNOTSUPP:
		return VIRTIO_BLK_S_UNSUPP;
	default:
		return VIRTIO_BLK_S_IOERR;
	}
}

void blk_req_finish(struct blk_req *req, int err)
{
	const bool has_data = req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_GET_ID;
	uint64_t written = has_data && !err ? req->size : 0;

	/*
	 * virtio 2.7.8.2: the length counts from the first writable byte on, and may be too small
	 * but not too large. So the status byte counts only if all before it was written.
	 */
	if (written == req->chain.in_size)
		written++;
	*(volatile uint8_t *)req->status = status_of(err);
	req->active = false;
	queue_finished(req->queue, req, written < UINT32_MAX ? (uint32_t)written : UINT32_MAX);
}
