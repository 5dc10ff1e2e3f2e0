/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One virtqueue: its ring in guest memory, our private place in it, and its notifications both
 * ways.
 *
 * Theory of operation. The ring is shared with a driver that may be hostile, so nothing in it
 * is ever our state: the positions are private, what is read is copied once and checked, and
 * what is found wrong sets `broken`, after which the ring is read no more. Requests popped
 * before that are still pushed and published.
 *
 *		split (virtio 2.7)			packed (virtio 2.8)
 *	pop	avail->idx (acquire), avail->ring[]	flags at next_avail (acquire), descriptors
 *	push	collected				collected
 *	publish	used->ring[], used->idx (release)	used descriptors, the first one's flags last
 *		fence, used_event or flags, call	fence, driver event, call
 *
 * The control thread sets a vq up while no worker has it, and passes changes to a running one
 * as a vublk_update, which the worker applies between two iterations.
 */
#ifndef VQ_RING_H
#define VQ_RING_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "shared/fd.h"
#include "shared/inband.h"
#include "shared/mem.h"
#include "vublk.h"

struct vhu_dirty_log;
struct vhu_inflight;
struct vhu_iotlb;
struct vhu_revoked;
struct vhu_view;
struct vq_track;

#define VQ_MAX_SIZE 32768 /* virtio 2.7, 2.8: the largest ring */

/*
 * The memory map that a chain was translated with, counted without atomics, since only the
 * queue's worker pops and pushes: a map stays while the queue uses it or a chain does. Written with
 * each request, so it shares a cache line with nothing.
 */
struct vq_lease {
	_Alignas(64) struct vhu_mem *mem;
	struct vhu_mem_piece last; /* where the last address was found: most are in one region */
	/*
	 * How an address is translated that is not there, for the device to read or to write: 0 and
	 * *piece, which holds it; -EFAULT: there is nothing that it may; -EAGAIN: not known yet,
	 * ask again after an update of the queue.
	 */
	int (*translate)(struct vq_lease *lease, uint64_t addr, bool write,
			 struct vhu_mem_piece *piece);
	struct vhu_iotlb *iotlb;     /* of the device: addresses are IOVAs; NULL: guest-physical */
	unsigned queue;              /* whose lease it is */
	struct vhu_mem_piece marked; /* where the last range was that was marked as dirty */
	unsigned users; /* chains, and the queue itself while the lease is its current one */
};

/* Where it was not found last. With an IOMMU that is always so: what was true then may not be. */
int vq_translate_elsewhere(struct vq_lease *lease, uint64_t addr, bool write, uint64_t *size,
			   void **host);

/*
 * Our address of one that a descriptor names, fast where one was found last: the only way from the
 * one to the other. *size (bytes, > 0) is cut to what lies in one piece there. 0, or what
 * translate() says. Worker.
 */
static inline int vq_translate_addr(struct vq_lease *lease, uint64_t addr, bool write,
				    uint64_t *size, void **host)
{
	const uint64_t offset = addr - lease->last.gpa;

	if (__builtin_expect(offset >= lease->last.size, 0))
		return vq_translate_elsewhere(lease, addr, write, size, host);
	if (*size > lease->last.size - offset)
		*size = lease->last.size - offset;
	*host = lease->last.host + offset;
	return 0;
}

/* Where the parts of a ring are in our address space. */
struct vq_ring {
	union {
		struct {
			const struct vring_desc *desc;
			const struct vring_avail *avail;
			struct vring_used *used;
		} split;
		struct {
			struct vring_packed_desc *desc;
			const struct vring_packed_desc_event *driver;
			struct vring_packed_desc_event *device;
		} packed;
	};
	struct vhu_view *view[3]; /* owned; of parts that lie scattered (shared/view.h), or NULL */
};

/* A request that was pushed and is not yet published. */
struct vq_pushed {
	uint32_t len;   /* bytes written */
	uint16_t id;    /* descriptor (split) or buffer id (packed) */
	uint16_t num;   /* packed: slots of the ring it took */
	uint16_t entry; /* packed: of the in-flight region */
};

struct vublk_queue {
	/* Set while stopped, constant while running; only vublk_queue_apply() changes them. */
	struct vq_ring ring;
	struct vq_lease *lease;
	uint16_t size;
	bool packed;                  /* VIRTIO_F_RING_PACKED */
	bool indirect;                /* tables may come: VIRTIO_F_INDIRECT_DESC, or legacy */
	bool event_idx;               /* VIRTIO_F_EVENT_IDX */
	bool kicked_inband;           /* VRING_KICK comes instead of signals to kick_fd */
	bool no_calls;                /* without call_fd nobody waits for any (SET_VRING_CALL) */
	int kick_fd, call_fd, err_fd; /* owned; -1: none */
	struct vhu_inband *inband; /* instead of call_fd and err_fd where there is none, or NULL */
	struct vq_track *track;    /* NULL: not tracked */
	struct vhu_dirty_log *log; /* a reference; NULL: what is written is not marked */
	uint32_t base;             /* of the last start, or stop */

	/* The worker's own while running. */
	bool broken;
	bool faulted; /* the chain being popped names what the front-end does not let us have */
	bool fault_told;
	bool kicks_wanted;
	bool called;     /* split: called_idx is valid; packed: the driver was called once */
	bool avail_wrap; /* packed: the wrap counters of the two positions */
	bool used_wrap;
	uint16_t next_avail;      /* of the next to pop; split: free-running */
	uint16_t seen_avail;      /* split: the available index as last read */
	uint16_t kick_event;      /* split: as stored in the ring */
	uint16_t used_idx;        /* as published; split: free-running */
	uint16_t called_idx;      /* split: used_idx when we last looked whether to call */
	uint16_t n_pushed;        /* collected, not yet published */
	unsigned allocated;       /* elements of the arrays that long chains have allocated */
	uint16_t in_use;          /* packed: slots popped and not published */
	unsigned n_taken;         /* requests popped and not published */
	uint64_t n_calls;         /* since the start */
	unsigned lost_in;         /* if faulted: the last writable byte, after so many `in` */
	struct vq_pushed *pushed; /* as many as the ring has entries */

	/* The control thread's. */
	unsigned index;
	struct vublk_dev *dev;
	const char *name; /* of the device, for messages */
	/* Called by the worker when it finds the ring broken, once each start; or NULL. */
	void (*tell_broken)(struct vublk_queue *vq, const char *what);
	void *opaque; /* the library user's */
};

/* What SET_VRING_NUM, _ADDR and _BASE said, for vq_setup(). */
struct vq_layout {
	unsigned size;
	uint64_t desc, avail, used; /* user addresses, or */
	bool guest_physical;        /* these (GPA_ADDRESSES), or */
	struct vhu_iotlb *iotlb;    /* IOVAs, if this is not NULL */
	uint32_t base;              /* as in SET_VRING_BASE, see vq_base() */
};

/* A change to a running queue; what is not to change is NULL or false. */
struct vublk_update {
	struct vq_lease *lease;            /* a new memory map, with ... */
	struct vq_ring ring;               /* ... the ring's place in it */
	const struct vhu_revoked *revoked; /* translations that are gone, until it is done */
	bool logging; /* mark in this log (a reference) from now on; NULL: in none */
	struct vhu_dirty_log *log;
	bool kick, call, err; /* replace these descriptors by: */
	int kick_fd, call_fd, err_fd;
	bool kicked;     /* there is something in the ring (VRING_KICK) */
	bool call_again; /* calls may have been lost */
};

/* An empty, stopped queue. */
void vq_init(struct vublk_queue *vq, const char *name, unsigned index);

/* Closes its descriptors and makes it as vq_init() left it. Stopped. */
void vq_reset(struct vublk_queue *vq);

/*
 * Finds a ring in a memory map: -EINVAL, with the reason logged, unless its size is right, its
 * parts are aligned (virtio 2.7, 2.8.10.1), each in one region, and do not overlap. With IOVAs a
 * part may be in pieces; -EAGAIN: not all of it is known, and the front-end is asked. What was
 * found is the caller's, for vq_ring_put().
 */
int vq_translate(const struct vublk_queue *vq, const struct vq_layout *layout,
		 const struct vhu_mem *mem, uint64_t features, struct vq_ring *ring);

/* Nothing of the ring is used any more. */
void vq_ring_put(struct vq_ring *ring);

/* ---- vq/iommu.c: rings and chains that IOVAs name ---- */

/* A part of a ring. */
struct vq_part {
	uint64_t addr, size; /* bytes */
	unsigned align;
	bool write; /* by the device */
	void *host;
	struct vhu_view *view;
};

/* The parts of a ring (virtio 2.7, 2.8.10.1), not found yet. */
void vq_describe(struct vq_part part[3], const struct vq_layout *layout, uint64_t features);

/*
 * Is all that a ring needs known, as far as its addresses tell? 0; -EAGAIN: the front-end is asked;
 * -EFAULT: it has said no; -ENOENT: it is known, and leads to memory that is not in the map.
 */
int vq_iommu_check_ring(unsigned index, const struct vq_layout *layout, uint64_t features,
			const struct vhu_mem *mem);

/* Does the ring touch these IOVAs, or something that is not known any more? Asks nobody. */
bool vq_iommu_ring_lost(const struct vq_layout *layout, uint64_t features, uint64_t first,
			uint64_t last);

/* Finds a part: 0; -EAGAIN and -EFAULT as above; -errno: it is scattered, and cannot be mapped. */
int vq_iommu_find_part(struct vq_part *part, struct vhu_iotlb *iotlb, const struct vhu_mem *mem);

/* The lease's translate(), by its IOTLB. */
int vq_iommu_translate(struct vq_lease *lease, uint64_t addr, bool write,
		       struct vhu_mem_piece *piece);

/*
 * A buffer may not be used: the chain is a request that fails. 0; -EAGAIN: whether it can be
 * answered so is not known yet.
 */
int vq_iommu_fault(struct vublk_queue *vq, struct vublk_chain *chain, uint64_t addr, uint32_t len,
		   bool write);

/* All of such a chain has been seen: nothing is left of it but its last writable byte, if any. */
void vq_iommu_cut(struct vublk_queue *vq, struct vublk_chain *chain);

/* Can a ring have so many entries with these features? */
bool vq_is_size(unsigned size, uint64_t features);

/*
 * Makes a stopped queue ready for vublk_queue_begin(): everything is derived from the layout again
 * and the features in force. Takes references on mem and inflight (NULL: none). 0, -EINVAL (logged)
 * or -ENOMEM.
 */
int vq_setup(struct vublk_queue *vq, const struct vq_layout *layout, struct vhu_mem *mem,
	     struct vhu_inflight *inflight, uint64_t features);

/* The opposite, once the worker is done: drops the memory. Descriptors stay. */
void vq_teardown(struct vublk_queue *vq);

/*
 * The position of a stopped queue as GET_VRING_BASE answers it. Split: the index of the next
 * available entry. Packed: bits 0-14 that index, 15 its wrap counter, 16-30 the used index, 31
 * its wrap counter. With requests left in flight both are the used one: what was taken since is
 * in the in-flight region.
 */
uint32_t vq_base(const struct vublk_queue *vq);

/* The base that these positions of a packed ring make. */
static inline uint32_t vq_packed_base(uint16_t avail, bool avail_wrap, uint16_t used,
				      bool used_wrap)
{
	return avail | (uint32_t)avail_wrap << 15 | (uint32_t)used << 16 |
	       (uint32_t)used_wrap << 31;
}

/*
 * For a queue that was set up and never begun: the base is what the front-end said, who may not
 * know it (after a crash QEMU names the used index that it has seen, of a packed ring any). Where
 * the in-flight region knows better, the base is that from now on. Changes neither.
 */
void vq_find_base(struct vublk_queue *vq);

/*
 * A lease on a map, of queue `index`, or NULL without memory. The update that carries it passes it
 * on. `iotlb` outlives it.
 */
struct vq_lease *vq_lease_new(struct vhu_mem *mem, struct vhu_iotlb *iotlb, unsigned index);

/* A user less. */
void vq_lease_put(struct vq_lease *lease);

/* Logs `what` and marks the ring broken; signals its error descriptor. Returns -EPROTO. */
int vq_break(struct vublk_queue *vq, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline bool vq_calls_inband(const struct vublk_queue *vq)
{
	return vq->call_fd < 0 && vq->inband && !vq->no_calls;
}

/* Calls the driver, or tells its front-end of an error. Whoever owns the queue. */
static inline void vq_call(struct vublk_queue *vq)
{
	if (vq->call_fd >= 0)
		vhu_fd_signal(vq->call_fd);
	else if (vq_calls_inband(vq))
		vhu_inband_raise(vq->inband, VHU_INBAND_CALL);
	else
		return;
	vq->n_calls++;
}

static inline void vq_error(const struct vublk_queue *vq)
{
	if (vq->err_fd >= 0)
		vhu_fd_signal(vq->err_fd);
	else if (vq->inband)
		vhu_inband_raise(vq->inband, VHU_INBAND_ERR);
}

/*
 * Calls the driver without a reason: after a new call descriptor or channel and at each start,
 * since a call to the old one may have gone unseen. One too many harms nobody; a driver that polls
 * and said so gets none, nor does a ring that is not set up. Whoever owns the queue.
 */
void vq_inject_call(struct vublk_queue *vq);

/*
 * ---- vq/split.c, vq/packed.c: see the functions of the same names in vublk.h ----
 *
 * A pop that fails leaves the chain to be released by its caller.
 */

int vq_split_pop(struct vublk_queue *vq, struct vublk_chain *chain);
void vq_split_publish(struct vublk_queue *vq);
bool vq_split_want_kicks(struct vublk_queue *vq, bool want);
bool vq_split_wants_no_calls(const struct vublk_queue *vq);

int vq_packed_pop(struct vublk_queue *vq, struct vublk_chain *chain);
void vq_packed_publish(struct vublk_queue *vq);
bool vq_packed_want_kicks(struct vublk_queue *vq, bool want);
bool vq_packed_wants_no_calls(const struct vublk_queue *vq);

/* Moves a packed position over n slots (at most the ring's size). */
void vq_packed_advance(const struct vublk_queue *vq, uint16_t *idx, bool *wrap, unsigned n);

/* ---- vq/chain.c: from descriptors to host ranges ---- */

/*
 * Copies a descriptor of guest memory, which need not be aligned, once: through registers, so that
 * neither the compiler goes back to the original nor the parts wait for the whole to be stored.
 */
static inline void vq_copy_desc(struct vring_desc *to, const void *from)
{
	uint64_t addr, rest;

	memcpy(&addr, from, sizeof(addr));
	memcpy(&rest, (const char *)from + sizeof(addr), sizeof(rest));
	__asm__ volatile("" : "+r"(addr), "+r"(rest));
	*to = (struct vring_desc){
		.addr = addr,
		.len = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 32),
		.next = (uint16_t)(rest >> 48),
	};
}

/* Begins a chain, under the queue's current lease. */
void vq_chain_begin(struct vublk_queue *vq, struct vublk_chain *chain);

/*
 * Adds one buffer, in pieces if it lies across regions. 0; -EAGAIN: the chain is too long to be
 * fetched before others are completed; -EPROTO with the queue broken.
 */
int vq_chain_add(struct vublk_queue *vq, struct vublk_chain *chain, uint64_t addr, uint32_t len,
		 bool write);

/* Adds the buffers of an indirect table (virtio 2.7.5.3, 2.8.7). Errors as above. */
int vq_chain_add_indirect(struct vublk_queue *vq, struct vublk_chain *chain, uint64_t addr,
			  uint32_t len);

/* Adds one host range to the readable or the writable ones. Errors as above. */
int vq_chain_append(struct vublk_queue *vq, struct vublk_chain *chain, void *host, uint64_t size,
		    bool write);

/* The chain is complete: it holds the lease from now on. */
void vq_chain_end(struct vublk_chain *chain);

/* Frees what a long chain allocated; the first one knows that it did. */
void vq_chain_free(struct vublk_queue *vq, struct vublk_chain *chain);
static inline void vq_chain_release(struct vublk_queue *vq, struct vublk_chain *chain)
{
	if (__builtin_expect(chain->iov != chain->own, 0))
		vq_chain_free(vq, chain);
}

#endif
