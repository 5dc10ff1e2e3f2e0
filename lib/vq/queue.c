/* SPDX-License-Identifier: BSD-3-Clause */
/* See vq/ring.h: set-up and end of a virtqueue, and what both kinds of rings share. */
#include "vq/ring.h"

#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "log.h"
#include "shared/dirty_log.h"
#include "shared/fd.h"
#include "shared/iotlb.h"
#include "shared/view.h"
#include "vq/dirty.h"
#include "vq/track.h"

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
	void (*tell_broken)(struct vublk_queue * vq, const char *what) = vq->tell_broken;
	struct vublk_dev *dev = vq->dev;

	replace_fd(&vq->kick_fd, -1);
	replace_fd(&vq->call_fd, -1);
	replace_fd(&vq->err_fd, -1);
	vq_init(vq, vq->name, vq->index);
	vq->dev = dev;
	vq->tell_broken = tell_broken;
}

int vq_break(struct vublk_queue *vq, const char *format, ...)
{
	char what[256];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	vhu_log(VUBLK_LOG_ERROR,
		"%s: queue %u is stopped until the guest resets the disk, since its ring is "
		"invalid: %s",
		vq->name, vq->index, what);
	if (!vq->broken && vq->tell_broken)
		vq->tell_broken(vq, what);
	vq->broken = true;
	vq_error(vq);
	return -EPROTO;
}

/* ---- set-up: control thread ---- */

static int find_in_map(struct vq_lease *lease, uint64_t addr, bool write,
		       struct vhu_mem_piece *piece)
{
	const struct vhu_mem_piece found = vhu_mem_piece(lease->mem, addr);

	(void)write;
	if (!found.size)
		return -EFAULT;
	*piece = found;
	return 0;
}

struct vq_lease *vq_lease_new(struct vhu_mem *mem, struct vhu_iotlb *iotlb, unsigned index)
{
	struct vq_lease *lease = aligned_alloc(_Alignof(struct vq_lease), sizeof(*lease));

	if (lease)
		*lease = (struct vq_lease){
			.mem = vhu_mem_get(mem),
			.translate = iotlb ? vq_iommu_translate : find_in_map,
			.iotlb = iotlb,
			.queue = index,
			.users = 1,
		};
	return lease;
}

void vq_lease_put(struct vq_lease *lease)
{
	if (!lease || --lease->users)
		return;
	vhu_mem_put(lease->mem);
	free(lease);
}

static bool has(uint64_t features, unsigned bit)
{
	return features >> bit & 1;
}

bool vq_is_size(unsigned size, uint64_t features)
{
	/* virtio 2.8.10.1: "The Queue Size value does not have to be a power of 2" if packed. */
	if (has(features, VIRTIO_F_RING_PACKED))
		return size >= 1 && size <= VQ_MAX_SIZE;
	return size >= 2 && size <= VQ_MAX_SIZE && !(size & (size - 1));
}

/*
 * Sizes and alignments of a ring's parts: virtio 2.7 and 2.8.10.1. In SET_VRING_ADDR the driver
 * event suppression of a packed ring goes by the name of available, the device's by that of used.
 */
void vq_describe(struct vq_part part[3], const struct vq_layout *layout, uint64_t features)
{
	const uint64_t n = layout->size, event = has(features, VIRTIO_RING_F_EVENT_IDX) ? 2 : 0;
	const bool packed = has(features, VIRTIO_F_RING_PACKED);

	part[0] = (struct vq_part){.addr = layout->desc,
				   .size = 16 * n,
				   .align = VRING_DESC_ALIGN_SIZE,
				   .write = packed};
	part[1] = (struct vq_part){.addr = layout->avail,
				   .size = packed ? 4 : 4 + 2 * n + event,
				   .align = packed ? 4 : VRING_AVAIL_ALIGN_SIZE};
	part[2] = (struct vq_part){.addr = layout->used,
				   .size = packed ? 4 : 4 + 8 * n + event,
				   .align = packed ? 4 : VRING_USED_ALIGN_SIZE,
				   .write = true};
}

/* Where one part is in our address space. 0 or -errno. */
static int find_part(struct vq_part *part, const struct vq_layout *layout,
		     const struct vhu_mem *mem)
{
	if (layout->iotlb)
		return vq_iommu_find_part(part, layout->iotlb, mem);
	part->host = layout->guest_physical ? vhu_mem_gpa(mem, part->addr, part->size)
					    : vhu_mem_uva(mem, part->addr, part->size);
	return part->host ? 0 : -EFAULT;
}

/* Finds the parts in memory; what is wrong, in words, or NULL. */
static const char *find_parts(struct vq_part part[3], const struct vq_layout *layout,
			      const struct vhu_mem *mem)
{
	for (unsigned i = 0; i < 3; i++) {
		const int err = find_part(&part[i], layout, mem);

		if (err && err != -EFAULT)
			return "lies scattered, and cannot be mapped as one";
		if (err)
			return "is not in the memory shared";
		/* With us: a front-end may place a region at any address. */
		if ((uintptr_t)part[i].host % part[i].align)
			return "is not aligned";
		/* Inside regions the sums cannot wrap around. */
		for (unsigned k = 0; k < i; k++)
			if (part[i].addr < part[k].addr + part[k].size &&
			    part[k].addr < part[i].addr + part[i].size)
				return "has parts that overlap";
	}
	return NULL;
}

int vq_translate(const struct vublk_queue *vq, const struct vq_layout *layout,
		 const struct vhu_mem *mem, uint64_t features, struct vq_ring *ring)
{
	const bool packed = has(features, VIRTIO_F_RING_PACKED);
	const char *wrong = "has a wrong size";
	struct vq_part part[3];

	*ring = (struct vq_ring){0};
	vq_describe(part, layout, features);
	if (vq_is_size(layout->size, features)) {
		if (layout->iotlb &&
		    vq_iommu_check_ring(vq->index, layout, features, mem) == -EAGAIN)
			return -EAGAIN;
		wrong = find_parts(part, layout, mem);
	}
	for (unsigned i = 0; i < 3; i++)
		ring->view[i] = part[i].view;
	if (wrong) {
		vq_ring_put(ring);
		vhu_log(VUBLK_LOG_WARNING,
			"%s: queue %u: the %s ring of %u entries (descriptors 0x%llx, available "
			"0x%llx, used 0x%llx) %s",
			vq->name, vq->index, packed ? "packed" : "split", layout->size,
			(unsigned long long)layout->desc, (unsigned long long)layout->avail,
			(unsigned long long)layout->used, wrong);
		return -EINVAL;
	}
	if (packed) {
		ring->packed.desc = part[0].host;
		ring->packed.driver = part[1].host;
		ring->packed.device = part[2].host;
	} else {
		ring->split.desc = part[0].host;
		ring->split.avail = part[1].host;
		ring->split.used = part[2].host;
	}
	return 0;
}

void vq_ring_put(struct vq_ring *ring)
{
	for (unsigned i = 0; i < 3; i++)
		vhu_view_free(ring->view[i]);
	*ring = (struct vq_ring){0};
}

int vq_setup(struct vublk_queue *vq, const struct vq_layout *layout, struct vhu_mem *mem,
	     struct vhu_inflight *inflight, uint64_t features)
{
	int err = vq_translate(vq, layout, mem, features, &vq->ring);

	if (err)
		return err;
	vq->faulted = vq->fault_told = false;
	vq->size = (uint16_t)layout->size;
	vq->packed = has(features, VIRTIO_F_RING_PACKED);
	/* Legacy drivers exist that use tables which they have not negotiated (Windows). */
	vq->indirect = has(features, VIRTIO_RING_F_INDIRECT_DESC) ||
		       (!vq->packed && !has(features, VIRTIO_F_VERSION_1));
	vq->event_idx = has(features, VIRTIO_RING_F_EVENT_IDX);
	vq->base = layout->base;
	vq->broken = vq->called = false;
	vq->kicks_wanted = true;
	vq->n_pushed = vq->in_use = 0;
	vq->n_taken = 0;
	vq->n_calls = 0;
	vq->lease = vq_lease_new(mem, layout->iotlb, vq->index);
	vq->pushed = calloc(vq->size, sizeof(*vq->pushed));
	err = vq->lease && vq->pushed ? 0 : -ENOMEM;
	if (!err && inflight)
		err = vq_track_new(vq, inflight);
	if (err)
		vq_teardown(vq);
	return err;
}

void vq_teardown(struct vublk_queue *vq)
{
	vq_lease_put(vq->lease);
	vq->lease = NULL;
	vq_track_free(vq->track);
	vq->track = NULL;
	vhu_dirty_log_put(vq->log);
	vq->log = NULL;
	vq->inband = NULL;
	free(vq->pushed);
	vq->pushed = NULL;
	vq_ring_put(&vq->ring);
}

void vq_find_base(struct vublk_queue *vq)
{
	if (!vq_track_is_used(vq->track))
		return;
	if (vq->packed)
		vq_track_packed_find_base(vq);
	else
		vq->base = __atomic_load_n(&vq->ring.split.used->idx, __ATOMIC_RELAXED);
}

uint32_t vq_base(const struct vublk_queue *vq)
{
	return vq->base;
}

/* ---- the worker's side ---- */

/* Slots from the used position to the available one: what was fetched and not completed. */
static int packed_distance(const struct vublk_queue *vq)
{
	return vq->next_avail - vq->used_idx + (vq->avail_wrap != vq->used_wrap ? vq->size : 0);
}

static int find_packed_positions(struct vublk_queue *vq)
{
	uint32_t base = vq->base;
	int distance;

	/* It knows all positions, and a base that cannot be is no reason to refuse. */
	if (vq_track_is_used(vq->track))
		return 0;

	/*
	 * DPDK's virtio-user names the available position alone (0x8000). Where nothing is in
	 * flight the used one is the same; if something is, the in-flight region tells.
	 */
	if (!(base >> 16))
		base |= base << 16;
	vq->next_avail = base & 0x7fff;
	vq->avail_wrap = base >> 15 & 1;
	vq->used_idx = base >> 16 & 0x7fff;
	vq->used_wrap = base >> 31;
	distance = packed_distance(vq);
	if (vq->next_avail < vq->size && vq->used_idx < vq->size && distance >= 0 &&
	    distance <= vq->size)
		return 0;
	vhu_log(VUBLK_LOG_WARNING, "%s: queue %u: base 0x%x in a packed ring of %u", vq->name,
		vq->index, base, vq->size);
	return -EINVAL;
}

/* Where the base says that we are; an in-flight region that was used knows better. */
static int find_positions(struct vublk_queue *vq)
{
	if (vq->packed)
		return find_packed_positions(vq);
	vq->next_avail = vq->kick_event = (uint16_t)vq->base;
	/* Only we write it while the ring is in use; a driver that does misleads itself. */
	vq->used_idx = __atomic_load_n(&vq->ring.split.used->idx, __ATOMIC_RELAXED);
	return 0;
}

int vublk_queue_begin(struct vublk_queue *vq)
{
	int err = find_positions(vq);

	if (!err && vq->track)
		err = vq_track_recover(vq);
	if (err)
		return err;
	vq->seen_avail = vq->next_avail;
	if (vq->packed)
		vq->in_use = (uint16_t)packed_distance(vq);
	/* An earlier session may have left the driver told not to kick. */
	if (vq->packed)
		guest_store16(&vq->ring.packed.device->flags, 0);
	else
		guest_store16(&vq->ring.split.used->flags, 0);
	if (vq->log)
		vq_dirty_ring(vq);
	vq_inject_call(vq);
	return 0;
}

void vublk_queue_end(struct vublk_queue *vq)
{
	const bool left = vq->track && vq->n_taken;

	if (!vq->packed)
		vq->base = left ? vq->used_idx : vq->next_avail;
	else if (left)
		vq->base = vq_packed_base(vq->used_idx, vq->used_wrap, vq->used_idx, vq->used_wrap);
	else
		vq->base =
			vq_packed_base(vq->next_avail, vq->avail_wrap, vq->used_idx, vq->used_wrap);
}

int vublk_queue_pop(struct vublk_queue *vq, struct vublk_chain *chain)
{
	int got;

	if (vq->broken)
		return -EPROTO;
	got = vq->packed ? vq_packed_pop(vq, chain) : vq_split_pop(vq, chain);
	if (got < 0) {
		vq->faulted = false;
		vq_chain_release(vq, chain);
	}
	return got;
}

/* The chain's memory is not needed any more. */
static void let_go(struct vublk_queue *vq, struct vublk_chain *chain)
{
	if (__builtin_expect(vq->log != NULL, 0))
		vq_dirty_chain(vq, chain);
	vq_lease_put(chain->lease);
	chain->lease = NULL;
	vq_chain_release(vq, chain);
}

void vublk_queue_push(struct vublk_queue *vq, struct vublk_chain *chain, uint32_t written)
{
	vq->pushed[vq->n_pushed++] = (struct vq_pushed){
		.len = written,
		.id = (uint16_t)chain->id,
		.num = chain->num,
		.entry = chain->entry,
	};
	let_go(vq, chain);
}

void vublk_queue_abandon(struct vublk_queue *vq, struct vublk_chain *chain)
{
	let_go(vq, chain);
}

void vublk_queue_publish(struct vublk_queue *vq)
{
	if (!vq->n_pushed)
		return;
	if (vq->packed)
		vq_packed_publish(vq);
	else
		vq_split_publish(vq);
	if (__builtin_expect(vq->log != NULL, 0))
		vhu_dirty_log_signal(vq->log);
	vq->n_taken -= vq->n_pushed;
	vq->n_pushed = 0;
}

uint64_t vublk_queue_calls(const struct vublk_queue *vq)
{
	return vq->n_calls;
}

bool vublk_queue_want_kicks(struct vublk_queue *vq, bool want)
{
	if (vq->broken)
		return false;
	return vq->packed ? vq_packed_want_kicks(vq, want) : vq_split_want_kicks(vq, want);
}

unsigned vublk_queue_recovering(const struct vublk_queue *vq)
{
	return vq->broken ? 0 : vq_track_n_unpopped(vq->track);
}

struct vublk_note vublk_queue_noted(const struct vublk_queue *vq)
{
	return vq->track ? vq_track_noted(vq->track, vq->packed) : (struct vublk_note){0};
}

void vublk_queue_note(struct vublk_queue *vq, const struct vublk_note *note)
{
	if (vq->track)
		vq_track_note(vq->track, vq->packed, note);
}

bool vublk_queue_tracked(const struct vublk_queue *vq)
{
	return vq->track;
}

void vq_inject_call(struct vublk_queue *vq)
{
	if (!vq->lease)
		return;
	if (!(vq->packed ? vq_packed_wants_no_calls(vq) : vq_split_wants_no_calls(vq)))
		vq_call(vq);
}

void vublk_queue_apply(struct vublk_queue *vq, struct vublk_update *update)
{
	if (update->lease) {
		vq_lease_put(vq->lease);
		vq->lease = update->lease;
		vq_ring_put(&vq->ring);
		vq->ring = update->ring;
		update->lease = NULL;
	}
	if (update->logging) {
		vhu_dirty_log_put(vq->log);
		vq->log = update->log;
		update->log = NULL;
		if (vq->log)
			vq_dirty_ring(vq);
	}
	if (update->kick) {
		replace_fd(&vq->kick_fd, update->kick_fd);
		vq->kicked_inband = false;
	}
	if (update->err) {
		replace_fd(&vq->err_fd, update->err_fd);
		if (vq->broken)
			vq_error(vq);
	}
	if (update->call) {
		replace_fd(&vq->call_fd, update->call_fd);
		vq->no_calls = vq->call_fd < 0;
	}
	if (update->call || update->call_again)
		vq_inject_call(vq);
}

bool vublk_update_revokes(const struct vublk_update *update)
{
	return update->revoked;
}

bool vublk_update_revokes_of(const struct vublk_update *update, const struct vublk_chain *chain)
{
	for (unsigned i = 0; i < chain->n_out + chain->n_in; i++) {
		const struct iovec *iov = &chain->iov[i];
		uint64_t uva;

		if (vhu_mem_uva_at(chain->lease->mem, iov->iov_base, &uva) &&
		    vhu_revoked_has(update->revoked, uva, uva + (iov->iov_len - 1)))
			return true;
	}
	return false;
}

bool vublk_update_has_memory(const struct vublk_update *update)
{
	return update->lease;
}

static_assert(VUBLK_MAX_MEMORY == VHU_MEM_MAX_SLOTS, "as many ranges as there are slots");

unsigned vublk_queue_memory(const struct vublk_queue *vq, struct iovec ranges[VUBLK_MAX_MEMORY])
{
	return vhu_mem_ranges(vq->lease->mem, ranges, VUBLK_MAX_MEMORY);
}

unsigned vublk_queue_memory_files(const struct vublk_queue *vq, int fds[VUBLK_MAX_MEMORY])
{
	return vhu_mem_files(vq->lease->mem, fds, VUBLK_MAX_MEMORY);
}

bool vublk_update_has_kick(const struct vublk_update *update)
{
	return update->kick;
}

bool vublk_update_is_kick(const struct vublk_update *update)
{
	return update->kicked;
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

bool vublk_queue_polled(const struct vublk_queue *vq)
{
	return vq->kick_fd < 0 && !vq->kicked_inband;
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
