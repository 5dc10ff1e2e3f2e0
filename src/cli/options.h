/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command line, parsed and checked; what `--help` says stands here too. Knows nothing of
 * the host: whether a thing asked for can be had is for others to find out. Control thread, once.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "image/image.h"
#include "io/engine.h"

#define OPTIONS_MAX_WORKERS 64

enum options_action {
	OPTIONS_SERVE,
	OPTIONS_HELP,
	OPTIONS_VERSION,
	OPTIONS_CAPABILITIES
};

/* Strings point into argv. */
struct options {
	enum options_action action;
	const char *socket_path;  /* NULL if not given; it fits into sun_path */
	int fd;                   /* --fd, -1 if not given */
	mode_t socket_mode;       /* permission bits; default 0600 */
	const char *socket_group; /* name or number, NULL: leave it */
	struct image_options image;
	const struct engine_class *engine;
	bool engine_given; /* asked for by name: then no other one will do */
	struct engine_options engine_options;
	unsigned num_queues;          /* 1 to 256, default 256 */
	unsigned seg_max;             /* 1 to BLK_SEG_MAX_MOST, default BLK_SEG_MAX */
	unsigned num_workers;         /* 1 to OPTIONS_MAX_WORKERS, default 1 */
	int cpu[OPTIONS_MAX_WORKERS]; /* the first n_cpus: --cpu-affinity, in the order given */
	unsigned n_cpus;
	int64_t poll_ns;       /* see poll_policy_init(); default POLL_AUTO */
	const char *name;      /* for messages, printable; NULL: the image's path */
	const char *serial;    /* at most 20 bytes, printable ASCII; "" by default */
	bool lock;             /* default true, --no-lock */
	unsigned lock_timeout; /* seconds, default 30; 0: do not wait */
	unsigned stop_timeout; /* seconds, default 5; 0: do not wait */
	enum log_level log_level;
};

/*
 * Fills *options from argv. 0, or -EINVAL with one clear line in `error` (what was wrong, what
 * was expected) for an unknown, abbreviated, doubled, malformed or contradictory option, for an
 * argument that is none, for a missing --blk-file (which --engine=null with --size replaces).
 * Neither socket_path nor fd may be given: then the socket must come from systemd.
 * --print-capabilities (anywhere before "--") wins over everything else, errors included; then
 * --help, then --version; the other fields then have their defaults.
 */
int options_parse(struct options *options, int argc, char *const *argv, char *error, size_t size);

/* The text of --help, from the table that the parser uses. */
void options_print_help(void);

#endif
