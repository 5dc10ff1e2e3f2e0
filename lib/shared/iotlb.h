/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is known of the guest's IOMMU: which of its I/O virtual addresses (IOVA) stand for which
 * user addresses of the front-end, who may read and write there ("IOMMU support" of
 * vhost-user.rst), and what the front-end has been asked of them, or is to be.
 *
 * Theory of operation. The control thread writes, by what the front-end says; workers look up,
 * and whoever finds nothing leaves a miss behind, in the same critical section. So an update either
 * is seen by who looks, or finds that he waits. There is one lock, for readers and a writer;
 * without an IOMMU nobody comes here.
 *
 * What is taken away may be in use: a chain has host addresses, and goes on with them. So who
 * takes something away learns what it was, in user addresses, and has to wait until nothing uses
 * it any more (struct vhu_revoked). That includes what has to go to make room: entries are
 * bounded, since the front-end is not trusted with our memory.
 */
#ifndef SHARED_IOTLB_H
#define SHARED_IOTLB_H

#include <stdbool.h>
#include <stdint.h>

#define VHU_IOTLB_MAX_ENTRIES 65536 /* a chain needs all of its own at once */
#define VHU_IOTLB_MAX_MISSES  512   /* asked for at a time; who finds no room asks later */
#define VHU_IOTLB_MAX_REVOKED 64    /* ranges told apart */
#define VHU_IOTLB_PAGE        4096u /* bytes: the least that an answer is about */

/* How long a front-end that does not answer is waited for; and what failed is known for so long. */
#define VHU_IOTLB_TIMEOUT_NS UINT64_C(5000000000)
#define VHU_IOTLB_FAILED_NS  UINT64_C(50000000)

/* What may be done at an address: bits of the messages' "permissions flags". */
enum vhu_iotlb_perm {
	VHU_IOTLB_READ = 1,
	VHU_IOTLB_WRITE = 2,
	VHU_IOTLB_READ_WRITE = 3,
};

/* User addresses that translations led to which are gone. */
struct vhu_revoked {
	bool all; /* more than there is room for */
	unsigned n;
	struct vhu_revoked_range {
		uint64_t first, last; /* user addresses */
	} range[VHU_IOTLB_MAX_REVOKED];
};

struct vhu_iotlb;

/* What is found: user addresses from `uaddr` on, `size` (> 0) bytes of them. */
struct vhu_iotlb_found {
	uint64_t uaddr, size;
};

/*
 * An empty one, or NULL without memory. missed() is called whenever there is a miss to be told of,
 * on the thread that found it, under no lock.
 */
struct vhu_iotlb *vhu_iotlb_new(void (*missed)(void *opaque), void *opaque);
void vhu_iotlb_free(struct vhu_iotlb *iotlb); /* NULL is allowed */

/* ---- control thread ---- */

/* Forgets all, misses included. Nothing uses it. */
void vhu_iotlb_clear(struct vhu_iotlb *iotlb);

/*
 * From now on `size` bytes at `iova` are those at `uaddr`. What was known of them is taken away,
 * unless it was the same or less, and if there is no room for one more, another entry is. Misses
 * that this answers are over. *revoked is filled in. 0; -EINVAL: it is empty, wraps around, or has
 * no such permission; -ENOMEM.
 */
int vhu_iotlb_update(struct vhu_iotlb *iotlb, uint64_t iova, uint64_t size, uint64_t uaddr,
		     uint8_t perm, struct vhu_revoked *revoked);

/*
 * Nothing is known of `size` bytes at `iova` any more, cut to the end of the address space; 0 at 0
 * is all of it, which no size can say, and 0 elsewhere nothing. What failed there may be asked
 * again.
 */
void vhu_iotlb_invalidate(struct vhu_iotlb *iotlb, uint64_t iova, uint64_t size,
			  struct vhu_revoked *revoked);

/* The front-end says that nobody may do this at `iova`: such misses have failed. */
void vhu_iotlb_refuse(struct vhu_iotlb *iotlb, uint64_t iova, uint8_t perm);

/* No answer will ever come: all misses have failed, and those to come will. */
void vhu_iotlb_give_up(struct vhu_iotlb *iotlb);

/* There is somebody new to be asked, who was told of no miss yet. */
void vhu_iotlb_ask_again(struct vhu_iotlb *iotlb);

/*
 * Is there a miss that the front-end was not told of? Then it counts as told from now on, and goes
 * by this number.
 */
bool vhu_iotlb_next_miss(struct vhu_iotlb *iotlb, uint64_t now_ns, uint64_t number, uint64_t *iova,
			 uint8_t *perm);

/* Would that be true? */
bool vhu_iotlb_has_next_miss(struct vhu_iotlb *iotlb);

/* It could not be told of that one after all. */
void vhu_iotlb_put_back(struct vhu_iotlb *iotlb, uint64_t number);

/*
 * Number so-and-so was acknowledged: it has failed if it was refused, or if there was an update
 * without the permission. Nothing happens if it is over already.
 */
void vhu_iotlb_acknowledge(struct vhu_iotlb *iotlb, uint64_t number, bool refused);

/*
 * Lets those fail that have waited for too long, and forgets what has failed long ago, but nothing
 * while another answer is awaited: a chain meets one page after the other. Is there any left?
 */
bool vhu_iotlb_expire(struct vhu_iotlb *iotlb, uint64_t now_ns);

/* Does queue `index` wait for what may have been told since? Asking ends it. */
bool vhu_iotlb_take_waiting(struct vhu_iotlb *iotlb, unsigned index);

/* Has anything been told, or failed, that somebody may wait for? Asking ends it. */
bool vhu_iotlb_take_news(struct vhu_iotlb *iotlb);

/* ---- any thread ---- */

/*
 * What is at `iova`, with this permission at least? 0; -EAGAIN: not known yet: a miss is left
 * behind, and the queue waits (vhu_iotlb_take_waiting()); -EFAULT: the front-end says no.
 */
int vhu_iotlb_find(struct vhu_iotlb *iotlb, unsigned queue, uint64_t iova, uint8_t perm,
		   struct vhu_iotlb_found *found);

/* The same, but nobody waits and nothing is left behind: 0 or -ENOENT. */
int vhu_iotlb_peek(struct vhu_iotlb *iotlb, uint64_t iova, uint8_t perm,
		   struct vhu_iotlb_found *found);

/* Does [first, last] of user addresses touch what was revoked? */
bool vhu_revoked_has(const struct vhu_revoked *revoked, uint64_t first, uint64_t last);

/* The last of `size` addresses from `iova` on, cut to the end of the address space; 0 is all. */
static inline uint64_t vhu_iotlb_last(uint64_t iova, uint64_t size)
{
	return size - 1 > UINT64_MAX - iova ? UINT64_MAX : iova + (size - 1);
}

static inline bool vhu_revoked_any(const struct vhu_revoked *revoked)
{
	return revoked->all || revoked->n;
}

#endif
