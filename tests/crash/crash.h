/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the crash tests share: a front-end that keeps its queues full of stamped reads and writes
 * while the daemon under it is killed and started again, and that knows at any time which requests
 * are in flight and what each block of the disk must hold.
 *
 * It stands on tests/proto/proto.h: `server` and `dev` are the daemon and the device, and suites
 * use proto_setup() and proto_teardown(). With several disks `dev`, `inflight` and `shadow` are the
 * first one's; all functions are about all disks. Everything here REQUIREs its success. A request
 * that completes twice (a used entry for an idle head or id), not within COMPLETE_MS, with a wrong
 * status, length or content ends the case.
 */
#ifndef CRASH_H
#define CRASH_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/frontend/fe_inflight.h"
#include "tests/frontend/fe_keeper.h"
#include "tests/frontend/fe_shadow.h"
#include "tests/proto/proto.h"

#define CRASH_DISKS  4
#define CRASH_QUEUES 4
#define CRASH_DEPTH  256
#define COMPLETE_MS  15000

struct crash_config {
	bool packed, indirect, event_idx, inband;
	unsigned int n_disks; /* of the daemon, at most CRASH_DISKS; 0: 1 */
	bool mixed;           /* every other disk has rings of the other kind */
	unsigned int n_queues, queue_size;
	unsigned int depth;         /* of each queue, at most CRASH_DEPTH */
	unsigned int inflight_size; /* queue_size of the region; 0: that of the rings */
	uint32_t payload;           /* of the region's messages, bytes; 0: QEMU's */
	uint32_t block_size;        /* of the model; 0: 4096 */
	uint32_t max_bytes;         /* of a request; 0: 16 KiB */
	uint64_t disk_size;         /* 0: 32 MiB */
	const char *const *options; /* of the daemon, NULL at the end; may be NULL */
	bool no_flushes;
	bool no_region; /* the front-end has no in-flight region: only with `kept` */
	/*
	 * The daemon is started by somebody who keeps its sessions (tests/frontend/fe_keeper.h),
	 * and starts it again when it is killed: the front-end's connection must not end. `server`
	 * has no process then.
	 */
	bool kept;
	const char *kill; /* of that: where the first one dies, see VQ_KILL_POINT; may be NULL */
};

extern struct fe_keeper keeper;

extern struct fe_inflight inflight;
extern struct fe_shadow shadow;
extern uint64_t crash_rng;
extern uint64_t crash_done; /* requests completed in this case */
extern unsigned int crash_in_flight;
uint64_t crash_disk_done(unsigned int disk); /* the same of one disk of this session */

/* Skips the case unless VUBLKD is a build with --enable-kill-points. */
void crash_needs_kill_points(void);

/* Random numbers from here on; FE_CRASH_SEED or the time, and printed. */
void crash_seed(void);
uint64_t crash_random(uint64_t below);

/* New images of zeros, a daemon, and a session on each disk, whose queues are empty. */
void crash_begin(const struct crash_config *config);

/* Puts requests on the queues as far as their depth allows, whether or not anybody serves them. */
void crash_fill(void);

/* Takes what has come back, checks it; how many. */
unsigned int crash_reap(void);

/* Keeps the queues full for so long. The daemon is alive. */
void crash_pump(unsigned int us);

/* Everything in flight completes. */
void crash_drain(void);

/* Ends the daemon, by SIGKILL, and starts it again; one that is kept is started again anyway. */
void crash_kill(void);
void crash_restart(void);

/* A daemon that is there anew: connects as QEMU would. */
void crash_reconnect(enum fe_base base);

/* All three: the daemon dies, and QEMU goes on with the next one. */
void crash_once(void);

/* Is the connection of each disk still there? With `kept`. */
void crash_check_connected(void);

/* Drains, stops the rings, looks at every block of the images, and forgets all but the daemon. */
void crash_end(void);

#endif
