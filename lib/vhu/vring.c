/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rings' part of the protocol: SET_VRING_*, GET_VRING_BASE, and the states of a ring. Control
 * thread. See vhu/dev.h.
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

/* The ring that a message names, or NULL (logged). */
static struct vhu_vring *find(struct vublk_dev *dev, uint64_t index)
{
	if (index < dev->params.num_queues)
		return &dev->vring[index];
	vhu_log(VUBLK_LOG_WARNING, "%s: %s names queue %llu, but there are %u", dev->name,
		vhu_msg_name(dev->msg.header.request), (unsigned long long)index,
		dev->params.num_queues);
	return NULL;
}

/* What was agreed upon about the ring. */
static const struct vhu_session_ring *agreed(const struct vhu_vring *vring)
{
	return &vring->vq.dev->session->ring[vring->vq.index];
}

/* The same, as the virtqueue wants to have it. */
static struct vq_layout layout_of(const struct vublk_dev *dev, const struct vhu_session_ring *ring)
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
	const struct vhu_session_ring *ring = agreed(vring);

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

static int happen(struct vublk_dev *dev, struct vhu_vring *vring, enum ring_event event);

/* Where the ring is to mark what it writes; NULL: nowhere, or (noted) not yet. */
static struct vhu_dirty_log *log_of(struct vublk_dev *dev, const struct vhu_vring *vring)
{
	if (!agreed(vring)->logged && !(dev->session->features >> VHU_F_LOG_ALL & 1))
		return NULL;
	if (!dev->log)
		dev->unlogged = true;
	return dev->log;
}

static int ask_start(struct vublk_dev *dev, struct vhu_vring *vring)
{
	const struct vq_layout layout = layout_of(dev, agreed(vring));
	int err = check_start(dev, vring);

	if (!err)
		err = vq_setup(&vring->vq, &layout, dev->mem, dev->inflight,
			       dev->session->features);
	if (err == -EAGAIN) { /* it starts when the answer comes */
		happen(dev, vring, RING_UNMAP);
		return 0;
	}
	if (err) {
		happen(dev, vring, RING_UNABLE);
		return err;
	}
	vring->vq.log = vhu_dirty_log_get(log_of(dev, vring));
	vring->vq.inband = vhu_inband_of(dev, vring);
	vring->vq.kicked_inband = agreed(vring)->inband;
	vring->vq.no_calls = agreed(vring)->no_calls;
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

/*
 * Something happens to a ring. The state is the next one before anybody is asked, for the answer
 * may come at once. 0, or -errno if it is to start and cannot even be asked for.
 */
static int happen(struct vublk_dev *dev, struct vhu_vring *vring, enum ring_event event)
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

/*
 * Has a ring stop. What an earlier process has left in flight has to be done before a stop that
 * drains is acknowledged: while such a ring waits to begin, the stop waits with it.
 */
static void stop(struct vublk_dev *dev, struct vhu_vring *vring, bool drain)
{
	enum ring_event event = drain ? RING_DRAIN : RING_ABANDON;

	if (drain && vring->state == RING_WAITING &&
	    vq_track_has_left(vring->vq.track, vring->vq.packed))
		event = RING_DRAIN_LEFT;
	happen(dev, vring, event);
}

int vhu_vring_reconcile(struct vublk_dev *dev, struct vhu_vring *vring)
{
	if (agreed(vring)->started && agreed(vring)->enabled)
		return happen(dev, vring, RING_WANTED);
	stop(dev, vring, true);
	return 0;
}

/*
 * A ring moves with its memory. One whose memory is gone is stopped until it is back: front-ends
 * that change the layout take regions away before they add others.
 */
static void remap_one(struct vublk_dev *dev, struct vhu_vring *vring)
{
	const struct vq_layout layout = layout_of(dev, agreed(vring));
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
	happen(dev, vring, err ? RING_UNMAP : RING_REMAP);
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

/* Has the owner of the queue, worker or us, take over the update. */
static void apply(struct vublk_dev *dev, struct vhu_vring *vring, struct vublk_update update)
{
	vring->update = update;
	if (vring->state == RING_RUNNING)
		happen(dev, vring, RING_UPDATE);
	else
		vublk_queue_apply(&vring->vq, &vring->update);
}

/* One that is at rest finds its log when it starts. */
static void relog(struct vublk_dev *dev, struct vhu_vring *vring)
{
	struct vhu_dirty_log *log;

	if (ring_is_stopped(vring->state))
		return;
	log = log_of(dev, vring);
	if (vring->vq.log == log)
		return;
	apply(dev, vring, (struct vublk_update){.logging = true, .log = vhu_dirty_log_get(log)});
}

void vhu_vring_revoke(struct vublk_dev *dev, uint64_t first, uint64_t last,
		      const struct vhu_revoked *revoked)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		struct vhu_vring *vring = &dev->vring[i];
		const struct vq_layout layout = layout_of(dev, agreed(vring));

		if (ring_is_stopped(vring->state))
			continue;
		if (vq_iommu_ring_lost(&layout, dev->session->features, first, last))
			happen(dev, vring, RING_UNMAP);
		else if (vring->state == RING_RUNNING)
			apply(dev, vring, (struct vublk_update){.revoked = revoked});
	}
}

void vhu_vring_tell_news(struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		struct vhu_vring *vring = &dev->vring[i];

		if (vhu_iotlb_take_waiting(dev->iotlb, i) && vring->state == RING_RUNNING)
			apply(dev, vring, (struct vublk_update){0});
	}
}

bool vhu_vring_start_known(struct vublk_dev *dev)
{
	bool all = true;

	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		struct vhu_vring *vring = &dev->vring[i];
		const struct vq_layout layout = layout_of(dev, agreed(vring));
		int err;

		if (vring->state != RING_UNMAPPED || !agreed(vring)->started ||
		    !agreed(vring)->enabled)
			continue;
		/* One whose memory is not shared starts when it is. */
		err = dev->mem ? vq_iommu_check_ring(i, &layout, dev->session->features, dev->mem)
			       : -ENOENT;
		all &= err != -EAGAIN;
		if (err == -EAGAIN || err == -ENOENT)
			continue;
		happen(dev, vring, RING_REMAP);
		vhu_vring_reconcile(dev, vring);
	}
	return all;
}

void vhu_vring_relog(struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++)
		relog(dev, &dev->vring[i]);
}

void vhu_vring_call_again(struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		struct vhu_vring *vring = &dev->vring[i];

		if (!ring_is_stopped(vring->state) && vq_calls_inband(&vring->vq))
			apply(dev, vring, (struct vublk_update){.call_again = true});
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
		stop(dev, &dev->vring[i], drain);
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
	happen(dev, &dev->vring[queue->index], err ? RING_ERROR : RING_DONE);
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
	happen(queue->dev, &queue->dev->vring[queue->index], RING_PUT_OFF);
}

void vublk_queue_wait_over(struct vublk_queue *queue)
{
	happen(queue->dev, &queue->dev->vring[queue->index], RING_READY);
}

void vhu_vring_let_go(struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++)
		happen(dev, &dev->vring[i], RING_LET_GO);
}

/* ---- messages ---- */

/* For the messages that only a ring at rest may get; NULL (logged) otherwise. */
static struct vhu_vring *find_stopped(struct vublk_dev *dev, uint64_t index)
{
	struct vhu_vring *vring = find(dev, index);

	if (!vring || ring_is_stopped(vring->state))
		return vring;
	vhu_log(VUBLK_LOG_WARNING, "%s: %s for queue %u, which is running", dev->name,
		vhu_msg_name(dev->msg.header.request), vring->vq.index);
	return NULL;
}

int vhu_vring_set_num(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const struct vhu_vring_state state = msg->payload.state;
	struct vhu_vring *vring = find_stopped(dev, state.index);

	if (!vring)
		return -EINVAL;
	if (!vq_is_size(state.num, dev->session->features)) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: queue %u: a ring of %u entries; a split one must have a power of two, "
			"2 to %d, a packed one 1 to %d",
			dev->name, state.index, state.num, VQ_MAX_SIZE, VQ_MAX_SIZE);
		return -EINVAL;
	}
	vhu_session_set_ring_size(dev->store, state.index, state.num);
	return happen(dev, vring, RING_CHANGED);
}

int vhu_vring_set_base(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const struct vhu_vring_state state = msg->payload.state;
	const bool packed = dev->session->features >> VIRTIO_F_RING_PACKED & 1;
	struct vhu_vring *vring = find_stopped(dev, state.index);
	uint32_t base = state.num;

	if (!vring)
		return -EINVAL;
	if (!packed && state.num > UINT16_MAX) {
		vhu_log(VUBLK_LOG_WARNING, "%s: queue %u: base %u is not a 16-bit index", dev->name,
			state.index, state.num);
		return -EINVAL;
	}
	/*
	 * User-mode Linux takes packed rings without knowing it, and says 0 of a fresh one. That is
	 * a position too, but only for who has been told it, or has an in-flight region.
	 */
	if (packed && !base && !agreed(vring)->told && !dev->inflight)
		base = 0x80008000;
	vhu_session_set_ring_base(dev->store, state.index, base);
	return happen(dev, vring, RING_CHANGED);
}

int vhu_vring_set_addr(struct vublk_dev *dev, struct vhu_msg *msg)
{
	/*
	 * The address to be logged for the used ring (virtio has more that we write) is known from
	 * the memory map, and not looked at.
	 */
	const struct vhu_vring_addr addr = msg->payload.addr;
	struct vhu_vring *vring = find(dev, addr.index);
	const struct vhu_session_ring *ring;
	struct vq_layout layout;

	if (!vring)
		return -EINVAL;
	ring = agreed(vring);
	layout = layout_of(dev, ring);
	layout.desc = addr.desc;
	layout.avail = addr.avail;
	layout.used = addr.used;
	if (!ring_is_stopped(vring->state) || vring->state == RING_UNMAPPED) {
		/* Front-ends repeat themselves when they switch logging on or off. */
		if (addr.desc == ring->desc && addr.avail == ring->avail &&
		    addr.used == ring->used) {
			vhu_session_set_ring_logged(dev->store, addr.index,
						    addr.flags & VHU_VRING_ADDR_F_LOG);
			relog(dev, vring);
			return 0;
		}
	}
	if (!ring_is_stopped(vring->state)) {
		vhu_log(VUBLK_LOG_WARNING, "%s: queue %u: new addresses while it is running",
			dev->name, addr.index);
		return -EBUSY;
	}
	/* As much as can be told before it is started. */
	if (layout.size && dev->mem && !layout.iotlb) {
		struct vq_ring found;
		int err =
			vq_translate(&vring->vq, &layout, dev->mem, dev->session->features, &found);

		if (err)
			return err;
	}
	vhu_session_set_ring_addr(dev->store, addr.index, addr.desc, addr.avail, addr.used);
	vhu_session_set_ring_logged(dev->store, addr.index, addr.flags & VHU_VRING_ADDR_F_LOG);
	return happen(dev, vring, RING_PLACED);
}

int vhu_vring_set_enable(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const struct vhu_vring_state state = msg->payload.state;
	struct vhu_vring *vring = find(dev, state.index);

	if (!vring)
		return -EINVAL;
	if (state.num > 1) {
		vhu_log(VUBLK_LOG_WARNING, "%s: queue %u: enable is %u, neither 0 nor 1", dev->name,
			state.index, state.num);
		return -EINVAL;
	}
	vhu_session_set_ring_enabled(dev->store, state.index, state.num);
	return vhu_vring_reconcile(dev, vring);
}

/* GET_VRING_BASE and its like: the ring is stopped, and where it stopped is the answer. */
static int get_base(struct vublk_dev *dev, struct vhu_msg *msg, bool drain)
{
	struct vhu_vring *vring = find(dev, msg->payload.state.index);

	if (!vring)
		return -EINVAL;
	vhu_session_set_ring_started(dev->store, vring->vq.index, false);
	happen(dev, vring, RING_PLACED);
	stop(dev, vring, drain);
	return 0;
}

int vhu_vring_get_base(struct vublk_dev *dev, struct vhu_msg *msg)
{
	/* With bit 20 alone, what is in flight is recorded; with bit 23 that is 45's affair. */
	const bool drain = !vhu_dev_has(dev, VHU_PROTOCOL_F_GET_VRING_BASE_INFLIGHT) ||
			   vhu_dev_has(dev, VHU_PROTOCOL_F_GET_VRING_BASE_SKIP_DRAIN);

	return get_base(dev, msg, drain);
}

int vhu_vring_get_base_skip_drain(struct vublk_dev *dev, struct vhu_msg *msg)
{
	return get_base(dev, msg, false);
}

int vhu_vring_get_base_finish(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_vring *vring = &dev->vring[msg->payload.state.index];

	vhu_fd_close(vring->vq.kick_fd);
	vring->vq.kick_fd = -1;
	atomic_store(&vring->inband.due, 0); /* the front-end is told no more of it */
	msg->payload.state.num = agreed(vring)->base;
	vhu_iommu_ring_stopped(dev);
	vhu_session_set_ring_told(dev->store, vring->vq.index);
	return 0;
}

/*
 * SET_VRING_KICK, _CALL, _ERR: bits 0-7 name the ring, bit 8 says that no descriptor comes. On
 * success *fd is the caller's, or -1.
 */
static int take_ring_fd(struct vublk_dev *dev, struct vhu_msg *msg, struct vhu_vring **vring,
			int *fd)
{
	const uint64_t u64 = msg->payload.u64;
	const unsigned expected = u64 & VHU_VRING_NOFD ? 0 : 1;
	int flags;

	*vring = find(dev, u64 & VHU_VRING_INDEX_MASK);
	if (!*vring)
		return -EINVAL;
	if (u64 & ~(VHU_VRING_INDEX_MASK | VHU_VRING_NOFD) || msg->n_fds != expected) {
		vhu_log(VUBLK_LOG_WARNING, "%s: %s 0x%llx comes with %u descriptors", dev->name,
			vhu_msg_name(msg->header.request), (unsigned long long)u64, msg->n_fds);
		return -EINVAL;
	}
	*fd = -1;
	if (!expected)
		return 0;
	/* Whatever it is, it must not make us wait: on files O_NONBLOCK has no effect. */
	flags = fcntl(msg->fd[0], F_GETFL);
	if (flags < 0 || !vhu_fd_can_notify(msg->fd[0]) ||
	    fcntl(msg->fd[0], F_SETFL, flags | O_NONBLOCK) < 0) {
		vhu_log(VUBLK_LOG_WARNING,
			"%s: %s: the descriptor is not an eventfd, pipe or socket pair", dev->name,
			vhu_msg_name(msg->header.request));
		return -EBADF;
	}
	*fd = vhu_msg_take_fd(msg, 0);
	return 0;
}

int vhu_vring_set_kick(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_vring *vring;
	int fd, err;

	err = take_ring_fd(dev, msg, &vring, &fd);
	if (err)
		return err;
	apply(dev, vring, (struct vublk_update){.kick = true, .kick_fd = fd});
	/* Requests may be waiting already: do not wait for the first kick to start. */
	vhu_session_set_ring_started(dev->store, vring->vq.index, true);
	vhu_session_set_ring_inband(dev->store, vring->vq.index, false);
	happen(dev, vring, RING_CHANGED);
	return vhu_vring_reconcile(dev, vring);
}

/*
 * "the ring is also started on the VHOST_USER_VRING_KICK message". One that has a kick descriptor,
 * or is polled, because SET_VRING_KICK said so, is looked at when a message comes nevertheless.
 * Acknowledged when its worker knows that there is something in the ring.
 */
int vhu_vring_kick(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const struct vhu_vring_state state = msg->payload.state;
	struct vhu_vring *vring = find(dev, state.index);

	if (!vring)
		return -EINVAL;
	if (state.num) {
		vhu_log(VUBLK_LOG_WARNING, "%s: queue %u: VRING_KICK with %u, which must be 0",
			dev->name, state.index, state.num);
		return -EINVAL;
	}
	if (vring->state == RING_RUNNING) {
		apply(dev, vring, (struct vublk_update){.kicked = true});
		return 0;
	}
	if (!agreed(vring)->started) {
		vhu_session_set_ring_started(dev->store, state.index, true);
		vhu_session_set_ring_inband(dev->store, state.index, true);
	}
	happen(dev, vring, RING_CHANGED);
	return vhu_vring_reconcile(dev, vring);
}

int vhu_vring_set_call(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_vring *vring;
	int fd, err;

	err = take_ring_fd(dev, msg, &vring, &fd);
	if (err)
		return err;
	/* "it may however still be used to set an event file descriptor or to enable polling" */
	vhu_session_set_ring_no_calls(dev->store, vring->vq.index, fd < 0);
	apply(dev, vring, (struct vublk_update){.call = true, .call_fd = fd});
	return 0;
}

int vhu_vring_set_err(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_vring *vring;
	int fd, err;

	err = take_ring_fd(dev, msg, &vring, &fd);
	if (!err)
		apply(dev, vring, (struct vublk_update){.err = true, .err_fd = fd});
	return err;
}
