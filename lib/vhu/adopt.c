/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Going on with a session that another process has kept: from what was agreed upon to what this
 * process makes of it. Control thread. See vhu/keep.c.
 *
 * What is kept was written by us, or by another version of us. It is checked for whether this
 * device can go on with it; what it leads to (maps, rings) is checked where a message's content
 * would be, for the guest and the front-end are what they were.
 */
#include <errno.h>
#include <string.h>

#include "log.h"
#include "vhu/dev.h"
#include "vhu/record.h"
#include "vq/ring.h"

#define BIT(n) (1ull << (n))

/* Why this device cannot go on with the session, in words; NULL: it can. */
static const char *refusal(const struct vublk_dev *dev, const struct vhu_session *session)
{
	if (session->features & ~dev->offered ||
	    session->protocol_features & ~vhu_dev_protocol_features(dev))
		return "it has features that are not offered any more";
	for (unsigned i = 0; i < VHU_MAX_QUEUES; i++) {
		const struct vhu_session_ring *ring = &session->ring[i];

		if (i >= dev->params.num_queues && (ring->started || ring->size))
			return "it has more queues than the disk (num-queues)";
		if (ring->size && !vq_is_size(ring->size, session->features))
			return "it is damaged";
	}
	return NULL;
}

/* The descriptor of a ticket, -1 if there is none; *err stays, or is why it cannot be had. */
static int take(const struct vublk_dev *dev, uint32_t ticket, int *err)
{
	const struct vublk_keeper *keeper = &dev->keep.keeper;
	const int fd = ticket ? keeper->take(keeper->opaque, ticket) : -1;

	if (ticket && fd < 0 && !*err)
		*err = fd;
	return fd < 0 ? -1 : fd;
}

static int adopt_memory(struct vublk_dev *dev)
{
	const struct vhu_session *session = dev->session;
	int fd[VHU_MEM_MAX_SLOTS];
	int err = 0;

	if (!session->has_memory)
		return 0;
	for (unsigned i = 0; i < session->n_regions; i++)
		fd[i] = take(dev, session->region_ticket[i], &err);
	if (!err)
		err = vhu_mem_new(&dev->mem, dev->name, session->region, fd, session->n_regions);
	for (unsigned i = 0; i < session->n_regions; i++)
		vhu_fd_close(fd[i]);
	return err;
}

static int adopt_inflight(struct vublk_dev *dev)
{
	const struct vhu_session *session = dev->session;
	int err = 0, fd;

	if (!session->has_inflight && !session->own_inflight)
		return 0;
	fd = take(dev, session->ticket[VHU_FD_INFLIGHT], &err);
	if (!err)
		err = vhu_inflight_adopt(&dev->inflight, dev->name, &session->inflight, fd,
					 session->inflight_packed, dev->params.num_queues);
	vhu_fd_close(fd);
	return err;
}

static int adopt_log(struct vublk_dev *dev)
{
	const struct vhu_session *session = dev->session;
	int err = 0, fd;

	dev->log_fd = take(dev, session->ticket[VHU_FD_LOG_SIGNAL], &err);
	if (err || !session->has_log)
		return err;
	fd = take(dev, session->ticket[VHU_FD_LOG], &err);
	if (!err)
		err = vhu_dirty_log_new(&dev->log, dev->name, &session->log, fd, dev->log_fd);
	vhu_fd_close(fd);
	return err;
}

static int adopt_channel(struct vublk_dev *dev)
{
	int err = 0;

	vhu_backend_set(&dev->backend, take(dev, dev->session->ticket[VHU_FD_CHANNEL], &err));
	vhu_iommu_new_channel(dev);
	return err;
}

static int adopt_ring(struct vublk_dev *dev, struct vhu_vring *vring)
{
	const struct vhu_session_ring *ring = vhu_vring_agreed(vring);
	int err = 0;
	struct vublk_update update = {
		.kick = true,
		.call = true,
		.err = true,
		.kick_fd = take(dev, ring->ticket[VHU_RING_KICK_FD], &err),
		.call_fd = take(dev, ring->ticket[VHU_RING_CALL_FD], &err),
		.err_fd = take(dev, ring->ticket[VHU_RING_ERR_FD], &err),
	};

	vublk_queue_apply(&vring->vq, &update);
	return err;
}

/* All but the rings' running. */
static int adopt_session(struct vublk_dev *dev, const struct vhu_record_copy *copy)
{
	const struct vublk_ops *ops = dev->params.ops;
	const uint64_t features = dev->session->features;
	int err;

	ops->set_features(dev->params.opaque, features & ~BIT(VHU_F_LOG_ALL));
	err = vhu_iommu_prepare(dev, features);
	if (!err)
		err = ops->load_state(dev->params.opaque, copy->device);
	if (!err)
		err = adopt_memory(dev);
	if (!err)
		err = adopt_inflight(dev);
	if (!err)
		err = adopt_log(dev);
	if (!err)
		err = adopt_channel(dev);
	for (unsigned i = 0; i < dev->params.num_queues && !err; i++)
		err = adopt_ring(dev, &dev->vring[i]);
	return err;
}

/* What is left to be done about the last message. */
static int finish_message(struct vublk_dev *dev, const struct vhu_record_copy *copy,
			  enum vhu_phase phase)
{
	const struct vhu_record *record = dev->keep.keeper.memory;
	struct vhu_reply reply = {.size = copy->reply_size};
	int err = 0, fd;

	if (phase == VHU_PHASE_IDLE)
		return vhu_msg_set_peeking(dev->sock, true);
	/* Of an answer that was not sent whole it was to end the connection. */
	if (record->say.msg_len)
		return record->say.msg_len == reply.size ? vhu_keep_say(dev, NULL, -1)
							 : -ECONNABORTED;
	memcpy(reply.bytes, copy->reply, sizeof(reply.bytes));
	fd = take(dev, copy->reply_ticket, &err);
	if (!err)
		err = vhu_keep_say(dev, reply.size ? &reply : NULL, fd);
	vhu_fd_close(fd);
	return err;
}

static void start_rings(struct vublk_dev *dev)
{
	/* Counts itself, so that answers that come at once are not the last ones. */
	dev->pending++;
	for (unsigned i = 0; i < dev->params.num_queues; i++)
		if (vhu_vring_agreed(&dev->vring[i])->started)
			vhu_vring_reconcile(dev, &dev->vring[i]);
	dev->pending--;
}

/* That process died before it had written anything: it had a connection, and no more. */
static int begin_again(struct vublk_dev *dev, const struct vublk_keeper *keeper)
{
	const int sock = keeper->take(keeper->opaque, VUBLK_TICKET_CONNECTION);

	return sock < 0 ? sock : vublk_dev_connect(dev, sock, keeper);
}

/* With what was written down. */
static int go_on(struct vublk_dev *dev, const struct vublk_keeper *keeper)
{
	struct vhu_record_copy copy;
	enum vhu_phase phase;
	const char *wrong = vhu_record_read(keeper->memory, &copy, &phase);
	int err = 0;

	dev->keep = (struct vhu_keep){.keeper = *keeper, .peeks = true};
	vhu_msg_init(&dev->msg);
	if (!wrong)
		wrong = refusal(dev, &copy.session);
	if (wrong) {
		vhu_log(VUBLK_LOG_ERROR, "%s: of the session of an earlier process: %s", dev->name,
			wrong);
		return -EINVAL;
	}
	vhu_session_go_on(dev->store, &copy.session);
	dev->sock = take(dev, copy.session.ticket[VHU_FD_CONNECTION], &err);
	if (!err)
		err = adopt_session(dev, &copy);
	if (!err)
		err = finish_message(dev, &copy, phase);
	return err;
}

int vublk_dev_adopt(struct vublk_dev *dev, const struct vublk_keeper *keeper)
{
	const int err =
		vhu_record_is_empty(keeper->memory) ? begin_again(dev, keeper) : go_on(dev, keeper);

	if (err) {
		vhu_log(VUBLK_LOG_ERROR, "%s: the session of an earlier process cannot go on: %s",
			dev->name, strerror(-err));
		return err;
	}
	vhu_keep_go_on(dev);
	start_rings(dev);
	vhu_dev_say_due(dev);
	return dev->pending ? 1 : 0;
}
