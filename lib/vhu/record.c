/* SPDX-License-Identifier: BSD-3-Clause */
/* See vhu/record.h. Control thread. */
#include "vhu/record.h"

#include <string.h>

#include "vq/kill_point.h"

#define PHASE_SHIFT 8

static void store_state(struct vhu_record *record, uint32_t copy, enum vhu_phase phase)
{
	/* All that was stored before is there when this is. */
	atomic_store_explicit(&record->state, copy | (uint32_t)phase << PHASE_SHIFT,
			      memory_order_release);
}

static uint32_t current(const struct vhu_record *record)
{
	return atomic_load_explicit(&record->state, memory_order_relaxed) & 1;
}

void vhu_record_begin(struct vhu_record *record)
{
	record->version = VHU_RECORD_VERSION;
	store_state(record, 0, VHU_PHASE_IDLE);
}

bool vhu_record_is_empty(const struct vhu_record *record)
{
	static const char none[sizeof(record->magic)];

	return !memcmp(record->magic, none, sizeof(none));
}

void vhu_record_end(struct vhu_record *record)
{
	memset(record->magic, 0, sizeof(record->magic));
}

void vhu_record_commit(struct vhu_record *record, const struct vhu_session *session,
		       unsigned n_rings, uint32_t device, const struct vhu_reply *reply,
		       uint32_t reply_ticket, enum vhu_phase phase)
{
	const uint32_t next = !current(record);
	struct vhu_record_copy *copy = &record->place[next].copy;

	/* There is no answer before this one that is not sent. */
	record->say.msg_len = 0;
	copy->size = sizeof(*copy);
	copy->device = device;
	copy->reply_ticket = reply_ticket;
	copy->reply_size = reply ? (uint32_t)reply->size : 0;
	if (reply)
		memcpy(copy->reply, reply->bytes, reply->size);
	vhu_session_copy(&copy->session, session, n_rings);
	VQ_KILL_POINT("keep-written");
	store_state(record, next, phase);
	VQ_KILL_POINT("keep-committed");
	/* Without it this is nothing: the first commit makes it something. */
	memcpy(record->magic, VHU_RECORD_MAGIC, sizeof(record->magic));
}

void vhu_record_finish(struct vhu_record *record)
{
	store_state(record, current(record), VHU_PHASE_IDLE);
	VQ_KILL_POINT("keep-finished");
}

/* ---- another process's ---- */

const char *vhu_record_read(const struct vhu_record *record, struct vhu_record_copy *copy,
			    enum vhu_phase *phase)
{
	const uint32_t state = atomic_load_explicit(&record->state, memory_order_acquire);
	uint32_t size;

	if (memcmp(record->magic, VHU_RECORD_MAGIC, sizeof(record->magic)) != 0)
		return "it was not written down";
	if (record->version != VHU_RECORD_VERSION)
		return record->version > VHU_RECORD_VERSION
			       ? "it is of a later version of vublkd"
			       : "it is of an earlier version of vublkd";
	if ((state & ((1u << PHASE_SHIFT) - 1)) > 1 || state >> PHASE_SHIFT >= VHU_PHASES)
		return "it is damaged";
	size = record->place[state & 1].copy.size;
	if (size < offsetof(struct vhu_record_copy, session) || size > VHU_RECORD_ROOM)
		return "it is damaged";
	memset(copy, 0, sizeof(*copy));
	memcpy(copy, &record->place[state & 1], size < sizeof(*copy) ? size : sizeof(*copy));
	*phase = (enum vhu_phase)(state >> PHASE_SHIFT);
	if (!copy->session.version || copy->reply_size > sizeof(copy->reply) ||
	    copy->session.n_regions > VHU_MEM_MAX_SLOTS)
		return "it is damaged";
	return NULL;
}
