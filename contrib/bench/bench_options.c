/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See bench_options.h. One table has a row per option (src/config/option_table.h), and
 * tests/cli/test-help-man.sh holds the man page against it. Main thread; trusts nothing of argv.
 */
#include "bench_options.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "config/option_table.h"
#include "config/values.h"

#define DEFAULT_QUEUE_SIZE 128u   /* QEMU's */
#define MAX_QUEUE_SIZE     32768u /* virtio 2.7, 2.8 */
#define MAX_BLOCK_SIZE     (64u << 20)
#define MAX_SECONDS        86400.0
#define MAX_ROUNDS         1000u
#define SECTOR             512u
#define MAX_CPU            4095u

enum option_id {
	OPT_SOCKET_PATH,
	OPT_FLOOR,
	OPT_COMPARE,
	OPT_BESIDE,
	OPT_BESIDE_DEPTH,
	OPT_ROUNDS,
	OPT_RW,
	OPT_READ_PERCENT,
	OPT_BLOCK_SIZE,
	OPT_OFFSET,
	OPT_SIZE,
	OPT_VERIFY,
	OPT_QUEUE_DEPTH,
	OPT_NUM_QUEUES,
	OPT_THREADS,
	OPT_QUEUE_SIZE,
	OPT_RING,
	OPT_DESCRIPTORS,
	OPT_EVENT_IDX,
	OPT_COMPLETION,
	OPT_INFLIGHT,
	OPT_SECONDS,
	OPT_COUNT,
	OPT_WARMUP,
	OPT_RATE,
	OPT_CPU_AFFINITY,
	OPT_PID,
	OPT_JSON,
	OPT_HELP,
	OPT_VERSION,
	N_OPTIONS,
};

/* What the rows' functions fill in. */
struct parsed {
	struct bench_options options;
	bool mixed;                /* --rw has reads and writes */
	unsigned int read_percent; /* as given; it counts only then */
};

static struct bench_options *options_of(const struct option_parser *parser)
{
	return &((struct parsed *)parser->into)->options;
}

/* ---- what is more than a kind can say; `value` is never empty ---- */

static int set_socket_path(struct option_parser *parser, const struct option_row *row,
			   const char *value)
{
	int err = option_check_socket_path(parser, row, value);
	struct bench_options *o = options_of(parser);

	if (err)
		return err;
	if (o->n_sockets == 2)
		return option_fail(parser, "--%s is given three times, there may be two",
				   row->name);
	o->socket[o->n_sockets++] = value;
	return 0;
}

static int set_beside(struct option_parser *parser, const struct option_row *row, const char *value)
{
	int err = option_check_socket_path(parser, row, value);

	if (!err)
		options_of(parser)->beside = value;
	return err;
}

static int set_rw(struct option_parser *parser, const struct option_row *row, const char *value)
{
	static const char *const words[] = {"read",      "write",  "rw", "randread",
					    "randwrite", "randrw", NULL};
	static const unsigned int percent[] = {100, 0, 50};
	const int i = find_word(words, value);

	if (i < 0)
		return option_fail_value(parser, row, value, row->argument);
	options_of(parser)->random = i >= 3;
	((struct parsed *)parser->into)->mixed = i % 3 == 2;
	options_of(parser)->read_percent = percent[i % 3];
	return 0;
}

static int set_queue_size(struct option_parser *parser, const struct option_row *row,
			  const char *value)
{
	uint64_t n;

	if (!parse_digits(value, 10, MAX_QUEUE_SIZE, &n) || !n || n & (n - 1))
		return option_fail_value(parser, row, value, "a power of two up to 32768");
	options_of(parser)->queue_size = (unsigned int)n;
	return 0;
}

static int set_time(struct option_parser *parser, const struct option_row *row, const char *value,
		    double *to)
{
	if (!parse_decimal(value, MAX_SECONDS, to))
		return option_fail_value(parser, row, value,
					 "a number of seconds up to 86400, as 10 or 0.5");
	return 0;
}

static int set_seconds(struct option_parser *parser, const struct option_row *row,
		       const char *value)
{
	const int ret = set_time(parser, row, value, &options_of(parser)->seconds);

	if (!ret && options_of(parser)->seconds <= 0)
		return option_fail_value(parser, row, value, "a time above 0");
	return ret;
}

static int set_warmup(struct option_parser *parser, const struct option_row *row, const char *value)
{
	return set_time(parser, row, value, &options_of(parser)->warmup);
}

static int set_count(struct option_parser *parser, const struct option_row *row, const char *value)
{
	if (!parse_digits(value, 10, INT64_MAX, &options_of(parser)->count) ||
	    !options_of(parser)->count)
		return option_fail_value(parser, row, value, "a number of requests above 0");
	return 0;
}

static int set_rate(struct option_parser *parser, const struct option_row *row, const char *value)
{
	if (!parse_decimal(value, 1e9, &options_of(parser)->rate))
		return option_fail_value(parser, row, value,
					 "requests per second, up to 1000000000");
	return 0;
}

static int set_cpu_affinity(struct option_parser *parser, const struct option_row *row,
			    const char *value)
{
	struct bench_options *o = options_of(parser);

	if (!parse_list(value, MAX_CPU, o->cpu, BENCH_MAX_CPUS, &o->n_cpus))
		return option_fail_value(parser, row, value,
					 "processors, as 0,2 or 0-3, 64 at most");
	return 0;
}

/* ---- the table; --help has its order ---- */

#define TO(member) OPTION_TO(struct parsed, member)

static const struct option_row rows[N_OPTIONS] = {
	[OPT_SOCKET_PATH] = {"socket-path", "PATH", OTHER(set_socket_path),
			     .help = "the back-end's socket; twice with --compare"},
	[OPT_FLOOR] = {"floor", NULL, FLAG(options.floor),
		       .help = "no socket: a thread that does no work answers, which\n"
			       "shows what the generator itself can do"},
	[OPT_COMPARE] = {"compare", NULL, FLAG(options.compare),
			 .help = "measure two back-ends in turn"},
	[OPT_BESIDE] = {"beside", "PATH", OTHER(set_beside),
			.help = "the socket of another disk, which is kept busy meanwhile\n"
				"by the same thread and not measured"},
	[OPT_BESIDE_DEPTH] = {"beside-depth", "N",
			      NUMBER(options.beside_depth, .min = 1, .max = MAX_QUEUE_SIZE),
			      .help = "requests in flight there (default 128)"},
	[OPT_ROUNDS] = {"rounds", "N", NUMBER(options.rounds, .min = 1, .max = MAX_ROUNDS),
			.help = "of --compare (default 5)"},
	[OPT_RW] = {"rw", "read|write|rw|randread|randwrite|randrw", OTHER(set_rw),
		    .help = "what to do (default randread)"},
	[OPT_READ_PERCENT] = {"read-percent", "N", NUMBER(read_percent, .max = 100),
			      .help = "share of reads of rw and randrw (default 50)"},
	[OPT_BLOCK_SIZE] = {"block-size", "SIZE",
			    BYTES(options.block_size, .step = SECTOR, .min = SECTOR,
				  .max = MAX_BLOCK_SIZE),
			    .expected = "a multiple of 512 up to 64M",
			    .help = "of each request (default 4K)"},
	[OPT_OFFSET] = {"offset", "SIZE", BYTES(options.offset, .step = SECTOR, .max = UINT64_MAX),
			.expected = "a multiple of 512 bytes, as 4096 or 1G",
			.help = "where the area begins (default 0)"},
	[OPT_SIZE] = {"size", "SIZE",
		      BYTES(options.size, .step = SECTOR, .min = SECTOR, .max = UINT64_MAX),
		      .expected = "a multiple of 512 bytes above 0, as 4096 or 1G",
		      .help = "of the area (default: to the disk's end)"},
	[OPT_VERIFY] = {"verify", NULL, FLAG(options.verify),
			.help = "stamp what is written, check what is read"},
	[OPT_QUEUE_DEPTH] = {"queue-depth", "N",
			     NUMBER(options.depth, .min = 1, .max = MAX_QUEUE_SIZE),
			     .help = "requests in flight in each queue (default 1)"},
	[OPT_NUM_QUEUES] = {"num-queues", "N",
			    NUMBER(options.n_queues, .min = 1, .max = BENCH_MAX_QUEUES),
			    .help = "queues (default 1)"},
	[OPT_THREADS] = {"threads", "N",
			 NUMBER(options.n_threads, .min = 1, .max = BENCH_MAX_QUEUES),
			 .help = "threads that the queues are spread over (default 1)"},
	[OPT_QUEUE_SIZE] = {"queue-size", "N", OTHER(set_queue_size),
			    .help = "entries of each ring (default: what the depth needs,\n"
				    "at least 128)"},
	[OPT_RING] = {"ring", "split|packed", WORD(options.packed, false, true),
		      .help = "kind of virtqueue (default split)"},
	[OPT_DESCRIPTORS] = {"descriptors", "direct|indirect", WORD(options.indirect, false, true),
			     .help = "three descriptors in the ring for a request, or one\n"
				     "that names a table (default indirect)"},
	[OPT_EVENT_IDX] = {"event-idx", "on|off", WORD(options.event_idx, true, false),
			   .help = "negotiate EVENT_IDX (default on)"},
	[OPT_COMPLETION] = {"completion", "poll|call", WORD(options.call, false, true),
			    .help = "poll the ring and want no calls (the default), or\n"
				    "sleep until called"},
	[OPT_INFLIGHT] = {"inflight", "on|off", WORD(options.inflight, true, false),
			  .help = "have an in-flight region, as QEMU does (default: if\n"
				  "the back-end offers it)"},
	[OPT_SECONDS] = {"seconds", "N", OTHER(set_seconds),
			 .help = "how long to measure (default 10)"},
	[OPT_COUNT] = {"count", "N", OTHER(set_count),
		       .help = "measure exactly N requests instead"},
	[OPT_WARMUP] = {"warmup", "SECONDS", OTHER(set_warmup),
			.help = "do the same for so long before (default 0)"},
	[OPT_RATE] = {"rate", "IOPS", OTHER(set_rate),
		      .help = "begin so many requests per second, evenly (default 0:\n"
			      "as many as come back)"},
	[OPT_CPU_AFFINITY] = {"cpu-affinity", "LIST", OTHER(set_cpu_affinity),
			      .help = "processors for the threads, one after the other"},
	[OPT_PID] = {"pid", "PID", NUMBER(options.pid, .min = 1, .max = INT32_MAX),
		     .expected = "the number of a process",
		     .help = "the back-end's process (default: who listens on the\n"
			     "socket)"},
	[OPT_JSON] = {"json", NULL, FLAG(options.json), .help = "print the result as JSON"},
	[OPT_HELP] = {"help", .help = "print this text and exit"},
	[OPT_VERSION] = {"version", .help = "print the version and exit"},
};

/* ---- parsing ---- */

static enum bench_action find_action(int argc, char *const *argv)
{
	if (option_stands(argc, argv, rows[OPT_HELP].name))
		return BENCH_HELP;
	if (option_stands(argc, argv, rows[OPT_VERSION].name))
		return BENCH_VERSION;
	return BENCH_RUN;
}

static const struct bench_options defaults = {
	.action = BENCH_RUN,
	.rounds = 5,
	.random = true,
	.read_percent = 100,
	.block_size = 4096,
	.depth = 1,
	.beside_depth = 128,
	.n_queues = 1,
	.n_threads = 1,
	.indirect = true,
	.event_idx = true,
	.inflight = true,
	.seconds = 10,
};

/* ---- what goes together ---- */

static int check_sockets(struct option_parser *parser)
{
	const struct bench_options *o = options_of(parser);

	if (o->floor && (o->n_sockets || o->compare))
		return option_fail(parser, "--floor goes with neither --socket-path nor --compare");
	if (o->compare && o->n_sockets != 2)
		return option_fail(parser, "--compare needs --socket-path=PATH twice");
	if (!o->compare && o->n_sockets == 2)
		return option_fail(parser, "--socket-path is given twice, which takes --compare");
	if (!o->floor && !o->n_sockets)
		return option_fail(parser, "--socket-path=PATH is missing");
	if (parser->here[OPT_ROUNDS] && !o->compare)
		return option_fail(parser, "--rounds goes only with --compare");
	if (o->beside && (o->compare || o->floor))
		return option_fail(parser, "--beside goes with neither --compare nor --floor");
	if (parser->here[OPT_BESIDE_DEPTH] && !o->beside)
		return option_fail(parser, "--beside-depth goes only with --beside");
	if (o->pid && (o->compare || o->floor))
		return option_fail(parser, "--pid goes with neither --compare nor --floor");
	return 0;
}

static int check_work(struct option_parser *parser)
{
	const struct bench_options *o = options_of(parser);

	if (parser->here[OPT_SECONDS] && o->count)
		return option_fail(parser, "--seconds and --count exclude each other");
	if (o->beside && o->count)
		return option_fail(parser, "--beside and --count exclude each other");
	if (o->verify && o->floor)
		return option_fail(parser,
				   "--verify does not go with --floor, which moves no data");
	if (o->call && o->floor)
		return option_fail(
			parser, "--completion=call does not go with --floor, which calls nobody");
	if (o->size && o->size < o->block_size)
		return option_fail(parser, "--size is smaller than --block-size");
	return 0;
}

/* --read-percent may stand before or after --rw. */
static int check_mix(struct option_parser *parser)
{
	struct parsed *parsed = parser->options;

	if (!parser->here[OPT_READ_PERCENT])
		return 0;
	if (!parsed->mixed)
		return option_fail(parser, "--read-percent goes only with --rw=rw or --rw=randrw");
	parsed->options.read_percent = parsed->read_percent;
	return 0;
}

/* The smallest ring for so many entries. */
static unsigned int queue_size_for(unsigned int needed)
{
	unsigned int size = DEFAULT_QUEUE_SIZE;

	while (size < needed)
		size *= 2;
	return size;
}

/* The smallest ring for the depth, or the one asked for. */
static int check_queues(struct option_parser *parser)
{
	struct bench_options *o = options_of(parser);
	const unsigned int needed = o->depth * bench_entries_per_request(o);
	const unsigned int beside = o->beside_depth * bench_entries_per_request(o);

	if (o->queue_size && o->queue_size < needed)
		return option_fail(parser,
				   "--queue-depth=%u needs a ring of %u entries, --queue-size=%u",
				   o->depth, needed, o->queue_size);
	if (!o->queue_size)
		o->queue_size = queue_size_for(needed);
	if (queue_size_for(beside) > MAX_QUEUE_SIZE)
		return option_fail(parser,
				   "--beside-depth=%u needs a ring of %u entries, there are 32768",
				   o->beside_depth, beside);
	if (o->queue_size > MAX_QUEUE_SIZE)
		return option_fail(parser,
				   "--queue-depth=%u needs a ring of %u entries, there are 32768",
				   o->depth, needed);
	if (o->n_threads > o->n_queues)
		return option_fail(parser, "--threads=%u is more than --num-queues=%u",
				   o->n_threads, o->n_queues);
	return 0;
}

static int (*const checks[])(struct option_parser *) = {
	check_sockets, check_work, check_mix, check_queues, NULL,
};
static const struct option_part part = {rows, N_OPTIONS, checks};
static const struct option_table table = {"vublk-bench", {{&part, 0}}, &rows[OPT_SOCKET_PATH]};
static_assert(N_OPTIONS <= OPTION_TABLE_MAX, "the parser has room for the table");

int bench_options_parse(struct bench_options *options, int argc, char *const *argv, char *error,
			size_t size)
{
	struct parsed parsed = {.options = defaults};
	struct option_parser parser = {
		.table = &table, .options = &parsed, .error = error, .error_size = size};
	int err;

	*options = defaults;
	options->action = find_action(argc, argv);
	if (options->action != BENCH_RUN)
		return 0;
	err = option_table_parse(&parser, argc, argv);
	parsed.options.inflight_given = parser.given[OPT_INFLIGHT] != NULL;
	*options = parsed.options;
	return err;
}

struct bench_options bench_options_beside(const struct bench_options *options)
{
	struct bench_options beside = *options;

	beside.depth = options->beside_depth;
	beside.queue_size = queue_size_for(beside.depth * bench_entries_per_request(options));
	beside.n_queues = beside.n_threads = 1;
	beside.rate = 0;
	beside.verify = false;
	return beside;
}

/* ---- --help ---- */

void bench_options_print_help(void)
{
	puts("Usage: vublk-bench --socket-path=PATH [OPTION]...\n"
	     "       vublk-bench --compare --socket-path=PATH --socket-path=PATH [OPTION]...\n"
	     "       vublk-bench --floor [OPTION]...\n"
	     "       vublk-bench --help | --version\n"
	     "\n"
	     "Measures a vhost-user-blk back-end without a guest.\n"
	     "\n"
	     "Options:");
	option_table_print(&table);
	puts("\n"
	     "SIZE is in bytes, or has one of the suffixes K, M, G, T (powers of 1024).\n"
	     "The manual page vublk-bench(1) explains every option.");
}
