/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user session over a socket pair: a device whose user (the ops) answers at once or when
 * the test says so, and a front-end that sends one message and has it served. For tests of
 * lib/vhu. Everything runs on one thread.
 */
#ifndef SESSION_H
#define SESSION_H

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include "lib/proto.h"
#include "lib/vublk.h"
#include "tests/frontend/fe_conn.h"
#include "tests/frontend/fe_dev.h"
#include "tests/frontend/fe_vq.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"

#define SESSION_QUEUES    4u
#define SESSION_OFFERED   0x2040ull /* device features, of ... */
#define SESSION_KNOWN     0x6040ull /* ... those known */
#define SESSION_FEATURES  (1ull << VIRTIO_F_VERSION_1 | 1ull << VHU_F_PROTOCOL_FEATURES)
#define SESSION_PROTOCOL  (FE_DEV_PROTOCOL | FE_DEV_PROTOCOL_INFLIGHT)
#define SESSION_RING_SIZE 16u
#define SESSION_MEMORY    0x100000u /* bytes, at guest address 0 */

enum session_question {
	SESSION_START,
	SESSION_STOP,
	SESSION_UPDATE,
};

extern struct session {
	struct vublk_dev *dev;
	const struct vublk_keeper *keeper; /* of the next session; NULL: none */
	struct fe_conn peer;
	struct fe_mem mem;
	struct fe_vq ring;

	/* The device's user. */
	bool later;           /* answers wait for session_answer() */
	bool attends;         /* vublk_dev_attend() is to be called */
	bool wait;            /* queues that are started wait for session_wait_over() */
	int start_err;        /* of every queue_start */
	bool later_announced; /* what is to be announced waits for vublk_dev_announce() */
	unsigned n_announced; /* so often was it asked for */
	int room_fd;          /* of await_room, last */
	int config_err;       /* of every set_config */
	uint32_t state;       /* of its own: what is saved, and was loaded */
	int state_err;        /* of every load_state */
	int watch_err;        /* of every watch_state with a descriptor */
	int watched;          /* the descriptor of which vublk_dev_state_input() wants to hear */
	char events[1024];    /* what it was asked, see session_check() */
	struct {
		enum session_question what;
		struct vublk_queue *queue;
		struct vublk_update *update;
	} asked[64];
	unsigned n_asked, n_answered;
	struct vublk_queue *queue[SESSION_QUEUES]; /* those that were started last */
	char refused[128];                         /* why a message was, as logged */
} session;

/* ---- the device's user ---- */

extern const struct vublk_ops session_ops;

/* Answers the oldest question, having done as a worker does. */
void session_answer(int err);

/* A queue that waits begins, or fails. */
void session_wait_over(unsigned index, int err);

/* Is this what the user was asked since the last time? Names and values, each with a blank. */
#define session_check(expected) session_check_at(expected, __LINE__)

void session_check_at(const char *expected, unsigned line);

/* ---- the front-end ---- */

/* Sends a message and has the device read it: the answer of vublk_dev_input(). */
int session_send(uint32_t request, uint32_t flags, const void *payload, uint32_t size,
		 const int *fds, unsigned n_fds);

/* Has the device sent nothing, and not closed the connection? */
bool session_is_quiet(void);

/* The acknowledgement that must be there: 0, or 1 for a refusal. */
int session_take_ack(uint32_t request);

/* A message that is served at once and acknowledged: 0, or 1 when it is refused. */
int session_tell(uint32_t request, const void *payload, uint32_t size, const int *fds,
		 unsigned n_fds);

int session_tell_u64(uint32_t request, uint64_t value);

int session_tell_state(uint32_t request, uint32_t index, uint32_t num);

/* SET_VRING_KICK and the like with a descriptor, or the no-fd bit when it is -1. */
int session_tell_fd(uint32_t request, unsigned index, int fd);

/* A message that has a reply of its own, served at once. */
struct fe_msg session_ask(uint32_t request, const void *payload, uint32_t size);

uint64_t session_ask_u64(uint32_t request);

/* GET_VRING_BASE, or its variant. */
uint32_t session_ask_base_by(uint32_t request, uint32_t index);

uint32_t session_ask_base(uint32_t index);

/* ---- life ---- */

void session_connect(void);

/* Makes a device and connects to it; nothing is negotiated. */
void session_open_raw(void);

void session_negotiate(uint64_t protocol);

void session_open(void);

/* Ends the connection, answers what is outstanding, and destroys the device. */
void session_close(void);

/* What RESET_DEVICE makes of what was agreed upon. */
struct vhu_session;
void session_forget_driver(struct vhu_session *agreed);

/* ---- memory and a ring ---- */

/* Makes guest memory with a ring in it; the device does not know it yet. */
void session_make_memory(void);

/* SET_MEM_TABLE with all regions. */
int session_tell_table(void);

/* SET_VRING_ADDR of the ring, moved by so many bytes. */
int session_tell_addr_off(unsigned index, uint64_t off);

int session_tell_addr(unsigned index);

/* All that queue `index` needs but a kick descriptor and being enabled. */
void session_prepare(unsigned index);

/* A session with memory and queue 0 prepared. */
void session_open_prepared(void);

/* A session in which queue 0 runs. */
void session_open_running(void);

/* The suites of a program about the device, with its cases of each stage; for main(). */
#define SESSION_DEV_PREPARED(cases_) \
	{ \
		.name = "dev prepared", .setup = session_open_prepared, .teardown = session_close, \
		.cases = cases_ \
	}
#define SESSION_DEV_RUNNING(cases_) \
	{ \
		.name = "dev running", .setup = session_open_running, .teardown = session_close, \
		.cases = cases_ \
	}
#define SESSION_DEV_SUITES(create_, session_, prepared_, running_) \
	{.name = "dev create", .cases = create_}, \
		{.name = "dev", \
		 .setup = session_open, \
		 .teardown = session_close, \
		 .cases = session_}, \
		SESSION_DEV_PREPARED(prepared_), SESSION_DEV_RUNNING(running_)

#endif
