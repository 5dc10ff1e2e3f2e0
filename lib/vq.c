/* SPDX-License-Identifier: BSD-3-Clause */
#include "vq.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhu_fd.h"
#include "vhu_log.h"

void vq_init(struct vublk_queue *vq, const char *name, unsigned index)
{
	*vq = (struct vublk_queue){
		.name = name,
		.index = index,
		.kick_fd = -1,
		.call_fd = -1,
		.err_fd = -1,
	};
}

static void replace_fd(int *fd, int by)
{
	vhu_fd_close(*fd);
	*fd = by;
}

void vq_reset(struct vublk_queue *vq)
{
	struct vublk_dev *dev = vq->dev;

	replace_fd(&vq->kick_fd, -1);
	replace_fd(&vq->call_fd, -1);
	replace_fd(&vq->err_fd, -1);
	vq_init(vq, vq->name, vq->index);
	vq->dev = dev;
}

int vq_break(struct vublk_queue *vq, const char *format, ...)
{
	char what[256];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	vhu_log(VUBLK_LOG_ERROR, "%s: queue %u is broken and stands still: %s", vq->name, vq->index,
		what);
	vq->broken = true;
	vhu_fd_signal(vq->err_fd);
	return -EPROTO;
}

/* ---- set-up: control thread ---- */

struct vq_lease *vq_lease_new(struct vhu_mem *mem)
{
	struct vq_lease *lease = malloc(sizeof(*lease));

	if (lease)
		*lease = (struct vq_lease){.mem = vhu_mem_get(mem), .users = 1};
	return lease;
}

void vq_lease_put(struct vq_lease *lease)
{
	if (!lease || --lease->users)
		return;
	vhu_mem_put(lease->mem);
	free(lease);
}

static bool disjoint(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a + a_size <= b || b + b_size <= a;
}

/* virtio 2.7 "Split Virtqueues": sizes and alignments of the three parts. */
int vq_translate(const struct vublk_queue *vq, const struct vq_layout *layout,
		 const struct vhu_mem *mem, bool event_idx, struct vq_split *split)
{
	const uint64_t n = layout->size, event = event_idx ? 2 : 0;
	const uint64_t desc_size = 16 * n;
	const uint64_t avail_size = 4 + 2 * n + event;
	const uint64_t used_size = 4 + 8 * n + event;
	const char *wrong = NULL;

	split->desc = vhu_mem_uva(mem, layout->desc, desc_size);
	split->avail = vhu_mem_uva(mem, layout->avail, avail_size);
	split->used = vhu_mem_uva(mem, layout->used, used_size);
	if (!split->desc || !split->avail || !split->used)
		wrong = "is not in the memory shared";
	/* With us: a front-end may place a region at any address. */
	else if ((uintptr_t)split->desc % VRING_DESC_ALIGN_SIZE ||
		 (uintptr_t)split->avail % VRING_AVAIL_ALIGN_SIZE ||
		 (uintptr_t)split->used % VRING_USED_ALIGN_SIZE)
		wrong = "is not aligned";
	/* Inside regions the sums cannot wrap around. */
	else if (!disjoint(layout->desc, desc_size, layout->avail, avail_size) ||
		 !disjoint(layout->desc, desc_size, layout->used, used_size) ||
		 !disjoint(layout->avail, avail_size, layout->used, used_size))
		wrong = "has parts that overlap";
	if (!wrong)
		return 0;
	vhu_log(VUBLK_LOG_WARNING,
		"%s: queue %u: the ring of %u entries (descriptors 0x%llx, available 0x%llx, "
		"used 0x%llx) %s",
		vq->name, vq->index, layout->size, (unsigned long long)layout->desc,
		(unsigned long long)layout->avail, (unsigned long long)layout->used, wrong);
	return -EINVAL;
}

int vq_setup(struct vublk_queue *vq, const struct vq_layout *layout, struct vhu_mem *mem,
	     uint64_t features)
{
	const bool event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1;
	int err;

	err = vq_translate(vq, layout, mem, event_idx, &vq->split);
	if (err)
		return err;
	vq->lease = vq_lease_new(mem);
	if (!vq->lease)
		return -ENOMEM;
	vq->size = (uint16_t)layout->size;
	vq->indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1;
	vq->event_idx = event_idx;
	vq->broken = false;
	vq->kicks_wanted = true;
	vq->called = false;
	vq->next_avail = layout->base;
	/* Only we write it while the ring is in use; a driver that does misleads itself. */
	vq->used_idx = __atomic_load_n(&vq->split.used->idx, __ATOMIC_RELAXED);
	vq->n_pushed = 0;
	/* An earlier session may have left the driver told not to kick. */
	__atomic_store_n(&vq->split.used->flags, 0, __ATOMIC_RELAXED);
	return 0;
}

void vq_teardown(struct vublk_queue *vq)
{
	vq_lease_put(vq->lease);
	vq->lease = NULL;
	vq->split = (struct vq_split){0};
}

void vq_inject_call(const struct vublk_queue *vq)
{
	if (!vq->lease)
		return;
	if (vq->event_idx || !(__atomic_load_n(&vq->split.avail->flags, __ATOMIC_RELAXED) &
			       VRING_AVAIL_F_NO_INTERRUPT))
		vhu_fd_signal(vq->call_fd);
}

/* ---- the worker's side ---- */

void vublk_queue_apply(struct vublk_queue *vq, struct vublk_update *update)
{
	if (update->lease) {
		vq_lease_put(vq->lease);
		vq->lease = update->lease;
		vq->split = update->split;
		update->lease = NULL;
	}
	if (update->kick)
		replace_fd(&vq->kick_fd, update->kick_fd);
	if (update->err) {
		replace_fd(&vq->err_fd, update->err_fd);
		if (vq->broken)
			vhu_fd_signal(vq->err_fd);
	}
	if (update->call) {
		replace_fd(&vq->call_fd, update->call_fd);
		vq_inject_call(vq);
	}
}

bool vublk_update_has_kick(const struct vublk_update *update)
{
	return update->kick;
}

unsigned vublk_queue_size(const struct vublk_queue *vq)
{
	return vq->size;
}

void vublk_queue_break(struct vublk_queue *vq, const char *why)
{
	vq_break(vq, "%s", why);
}

bool vublk_queue_broken(const struct vublk_queue *vq)
{
	return vq->broken;
}

int vublk_queue_kick_fd(const struct vublk_queue *vq)
{
	return vq->kick_fd;
}

int vublk_queue_drain_kick(struct vublk_queue *vq)
{
	return vhu_fd_drain(vq->kick_fd);
}

void vublk_queue_set_opaque(struct vublk_queue *vq, void *opaque)
{
	vq->opaque = opaque;
}

void *vublk_queue_opaque(const struct vublk_queue *vq)
{
	return vq->opaque;
}

unsigned vublk_queue_index(const struct vublk_queue *vq)
{
	return vq->index;
}
