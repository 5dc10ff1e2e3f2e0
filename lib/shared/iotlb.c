/* SPDX-License-Identifier: BSD-3-Clause */
/* See shared/iotlb.h. */
#include "shared/iotlb.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "proto.h"

/* They do not overlap, and are in order of their addresses. */
struct entry {
	uint64_t first, last; /* IOVAs, both included */
	uint64_t uaddr;       /* of the first one */
	uint8_t perm;
};

enum miss_state {
	MISS_NEW,    /* the front-end is to be told */
	MISS_ASKED,  /* it was */
	MISS_FAILED, /* it said no, or nothing */
};

struct miss {
	uint64_t iova; /* of a page */
	uint64_t since_ns;
	uint64_t number;
	uint8_t perm;
	bool insufficient; /* there was an update without this permission; maybe another's answer */
	enum miss_state state;
};

struct vhu_iotlb {
	pthread_rwlock_t lock; /* of all that follows */
	struct entry *entry;
	unsigned n, room;
	unsigned victim; /* where the last one was that had to go */
	struct miss miss[VHU_IOTLB_MAX_MISSES];
	unsigned n_misses;
	bool gave_up;
	bool waiting[VHU_MAX_QUEUES];
	atomic_bool news; /* who waits should look again */
	void (*missed)(void *opaque);
	void *opaque;
};

struct vhu_iotlb *vhu_iotlb_new(void (*missed)(void *opaque), void *opaque)
{
	struct vhu_iotlb *iotlb = calloc(1, sizeof(*iotlb));

	if (!iotlb)
		return NULL;
	if (pthread_rwlock_init(&iotlb->lock, NULL)) {
		free(iotlb);
		return NULL;
	}
	iotlb->missed = missed;
	iotlb->opaque = opaque;
	return iotlb;
}

void vhu_iotlb_free(struct vhu_iotlb *iotlb)
{
	if (!iotlb)
		return;
	pthread_rwlock_destroy(&iotlb->lock);
	free(iotlb->entry);
	free(iotlb);
}

void vhu_iotlb_clear(struct vhu_iotlb *iotlb)
{
	pthread_rwlock_wrlock(&iotlb->lock);
	free(iotlb->entry);
	iotlb->entry = NULL;
	iotlb->n = iotlb->room = iotlb->n_misses = iotlb->victim = 0;
	iotlb->gave_up = false;
	memset(iotlb->waiting, 0, sizeof(iotlb->waiting));
	atomic_store(&iotlb->news, false);
	pthread_rwlock_unlock(&iotlb->lock);
}

/* ---- what was taken away ---- */

static void revoke(struct vhu_revoked *revoked, uint64_t first, uint64_t last)
{
	if (revoked->n == VHU_IOTLB_MAX_REVOKED)
		revoked->all = true;
	else
		revoked->range[revoked->n++] = (struct vhu_revoked_range){first, last};
}

bool vhu_revoked_has(const struct vhu_revoked *revoked, uint64_t first, uint64_t last)
{
	for (unsigned i = 0; i < revoked->n; i++)
		if (first <= revoked->range[i].last && revoked->range[i].first <= last)
			return true;
	return revoked->all;
}

/* ---- entries, under the lock ---- */

/* The first entry that ends at or behind the address; n: there is none. */
static unsigned find_entry(const struct vhu_iotlb *iotlb, uint64_t iova)
{
	unsigned low = 0, high = iotlb->n;

	while (low < high) {
		const unsigned middle = low + (high - low) / 2;

		if (iotlb->entry[middle].last < iova)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void delete_entries(struct vhu_iotlb *iotlb, unsigned at, unsigned n)
{
	memmove(&iotlb->entry[at], &iotlb->entry[at + n],
		(iotlb->n - at - n) * sizeof(struct entry));
	iotlb->n -= n;
}

/* There is room (make_room()). */
static void insert_entry(struct vhu_iotlb *iotlb, unsigned at, const struct entry *entry)
{
	memmove(&iotlb->entry[at + 1], &iotlb->entry[at], (iotlb->n - at) * sizeof(*entry));
	iotlb->entry[at] = *entry;
	iotlb->n++;
}

/* Does what replaces the entry say the same of it, or allow more? */
static bool is_renewed(const struct entry *entry, const struct entry *by)
{
	return by && entry->uaddr - entry->first == by->uaddr - by->first &&
	       !(entry->perm & ~by->perm);
}

/* `by` replaces it, or nothing does (NULL). */
static void revoke_part(const struct entry *entry, uint64_t first, uint64_t last,
			const struct entry *by, struct vhu_revoked *revoked)
{
	if (is_renewed(entry, by))
		return;
	revoke(revoked, entry->uaddr + (first - entry->first),
	       entry->uaddr + (last - entry->first));
}

/* Takes [first, last] away, for `by` or for nothing; that needs room for one entry more. */
static void take_away(struct vhu_iotlb *iotlb, uint64_t first, uint64_t last,
		      const struct entry *by, struct vhu_revoked *revoked)
{
	unsigned at = find_entry(iotlb, first), n = 0;

	if (at < iotlb->n && iotlb->entry[at].first < first) {
		struct entry *entry = &iotlb->entry[at];
		struct entry rest = *entry;

		revoke_part(entry, first, entry->last < last ? entry->last : last, by, revoked);
		entry->last = first - 1;
		at++;
		if (rest.last > last) { /* it goes on behind the gap */
			rest.uaddr += last + 1 - rest.first;
			rest.first = last + 1;
			insert_entry(iotlb, at, &rest);
			return;
		}
	}
	while (at + n < iotlb->n && iotlb->entry[at + n].last <= last) {
		const struct entry *entry = &iotlb->entry[at + n];

		revoke_part(entry, entry->first, entry->last, by, revoked);
		n++;
	}
	delete_entries(iotlb, at, n);
	if (at < iotlb->n && iotlb->entry[at].first <= last) {
		struct entry *entry = &iotlb->entry[at];

		revoke_part(entry, entry->first, last, by, revoked);
		entry->uaddr += last + 1 - entry->first;
		entry->first = last + 1;
	}
}

/* Room for two more: a gap in the midst of one, and what fills it. Another one may have to go. */
static int make_room(struct vhu_iotlb *iotlb, struct vhu_revoked *revoked)
{
	while (iotlb->n + 2 > VHU_IOTLB_MAX_ENTRIES) {
		const struct entry *entry;

		/* In strides, so that it is seldom one that was needed just now. */
		iotlb->victim = (iotlb->victim + 40503) % iotlb->n;
		entry = &iotlb->entry[iotlb->victim];
		revoke_part(entry, entry->first, entry->last, NULL, revoked);
		delete_entries(iotlb, iotlb->victim, 1);
	}
	if (iotlb->n + 2 > iotlb->room) {
		const unsigned room = iotlb->room ? iotlb->room * 2 : 64;
		struct entry *entry = realloc(iotlb->entry, room * sizeof(*entry));

		if (!entry)
			return -ENOMEM;
		iotlb->entry = entry;
		iotlb->room = room;
	}
	return 0;
}

/* Are the two one, the second behind the first? */
static bool go_together(const struct entry *a, const struct entry *b)
{
	return a->last + 1 == b->first && a->perm == b->perm &&
	       a->uaddr + (a->last - a->first) + 1 == b->uaddr;
}

/* Makes one of what goes together with the entry. */
static void join(struct vhu_iotlb *iotlb, unsigned at)
{
	struct entry *entry = iotlb->entry;

	if (at + 1 < iotlb->n && go_together(&entry[at], &entry[at + 1])) {
		entry[at].last = entry[at + 1].last;
		delete_entries(iotlb, at + 1, 1);
	}
	if (at && go_together(&entry[at - 1], &entry[at])) {
		entry[at - 1].last = entry[at].last;
		delete_entries(iotlb, at, 1);
	}
}

/* Is exactly this known already? */
static bool is_known(const struct vhu_iotlb *iotlb, const struct entry *entry)
{
	const unsigned at = find_entry(iotlb, entry->first);
	const struct entry *old;

	if (at == iotlb->n)
		return false;
	old = &iotlb->entry[at];
	return old->first <= entry->first && old->last >= entry->last && old->perm == entry->perm &&
	       old->uaddr + (entry->first - old->first) == entry->uaddr;
}

static int look_up(const struct vhu_iotlb *iotlb, uint64_t iova, uint8_t perm,
		   struct vhu_iotlb_found *found)
{
	const unsigned at = find_entry(iotlb, iova);
	const struct entry *entry;

	if (at == iotlb->n)
		return -ENOENT;
	entry = &iotlb->entry[at];
	if (entry->first > iova || (entry->perm & perm) != perm)
		return -ENOENT;
	found->uaddr = entry->uaddr + (iova - entry->first);
	found->size = entry->last - iova + 1;
	return 0;
}

/* ---- misses, under the lock ---- */

static void there_is_news(struct vhu_iotlb *iotlb)
{
	atomic_store(&iotlb->news, true);
}

static void remove_miss(struct vhu_iotlb *iotlb, unsigned i)
{
	if (iotlb->n_misses == VHU_IOTLB_MAX_MISSES) /* somebody may have found no room */
		there_is_news(iotlb);
	iotlb->miss[i] = iotlb->miss[--iotlb->n_misses];
}

/*
 * What failed is known until the next look at the clock, which says since when; and what failed
 * before, too: whoever looks again because of this one may meet that as well.
 */
static void fail(struct vhu_iotlb *iotlb, struct miss *miss)
{
	miss->state = MISS_FAILED;
	for (unsigned i = 0; i < iotlb->n_misses; i++)
		if (iotlb->miss[i].state == MISS_FAILED)
			iotlb->miss[i].since_ns = UINT64_MAX;
	there_is_news(iotlb);
}

static struct miss *find_miss(struct vhu_iotlb *iotlb, uint64_t iova, uint8_t perm)
{
	for (unsigned i = 0; i < iotlb->n_misses; i++)
		if (iotlb->miss[i].iova == iova && iotlb->miss[i].perm == perm)
			return &iotlb->miss[i];
	return NULL;
}

/* Nothing was found: -EAGAIN or -EFAULT; *tell: somebody has to hear of it. */
static int note_miss(struct vhu_iotlb *iotlb, uint64_t iova, uint8_t perm, bool *tell)
{
	const uint64_t page = iova & ~(uint64_t)(VHU_IOTLB_PAGE - 1);
	struct miss *miss = find_miss(iotlb, page, perm);

	if (iotlb->gave_up)
		return -EFAULT;
	if (miss && miss->state == MISS_FAILED) {
		miss->since_ns = UINT64_MAX; /* it is still of use */
		return -EFAULT;
	}
	if (miss)
		return -EAGAIN;
	if (iotlb->n_misses == VHU_IOTLB_MAX_MISSES)
		return -EAGAIN;
	iotlb->miss[iotlb->n_misses++] =
		(struct miss){.iova = page, .perm = perm, .state = MISS_NEW};
	*tell = true;
	return -EAGAIN;
}

/* An entry has come: what was asked within is known now, if it says enough. */
static void settle_misses(struct vhu_iotlb *iotlb, const struct entry *entry)
{
	for (unsigned i = iotlb->n_misses; i--;) {
		struct miss *miss = &iotlb->miss[i];

		if (miss->iova + (VHU_IOTLB_PAGE - 1) < entry->first || miss->iova > entry->last)
			continue;
		if ((entry->perm & miss->perm) == miss->perm)
			remove_miss(iotlb, i);
		else
			miss->insufficient = true;
	}
	there_is_news(iotlb);
}

/* ---- control thread ---- */

int vhu_iotlb_update(struct vhu_iotlb *iotlb, uint64_t iova, uint64_t size, uint64_t uaddr,
		     uint8_t perm, struct vhu_revoked *revoked)
{
	const struct entry entry = {iova, iova + (size - 1), uaddr, perm};
	int err = 0;

	revoked->all = false;
	revoked->n = 0;
	if (!size || entry.last < iova || uaddr + (size - 1) < uaddr || !perm ||
	    perm > VHU_IOTLB_READ_WRITE)
		return -EINVAL;
	pthread_rwlock_wrlock(&iotlb->lock);
	if (!is_known(iotlb, &entry)) {
		err = make_room(iotlb, revoked);
		if (!err) {
			take_away(iotlb, entry.first, entry.last, &entry, revoked);
			insert_entry(iotlb, find_entry(iotlb, entry.first), &entry);
			join(iotlb, find_entry(iotlb, entry.first));
		}
	}
	if (!err)
		settle_misses(iotlb, &entry);
	pthread_rwlock_unlock(&iotlb->lock);
	return err;
}

void vhu_iotlb_invalidate(struct vhu_iotlb *iotlb, uint64_t iova, uint64_t size,
			  struct vhu_revoked *revoked)
{
	const uint64_t last = vhu_iotlb_last(iova, size);

	revoked->all = false;
	revoked->n = 0;
	if (!size && iova)
		return;
	pthread_rwlock_wrlock(&iotlb->lock);
	/* A gap in the midst of one needs room, without which the whole one goes. */
	if (make_room(iotlb, revoked)) {
		for (unsigned i = 0; i < iotlb->n; i++)
			revoke_part(&iotlb->entry[i], iotlb->entry[i].first, iotlb->entry[i].last,
				    NULL, revoked);
		iotlb->n = 0;
	} else {
		take_away(iotlb, iova, last, NULL, revoked);
	}
	for (unsigned i = iotlb->n_misses; i--;) {
		const struct miss *miss = &iotlb->miss[i];

		if (miss->state == MISS_FAILED && miss->iova <= last &&
		    miss->iova + (VHU_IOTLB_PAGE - 1) >= iova)
			remove_miss(iotlb, i);
	}
	pthread_rwlock_unlock(&iotlb->lock);
}

void vhu_iotlb_refuse(struct vhu_iotlb *iotlb, uint64_t iova, uint8_t perm)
{
	pthread_rwlock_wrlock(&iotlb->lock);
	for (unsigned i = 0; i < iotlb->n_misses; i++) {
		struct miss *miss = &iotlb->miss[i];

		if (iova - miss->iova < VHU_IOTLB_PAGE && (!perm || miss->perm & perm))
			fail(iotlb, miss);
	}
	pthread_rwlock_unlock(&iotlb->lock);
}

void vhu_iotlb_give_up(struct vhu_iotlb *iotlb)
{
	pthread_rwlock_wrlock(&iotlb->lock);
	iotlb->gave_up = true;
	iotlb->n_misses = 0;
	there_is_news(iotlb);
	pthread_rwlock_unlock(&iotlb->lock);
}

void vhu_iotlb_ask_again(struct vhu_iotlb *iotlb)
{
	pthread_rwlock_wrlock(&iotlb->lock);
	iotlb->gave_up = false;
	for (unsigned i = 0; i < iotlb->n_misses; i++)
		if (iotlb->miss[i].state == MISS_ASKED)
			iotlb->miss[i].state = MISS_NEW;
	pthread_rwlock_unlock(&iotlb->lock);
}

bool vhu_iotlb_has_next_miss(struct vhu_iotlb *iotlb)
{
	bool has = false;

	pthread_rwlock_rdlock(&iotlb->lock);
	for (unsigned i = 0; i < iotlb->n_misses; i++)
		has |= iotlb->miss[i].state == MISS_NEW;
	pthread_rwlock_unlock(&iotlb->lock);
	return has;
}

bool vhu_iotlb_next_miss(struct vhu_iotlb *iotlb, uint64_t now_ns, uint64_t number, uint64_t *iova,
			 uint8_t *perm)
{
	bool found = false;

	pthread_rwlock_wrlock(&iotlb->lock);
	for (unsigned i = 0; !found && i < iotlb->n_misses; i++) {
		struct miss *miss = &iotlb->miss[i];

		if (miss->state != MISS_NEW)
			continue;
		miss->state = MISS_ASKED;
		miss->since_ns = now_ns;
		miss->number = number;
		*iova = miss->iova;
		*perm = miss->perm;
		found = true;
	}
	pthread_rwlock_unlock(&iotlb->lock);
	return found;
}

/* One that the front-end was told of and has not answered. */
static struct miss *find_asked(struct vhu_iotlb *iotlb, uint64_t number)
{
	for (unsigned i = 0; i < iotlb->n_misses; i++)
		if (iotlb->miss[i].state == MISS_ASKED && iotlb->miss[i].number == number)
			return &iotlb->miss[i];
	return NULL;
}

void vhu_iotlb_put_back(struct vhu_iotlb *iotlb, uint64_t number)
{
	struct miss *miss;

	pthread_rwlock_wrlock(&iotlb->lock);
	miss = find_asked(iotlb, number);
	if (miss)
		miss->state = MISS_NEW;
	pthread_rwlock_unlock(&iotlb->lock);
}

void vhu_iotlb_acknowledge(struct vhu_iotlb *iotlb, uint64_t number, bool refused)
{
	struct miss *miss;

	pthread_rwlock_wrlock(&iotlb->lock);
	miss = find_asked(iotlb, number);
	if (miss && (refused || miss->insufficient))
		fail(iotlb, miss);
	pthread_rwlock_unlock(&iotlb->lock);
}

/* Does anybody wait? He may have been refused another page already. */
static bool any_awaited(const struct vhu_iotlb *iotlb)
{
	for (unsigned i = 0; i < VHU_MAX_QUEUES; i++)
		if (iotlb->waiting[i])
			return true;
	for (unsigned i = 0; i < iotlb->n_misses; i++)
		if (iotlb->miss[i].state != MISS_FAILED)
			return true;
	return false;
}

bool vhu_iotlb_expire(struct vhu_iotlb *iotlb, uint64_t now_ns)
{
	bool awaited, left;

	pthread_rwlock_wrlock(&iotlb->lock);
	awaited = any_awaited(iotlb) && iotlb->n_misses < VHU_IOTLB_MAX_MISSES;
	for (unsigned i = iotlb->n_misses; i--;) {
		struct miss *miss = &iotlb->miss[i];

		if (miss->state == MISS_FAILED && miss->since_ns == UINT64_MAX) {
			miss->since_ns = now_ns;
		} else if (miss->state == MISS_FAILED && !awaited &&
			   now_ns - miss->since_ns >= VHU_IOTLB_FAILED_NS) {
			remove_miss(iotlb, i);
		} else if (miss->state == MISS_ASKED &&
			   now_ns - miss->since_ns >= VHU_IOTLB_TIMEOUT_NS) {
			fail(iotlb, miss);
		}
	}
	left = iotlb->n_misses;
	pthread_rwlock_unlock(&iotlb->lock);
	return left;
}

bool vhu_iotlb_take_waiting(struct vhu_iotlb *iotlb, unsigned index)
{
	bool waiting;

	pthread_rwlock_wrlock(&iotlb->lock);
	waiting = iotlb->waiting[index];
	iotlb->waiting[index] = false;
	pthread_rwlock_unlock(&iotlb->lock);
	return waiting;
}

bool vhu_iotlb_take_news(struct vhu_iotlb *iotlb)
{
	return atomic_exchange(&iotlb->news, false);
}

/* ---- any thread ---- */

int vhu_iotlb_peek(struct vhu_iotlb *iotlb, uint64_t iova, uint8_t perm,
		   struct vhu_iotlb_found *found)
{
	int err;

	pthread_rwlock_rdlock(&iotlb->lock);
	err = look_up(iotlb, iova, perm, found);
	pthread_rwlock_unlock(&iotlb->lock);
	return err;
}

int vhu_iotlb_find(struct vhu_iotlb *iotlb, unsigned queue, uint64_t iova, uint8_t perm,
		   struct vhu_iotlb_found *found)
{
	bool tell = false;
	int err = vhu_iotlb_peek(iotlb, iova, perm, found);

	if (!err)
		return 0;
	/* It may have come just now. */
	pthread_rwlock_wrlock(&iotlb->lock);
	err = look_up(iotlb, iova, perm, found);
	if (err)
		err = note_miss(iotlb, iova, perm, &tell);
	if (err == -EAGAIN)
		iotlb->waiting[queue] = true;
	pthread_rwlock_unlock(&iotlb->lock);
	if (tell)
		iotlb->missed(iotlb->opaque);
	return err;
}
