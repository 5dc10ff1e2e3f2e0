/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was agreed upon with the front-end, all of it: one plain, versioned struct, in which nothing
 * points anywhere. Control thread.
 *
 * Whoever has it and the descriptors that came with the messages (the connection, memory, the
 * in-flight region, the log of dirty pages, three a ring) can go on with the session. So what
 * follows from these is not in it (maps, where a ring lies in them, which state it is in), nor what
 * one process is at (answers that are pending, a ring's position while it runs, a transfer of the
 * device's state). Where the session is kept for another process (vhu/keep.c) each descriptor has a
 * ticket, by which that one gets it; else all tickets are 0.
 *
 * It is written by the setters below and by nobody else: they take the store, of which others know
 * nothing, and who has a vhu_session has it to read. A setter checks nothing, allocates nothing and
 * cannot fail: a handler calls it when nothing else can fail any more, so that a message that is
 * refused leaves the session as it was. What a ring did about it is another matter: one that was
 * started, and cannot run, is started all the same.
 *
 * Equal agreements are equal bytes: what is not in use is 0, and regions are in one order.
 */
#ifndef VHU_SESSION_H
#define VHU_SESSION_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto.h"
#include "shared/mem.h"

#define VHU_SESSION_VERSION 4 /* 0: there is no session */

/* Descriptors of a ring: SET_VRING_KICK, _CALL, _ERR. */
enum vhu_ring_fd {
	VHU_RING_KICK_FD,
	VHU_RING_CALL_FD,
	VHU_RING_ERR_FD,
	VHU_RING_FDS
};

struct vhu_session_ring {
	uint64_t desc, avail, used; /* user addresses, or guest-physical (GPA_ADDRESSES) */
	uint32_t size;              /* entries; 0: not known yet */
	uint32_t base;              /* as in SET_VRING_BASE, or where it has stopped since */
	/* Each is 0 or 1. */
	uint8_t addr_set;
	uint8_t started; /* SET_VRING_KICK came, or VRING_KICK, and GET_VRING_BASE did not */
	uint8_t enabled;
	uint8_t told;     /* GET_VRING_BASE was answered in this session */
	uint8_t logged;   /* what is written to it marks its pages (VHOST_VRING_F_LOG) */
	uint8_t inband;   /* VRING_KICK started it, and SET_VRING_KICK has not come since */
	uint8_t no_calls; /* SET_VRING_CALL said that the front-end polls */
	uint8_t padding[1];
	uint32_t ticket[VHU_RING_FDS];
	uint8_t padding2[4];
};
static_assert(sizeof(struct vhu_session_ring) == 56, "nothing between its fields");

/* Descriptors that a session has once. */
enum vhu_session_fd {
	VHU_FD_CONNECTION,
	VHU_FD_CHANNEL, /* SET_BACKEND_REQ_FD */
	VHU_FD_INFLIGHT,
	VHU_FD_LOG,        /* SET_LOG_BASE */
	VHU_FD_LOG_SIGNAL, /* SET_LOG_FD */
	VHU_SESSION_FDS
};

struct vhu_session {
	uint32_t version;
	uint32_t n_regions;
	uint64_t features, protocol_features;
	uint8_t status;
	/* Each is 0 or 1. */
	uint8_t has_memory;      /* memory was shared, if only a table without regions */
	uint8_t has_inflight;    /* nothing is tracked without */
	uint8_t inflight_packed; /* it is for packed rings, whatever the features are now */
	uint8_t has_log;         /* of dirty pages */
	uint8_t own_inflight;    /* ... of ours, as the front-end has none; see vhu/keep.c */
	uint8_t padding[2];
	struct vhu_inflight_desc inflight;
	struct vhu_log log;
	uint32_t ticket[VHU_SESSION_FDS];
	uint8_t padding2[4];
	/* In order of guest addresses, as the map has them. */
	struct vhu_region region[VHU_MEM_MAX_SLOTS];
	uint32_t region_ticket[VHU_MEM_MAX_SLOTS];
	struct vhu_session_ring ring[VHU_MAX_QUEUES];
};
static_assert(offsetof(struct vhu_session, version) == 0, "it says what the rest is");
static_assert(offsetof(struct vhu_session, inflight) == 32, "nothing between its fields");
static_assert(offsetof(struct vhu_session, region) == 96, "nothing between its fields");
static_assert(sizeof(struct vhu_session) == 96 + 512 * 36 + 256 * 56, "change its version, too");

/* Where a session is kept. */
struct vhu_session_store;

/* Room for a session, of which there is none yet; NULL without memory. */
struct vhu_session_store *vhu_session_store_new(void);
void vhu_session_store_free(struct vhu_session_store *store); /* NULL is allowed */

/* The session, to be read; as long as the store is there. */
const struct vhu_session *vhu_session_of(const struct vhu_session_store *store);

/* A front-end has connected: nothing is agreed upon yet. */
void vhu_session_begin(struct vhu_session_store *store);

/* It is another process's session, which goes on: this one, whose content has been checked. */
void vhu_session_go_on(struct vhu_session_store *store, const struct vhu_session *session);

/* Copies what is in use of a session whose rings from n_rings on are not. */
void vhu_session_copy(struct vhu_session *to, const struct vhu_session *from, unsigned n_rings);

/* Have tickets changed since this was asked last? */
bool vhu_session_tickets_changed(struct vhu_session_store *store);

/* All tickets of the session, each as often as it is there; how many. */
#define VHU_SESSION_TICKETS (VHU_SESSION_FDS + VHU_MEM_MAX_SLOTS + VHU_MAX_QUEUES * VHU_RING_FDS)
unsigned vhu_session_tickets(const struct vhu_session *session,
			     uint32_t ticket[VHU_SESSION_TICKETS]);

/* Its session is over: there is none. */
void vhu_session_end(struct vhu_session_store *store);

/*
 * RESET_DEVICE: memory, its log and protocol features are the session's, all else was the driver's.
 */
void vhu_session_reset(struct vhu_session_store *store);

void vhu_session_set_features(struct vhu_session_store *store, uint64_t features);
void vhu_session_set_protocol_features(struct vhu_session_store *store, uint64_t features);
void vhu_session_set_status(struct vhu_session_store *store, uint8_t status);

void vhu_session_set_ticket(struct vhu_session_store *store, enum vhu_session_fd fd,
			    uint32_t ticket);

/*
 * The regions of a map that was made of them (shared/mem.h), which has refused what overlaps and
 * what is one too many; one more; one less, known by its guest address.
 */
void vhu_session_set_regions(struct vhu_session_store *store, const struct vhu_region *region,
			     const uint32_t *ticket, unsigned n);
void vhu_session_add_region(struct vhu_session_store *store, const struct vhu_region *region,
			    uint32_t ticket);
void vhu_session_remove_region(struct vhu_session_store *store, uint64_t guest_addr);

/* The in-flight region that was handed in, or is our `own`, which is for rings of this kind. */
void vhu_session_set_inflight(struct vhu_session_store *store, const struct vhu_inflight_desc *desc,
			      bool packed, bool own);

/* The log of dirty pages that was handed in. */
void vhu_session_set_log(struct vhu_session_store *store, const struct vhu_log *log);

/* Of ring `index`, which is below VHU_MAX_QUEUES. */
void vhu_session_set_ring_size(struct vhu_session_store *store, unsigned index, uint32_t size);
void vhu_session_set_ring_addr(struct vhu_session_store *store, unsigned index, uint64_t desc,
			       uint64_t avail, uint64_t used);
void vhu_session_set_ring_logged(struct vhu_session_store *store, unsigned index, bool logged);
void vhu_session_set_ring_base(struct vhu_session_store *store, unsigned index, uint32_t base);
void vhu_session_set_ring_started(struct vhu_session_store *store, unsigned index, bool started);
void vhu_session_set_ring_enabled(struct vhu_session_store *store, unsigned index, bool enabled);
void vhu_session_set_ring_told(struct vhu_session_store *store, unsigned index);
void vhu_session_set_ring_inband(struct vhu_session_store *store, unsigned index, bool inband);
void vhu_session_set_ring_no_calls(struct vhu_session_store *store, unsigned index, bool no_calls);
void vhu_session_set_ring_ticket(struct vhu_session_store *store, unsigned index,
				 enum vhu_ring_fd fd, uint32_t ticket);

#endif
