/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens to rings, and what is done to them. Control thread. See vhu/dev.h; the messages are
 * in vhu/vring_msg.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <unistd.h>

#include "log.h"
#include "shared/fd.h"
#include "shared/view.h"
#include "vhu/dev.h"
#include "vq/track.h"

struct vq_layout vhu_vring_layout(const struct vublk_dev *dev, const struct vhu_session_ring *ring)
{
	return (struct vq_layout){
		.size = ring->size,
		.desc = ring->desc,
		.avail = ring->avail,
		.used = ring->used,
		.base = ring->base,
		.guest_physical = vhu_dev_has(dev, VHU_PROTOCOL_F_GPA_ADDRESSES),
		.iotlb = vhu_iommu_table(dev),
	};
}

/* ---- what is done to a ring (vhu/ring_state.h) ---- */

/* Why a ring cannot be started with what the front-end has said; 0: it can. */
static int check_start(const struct vublk_dev *dev, const struct vhu_vring *vring)
{
	const struct vhu_session_ring *ring = vhu_vring_agreed(vring);

	if (!ring->size || !ring->addr_set) {
		vhu_log(VUBLK_LOG_WARNING, "%s: queue %u is started without its %s", dev->name,
			vring->vq.index, !ring->size ? "size" : "addresses");
		return -EINVAL;
	}
	if (!dev->mem || !vhu_mem_ranges(dev->mem, NULL, 0)) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: queue %u is started, but no memory is shared; QEMU needs a memory "
			"backend, as -object memory-backend-memfd,id=mem,share=on,size=SIZE "
			"-machine memory-backend=mem, libvirt <memoryBacking> with <source "
			"type='memfd'/> and <access mode='shared'/>",
			dev->name, vring->vq.index);
		return -EINVAL;
	}
	if (vhu_iommu_table(dev) && !vhu_iommu_can_ask(dev)) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: queue %u is started with VIRTIO_F_ACCESS_PLATFORM, but without a "
			"channel (SET_BACKEND_REQ_FD) to ask for translations by",
			dev->name, vring->vq.index);
		return -EINVAL;
	}
	return 0;
}

/* Where the ring is to mark what it writes; NULL: nowhere, or (noted) not yet. */
static struct vhu_dirty_log *log_of(struct vublk_dev *dev, const struct vhu_vring *vring)
{
	if (!vhu_vring_agreed(vring)->logged && !(dev->session->features >> VHU_F_LOG_ALL & 1))
		return NULL;
	if (!dev->log)
		dev->unlogged = true;
	return dev->log;
}

static int ask_start(struct vublk_dev *dev, struct vhu_vring *vring)
{
	const struct vq_layout layout = vhu_vring_layout(dev, vhu_vring_agreed(vring));
	int err = check_start(dev, vring);

	if (!err)
		vhu_keep_track(dev, vring->vq.index);
	if (!err)
		err = vq_setup(&vring->vq, &layout, dev->mem, dev->inflight,
			       dev->session->features);
	if (err == -EAGAIN) { /* it starts when the answer comes */
		vhu_vring_happen(dev, vring, RING_UNMAP);
		return 0;
	}
	if (err) {
		vhu_vring_happen(dev, vring, RING_UNABLE);
		return err;
	}
	vring->vq.log = vhu_dirty_log_get(log_of(dev, vring));
	vring->vq.inband = vhu_inband_of(dev, vring);
	vring->vq.kicked_inband = vhu_vring_agreed(vring)->inband;
	vring->vq.no_calls = vhu_vring_agreed(vring)->no_calls;
	dev->pending++;
	dev->params.ops->queue_start(dev->params.opaque, &vring->vq);
	return 0;
}

static void ask_stop(struct vublk_dev *dev, struct vhu_vring *vring, bool drain)
{
	dev->pending++;
	dev->params.ops->queue_stop(dev->params.opaque, &vring->vq, drain);
}

/* Of a ring that has begun. */
static void rest(struct vublk_dev *dev, struct vhu_vring *vring)
{
	vhu_session_set_ring_base(dev->store, vring->vq.index, vq_base(&vring->vq));
	vq_teardown(&vring->vq);
	vhu_inband_rest(dev, vring);
}

/* Of one that was set up, and has not. */
static void rest_unbegun(struct vublk_dev *dev, struct vhu_vring *vring)
{
	vq_find_base(&vring->vq);
	rest(dev, vring);
}

/* "vring_err" is the way to say that it cannot run. */
static void tell(struct vublk_dev *dev, struct vhu_vring *vring)
{
	vring->vq.inband = vhu_inband_of(dev, vring);
	vq_error(&vring->vq);
}

int vhu_vring_happen(struct vublk_dev *dev, struct vhu_vring *vring, enum ring_event event)
{
	const struct ring_step step = ring_step(vring->state, event);
	struct vublk_queue *vq = &vring->vq;

	vring->state = step.next;
	switch (step.action) {
	case RING_IGNORE:
	case RING_MOVE:
		break;
	case RING_ASK_START:
		return ask_start(dev, vring);
	case RING_ASK_DRAIN:
		ask_stop(dev, vring, true);
		break;
	case RING_ASK_ABANDON:
		ask_stop(dev, vring, false);
		break;
	case RING_ASK_UPDATE:
		dev->pending++;
		dev->params.ops->queue_update(dev->params.opaque, vq, &vring->update);
		break;
	case RING_CANCEL:
		dev->params.ops->queue_cancel(dev->params.opaque, vq);
		rest_unbegun(dev, vring);
		break;
	case RING_HOLD:
		dev->pending++;
		break;
	case RING_UNHOLD:
		dev->pending--;
		break;
	case RING_TELL:
		tell(dev, vring);
		break;
	case RING_TELL_REST:
		tell(dev, vring);
		rest_unbegun(dev, vring);
		break;
	case RING_REST:
		rest(dev, vring);
		break;
	}
	return 0;
}

void vhu_vring_stop(struct vublk_dev *dev, struct vhu_vring *vring, bool drain)
{
	enum ring_event event = drain ? RING_DRAIN : RING_ABANDON;

	if (drain && vring->state == RING_WAITING &&
	    vq_track_has_left(vring->vq.track, vring->vq.packed))
		event = RING_DRAIN_LEFT;
	vhu_vring_happen(dev, vring, event);
}

int vhu_vring_reconcile(struct vublk_dev *dev, struct vhu_vring *vring)
{
	if (vhu_vring_agreed(vring)->started && vhu_vring_agreed(vring)->enabled)
		return vhu_vring_happen(dev, vring, RING_WANTED);
	vhu_vring_stop(dev, vring, true);
	return 0;
}

/*
 * A ring moves with its memory. One whose memory is gone is stopped until it is back: front-ends
 * that change the layout take regions away before they add others.
 */
static void remap_one(struct vublk_dev *dev, struct vhu_vring *vring)
{
	const struct vq_layout layout = vhu_vring_layout(dev, vhu_vring_agreed(vring));
	struct vq_ring ring;
	int err;

	if (ring_is_stopped(vring->state) && vring->state != RING_UNMAPPED)
		return;
	err = vq_translate(&vring->vq, &layout, dev->mem, dev->session->features, &ring);
	if (vring->state == RING_RUNNING && !err) {
		vring->update.ring = ring;
	} else {
		if (!err)
			vq_ring_put(&ring);
		vq_lease_put(vring->update.lease);
		vring->update.lease = NULL;
	}
	vhu_vring_happen(dev, vring, err ? RING_UNMAP : RING_REMAP);
	vhu_vring_reconcile(dev, vring);
}

int vhu_vring_remap(struct vublk_dev *dev, struct vhu_mem *mem)
{
	/* First get what may fail, then do it. */
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		struct vhu_vring *vring = &dev->vring[i];

		vring->update = (struct vublk_update){0};
		if (vring->state != RING_RUNNING)
			continue;
		vring->update.lease = vq_lease_new(mem, vhu_iommu_table(dev), i);
		if (vring->update.lease)
			continue;
		while (i--)
			vq_lease_put(dev->vring[i].update.lease);
		return -ENOMEM;
	}
	vhu_mem_put(dev->mem);
	dev->mem = mem;
	for (unsigned i = 0; i < dev->params.num_queues; i++)
		remap_one(dev, &dev->vring[i]);
	return 0;
}

void vhu_vring_apply(struct vublk_dev *dev, struct vhu_vring *vring, struct vublk_update update)
{
	vring->update = update;
	if (vring->state == RING_RUNNING)
		vhu_vring_happen(dev, vring, RING_UPDATE);
	else
		vublk_queue_apply(&vring->vq, &vring->update);
}

void vhu_vring_relog_one(struct vublk_dev *dev, struct vhu_vring *vring)
{
	struct vhu_dirty_log *log;

	if (ring_is_stopped(vring->state))
		return;
	log = log_of(dev, vring);
	if (vring->vq.log == log)
		return;
	vhu_vring_apply(dev, vring,
			(struct vublk_update){.logging = true, .log = vhu_dirty_log_get(log)});
}

void vhu_vring_revoke(struct vublk_dev *dev, uint64_t first, uint64_t last,
		      const struct vhu_revoked *revoked)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		struct vhu_vring *vring = &dev->vring[i];
		const struct vq_layout layout = vhu_vring_layout(dev, vhu_vring_agreed(vring));

		if (ring_is_stopped(vring->state))
			continue;
		if (vq_iommu_ring_lost(&layout, dev->session->features, first, last))
			vhu_vring_happen(dev, vring, RING_UNMAP);
		else if (vring->state == RING_RUNNING)
			vhu_vring_apply(dev, vring, (struct vublk_update){.revoked = revoked});
	}
}

void vhu_vring_tell_news(struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		struct vhu_vring *vring = &dev->vring[i];

		if (vhu_iotlb_take_waiting(dev->iotlb, i) && vring->state == RING_RUNNING)
			vhu_vring_apply(dev, vring, (struct vublk_update){0});
	}
}

bool vhu_vring_start_known(struct vublk_dev *dev)
{
	bool all = true;

	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		struct vhu_vring *vring = &dev->vring[i];
		const struct vq_layout layout = vhu_vring_layout(dev, vhu_vring_agreed(vring));
		int err;

		if (vring->state != RING_UNMAPPED || !vhu_vring_agreed(vring)->started ||
		    !vhu_vring_agreed(vring)->enabled)
			continue;
		/* One whose memory is not shared starts when it is. */
		err = dev->mem ? vq_iommu_check_ring(i, &layout, dev->session->features, dev->mem)
			       : -ENOENT;
		all &= err != -EAGAIN;
		if (err == -EAGAIN || err == -ENOENT)
			continue;
		vhu_vring_happen(dev, vring, RING_REMAP);
		vhu_vring_reconcile(dev, vring);
	}
	return all;
}

void vhu_vring_relog(struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++)
		vhu_vring_relog_one(dev, &dev->vring[i]);
}

void vhu_vring_call_again(struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		struct vhu_vring *vring = &dev->vring[i];

		if (!ring_is_stopped(vring->state) && vq_calls_inband(&vring->vq))
			vhu_vring_apply(dev, vring, (struct vublk_update){.call_again = true});
	}
}

bool vhu_vring_any_running(const struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++)
		if (!ring_is_stopped(dev->vring[i].state))
			return true;
	return false;
}

bool vhu_vring_any_served(const struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++)
		if (dev->vring[i].state == RING_RUNNING || dev->vring[i].state == RING_UPDATING)
			return true;
	return false;
}

bool vhu_vring_any_lost(const struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++)
		for (unsigned k = 0; k < 3; k++)
			if (!ring_is_stopped(dev->vring[i].state) &&
			    vhu_view_is_lost(dev->vring[i].vq.ring.view[k]))
				return true;
	return false;
}

void vhu_vring_stop_all(struct vublk_dev *dev, bool drain)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		vhu_session_set_ring_started(dev->store, i, false);
		vhu_vring_stop(dev, &dev->vring[i], drain);
	}
}

void vhu_vring_reset_all(struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		struct vhu_vring *vring = &dev->vring[i];
		struct vublk_queue *vq = &vring->vq;

		vq_reset(vq);
		*vring = (struct vhu_vring){.vq = *vq};
	}
}

void vublk_queue_done(struct vublk_queue *queue, int err)
{
	struct vublk_dev *dev = queue->dev;
	bool again;

	if (err && !dev->err)
		dev->err = err;
	vhu_vring_happen(dev, &dev->vring[queue->index], err ? RING_ERROR : RING_DONE);
	if (--dev->pending)
		return;
	if (dev->leaving) {
		vublk_dev_disconnect(dev);
		return;
	}
	again = !dev->row || !vhu_dispatch_finish(dev);
	vhu_dev_say_due(dev);
	dev->params.ops->resume(dev->params.opaque, again);
}

void vublk_queue_wait(struct vublk_queue *queue)
{
	/* Pending no more: the message that had it started counts itself. */
	vhu_vring_happen(queue->dev, &queue->dev->vring[queue->index], RING_PUT_OFF);
}

void vublk_queue_wait_over(struct vublk_queue *queue)
{
	vhu_vring_happen(queue->dev, &queue->dev->vring[queue->index], RING_READY);
}

void vhu_vring_let_go(struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++)
		vhu_vring_happen(dev, &dev->vring[i], RING_LET_GO);
}
