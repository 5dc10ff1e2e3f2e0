/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session, see bench_dev.h. Main thread. What the back-end answers is checked: by the front-end
 * library as messages, here as what the options can work with.
 */
#include "bench_dev.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE       4096u
#define LINE       64u /* bytes: what processors take from each other */
#define SECTOR     512u
#define FLOOR_SIZE (1ull << 40) /* bytes: what the disk of --floor pretends to be */

__attribute__((format(printf, 2, 3))) static int fail(struct bench_dev *dev, const char *format,
						      ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(dev->error, sizeof(dev->error), format, ap);
	va_end(ap);
	return -1;
}

/* What a call of the front-end library has answered, after `what` was tried. */
static int step(struct bench_dev *dev, const char *what, int ret)
{
	if (!ret)
		return 0;
	if (ret == FE_REFUSED)
		return fail(dev, "%s: the back-end refuses", what);
	if (ret == -EPIPE)
		return fail(dev, "%s: the back-end closed the connection", what);
	if (ret == -EPROTO)
		return fail(dev, "%s: the back-end's answer is no vhost-user reply to it", what);
	return fail(dev, "%s: %s", what, strerror(-ret));
}

/* ---- connecting ---- */

static int connect_to(struct bench_dev *dev, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct ucred peer;
	socklen_t size = sizeof(peer);
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fail(dev, "socket: %s", strerror(errno));
	dev->fe.conn = (struct fe_conn){.fd = fd};
	strcpy(addr.sun_path, path); /* the options have seen that it fits */
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fail(dev, "cannot connect to %s: %s", path, strerror(errno));
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		dev->pid = peer.pid;
	return 0;
}

/* ---- negotiating ---- */

static uint64_t features_off(const struct bench_options *options)
{
	return (options->event_idx ? 0 : FE_BIT(VIRTIO_RING_F_EVENT_IDX)) |
	       (options->indirect ? 0 : FE_BIT(VIRTIO_RING_F_INDIRECT_DESC));
}

static int check_features(struct bench_dev *dev, const struct bench_options *options)
{
	if (options->event_idx && !fe_dev_has(&dev->fe, VIRTIO_RING_F_EVENT_IDX))
		return fail(dev, "the back-end does not offer EVENT_IDX: use --event-idx=off");
	if (options->indirect && !fe_dev_has(&dev->fe, VIRTIO_RING_F_INDIRECT_DESC))
		return fail(dev, "the back-end does not offer indirect descriptors: "
				 "use --descriptors=direct");
	if (options->read_percent < 100 && fe_dev_has(&dev->fe, VIRTIO_BLK_F_RO))
		return fail(dev, "the disk is read-only, --rw must be read or randread");
	/* qemu-storage-daemon offers a limit of 0 and means none. */
	if (fe_dev_has(&dev->fe, VIRTIO_BLK_F_SIZE_MAX) && dev->fe.config.size_max &&
	    options->block_size > dev->fe.config.size_max)
		return fail(dev, "--block-size is %u, the back-end takes %u bytes at most",
			    options->block_size, dev->fe.config.size_max);
	if (dev->fe.max_queues < options->n_queues)
		return fail(dev, "--num-queues is %u, the back-end has %llu", options->n_queues,
			    (unsigned long long)dev->fe.max_queues);
	return 0;
}

static int negotiate(struct bench_dev *dev, const struct bench_options *options)
{
	const uint64_t bit = FE_BIT(VHU_PROTOCOL_F_INFLIGHT_SHMFD);
	const int ret = fe_dev_negotiate(&dev->fe);

	if (ret == -ENOTSUP)
		return fail(dev, "the back-end does not offer packed rings: use --ring=split");
	if (step(dev, "negotiation", ret) || check_features(dev, options))
		return -1;
	if (!options->inflight)
		return 0;
	if (!(dev->fe.protocol_offered & bit))
		return options->inflight_given
			       ? fail(dev, "the back-end offers no in-flight region: "
					   "use --inflight=off")
			       : 0;
	dev->fe.protocol |= bit;
	if (step(dev, "SET_PROTOCOL_FEATURES",
		 fe_tell_u64(&dev->fe.conn, VHU_SET_PROTOCOL_FEATURES, dev->fe.protocol)))
		return -1;
	if (step(dev, "GET_INFLIGHT_FD",
		 fe_inflight_get(&dev->fe, &dev->inflight, options->queue_size)))
		return -1;
	return step(dev, "SET_INFLIGHT_FD", fe_inflight_set(&dev->fe, &dev->inflight));
}

/* The part of the disk to be used, of whose size only now something is known. */
static int find_area(struct bench_dev *dev, const struct bench_options *options, uint64_t disk)
{
	const uint64_t rest = options->offset < disk ? disk - options->offset : 0;

	dev->area = options->size ? options->size : rest;
	if (dev->area > rest)
		return fail(dev, "--offset and --size end at %llu, the disk at %llu bytes",
			    (unsigned long long)(options->offset + options->size),
			    (unsigned long long)disk);
	if (dev->area / options->block_size < options->n_queues)
		return fail(dev,
			    "the area has %llu bytes, too few for a block of %u for each queue",
			    (unsigned long long)dev->area, options->block_size);
	return 0;
}

/* ---- memory ---- */

static uint64_t round_up(uint64_t size, uint64_t to)
{
	return (size + to - 1) / to * to;
}

/* Rings, and for each request a header with its status, a table, and data. */
static uint64_t memory_size(const struct bench_options *options)
{
	const uint64_t ring = options->queue_size * 32ull + 16 * LINE;
	const uint64_t request = 2 * LINE + round_up(options->block_size, PAGE);

	return round_up(options->n_queues * (ring + PAGE + options->depth * request), PAGE);
}

static int make_memory(struct bench_dev *dev, const struct bench_options *options)
{
	const uint64_t size = memory_size(options);
	const int ret = fe_mem_add(&dev->fe.mem, 0, size, 0);

	if (ret < 0)
		return fail(dev, "cannot make %llu bytes of guest memory: %s",
			    (unsigned long long)size, strerror(-ret));
	/* What two sides write must not meet in a cache line by chance. */
	dev->fe.mem.min_align = LINE;
	/* Page faults are not to be measured. Without this call they come in the first round. */
	madvise(dev->fe.mem.region[ret].host, size, MADV_POPULATE_WRITE);
	return 0;
}

/* ---- all of it ---- */

static void set_options(struct bench_dev *dev, const struct bench_options *options)
{
	dev->fe.options = (struct fe_dev_options){
		.features_off = features_off(options),
		.n_queues = options->n_queues,
		.queue_size = options->queue_size,
		.packed = options->packed,
	};
}

static int open_floor(struct bench_dev *dev, const struct bench_options *options)
{
	dev->fe.conn.fd = -1;
	dev->fe.features = FE_BIT(VIRTIO_F_VERSION_1);
	if (options->event_idx)
		dev->fe.features |= FE_BIT(VIRTIO_RING_F_EVENT_IDX);
	if (options->packed)
		dev->fe.features |= FE_BIT(VIRTIO_F_RING_PACKED);
	if (find_area(dev, options, FLOOR_SIZE) || make_memory(dev, options))
		return -1;
	return step(dev, "making the rings", fe_dev_make_vqs(&dev->fe));
}

int bench_dev_open(struct bench_dev *dev, const char *path, const struct bench_options *options)
{
	set_options(dev, options);
	if (!path)
		return open_floor(dev, options);
	if (connect_to(dev, path) || negotiate(dev, options) ||
	    find_area(dev, options, dev->fe.config.capacity * SECTOR) || make_memory(dev, options))
		return -1;
	if (step(dev, "sharing the memory", fe_dev_share_memory(&dev->fe)))
		return -1;
	return step(dev, "making the rings", fe_dev_make_vqs(&dev->fe));
}

int bench_dev_start_rings(struct bench_dev *dev)
{
	char what[32];

	for (unsigned int i = 0; i < dev->fe.n_queues; i++) {
		fe_vq_silence(&dev->fe.vq[i], true);
		snprintf(what, sizeof(what), "starting queue %u", i);
		if (dev->fe.conn.fd >= 0 && step(dev, what, fe_dev_start_vq(&dev->fe, i)))
			return -1;
	}
	if (dev->fe.conn.fd < 0)
		return 0;
	return step(dev, "SET_STATUS", fe_dev_set_driver_ok(&dev->fe));
}

void bench_dev_close(struct bench_dev *dev, bool lost)
{
	if (dev->fe.conn.fd > 0 && dev->fe.n_queues && !lost)
		fe_dev_stop(&dev->fe);
	fe_inflight_free(&dev->inflight);
	fe_dev_close(&dev->fe);
}
