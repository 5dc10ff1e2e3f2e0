/* SPDX-License-Identifier: BSD-3-Clause */
/* The device's life, see fe_dev.h. Owns the connection, the guest memory and the rings. */
#define _GNU_SOURCE
#include "fe_dev.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define STATUS_DRIVER_OK \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | \
	 VIRTIO_CONFIG_S_DRIVER_OK)

/* What this front-end knows how to live with. */
#define OUR_FEATURES \
	(FE_BIT(VIRTIO_BLK_F_SIZE_MAX) | FE_BIT(VIRTIO_BLK_F_SEG_MAX) | \
	 FE_BIT(VIRTIO_BLK_F_GEOMETRY) | FE_BIT(VIRTIO_BLK_F_RO) | FE_BIT(VIRTIO_BLK_F_BLK_SIZE) | \
	 FE_BIT(VIRTIO_BLK_F_FLUSH) | FE_BIT(VIRTIO_BLK_F_TOPOLOGY) | \
	 FE_BIT(VIRTIO_BLK_F_CONFIG_WCE) | FE_BIT(VIRTIO_BLK_F_MQ) | \
	 FE_BIT(VIRTIO_BLK_F_DISCARD) | FE_BIT(VIRTIO_BLK_F_WRITE_ZEROES) | \
	 FE_BIT(VIRTIO_RING_F_INDIRECT_DESC) | FE_BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 FE_BIT(VHU_F_PROTOCOL_FEATURES) | FE_BIT(VIRTIO_F_VERSION_1))

/* As QEMU has it; the next session gets another one. */
int fe_dev_give_channel(struct fe_dev *dev)
{
	int pair[2], ret;

	if (dev->channel.fd > 0)
		fe_conn_close(&dev->channel);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	dev->channel.fd = dev->inband.fd = pair[0];
	ret = fe_tell(&dev->conn, VHU_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1);
	close(pair[1]);
	return ret;
}

/* A ring's call or error, whose payload is still to be read. */
static int take_notification(struct fe_dev *dev, const struct vhu_header *header)
{
	const bool call = header->request == VHU_BACKEND_VRING_CALL;
	struct vhu_vring_state state;

	if (!fe_dev_speaks(dev, VHU_PROTOCOL_F_INBAND_NOTIFICATIONS) ||
	    (!call && header->request != VHU_BACKEND_VRING_ERR) || header->size != sizeof(state) ||
	    recv(dev->channel.fd, &state, sizeof(state), MSG_DONTWAIT) != sizeof(state) ||
	    state.index >= dev->n_queues || state.num)
		return -EPROTO;
	eventfd_write(call ? dev->vq[state.index].call_fd : dev->vq[state.index].err_fd, 1);
	return 0;
}

int fe_dev_take(struct fe_dev *dev)
{
	struct vhu_header header;

	for (;;) {
		const ssize_t got = recv(dev->channel.fd, &header, sizeof(header), MSG_DONTWAIT);

		if (got < 0 && errno == EAGAIN)
			return 0;
		if (got <= 0)
			return got ? -errno : -EPIPE;
		if (got != sizeof(header) || header.flags != VHU_VERSION)
			return -EPROTO;
		if (header.request == VHU_BACKEND_CONFIG_CHANGE_MSG && !header.size)
			dev->config_changes++;
		else
			FE_TRY(take_notification(dev, &header));
	}
}

int fe_dev_config_changes(struct fe_dev *dev)
{
	int n;

	FE_TRY(fe_dev_take(dev));
	n = dev->config_changes;
	dev->config_changes = 0;
	return n;
}

static struct fe_dev *inband_dev(struct fe_vq_inband *inband)
{
	return (struct fe_dev *)(void *)((char *)inband - offsetof(struct fe_dev, inband));
}

static int kick_inband(struct fe_vq_inband *inband, unsigned int index)
{
	return fe_tell_state(&inband_dev(inband)->conn, VHU_VRING_KICK, index, 0);
}

static int take_inband(struct fe_vq_inband *inband)
{
	return fe_dev_take(inband_dev(inband));
}

static int negotiate_protocol(struct fe_dev *dev)
{
	struct fe_conn *conn = &dev->conn;

	FE_TRY(fe_ask_u64(conn, VHU_GET_PROTOCOL_FEATURES, &dev->protocol_offered));
	dev->protocol = dev->protocol_offered & FE_DEV_PROTOCOL & ~dev->options.protocol_off;
	if (dev->options.guest_physical)
		dev->protocol |= dev->protocol_offered & FE_BIT(VHU_PROTOCOL_F_GPA_ADDRESSES);
	if (dev->options.inband)
		dev->protocol |=
			dev->protocol_offered & FE_BIT(VHU_PROTOCOL_F_INBAND_NOTIFICATIONS);
	if (dev->options.postcopy)
		dev->protocol |= dev->protocol_offered & FE_BIT(VHU_PROTOCOL_F_PAGEFAULT);
	FE_TRY(fe_tell_u64(conn, VHU_SET_PROTOCOL_FEATURES, dev->protocol));
	conn->reply_ack = fe_dev_speaks(dev, VHU_PROTOCOL_F_REPLY_ACK);
	if (fe_dev_speaks(dev, VHU_PROTOCOL_F_MQ))
		FE_TRY(fe_ask_u64(conn, VHU_GET_QUEUE_NUM, &dev->max_queues));
	if (fe_dev_speaks(dev, VHU_PROTOCOL_F_CONFIGURE_MEM_SLOTS))
		FE_TRY(fe_ask_u64(conn, VHU_GET_MAX_MEM_SLOTS, &dev->max_slots));
	if (dev->options.channel)
		FE_TRY(fe_dev_give_channel(dev));
	/* QEMU reads it when its device is made, and not again when it has reconnected. */
	if (fe_dev_speaks(dev, VHU_PROTOCOL_F_CONFIG) && !(dev->options.channel && dev->n_queues))
		FE_TRY(fe_get_config(conn, 0, FE_CONFIG_SIZE, &dev->config));
	return 0;
}

int fe_dev_negotiate(struct fe_dev *dev)
{
	FE_TRY(fe_tell(&dev->conn, VHU_SET_OWNER, NULL, 0, NULL, 0));
	FE_TRY(fe_ask_u64(&dev->conn, VHU_GET_FEATURES, &dev->offered));
	dev->features = dev->offered & OUR_FEATURES & ~dev->options.features_off;
	if (dev->options.packed) {
		if (!(dev->offered & FE_BIT(VIRTIO_F_RING_PACKED)))
			return -ENOTSUP;
		dev->features |= FE_BIT(VIRTIO_F_RING_PACKED);
	}
	dev->max_queues = 1;
	if (fe_dev_has(dev, VHU_F_PROTOCOL_FEATURES))
		FE_TRY(negotiate_protocol(dev));
	if (dev->options.iommu) {
		/* Offered to who has agreed upon a channel. */
		FE_TRY(fe_ask_u64(&dev->conn, VHU_GET_FEATURES, &dev->offered));
		dev->features |= dev->offered & FE_BIT(VIRTIO_F_ACCESS_PLATFORM);
	}
	return fe_tell_u64(&dev->conn, VHU_SET_FEATURES, dev->features);
}

int fe_dev_add_region(struct fe_dev *dev, unsigned int region)
{
	const struct fe_region *r = &dev->mem.region[region];
	struct vhu_mem_reg reg = {.region = r->wire};

	return fe_tell(&dev->conn, VHU_ADD_MEM_REG, &reg, sizeof(reg), &r->fd, 1);
}

int fe_dev_remove_region(struct fe_dev *dev, unsigned int region)
{
	struct vhu_mem_reg reg = {.region = dev->mem.region[region].wire};

	return fe_tell(&dev->conn, VHU_REM_MEM_REG, &reg, sizeof(reg), NULL, 0);
}

int fe_dev_share_memory(struct fe_dev *dev)
{
	struct vhu_mem_table table = {.count = dev->mem.n_regions};
	int fds[VHU_MAX_TABLE];

	if (dev->options.mem_slots) {
		for (unsigned int i = 0; i < dev->mem.n_regions; i++)
			FE_TRY(fe_dev_add_region(dev, i));
		return 0;
	}
	if (table.count > VHU_MAX_TABLE)
		return -E2BIG;
	for (unsigned int i = 0; i < table.count; i++) {
		table.region[i] = dev->mem.region[i].wire;
		fds[i] = dev->mem.region[i].fd;
	}
	return fe_tell(&dev->conn, VHU_SET_MEM_TABLE, &table,
		       (uint32_t)(offsetof(struct vhu_mem_table, region) +
				  table.count * sizeof(table.region[0])),
		       fds, table.count);
}

int fe_dev_make_vqs(struct fe_dev *dev)
{
	unsigned int size =
		dev->options.queue_size ? dev->options.queue_size : FE_DEFAULT_QUEUE_SIZE;
	unsigned int n = dev->options.n_queues ? dev->options.n_queues : 1;

	while (dev->n_queues < n) {
		FE_TRY(fe_vq_init(&dev->vq[dev->n_queues], &dev->mem, size, dev->features));
		dev->n_queues++;
	}
	return 0;
}

/* As this device names an address in SET_VRING_ADDR. */
static uint64_t ring_addr(const struct fe_dev *dev, uint64_t gpa)
{
	const bool as_is = fe_dev_has(dev, VIRTIO_F_ACCESS_PLATFORM) ||
			   fe_dev_speaks(dev, VHU_PROTOCOL_F_GPA_ADDRESSES);

	return as_is ? gpa : fe_user_addr(&dev->mem, gpa);
}

int fe_dev_set_addr(struct fe_dev *dev, unsigned int index)
{
	const struct fe_vq *vq = &dev->vq[index];
	struct vhu_vring_addr addr = {
		.index = index,
		.desc = ring_addr(dev, vq->desc_gpa),
		.avail = ring_addr(dev, vq->avail_gpa),
		.used = ring_addr(dev, vq->used_gpa),
	};

	return fe_tell(&dev->conn, VHU_SET_VRING_ADDR, &addr, sizeof(addr), NULL, 0);
}

int fe_dev_enable_vq(struct fe_dev *dev, unsigned int index, bool enable)
{
	return fe_tell_state(&dev->conn, VHU_SET_VRING_ENABLE, index, enable);
}

/* As User-mode Linux does, but that the first kick comes at once: requests may be waiting. */
static int start_inband(struct fe_dev *dev, unsigned int index)
{
	struct fe_vq *vq = &dev->vq[index];

	dev->inband.kick = kick_inband;
	dev->inband.take = take_inband;
	vq->inband = &dev->inband;
	vq->index = index;
	FE_TRY(fe_dev_enable_vq(dev, index, true));
	return kick_inband(&dev->inband, index);
}

int fe_dev_start_vq(struct fe_dev *dev, unsigned int index)
{
	struct fe_conn *conn = &dev->conn;
	struct fe_vq *vq = &dev->vq[index];

	FE_TRY(fe_tell_state(conn, VHU_SET_VRING_NUM, index, vq->num));
	FE_TRY(fe_tell_state(conn, VHU_SET_VRING_BASE, index, vq->base));
	FE_TRY(fe_dev_set_addr(dev, index));
	if (fe_dev_speaks(dev, VHU_PROTOCOL_F_INBAND_NOTIFICATIONS))
		return start_inband(dev, index);
	FE_TRY(fe_tell_vring_fd(conn, VHU_SET_VRING_ERR, index, vq->err_fd));
	FE_TRY(fe_tell_vring_fd(conn, VHU_SET_VRING_CALL, index, vq->call_fd));
	FE_TRY(fe_tell_vring_fd(conn, VHU_SET_VRING_KICK, index, vq->kick_fd));
	/* "Ring states": without the bit rings start enabled. */
	return fe_dev_has(dev, VHU_F_PROTOCOL_FEATURES) ? fe_dev_enable_vq(dev, index, true) : 0;
}

int fe_dev_set_driver_ok(struct fe_dev *dev)
{
	if (!fe_dev_speaks(dev, VHU_PROTOCOL_F_STATUS))
		return 0;
	return fe_tell_u64(&dev->conn, VHU_SET_STATUS, STATUS_DRIVER_OK);
}

static int start_connected(struct fe_dev *dev)
{
	FE_TRY(fe_dev_negotiate(dev));
	if (!dev->mem.n_regions) {
		int region = fe_mem_add(
			&dev->mem, 0,
			dev->options.mem_size ? dev->options.mem_size : FE_DEFAULT_MEM_SIZE, 0);

		if (region < 0)
			return region;
	}
	FE_TRY(fe_dev_share_memory(dev));
	FE_TRY(fe_dev_make_vqs(dev));
	for (unsigned int i = 0; i < dev->n_queues; i++)
		FE_TRY(fe_dev_start_vq(dev, i));
	return fe_dev_set_driver_ok(dev);
}

int fe_dev_start_on(struct fe_dev *dev, int fd, const struct fe_dev_options *options)
{
	dev->options = options ? *options : (struct fe_dev_options){0};
	dev->conn = (struct fe_conn){.fd = fd};
	return start_connected(dev);
}

int fe_dev_start(struct fe_dev *dev, const char *path, const struct fe_dev_options *options)
{
	struct fe_conn conn;

	FE_TRY(fe_conn_open(&conn, path));
	return fe_dev_start_on(dev, conn.fd, options);
}

/*
 * After a crash nobody can be asked. In a split ring the used index tells where to go on (field
 * notes, 5). A packed one has none: QEMU repeats the base of the last start, since the back-end's
 * in-flight region knows better (11). Without a region only what we have seen can help.
 */
static uint32_t base_after_crash(const struct fe_dev *dev, const struct fe_vq *vq)
{
	if (fe_vq_is_packed(vq) && fe_dev_speaks(dev, VHU_PROTOCOL_F_INFLIGHT_SHMFD))
		return vq->base;
	return fe_vq_used_base(vq);
}

int fe_dev_reconnect(struct fe_dev *dev, const char *path)
{
	FE_TRY(fe_conn_open(&dev->conn, path));
	for (unsigned int i = 0; i < dev->n_queues; i++)
		dev->vq[i].base = base_after_crash(dev, &dev->vq[i]);
	return start_connected(dev);
}

int fe_dev_stop_vq(struct fe_dev *dev, unsigned int index)
{
	struct fe_vq *vq = &dev->vq[index];

	FE_TRY(fe_ask_base(&dev->conn, index, &vq->base));
	return fe_vq_is_base(vq, vq->base) ? 0 : -EPROTO;
}

int fe_dev_stop(struct fe_dev *dev)
{
	if (fe_dev_speaks(dev, VHU_PROTOCOL_F_STATUS))
		FE_TRY(fe_tell_u64(&dev->conn, VHU_SET_STATUS, 0));
	for (unsigned int i = 0; i < dev->n_queues; i++) {
		if (fe_dev_has(dev, VHU_F_PROTOCOL_FEATURES))
			FE_TRY(fe_dev_enable_vq(dev, i, false));
		FE_TRY(fe_dev_stop_vq(dev, i));
	}
	return 0;
}

void fe_dev_hang_up(struct fe_dev *dev)
{
	fe_conn_close(&dev->conn);
	if (dev->channel.fd > 0)
		fe_conn_close(&dev->channel);
	dev->channel.fd = 0;
}

void fe_dev_close(struct fe_dev *dev)
{
	if (dev->conn.fd > 0) /* 0: a zeroed device, never opened */
		fe_dev_hang_up(dev);
	while (dev->n_queues)
		fe_vq_free(&dev->vq[--dev->n_queues]);
	fe_mem_free(&dev->mem);
	memset(dev, 0, sizeof(*dev));
}
