/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VIRTIO_F_ACCESS_PLATFORM ("IOMMU support"): what the front-end says of translations, and what it
 * is asked. Control thread, but for missed(). The table is shared/iotlb.h.
 *
 * Theory of operation. Whoever finds no translation leaves a miss in the table and goes on with
 * something else. It is asked for on the back-end channel, with an acknowledgement where there is
 * REPLY_ACK, for a front-end that has nothing at that address says so in no other way. The answer
 * is an update, which comes as a message; then rings that wait look again. A front-end that says
 * nothing at all is waited for as long as VHU_IOTLB_TIMEOUT_NS.
 *
 * Nothing waits in a message for such an answer, for a front-end (QEMU) that waits for the
 * acknowledgement of a message does not read the channel.
 *
 * What an INVALIDATE, or an UPDATE that says something else, takes away may be in use. It is
 * acknowledged when it is not any more: workers go on with what they have popped, and answer when
 * none of that has such memory; a ring that itself lies there drains, and stops. What is popped
 * needs no translation any more, so that ends.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "vhu/dev.h"

/* How often to look for answers, and for room in the channel, while something is missing. */
#define PERIOD_NS UINT64_C(20000000)

#define MESSAGES_AT_ONCE 64

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

struct vhu_iotlb *vhu_iommu_table(const struct vublk_dev *dev)
{
	return dev->session->features >> VIRTIO_F_ACCESS_PLATFORM & 1 ? dev->iotlb : NULL;
}

bool vhu_iommu_can_ask(const struct vublk_dev *dev)
{
	return dev->backend.fd >= 0 && vhu_dev_has(dev, VHU_PROTOCOL_F_BACKEND_REQ);
}

/* Any thread. */
static void missed(void *opaque)
{
	struct vublk_dev *dev = opaque;

	dev->params.ops->attend(dev->params.opaque);
}

int vhu_iommu_prepare(struct vublk_dev *dev, uint64_t features)
{
	if (dev->iotlb)
		vhu_iotlb_clear(dev->iotlb);
	else if (features >> VIRTIO_F_ACCESS_PLATFORM & 1)
		dev->iotlb = vhu_iotlb_new(missed, dev);
	return dev->iotlb || !(features >> VIRTIO_F_ACCESS_PLATFORM & 1) ? 0 : -ENOMEM;
}

void vhu_iommu_ring_stopped(struct vublk_dev *dev)
{
	bool any = !dev->iotlb || vhu_vring_any_running(dev);

	for (unsigned i = 0; i < dev->params.num_queues; i++)
		any |= dev->session->ring[i].started;
	if (!any)
		vhu_iotlb_clear(dev->iotlb);
}

void vhu_iommu_new_channel(struct vublk_dev *dev)
{
	dev->n_asked = dev->n_answered = 0;
	if (dev->iotlb)
		vhu_iotlb_ask_again(dev->iotlb);
}

/* ---- what is said ---- */

/* Is all of it memory that was shared? */
static bool is_shared(const struct vublk_dev *dev, uint64_t uaddr, uint64_t size)
{
	while (size) {
		struct vhu_mem_piece piece = {0};
		uint64_t room;

		if (dev->mem)
			piece = vhu_mem_piece_uva(dev->mem, uaddr);
		if (!piece.size)
			return false;
		room = piece.size - (uaddr - piece.gpa);
		if (room >= size)
			return true;
		uaddr += room;
		size -= room;
	}
	return true;
}

static int update(struct vublk_dev *dev, const struct vhu_iotlb_msg *iotlb)
{
	int err = -EINVAL;

	if (is_shared(dev, iotlb->uaddr, iotlb->size))
		err = vhu_iotlb_update(dev->iotlb, iotlb->iova, iotlb->size, iotlb->uaddr,
				       iotlb->perm, &dev->revoked);
	if (err)
		vhu_log(VUBLK_LOG_WARNING,
			"%s: IOTLB update of 0x%llx (%llu bytes, user address 0x%llx, permissions "
			"%u): %s",
			dev->name, (unsigned long long)iotlb->iova, (unsigned long long)iotlb->size,
			(unsigned long long)iotlb->uaddr, iotlb->perm,
			err == -EINVAL ? "is not in the memory shared, or cannot be"
				       : strerror(-err));
	return err;
}

int vhu_iommu_msg(struct vublk_dev *dev, struct vhu_msg *msg)
{
	const struct vhu_iotlb_msg iotlb = msg->payload.iotlb;
	int err = 0;

	if (!vhu_iommu_table(dev)) {
		vhu_log(VUBLK_LOG_WARNING, "%s: an IOTLB message without VIRTIO_F_ACCESS_PLATFORM",
			dev->name);
		return -EINVAL;
	}
	vhu_log(VUBLK_LOG_DEBUG,
		"%s: IOTLB message of type %u: 0x%llx, %llu bytes, user address 0x%llx, "
		"permissions %u",
		dev->name, iotlb.type, (unsigned long long)iotlb.iova,
		(unsigned long long)iotlb.size, (unsigned long long)iotlb.uaddr, iotlb.perm);
	dev->revoked = (struct vhu_revoked){0};
	switch (iotlb.type) {
	case VHU_IOTLB_UPDATE:
		err = update(dev, &iotlb);
		break;
	case VHU_IOTLB_INVALIDATE:
		vhu_iotlb_invalidate(dev->iotlb, iotlb.iova, iotlb.size, &dev->revoked);
		break;
	case VHU_IOTLB_ACCESS_FAIL:
		vhu_iotlb_refuse(dev->iotlb, iotlb.iova, iotlb.perm);
		break;
	default:
		vhu_log(VUBLK_LOG_WARNING, "%s: an IOTLB message of type %u", dev->name,
			iotlb.type);
		return -EINVAL;
	}
	/* Also if it failed: something may have had to go. */
	if (vhu_revoked_any(&dev->revoked))
		vhu_vring_revoke(dev, iotlb.iova, vhu_iotlb_last(iotlb.iova, iotlb.size),
				 &dev->revoked);
	return err;
}

/* ---- what is asked ---- */

static void give_up(struct vublk_dev *dev, const char *why)
{
	vhu_log(VUBLK_LOG_ERROR,
		"%s: the front-end cannot be asked for translations any more: its channel for "
		"that: %s; requests that need some fail",
		dev->name, why);
	vhu_iotlb_give_up(dev->iotlb);
}

static int ask(struct vublk_dev *dev, uint64_t iova, uint8_t perm)
{
	const struct vhu_iotlb_msg iotlb = {.iova = iova, .perm = perm, .type = VHU_IOTLB_MISS};

	vhu_log(VUBLK_LOG_DEBUG, "%s: IOTLB miss of 0x%llx, permissions %u", dev->name,
		(unsigned long long)iova, perm);
	if (vhu_dev_has(dev, VHU_PROTOCOL_F_REPLY_ACK))
		return vhu_backend_ask(&dev->backend, VHU_BACKEND_IOTLB_MSG, &iotlb, sizeof(iotlb));
	return vhu_backend_send(&dev->backend, VHU_BACKEND_IOTLB_MSG, &iotlb, sizeof(iotlb));
}

/* Tells of all misses that there is room for. 0; -errno: the channel is gone. */
static int ask_all(struct vublk_dev *dev)
{
	uint64_t iova;
	uint8_t perm;

	while (vhu_iotlb_next_miss(dev->iotlb, now_ns(), dev->n_asked, &iova, &perm)) {
		int err = ask(dev, iova, perm);

		if (err)
			vhu_iotlb_put_back(dev->iotlb, dev->n_asked);
		if (err)
			return err == -EAGAIN ? 0 : err;
		dev->n_asked++;
	}
	return 0;
}

/* "completed operation means either front-end sent an update message ... or ... nothing" */
static int take_answers(struct vublk_dev *dev)
{
	for (unsigned i = 0; i < MESSAGES_AT_ONCE; i++) {
		enum vhu_backend_request request;
		uint64_t u64;
		int got = vhu_backend_take_answer(&dev->backend, &request, &u64);

		if (got <= 0)
			return got;
		if (request != VHU_BACKEND_IOTLB_MSG)
			continue;
		vhu_iotlb_acknowledge(dev->iotlb, dev->n_answered, u64);
		dev->n_answered++;
	}
	return 0;
}

/* Between two messages. */
static bool may_start(const struct vublk_dev *dev)
{
	return !dev->row && !dev->pending && !dev->leaving;
}

void vhu_iommu_say_due(struct vublk_dev *dev)
{
	if (vhu_iommu_table(dev))
		dev->params.ops->attend(dev->params.opaque);
}

uint64_t vublk_dev_attend(struct vublk_dev *dev)
{
	bool left;
	int err;

	if (dev->sock < 0 || !vhu_iommu_table(dev) || dev->leaving)
		return 0;
	if (!vhu_iommu_can_ask(dev)) {
		if (vhu_iotlb_has_next_miss(dev->iotlb))
			give_up(dev, "there is none");
	} else {
		err = take_answers(dev);
		if (!err)
			err = ask_all(dev);
		if (err)
			give_up(dev, strerror(-err));
	}
	left = vhu_iotlb_expire(dev->iotlb, now_ns());
	if (!may_start(dev))
		return left ? PERIOD_NS : 0; /* and it is due again when the message is over */
	if (vhu_iotlb_take_news(dev->iotlb))
		vhu_vring_tell_news(dev);
	if (!vhu_vring_start_known(dev) && vhu_iommu_can_ask(dev)) {
		left = true;
		ask_all(dev);
	}
	return left ? PERIOD_NS : 0;
}
