/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notifications as messages ("In-band notifications"): BACKEND_VRING_CALL and _ERR on the back-end
 * channel, for rings without the descriptor. Control thread; what it reads, workers have noted
 * (shared/inband.h).
 *
 * A message that finds no room stays due, and is sent when there is some; without a channel, when
 * one comes. No acknowledgement is asked for, as for all that is said there (vhu/backend.h): a
 * front-end that waits for our answer to a message of its own does not read the channel meanwhile.
 */
#include <errno.h>
#include <string.h>

#include "log.h"
#include "vhu/dev.h"

struct vhu_inband *vhu_inband_of(struct vublk_dev *dev, struct vhu_vring *vring)
{
	if (!vhu_dev_has(dev, VHU_PROTOCOL_F_INBAND_NOTIFICATIONS))
		return NULL;
	vring->inband.announce = dev->params.ops->announce;
	vring->inband.opaque = dev->params.opaque;
	return &vring->inband;
}

/* Sends one message of a ring, if that is due. 0, or -errno, and then it still is. */
static int say(struct vublk_dev *dev, struct vhu_vring *vring, enum vhu_inband_what what,
	       enum vhu_backend_request request)
{
	const struct vhu_vring_state state = {.index = vring->vq.index};
	int err;

	if (!(atomic_load(&vring->inband.due) & what))
		return 0;
	/* First, for what is raised from now on has to be said again. */
	atomic_fetch_and(&vring->inband.due, ~(unsigned)what);
	err = vhu_backend_send(&dev->backend, request, &state, sizeof(state));
	if (err)
		atomic_fetch_or(&vring->inband.due, what);
	return err;
}

static int say_all(struct vublk_dev *dev, struct vhu_vring *vring)
{
	int err = say(dev, vring, VHU_INBAND_ERR, VHU_BACKEND_VRING_ERR);

	return err ? err : say(dev, vring, VHU_INBAND_CALL, VHU_BACKEND_VRING_CALL);
}

void vublk_dev_announce(struct vublk_dev *dev)
{
	/* What is left, where that was given up, waits for nothing. */
	const bool on = vhu_dev_has(dev, VHU_PROTOCOL_F_INBAND_NOTIFICATIONS);
	const unsigned n = on ? dev->params.num_queues : 0, first = dev->next_said;
	int err = 0;

	if (dev->backend.fd < 0 || dev->leaving)
		return;
	for (unsigned i = 0; i < n && !err; i++) {
		/* Where it ended for want of room it goes on, so that each ring has its turn. */
		dev->next_said = (first + i) % n;
		err = say_all(dev, &dev->vring[dev->next_said]);
	}
	vhu_backend_await_room(&dev->backend, err == -EAGAIN);
	if (err && err != -EAGAIN)
		vhu_log(VUBLK_LOG_WARNING,
			"%s: the front-end is told of no completions any more: its channel for "
			"that: %s",
			dev->name, strerror(-err));
}

void vhu_inband_rest(struct vublk_dev *dev, struct vhu_vring *vring)
{
	/* The worker's last word may be on its way by what another one has asked for. */
	vublk_dev_announce(dev);
	atomic_fetch_and(&vring->inband.due, ~(unsigned)VHU_INBAND_CALL);
}
