/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writes down in the in-flight region what a queue has fetched and not completed, and reads it
 * again after a crash ("Inflight I/O tracking" of vhost-user.rst).
 *
 * Theory of operation. The process may be killed between any two stores, and the next one finds
 * what was stored until then, in program order. So each change is a preparation that means
 * nothing yet, and one store that commits it; vq/track_split.c and track_packed.c go through them
 * one by one.
 *
 *	split	take	counter | inflight = 1
 *		give	link the batch | used->idx | inflight = 0 ... | used_idx
 *	packed	take	descriptors, counter, inflight = 1, free_head | old_free_head
 *		give	link the batch, used | the first used descriptor | inflight = 0 ...,
 *			old_free_head | old_used
 *
 * The region is the front-end's to write: it is checked once when the queue starts, and what is
 * needed of it afterwards is kept privately; from then on it is only written.
 *
 * The queue's owner only, control thread or worker.
 */
#ifndef VQ_TRACK_H
#define VQ_TRACK_H

#include <stdbool.h>
#include <stdint.h>

#include "shared/inflight.h"

struct vublk_queue;
struct vring_packed_desc;

/* A request of an earlier process, to be popped again. */
struct vq_recovered {
	uint64_t counter;
	uint16_t at; /* split: descriptor, packed: entry */
};

/* What is known privately of a packed entry. */
struct vq_entry {
	uint16_t next; /* of the same list, or of the free ones */
	uint16_t last, num;
};

/* Written with each request: on cache lines of its own. */
struct vq_track {
	_Alignas(64) struct vhu_inflight *inflight; /* keeps the region */
	union {
		struct inflight_split *split;
		struct inflight_packed *packed;
	};
	unsigned n;                     /* entries of the region */
	uint64_t counter;               /* of the next request */
	struct vq_recovered *recovered; /* in the order in which they were taken */
	unsigned n_recovered, next_recovered;

	bool *busy;             /* split: fetched and not completed; packed: seen by recovery */
	struct vq_entry *entry; /* packed */
	uint16_t last;          /* split: head of the last batch; packed: last entry filled */
	uint16_t free_head;     /* packed: as in the region */
	uint16_t cursor;        /* packed: where the next descriptor goes */
	uint16_t n_added;       /* packed: descriptors of the request being taken */
	union inflight_used_packed used; /* packed: as in the region */
};

/*
 * Gives the queue, which has been set up but for its positions, a track in the in-flight region. 0,
 * also, with a warning, if the region has too few queues or entries for it: then it has none, and
 * runs untracked; -ENOMEM; -EINVAL, logged, if the region is of the other kind.
 */
int vq_track_new(struct vublk_queue *vq, struct vhu_inflight *inflight);

/* The opposite. What is in the region stays there. NULL is allowed. */
void vq_track_free(struct vq_track *track);

/*
 * Has a process used the region? Then it decides where the queue goes on, whatever the base is;
 * else the base does. NULL: no.
 */
bool vq_track_is_used(const struct vq_track *track);

/* How many of the requests that recovery has found are still to be popped. NULL: none. */
static inline unsigned vq_track_n_unpopped(const struct vq_track *track)
{
	return track ? track->n_recovered - track->next_recovered : 0;
}

/* Does the region say that an earlier process has left requests in flight? NULL: no. */
bool vq_track_has_left(const struct vq_track *track, bool packed);

/*
 * Finds out where an earlier process stopped: sets next_avail, used_idx and the wrap counters,
 * and the list of requests to be popped again; in a region that nobody has used it notes what the
 * queue has from its base. May be killed at any point and done again. 0; -EINVAL, logged, if what
 * the region says cannot be.
 */
int vq_track_recover(struct vublk_queue *vq);

/* See vublk_queue_noted() and vublk_queue_note(); vublk_dev_flag_notes(), of one queue's region. */
struct vublk_note vq_track_noted(const struct vq_track *track, bool packed);
void vq_track_note(const struct vq_track *track, bool packed, const struct vublk_note *note);
void vq_track_flag(void *region, bool packed, bool flag);

/* Logs why the region cannot be right; -EINVAL. */
int vq_track_corrupt(const struct vublk_queue *vq, const char *why);

/* ---- split ---- */

int vq_track_split_recover(struct vublk_queue *vq);

/* The request at this head is taken. -EPROTO if it was before: the ring is broken. */
int vq_track_split_take(struct vublk_queue *vq, uint16_t head);

/* Before and after the used index moves over n_pushed elements. */
void vq_track_split_link(struct vublk_queue *vq);
void vq_track_split_commit(struct vublk_queue *vq);

/* ---- packed ---- */

int vq_track_packed_recover(struct vublk_queue *vq);

/* See vq_find_base(). */
void vq_track_packed_find_base(struct vublk_queue *vq);

/*
 * Takes one request: begin, a copy of each of its descriptors, end, which commits it and answers
 * with its entry. -EPROTO, from add: no entry is left, so the driver overruns its ring.
 */
void vq_track_packed_begin(struct vublk_queue *vq);
int vq_track_packed_add(struct vublk_queue *vq, const struct vring_packed_desc *desc);
uint16_t vq_track_packed_end(struct vublk_queue *vq);

/* The descriptor in an entry of a request that is popped again. */
struct vring_packed_desc vq_track_packed_desc(const struct vq_track *track, uint16_t entry);

/* Before and after the first used descriptor of the batch is written. */
void vq_track_packed_link(struct vublk_queue *vq);
void vq_track_packed_commit(struct vublk_queue *vq);

#endif
