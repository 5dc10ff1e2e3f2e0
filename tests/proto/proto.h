/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the protocol tests share: one daemon, one device and one set of requests, made before each
 * case and ended, with a look at how the daemon ended, after it. A suite that uses it has
 * .setup = proto_setup, .teardown = proto_teardown. Everything here REQUIREs its success.
 *
 * The cases of PROTO_SUITES() run twice, with split and with packed rings.
 */
#ifndef PROTO_H
#define PROTO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/frontend/fe_blk.h"
#include "tests/frontend/fe_daemon.h"
#include "tests/frontend/fe_dev.h"
#include "tests/frontend/fe_image.h"
#include "tests/frontend/fe_time.h"
#include "tests/tap.h"

#define KIB 1024ull
#define MIB (1024 * KIB)

#define SLOT_SIZE (1024 * 1024) /* of the slots in `blk`, bytes */

extern char dir[256];           /* this case's, removed by tap */
extern struct fe_daemon server; /* serving server.image once serve() was called */
extern struct fe_dev dev;
extern struct fe_blk blk; /* on dev's queue 0 */

void proto_setup(void);

/* The same where all devices that proto_attach() and proto_greet() make have packed rings. */
void proto_setup_packed(void);
extern bool proto_packed;

/* The suite `suite_name`, and the same on packed rings. More suites, and {0}, may follow. */
#define PROTO_SUITES(suite_name, suite_cases) \
	{.name = suite_name, \
	 .setup = proto_setup, \
	 .teardown = proto_teardown, \
	 .cases = suite_cases}, \
	{ \
		.name = "packed: " suite_name, .setup = proto_setup_packed, \
		.teardown = proto_teardown, .cases = suite_cases \
	}

/*
 * Ends the case: closes the device, and if the daemon was started and not stopped by the case,
 * checks that it is alive and ends with status 0 on SIGTERM. Shows its log if the case failed.
 */
void proto_teardown(void);

/* Starts the daemon on a new image of `size` bytes, with these options. */
void proto_serve(uint64_t size, const char *const options[]);
#define serve(size, ...) proto_serve(size, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* Starts the daemon on the image as it is. */
void proto_serve_again(const char *const options[]);
#define serve_again(...) proto_serve_again((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* Starts `dev` on the daemon, with the options' fields given, and `blk` on queue 0. */
void proto_attach(const struct fe_dev_options *options);
#define attach(...) proto_attach(&(struct fe_dev_options){__VA_ARGS__})

/* attach() up to, but not including, the memory table. */
void proto_greet(const struct fe_dev_options *options);
#define greet(...) proto_greet(&(struct fe_dev_options){__VA_ARGS__})

/* Closes `blk` and `dev`. */
void detach(void);

/*
 * Takes the call of `blk`'s queue away, and the one that may be on its way for completions that
 * were seen before they were announced: a request without a call follows them, and the back-end
 * announces what it has done before it takes the next request. Nothing may be in flight. The queue
 * is silent afterwards.
 */
void proto_settle_calls(void);

/*
 * A new front-end: hangs up `dev` and connects afresh, writes and reads back, and looks at the
 * image itself. Ends with `dev` detached.
 */
void check_serves(void);

/* Writes and reads back a pattern at `sector` through `b`, and looks at the image. */
void check_round_trip(struct fe_blk *b, uint64_t sector, uint32_t len);

/*
 * A write on each free slot of `blk`, with the pattern of this seed, the i-th to SLOT_SIZE * i.
 * Kicked, and not waited for.
 */
void write_all_slots(uint64_t seed);

/* After greet(): memory of one region, shared, and the rings, of which none is started. */
void make_rings(uint64_t mem_size);

/* One region more in `dev`, which the device is still to be told of. Returns its number. */
unsigned int add_region(uint64_t gpa, uint64_t size, uint64_t mmap_offset);

/* Reads and writes with data in that region must work. */
void check_region(unsigned int region);

/* Does the daemon, asked to run with these arguments, exit by itself; with which status? */
int proto_run(const char *const args[]);
#define run(...) proto_run((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* The daemon has so many fds open, or will in a moment: it may close some after its answer. */
void check_fds(int expected);

/* Is what the daemon has said on stderr one line, apart from warnings that came before? */
bool one_clear_line(const char *err);

/* How often has the daemon logged this? */
unsigned int n_logged(const char *text);

/* Has any process, a dead one included, a lock on these bytes of the file? `size` 0: to its end. */
bool is_locked(const char *path, off_t from, off_t size);

/* fe_loop_make(), or the case is skipped. The descriptor may stay open to the case's end. */
int need_loop(const char *file, uint32_t block_size, uint32_t flags, char *path, size_t size);

/* "--name=value" in memory of the case. */
const char *option(const char *name, const char *value);

/*
 * From the environment: a seed, which is printed, or else the time; a number above 0, or else
 * `otherwise`.
 */
uint64_t seed_from(const char *name);
unsigned int number_from(const char *name, unsigned int otherwise);

/* For cases that need our daemon: skips under VUBLKD_PEER=qsd. */
void needs_vublkd(void);

/* For cases about what only io_uring does: skips in the variants without it. */
void needs_io_uring(void);

/* For cases about what only split rings have: skips on packed ones, saying why. */
void needs_split(const char *why);

#endif
