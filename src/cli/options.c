/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See cli/options.h. One table has a row per option (config/option_table.h), and
 * tests/cli/test-help-man.sh holds the man page against it. Those of a disk are in
 * config/disk_options.c.
 *
 * Two passes: the first only looks for the options that are answered at once, since a program
 * that asks for --print-capabilities must get an answer whatever stands beside it
 * (vhost-user.rst, "Backend program conventions"). The second is option_table_parse().
 */
#include "cli/options.h"

#include <assert.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/option_table.h"
#include "config/values.h"
#include "worker/poll_policy.h"

#define MAX_POLL_US       1000000u
#define API_TIMEOUT_S     30 /* as that of disks */
#define MAX_TIMEOUT       86400u
#define ENGINE_DEFAULT    "io_uring"
#define ENGINE_WITHOUT_IO "null"

enum option_id {
	OPT_NUM_WORKERS,
	OPT_CPU_AFFINITY,
	OPT_POLL,
	OPT_ENGINE,
	OPT_FIXED_BUFFERS,
	OPT_IOPOLL,
	OPT_SQPOLL,
	OPT_SQPOLL_CPU,
	OPT_CONFIG_DIR,
	OPT_CHECK_CONFIG,
	OPT_API_SOCKET,
	OPT_API_SOCKET_MODE,
	OPT_API_SOCKET_GROUP,
	OPT_METRICS_ADDRESS,
	OPT_STOP_TIMEOUT,
	OPT_SUPERVISE,
	OPT_LOG_LEVEL,
	OPT_PRINT_CAPABILITIES,
	OPT_HELP,
	OPT_VERSION,
	N_OPTIONS,
};

static struct options *options_of(const struct option_parser *parser)
{
	return parser->into;
}

/* ---- what is more than a kind can say; `value` is never empty ---- */

static int set_cpu_affinity(struct option_parser *parser, const struct option_row *row,
			    const char *value)
{
	struct workers_config *workers = &options_of(parser)->daemon.workers;

	if (!parse_list(value, CPU_SETSIZE - 1, workers->cpu, WORKERS_MOST, &workers->n_cpus))
		return option_fail_value(parser, row, value,
					 "a list of at most 64 CPUs, as 2 or 0-3 or 1,3,5-7");
	return 0;
}

static int set_poll(struct option_parser *parser, const struct option_row *row, const char *value)
{
	int64_t *poll_ns = &options_of(parser)->daemon.workers.poll_ns;
	uint64_t us;

	if (!strcmp(value, "auto"))
		*poll_ns = POLL_AUTO;
	else if (!strcmp(value, "off"))
		*poll_ns = POLL_OFF;
	else if (!strcmp(value, "always"))
		*poll_ns = POLL_ALWAYS;
	else if (parse_digits(value, 10, MAX_POLL_US, &us))
		*poll_ns = (int64_t)us * 1000;
	else
		return option_fail_value(parser, row, value,
					 "auto, off, always, or microseconds from 0 to 1000000");
	return 0;
}

static int set_engine(struct option_parser *parser, const struct option_row *row, const char *value)
{
	const struct engine *engine = engine_find(value);

	if (!engine)
		return option_fail_value(parser, row, value, row->argument);
	options_of(parser)->daemon.workers.engine = engine;
	options_of(parser)->daemon.workers.engine_given = true;
	return 0;
}

/* ---- the table; --help has its order ---- */

#define TO(member) OPTION_TO(struct options, member)
#define SECONDS    .max = MAX_TIMEOUT, .expected = "a number of seconds from 0 to 86400"

static const struct option_row rows[N_OPTIONS] = {
	[OPT_NUM_WORKERS] = {"num-workers", "N",
			     NUMBER(daemon.workers.num, .min = 1, .max = WORKERS_MOST),
			     .help = "threads that share the queues out (default 1)"},
	[OPT_CPU_AFFINITY] = {"cpu-affinity", "LIST", OTHER(set_cpu_affinity),
			      .help = "CPUs of the workers, one each, as 2 or 0-3 or 1,3"},
	[OPT_POLL] = {"poll", "auto|off|always|MICROSECONDS", OTHER(set_poll),
		      .help = "how long to poll for work before sleeping\n"
			      "(default auto); always: for a CPU of its own"},
	[OPT_ENGINE] = {"engine", "io_uring|libaio|null", OTHER(set_engine),
			.help = "how I/O is done (default io_uring, or libaio where\n"
				"the kernel has that off); null does none"},
	[OPT_FIXED_BUFFERS] = {"fixed-buffers", NULL, FLAG(daemon.workers.uring.fixed_buffers),
			       .help = "register all guest memory with io_uring: less work\n"
				       "per request, but all of it is pinned"},
	[OPT_IOPOLL] = {"iopoll", NULL, FLAG(daemon.workers.uring.iopoll),
			.help = "poll the device for completions (NVMe with poll\n"
				"queues); takes a whole processor under load"},
	[OPT_SQPOLL] = {"sqpoll", NULL, FLAG(daemon.workers.uring.sqpoll),
			.help = "have a thread of the kernel's submit I/O, which\n"
				"takes a processor more under load"},
	[OPT_SQPOLL_CPU] = {"sqpoll-cpu", "CPU",
			    NUMBER(daemon.workers.uring.sqpoll_cpu, .max = INT_MAX),
			    .expected = "the number of a CPU",
			    .help = "the processor on which that thread stays"},
	[OPT_CONFIG_DIR] = {"config-dir", "DIR", STRING(daemon.config_dir),
			    .help = "serve a disk for each NAME.conf in DIR; SIGHUP\n"
				    "has them read again"},
	[OPT_CHECK_CONFIG] = {"check-config", NULL, FLAG(check_config),
			      .help = "say what is wrong with what is given, and exit"},
	[OPT_API_SOCKET] = {"api-socket", "PATH", SOCKET_PATH(daemon.api.path),
			    .help = "serve the API, HTTP on a socket made at PATH"},
	[OPT_API_SOCKET_MODE] = {"api-socket-mode", "MODE", MODE(daemon.api.mode),
				 .help = "permissions of that socket, octal (default 0600)"},
	[OPT_API_SOCKET_GROUP] = {"api-socket-group", "GROUP", STRING(daemon.api.group),
				  .help = "group of that socket, by name or number"},
	[OPT_METRICS_ADDRESS] = {"metrics-address", "ADDRESS:PORT", STRING(daemon.metrics_address),
				 .help = "show Prometheus what is counted, by HTTP at\n"
					 "http://ADDRESS:PORT/metrics"},
	[OPT_STOP_TIMEOUT] = {"stop-timeout", "SECONDS", NUMBER(daemon.stop_timeout, SECONDS),
			      .help = "how long a stop waits for I/O to end (default 5)"},
	[OPT_SUPERVISE] = {"supervise", NULL, FLAG(supervise),
			   .help = "be started again after a crash, by vublkd-keeper,\n"
				   "which keeps descriptors meanwhile"},
	[OPT_LOG_LEVEL] = {"log-level", "error|warning|info|debug",
			   WORD(log_level, LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO,
				LOG_LEVEL_DEBUG),
			   .help = "how much to say on standard error (default info)"},
	[OPT_PRINT_CAPABILITIES] = {"print-capabilities",
				    .help = "print the capabilities as JSON and exit"},
	[OPT_HELP] = {"help", .help = "print this text and exit"},
	[OPT_VERSION] = {"version", .help = "print the version and exit"},
};

/* ---- parsing ---- */

static enum options_action find_action(int argc, char *const *argv)
{
	if (option_stands(argc, argv, rows[OPT_PRINT_CAPABILITIES].name))
		return OPTIONS_CAPABILITIES;
	if (option_stands(argc, argv, rows[OPT_HELP].name))
		return OPTIONS_HELP;
	if (option_stands(argc, argv, rows[OPT_VERSION].name))
		return OPTIONS_VERSION;
	return OPTIONS_SERVE;
}

static void set_defaults(struct options *options)
{
	*options = (struct options){
		.action = OPTIONS_SERVE,
		.daemon = {.workers = {.engine = engine_find(ENGINE_DEFAULT),
				       .uring = {.sqpoll_cpu = -1},
				       .num = 1,
				       .poll_ns = POLL_AUTO},
			   .api = {.fd = -1, .mode = 0600, .timeout = API_TIMEOUT_S},
			   .stop_timeout = 5},
		.log_level = LOG_LEVEL_INFO,
	};
	disk_config_init(&options->disk);
}

/* ---- what goes together ---- */

/* The options that are io_uring's alone. */
static int check_engine(struct option_parser *parser)
{
	static const enum option_id ids[] = {OPT_FIXED_BUFFERS, OPT_IOPOLL, OPT_SQPOLL};
	const char *const *given = parser->here;
	int err;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		if (given[ids[i]] &&
		    strcmp(options_of(parser)->daemon.workers.engine->name, ENGINE_DEFAULT) != 0)
			return option_fail(parser, "--%s goes only with --engine=%s",
					   rows[ids[i]].name, ENGINE_DEFAULT);
	err = option_needs(parser, OPT_SQPOLL_CPU, OPT_SQPOLL);
	if (!err && given[OPT_IOPOLL] && given[OPT_SQPOLL])
		return option_fail(parser,
				   "--iopoll and --sqpoll exclude each other: one thread polls");
	return err;
}

/* Is there a disk on the command line? Then with all that it needs. */
static int check_disk(struct option_parser *parser)
{
	struct options *options = options_of(parser);

	options->daemon.host = (struct disk_host){
		.null_engine = !strcmp(options->daemon.workers.engine->name, ENGINE_WITHOUT_IO),
		.fixed_buffers = options->daemon.workers.uring.fixed_buffers,
		.iopoll = options->daemon.workers.uring.iopoll,
		.many = options->daemon.config_dir || options->daemon.api.path,
		.num_workers = options->daemon.workers.num,
	};
	options->has_disk = !options->daemon.config_dir && !options->daemon.api.path;
	for (unsigned i = 0; i < disk_option_part.n; i++)
		options->has_disk = options->has_disk || parser->given[i];
	return options->has_disk ? disk_options_check_host(parser, parser->given, &options->disk,
							   &options->daemon.host)
				 : 0;
}

static int check_api(struct option_parser *parser)
{
	const int err = option_needs(parser, OPT_API_SOCKET_MODE, OPT_API_SOCKET);

	return err ? err : option_needs(parser, OPT_API_SOCKET_GROUP, OPT_API_SOCKET);
}

/* A number says nothing where descriptors come and go between processes. */
static int check_supervise(struct option_parser *parser)
{
	if (!parser->here[OPT_SUPERVISE] || options_of(parser)->disk.listener.fd < 0)
		return 0;
	return option_fail(parser, "--supervise and --fd exclude each other: the next process "
				   "would find another descriptor there; use --socket-path or "
				   "systemd socket activation");
}

static int (*const checks[])(struct option_parser *) = {check_api, check_engine, check_disk,
							check_supervise, NULL};
static const struct option_part process_part = {rows, N_OPTIONS, checks};
static const struct option_table table = {
	"vublkd", {{&disk_option_part, offsetof(struct options, disk)}, {&process_part, 0}}, NULL};

int options_parse(struct options *options, int argc, char *const *argv, char *error, size_t size)
{
	struct option_parser parser = {
		.table = &table, .options = options, .error = error, .error_size = size};
	int err;

	set_defaults(options);
	options->action = find_action(argc, argv);
	if (options->action != OPTIONS_SERVE)
		return 0;
	err = option_table_parse(&parser, argc, argv);
	disk_config_complete(&options->disk);
	memcpy(options->disk_text, parser.given, disk_option_part.n * sizeof(*parser.given));
	options->supervise_place = parser.place[disk_option_part.n + OPT_SUPERVISE];
	if (options->check_config)
		options->action = OPTIONS_CHECK;
	return err;
}

/* ---- --help ---- */

void options_print_help(void)
{
	puts("Usage: vublkd [--socket-path=PATH | --fd=FDNUM] --blk-file=PATH [OPTION]...\n"
	     "       vublkd [--config-dir=DIR] [--api-socket=PATH] [OPTION]...\n"
	     "       vublkd --print-capabilities | --help | --version\n"
	     "\n"
	     "Serves raw files or block devices as virtio-blk disks over vhost-user sockets:\n"
	     "one, or as many as there are files of settings in a directory. Without\n"
	     "--socket-path and --fd the one's socket comes from systemd (LISTEN_FDS).\n"
	     "\n"
	     "Options:");
	option_table_print(&table);
	puts("\n"
	     "SIZE is in bytes, or has one of the suffixes K, M, G, T (powers of 1024).\n"
	     "The manual page vublkd(8) explains every option.");
}
