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

#include "base/log.h"
#include "config/disk_options.h"
#include "daemon/daemon.h"
#include "disk/disk_config.h"

enum options_action {
	OPTIONS_SERVE,
	OPTIONS_CHECK, /* say what is wrong, and no more */
	OPTIONS_HELP,
	OPTIONS_VERSION,
	OPTIONS_CAPABILITIES
};

/* Strings point into argv. */
struct options {
	enum options_action action;
	bool has_disk; /* there is one on the command line */
	struct disk_config disk;
	const char *disk_text[DISK_OPTIONS_MAX]; /* what was given for it; see disk_options.h */
	/* One worker, POLL_AUTO and a stop_timeout of 5 if not given. */
	struct daemon_config daemon;
	bool check_config;
	bool supervise;
	int supervise_place; /* where in argv that stands, if it does */
	enum log_level log_level;
};

/*
 * Fills *options from argv. 0, or -EINVAL with one clear line in `error` (what was wrong, what
 * was expected) for an unknown, abbreviated, doubled, malformed or contradictory option, for an
 * argument that is none, for a missing --blk-file (which --engine=null with --size replaces;
 * with --config-dir there need be no disk at all).
 * Neither listener.path nor listener.fd may be given: then the socket must come from systemd.
 * --print-capabilities (anywhere before "--") wins over everything else, errors included; then
 * --help, then --version; the other fields then have their defaults.
 */
int options_parse(struct options *options, int argc, char *const *argv, char *error, size_t size);

/* The text of --help, from the table that the parser uses. */
void options_print_help(void);

#endif
