/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libvublk: the vhost-user back-end side of a virtio device, as its user sees it. This is the
 * one header of lib/ that src/ includes.
 *
 * The library speaks the protocol and runs virtqueues. It knows no disk, opens no file, never
 * exits, never prints (see vublk_set_log()), and trusts no byte that it did not copy and check.
 *
 * Two kinds of thread call it:
 * - the control thread makes the device, feeds it its socket, and answers for its queues;
 * - a worker thread owns each queue between the device's queue_start() and the acknowledgement
 *   of its queue_stop(), and is the only one to pop from it and push to it.
 * Control asks, the worker answers, and while an answer is outstanding (vublk_queue_done()) the
 * device reads no further message. So neither needs a lock.
 */
#ifndef VUBLK_H
#define VUBLK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define VUBLK_MAX_QUEUES 256
#define VUBLK_MAX_CONFIG 256 /* bytes of device configuration space that can be asked for */

enum vublk_log_level {
	VUBLK_LOG_ERROR,
	VUBLK_LOG_WARNING,
	VUBLK_LOG_INFO,
	VUBLK_LOG_DEBUG,
};

/*
 * Where the library's messages go: `line` is one line without newline, valid during the call.
 * Called by the thread that has something to say. Set before the first device is made; without
 * it messages are dropped.
 */
void vublk_set_log(void (*log)(enum vublk_log_level level, const char *line));

/*
 * Installs a handler for SIGBUS, which a front-end can cause by truncating the memory that it
 * shared: that memory is replaced by zeros and counts as lost. Returns a descriptor that becomes
 * readable then (and stays the library's); call vublk_dev_memory_lost() for each device. -errno
 * if that cannot be had. Once, before there are other threads. A SIGBUS for any other reason ends
 * the process as ever.
 */
int vublk_guard_memory(void);

/* ---- device: control thread ---- */

struct vublk_dev;
struct vublk_queue;
struct vublk_update;

/* What the library asks of its user, always on the control thread. */
struct vublk_ops {
	/*
	 * Begin serving the queue: from now on its worker owns it. Answer with
	 * vublk_queue_done(), at once or later; with an error the queue stays stopped and counts
	 * as broken. Meanwhile the front-end gets no answers: what may take long is to be waited
	 * for with vublk_queue_wait().
	 */
	void (*queue_start)(void *opaque, struct vublk_queue *queue);
	/* A queue that waits is not to begin after all: forget it, at once. No answer. */
	void (*queue_cancel)(void *opaque, struct vublk_queue *queue);
	/*
	 * Stop serving it: pop nothing more, wait for what is in flight, publish it, then answer
	 * with vublk_queue_done(queue, 0). Stopping cannot fail. Without `drain`, and if the queue
	 * is tracked, do not wait for what nobody has begun with: vublk_queue_abandon() it.
	 */
	void (*queue_stop)(void *opaque, struct vublk_queue *queue, bool drain);
	/*
	 * Have the worker call vublk_queue_apply() on a running queue between two iterations, then
	 * answer with vublk_queue_done(queue, 0); but not before all chains have been pushed of
	 * which it takes the memory away (vublk_update_revokes_of()).
	 */
	void (*queue_update)(void *opaque, struct vublk_queue *queue, struct vublk_update *update);
	/*
	 * The ring has been found broken, `why` (valid during the call) says what was wrong, and
	 * nothing more will be popped until it is stopped and started. Once each start, on the
	 * queue's worker. May be NULL.
	 */
	void (*queue_broken)(void *opaque, struct vublk_queue *queue, const char *why);
	/*
	 * The answer awaited (vublk_dev_input() returned 1) has come: watch the socket again
	 * (again == true), or the connection has to end (again == false).
	 */
	void (*resume)(void *opaque, bool again);
	/* What vublk_dev_disconnect() began is complete; a new connection may be made. */
	void (*disconnected)(void *opaque);
	/* Fill in the device configuration space; `config` is zeroed before. */
	void (*get_config)(void *opaque, uint8_t config[VUBLK_MAX_CONFIG]);
	/*
	 * The driver (or, with `migration`, a migration) writes `size` bytes at `offset` of the
	 * configuration space. 0, or -errno if that may not be written.
	 */
	int (*set_config)(void *opaque, uint32_t offset, const uint8_t *data, uint32_t size,
			  bool migration);
	/*
	 * On any thread, under no lock: have the control thread call vublk_dev_attend(), soon. Only
	 * with VIRTIO_F_ACCESS_PLATFORM.
	 */
	void (*attend)(void *opaque);
	/* These are the features in force from now on; no queue runs. 0 after a reset. */
	void (*set_features)(void *opaque, uint64_t features);
	/*
	 * What another back-end has to know of the device beyond what its front-end tells it, while
	 * no queue runs; and here it comes: 0, or -errno if that cannot be ("Migrating back-end
	 * state").
	 */
	uint32_t (*save_state)(void *opaque);
	int (*load_state)(void *opaque, uint32_t state);
	/*
	 * Call vublk_dev_state_input() when `fd`, which stays the library's, is readable or at its
	 * end; -1: no more, it will be closed. There is one at most. 0 or -errno.
	 */
	int (*watch_state)(void *opaque, int fd);
	/*
	 * The front-end is to be told something by a message (in-band notifications): have the
	 * control thread call vublk_dev_announce() soon. Any thread, and as often as it likes: one
	 * call does for all.
	 */
	void (*announce)(void *opaque);
	/*
	 * Call vublk_dev_announce() when this descriptor can be written to, until told otherwise:
	 * -1, not any more. It is the library's, and open so long. Control thread.
	 */
	void (*await_room)(void *opaque, int fd);
};

struct vublk_params {
	const char *name;        /* for messages; copied */
	uint64_t features;       /* device type's feature bits offered (0-23) */
	uint64_t known_features; /* those whose acknowledgement, if not offered, is refused */
	unsigned num_queues;     /* the most a front-end may use, 1 to VUBLK_MAX_QUEUES */
	bool postcopy;           /* may be asked for; see vublk_postcopy_check() */
	const struct vublk_ops *ops;
	void *opaque; /* handed to the ops */
};

/*
 * Can this process take part in a postcopy migration (userfaultfd(2))? 0 or -errno: -EPERM without
 * CAP_SYS_PTRACE, unless vm.unprivileged_userfaultfd is 1. A front-end that is allowed to has power
 * over the whole process: it is to be trusted. Memory must not be registered with the kernel, which
 * would wait for all of it.
 */
int vublk_postcopy_check(void);

/* Makes a device without a connection. 0, -EINVAL or -ENOMEM. Destroy with vublk_dev_destroy(). */
int vublk_dev_create(struct vublk_dev **devp, const struct vublk_params *params);

/* Destroys it; it must not be connected. NULL is allowed. */
void vublk_dev_destroy(struct vublk_dev *dev);

/*
 * Where a session is kept beyond the end of this process, so that another one goes on with it
 * (vublk_dev_adopt()) on the same connection: memory and descriptors that outlive the process. What
 * is kept is right at any moment, so that a process may be killed at any.
 */
struct vublk_keeper {
	/*
	 * vublk_keeper_size() bytes, aligned to 64, and shared with no front-end; all 0 when a
	 * session is started there.
	 */
	void *memory;
	/*
	 * Keeps a duplicate of a descriptor. Returns its ticket, or -errno: of the first one, which
	 * is the connection, VUBLK_TICKET_CONNECTION, then other numbers > 0; of one that is kept
	 * already, whatever number the descriptor has, the ticket that it has.
	 */
	int (*keep)(void *opaque, int fd);
	/* These n are all that is needed (some maybe twice): forget all other tickets. */
	void (*settle)(void *opaque, const uint32_t *ticket, unsigned n);
	/* The descriptor of a ticket that another process was given, the caller's; or -errno. */
	int (*take)(void *opaque, uint32_t ticket);
	/*
	 * The session is over, or cannot be kept: forget all of it. Nothing is called afterwards.
	 */
	void (*end)(void *opaque);
	void *opaque;
};

#define VUBLK_TICKET_CONNECTION 1

/* How much memory a session takes, bytes. */
size_t vublk_keeper_size(void);

/*
 * Starts a session on a connected stream socket, whose ownership passes to the device. With a
 * keeper (copied; NULL: none) it is kept, or a warning is logged. Requests are tracked then,
 * whether or not the front-end has a region for that. 0, or -errno (then the socket has been
 * closed).
 */
int vublk_dev_connect(struct vublk_dev *dev, int sock, const struct vublk_keeper *keeper);

/*
 * Goes on with a session that another process has kept there, in the midst of whatever that process
 * was at: starts its rings, and answers what was to be answered. As vublk_dev_input(): 0, 1, or
 * -errno (logged: it is not to be had, or not to be believed, or nobody can know how far it was),
 * and then vublk_dev_disconnect() ends it.
 */
int vublk_dev_adopt(struct vublk_dev *dev, const struct vublk_keeper *keeper);

/* The socket of the session, the library's; -1: there is none. */
int vublk_dev_socket(const struct vublk_dev *dev);

/*
 * Ends this process's part of a session that is kept, the queues stopped as far as they may be
 * while somebody goes on with them; else like vublk_dev_disconnect(), which also ends what is not
 * kept.
 */
void vublk_dev_park(struct vublk_dev *dev);

/*
 * The socket is readable: reads and serves what is there, a bounded number of messages.
 * 0: call again when something more has come, which is not the same as that the socket is readable:
 * what is there may be a part of a message, and stay there; 2: call again soon, there may be more;
 * 1: an answer of a queue is awaited, leave the socket alone until ops->resume(), and then call
 * again; -errno: the connection is over (-ECONNRESET: the front-end closed it; others have been
 * logged), call vublk_dev_disconnect().
 */
int vublk_dev_input(struct vublk_dev *dev);

/*
 * Ends the session: stops the queues, waits for their answers, then forgets all about the
 * front-end, closes the socket and calls ops->disconnected(), maybe before this returns.
 */
void vublk_dev_disconnect(struct vublk_dev *dev);

/*
 * May pages of guest memory be missing that the front-end is to bring (postcopy migration)? When it
 * goes, the session is to be ended with vublk_dev_disconnect(), again if it is ending already: else
 * what waits for them waits for ever.
 */
bool vublk_dev_awaits_memory(const struct vublk_dev *dev);

/* What ops->watch_state() named is readable, or at its end. Reads a bounded number of bytes. */
void vublk_dev_state_input(struct vublk_dev *dev);

/*
 * Sets or clears the flag in the notes of all queues, running or not, if there is an in-flight
 * region; see vublk_queue_note(). When this returns it is there for the next process.
 */
void vublk_dev_flag_notes(struct vublk_dev *dev, bool flag);

/*
 * The configuration space is another one now: the front-end is told, when rings run, if it can be
 * ("VHOST_USER_BACKEND_CONFIG_CHANGE_MSG"), and reads it. 0: it is told, or will be, once; -EAGAIN:
 * the channel is full: it is tried again with the front-end's next message, or call again;
 * -EOPNOTSUPP: the front-end gave no channel, or cannot read it; -ENOTCONN: there is none.
 */
int vublk_dev_config_changed(struct vublk_dev *dev);

/*
 * Asks the front-end for translations, and has queues look again that waited for some. Returns
 * after how many ns it is to be called again at the latest, 0: when it is asked for. Without a
 * session nothing happens.
 */
uint64_t vublk_dev_attend(struct vublk_dev *dev);

/*
 * Sends the front-end what is to be said of its rings by messages: as much as there is room for.
 * Never waits, and harmless at any time; see `announce` and `await_room` of struct vublk_ops.
 * ("VHOST_USER_BACKEND_VRING_CALL", "VHOST_USER_BACKEND_VRING_ERR")
 */
void vublk_dev_announce(struct vublk_dev *dev);

/*
 * Is there a ring that is stopped only until its memory is shared again, or its translations are
 * known (VIRTIO_F_ACCESS_PLATFORM)? The driver knows nothing of that.
 */
bool vublk_dev_pauses(const struct vublk_dev *dev);

/*
 * Logs what the session has agreed upon, and what each of its rings that was set up is at, in lines
 * of VUBLK_LOG_INFO.
 */
void vublk_dev_report(const struct vublk_dev *dev);

/*
 * By what the guest of this session is known, also to another process that goes on with it: the
 * files of its in-flight region, and of its first range of memory; -1 where there is none. The
 * library's, and only until the front-end's next message.
 */
struct vublk_files {
	int inflight, memory;
	uint64_t inflight_offset; /* bytes: where in its file the region begins */
};
struct vublk_files vublk_dev_files(const struct vublk_dev *dev);

/* Was memory of this session lost? Then nothing it holds means anything: end the session. */
bool vublk_dev_memory_lost(const struct vublk_dev *dev);

/* ---- queue: control thread ---- */

/* Answers a queue_start, queue_stop or queue_update; err is 0 or -errno. */
void vublk_queue_done(struct vublk_queue *queue, int err);

/*
 * From within queue_start: the queue cannot begin yet, and nobody serves it. The session goes on,
 * so that its ring may change, or be stopped (queue_cancel), until vublk_queue_wait_over(): then
 * it is as if queue_start had been called now, and vublk_queue_done() is awaited.
 */
void vublk_queue_wait(struct vublk_queue *queue);
void vublk_queue_wait_over(struct vublk_queue *queue);

/* Its number in the device, from 0. Any thread. */
unsigned vublk_queue_index(const struct vublk_queue *queue);

/* Its user's pointer: set at queue_start, read by whoever needs it. */
void vublk_queue_set_opaque(struct vublk_queue *queue, void *opaque);
void *vublk_queue_opaque(const struct vublk_queue *queue);

/* ---- queue: its worker thread ---- */

/*
 * A descriptor chain taken from the queue (virtio 2.7.4 "Message Framing"): `out` is what the
 * device reads, `in` what it writes, each a list of host memory ranges. Embedded in its owner's
 * request object, prepared once with vublk_chain_init().
 */
struct vublk_chain {
	const struct iovec *out, *in; /* no range is empty, and they stay what they are */
	unsigned n_out, n_in;
	uint64_t out_size, in_size; /* bytes */
	/* The library's own. */
	uint32_t id;    /* names it in the used ring */
	uint16_t num;   /* slots of a packed ring that it takes */
	uint16_t entry; /* of the in-flight region of a packed ring */
	struct iovec *iov;
	unsigned capacity;
	struct iovec *own; /* the owner's array */
	unsigned own_capacity;
	struct vq_lease *lease;
};

/* Gives the chain the caller's array to work with. Longer chains get one from malloc(). */
void vublk_chain_init(struct vublk_chain *chain, struct iovec *array, unsigned capacity);

/*
 * Is any of the memory lost that it may have its buffers in, as the front-end truncated it, or has
 * gone before it was all there? Then what was read there is nothing. Any thread; asked afterwards.
 */
bool vublk_chain_is_lost(const struct vublk_chain *chain);

#define VUBLK_MAX_MEMORY 512 /* ranges */

/*
 * Where in our address space the guest memory lies in which chains that are popped from now on have
 * their buffers: at most VUBLK_MAX_MEMORY ranges. Returns how many. It stays mapped until the queue
 * has ended, or taken over an update, and until the chains popped before are pushed.
 */
unsigned vublk_queue_memory(const struct vublk_queue *queue, struct iovec ranges[VUBLK_MAX_MEMORY]);

/*
 * The files that those ranges are mappings of, in the same order and as long: the library's
 * descriptors, the same one for all of one file. -1: there were no descriptors left.
 */
unsigned vublk_queue_memory_files(const struct vublk_queue *queue, int fds[VUBLK_MAX_MEMORY]);

/* How many entries the ring has. */
unsigned vublk_queue_size(const struct vublk_queue *queue);

/*
 * The descriptor that is readable after a kick, or -1: there is none. Owned by the library; changes
 * only in vublk_queue_apply().
 */
int vublk_queue_kick_fd(const struct vublk_queue *queue);

/*
 * Does nobody kick, so that the ring is to be looked at regularly? Where there is no descriptor,
 * kicks may come as messages, each as an update (vublk_update_is_kick()).
 */
bool vublk_queue_polled(const struct vublk_queue *queue);

/* Reads the kick descriptor empty. 0, or -errno when it is no use any more (closed, at EOF). */
int vublk_queue_drain_kick(struct vublk_queue *queue);

/*
 * The first call of a worker for a queue that was started, when nothing of an earlier process can
 * touch image or guest memory any more: finds the place in the ring where it, or the front-end,
 * says that we are. 0, or -EINVAL (logged) if that cannot be, with an in-flight region that is
 * corrupt, say: then the queue cannot run.
 */
int vublk_queue_begin(struct vublk_queue *queue);

/* The last one: nothing is popped or published any more. What is not published stays in flight. */
void vublk_queue_end(struct vublk_queue *queue);

/* How many requests of an earlier process, or start, are still to be popped: they come first. */
unsigned vublk_queue_recovering(const struct vublk_queue *queue);

/* Are requests in flight remembered, so that another process can go on with them? */
bool vublk_queue_tracked(const struct vublk_queue *queue);

/*
 * A note of the caller's for the next process, in bytes of a queue's in-flight region for which the
 * specification has no use: the region lives as long as the guest's use of the device. The
 * front-end can write there, too: compare the value, and take the flag for one that makes the
 * device more careful.
 */
struct vublk_note {
	uint32_t value; /* 0: none */
	bool flag;
};

/* What was noted; nothing without a region. Worker, between begin and end. */
struct vublk_note vublk_queue_noted(const struct vublk_queue *queue);

/*
 * Notes it, if there is a region. Who is killed meanwhile leaves this flag or that of the note
 * before, and the value or none. Worker, between begin and end. Where vublk_dev_flag_notes() may be
 * called at the same time, look at what the flag comes from afterwards, and note again if it has
 * changed.
 */
void vublk_queue_note(struct vublk_queue *queue, const struct vublk_note *note);

/*
 * Takes the next available chain. 1: *chain is valid until vublk_queue_push(); 0: there is none;
 * -EAGAIN: there is one that has to wait, so long until one that was popped is pushed, or naming
 * memory that is not known yet until an update is applied; other -errno: the ring is broken (its
 * error descriptor has been signalled, the reason logged) and will give nothing any more. A driver
 * that makes more requests available than its ring has entries, while those before are popped and
 * not yet published, has broken it.
 */
int vublk_queue_pop(struct vublk_queue *queue, struct vublk_chain *chain);

/*
 * Gives the chain back, `written` bytes having been written to the beginning of `in`. Only
 * collects: the driver sees it after vublk_queue_publish(). Every chain popped is pushed once.
 */
void vublk_queue_push(struct vublk_queue *queue, struct vublk_chain *chain, uint32_t written);

/*
 * Lets go of a chain without giving it back: it stays in flight, for the next process or the next
 * start. Only for a queue that is tracked and about to end.
 */
void vublk_queue_abandon(struct vublk_queue *queue, struct vublk_chain *chain);

/* Makes all that was pushed visible to the driver and calls it if it wants to be called. */
void vublk_queue_publish(struct vublk_queue *queue);

/*
 * How often the driver was called since the queue was started, by its descriptor or a message,
 * calls included that are made for the case that one was lost. What it did not want is not counted.
 */
uint64_t vublk_queue_calls(const struct vublk_queue *queue);

/*
 * Asks the driver to kick (true) or not to bother (false). After asking for kicks, returns
 * whether something became available meanwhile: then no kick may come for it, pop again.
 */
bool vublk_queue_want_kicks(struct vublk_queue *queue, bool want);

/* Something in the control plane changed: takes it over. See queue_update. */
void vublk_queue_apply(struct vublk_queue *queue, struct vublk_update *update);

/* Does the change bring another memory map? */
bool vublk_update_has_memory(const struct vublk_update *update);

/*
 * Does the change take translations away (VIRTIO_F_ACCESS_PLATFORM)? And does this chain, which was
 * popped and is not pushed, have memory that they led to?
 */
bool vublk_update_revokes(const struct vublk_update *update);
bool vublk_update_revokes_of(const struct vublk_update *update, const struct vublk_chain *chain);

/* Does the change bring another kick descriptor (and close the one there is)? */
bool vublk_update_has_kick(const struct vublk_update *update);

/* Is it a kick, and nothing else? Then there may be something to pop. */
bool vublk_update_is_kick(const struct vublk_update *update);

/*
 * Marks the ring broken, for a request that not even an error can be answered to; `why` is
 * logged. The error descriptor is signalled, and nothing more is popped.
 */
void vublk_queue_break(struct vublk_queue *queue, const char *why);

/* Has the ring been found broken? */
bool vublk_queue_broken(const struct vublk_queue *queue);

/* ---- iovecs: any thread ---- */

/* Bytes in all. */
uint64_t vublk_iov_size(const struct iovec *iov, unsigned n);

/* Copies `size` bytes from `offset` bytes into the list to `data`; returns how many there were. */
size_t vublk_iov_read(const struct iovec *iov, unsigned n, uint64_t offset, void *data,
		      size_t size);

/* Copies `size` bytes of `data` into the list from `offset` on; returns how many had room. */
size_t vublk_iov_write(const struct iovec *iov, unsigned n, uint64_t offset, const void *data,
		       size_t size);

/* Writes zeros; else like vublk_iov_write(). */
uint64_t vublk_iov_zero(const struct iovec *iov, unsigned n, uint64_t offset, uint64_t size);

/*
 * By what address guest memory is written to, by lib/guest.h, or by the kernel. It is ours. In
 * builds for tests (--enable-guest-gate) it is another one: ours can only be read, so that whoever
 * stores past the gate is found. Any thread.
 */
#ifdef VUBLK_GUEST_GATE
void *vublk_guest_writable(void *at);
#else
static inline void *vublk_guest_writable(void *at)
{
	return at;
}
#endif

/* Stores one byte into guest memory: a request's status. See lib/guest.h. */
static inline void vublk_guest_store8(uint8_t *at, uint8_t value)
{
	__atomic_store_n((uint8_t *)vublk_guest_writable(at), value, __ATOMIC_RELAXED);
}

/* A place in a list of ranges, which stays as it is. */
struct vublk_cursor {
	const struct iovec *iov; /* the range that it lies in */
	unsigned n;              /* ranges left, this one included; 0: at the end */
	size_t skip;             /* bytes of this one before the place, fewer than it has */
};

/*
 * What is left of the range that it lies in, cut to `size` bytes, and moves to the next one. The
 * length is 0 at the end of the list.
 */
struct iovec vublk_cursor_range(struct vublk_cursor *at, uint64_t size);

/* Moves on by `size` bytes, or to the end if there are fewer. */
void vublk_cursor_advance(struct vublk_cursor *at, uint64_t size);

#endif
