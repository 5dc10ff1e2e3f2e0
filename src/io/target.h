/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A target: where the I/O of images goes. Many may be on one reactor, whose thread alone calls
 * them:
 *
 *	io_uring	files and block devices, by the reactor's own ring	io/uring
 *	libaio		the same where io_uring is no use			io/aio.c
 *	null		nothing: the floor that benchmarks measure against	io/null.c
 */
#ifndef IO_TARGET_H
#define IO_TARGET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "io/fair.h"
#include "io/io.h"
#include "io/list.h"
#include "io/reactor.h"

struct target;

/* Files that one target can know at a time; one more is -ENFILE. */
#define TARGET_FILES 4096

struct target_class {
	const char *name; /* as in --engine= */
	int (*open)(struct target **targetp, struct reactor *reactor);
	void (*close)(struct target *target);
	/* A file has a handle; it has it no longer. May be NULL. */
	int (*add_file)(struct target *target, int file);
	void (*remove_file)(struct target *target, int file);
	void (*submit)(struct target *target, struct io *io);
	bool (*cancel)(struct target *target, struct io *io);
	/* May be NULL. */
	int64_t (*set_memory)(struct target *target, const void *owner, const struct iovec *ranges,
			      unsigned n);
	bool without_files; /* -1 is a descriptor as good as any */
};

extern const struct target_class target_uring, target_aio, target_null;

/* What has to be known of a file, and is not asked here: its file system may take its time. */
#define TARGET_DEVICE 0x1u /* a block device */
#define TARGET_FUSE   0x2u /* on FUSE; see io/uring/target.c */

struct target_file {
	int fd;
	unsigned users; /* 0: the handle is free */
	unsigned kind;  /* TARGET_* */
	/* The target's own, where it shares out what the kernel may hold. */
	struct fair_share share;
	struct io_list waiting; /* operations that have yet to have their turn, in order */
};

/* Every implementation begins with this. */
struct target {
	const struct target_class *class;
	struct reactor *reactor;
	struct target_file *file;   /* [TARGET_FILES], by handle */
	int n_files;                /* places that have ever been used */
	struct fair fair;           /* operations with the kernel; total 0: not shared out */
	struct target_file no_file; /* of handles that are none */
};

/*
 * Opens a target on a reactor; that of io_uring only on io_uring's, and there is one. 0 or -errno,
 * and then *targetp is NULL.
 */
int target_open(const struct target_class *class, struct target **targetp, struct reactor *reactor);

/*
 * Closes it, before its reactor. Nothing may be in flight; files need not be put back before.
 * Afterwards, and after reactor_close(), the kernel holds no reference to any of them, so that
 * closing an image releases its lock; but where a thread of the kernel's did the last operations,
 * that takes a moment more.
 */
void target_close(struct target *target);

/*
 * Makes an open file known (io_uring registers it), or counts one user more. The caller keeps fd
 * open until target_put_file(), of which there is one for each success. `kind` (TARGET_*) is the
 * same for all users. No file system is asked for anything. Returns the handle for io.file (>= 0)
 * or -errno (-ENFILE: too many, -EBADF: fd is not open).
 */
int target_get_file(struct target *target, int fd, unsigned kind);

/* One user less; of the last one's none of the file's operations may be in flight. */
void target_put_file(struct target *target, int file);

/* The descriptor of a handle, or -1, which the kernel answers with -EBADF. Trusts no handle. */
static inline int target_fd(const struct target *target, int file)
{
	return (unsigned)file < (unsigned)target->n_files ? target->file[file].fd : -1;
}

/* Is it worth while to call target_set_memory()? */
static inline bool target_wants_memory(const struct target *target)
{
	return target->class->set_memory && target->reactor->config.options.fixed_buffers;
}

/*
 * From now on these ranges are where most of the owner's operations have their data: with
 * `fixed_buffers` they are registered, and so pinned, in place of those that were the same owner's
 * (in flight on these, operations stay valid; what is in both is left alone). n = 0 registers
 * nothing. Takes its time, in which nothing else happens: the kernel makes every page present.
 *
 * Returns how many bytes (0: none) the kernel does not register, such as mappings of files on a
 * disk: operations there are plain ones. Or -ENOMEM: more than RLIMIT_MEMLOCK allows; then nothing
 * of this owner's is registered. Without `fixed_buffers` it does nothing.
 */
static inline int64_t target_set_memory(struct target *target, const void *owner,
					const struct iovec *ranges, unsigned n)
{
	return target_wants_memory(target) ? target->class->set_memory(target, owner, ranges, n)
					   : 0;
}

/*
 * Queues an operation; no system call, never fails, never calls done() from within. What is
 * wrong with it (file, offset, alignment) comes as the result.
 */
static inline void target_submit(struct target *target, struct io *io)
{
	target->class->submit(target, io);
}

/*
 * Takes back an operation that was submitted. true: the kernel never saw it, and done() will not
 * be called for it; false: it is too late, and done() will. Costs time, so only for the end of
 * things.
 */
static inline bool target_cancel(struct target *target, struct io *io)
{
	return target->class->cancel(target, io);
}

/*
 * ---- for targets: what the kernel may hold is shared out among the files ----
 *
 * An operation begins when it is admitted, or when target_next() returns it, and counts as held
 * until target_ended(). Those of a file stay in order.
 */

static inline struct target_file *target_file_of(struct target *target, const struct io *io)
{
	return (unsigned)io->file < TARGET_FILES ? &target->file[io->file] : &target->no_file;
}

/* May it begin? If not, it waits for its file's turn. */
void target_await_turn(struct target *target, struct io *io);
static inline bool target_admit(struct target *target, struct io *io)
{
	if (fair_take(&target->fair, &target_file_of(target, io)->share))
		return true;
	target_await_turn(target, io);
	return false;
}

/* The next one that may begin, or NULL. Costs nothing when there is nothing. */
struct io *target_search(struct target *target);
static inline struct io *target_next(struct target *target)
{
	return fair_is_due(&target->fair) ? target_search(target) : NULL;
}

/* One that began is with the kernel no longer. */
static inline void target_ended(struct target *target, struct io *io)
{
	fair_return(&target->fair, &target_file_of(target, io)->share);
}

/* It waits for its file's turn no longer. Did it? */
bool target_cancel_waiting(struct target *target, struct io *io);

/* ---- for targets: something is complete ---- */

/* An operation is complete. It is its owner's again, who may submit it from within. */
static inline void target_complete(struct target *target, struct io *io, int64_t result)
{
	io->result = result;
	target->reactor->delivered++;
	io->done(io);
}

#endif
