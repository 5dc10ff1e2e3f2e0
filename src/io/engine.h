/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine: what carries I/O to the kernel and waits for it. One worker thread owns one engine
 * and is the only one that calls it, engine_open() included (io_uring rings belong to the thread
 * that makes them).
 *
 * An engine is also what a worker sleeps in: file descriptors (kick eventfds, the worker's
 * mailbox) are watched by it, so that one system call flushes, waits and reaps.
 *
 *	engine_submit(io) ... engine_submit(io)		no system call
 *	engine_run(timeout)				one: flush, wait, then io->done()
 *
 * io/uring is the engine; io/aio.c serves hosts where io_uring is switched off;
 * io/null.c answers at once without I/O and is the floor for benchmarks.
 */
#ifndef IO_ENGINE_H
#define IO_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct engine;

enum io_op {
	IO_READ,       /* iov[niov] from offset */
	IO_WRITE,      /* iov[niov] to offset; IO_F_DSYNC: durable before it completes */
	IO_SYNC,       /* fdatasync of the whole file */
	IO_PUNCH_HOLE, /* deallocate [offset, offset + length), reads return zeros, size kept */
	IO_ZERO_RANGE, /* zero [offset, offset + length) without deallocating, size kept */
	IO_DISCARD,    /* BLKDISCARD of [offset, offset + length), block devices only */
	IO_SIZE,       /* the result is how many bytes the file or block device has now */
};

#define IO_F_DSYNC 0x1u

/*
 * One operation. Embedded in its owner's preallocated object, so submitting allocates nothing.
 * The owner fills it, must leave it and the iovecs alone from engine_submit() to done(), and
 * may submit it again from done(). All but `priv`, which io_uring does without, fits into a cache
 * line: an owner in a hurry aligns it to 64.
 */
struct io {
	uint8_t op;      /* enum io_op */
	uint8_t flags;   /* IO_F_* */
	int file;        /* from engine_add_file(); any other completes with -EBADF */
	unsigned niov;   /* 1 to IOV_MAX (1024) */
	uint64_t offset; /* bytes */
	uint64_t length; /* bytes; of the allocation operations only */
	const struct iovec *iov;
	/* Called from engine_run() once for each submission, in any order. */
	void (*done)(struct io *io);
	int64_t result; /* set before done(): bytes moved (may be short), or 0, or -errno */
	/* The engine's own. */
	struct io *next;
	_Alignas(8) unsigned char priv[64];
};

/* Does it move data, so that its result may be short? */
static inline bool io_is_transfer(const struct io *io)
{
	return io->op == IO_READ || io->op == IO_WRITE;
}

/* A watched file descriptor. Owned by the caller, who embeds it; see engine_watch(). */
struct engine_watch {
	int fd;
	void (*ready)(struct engine_watch *watch);
	void (*failed)(struct engine_watch *watch, int err); /* may be NULL; see engine_watch() */
	int slot;                                            /* the engine's own */
};

/* What only io_uring can do, and is asked for by name: open() fails if it cannot be had. */
struct engine_options {
	bool fixed_buffers; /* engine_set_memory() registers memory with the kernel */
	bool iopoll;        /* wait for reads and writes by polling the device; O_DIRECT only */
	bool sqpoll;        /* a thread of the kernel's takes what is submitted; not with iopoll */
	int sqpoll_cpu;     /* the processor it stays on; -1: any */
};

struct engine_config {
	unsigned depth; /* operations that the kernel may hold at once; the rest waits here */
	struct engine_options options;
};

struct engine_class {
	const char *name; /* as in --engine= */
	int (*open)(struct engine **enginep, const struct engine_config *config);
	void (*close)(struct engine *engine);
	int (*add_file)(struct engine *engine, int fd);
	void (*remove_file)(struct engine *engine, int file);
	int (*watch)(struct engine *engine, struct engine_watch *watch);
	void (*unwatch)(struct engine *engine, struct engine_watch *watch);
	void (*submit)(struct engine *engine, struct io *io);
	bool (*cancel)(struct engine *engine, struct io *io);
	int (*run)(struct engine *engine, int64_t timeout_ns);
	/* May be NULL. */
	int64_t (*set_memory)(struct engine *engine, const struct iovec *ranges, unsigned n);
};

extern const struct engine_class engine_uring, engine_aio, engine_null;

/* Every implementation begins with this. */
struct engine {
	const struct engine_class *class;
	/*
	 * By what engine_run() sees, without a call, that there is nothing to do: nothing is queued
	 * (`quiet`), no completion has come since (*tail), and the kernel has no news (*flags). An
	 * engine that cannot tell is never quiet.
	 */
	bool quiet;
	unsigned seen, news; /* the tail that was reaped; the flags that are news */
	const unsigned *tail, *flags;
	unsigned delivered; /* completions and watches of the engine_run() under way */
	struct engine_config config;
};

/* How often a descriptor is looked at that the kernel does not watch. */
#define ENGINE_POLL_NS INT64_C(100000)

/* Files that one engine can know at a time; one more is -ENFILE. */
#define ENGINE_FILES 256

/* The class called `name` ("io_uring", "libaio", "null"), or NULL. Any thread. */
const struct engine_class *engine_find(const char *name);

/*
 * Opens an engine of the class; the calling thread owns it from now on. 0 or -errno, and then
 * *enginep is NULL.
 */
static inline int engine_open(const struct engine_class *class, struct engine **enginep,
			      const struct engine_config *config)
{
	return class->open(enginep, config);
}

/*
 * Closes it; the owning thread's call, too. Nothing may be in flight and nothing watched; files
 * need not be removed before. Afterwards the kernel holds no reference to any of them, so that
 * closing an image releases its lock; but where a thread of the kernel's did the last operations,
 * that takes a moment more.
 */
static inline void engine_close(struct engine *engine)
{
	engine->class->close(engine);
}

/*
 * Makes an open file known (io_uring registers it). The caller keeps fd open until
 * engine_remove_file(). Returns the handle for io.file (>= 0) or -errno (-ENFILE: table full,
 * -EBADF: fd is not open).
 */
static inline int engine_add_file(struct engine *engine, int fd)
{
	return engine->class->add_file(engine, fd);
}

/* Forgets a file; none of its operations may be in flight. */
static inline void engine_remove_file(struct engine *engine, int file)
{
	engine->class->remove_file(engine, file);
}

/*
 * Watches watch->fd for input: watch->ready() is called from engine_run() whenever it became
 * readable, at least once after each time it did, and once at first if it is readable already.
 * End of file, a hang-up and an error count as readable. A spurious call is possible, so ready()
 * reads without blocking. Level or edge triggering is the engine's affair: ready() must drain
 * the descriptor, or unwatch it, and must not count on being called again if it does neither.
 * Memory and descriptor stay the caller's and must live until engine_unwatch(). 0 or -errno
 * (-EPERM: cannot be polled, as a regular file; -EEXIST, not from io_uring: this very
 * descriptor is watched already).
 *
 * With io_uring the kernel may refuse a watch, or give it up, later on. No wake-up is lost by that:
 * failed() is called once with the reason (-errno), for a log line, and from then on ready() every
 * ENGINE_POLL_NS, whether there is anything to read or not, until engine_unwatch().
 */
static inline int engine_watch(struct engine *engine, struct engine_watch *watch)
{
	return engine->class->watch(engine, watch);
}

/*
 * Ends a watch; ready() is not called any more once this returns, even if an event is there
 * already. May be called from any ready() or done(). Without effect on one not watched. The
 * descriptor may be closed at once; the kernel's own reference to it goes in the course of the
 * next engine_run()s, or with engine_close() (with `sqpoll`: when the kernel's thread has turned
 * around).
 */
static inline void engine_unwatch(struct engine *engine, struct engine_watch *watch)
{
	engine->class->unwatch(engine, watch);
}

/* Is it worth while to call engine_set_memory()? */
static inline bool engine_wants_memory(const struct engine *engine)
{
	return engine->class->set_memory && engine->config.options.fixed_buffers;
}

/*
 * From now on these ranges are where most operations have their data: with `fixed_buffers` they
 * are registered, and so pinned, in place of those that were (in flight on these, operations stay
 * valid; what is in both is left alone). n = 0 registers nothing. Takes its time, in which nothing
 * else happens: the kernel makes every page present.
 *
 * Returns how many bytes (0: none) the kernel does not register, such as mappings of files on a
 * disk: operations there are plain ones. Or -ENOMEM: more than RLIMIT_MEMLOCK allows; then nothing
 * is registered. Without `fixed_buffers` it does nothing.
 */
static inline int64_t engine_set_memory(struct engine *engine, const struct iovec *ranges,
					unsigned n)
{
	return engine_wants_memory(engine) ? engine->class->set_memory(engine, ranges, n) : 0;
}

/*
 * Queues an operation; no system call, never fails, never calls done() from within. What is
 * wrong with it (file, offset, alignment) comes as the result.
 */
static inline void engine_submit(struct engine *engine, struct io *io)
{
	engine->class->submit(engine, io);
}

/*
 * Takes back an operation that was submitted. true: the kernel never saw it, and done() will not
 * be called for it; false: it is too late, and done() will. Costs time, so only for the end of
 * things.
 */
static inline bool engine_cancel(struct engine *engine, struct io *io)
{
	return engine->class->cancel(engine, io);
}

/*
 * Hands what is queued to the kernel, waits until something is complete or readable, but at most
 * timeout_ns (0: do not wait, < 0: no limit), then delivers what is there; what callbacks
 * submit meanwhile waits for the next call, so one call's work is bounded. Returns the number of
 * completions and watches delivered, give or take the engine's own wake-ups; 0: time-out, a
 * signal, or nothing for the caller in what woke it; -errno: the engine itself is broken.
 * Without waiting (0), or while completions are pending, a watch may be seen some calls late.
 * Not from within a callback. Without waiting it may be called in a tight loop: if nothing has
 * happened, io_uring finds that out by a few loads.
 */
static inline int engine_run(struct engine *engine, int64_t timeout_ns)
{
	if (!timeout_ns && engine->quiet &&
	    __atomic_load_n(engine->tail, __ATOMIC_RELAXED) == engine->seen &&
	    !(__atomic_load_n(engine->flags, __ATOMIC_RELAXED) & engine->news))
		return 0;
	return engine->class->run(engine, timeout_ns);
}

#endif
