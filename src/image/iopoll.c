/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See image/iopoll.h. Newer kernels refuse to poll a device that has no queues for it; older ones
 * (6.1) quietly wait for its interrupt instead, so /sys is asked first. Where /sys has no word, as
 * for a file system on several devices, the read decides alone.
 */
#include "image/iopoll.h"

#include <errno.h>
#include <liburing.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "image/probe.h"

#define BLOCK 4096u

/* Does the kernel say that the device has no queues to be polled? */
static bool is_without_queues(const struct image *image)
{
	uint64_t io_poll = 1;
	struct stat st;

	if (fstat(image->fd, &st))
		return false;
	return image_probe_queue_limit(image->is_device ? st.st_rdev : st.st_dev, "io_poll",
				       &io_poll) &&
	       !io_poll;
}

/* Reads a block at `offset` with the ring. 0 or -errno; where it ends does not matter. */
static int read_block(struct io_uring *ring, int fd, off_t offset)
{
	void *buffer = aligned_alloc(BLOCK, BLOCK);
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int err;

	if (!buffer || !sqe) {
		free(buffer);
		return -ENOMEM;
	}
	io_uring_prep_read(sqe, fd, buffer, BLOCK, (uint64_t)offset);
	do {
		err = io_uring_submit(ring);
	} while (err == -EINTR || err == -EAGAIN);
	if (err == 1) {
		do {
			err = io_uring_wait_cqe(ring, &cqe);
		} while (err == -EINTR || err == -EAGAIN);
		if (!err)
			err = cqe->res < 0 ? cqe->res : 0;
	} else if (err >= 0) {
		err = -EIO;
	}
	free(buffer);
	return err;
}

static int try_reading(const struct image *image)
{
	struct io_uring ring;
	/* What is read must be on the device: of a hole there is nothing to poll for. */
	off_t data = lseek(image->fd, 0, SEEK_DATA);
	int err = io_uring_queue_init(1, &ring, IORING_SETUP_IOPOLL);

	if (err)
		return err;
	data = data < 0 ? 0 : data - data % (off_t)image->block_size;
	err = read_block(&ring, image->fd, data);
	io_uring_queue_exit(&ring);
	return err;
}

int image_iopoll_probe(const struct image *image)
{
	int err;

	if (!image->direct) {
		log_error(
			"--iopoll needs O_DIRECT, which the image's file system does not support");
		return -EOPNOTSUPP;
	}
	err = is_without_queues(image) ? -EOPNOTSUPP : try_reading(image);
	if (err == -EOPNOTSUPP)
		log_error("--iopoll: the image's device has no queues that can be polled; give it "
			  "some with the kernel parameter nvme.poll_queues=N, or "
			  "virtio_blk.poll_queues=N, or do without");
	else if (err)
		log_error("--iopoll: cannot read the image by polling: %s", strerror(-err));
	return err;
}
