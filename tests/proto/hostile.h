/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of hostile rings share: a device with two queues, of which the first is spoilt and
 * the second shows that everybody else is still served. A chain that cannot be walked breaks its
 * ring, which the error fd tells; a request that can be answered is answered.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <pthread.h>

#include "tests/proto/proto.h"

#define BROKEN     1000 /* outcome: the ring is broken */
#define HEADER     16u
#define TABLE_MAX  65536u /* descriptors that table_gpa has room for */
#define TABLE_SIZE (TABLE_MAX * 16ull)

extern struct fe_vq *vq;                 /* the hostile queue, dev's first */
extern struct fe_blk other;              /* requests on the innocent one */
extern struct virtio_blk_outhdr *header; /* of a read of sector 0, at header_gpa */
extern uint8_t *status;                  /* FE_NO_STATUS, at status_gpa */
extern uint64_t header_gpa, data_gpa, status_gpa;
extern uint64_t table_gpa; /* for an indirect table */

/* Serves an image and starts a device with these options, but two queues. Only for vublkd. */
void hostile_prepare(const struct fe_dev_options *options);

/* The same; `daemon` are options of its command line, NULL at the end. */
void hostile_prepare_with(const struct fe_dev_options *options, const char *const daemon[]);

/*
 * This address, or one behind all that is allocated: not rings, nor the innocent queue's buffers,
 * for what the device writes there is the guest's own doing.
 */
uint64_t elsewhere(uint64_t gpa);

/*
 * Kicks. What becomes of the hostile thing that has been published: the status of an answered
 * request, BROKEN, or -ETIMEDOUT.
 */
int outcome(void);

/* The same where there may be none, after `ms` milliseconds. */
int outcome_within(unsigned int ms);

/* For what the device may find either way: the ring is broken, or the request failed. */
void expect_refusal(void);

/* The rest of the world after it: the daemon, the other queue, a fresh connection. */
void check_world(void);

/* Nothing happened to what was published: the other queue, served later, has been served. */
void check_nothing_happens(void);

/* Stops the hostile queue and starts it anew, empty. */
void restart_hostile(void);

/*
 * A guest that changes what it has made available while the device reads it: a thread that calls
 * `flip`, which changes something and changes it back, until it is stopped.
 */
struct flipper {
	void (*flip)(uint64_t *rng); /* with random numbers of its own */
	pthread_t thread;
	bool stop;
};

void flipper_start(struct flipper *flipper);
void flipper_stop(struct flipper *flipper);

#endif
