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

#include "io/io.h"
#include "io/reactor.h"

struct target;

/* Files that one target can know at a time; one more is -ENFILE. */
#define TARGET_FILES 1024

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

struct target_file {
	int fd;
	unsigned users; /* 0: the handle is free */
};

/* Every implementation begins with this. */
struct target {
	const struct target_class *class;
	struct reactor *reactor;
	struct target_file *file; /* by handle */
	int n_files;              /* places in that table */
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
 * open until target_put_file(), of which there is one for each success. Returns the handle for
 * io.file (>= 0) or -errno (-ENFILE: too many, -EBADF: fd is not open).
 */
int target_get_file(struct target *target, int fd);

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

/* For targets: an operation is complete. It is its owner's again, who may submit it from within. */
static inline void target_complete(struct target *target, struct io *io, int64_t result)
{
	io->result = result;
	target->reactor->delivered++;
	io->done(io);
}

#endif
