/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The session: its life-cycle, and the messages that concern the device as a whole. Control
 * thread. See vhu/dev.h.
 */
#include "vhu/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "shared/fd.h"
#include "vq/track.h"

#define BIT(n) (1ull << (n))

static_assert(VUBLK_MAX_QUEUES == VHU_MAX_QUEUES, "one number");
static_assert(VUBLK_MAX_CONFIG == VHU_MAX_CONFIG, "one number");

/* What the library does for any device type. */
#define TRANSPORT_FEATURES \
	(BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_PACKED) | \
	 BIT(VHU_F_LOG_ALL) | BIT(VHU_F_PROTOCOL_FEATURES))

/*
 * What changes how rings or memory work: a driver that acknowledges one of these, though it was not
 * offered, would not be understood. Other bits of the front-end's own (ANY_LAYOUT,
 * NOTIFY_ON_EMPTY: QEMU passes them on) are ignored.
 */
#define KNOWN_TRANSPORT_FEATURES \
	(TRANSPORT_FEATURES | BIT(VIRTIO_F_IN_ORDER) | BIT(VIRTIO_F_ORDER_PLATFORM) | \
	 BIT(VIRTIO_F_SR_IOV) | BIT(38 /* NOTIFICATION_DATA */) | \
	 BIT(39 /* NOTIF_CONFIG_DATA */) | BIT(VIRTIO_F_RING_RESET) | BIT(41 /* ADMIN_VQ */) | \
	 BIT(43 /* SUSPEND */))

#define PROTOCOL_FEATURES \
	(BIT(VHU_PROTOCOL_F_MQ) | BIT(VHU_PROTOCOL_F_LOG_SHMFD) | BIT(VHU_PROTOCOL_F_REPLY_ACK) | \
	 BIT(VHU_PROTOCOL_F_BACKEND_REQ) | BIT(VHU_PROTOCOL_F_PAGEFAULT) | \
	 BIT(VHU_PROTOCOL_F_CONFIG) | BIT(VHU_PROTOCOL_F_RESET_DEVICE) | \
	 BIT(VHU_PROTOCOL_F_CONFIGURE_MEM_SLOTS) | BIT(VHU_PROTOCOL_F_STATUS) | \
	 BIT(VHU_PROTOCOL_F_INFLIGHT_SHMFD) | BIT(VHU_PROTOCOL_F_INBAND_NOTIFICATIONS) | \
	 BIT(VHU_PROTOCOL_F_DEVICE_STATE) | BIT(VHU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT) | \
	 BIT(VHU_PROTOCOL_F_GPA_ADDRESSES) | BIT(VHU_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN))

/* Messages served in one go, so that one front-end cannot keep the control thread. */
#define MESSAGES_AT_ONCE 32

/* ---- life-cycle ---- */

static struct vhu_vring *make_vrings(unsigned n)
{
	struct vhu_vring *vring = aligned_alloc(_Alignof(struct vhu_vring), n * sizeof(*vring));

	if (vring)
		memset(vring, 0, n * sizeof(*vring));
	return vring;
}

/* On the queue's worker. */
static void tell_broken(struct vublk_queue *vq, const char *what)
{
	const struct vublk_params *params = &vq->dev->params;

	params->ops->queue_broken(params->opaque, vq, what);
}

int vublk_dev_create(struct vublk_dev **devp, const struct vublk_params *params)
{
	struct vublk_dev *dev;

	*devp = NULL;
	if (params->num_queues < 1 || params->num_queues > VUBLK_MAX_QUEUES)
		return -EINVAL;
	dev = calloc(1, sizeof(*dev));
	if (!dev)
		return -ENOMEM;
	dev->sock = dev->log_fd = dev->transfer.fd = -1;
	vhu_postcopy_init(&dev->postcopy);
	dev->params = *params;
	vhu_backend_init(&dev->backend, params->ops->await_room, params->opaque);
	dev->offered = params->features | TRANSPORT_FEATURES;
	dev->name = strdup(params->name);
	dev->vring = make_vrings(params->num_queues);
	dev->store = vhu_session_store_new();
	if (!dev->name || !dev->vring || !dev->store) {
		vublk_dev_destroy(dev);
		return -ENOMEM;
	}
	dev->session = vhu_session_of(dev->store);
	for (unsigned i = 0; i < params->num_queues; i++) {
		vq_init(&dev->vring[i].vq, dev->name, i);
		dev->vring[i].vq.dev = dev;
		dev->vring[i].vq.tell_broken = params->ops->queue_broken ? tell_broken : NULL;
	}
	*devp = dev;
	return 0;
}

void vublk_dev_destroy(struct vublk_dev *dev)
{
	if (!dev)
		return;
	vhu_session_store_free(dev->store);
	vhu_iotlb_free(dev->iotlb);
	free(dev->vring);
	free(dev->name);
	free(dev);
}

int vublk_dev_connect(struct vublk_dev *dev, int sock, const struct vublk_keeper *keeper)
{
	const int flags = fcntl(sock, F_GETFL);

	if (flags < 0 || fcntl(sock, F_SETFL, flags | O_NONBLOCK) < 0) {
		const int err = -errno;

		close(sock);
		return err;
	}
	dev->sock = sock;
	vhu_msg_init(&dev->msg);
	vhu_session_begin(dev->store);
	vhu_keep_begin(dev, keeper);
	return 0;
}

/* The next message, or its next part: 1, 0, or -errno as of vhu_msg_receive(). */
static int receive(struct vublk_dev *dev)
{
	int err;

	if (!dev->keep.peeks)
		return vhu_msg_receive(&dev->msg, dev->sock);
	err = vhu_msg_peek(&dev->msg, dev->sock);
	if (err == 1) {
		err = vhu_msg_peek_fds(&dev->msg, dev->sock, vhu_dispatch_fds(dev));
		err = err ? err : 1;
	}
	return err;
}

int vublk_dev_input(struct vublk_dev *dev)
{
	for (unsigned i = 0; i < MESSAGES_AT_ONCE; i++) {
		int err;

		/* A ring that waited is beginning now. */
		if (dev->pending)
			return 1;
		err = receive(dev);
		if (err == -EPROTO)
			vhu_log(VUBLK_LOG_ERROR,
				"%s: ending the connection: a message is malformed, or has too "
				"many descriptors",
				dev->name);
		else if (err == -EMFILE)
			vhu_log(VUBLK_LOG_ERROR,
				"%s: ending the connection: no room for a message's descriptors; "
				"raise "
				"the limit of open files (RLIMIT_NOFILE: ulimit -n, or "
				"LimitNOFILE= in "
				"a systemd unit)",
				dev->name);
		else if (err < 0 && err != -ECONNRESET)
			vhu_log(VUBLK_LOG_ERROR, "%s: ending the connection: cannot receive: %s",
				dev->name, strerror(-err));
		if (err <= 0)
			return err;
		err = vhu_dispatch(dev);
		if (err)
			return err;
		vhu_dev_say_due(dev);
	}
	return 2;
}

/* The session is over, or another process's, and nothing of it is used any more: forget it. */
static void forget(struct vublk_dev *dev)
{
	vhu_msg_reset(&dev->msg);
	vhu_vring_reset_all(dev);
	vhu_mem_put(dev->mem);
	dev->mem = NULL;
	vhu_inflight_put(dev->inflight);
	dev->inflight = NULL;
	vhu_dirty_log_put(dev->log);
	dev->log = NULL;
	vhu_fd_close(dev->log_fd);
	dev->log_fd = -1;
	dev->unlogged = false;
	vhu_backend_close(&dev->backend);
	vhu_transfer_forget(dev);
	vhu_postcopy_forget(dev);
	vhu_iommu_prepare(dev, 0);
	dev->next_said = 0;
	vhu_keep_end(dev);
	vhu_session_end(dev->store);
	dev->row = NULL;
	dev->err = 0;
	dev->leaving = dev->stopping = false;
	/* Last, for now the front-end may come back. */
	vhu_fd_close(dev->sock);
	dev->sock = -1;
	dev->params.ops->set_features(dev->params.opaque, 0);
	dev->params.ops->disconnected(dev->params.opaque);
}

void vublk_dev_disconnect(struct vublk_dev *dev)
{
	dev->leaving = true;
	vhu_postcopy_leave(dev);
	vhu_vring_let_go(dev);
	if (dev->pending)
		return; /* vublk_queue_done() comes back here */
	if (!dev->stopping) {
		dev->stopping = true;
		dev->pending++;
		/* Who has a region goes on with what was not begun. */
		vhu_vring_stop_all(dev, false);
		dev->pending--;
	}
	if (!dev->pending)
		forget(dev);
}

int vublk_dev_socket(const struct vublk_dev *dev)
{
	return dev->sock;
}

void vublk_dev_park(struct vublk_dev *dev)
{
	dev->keep.parking = true;
	vublk_dev_disconnect(dev);
}

struct vublk_files vublk_dev_files(const struct vublk_dev *dev)
{
	struct vublk_files files = {.inflight = -1, .memory = -1};

	if (dev->session->has_inflight)
		files.inflight = vhu_inflight_file(dev->inflight, &files.inflight_offset);
	if (dev->mem)
		vhu_mem_files(dev->mem, &files.memory, 1);
	return files;
}

bool vublk_dev_memory_lost(const struct vublk_dev *dev)
{
	return vhu_mem_is_lost(dev->mem) || vhu_inflight_is_lost(dev->inflight) ||
	       vhu_dirty_log_is_lost(dev->log) || vhu_vring_any_lost(dev);
}

/* ---- features ---- */

int vhu_dev_ignore(struct vublk_dev *dev, struct vhu_msg *msg)
{
	(void)dev;
	(void)msg;
	return 0;
}

int vhu_dev_get_features(struct vublk_dev *dev, struct vhu_msg *msg)
{
	msg->payload.u64 = dev->offered;
	/*
	 * Offered to who can be asked for translations by then, as QEMU can. User-mode Linux takes
	 * all that it is offered before anything was agreed upon, and cannot do this.
	 */
	if (!vhu_dev_has(dev, VHU_PROTOCOL_F_BACKEND_REQ))
		msg->payload.u64 &= ~BIT(VIRTIO_F_ACCESS_PLATFORM);
	return 0;
}

int vhu_dev_set_features(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const uint64_t known = dev->params.known_features | KNOWN_TRANSPORT_FEATURES;
	const uint64_t wanted = msg->payload.u64;
	const uint64_t features = wanted & dev->offered;
	const uint64_t change = features ^ dev->session->features;
	int err = 0;

	if (wanted & known & ~dev->offered) {
		vhu_log(VUBLK_LOG_WARNING, "%s: features 0x%llx were not offered", dev->name,
			(unsigned long long)(wanted & known & ~dev->offered));
		return -EINVAL;
	}
	/* Logging comes and goes with a migration. */
	if (change & ~BIT(VHU_F_LOG_ALL) && vhu_vring_any_running(dev)) {
		vhu_log(VUBLK_LOG_WARNING, "%s: features cannot change while rings run", dev->name);
		return -EBUSY;
	}
	if (!vhu_vring_any_running(dev))
		err = vhu_iommu_prepare(dev, features);
	if (err)
		return err;
	if (change)
		vhu_session_set_features(dev->store, features);
	if (change & ~BIT(VHU_F_LOG_ALL))
		dev->params.ops->set_features(dev->params.opaque, features & ~BIT(VHU_F_LOG_ALL));
	if (change & BIT(VHU_F_LOG_ALL))
		vhu_vring_relog(dev);
	if (features & BIT(VHU_F_PROTOCOL_FEATURES))
		return 0;
	/* "the ring starts directly in the enabled state" */
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		int e;

		vhu_session_set_ring_enabled(dev->store, i, true);
		e = vhu_vring_reconcile(dev, &dev->vring[i]);
		err = err ? err : e;
	}
	return err;
}

uint64_t vhu_dev_protocol_features(const struct vublk_dev *dev)
{
	return PROTOCOL_FEATURES & ~(dev->params.postcopy ? 0 : BIT(VHU_PROTOCOL_F_PAGEFAULT));
}

int vhu_dev_get_protocol_features(struct vublk_dev *dev, struct vhu_msg *msg)
{
	msg->payload.u64 = vhu_dev_protocol_features(dev);
	return 0;
}

static bool has_what_it_needs(uint64_t features, unsigned bit, unsigned needed)
{
	return !(features & BIT(bit)) || features & BIT(needed);
}

int vhu_dev_set_protocol_features(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const uint64_t wanted = msg->payload.u64, offered = vhu_dev_protocol_features(dev);
	const uint64_t change = wanted ^ dev->session->protocol_features;

	if (wanted & ~offered) {
		vhu_log(VUBLK_LOG_WARNING, "%s: protocol features 0x%llx were not offered",
			dev->name, (unsigned long long)(wanted & ~offered));
		return -EINVAL;
	}
	if (!has_what_it_needs(wanted, VHU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT,
			       VHU_PROTOCOL_F_INFLIGHT_SHMFD) ||
	    !has_what_it_needs(wanted, VHU_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN,
			       VHU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT)) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: protocol features 0x%llx: 23 needs 20, and that needs 12", dev->name,
			(unsigned long long)wanted);
		return -EINVAL;
	}
	/* "the back-end should close the connection", since it has no other way to say so */
	if (!has_what_it_needs(wanted, VHU_PROTOCOL_F_INBAND_NOTIFICATIONS,
			       VHU_PROTOCOL_F_BACKEND_REQ) ||
	    !has_what_it_needs(wanted, VHU_PROTOCOL_F_INBAND_NOTIFICATIONS,
			       VHU_PROTOCOL_F_REPLY_ACK)) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: protocol features 0x%llx: INBAND_NOTIFICATIONS (14) needs REPLY_ACK "
			"(3) and BACKEND_REQ (5)",
			dev->name, (unsigned long long)wanted);
		return -ECONNABORTED;
	}
	/*
	 * A ring that moves with its memory has to be where it was started, and one that runs knows
	 * how to call.
	 */
	if (change & (BIT(VHU_PROTOCOL_F_GPA_ADDRESSES) |
		      BIT(VHU_PROTOCOL_F_INBAND_NOTIFICATIONS)) &&
	    vhu_vring_any_running(dev)) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: what ring addresses are (GPA_ADDRESSES), and how rings notify "
			"(INBAND_NOTIFICATIONS), cannot change while rings run",
			dev->name);
		return -EBUSY;
	}
	vhu_session_set_protocol_features(dev->store, wanted);
	return 0;
}

int vhu_dev_get_queue_num(struct vublk_dev *dev, struct vhu_msg *msg)
{
	msg->payload.u64 = dev->params.num_queues;
	return 0;
}

/* ---- the log of dirty pages ---- */

/* The log that is used from now on, whose reference is the device's. */
static void use_log(struct vublk_dev *dev, struct vhu_dirty_log *log)
{
	vhu_dirty_log_put(dev->log);
	dev->log = log;
	vhu_vring_relog(dev);
}

int vhu_dev_set_log_base(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const struct vhu_log desc = msg->payload.log;
	struct vhu_dirty_log *log;
	int err = vhu_dirty_log_new(&log, dev->name, &desc, msg->fd[0], dev->log_fd);

	if (err)
		return err;
	use_log(dev, log);
	vhu_session_set_log(dev->store, &desc);
	vhu_session_set_ticket(dev->store, VHU_FD_LOG, vhu_keep_fd(dev, msg->fd[0]));
	msg->payload.u64 = 0;
	return 0;
}

/*
 * All rings mark in the new log. What they wrote while there was none, though the features said
 * that they were to mark it, is not known: it may have been anywhere.
 */
int vhu_dev_set_log_base_finish(struct vublk_dev *dev, struct vhu_msg *msg)
{
	(void)msg;
	if (dev->unlogged)
		for (uint32_t i = 0; i < dev->session->n_regions; i++)
			vhu_dirty_log_mark(dev->log, dev->session->region[i].guest_addr,
					   dev->session->region[i].size);
	dev->unlogged = false;
	return 0;
}

int vhu_dev_set_log_fd(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_dirty_log *log = NULL;
	int err = 0;

	if (!vhu_fd_can_notify(msg->fd[0])) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: SET_LOG_FD: the descriptor is not an eventfd, pipe or socket pair",
			dev->name);
		return -EBADF;
	}
	if (dev->log)
		err = vhu_dirty_log_renew(&log, dev->name, dev->log, msg->fd[0]);
	if (err)
		return err;
	vhu_fd_close(dev->log_fd);
	dev->log_fd = vhu_msg_take_fd(msg, 0);
	vhu_session_set_ticket(dev->store, VHU_FD_LOG_SIGNAL, vhu_keep_fd(dev, dev->log_fd));
	if (log)
		use_log(dev, log);
	return 0;
}

/* ---- configuration space, status ---- */

/* Is the part of the configuration space that is meant all there? The payload's size says so. */
static int check_config(const struct vublk_dev *dev, const struct vhu_msg *msg)
{
	const struct vhu_config *config = &msg->payload.config;

	if (config->offset <= VHU_MAX_CONFIG && config->size <= VHU_MAX_CONFIG - config->offset &&
	    msg->header.size == VHU_CONFIG_HEADER + config->size)
		return 0;
	vhu_log(VUBLK_LOG_WARNING,
		"%s: %u bytes at %u of the configuration space in a payload of %u", dev->name,
		config->size, config->offset, msg->header.size);
	return -EINVAL;
}

int vhu_dev_get_config(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_config *config = &msg->payload.config;
	uint8_t space[VHU_MAX_CONFIG] = {0};
	int err = check_config(dev, msg);

	if (err)
		return err;
	dev->params.ops->get_config(dev->params.opaque, space);
	memcpy(config->data, space + config->offset, config->size);
	return 0;
}

int vhu_dev_set_config(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const struct vhu_config *config = &msg->payload.config;
	int err = check_config(dev, msg);

	if (err)
		return err;
	if (config->flags > VHU_CONFIG_FLAG_MIGRATION) {
		vhu_log(VUBLK_LOG_WARNING, "%s: SET_CONFIG with flags 0x%x", dev->name,
			config->flags);
		return -EINVAL;
	}
	return dev->params.ops->set_config(dev->params.opaque, config->offset, config->data,
					   config->size,
					   config->flags == VHU_CONFIG_FLAG_MIGRATION);
}

int vhu_dev_set_status(struct vublk_dev *dev, struct vhu_msg *msg)
{
	/* QEMU 7.2 sends 0 before it stops the rings, so this is for the record only. */
	if (msg->payload.u64 > UINT8_MAX) {
		vhu_log(VUBLK_LOG_WARNING, "%s: status 0x%llx is not a byte", dev->name,
			(unsigned long long)msg->payload.u64);
		return -EINVAL;
	}
	vhu_session_set_status(dev->store, (uint8_t)msg->payload.u64);
	return 0;
}

int vhu_dev_get_status(struct vublk_dev *dev, struct vhu_msg *msg)
{
	msg->payload.u64 = dev->session->status;
	return 0;
}

/* ---- what we say of our own accord ---- */

/* Can it be told that the configuration space has changed? */
static bool has_backend_channel(const struct vublk_dev *dev)
{
	return dev->backend.fd >= 0 && vhu_dev_has(dev, VHU_PROTOCOL_F_BACKEND_REQ) &&
	       vhu_dev_has(dev, VHU_PROTOCOL_F_CONFIG);
}

int vhu_dev_set_backend_req_fd(struct vublk_dev *dev, struct vhu_msg *msg)
{
	/* What is written to must not make us wait, as a file can. */
	if (!vhu_fd_is_stream(msg->fd[0])) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: SET_BACKEND_REQ_FD: the descriptor is not a pipe or socket pair",
			dev->name);
		return -EBADF;
	}
	vhu_session_set_ticket(dev->store, VHU_FD_CHANNEL, vhu_keep_fd(dev, msg->fd[0]));
	vhu_backend_set(&dev->backend, vhu_msg_take_fd(msg, 0));
	vhu_iommu_new_channel(dev);
	vhu_vring_call_again(dev);
	vublk_dev_announce(dev);
	return 0;
}

/*
 * Said when rings run, and between two messages: QEMU ignores what comes while its device is not
 * started, and a device whose rings are stopped says nothing ("Suspended device state"). What there
 * is no room for is tried again with each message that was served, and when the user asks again.
 */
void vhu_dev_say_due(struct vublk_dev *dev)
{
	struct vhu_backend *backend = &dev->backend;
	int err;

	vhu_iommu_say_due(dev);
	vublk_dev_announce(dev);
	if (!backend->config_changed || dev->row || dev->pending || dev->leaving ||
	    !vhu_vring_any_served(dev))
		return;
	backend->config_changed = false;
	if (!has_backend_channel(dev))
		return;
	err = vhu_backend_send(backend, VHU_BACKEND_CONFIG_CHANGE_MSG, NULL, 0);
	backend->config_changed = err == -EAGAIN;
	if (err && err != -EAGAIN)
		vhu_log(VUBLK_LOG_WARNING,
			"%s: the front-end cannot be told that the configuration space has "
			"changed: its channel for that: %s",
			dev->name, strerror(-err));
}

int vublk_dev_config_changed(struct vublk_dev *dev)
{
	if (dev->sock < 0)
		return -ENOTCONN;
	dev->backend.config_changed = true;
	vhu_dev_say_due(dev);
	if (dev->backend.config_changed)
		return dev->backend.full ? -EAGAIN : 0;
	return has_backend_channel(dev) ? 0 : -EOPNOTSUPP;
}

/* ---- in-flight tracking ---- */

void vublk_dev_flag_notes(struct vublk_dev *dev, bool flag)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		void *region = vhu_inflight_queue(dev->inflight, i);

		if (region)
			vq_track_flag(region, vhu_inflight_is_packed(dev->inflight), flag);
	}
}

/*
 * "to get a shared buffer from back-end". Ring sizes are not known yet. Without a buffer the answer
 * is a size of 0.
 */
int vhu_dev_get_inflight_fd(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_inflight_desc *desc = &msg->payload.inflight;
	unsigned entries = desc->queue_size;
	int err = -EINVAL;

	desc->mmap_size = desc->mmap_offset = 0;
	if (entries && entries < VHU_INFLIGHT_MIN_ENTRIES)
		entries = VHU_INFLIGHT_MIN_ENTRIES;
	if (desc->num_queues <= dev->params.num_queues)
		err = vhu_inflight_create(desc->num_queues, entries, vhu_dev_is_packed(dev),
					  &msg->reply_fd, &desc->mmap_size);
	if (err)
		vhu_log(VUBLK_LOG_WARNING, "%s: no in-flight region for %u queues of %u: %s",
			dev->name, desc->num_queues, desc->queue_size, strerror(-err));
	return 0;
}

int vhu_dev_set_inflight_fd(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_inflight *inflight;
	int err;

	if (vhu_vring_any_running(dev)) {
		vhu_log(VUBLK_LOG_WARNING, "%s: the in-flight region cannot change while rings run",
			dev->name);
		return -EBUSY;
	}
	err = vhu_inflight_adopt(&inflight, dev->name, &msg->payload.inflight, msg->fd[0],
				 vhu_dev_is_packed(dev), dev->params.num_queues);
	if (err)
		return err;
	vhu_inflight_put(dev->inflight);
	dev->inflight = inflight;
	vhu_session_set_inflight(dev->store, &msg->payload.inflight, vhu_dev_is_packed(dev), false);
	vhu_session_set_ticket(dev->store, VHU_FD_INFLIGHT, vhu_keep_fd(dev, msg->fd[0]));
	return 0;
}

/* ---- reset ---- */

int vhu_dev_reset(struct vublk_dev *dev, struct vhu_msg *msg)
{
	(void)msg;
	vhu_vring_stop_all(dev, true);
	return 0;
}

/* Memory, protocol features and the back-end channel stay: they are the session's. */
int vhu_dev_reset_finish(struct vublk_dev *dev, struct vhu_msg *msg)
{
	(void)msg;
	vhu_vring_reset_all(dev);
	vhu_transfer_forget(dev);
	vhu_inflight_put(dev->inflight);
	dev->inflight = NULL;
	vhu_iommu_prepare(dev, 0);
	vhu_session_reset(dev->store);
	dev->params.ops->set_features(dev->params.opaque, 0);
	return 0;
}
