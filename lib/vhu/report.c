/* SPDX-License-Identifier: BSD-3-Clause */
/* What a session is at, for its user and the operator. Control thread. */
#include <linux/virtio_config.h>

#include "log.h"
#include "vhu/dev.h"

static const char *state_name(const struct vublk_dev *dev, const struct vhu_vring *vring)
{
	static const char *const names[RING_STATES] = {
		[RING_STOPPED] = "stopped",
		[RING_FAILED] = "could not be started",
		[RING_UNMAPPED] = "stopped, as its memory is not shared any more, or not known",
		[RING_WAITING] = "waiting for the image",
		[RING_HELD] = "waiting for the image",
		[RING_STARTING] = "starting",
		[RING_STOP_NEXT] = "starting",
		[RING_RUNNING] = "running",
		[RING_UPDATING] = "running",
		[RING_DRAINING] = "draining",
		[RING_UNMAPPING] = "draining",
	};
	const struct vhu_session_ring *ring = &dev->session->ring[vring->vq.index];

	if (vring->state == RING_STOPPED && ring->started && !ring->enabled)
		return "disabled";
	return names[vring->state];
}

static const char *kick_name(const struct vublk_queue *vq)
{
	return vublk_queue_polled(vq) ? ", not kicked"
	       : vq->kicked_inband    ? ", kicked by messages"
				      : "";
}

static void report_ring(const struct vublk_dev *dev, const struct vhu_vring *vring)
{
	const unsigned size = dev->session->ring[vring->vq.index].size;
	const bool running = vring->state == RING_RUNNING;
	const struct vublk_queue *vq = &vring->vq;

	if (!size)
		return;
	vhu_log(VUBLK_LOG_INFO, "%s: queue %u: %s ring of %u, %s%s%s%s", dev->name, vq->index,
		dev->session->features >> VIRTIO_F_RING_PACKED & 1 ? "packed" : "split", size,
		state_name(dev, vring), running && !vq->track ? ", not tracked" : "",
		running ? kick_name(vq) : "",
		running && vq_calls_inband(vq) ? ", calls by messages" : "");
}

bool vublk_dev_pauses(const struct vublk_dev *dev)
{
	for (unsigned i = 0; i < dev->params.num_queues; i++) {
		const enum ring_state state = dev->vring[i].state;
		const struct vhu_session_ring *ring = &dev->session->ring[i];

		if ((state == RING_UNMAPPED || state == RING_UNMAPPING) && ring->started &&
		    ring->enabled)
			return true;
	}
	return false;
}

void vublk_dev_report(const struct vublk_dev *dev)
{
	vhu_log(VUBLK_LOG_INFO,
		"%s: features 0x%llx, protocol features 0x%llx, status 0x%02x, %s, %s", dev->name,
		(unsigned long long)dev->session->features,
		(unsigned long long)dev->session->protocol_features, dev->session->status,
		dev->mem ? "memory is shared" : "no memory is shared",
		dev->inflight ? "an in-flight region is set" : "no in-flight region is set");
	for (unsigned i = 0; i < dev->params.num_queues; i++)
		report_ring(dev, &dev->vring[i]);
}
