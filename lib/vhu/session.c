/* SPDX-License-Identifier: BSD-3-Clause */
/* See vhu/session.h: the only file that writes a session. Control thread. */
#include "vhu/session.h"

#include <stdlib.h>
#include <string.h>

struct vhu_session_store {
	struct vhu_session session;
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

/* ---- from its begin to its end ---- */

void vhu_session_begin(struct vhu_session_store *store)
{
	memset(&store->session, 0, sizeof(store->session));
	store->session.version = VHU_SESSION_VERSION;
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
	session->has_inflight = session->inflight_packed = 0;
	memset(&session->inflight, 0, sizeof(session->inflight));
	memset(session->ring, 0, sizeof(session->ring));
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
			      bool packed)
{
	struct vhu_session *session = &store->session;

	session->has_inflight = 1;
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
			     unsigned n)
{
	struct vhu_session *session = &store->session;

	session->has_memory = 1;
	session->n_regions = 0;
	memset(session->region, 0, sizeof(session->region));
	for (unsigned i = 0; i < n; i++)
		vhu_session_add_region(store, &region[i]);
}

void vhu_session_add_region(struct vhu_session_store *store, const struct vhu_region *region)
{
	struct vhu_session *session = &store->session;
	unsigned at = session->n_regions;

	session->has_memory = 1;
	while (at && session->region[at - 1].guest_addr > region->guest_addr)
		at--;
	memmove(&session->region[at + 1], &session->region[at],
		(session->n_regions - at) * sizeof(*region));
	session->region[at] = *region;
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
