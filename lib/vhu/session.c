/* SPDX-License-Identifier: BSD-3-Clause */
/* See vhu/session.h: the only file that writes a session. Control thread. */
#include "vhu/session.h"

#include <stdlib.h>
#include <string.h>

struct vhu_session_store {
	struct vhu_session session;
	bool tickets_changed;
};

struct vhu_session_store *vhu_session_store_new(void)
{
	return calloc(1, sizeof(struct vhu_session_store));
}

void vhu_session_store_free(struct vhu_session_store *store)
{
	free(store);
}

const struct vhu_session *vhu_session_of(const struct vhu_session_store *store)
{
	return &store->session;
}

/* ---- tickets ---- */

static void set_ticket(struct vhu_session_store *store, uint32_t *at, uint32_t ticket)
{
	store->tickets_changed |= *at != ticket;
	*at = ticket;
}

bool vhu_session_tickets_changed(struct vhu_session_store *store)
{
	const bool changed = store->tickets_changed;

	store->tickets_changed = false;
	return changed;
}

static void collect(uint32_t *ticket, unsigned *n, const uint32_t *from, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (from[i])
			ticket[(*n)++] = from[i];
}

unsigned vhu_session_tickets(const struct vhu_session *session,
			     uint32_t ticket[VHU_SESSION_TICKETS])
{
	unsigned n = 0;

	collect(ticket, &n, session->ticket, VHU_SESSION_FDS);
	collect(ticket, &n, session->region_ticket, session->n_regions);
	for (unsigned i = 0; i < VHU_MAX_QUEUES; i++)
		collect(ticket, &n, session->ring[i].ticket, VHU_RING_FDS);
	return n;
}

void vhu_session_set_ticket(struct vhu_session_store *store, enum vhu_session_fd fd,
			    uint32_t ticket)
{
	set_ticket(store, &store->session.ticket[fd], ticket);
}

/* ---- from its begin to its end ---- */

void vhu_session_begin(struct vhu_session_store *store)
{
	memset(&store->session, 0, sizeof(store->session));
	store->session.version = VHU_SESSION_VERSION;
}

void vhu_session_go_on(struct vhu_session_store *store, const struct vhu_session *session)
{
	store->session = *session;
	store->tickets_changed = true;
}

void vhu_session_copy(struct vhu_session *to, const struct vhu_session *from, unsigned n_rings)
{
	/* The rest would only make memory present that nobody looks at. */
	memcpy(to, from, offsetof(struct vhu_session, region));
	memcpy(to->region, from->region, from->n_regions * sizeof(from->region[0]));
	memcpy(to->region_ticket, from->region_ticket,
	       from->n_regions * sizeof(from->region_ticket[0]));
	memcpy(to->ring, from->ring, n_rings * sizeof(from->ring[0]));
}

void vhu_session_end(struct vhu_session_store *store)
{
	memset(&store->session, 0, sizeof(store->session));
}

void vhu_session_reset(struct vhu_session_store *store)
{
	struct vhu_session *session = &store->session;

	session->features = 0;
	session->status = 0;
	session->has_inflight = session->inflight_packed = session->own_inflight = 0;
	memset(&session->inflight, 0, sizeof(session->inflight));
	session->ticket[VHU_FD_INFLIGHT] = 0;
	memset(session->ring, 0, sizeof(session->ring));
	store->tickets_changed = true;
}

/* ---- the device ---- */

void vhu_session_set_features(struct vhu_session_store *store, uint64_t features)
{
	store->session.features = features;
}

void vhu_session_set_protocol_features(struct vhu_session_store *store, uint64_t features)
{
	store->session.protocol_features = features;
}

void vhu_session_set_status(struct vhu_session_store *store, uint8_t status)
{
	store->session.status = status;
}

void vhu_session_set_inflight(struct vhu_session_store *store, const struct vhu_inflight_desc *desc,
			      bool packed, bool own)
{
	struct vhu_session *session = &store->session;

	session->has_inflight = !own;
	session->own_inflight = own;
	session->inflight_packed = packed;
	session->inflight = *desc;
	/* Whatever came there, if anything did: the text has no such field. */
	session->inflight.padding = 0;
}

void vhu_session_set_log(struct vhu_session_store *store, const struct vhu_log *log)
{
	store->session.has_log = 1;
	store->session.log = *log;
}

/* ---- memory ---- */

void vhu_session_set_regions(struct vhu_session_store *store, const struct vhu_region *region,
			     const uint32_t *ticket, unsigned n)
{
	struct vhu_session *session = &store->session;

	session->has_memory = 1;
	session->n_regions = 0;
	memset(session->region, 0, sizeof(session->region));
	memset(session->region_ticket, 0, sizeof(session->region_ticket));
	store->tickets_changed = true;
	for (unsigned i = 0; i < n; i++)
		vhu_session_add_region(store, &region[i], ticket[i]);
}

void vhu_session_add_region(struct vhu_session_store *store, const struct vhu_region *region,
			    uint32_t ticket)
{
	struct vhu_session *session = &store->session;
	unsigned at = session->n_regions;

	session->has_memory = 1;
	while (at && session->region[at - 1].guest_addr > region->guest_addr)
		at--;
	memmove(&session->region[at + 1], &session->region[at],
		(session->n_regions - at) * sizeof(*region));
	session->region[at] = *region;
	memmove(&session->region_ticket[at + 1], &session->region_ticket[at],
		(session->n_regions - at) * sizeof(ticket));
	session->region_ticket[at] = ticket;
	store->tickets_changed = true;
	session->n_regions++;
}

void vhu_session_remove_region(struct vhu_session_store *store, uint64_t guest_addr)
{
	struct vhu_session *session = &store->session;
	unsigned at = 0;

	while (at < session->n_regions && session->region[at].guest_addr != guest_addr)
		at++;
	if (at == session->n_regions)
		return;
	session->n_regions--;
	memmove(&session->region[at], &session->region[at + 1],
		(session->n_regions - at) * sizeof(session->region[0]));
	memset(&session->region[session->n_regions], 0, sizeof(session->region[0]));
	memmove(&session->region_ticket[at], &session->region_ticket[at + 1],
		(session->n_regions - at) * sizeof(session->region_ticket[0]));
	session->region_ticket[session->n_regions] = 0;
	store->tickets_changed = true;
}

/* ---- a ring ---- */

void vhu_session_set_ring_size(struct vhu_session_store *store, unsigned index, uint32_t size)
{
	store->session.ring[index].size = size;
}

void vhu_session_set_ring_addr(struct vhu_session_store *store, unsigned index, uint64_t desc,
			       uint64_t avail, uint64_t used)
{
	struct vhu_session_ring *ring = &store->session.ring[index];

	ring->desc = desc;
	ring->avail = avail;
	ring->used = used;
	ring->addr_set = 1;
}

void vhu_session_set_ring_logged(struct vhu_session_store *store, unsigned index, bool logged)
{
	store->session.ring[index].logged = logged;
}

void vhu_session_set_ring_base(struct vhu_session_store *store, unsigned index, uint32_t base)
{
	store->session.ring[index].base = base;
}

void vhu_session_set_ring_started(struct vhu_session_store *store, unsigned index, bool started)
{
	store->session.ring[index].started = started;
	/* What starts it the next time says how it is kicked then. */
	if (!started)
		store->session.ring[index].inband = 0;
}

void vhu_session_set_ring_enabled(struct vhu_session_store *store, unsigned index, bool enabled)
{
	store->session.ring[index].enabled = enabled;
}

void vhu_session_set_ring_told(struct vhu_session_store *store, unsigned index)
{
	store->session.ring[index].told = 1;
}

void vhu_session_set_ring_inband(struct vhu_session_store *store, unsigned index, bool inband)
{
	store->session.ring[index].inband = inband;
}

void vhu_session_set_ring_no_calls(struct vhu_session_store *store, unsigned index, bool no_calls)
{
	store->session.ring[index].no_calls = no_calls;
}

void vhu_session_set_ring_ticket(struct vhu_session_store *store, unsigned index,
				 enum vhu_ring_fd fd, uint32_t ticket)
{
	set_ticket(store, &store->session.ring[index].ticket[fd], ticket);
}
