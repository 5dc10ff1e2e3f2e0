/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The states of a ring, and what each event does to it: one table, without side effects. What an
 * action is, vhu/vring.c knows. Control thread.
 *
 * A ring is to run when the front-end has started it (SET_VRING_KICK) and enabled it. "Asked" is
 * the library's user (vublk_ops), who answers with vublk_queue_done().
 *
 *	                wanted          asked, done
 *	  STOPPED ----------------> STARTING ------> RUNNING <--> UPDATING
 *	   ^  ^   (FAILED: error)    |    ^             |  new memory, descriptors
 *	   |  |          put off     v    | ready       |
 *	   |  '---------------- WAITING --'             | drain, abandon
 *	   |     cancel          |   ^                  |
 *	   |          drain, but |   | let go           |
 *	   |       something was v   |                  |
 *	   |       left       HELD --'                  |
 *	   |                   | ready       done       v
 *	   |                   '-> STOP_NEXT -----> DRAINING
 *	   '------------------------ done ------------'
 *
 * A ring whose memory is taken away drains, too (UNMAPPING), and is UNMAPPED until there is memory
 * that it lies in: then it goes on by itself. So does one whose addresses are those of an IOMMU,
 * when they are not translated any more, or not yet.
 */
#ifndef VHU_RING_STATE_H
#define VHU_RING_STATE_H

#include <stdbool.h>

enum ring_state {
	RING_STOPPED,  /* no worker has it; everything may change */
	RING_FAILED,   /* the same: it could not begin, and is not tried before something changes */
	RING_UNMAPPED, /* the same: its memory is gone, or not known yet */
	RING_WAITING,  /* asked to start, and put off: nobody has it, and it may be cancelled */
	RING_HELD,     /* the same, but to be drained once it has begun; counted in `pending` */
	RING_STARTING, /* asked to start */
	RING_STOP_NEXT, /* the same, and to be drained then */
	RING_RUNNING,   /* a worker has it */
	RING_UPDATING,  /* the same, asked to take over a change */
	RING_DRAINING,  /* asked to stop */
	RING_UNMAPPING, /* the same, since its memory is gone */
	RING_STATES
};

enum ring_event {
	RING_WANTED,     /* it is to run */
	RING_DRAIN,      /* it is to stop, with all done that it has */
	RING_DRAIN_LEFT, /* the same, and an earlier process has left something in flight */
	RING_ABANDON,    /* it is to stop; what is not done stays in flight */
	RING_CHANGED,    /* something that may have been why it could not begin */
	RING_PLACED,     /* it has new addresses, or is the front-end's again */
	RING_UNMAP,      /* it does not lie in the memory there is, or that is not known yet */
	RING_REMAP,      /* there is new memory, and it does */
	RING_UPDATE,     /* it has another descriptor */
	RING_PUT_OFF,    /* the user cannot start it yet */
	RING_READY,      /* now he can */
	RING_LET_GO,     /* who waits for its end waits no longer */
	RING_UNABLE,     /* it could not even be asked for */
	RING_DONE,       /* the user has answered: done */
	RING_ERROR,      /* ... with an error */
	RING_EVENTS
};

enum ring_action {
	RING_IGNORE,      /* nothing happens, and the state stays */
	RING_MOVE,        /* nothing but the new state */
	RING_ASK_START,   /* set it up, ask the user; may be RING_UNABLE */
	RING_ASK_DRAIN,   /* ask the user to stop it ... */
	RING_ASK_ABANDON, /* ... without draining */
	RING_ASK_UPDATE,  /* ask the user to take over the change */
	RING_CANCEL,      /* tell the user that it is not to start */
	RING_HOLD,        /* one more is pending ... */
	RING_UNHOLD,      /* ... one less */
	RING_TELL,        /* it cannot run: signal the error descriptor */
	RING_TELL_REST,   /* the same, and put it to rest */
	RING_REST,        /* put it to rest */
};

struct ring_step {
	enum ring_action action;
	enum ring_state next;
};

/* What the event does to a ring in this state. */
struct ring_step ring_step(enum ring_state state, enum ring_event event);

/* Has no worker the ring, nor will one get it, so that everything about it may change? */
static inline bool ring_is_stopped(enum ring_state state)
{
	return state <= RING_UNMAPPED;
}

#endif
