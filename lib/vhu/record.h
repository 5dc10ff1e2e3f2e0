/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process leaves to the one that comes after it: the session, and how far it is with a
 * message. It lies in memory that outlives the process (struct vublk_keeper). Control thread.
 *
 * Theory of operation. There are two copies of the session, and one word that says which of them
 * holds, and whether a message that led to it is still to be finished. A change is written to the
 * other copy, and the word is stored: whoever is killed leaves the one or the other. A message is
 * taken from the socket when all else is done, so that it is there for the next process until then:
 *
 *	peek	act	commit		answer		consume
 *		        IDLE -> ACTED			-> IDLE
 *
 *	before the commit	The message is there, and nothing of it has happened: it is done
 *				again, with the session as it was. What was done already (a ring
 *				that was stopped, a region that was made) does not show.
 *	-> answer		The answer, if there is one, is in the copy. Whether it was sent
 *				is in `say`, where the kernel itself writes how much it has sent
 *				(sendmmsg(2)) before it returns, be it to nobody: nobody is
 *				killed between the one and the other.
 *	-> consume		How much of the message is still there the socket itself knows
 *				(SO_PEEK_OFF): its offset goes back with each byte that is taken.
 *
 * So there is no moment after which it is not known what has been done.
 *
 * A ring that a message starts is committed before it fetches anything (still IDLE): done again,
 * the message finds a ring that runs.
 *
 * Nobody but us has that memory; yet it may be another version's, or be damaged: whoever takes it
 * over checks it, and copies the session before it is used. A version appends to the session, which
 * is the last of a copy, whose place has room for that, and says how much it has written: what an
 * older one did not is 0, and what a newer one appended may be overlooked. What may not makes
 * another VHU_RECORD_VERSION.
 */
#ifndef VHU_RECORD_H
#define VHU_RECORD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "vhu/msg.h"
#include "vhu/session.h"

#define VHU_RECORD_MAGIC   "vublkses" /* 8 bytes */
#define VHU_RECORD_VERSION 1u

enum vhu_phase {
	VHU_PHASE_IDLE,
	VHU_PHASE_ACTED,
	VHU_PHASES
};

#define VHU_RECORD_ROOM ((size_t)64 << 10) /* bytes of each copy's place */

struct vhu_record_copy {
	uint32_t size;   /* bytes of it that were written */
	uint32_t device; /* the device type's state (vublk_ops) */
	uint32_t reply_ticket;
	uint32_t reply_size; /* bytes; 0: there is no answer */
	uint8_t reply[VHU_REPLY_MAX];
	struct vhu_session session; /* the last */
};

struct vhu_record {
	char magic[8];
	uint32_t version;
	_Atomic uint32_t state; /* number of the copy that holds | phase << 8 */
	struct mmsghdr say;     /* .msg_len: bytes of the answer that were sent */
	union {
		_Alignas(64) struct vhu_record_copy copy;
		uint8_t room[VHU_RECORD_ROOM];
	} place[2];
};
static_assert(sizeof(struct vhu_record_copy) <= VHU_RECORD_ROOM, "it has its place");
static_assert(offsetof(struct vhu_record, place) == 128, "where other versions look for it");

/* Makes an empty one of memory that is all 0: nothing was committed. */
void vhu_record_begin(struct vhu_record *record);

/* Is nothing written there yet? Then nothing was agreed upon either. */
bool vhu_record_is_empty(const struct vhu_record *record);

/* Nothing that could be taken over any more. */
void vhu_record_end(struct vhu_record *record);

/*
 * The session is this from now on, whose rings from n_rings on are not in use. VHU_PHASE_ACTED: a
 * message led to it that has this answer (or NULL), with a descriptor of that ticket (0: none);
 * VHU_PHASE_IDLE: the message is not done yet, and the next process does it again.
 */
void vhu_record_commit(struct vhu_record *record, const struct vhu_session *session,
		       unsigned n_rings, uint32_t device, const struct vhu_reply *reply,
		       uint32_t reply_ticket, enum vhu_phase phase);

/* The message is finished. */
void vhu_record_finish(struct vhu_record *record);

/*
 * What is wrong with one that another process left, in words; NULL: nothing, and
 * *copy is filled in, *phase is how far that process was. The copy has yet to be judged by who
 * knows the device.
 */
const char *vhu_record_read(const struct vhu_record *record, struct vhu_record_copy *copy,
			    enum vhu_phase *phase);

#endif
