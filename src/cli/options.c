/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See cli/options.h. One table has a row per option (cli/option_table.h), and
 * tests/cli/test-help-man.sh holds the man page against it.
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

#include "base/control_chars.h"
#include "cli/option_table.h"
#include "cli/values.h"
#include "request/config.h"
#include "worker/poll_policy.h"

#define MAX_QUEUES              256u
#define MAX_POLL_US             1000000u
#define MAX_SERIAL              20 /* VIRTIO_BLK_ID_BYTES */
#define MAX_NAME                100
#define MAX_TIMEOUT             86400u
#define MAX_PHYSICAL_BLOCK_SIZE (UINT64_C(2) << 20) /* as QEMU's */
#define SECTOR                  512u
#define ENGINE_DEFAULT          "io_uring"
#define ENGINE_WITHOUT_IO       "null"

enum option_id {
	OPT_SOCKET_PATH,
	OPT_FD,
	OPT_SOCKET_MODE,
	OPT_SOCKET_GROUP,
	OPT_BLK_FILE,
	OPT_READ_ONLY,
	OPT_CACHE,
	OPT_DISCARD,
	OPT_BLOCK_SIZE,
	OPT_PHYSICAL_BLOCK_SIZE,
	OPT_OPTIMAL_IO_SIZE,
	OPT_NAME,
	OPT_SERIAL,
	OPT_NUM_QUEUES,
	OPT_SEG_MAX,
	OPT_POSTCOPY,
	OPT_NUM_WORKERS,
	OPT_CPU_AFFINITY,
	OPT_POLL,
	OPT_ENGINE,
	OPT_FIXED_BUFFERS,
	OPT_IOPOLL,
	OPT_SQPOLL,
	OPT_SQPOLL_CPU,
	OPT_SIZE,
	OPT_NO_LOCK,
	OPT_LOCK_TIMEOUT,
	OPT_STOP_TIMEOUT,
	OPT_LOG_LEVEL,
	OPT_PRINT_CAPABILITIES,
	OPT_HELP,
	OPT_VERSION,
	N_OPTIONS,
};

static struct options *options_of(const struct option_parser *parser)
{
	return parser->options;
}

static bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* ---- what is more than a kind can say; `value` is never empty ---- */

static int set_socket_path(struct option_parser *parser, const struct option_row *row,
			   const char *value)
{
	int err = option_check_socket_path(parser, row, value);

	if (!err)
		options_of(parser)->disk.listener.path = value;
	return err;
}

static int set_socket_mode(struct option_parser *parser, const struct option_row *row,
			   const char *value)
{
	uint64_t n;

	if (!parse_digits(value, 8, 0777, &n))
		return option_fail_value(parser, row, value, "octal permission bits, as 0660");
	options_of(parser)->disk.listener.mode = (mode_t)n;
	return 0;
}

static int set_block_size(struct option_parser *parser, const struct option_row *row,
			  const char *value)
{
	uint64_t n;

	if (!parse_size(value, &n) || (n != 512 && n != 4096))
		return option_fail_value(parser, row, value, "512 or 4096");
	options_of(parser)->disk.image.block_size = (uint32_t)n;
	return 0;
}

static int set_physical_block_size(struct option_parser *parser, const struct option_row *row,
				   const char *value)
{
	uint64_t n;

	if (!parse_size(value, &n) || !is_power_of_two(n) || n < SECTOR ||
	    n > MAX_PHYSICAL_BLOCK_SIZE)
		return option_fail_value(parser, row, value, "a power of two from 512 to 2M");
	options_of(parser)->disk.image.physical_block_size = (uint32_t)n;
	return 0;
}

static int set_name(struct option_parser *parser, const struct option_row *row, const char *value)
{
	if (!*value || strlen(value) > MAX_NAME)
		return option_fail(parser, "--%s must be a name of 1 to %d bytes", row->name,
				   MAX_NAME);
	for (const char *c = value; *c; c++)
		if (is_control_char(*c))
			return option_fail(parser, "--%s must not contain control characters",
					   row->name);
	options_of(parser)->disk.name = value;
	return 0;
}

static int set_serial(struct option_parser *parser, const struct option_row *row, const char *value)
{
	if (strlen(value) > MAX_SERIAL)
		return option_fail(parser, "--%s is %zu bytes long, a serial number has at most %d",
				   row->name, strlen(value), MAX_SERIAL);
	for (const char *c = value; *c; c++)
		if (*c < ' ' || *c > '~')
			return option_fail(parser, "--%s must be printable ASCII", row->name);
	options_of(parser)->disk.serial = value;
	return 0;
}

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
	[OPT_SOCKET_PATH] = {"socket-path", "PATH", OTHER(set_socket_path),
			     .help = "listen on a socket made at PATH"},
	[OPT_FD] = {"fd", "FDNUM", NUMBER(disk.listener.fd, .max = INT_MAX),
		    .expected = "the number of an open file descriptor",
		    .help = "use this open socket, listening or connected"},
	[OPT_SOCKET_MODE] = {"socket-mode", "MODE", OTHER(set_socket_mode),
			     .help = "permissions of the socket, octal (default 0600)"},
	[OPT_SOCKET_GROUP] = {"socket-group", "GROUP", STRING(disk.listener.group),
			      .help = "group of the socket, by name or number"},
	[OPT_BLK_FILE] = {"blk-file", "PATH", STRING(disk.image.path),
			  .help = "the image: a regular file or a block device"},
	[OPT_READ_ONLY] = {"read-only", NULL, FLAG(disk.image.read_only),
			   .help = "open the image for reading, refuse writes"},
	[OPT_CACHE] = {"cache", "none|writeback|writethrough",
		       WORD(disk.image.cache, IMAGE_CACHE_NONE, IMAGE_CACHE_WRITEBACK,
			    IMAGE_CACHE_WRITETHROUGH),
		       .help = "none: O_DIRECT (the default), writeback: the page\n"
			       "cache, writethrough: each write durable at once"},
	[OPT_DISCARD] = {"discard", "unmap|ignore", WORD(disk.image.discard, true, false),
			 .help = "pass the guest's discards on (the default) or not"},
	[OPT_BLOCK_SIZE] = {"block-size", "512|4096", OTHER(set_block_size),
			    .help = "logical block size (default: 512, or what the\n"
				    "partition table was made for)"},
	[OPT_PHYSICAL_BLOCK_SIZE] = {"physical-block-size", "SIZE", OTHER(set_physical_block_size),
				     .help = "physical block size (default: the image's)"},
	[OPT_OPTIMAL_IO_SIZE] = {"optimal-io-size", "SIZE",
				 BYTES(disk.image.optimal_io_size, .min = SECTOR, .max = UINT32_MAX,
				       .step = SECTOR),
				 .expected = "a multiple of 512 below 4G",
				 .help = "preferred size of requests (default: the image's)"},
	[OPT_NAME] = {"name", "STRING", OTHER(set_name),
		      .help = "the disk in messages (default: the image's path)"},
	[OPT_SERIAL] = {"serial", "STRING", OTHER(set_serial),
			.help = "serial number the guest sees, up to 20 characters"},
	[OPT_NUM_QUEUES] = {"num-queues", "N", NUMBER(disk.num_queues, .min = 1, .max = MAX_QUEUES),
			    .help = "most queues a front-end may use (default 256)"},
	[OPT_SEG_MAX] = {"seg-max", "N", NUMBER(disk.seg_max, .min = 1, .max = BLK_SEG_MAX_MOST),
			 .help = "most data segments in a request (default 126); 62\n"
				 "for QEMU's queue-size=64,indirect_desc=off"},
	[OPT_POSTCOPY] = {"postcopy", NULL, FLAG(disk.postcopy),
			  .help = "let guests come by postcopy migration; gives the\n"
				  "front-end power over this process"},
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
	[OPT_SIZE] = {"size", "SIZE",
		      BYTES(disk.image.null_size, .min = SECTOR, .max = UINT64_MAX, .step = SECTOR),
		      .expected = "a multiple of 512 bytes, as 1048576, 1024K, 20G or 2T",
		      .help = "size of the disk, for --engine=null without image"},
	[OPT_NO_LOCK] = {"no-lock", NULL, FLAG(disk.lock), .values = (const int[]){false},
			 .help = "do not lock the image (dangerous)"},
	[OPT_LOCK_TIMEOUT] = {"lock-timeout", "SECONDS", NUMBER(disk.lock_timeout, SECONDS),
			      .help = "how long to wait for the image's lock (default 30)"},
	[OPT_STOP_TIMEOUT] = {"stop-timeout", "SECONDS", NUMBER(daemon.stop_timeout, SECONDS),
			      .help = "how long a stop waits for I/O to end (default 5)"},
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
		.disk = {.image = {.cache = IMAGE_CACHE_NONE, .discard = true},
			 .listener = {.fd = -1, .mode = 0600},
			 .serial = "",
			 .num_queues = MAX_QUEUES,
			 .seg_max = BLK_SEG_MAX,
			 .lock = true,
			 .lock_timeout = 30},
		.daemon = {.workers = {.engine = engine_find(ENGINE_DEFAULT),
				       .uring = {.sqpoll_cpu = -1},
				       .num = 1,
				       .poll_ns = POLL_AUTO},
			   .stop_timeout = 5},
		.log_level = LOG_LEVEL_INFO,
	};
}

/* ---- what goes together ---- */

static int check_socket(struct option_parser *parser)
{
	const bool *seen = parser->seen;

	if (seen[OPT_SOCKET_PATH] && seen[OPT_FD])
		return option_fail(parser, "--socket-path and --fd exclude each other");
	if (seen[OPT_SOCKET_MODE] && !seen[OPT_SOCKET_PATH])
		return option_fail(parser, "--socket-mode goes only with --socket-path");
	if (seen[OPT_SOCKET_GROUP] && !seen[OPT_SOCKET_PATH])
		return option_fail(parser, "--socket-group goes only with --socket-path");
	return 0;
}

static int check_image(struct option_parser *parser)
{
	const bool *seen = parser->seen;
	bool null_engine =
		!strcmp(options_of(parser)->daemon.workers.engine->name, ENGINE_WITHOUT_IO);

	if (seen[OPT_SIZE] && seen[OPT_BLK_FILE])
		return option_fail(parser,
				   "--size does not go with --blk-file, which has its own size");
	if (seen[OPT_SIZE] && !null_engine)
		return option_fail(parser, "--size goes only with --engine=null");
	if (null_engine && !seen[OPT_BLK_FILE] && !seen[OPT_SIZE])
		return option_fail(parser, "--engine=null needs --size=SIZE or --blk-file=PATH");
	if (!null_engine && !seen[OPT_BLK_FILE])
		return option_fail(parser, "--blk-file=PATH is missing");
	return 0;
}

static int check_geometry(struct option_parser *parser)
{
	const struct image_options *image = &options_of(parser)->disk.image;

	if (!image->block_size)
		return 0; /* image_open() finds it out and checks the others against it */
	if (image->physical_block_size && image->physical_block_size < image->block_size)
		return option_fail(parser, "--physical-block-size is smaller than --block-size");
	if (image->optimal_io_size % image->block_size)
		return option_fail(parser, "--optimal-io-size is not a multiple of --block-size");
	if (image->null_size % image->block_size)
		return option_fail(parser, "--size is not a multiple of --block-size");
	return 0;
}

/* The options that are io_uring's alone. */
static int check_engine(struct option_parser *parser)
{
	static const enum option_id ids[] = {OPT_FIXED_BUFFERS, OPT_IOPOLL, OPT_SQPOLL};
	const bool *seen = parser->seen;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		if (seen[ids[i]] &&
		    strcmp(options_of(parser)->daemon.workers.engine->name, ENGINE_DEFAULT) != 0)
			return option_fail(parser, "--%s goes only with --engine=%s",
					   rows[ids[i]].name, ENGINE_DEFAULT);
	if (seen[OPT_FIXED_BUFFERS] && seen[OPT_POSTCOPY])
		return option_fail(parser,
				   "--fixed-buffers and --postcopy exclude each other: all memory "
				   "would be waited for");
	if (seen[OPT_SQPOLL_CPU] && !seen[OPT_SQPOLL])
		return option_fail(parser, "--sqpoll-cpu goes only with --sqpoll");
	if (seen[OPT_IOPOLL] && seen[OPT_SQPOLL])
		return option_fail(parser,
				   "--iopoll and --sqpoll exclude each other: one thread polls");
	if (seen[OPT_IOPOLL] && options_of(parser)->disk.image.cache != IMAGE_CACHE_NONE)
		return option_fail(parser,
				   "--iopoll goes only with --cache=none: the page cache cannot "
				   "be polled");
	return 0;
}

static int check_lock(struct option_parser *parser)
{
	if (parser->seen[OPT_NO_LOCK] && parser->seen[OPT_LOCK_TIMEOUT])
		return option_fail(parser, "--no-lock and --lock-timeout exclude each other");
	return 0;
}

static int (*const checks[])(struct option_parser *) = {
	check_socket, check_image, check_geometry, check_engine, check_lock, NULL,
};
static const struct option_table table = {"vublkd", rows, N_OPTIONS, NULL, checks};
static_assert(N_OPTIONS <= OPTION_TABLE_MAX, "the parser has room for the table");

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
	/* Whom the image is waited for from listens at the socket's path, too. */
	options->disk.listener.timeout = options->disk.lock_timeout;
	/* The whole path: the last part alone many disks of a host share. */
	if (!options->disk.name)
		options->disk.name = options->disk.image.path ? options->disk.image.path : "null";
	return err;
}

/* ---- --help ---- */

void options_print_help(void)
{
	puts("Usage: vublkd [--socket-path=PATH | --fd=FDNUM] --blk-file=PATH [OPTION]...\n"
	     "       vublkd --print-capabilities | --help | --version\n"
	     "\n"
	     "Serves a raw file or block device as a virtio-blk disk over a vhost-user socket.\n"
	     "Without --socket-path and --fd the socket comes from systemd (LISTEN_FDS).\n"
	     "\n"
	     "Options:");
	option_table_print(&table);
	puts("\n"
	     "SIZE is in bytes, or has one of the suffixes K, M, G, T (powers of 1024).\n"
	     "The manual page vublkd(8) explains every option.");
}
