/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user-blk device as its front-end sees it: the start-up and stop in QEMU's order, each
 * step also callable alone so that a test can replace one. All calls answer 0, FE_REFUSED (the
 * back-end refused a message) or -errno.
 */
#ifndef FE_DEV_H
#define FE_DEV_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>

#include "tests/frontend/fe_conn.h"
#include "tests/frontend/fe_mem.h"
#include "tests/frontend/fe_vq.h"

#define FE_BIT(n) (1ull << (n))

/* The protocol features that it takes, and those that go with an in-flight region. */
#define FE_DEV_PROTOCOL \
	(FE_BIT(VHU_PROTOCOL_F_MQ) | FE_BIT(VHU_PROTOCOL_F_REPLY_ACK) | \
	 FE_BIT(VHU_PROTOCOL_F_CONFIG) | FE_BIT(VHU_PROTOCOL_F_BACKEND_REQ) | \
	 FE_BIT(VHU_PROTOCOL_F_RESET_DEVICE) | FE_BIT(VHU_PROTOCOL_F_CONFIGURE_MEM_SLOTS) | \
	 FE_BIT(VHU_PROTOCOL_F_STATUS) | FE_BIT(VHU_PROTOCOL_F_LOG_SHMFD) | \
	 FE_BIT(VHU_PROTOCOL_F_DEVICE_STATE))
#define FE_DEV_PROTOCOL_INFLIGHT \
	(FE_BIT(VHU_PROTOCOL_F_INFLIGHT_SHMFD) | FE_BIT(VHU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT) | \
	 FE_BIT(VHU_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN))

/* What the options are that are 0. */
#define FE_DEFAULT_MEM_SIZE   (32ull << 20)
#define FE_DEFAULT_QUEUE_SIZE 128

struct fe_dev_options {
	uint64_t features_off;   /* virtio feature bits not to take, of those offered */
	uint64_t protocol_off;   /* protocol feature bits not to take */
	unsigned int n_queues;   /* 0: 1 */
	unsigned int queue_size; /* 0: 128 */
	uint64_t mem_size;       /* of the one region made if `mem` is empty, bytes; 0: 32 MiB */
	bool mem_slots;          /* ADD_MEM_REG instead of SET_MEM_TABLE */
	bool channel;            /* give the back-end a channel, dev->channel */
	bool guest_physical;     /* GPA_ADDRESSES, if that is offered */
	bool iommu;              /* VIRTIO_F_ACCESS_PLATFORM: what is gpa elsewhere is an IOVA */
	bool inband;             /* kicks and calls by messages, if that is offered */
	bool postcopy;           /* PAGEFAULT, if that is offered */
	bool packed;             /* packed rings; -ENOTSUP if they are not offered */
};

struct fe_dev {
	struct fe_dev_options options;
	struct fe_conn conn;
	struct fe_conn channel;     /* our end of the back-end's channel; .fd 0: none */
	struct fe_vq_inband inband; /* of its rings, with options.inband */
	int config_changes;         /* said on the channel, and not asked for yet */
	struct fe_mem mem;
	uint64_t offered; /* virtio features */
	uint64_t features;
	uint64_t protocol_offered;
	uint64_t protocol;
	uint64_t max_queues; /* GET_QUEUE_NUM */
	uint64_t max_slots;  /* GET_MAX_MEM_SLOTS */
	struct virtio_blk_config config;
	struct fe_vq vq[VHU_MAX_QUEUES];
	unsigned int n_queues;
};

/* Where the config space ends for us: the fields that QEMU 7.2 and newer have. */
#define FE_CONFIG_SIZE offsetof(struct virtio_blk_config, max_secure_erase_sectors)

/*
 * All of it: connects to `path`, negotiates, makes memory (unless the caller has added some),
 * shares it, makes the rings and starts them. `dev` is zeroed except `mem`, or was closed by
 * fe_dev_close(). `options` may be NULL.
 */
int fe_dev_start(struct fe_dev *dev, const char *path, const struct fe_dev_options *options);

/* The same on a connection that exists. */
int fe_dev_start_on(struct fe_dev *dev, int fd, const struct fe_dev_options *options);

/* The steps. */
int fe_dev_negotiate(struct fe_dev *dev);
int fe_dev_share_memory(struct fe_dev *dev);
int fe_dev_add_region(struct fe_dev *dev, unsigned int region);
int fe_dev_remove_region(struct fe_dev *dev, unsigned int region);
int fe_dev_make_vqs(struct fe_dev *dev);
int fe_dev_start_vq(struct fe_dev *dev, unsigned int index);
int fe_dev_set_addr(struct fe_dev *dev, unsigned int index);
int fe_dev_enable_vq(struct fe_dev *dev, unsigned int index, bool enable);
int fe_dev_set_driver_ok(struct fe_dev *dev);

/* GET_VRING_BASE: the ring's next start continues at the base that the back-end answers. */
int fe_dev_stop_vq(struct fe_dev *dev, unsigned int index);

/* As QEMU does at `stop`: SET_STATUS 0, ENABLE 0, GET_VRING_BASE. */
int fe_dev_stop(struct fe_dev *dev);

/*
 * How many times has the back-end said on its channel that the configuration space has changed?
 * Takes what there is, and waits for nothing. -EPROTO: it has said something else; -EPIPE: it has
 * closed the channel.
 */
int fe_dev_config_changes(struct fe_dev *dev);

/*
 * Takes what the back-end has said on its channel, and waits for nothing: a ring's call or error
 * signals its eventfd. 0 or -errno, as above.
 */
int fe_dev_take(struct fe_dev *dev);

/* Gives the back-end a channel, instead of the one that it may have. */
int fe_dev_give_channel(struct fe_dev *dev);

/* Hangs up. Memory and rings stay, for a start on a new connection. */
void fe_dev_hang_up(struct fe_dev *dev);

/*
 * Starts again on a new connection with the memory and rings of before, as QEMU does when the
 * back-end has died.
 */
int fe_dev_reconnect(struct fe_dev *dev, const char *path);

/* Hangs up and gives everything back. Harmless on a zeroed or closed device. */
void fe_dev_close(struct fe_dev *dev);

static inline bool fe_dev_has(const struct fe_dev *dev, unsigned int feature)
{
	return dev->features & FE_BIT(feature);
}

static inline bool fe_dev_speaks(const struct fe_dev *dev, unsigned int protocol_feature)
{
	return dev->protocol & FE_BIT(protocol_feature);
}

#endif
