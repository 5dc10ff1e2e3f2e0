/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of a postcopy migration: a guest whose memory is elsewhere at first. A thread hears of
 * the pages that the back-end misses, and fetches them, as QEMU does it. Linux's userfaultfd.
 */
#ifndef FE_POSTCOPY_H
#define FE_POSTCOPY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/frontend/fe_dev.h"

#define FE_POSTCOPY_PAGE    4096u
#define FE_POSTCOPY_REGIONS 2

struct fe_postcopy {
	struct fe_dev *dev;
	int uffd;    /* -1: nothing is advised */
	int stop_fd; /* ends the thread */
	bool serves;
	pthread_t thread;
	pthread_mutex_t lock; /* of the pages */
	struct fe_postcopy_region {
		uint64_t base;   /* where the back-end has it, 0: not shared yet */
		uint8_t *source; /* what is in the pages that are elsewhere */
		uint8_t *away;   /* a flag for each page */
	} region[FE_POSTCOPY_REGIONS];
	atomic_uint n_faults, n_unknown; /* of which at addresses that it has not been told */
};

/* POSTCOPY_ADVISE: 0; FE_REFUSED: there is no descriptor in the reply; -errno. */
int fe_postcopy_advise(struct fe_postcopy *pc, struct fe_dev *dev);

/* POSTCOPY_LISTEN. 0, FE_REFUSED or -errno. */
int fe_postcopy_listen(struct fe_postcopy *pc);

/* Shares a region, in a table of its own or as a slot, and hears where it lies. 0 or -errno. */
int fe_postcopy_share(struct fe_postcopy *pc, unsigned int region, bool slot);

/* Says that it has heard, and waits until the back-end has. 0 or -errno. */
int fe_postcopy_acknowledge(struct fe_postcopy *pc);

/* The thread begins, and ends. */
int fe_postcopy_serve(struct fe_postcopy *pc);
void fe_postcopy_stop(struct fe_postcopy *pc);

/* Pages are elsewhere from now on; and are here again, as if the guest had touched them. */
int fe_postcopy_take_away(struct fe_postcopy *pc, uint64_t gpa, uint64_t size);
int fe_postcopy_fetch(struct fe_postcopy *pc, uint64_t gpa, uint64_t size);

/* Waits until the back-end misses a page, which is not fetched. 0 or -ETIMEDOUT. */
int fe_postcopy_await_fault(struct fe_postcopy *pc);

/* POSTCOPY_END: all pages are here. 0, FE_REFUSED or -errno. */
int fe_postcopy_end(struct fe_postcopy *pc);

/* Ends the thread and gives everything back. Harmless on one that is zeroed. */
void fe_postcopy_free(struct fe_postcopy *pc);

#endif
