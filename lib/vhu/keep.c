/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A session that is kept, so that the next process goes on with it, whatever way this one ends:
 * what the device's other files do for that. Control thread. The user has memory and a place for
 * descriptors that outlive the process (struct vublk_keeper); what is in that memory, and why a
 * kill at any moment leaves it right, is said in vhu/record.h.
 *
 * What follows from what is kept is made again: maps, the rings' states, translations (they are
 * asked for again). What was in flight is in the in-flight region; for a front-end that has none we
 * make one of our own, which lies in the session.
 *
 * A session that cannot be kept any more, since a descriptor cannot be, or a ring is too large for
 * our region, is served like one that never was, and ends with the process. So is one that takes
 * part in a postcopy migration: missing pages go to this process's descriptor.
 */
#include <errno.h>
#include <string.h>

#include "log.h"
#include "vhu/dev.h"
#include "vhu/record.h"
#include "vq/kill_point.h"

static struct vhu_record *record_of(struct vublk_dev *dev)
{
	return dev->keep.keeper.memory;
}

/* NULL: nothing is kept, or not any more. */
static struct vhu_keep *on(struct vublk_dev *dev)
{
	return dev->keep.keeper.memory && !dev->keep.parking ? &dev->keep : NULL;
}

size_t vublk_keeper_size(void)
{
	return sizeof(struct vhu_record);
}

/* ---- what is kept ---- */

static void forget(struct vublk_dev *dev)
{
	struct vublk_keeper *keeper = &dev->keep.keeper;

	vhu_record_end(keeper->memory);
	keeper->end(keeper->opaque);
	keeper->memory = NULL;
}

void vhu_keep_give_up(struct vublk_dev *dev, const char *why)
{
	if (!on(dev))
		return;
	vhu_log(VUBLK_LOG_WARNING,
		"%s: the session will end with this process, and not go on with the next one: %s",
		dev->name, why);
	forget(dev);
}

uint32_t vhu_keep_fd(struct vublk_dev *dev, int fd)
{
	struct vhu_keep *keep = on(dev);
	int ticket;

	if (!keep)
		return 0;
	ticket = keep->keeper.keep(keep->keeper.opaque, fd);
	VQ_KILL_POINT("keep-fd");
	if (ticket > 0) {
		keep->unsettled = true;
		return (uint32_t)ticket;
	}
	vhu_keep_give_up(dev, strerror(-ticket));
	return 0;
}

/* Forgets what was kept for the session as it was before; not the reply's, if it has one. */
static void settle(struct vublk_dev *dev, uint32_t reply_ticket)
{
	const struct vublk_keeper *keeper = &dev->keep.keeper;
	uint32_t ticket[VHU_SESSION_TICKETS + 1];
	unsigned n;

	if (!vhu_session_tickets_changed(dev->store) && !dev->keep.unsettled)
		return;
	n = vhu_session_tickets(dev->session, ticket);
	ticket[n] = reply_ticket;
	keeper->settle(keeper->opaque, ticket, n + (reply_ticket ? 1 : 0));
	dev->keep.unsettled = reply_ticket;
	VQ_KILL_POINT("keep-settled");
}

static void commit(struct vublk_dev *dev, const struct vhu_reply *reply, uint32_t reply_ticket,
		   enum vhu_phase phase)
{
	vhu_record_commit(record_of(dev), dev->session, dev->params.num_queues,
			  dev->params.ops->save_state(dev->params.opaque), reply, reply_ticket,
			  phase);
}

/* ---- its begin and its end ---- */

void vhu_keep_begin(struct vublk_dev *dev, const struct vublk_keeper *keeper)
{
	uint32_t ticket;

	dev->keep = (struct vhu_keep){0};
	if (!keeper)
		return;
	dev->keep.keeper = *keeper;
	dev->keep.peeks = !vhu_msg_set_peeking(dev->sock, true);
	if (!dev->keep.peeks) {
		/* Not the socket of a kernel's that is as old as we take. */
		vhu_keep_give_up(dev, "its socket cannot be looked into");
		return;
	}
	ticket = vhu_keep_fd(dev, dev->sock);
	if (!ticket)
		return;
	vhu_session_set_ticket(dev->store, VHU_FD_CONNECTION, ticket);
	vhu_record_begin(record_of(dev));
	commit(dev, NULL, 0, VHU_PHASE_IDLE);
}

void vhu_keep_go_on(struct vublk_dev *dev)
{
	if (!on(dev))
		return;
	dev->keep.unsettled = true;
	settle(dev, 0);
}

void vhu_keep_end(struct vublk_dev *dev)
{
	if (on(dev))
		forget(dev);
	dev->keep = (struct vhu_keep){0};
}

/* ---- answers ---- */

/* The message is not needed any more. 0 or -errno. */
static int consume(struct vublk_dev *dev)
{
	int err = vhu_msg_consume(dev->sock);

	if (on(dev))
		vhu_record_finish(record_of(dev));
	if (!err && !on(dev)) {
		err = vhu_msg_set_peeking(dev->sock, false);
		dev->keep.peeks = false;
	}
	return err;
}

int vhu_keep_say(struct vublk_dev *dev, const struct vhu_reply *reply, int fd)
{
	struct mmsghdr elsewhere;
	struct mmsghdr *how = on(dev) ? &record_of(dev)->say : &elsewhere;
	int err = reply ? vhu_msg_send(dev->sock, reply, fd, how) : 0;

	VQ_KILL_POINT("keep-said");
	if (!err && dev->keep.peeks)
		err = consume(dev);
	return err;
}

int vhu_keep_answer(struct vublk_dev *dev, const struct vhu_reply *reply)
{
	const int fd = dev->msg.reply_fd;
	const uint32_t ticket = reply && fd >= 0 ? vhu_keep_fd(dev, fd) : 0;

	if (on(dev)) {
		commit(dev, reply, ticket, VHU_PHASE_ACTED);
		settle(dev, ticket);
	}
	return vhu_keep_say(dev, reply, fd);
}

/* ---- in-flight tracking, where the front-end has none ---- */

static int make_region(struct vublk_dev *dev, unsigned entries)
{
	struct vhu_inflight_desc desc = {
		.num_queues = (uint16_t)dev->params.num_queues,
		.queue_size = (uint16_t)entries,
	};
	uint32_t ticket;
	int fd, err;

	err = vhu_inflight_create(desc.num_queues, entries, vhu_dev_is_packed(dev), &fd,
				  &desc.mmap_size);
	if (err)
		return err;
	err = vhu_inflight_adopt(&dev->inflight, dev->name, &desc, fd, vhu_dev_is_packed(dev),
				 dev->params.num_queues);
	ticket = err ? 0 : vhu_keep_fd(dev, fd);
	vhu_fd_close(fd);
	if (ticket) {
		vhu_session_set_inflight(dev->store, &desc, vhu_dev_is_packed(dev), true);
		vhu_session_set_ticket(dev->store, VHU_FD_INFLIGHT, ticket);
	}
	return err;
}

/* Is there one that fits the ring? */
static bool has_region(const struct vublk_dev *dev, unsigned index)
{
	return dev->inflight && vhu_inflight_is_packed(dev->inflight) == vhu_dev_is_packed(dev) &&
	       vhu_inflight_queue_size(dev->inflight) >= dev->session->ring[index].size;
}

static bool others_run(const struct vublk_dev *dev, unsigned index)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++)
		if (i != index && !ring_is_stopped(dev->vring[i].state))
			return true;
	return false;
}

static unsigned largest_ring(const struct vublk_dev *dev)
{
	unsigned most = VHU_INFLIGHT_MIN_ENTRIES;

	for (unsigned i = 0; i < dev->params.num_queues; i++)
		if (dev->session->ring[i].size > most)
			most = dev->session->ring[i].size;
	return most;
}

void vhu_keep_track(struct vublk_dev *dev, unsigned index)
{
	int err = 0;

	if (!on(dev) || dev->session->has_inflight)
		return;
	if (!has_region(dev, index) && others_run(dev, index)) {
		vhu_keep_give_up(dev, "a ring is larger than those that were started first");
		return;
	}
	if (!has_region(dev, index)) {
		vhu_inflight_put(dev->inflight);
		dev->inflight = NULL;
		err = make_region(dev, largest_ring(dev));
	}
	if (err)
		vhu_keep_give_up(dev, strerror(-err));
	else if (on(dev))
		commit(dev, NULL, 0, VHU_PHASE_IDLE);
}

void vhu_keep_forget_ring(struct vublk_dev *dev, unsigned index)
{
	if (dev->session->own_inflight)
		vhu_inflight_forget_queue(dev->inflight, index);
}
