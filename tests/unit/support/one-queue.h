/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A real worker thread that serves a queue with an engine that holds every operation until the test
 * lets it go. Driver and control thread are the test's own thread. For tests of src/worker/worker.c
 * and src/queue/queue.c; there is one.
 *
 *	oq_setup();
 *	oq_add(0, RING_DATA);		request 0, a write
 *	fe_vq_kick(&ring.driver);
 *	oq_check_held(1);		the engine has it
 *	oq_release(1);
 *	oq_reap(1);
 *	oq_teardown();
 */
#ifndef ONE_QUEUE_H
#define ONE_QUEUE_H

#include <stdatomic.h>

#include "lib/shared/iotlb.h"
#include "src/queue/queue.h"
#include "src/worker/worker.h"
#include "tests/unit/support/gate.h"
#include "tests/unit/support/ring.h"

#define REQUESTS 0x100000u /* where requests are in guest memory ... */
#define STRIDE   64u       /* ... 32 bytes for the header, then the status */
#define DATA     512u

extern struct one_queue {
	struct worker *worker;
	struct queue *queue;
	struct image image;
	struct queue_disk disk;
	struct queue_memory memory;
	struct disk_limits *limits;    /* set before it is opened; NULL: none */
	struct inflight_split *region; /* NULL: not tracked */
} oq;

/* ---- having the worker do things ---- */

/* Runs it on the worker's thread, between two rounds, and waits for that. */
void oq_on_worker(void (*run)(void));

/* How many operations the engine holds. */
unsigned oq_n_held(void);

/* Waits until the engine holds so many operations, and makes sure that it stays so. */
void oq_check_held(unsigned n);

/* Lets so many operations go, those that are held or that come. */
void oq_release(unsigned n);

/* Has the queue begin: 0 or -errno. */
int oq_begin(void);

/* The same, which must not fail. */
void oq_start(void);

/* Asks the queue to drain, or to abandon what it has; what says that it has is the next two. */
void oq_end(void);
void oq_abandon(void);

void oq_drained(struct queue *queue); /* what they are told by */
bool oq_has_drained(void);
void oq_wait_until_drained(void);

/*
 * Translations are taken away, as queue_revoke() has it; so many bytes at a guest address; and how
 * often it was told since that nobody has that memory any more. Once in a test.
 */
void oq_take_away(const struct vhu_revoked *what);
void oq_take_away_at(uint64_t gpa, uint64_t size);
extern atomic_uint oq_n_revoked;

/* How many requests the in-flight region says there are, between two iterations. */
unsigned oq_n_in_flight(void);

/* ---- life ---- */

/* A ring of `size` entries, the worker, and the queue, which has not begun. */
void oq_open(unsigned size);

/* The same with a region in which is written down what is in flight. */
void oq_open_tracked(unsigned size);

/* A queue that runs. */
void oq_setup(void);

/* After the queue's end. */
void oq_destroy(void);

/* Ends the queue, letting go of all that is held. */
void oq_teardown(void);

/* ---- the driver ---- */

uint8_t *oq_status_of(unsigned i);

/*
 * Request number i, for `sector`, whose data is at `data`; a discard if that is 0, which is one
 * operation, whatever its neighbours are. Not published.
 */
void oq_add_at(unsigned i, uint64_t data, uint64_t sector);

/* The same for the disk's beginning. */
void oq_add(unsigned i, uint64_t data);

/* Requests 0 to n - 1, each of which goes on where the one before ends. */
void oq_add_run(unsigned n);

/* Takes `n` completions, and there are no more. */
void oq_reap(unsigned n);

#endif
