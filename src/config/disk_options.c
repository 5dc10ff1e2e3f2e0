/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See config/disk_options.h. One table has a row per option (config/option_table.h), and
 * tests/cli/test-help-man.sh holds the man page against it. Trusts no value.
 */
#include "config/disk_options.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/control_chars.h"
#include "config/values.h"
#include "request/config.h"
#include "request/limits.h"

#define MAX_QUEUES              256u
#define MAX_SERIAL              20 /* VIRTIO_BLK_ID_BYTES */
#define MAX_NAME                100
#define MAX_TIMEOUT             86400u
#define MAX_PHYSICAL_BLOCK_SIZE (UINT64_C(2) << 20) /* as QEMU's */
#define SECTOR                  512u

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
	OPT_SIZE,
	OPT_NAME,
	OPT_SERIAL,
	OPT_NUM_QUEUES,
	OPT_SEG_MAX,
	OPT_WORKERS,
	OPT_NO_POLL,
	OPT_POSTCOPY,
	OPT_IOPS_TOTAL,
	OPT_IOPS_TOTAL_MAX,
	OPT_IOPS_TOTAL_MAX_LENGTH,
	OPT_IOPS_READ,
	OPT_IOPS_READ_MAX,
	OPT_IOPS_READ_MAX_LENGTH,
	OPT_IOPS_WRITE,
	OPT_IOPS_WRITE_MAX,
	OPT_IOPS_WRITE_MAX_LENGTH,
	OPT_BPS_TOTAL,
	OPT_BPS_TOTAL_MAX,
	OPT_BPS_TOTAL_MAX_LENGTH,
	OPT_BPS_READ,
	OPT_BPS_READ_MAX,
	OPT_BPS_READ_MAX_LENGTH,
	OPT_BPS_WRITE,
	OPT_BPS_WRITE_MAX,
	OPT_BPS_WRITE_MAX_LENGTH,
	OPT_IOPS_SIZE,
	OPT_NO_LOCK,
	OPT_LOCK_TIMEOUT,
	N_OPTIONS,
};
static_assert(N_OPTIONS <= DISK_OPTIONS_MAX, "there is room for the texts");

static struct disk_config *config_of(const struct option_parser *parser)
{
	return parser->into;
}

static bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* ---- what is more than a kind can say; `value` is never empty ---- */

static int set_block_size(struct option_parser *parser, const struct option_row *row,
			  const char *value)
{
	uint64_t n;

	if (!parse_size(value, &n) || (n != 512 && n != 4096))
		return option_fail_value(parser, row, value, "512 or 4096");
	config_of(parser)->image.block_size = (uint32_t)n;
	return 0;
}

static int set_physical_block_size(struct option_parser *parser, const struct option_row *row,
				   const char *value)
{
	uint64_t n;

	if (!parse_size(value, &n) || !is_power_of_two(n) || n < SECTOR ||
	    n > MAX_PHYSICAL_BLOCK_SIZE)
		return option_fail_value(parser, row, value, "a power of two from 512 to 2M");
	config_of(parser)->image.physical_block_size = (uint32_t)n;
	return 0;
}

static int set_name(struct option_parser *parser, const struct option_row *row, const char *value)
{
	if (!*value || strlen(value) > MAX_NAME)
		return option_fail(parser, "%s%s must be a name of 1 to %d bytes", parser->dashes,
				   row->name, MAX_NAME);
	for (const char *c = value; *c; c++)
		if (is_control_char(*c))
			return option_fail(parser, "%s%s must not contain control characters",
					   parser->dashes, row->name);
	config_of(parser)->name = value;
	return 0;
}

static int set_serial(struct option_parser *parser, const struct option_row *row, const char *value)
{
	if (strlen(value) > MAX_SERIAL)
		return option_fail(parser, "%s%s is %zu bytes long, a serial number has at most %d",
				   parser->dashes, row->name, strlen(value), MAX_SERIAL);
	for (const char *c = value; *c; c++)
		if (*c < ' ' || *c > '~')
			return option_fail(parser, "%s%s must be printable ASCII", parser->dashes,
					   row->name);
	config_of(parser)->serial = value;
	return 0;
}

static int set_workers(struct option_parser *parser, const struct option_row *row,
		       const char *value)
{
	int list[WORKERS_MOST];
	unsigned n;

	if (!parse_list(value, WORKERS_MOST - 1, list, WORKERS_MOST, &n))
		return option_fail_value(parser, row, value,
					 "a list of numbers from 0 to 63, as 0 or 0,2-3");
	config_of(parser)->workers = 0;
	while (n)
		config_of(parser)->workers |= UINT64_C(1) << list[--n];
	return 0;
}

/* ---- the table; --help has its order ---- */

#define TO(member) OPTION_TO(struct disk_config, member)

#define RATE(id, member, kind) \
	kind(limits.limit[LIMIT_##id].member, .max = LIMITS_MOST), \
		.expected = "a number from 0 to 1000000000000000"

/* A limit, its burst's rate and length. */
#define LIMIT(id, option, argument, kind, text) \
	[OPT_##id] = {option, argument, RATE(id, average, kind), .help = text}, \
	[OPT_##id##_MAX] = {option "-max", argument, RATE(id, max, kind), \
			    .help = "the same, in a burst"}, \
	[OPT_##id##_MAX_LENGTH] = { \
		option "-max-length", "SECONDS", \
		NUMBER(limits.limit[LIMIT_##id].max_length, .min = 1, .max = UINT32_MAX), \
		.help = "how long a burst may last (default 1)"}
#define IOPS(id, option, text) LIMIT(id, option, "N", NUMBER, text)
#define BPS(id, option, text)  LIMIT(id, option, "SIZE", BYTES, text)

static const struct option_row rows[N_OPTIONS] = {
	[OPT_SOCKET_PATH] = {"socket-path", "PATH", SOCKET_PATH(listener.path),
			     .help = "listen on a socket made at PATH"},
	[OPT_FD] = {"fd", "FDNUM", NUMBER(listener.fd, .max = INT_MAX),
		    .expected = "the number of an open file descriptor",
		    .help = "use this open socket, listening or connected"},
	[OPT_SOCKET_MODE] = {"socket-mode", "MODE", MODE(listener.mode),
			     .help = "permissions of the socket, octal (default 0600)"},
	[OPT_SOCKET_GROUP] = {"socket-group", "GROUP", STRING(listener.group),
			      .help = "group of the socket, by name or number"},
	[OPT_BLK_FILE] = {"blk-file", "PATH", STRING(image.path),
			  .help = "the image: a regular file or a block device"},
	[OPT_READ_ONLY] = {"read-only", NULL, FLAG(image.read_only),
			   .help = "open the image for reading, refuse writes"},
	[OPT_CACHE] = {"cache", "none|writeback|writethrough",
		       WORD(image.cache, IMAGE_CACHE_NONE, IMAGE_CACHE_WRITEBACK,
			    IMAGE_CACHE_WRITETHROUGH),
		       .help = "none: O_DIRECT (the default), writeback: the page\n"
			       "cache, writethrough: each write durable at once"},
	[OPT_DISCARD] = {"discard", "unmap|ignore", WORD(image.discard, true, false),
			 .help = "pass the guest's discards on (the default) or not"},
	[OPT_BLOCK_SIZE] = {"block-size", "512|4096", OTHER(set_block_size),
			    .help = "logical block size (default: 512, or what the\n"
				    "partition table was made for)"},
	[OPT_PHYSICAL_BLOCK_SIZE] = {"physical-block-size", "SIZE", OTHER(set_physical_block_size),
				     .help = "physical block size (default: the image's)"},
	[OPT_OPTIMAL_IO_SIZE] = {"optimal-io-size", "SIZE",
				 BYTES(image.optimal_io_size, .min = SECTOR, .max = UINT32_MAX,
				       .step = SECTOR),
				 .expected = "a multiple of 512 below 4G",
				 .help = "preferred size of requests (default: the image's)"},
	[OPT_NAME] = {"name", "STRING", OTHER(set_name),
		      .help = "the disk in messages (default: the image's path)"},
	[OPT_SERIAL] = {"serial", "STRING", OTHER(set_serial),
			.help = "serial number the guest sees, up to 20 characters"},
	[OPT_NUM_QUEUES] = {"num-queues", "N", NUMBER(num_queues, .min = 1, .max = MAX_QUEUES),
			    .help = "most queues a front-end may use (default 256)"},
	[OPT_SEG_MAX] = {"seg-max", "N", NUMBER(seg_max, .min = 1, .max = BLK_SEG_MAX_MOST),
			 .help = "most data segments in a request (default 126); 62\n"
				 "for QEMU's queue-size=64,indirect_desc=off"},
	[OPT_WORKERS] = {"workers", "LIST", OTHER(set_workers),
			 .help = "threads that may serve its queues, as 0 or 0,2-3\n"
				 "(default: any)"},
	[OPT_NO_POLL] = {"no-poll", NULL, FLAG(no_poll),
			 .help = "no thread polls for its sake, whatever --poll says"},
	[OPT_POSTCOPY] = {"postcopy", NULL, FLAG(postcopy),
			  .help = "let guests come by postcopy migration; gives the\n"
				  "front-end power over this process"},
	IOPS(IOPS_TOTAL, "iops-total", "most requests a second (default 0: any)"),
	IOPS(IOPS_READ, "iops-read", "most reads a second"),
	IOPS(IOPS_WRITE, "iops-write", "most writes a second"),
	BPS(BPS_TOTAL, "bps-total", "most bytes a second (default 0: any)"),
	BPS(BPS_READ, "bps-read", "most bytes read a second"),
	BPS(BPS_WRITE, "bps-write", "most bytes written a second"),
	[OPT_IOPS_SIZE] = {"iops-size", "SIZE", BYTES(limits.iops_size, .max = LIMITS_MOST),
			   .expected = "a number of bytes from 0 to 1000000000000000",
			   .help = "larger requests count as several (default 0: no)"},
	[OPT_SIZE] = {"size", "SIZE",
		      BYTES(image.null_size, .min = SECTOR, .max = UINT64_MAX, .step = SECTOR),
		      .expected = "a multiple of 512 bytes, as 1048576, 1024K, 20G or 2T",
		      .help = "size of the disk, for --engine=null without image"},
	[OPT_NO_LOCK] = {"no-lock", NULL, FLAG(lock), .values = (const int[]){false},
			 .help = "do not lock the image (dangerous)"},
	[OPT_LOCK_TIMEOUT] = {"lock-timeout", "SECONDS", NUMBER(lock_timeout, .max = MAX_TIMEOUT),
			      .expected = "a number of seconds from 0 to 86400",
			      .help = "how long to wait for the image's lock (default 30)"},
};

/* ---- what goes together ---- */

static int check_socket(struct option_parser *parser)
{
	int err = option_excludes(parser, OPT_SOCKET_PATH, OPT_FD);

	if (!err)
		err = option_needs(parser, OPT_SOCKET_MODE, OPT_SOCKET_PATH);
	return err ? err : option_needs(parser, OPT_SOCKET_GROUP, OPT_SOCKET_PATH);
}

static int check_image(struct option_parser *parser)
{
	const char *const *given = parser->here;

	if (given[OPT_SIZE] && given[OPT_BLK_FILE])
		return option_fail(parser,
				   "%ssize does not go with %sblk-file, which has its own size",
				   parser->dashes, parser->dashes);
	return 0;
}

static int check_geometry(struct option_parser *parser)
{
	const struct image_options *image = &config_of(parser)->image;
	const char *dashes = parser->dashes;

	if (!image->block_size)
		return 0; /* image_open() finds it out and checks the others against it */
	if (image->physical_block_size && image->physical_block_size < image->block_size)
		return option_fail(parser, "%sphysical-block-size is smaller than %sblock-size",
				   dashes, dashes);
	if (image->optimal_io_size % image->block_size)
		return option_fail(parser, "%soptimal-io-size is not a multiple of %sblock-size",
				   dashes, dashes);
	if (image->null_size % image->block_size)
		return option_fail(parser, "%ssize is not a multiple of %sblock-size", dashes,
				   dashes);
	return 0;
}

static int check_lock(struct option_parser *parser)
{
	return option_excludes(parser, OPT_NO_LOCK, OPT_LOCK_TIMEOUT);
}

static int check_limits(struct option_parser *parser)
{
	return limits_config_check(&config_of(parser)->limits, parser->dashes, parser->error,
				   parser->error_size);
}

static int (*const checks[])(struct option_parser *) = {
	check_socket, check_image, check_geometry, check_lock, check_limits, NULL,
};
const struct option_part disk_option_part = {rows, N_OPTIONS, checks};

static int check_workers(struct option_parser *parser, const struct disk_config *config,
			 const struct disk_host *host)
{
	const unsigned num = host->num_workers;
	unsigned i = num;

	while (i < WORKERS_MOST && !(config->workers >> i & 1))
		i++;
	if (i >= WORKERS_MOST)
		return 0;
	return option_fail(parser,
			   "%sworkers names %u, but there %s %u, from 0 on: name others, or start "
			   "vublkd with more of them (--num-workers)",
			   parser->dashes, i, num == 1 ? "is" : "are", num);
}

int disk_options_check_host(struct option_parser *parser, const char *const *given,
			    const struct disk_config *config, const struct disk_host *host)
{
	const char *dashes = parser->dashes;

	if (given[OPT_SIZE] && !host->null_engine)
		return option_fail(parser, "%ssize goes only with --engine=null", dashes);
	if (host->null_engine && !given[OPT_BLK_FILE] && !given[OPT_SIZE])
		return option_fail(parser, "--engine=null needs %ssize=SIZE or %sblk-file=PATH",
				   dashes, dashes);
	if (!host->null_engine && !given[OPT_BLK_FILE])
		return option_fail(parser, "%sblk-file=PATH is missing", dashes);
	if (host->fixed_buffers && config->postcopy)
		return option_fail(parser,
				   "--fixed-buffers and %spostcopy exclude each other: all memory "
				   "would be waited for",
				   dashes);
	if (host->many && config->postcopy)
		return option_fail(parser,
				   "%spostcopy goes only with a single disk, without --config-dir "
				   "and --api-socket: it gives a front-end power over the process",
				   dashes);
	if (host->iopoll && config->image.cache != IMAGE_CACHE_NONE)
		return option_fail(parser,
				   "--iopoll goes only with %scache=none: the page cache cannot "
				   "be polled",
				   dashes);
	return check_workers(parser, config, host);
}

/* ---- as a whole ---- */

void disk_config_init(struct disk_config *config)
{
	*config = (struct disk_config){
		.image = {.cache = IMAGE_CACHE_NONE, .discard = true},
		.listener = {.fd = -1, .mode = 0600},
		.serial = "",
		.num_queues = MAX_QUEUES,
		.seg_max = BLK_SEG_MAX,
		.lock = true,
		.lock_timeout = 30,
	};
}

void disk_config_complete(struct disk_config *config)
{
	/* Whom the image is waited for from listens at the socket's path, too. */
	config->listener.timeout = config->lock_timeout;
	/* The whole path: the last part alone many disks of a host share. */
	if (!config->name)
		config->name = config->image.path ? config->image.path : "null";
	config->listener.disk = config->name;
}

static const struct option_table table = {"vublkd", {{&disk_option_part, 0}}, NULL};

int disk_options_find(const char *name)
{
	return option_table_find(&table, name);
}

const struct option_row *disk_options_row(unsigned i)
{
	return i < N_OPTIONS ? &rows[i] : NULL;
}

bool disk_options_may_call(const char *id)
{
	const size_t length = strlen(id);

	return length && length <= MAX_NAME && *id != '.' &&
	       strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
		       length;
}

/* What only a disk of the command line can be told, or has to be told by more than that. */
static int check_named(struct option_parser *parser)
{
	const char *const *given = parser->given;

	if (given[OPT_FD])
		return option_fail(parser, "fd goes only with the disk of the command line");
	if (given[OPT_NAME])
		return option_fail(parser, "name goes only with the disk of the command line; this "
					   "one is called as its file is");
	if (!given[OPT_SOCKET_PATH])
		return option_fail(parser, "socket-path = PATH is missing");
	return 0;
}

static int evaluate(struct disk_options *options, const struct disk_host *host, char *error,
		    size_t size)
{
	struct option_parser parser = {
		.table = &table, .options = &options->config, .error = error, .error_size = size};
	int err;

	for (unsigned i = 0; i < N_OPTIONS; i++)
		parser.given[i] = options->text[i];
	disk_config_init(&options->config);
	err = option_table_take(&parser);
	if (!err && options->id)
		err = check_named(&parser);
	if (!err)
		err = disk_options_check_host(&parser, parser.given, &options->config, host);
	/* "false" is as if it were not given, and leaves no text. */
	for (unsigned i = 0; i < N_OPTIONS; i++) {
		if (parser.given[i])
			continue;
		free(options->text[i]);
		options->text[i] = NULL;
	}
	if (options->id)
		options->config.name = options->id;
	disk_config_complete(&options->config);
	return err;
}

int disk_options_create(struct disk_options **optionsp, const char *id, const char *const *text,
			const struct disk_host *host, char *error, size_t size)
{
	struct disk_options *options = calloc(1, sizeof(*options));
	int err = options ? 0 : -ENOMEM;

	*optionsp = NULL;
	if (!err && id) {
		options->id = strdup(id);
		err = options->id ? 0 : -ENOMEM;
	}
	for (unsigned i = 0; !err && i < N_OPTIONS; i++) {
		if (!text[i])
			continue;
		options->text[i] = strdup(text[i]);
		err = options->text[i] ? 0 : -ENOMEM;
	}
	if (err)
		snprintf(error, size, "%s", strerror(ENOMEM));
	else
		err = evaluate(options, host, error, size);
	if (err)
		disk_options_destroy(options);
	else
		*optionsp = options;
	return err;
}

void disk_options_destroy(struct disk_options *options)
{
	if (!options)
		return;
	for (unsigned i = 0; i < N_OPTIONS; i++)
		free(options->text[i]);
	free(options->id);
	free(options);
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : !a && !b;
}

unsigned disk_options_compare(const struct disk_options *a, const struct disk_options *b,
			      unsigned changed[DISK_OPTIONS_MAX])
{
	unsigned n = 0;

	for (unsigned i = 0; i < N_OPTIONS; i++)
		if (!same(a->text[i], b->text[i]))
			changed[n++] = i;
	return n;
}

void disk_options_name_changes(const struct disk_options *a, const struct disk_options *b,
			       char *text, size_t size)
{
	unsigned changed[DISK_OPTIONS_MAX];
	const unsigned n = disk_options_compare(a, b, changed);
	size_t at = 0;

	*text = '\0';
	for (unsigned i = 0; i < n && at < size; i++)
		at += (size_t)snprintf(text + at, size - at, "%s%s", i ? ", " : "",
				       rows[changed[i]].name);
}

bool disk_options_is_live(unsigned row)
{
	return row == OPT_WORKERS || row == OPT_NO_POLL ||
	       (row >= OPT_IOPS_TOTAL && row <= OPT_IOPS_SIZE);
}

void disk_options_take_live(struct disk_options *options, struct disk_options *other)
{
	for (unsigned i = 0; i < N_OPTIONS; i++) {
		if (!disk_options_is_live(i))
			continue;
		free(options->text[i]);
		options->text[i] = other->text[i];
		other->text[i] = NULL;
	}
	/* Numbers only: nothing in it points to the texts. */
	options->config.limits = other->config.limits;
	options->config.workers = other->config.workers;
	options->config.no_poll = other->config.no_poll;
}
