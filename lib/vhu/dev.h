/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One device and its session with a front-end: features, memory, rings, and the life-cycle of
 * all of it. Control thread. What was agreed upon is in vhu/session.h; here is what this process
 * makes of it: maps, descriptors, the states of the rings.
 *
 * Theory of operation. A message is received (vhu_msg), looked up and checked (vhu_dispatch),
 * and handled (vhu_dev, vhu_vring). Handlers change the session at once, but a running ring
 * belongs to a worker, so what touches one is asked for by the ops and counted in `pending`.
 * While anything is pending no message is read. When the last answer has come, the message's
 * second half runs and the reply goes out:
 *
 *	READING --message--> handle() --pending == 0--> finish(), reply --> READING
 *	                         |                          ^
 *	                         +--pending > 0--> WAITING --last answer
 *
 * A ring that cannot begin yet (vublk_queue_wait()) is not counted, so that the session goes on;
 * when it can, it is, with no message outstanding.
 *
 * A session that ends (vublk_dev_disconnect()) waits for what is pending, stops the rings, waits
 * again, and then forgets everything.
 */
#ifndef VHU_DEV_H
#define VHU_DEV_H

#include <linux/virtio_config.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/dirty_log.h"
#include "shared/inband.h"
#include "shared/inflight.h"
#include "shared/iotlb.h"
#include "vhu/backend.h"
#include "vhu/msg.h"
#include "vhu/ring_state.h"
#include "vhu/session.h"
#include "vhu/state.h"
#include "vq/ring.h"
#include "vublk.h"

/* "Ring states": a ring runs when it is started and enabled and can be. */
struct vhu_vring {
	_Alignas(64) struct vublk_queue vq; /* the next ring's may have another worker */
	struct vublk_update update;         /* while a queue_update is pending */
	enum ring_state state;
	struct vhu_inband inband; /* what the front-end is to be told of it by messages */
};

struct vhu_row;

struct vhu_postcopy {
	int uffd;             /* -1: no postcopy migration was announced */
	int nothing;          /* a file of no size, for memory that is lost; see postcopy.c */
	bool listening;       /* it has begun: pages may be missing */
	struct vhu_mem *held; /* told to the front-end, and not to be used yet; NULL: none */
	struct vhu_mem **map; /* all that pages may be missing of: n_maps references */
	unsigned n_maps;
};

/* Where the session is kept beyond this process; see vhu/keep.c. */
struct vhu_keep {
	struct vublk_keeper keeper; /* .memory is NULL: the session ends with the process */
	bool peeks;                 /* messages stay in the socket until they are done */
	bool unsettled;             /* tickets were handed out that the session may not have */
	bool parking;               /* vublk_dev_park() was called: nothing changes any more */
};

struct vublk_dev {
	char *name;
	struct vublk_params params;
	uint64_t offered; /* feature bits */

	/* The session. */
	int sock; /* -1: none */
	struct vhu_msg msg;
	const struct vhu_session *session;
	struct vhu_session_store *store; /* of `session`, for handlers to change it */
	struct vhu_keep keep;            /* of what the next process gets */
	struct vhu_mem *mem;
	struct vhu_inflight *inflight; /* the front-end's or our own; NULL: nothing is tracked */
	struct vhu_dirty_log *log;     /* NULL: nobody wants to know what is written */
	int log_fd;                    /* signalled when something was, -1: none */
	struct vhu_backend backend;    /* the channel for what we say of our own accord */
	struct vhu_postcopy postcopy;  /* the migration of that kind that is under way */
	struct vhu_transfer transfer;  /* of the device's state, or the last one's result */
	struct vhu_iotlb *iotlb;       /* with VIRTIO_F_ACCESS_PLATFORM; see vhu_iommu_table() */
	uint64_t n_asked, n_answered;  /* translations, by the channel; answers come in order */
	unsigned next_said;            /* the ring with which vublk_dev_announce() goes on */
	struct vhu_vring *vring;       /* params.num_queues of them */

	/* The message outstanding. */
	const struct vhu_row *row;  /* NULL: there is none */
	int err;                    /* handle()'s, or the first one that a queue answered */
	bool unlogged;              /* a ring may have written before there was a log */
	unsigned pending;           /* answers awaited, and a handler that is running */
	bool leaving, stopping;     /* vublk_dev_disconnect() was called; has stopped the rings */
	struct vhu_revoked revoked; /* by an IOTLB message, until rings have done without */
};

/* Is this protocol feature negotiated? */
static inline bool vhu_dev_has(const struct vublk_dev *dev, enum vhu_protocol_feature bit)
{
	return dev->session->protocol_features >> bit & 1;
}

/* Are its rings packed ones? */
static inline bool vhu_dev_is_packed(const struct vublk_dev *dev)
{
	return dev->session->features >> VIRTIO_F_RING_PACKED & 1;
}

/* ---- vhu/dispatch.c ---- */

/*
 * Handles the complete message in dev->msg. 0: done, the reply (if any) is sent; 1: answers are
 * pending; -errno: the connection has to end.
 */
int vhu_dispatch(struct vublk_dev *dev);

/* How many descriptors the complete message in dev->msg may have, as far as it says so itself. */
unsigned vhu_dispatch_fds(const struct vublk_dev *dev);

/* The second half, when pending came to 0: finish() and reply. 0, or -errno as above. */
int vhu_dispatch_finish(struct vublk_dev *dev);

/* ---- vhu/vring.c ---- */

/*
 * Starts or stops the ring if what it should do and what it does differ. 0 (maybe pending), or
 * -errno when it cannot be started; then its error descriptor is signalled.
 */
int vhu_vring_reconcile(struct vublk_dev *dev, struct vhu_vring *vring);

/*
 * Makes `mem` the session's memory, taking over the reference, and moves every ring that runs to
 * it. One that does not lie in it is stopped, and started again when there is memory that it lies
 * in. 0; -ENOMEM, and then nothing has changed.
 */
int vhu_vring_remap(struct vublk_dev *dev, struct vhu_mem *mem);

/*
 * Has every ring mark, or not mark any more, what it writes: to the device's log, if the features
 * or the ring's addresses say so. Answers may be pending.
 */
void vhu_vring_relog(struct vublk_dev *dev);

/*
 * Translations are gone, those of [first, last] maybe among them. Rings that lie there stop, until
 * they are known again; all others do without, which may leave answers pending.
 */
void vhu_vring_revoke(struct vublk_dev *dev, uint64_t first, uint64_t last,
		      const struct vhu_revoked *revoked);

/* Has the rings look again that wait for translations. Answers may be pending. */
void vhu_vring_tell_news(struct vublk_dev *dev);

/* Starts rings that are known by now; asks for the others. Are there none of these? */
bool vhu_vring_start_known(struct vublk_dev *dev);

/*
 * The back-end channel is another one: rings that call by messages call again, for what was said on
 * the old one may have been lost with it. Answers may be pending.
 */
void vhu_vring_call_again(struct vublk_dev *dev);

/* Asks every running ring to stop; see queue_stop about `drain`. */
void vhu_vring_stop_all(struct vublk_dev *dev, bool drain);

/* The session ends: what is held back until it can be drained is not waited for. */
void vhu_vring_let_go(struct vublk_dev *dev);

/* Makes every ring (all stopped) as it was before the session, but for what the session says. */
void vhu_vring_reset_all(struct vublk_dev *dev);

/* What was agreed upon about the ring; and the same as the virtqueue wants to have it. */
static inline const struct vhu_session_ring *vhu_vring_agreed(const struct vhu_vring *vring)
{
	return &vring->vq.dev->session->ring[vring->vq.index];
}
struct vq_layout vhu_vring_layout(const struct vublk_dev *dev, const struct vhu_session_ring *ring);

/*
 * Something happens to a ring. The state is the next one before anybody is asked, for the answer
 * may come at once. 0, or -errno if it is to start and cannot even be asked for.
 */
int vhu_vring_happen(struct vublk_dev *dev, struct vhu_vring *vring, enum ring_event event);

/*
 * Has a ring stop. What an earlier process has left in flight has to be done before a stop that
 * drains is acknowledged: while such a ring waits to begin, the stop waits with it.
 */
void vhu_vring_stop(struct vublk_dev *dev, struct vhu_vring *vring, bool drain);

/* Has the owner of the queue, worker or us, take over the update. Answers may be pending. */
void vhu_vring_apply(struct vublk_dev *dev, struct vhu_vring *vring, struct vublk_update update);

/* The same as vhu_vring_relog(), of one; one that is at rest finds its log when it starts. */
void vhu_vring_relog_one(struct vublk_dev *dev, struct vhu_vring *vring);

/* Does any ring run? */
bool vhu_vring_any_running(const struct vublk_dev *dev);

/* Does a worker have one, that is not about to stop? */
bool vhu_vring_any_served(const struct vublk_dev *dev);

/* Has the front-end truncated the file of a ring that was mapped once more (shared/view.h)? */
bool vhu_vring_any_lost(const struct vublk_dev *dev);

/* ---- vhu/vring_msg.c ---- */

/* Handlers, see vhu/dispatch.c; they return 0 or -errno and may leave answers pending. */
int vhu_vring_set_num(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_vring_set_addr(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_vring_set_base(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_vring_get_base(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_vring_get_base_skip_drain(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_vring_get_base_finish(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_vring_set_kick(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_vring_set_call(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_vring_set_err(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_vring_set_enable(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_vring_kick(struct vublk_dev *dev, struct vhu_msg *msg);

/* ---- vhu/inband.c ---- */

/* The ring's notifications by messages, ready to be raised; NULL: these were not agreed upon. */
struct vhu_inband *vhu_inband_of(struct vublk_dev *dev, struct vhu_vring *vring);

/* The ring is at rest: it has called, or does when it starts again. */
void vhu_inband_rest(struct vublk_dev *dev, struct vhu_vring *vring);

/* ---- vhu/transfer.c ---- */

/* Ends a transfer of the device's state that is under way; none has taken place. */
void vhu_transfer_forget(struct vublk_dev *dev);

int vhu_dev_set_device_state_fd(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_check_device_state(struct vublk_dev *dev, struct vhu_msg *msg);

/* ---- vhu/iommu.c ---- */

/* The translations, if addresses are to be translated (VIRTIO_F_ACCESS_PLATFORM); else NULL. */
struct vhu_iotlb *vhu_iommu_table(const struct vublk_dev *dev);

/* Can the front-end be asked for one? */
bool vhu_iommu_can_ask(const struct vublk_dev *dev);

/* These features are to be in force: makes a table, or forgets what is in it. 0 or -ENOMEM. */
int vhu_iommu_prepare(struct vublk_dev *dev, uint64_t features);

/*
 * A ring was stopped. With the last one all translations are forgotten: a front-end whose device is
 * stopped tells of no change (QEMU).
 */
void vhu_iommu_ring_stopped(struct vublk_dev *dev);

/* There is another channel. */
void vhu_iommu_new_channel(struct vublk_dev *dev);

/* Has the user call vublk_dev_attend() if there is a reason to. */
void vhu_iommu_say_due(struct vublk_dev *dev);

int vhu_iommu_msg(struct vublk_dev *dev, struct vhu_msg *msg);

/* ---- vhu/postcopy.c ---- */

/* None is under way. */
void vhu_postcopy_init(struct vhu_postcopy *postcopy);
void vhu_postcopy_forget(struct vublk_dev *dev);

/* The map that a region is added to or taken from: the device's, or the one held back. */
struct vhu_mem *vhu_postcopy_newest(const struct vublk_dev *dev);

/*
 * While it is listened: missing pages of this map are waited for, and it is held back until the
 * front-end knows where it lies. The reference is taken either way. 0 or -errno.
 */
int vhu_postcopy_hold(struct vublk_dev *dev, struct vhu_mem *mem);

/* Where we have the region, in place of its user address. */
void vhu_postcopy_tell(const struct vublk_dev *dev, struct vhu_region *region);

/* The session is about to end. If the front-end has gone, what it owes is not waited for. */
void vhu_postcopy_leave(struct vublk_dev *dev);

int vhu_postcopy_advise(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_postcopy_listen(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_postcopy_go_on(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_postcopy_end(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_postcopy_end_finish(struct vublk_dev *dev, struct vhu_msg *msg);

/* ---- vhu/keep.c ---- */

/*
 * The session's memory was another process's until now: all of its tickets are known, and what else
 * there is is not needed.
 */
void vhu_keep_go_on(struct vublk_dev *dev);

/* A session begins, on dev->sock, that is to be kept if that can be; NULL: it is not. */
void vhu_keep_begin(struct vublk_dev *dev, const struct vublk_keeper *keeper);

/*
 * Keeps a descriptor, which stays the caller's: its ticket, 0 where nothing is kept. If it cannot
 * be, the session is not any more.
 */
uint32_t vhu_keep_fd(struct vublk_dev *dev, int fd);

/* The session is not kept any more; `why` is logged. */
void vhu_keep_give_up(struct vublk_dev *dev, const char *why);

/*
 * A ring is about to start, which is so in the session: where that is kept there is a region for
 * it, and the next process knows of both before anything is fetched.
 */
void vhu_keep_track(struct vublk_dev *dev, unsigned index);

/* The front-end starts it: where its base says, whatever is in a region of ours. */
void vhu_keep_forget_ring(struct vublk_dev *dev, unsigned index);

/*
 * A message is done: its answer (or NULL), with msg->reply_fd, is sent, after all that the message
 * changed is kept. 0 or -errno.
 */
int vhu_keep_answer(struct vublk_dev *dev, const struct vhu_reply *reply);

/*
 * The half of that which comes when it is kept: sends the answer (or NULL), with a descriptor (-1:
 * none), and takes the message from the socket.
 */
int vhu_keep_say(struct vublk_dev *dev, const struct vhu_reply *reply, int fd);

/* The session is over, or parked: this process has nothing to do with it any more. */
void vhu_keep_end(struct vublk_dev *dev);

/* ---- vhu/memory.c ---- */

/* Takes over a new map; the reference is taken either way. Answers of rings may be pending. */
int vhu_dev_use_memory(struct vublk_dev *dev, struct vhu_mem *mem);

int vhu_dev_set_mem_table(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_get_max_mem_slots(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_add_mem_reg(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_rem_mem_reg(struct vublk_dev *dev, struct vhu_msg *msg);

/* ---- vhu/dev.c ---- */

/* The protocol features that are offered. */
uint64_t vhu_dev_protocol_features(const struct vublk_dev *dev);

/* Tells the front-end what it is to be told, if that can be now. */
void vhu_dev_say_due(struct vublk_dev *dev);

int vhu_dev_get_features(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_set_features(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_get_protocol_features(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_set_protocol_features(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_get_queue_num(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_get_config(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_set_config(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_get_status(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_set_status(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_set_backend_req_fd(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_get_inflight_fd(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_set_inflight_fd(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_set_log_base(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_set_log_base_finish(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_set_log_fd(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_reset(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_reset_finish(struct vublk_dev *dev, struct vhu_msg *msg);
int vhu_dev_ignore(struct vublk_dev *dev, struct vhu_msg *msg);

#endif
