/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest memory of a session that a target has registered (--fixed-buffers), and whether it is
 * still what the guest sees. Worker thread.
 *
 * Theory of operation. A hole that is punched into the shared file (a balloon, free page reporting,
 * virtio-mem) takes pages out of it, and the guest gets new ones there. The registered ones are
 * orphans then: what is read into them arrives nowhere. On tmpfs and memfds a hole changes the
 * file's times, and the front-end punches it before the driver may use its place again. So times
 * that are looked at after a pop, before its operation is submitted, and are those of before the
 * registration, say that the buffers are the guest's.
 *
 * The first store to a page by a mapping changes them, too. So another time is no proof of a hole:
 * the registration is dropped, and renewed when the file has been left alone for a while.
 * Memory that has become less was punched: then no more is tried, for it would be made present
 * again.
 *
 *	        changed                       less of it
 *	FRESH ----------> SUSPECT     both -------------> GIVEN_UP
 *	  ^                  |
 *	  '------------------' left alone for a while, registered again
 *
 * Times are coarse: a change in the same tick as that before would not show. The times compared
 * with are older than the present tick, so that every later change is another one. hugetlbfs
 * changes no times when a hole is punched: such memory is not registered.
 */
#ifndef IO_REGISTERED_MEMORY_H
#define IO_REGISTERED_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>

struct memory_file {
	int fd; /* our own */
	struct stat as;
};

enum memory_state {
	MEMORY_FRESH,
	MEMORY_SUSPECT,
	MEMORY_GIVEN_UP,
};

struct registered_memory {
	enum memory_state state;
	struct memory_file *file;
	struct iovec *range; /* as they were given to be registered */
	unsigned n_files, n_ranges;
	bool told;               /* the operator, of what cannot be registered */
	int64_t retry_at, pause; /* ns, monotonic; ns */
};

/* Forgets all: nothing is registered any more. All zero is a forgotten one. */
void registered_memory_clear(struct registered_memory *memory);

/*
 * These ranges are about to be registered, fds[i] (not kept; -1: unknown) being the file of
 * ranges[i]. Makes them present and remembers the files' times, but for files of which a range
 * stays registered, as target_set_memory() leaves it; takes out what cannot be watched.
 * Returns how many ranges are left, to be registered; in a state other than FRESH: none.
 */
unsigned registered_memory_set(struct registered_memory *memory, struct iovec *ranges,
			       const int *fds, unsigned n);

/* What registered_memory_check() found. */
enum memory_change {
	MEMORY_SAME,     /* go on */
	MEMORY_TOUCHED,  /* drop the registration, for now */
	MEMORY_PUNCHED,  /* drop it for good */
	MEMORY_CAN_COME, /* registering again is worth while: the state is FRESH again */
};

/* To be called after popping, before operations on what was popped are submitted. */
enum memory_change registered_memory_check(struct registered_memory *memory);

#endif
