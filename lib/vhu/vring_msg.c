/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rings' part of the protocol: SET_VRING_*, GET_VRING_BASE. What it leads to is vhu/vring.c's.
 * Control thread.
 */
#include <errno.h>
#include <fcntl.h>

#include "log.h"
#include "shared/fd.h"
#include "vhu/dev.h"

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
	return vhu_vring_happen(dev, vring, RING_CHANGED);
}

int vhu_vring_set_base(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const struct vhu_vring_state state = msg->payload.state;
	const bool packed = vhu_dev_is_packed(dev);
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
	if (packed && !base && !vhu_vring_agreed(vring)->told && !dev->session->has_inflight)
		base = 0x80008000;
	vhu_session_set_ring_base(dev->store, state.index, base);
	return vhu_vring_happen(dev, vring, RING_CHANGED);
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
	ring = vhu_vring_agreed(vring);
	layout = vhu_vring_layout(dev, ring);
	layout.desc = addr.desc;
	layout.avail = addr.avail;
	layout.used = addr.used;
	if (!ring_is_stopped(vring->state) || vring->state == RING_UNMAPPED) {
		/* Front-ends repeat themselves when they switch logging on or off. */
		if (addr.desc == ring->desc && addr.avail == ring->avail &&
		    addr.used == ring->used) {
			vhu_session_set_ring_logged(dev->store, addr.index,
						    addr.flags & VHU_VRING_ADDR_F_LOG);
			vhu_vring_relog_one(dev, vring);
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
	return vhu_vring_happen(dev, vring, RING_PLACED);
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
	vhu_vring_happen(dev, vring, RING_PLACED);
	vhu_vring_stop(dev, vring, drain);
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
	vhu_session_set_ring_ticket(dev->store, vring->vq.index, VHU_RING_KICK_FD, 0);
	atomic_store(&vring->inband.due, 0); /* the front-end is told no more of it */
	msg->payload.state.num = vhu_vring_agreed(vring)->base;
	vhu_iommu_ring_stopped(dev);
	vhu_session_set_ring_told(dev->store, vring->vq.index);
	return 0;
}

/* Whatever it is, it must not make us wait: on files O_NONBLOCK has no effect. */
static int check_ring_fd(const struct vublk_dev *dev, const struct vhu_msg *msg)
{
	const int flags = fcntl(msg->fd[0], F_GETFL);

	if (flags >= 0 && vhu_fd_can_notify(msg->fd[0]) &&
	    fcntl(msg->fd[0], F_SETFL, flags | O_NONBLOCK) >= 0)
		return 0;
	vhu_log(VUBLK_LOG_WARNING, "%s: %s: the descriptor is not an eventfd, pipe or socket pair",
		dev->name, vhu_msg_name(msg->header.request));
	return -EBADF;
}

/*
 * SET_VRING_KICK, _CALL, _ERR: bits 0-7 name the ring, bit 8 says that no descriptor comes. On
 * success *fd is the caller's, or -1, and it is that one of the ring's from now on.
 */
static int take_ring_fd(struct vublk_dev *dev, struct vhu_msg *msg, enum vhu_ring_fd which,
			struct vhu_vring **vring, int *fd)
{
	const uint64_t u64 = msg->payload.u64;
	const unsigned expected = u64 & VHU_VRING_NOFD ? 0 : 1;
	int err;

	*vring = find(dev, u64 & VHU_VRING_INDEX_MASK);
	if (!*vring)
		return -EINVAL;
	if (u64 & ~(VHU_VRING_INDEX_MASK | VHU_VRING_NOFD) || msg->n_fds != expected) {
		vhu_log(VUBLK_LOG_WARNING, "%s: %s 0x%llx comes with %u descriptors", dev->name,
			vhu_msg_name(msg->header.request), (unsigned long long)u64, msg->n_fds);
		return -EINVAL;
	}
	err = expected ? check_ring_fd(dev, msg) : 0;
	if (err)
		return err;
	*fd = expected ? vhu_msg_take_fd(msg, 0) : -1;
	vhu_session_set_ring_ticket(dev->store, (*vring)->vq.index, which,
				    *fd < 0 ? 0 : vhu_keep_fd(dev, *fd));
	return 0;
}

/* It is the front-end that starts the ring, and nothing is in flight. */
static void start_fresh(struct vublk_dev *dev, const struct vhu_vring *vring)
{
	if (!vhu_vring_agreed(vring)->started)
		vhu_keep_forget_ring(dev, vring->vq.index);
	vhu_session_set_ring_started(dev->store, vring->vq.index, true);
}

int vhu_vring_set_kick(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_vring *vring;
	int fd, err;

	err = take_ring_fd(dev, msg, VHU_RING_KICK_FD, &vring, &fd);
	if (err)
		return err;
	vhu_vring_apply(dev, vring, (struct vublk_update){.kick = true, .kick_fd = fd});
	/* Requests may be waiting already: do not wait for the first kick to start. */
	start_fresh(dev, vring);
	vhu_session_set_ring_inband(dev->store, vring->vq.index, false);
	vhu_vring_happen(dev, vring, RING_CHANGED);
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
		vhu_vring_apply(dev, vring, (struct vublk_update){.kicked = true});
		return 0;
	}
	if (!vhu_vring_agreed(vring)->started) {
		start_fresh(dev, vring);
		vhu_session_set_ring_inband(dev->store, state.index, true);
	}
	vhu_vring_happen(dev, vring, RING_CHANGED);
	return vhu_vring_reconcile(dev, vring);
}

int vhu_vring_set_call(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_vring *vring;
	int fd, err;

	err = take_ring_fd(dev, msg, VHU_RING_CALL_FD, &vring, &fd);
	if (err)
		return err;
	/* "it may however still be used to set an event file descriptor or to enable polling" */
	vhu_session_set_ring_no_calls(dev->store, vring->vq.index, fd < 0);
	vhu_vring_apply(dev, vring, (struct vublk_update){.call = true, .call_fd = fd});
	return 0;
}

int vhu_vring_set_err(struct vublk_dev *dev, struct vhu_msg *msg)
{
	struct vhu_vring *vring;
	int fd, err;

	err = take_ring_fd(dev, msg, VHU_RING_ERR_FD, &vring, &fd);
	if (!err)
		vhu_vring_apply(dev, vring, (struct vublk_update){.err = true, .err_fd = fd});
	return err;
}
