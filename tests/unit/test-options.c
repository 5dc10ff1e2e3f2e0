/* SPDX-License-Identifier: BSD-3-Clause */
/* src/cli/options.c: each option's values, good and bad; what goes together; what wins. */
#include "src/cli/options.h"
#include "src/worker/poll_policy.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "src/io/engine.h"
#include "tests/tap.h"
#include "tests/unit/support/capture.h"

#define MAX_ARGS 16

static struct options options;
static char error[512];

/* Parses "vublkd" and these arguments, ended by NULL, from memory of its own. */
static int parse_list(const char *const *list)
{
	static char *argv[MAX_ARGS + 2];
	int argc = 0;

	while (argc < MAX_ARGS && argv[argc])
		free(argv[argc++]);
	argc = 0;
	argv[argc++] = strdup("vublkd");
	for (; *list; list++) {
		REQUIRE(argc <= MAX_ARGS);
		argv[argc++] = strdup(*list);
	}
	argv[argc] = NULL;
	strcpy(error, "(none)");
	return options_parse(&options, argc, argv, error, sizeof(error));
}

#define PARSE(...) parse_list((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
/* With an image, which is mandatory. */
#define PARSE_WITH(...) PARSE("--blk-file=img", __VA_ARGS__)

/* Refused with -EINVAL, in one line that contains `text`. */
static void check_refused(int r, const char *text, const char *file, unsigned line)
{
	bool good = r == -EINVAL && strstr(error, text) && !strchr(error, '\n');

	tap_check(good, false, file, line, "result %d, message '%s', not '%s'", r, error, text);
}

#define CHECK_REFUSED(r, text) check_refused(r, text, __FILE__, __LINE__)

/* ---- defaults and actions ---- */

static void defaults_are_as_documented(void)
{
	REQUIRE_OK(PARSE("--blk-file=img"));
	CHECK_EQ(options.action, OPTIONS_SERVE);
	CHECK(options.disk.listener.path == NULL);
	CHECK_EQ(options.disk.listener.fd, -1);
	CHECK_EQ(options.disk.listener.mode, 0600);
	CHECK(options.disk.listener.group == NULL);
	CHECK_TEXT(options.disk.image.path, "img");
	CHECK(!options.disk.image.read_only);
	CHECK_EQ(options.disk.image.cache, IMAGE_CACHE_NONE);
	CHECK(options.disk.image.discard);
	CHECK_EQ(options.disk.image.block_size, 0);
	CHECK_EQ(options.disk.image.physical_block_size, 0);
	CHECK_EQ(options.disk.image.optimal_io_size, 0);
	CHECK(options.daemon.workers.engine == &engine_uring &&
	      !options.daemon.workers.engine_given);
	CHECK_EQ(options.disk.num_queues, 256);
	CHECK_TEXT(options.disk.serial, "");
	CHECK(options.disk.lock);
	CHECK_EQ(options.disk.lock_timeout, 30);
	CHECK_EQ(options.log_level, LOG_LEVEL_INFO);
	CHECK_EQ(options.disk.seg_max, 126);
}

static void everything_at_once(void)
{
	REQUIRE_OK(PARSE("--socket-path=/run/s", "--socket-mode=660", "--socket-group=kvm",
			 "--blk-file=img", "--read-only", "--num-queues=4", "--engine=libaio",
			 "--cache=writethrough", "--serial=S-1", "--block-size=4096",
			 "--physical-block-size=16K", "--optimal-io-size=1M", "--discard=ignore",
			 "--lock-timeout=5", "--log-level=debug"));
	CHECK_TEXT(options.disk.listener.path, "/run/s");
	CHECK_EQ(options.disk.listener.mode, 0660);
	CHECK_TEXT(options.disk.listener.group, "kvm");
	CHECK(options.disk.image.read_only);
	CHECK_EQ(options.disk.num_queues, 4);
	CHECK(options.daemon.workers.engine == &engine_aio && options.daemon.workers.engine_given);
	CHECK_EQ(options.disk.image.cache, IMAGE_CACHE_WRITETHROUGH);
	CHECK_TEXT(options.disk.serial, "S-1");
	CHECK_EQ(options.disk.image.block_size, 4096);
	CHECK_EQ(options.disk.image.physical_block_size, 16384);
	CHECK_EQ(options.disk.image.optimal_io_size, 1048576);
	CHECK(!options.disk.image.discard);
	CHECK_EQ(options.disk.lock_timeout, 5);
	CHECK_EQ(options.log_level, LOG_LEVEL_DEBUG);
}

static void value_may_stand_apart(void)
{
	REQUIRE_OK(PARSE("--blk-file", "img", "--fd", "7", "--serial", "a=b"));
	CHECK_TEXT(options.disk.image.path, "img");
	CHECK_EQ(options.disk.listener.fd, 7);
	CHECK_TEXT(options.disk.serial, "a=b");
}

static void capabilities_win_over_everything(void)
{
	CHECK_OK(PARSE("--print-capabilities"));
	CHECK_EQ(options.action, OPTIONS_CAPABILITIES);
	CHECK_OK(PARSE("--bogus", "-x", "word", "--fd=x", "--fd=y", "--print-capabilities"));
	CHECK_EQ(options.action, OPTIONS_CAPABILITIES);
	CHECK_OK(PARSE("--help", "--version", "--print-capabilities", "--print-capabilities"));
	CHECK_EQ(options.action, OPTIONS_CAPABILITIES);
}

static void help_wins_over_version(void)
{
	CHECK_OK(PARSE("--version", "--bogus"));
	CHECK_EQ(options.action, OPTIONS_VERSION);
	CHECK_OK(PARSE("--version", "--bogus", "--help"));
	CHECK_EQ(options.action, OPTIONS_HELP);
}

static void nothing_wins_after_the_end_of_options(void)
{
	CHECK_REFUSED(PARSE_WITH("--", "--print-capabilities"), "--print-capabilities");
	CHECK_REFUSED(PARSE_WITH("--", "--help"), "'--help'");
	CHECK_OK(PARSE_WITH("--"));
	CHECK_EQ(options.action, OPTIONS_SERVE);
}

static void actions_take_no_value(void)
{
	CHECK_REFUSED(PARSE_WITH("--print-capabilities=yes"), "takes no value");
	CHECK_REFUSED(PARSE_WITH("--help=me"), "--help takes no value");
}

static const struct tap_case general_cases[] = {
	{"defaults_are_as_documented", defaults_are_as_documented},
	{"everything_at_once", everything_at_once},
	{"value_may_stand_apart", value_may_stand_apart},
	{"capabilities_win_over_everything", capabilities_win_over_everything},
	{"help_wins_over_version", help_wins_over_version},
	{"nothing_wins_after_the_end_of_options", nothing_wins_after_the_end_of_options},
	{"actions_take_no_value", actions_take_no_value},
	{0},
};

/* ---- refused whatever the option ---- */

static void unknown_options(void)
{
	CHECK_REFUSED(PARSE_WITH("--bogus"), "'--bogus'");
	CHECK_REFUSED(PARSE_WITH("--bogus=1"), "'--bogus=1'");
	CHECK_REFUSED(PARSE_WITH("-h"), "'-h'");
	CHECK_REFUSED(PARSE_WITH("-ro"), "'-ro'");
	CHECK_REFUSED(PARSE_WITH("--Read-only"), "'--Read-only'");
}

static void abbreviated_options(void)
{
	CHECK_REFUSED(PARSE_WITH("--read"), "did you mean --read-only?");
	CHECK_REFUSED(PARSE_WITH("--num-q=4"), "did you mean --num-queues?");
	CHECK_REFUSED(PARSE_WITH("--num-queue", "4"), "did you mean --num-queues?");
	CHECK_REFUSED(PARSE_WITH("--print-cap"), "did you mean --print-capabilities?");
	CHECK_REFUSED(PARSE_WITH("--socket=x"), "--socket=x"); /* of several */
}

static void arguments_that_are_no_options(void)
{
	CHECK_REFUSED(PARSE_WITH("word"), "'word'");
	CHECK_REFUSED(PARSE_WITH("-"), "'-'");
	CHECK_REFUSED(PARSE_WITH("word", "--read-only"), "'word'");
	CHECK_REFUSED(PARSE_WITH("--read-only", "yes"), "'yes'");
}

/* The table of the options that take values, each with a good one. */
static const char *const valued[][2] = {
	{"--socket-path", "s"},       {"--fd", "3"},           {"--socket-mode", "600"},
	{"--socket-group", "g"},      {"--blk-file", "img"},   {"--cache", "none"},
	{"--discard", "unmap"},       {"--block-size", "512"}, {"--physical-block-size", "512"},
	{"--optimal-io-size", "512"}, {"--serial", "s"},       {"--num-queues", "1"},
	{"--seg-max", "62"},          {"--engine", "null"},    {"--size", "1M"},
	{"--lock-timeout", "1"},      {"--log-level", "info"}, {"--num-workers", "1"},
	{"--cpu-affinity", "0"},      {"--poll", "auto"},      {"--sqpoll-cpu", "0"},
};

#define N_VALUED (sizeof(valued) / sizeof(valued[0]))

static void missing_values(void)
{
	for (size_t i = 0; i < N_VALUED; i++) {
		char empty[64];

		snprintf(empty, sizeof(empty), "%s=", valued[i][0]);
		CHECK_REFUSED(PARSE(valued[i][0]), "needs a value");
		CHECK(strstr(error, valued[i][0]) != NULL);
		CHECK_REFUSED(PARSE(empty), "is empty");
		CHECK_REFUSED(PARSE(valued[i][0], ""), "is empty");
	}
}

static void doubled_options(void)
{
	for (size_t i = 0; i < N_VALUED; i++) {
		char word[64];

		snprintf(word, sizeof(word), "%s=%s", valued[i][0], valued[i][1]);
		CHECK_REFUSED(PARSE(word, word), "given twice");
		CHECK(strstr(error, valued[i][0]) != NULL);
	}
	CHECK_REFUSED(PARSE("--read-only", "--read-only"), "--read-only is given twice");
	CHECK_REFUSED(PARSE("--no-lock", "--no-lock"), "--no-lock is given twice");
}

static void surplus_values(void)
{
	CHECK_REFUSED(PARSE_WITH("--read-only=yes"), "--read-only takes no value");
	CHECK_REFUSED(PARSE_WITH("--no-lock="), "--no-lock takes no value");
}

static void quoted_text_stays_one_line(void)
{
	CHECK_REFUSED(PARSE_WITH("two\nlines\033[2J"), "'two?lines?[2J'");
	CHECK_REFUSED(PARSE_WITH("a\177b"), "'a?b'");
}

static void long_text_fits_the_buffer(void)
{
	char word[4096], small[32];
	char name[] = "vublkd";
	char *argv[] = {name, word, NULL};

	memset(word, 'w', sizeof(word) - 1);
	word[sizeof(word) - 1] = 0;
	memset(small, '#', sizeof(small));
	CHECK_EQ(options_parse(&options, 2, argv, small, sizeof(small) - 1), -EINVAL);
	CHECK_EQ(strlen(small), sizeof(small) - 2);
	CHECK_EQ(small[sizeof(small) - 1], '#');
}

static const struct tap_case syntax_cases[] = {
	{"unknown_options", unknown_options},
	{"abbreviated_options", abbreviated_options},
	{"arguments_that_are_no_options", arguments_that_are_no_options},
	{"missing_values", missing_values},
	{"doubled_options", doubled_options},
	{"surplus_values", surplus_values},
	{"quoted_text_stays_one_line", quoted_text_stays_one_line},
	{"long_text_fits_the_buffer", long_text_fits_the_buffer},
	{0},
};

/* ---- values ---- */

/* Parses "--name=value" beside an image. */
static int parse_value(const char *name, const char *value)
{
	char word[512];

	snprintf(word, sizeof(word), "--%s=%s", name, value);
	return PARSE_WITH(word);
}

/* Each of the values, up to NULL, is refused in words that name the option. */
static void check_bad_values(const char *name, const char *const *values)
{
	for (; *values; values++) {
		CHECK_REFUSED(parse_value(name, *values), name);
		if (strstr(error, "(none)"))
			tap_diag("--%s=%s was taken", name, *values);
	}
}

#define CHECK_BAD_VALUES(name, ...) check_bad_values(name, (const char *const[]){__VA_ARGS__, NULL})

static int parse_disk_size(const char *text)
{
	char word[128];

	snprintf(word, sizeof(word), "--size=%s", text);
	return PARSE("--engine=null", word);
}

static void sizes(void)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"512", 512},
		{"1K", 1024},
		{"3M", 3145728},
		{"20G", 21474836480},
		{"2T", 2199023255552},
		{"0001K", 1024},
		{"8388607T", UINT64_C(8388607) << 40},
		{"9223372036854775296", UINT64_C(9223372036854775296)},
	};
	static const char *const bad[] = {
		"0",
		"0K",
		"511",
		"513",
		"K",
		"-1",
		"-1K",
		"+1K",
		" 1K",
		"1K ",
		"1k",
		"1KiB",
		"1KK",
		"1.5G",
		"1e6",
		"0x200",
		"1P",
		"8388608T",
		"9007199254740992K",
		"9223372036854775808",
		"18446744073709551616",
		"18446744073709552128",
		"99999999999999999999999999999999999999999",
		"17179869185G",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		CHECK_OK(parse_disk_size(good[i].text));
		CHECK_EQ(options.disk.image.null_size, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CHECK_REFUSED(parse_disk_size(bad[i]), "--size must be");
		CHECK(strstr(error, bad[i]) != NULL);
	}
}

static void descriptors(void)
{
	CHECK_OK(parse_value("fd", "0"));
	CHECK_EQ(options.disk.listener.fd, 0);
	CHECK_OK(parse_value("fd", "2147483647"));
	CHECK_EQ(options.disk.listener.fd, INT_MAX);
	CHECK_BAD_VALUES("fd", "-1", "+3", "3x", " 3", "2147483648", "4294967299", "three");
}

static void queues(void)
{
	CHECK_OK(parse_value("num-queues", "1"));
	CHECK_EQ(options.disk.num_queues, 1);
	CHECK_OK(parse_value("num-queues", "256"));
	CHECK_EQ(options.disk.num_queues, 256);
	CHECK_BAD_VALUES("num-queues", "0", "257", "-1", "1K", "4294967297");
	CHECK_OK(parse_value("seg-max", "1"));
	CHECK_EQ(options.disk.seg_max, 1);
	CHECK_OK(parse_value("seg-max", "1022"));
	CHECK_EQ(options.disk.seg_max, 1022);
	CHECK_BAD_VALUES("seg-max", "0", "1023", "-1", "1K", "62x", "4294967422");
	CHECK_OK(parse_value("workers", "0"));
	CHECK_EQ(options.disk.workers, 1);
	CHECK_OK(PARSE("--blk-file=i", "--num-workers=8", "--workers=0,2-3,7"));
	CHECK_EQ(options.disk.workers, 0x8d);
	CHECK_BAD_VALUES("workers", "1", "64", "x", "0-", "-1", "0,,1", "2-1");
}

static void workers(void)
{
	CHECK_OK(parse_value("num-workers", "1"));
	CHECK_EQ(options.daemon.workers.num, 1);
	CHECK_OK(parse_value("num-workers", "64"));
	CHECK_EQ(options.daemon.workers.num, 64);
	CHECK_BAD_VALUES("num-workers", "0", "65", "-1", "1K", "4294967297");
}

static void cpu_lists(void)
{
	CHECK_OK(parse_value("cpu-affinity", "3"));
	CHECK_EQ(options.daemon.workers.n_cpus, 1);
	CHECK_EQ(options.daemon.workers.cpu[0], 3);
	CHECK_OK(parse_value("cpu-affinity", "5-7,1,3-3"));
	CHECK_EQ(options.daemon.workers.n_cpus, 5);
	CHECK_EQ(options.daemon.workers.cpu[0], 5);
	CHECK_EQ(options.daemon.workers.cpu[2], 7);
	CHECK_EQ(options.daemon.workers.cpu[3], 1);
	CHECK_EQ(options.daemon.workers.cpu[4], 3);
	CHECK_OK(parse_value("cpu-affinity", "0-63"));
	CHECK_EQ(options.daemon.workers.n_cpus, 64);
	CHECK_BAD_VALUES("cpu-affinity", "0-64", "1,0-63", "2-1", "1,", ",1", "1,,2", "-1", "1-",
			 "a", "1 2", "1024", "0-99999999999999999999999");
}

static void polling(void)
{
	CHECK_OK(parse_value("poll", "auto"));
	CHECK_EQ(options.daemon.workers.poll_ns, POLL_AUTO);
	CHECK_OK(parse_value("poll", "off"));
	CHECK_EQ(options.daemon.workers.poll_ns, POLL_OFF);
	CHECK_OK(parse_value("poll", "always"));
	CHECK_EQ(options.daemon.workers.poll_ns, POLL_ALWAYS);
	CHECK_OK(parse_value("poll", "50"));
	CHECK_EQ(options.daemon.workers.poll_ns, 50000);
	CHECK_OK(parse_value("poll", "1000000"));
	CHECK_EQ(options.daemon.workers.poll_ns, 1000000000);
	CHECK_BAD_VALUES("poll", "1000001", "-1", "on", "AUTO", "5us", "99999999999999999999");
}

static void block_sizes(void)
{
	CHECK_OK(parse_value("block-size", "512"));
	CHECK_EQ(options.disk.image.block_size, 512);
	CHECK_OK(parse_value("block-size", "4K"));
	CHECK_EQ(options.disk.image.block_size, 4096);
	CHECK_BAD_VALUES("block-size", "0", "1", "1024", "8192", "-512", "4096x");
}

static void physical_block_sizes(void)
{
	CHECK_OK(parse_value("physical-block-size", "512"));
	CHECK_OK(parse_value("physical-block-size", "2M"));
	CHECK_EQ(options.disk.image.physical_block_size, 2097152);
	CHECK_BAD_VALUES("physical-block-size", "0", "256", "513", "1536", "4M", "4294967808");
}

static void optimal_io_sizes(void)
{
	CHECK_OK(parse_value("optimal-io-size", "512"));
	CHECK_OK(parse_value("optimal-io-size", "4294966784"));
	CHECK_EQ(options.disk.image.optimal_io_size, 4294966784);
	CHECK_BAD_VALUES("optimal-io-size", "0", "100", "513", "4G", "4294967808");
}

static void serials(void)
{
	CHECK_OK(parse_value("serial", "12345678901234567890"));
	CHECK_TEXT(options.disk.serial, "12345678901234567890");
	CHECK_OK(parse_value("serial", " ~"));
	CHECK_BAD_VALUES("serial", "123456789012345678901", "tab\there", "caf\xc3\xa9", "\177");
}

static void words_of_lists(void)
{
	CHECK_OK(parse_value("cache", "none"));
	CHECK_EQ(options.disk.image.cache, IMAGE_CACHE_NONE);
	CHECK_OK(parse_value("cache", "writeback"));
	CHECK_EQ(options.disk.image.cache, IMAGE_CACHE_WRITEBACK);
	CHECK_OK(parse_value("discard", "unmap"));
	CHECK(options.disk.image.discard);
	CHECK_OK(parse_value("log-level", "error"));
	CHECK_EQ(options.log_level, LOG_LEVEL_ERROR);
	CHECK_OK(parse_value("engine", "io_uring"));
	CHECK(options.daemon.workers.engine == &engine_uring &&
	      options.daemon.workers.engine_given);
	CHECK_BAD_VALUES("cache", "None", "unsafe", "write", "writebackx");
	CHECK_BAD_VALUES("discard", "on", "off", "unma");
	CHECK_BAD_VALUES("log-level", "3", "warn", "INFO");
	CHECK_BAD_VALUES("engine", "uring", "aio", "nul", "io_uring ");
	CHECK(strstr(error, "io_uring|libaio|null") != NULL);
}

static void lock_options(void)
{
	CHECK_OK(PARSE_WITH("--no-lock"));
	CHECK(!options.disk.lock);
	CHECK_OK(parse_value("lock-timeout", "0"));
	CHECK_EQ(options.disk.lock_timeout, 0);
	CHECK_OK(parse_value("lock-timeout", "86400"));
	CHECK_BAD_VALUES("lock-timeout", "-1", "86401", "1s", "1.5", "4294967296");
}

static void socket_modes(void)
{
	CHECK_OK(PARSE_WITH("--socket-path=s", "--socket-mode=0660"));
	CHECK_EQ(options.disk.listener.mode, 0660);
	CHECK_OK(PARSE_WITH("--socket-path=s", "--socket-mode=777"));
	CHECK_EQ(options.disk.listener.mode, 0777);
	CHECK_REFUSED(PARSE_WITH("--socket-path=s", "--socket-mode=1777"), "--socket-mode must be");
	CHECK_REFUSED(PARSE_WITH("--socket-path=s", "--socket-mode=668"), "--socket-mode must be");
	CHECK_REFUSED(PARSE_WITH("--socket-path=s", "--socket-mode=rw"), "--socket-mode must be");
	CHECK_REFUSED(PARSE_WITH("--socket-path=s", "--socket-mode=-1"), "--socket-mode must be");
}

/* sun_path holds 107 characters and a NUL. */
static void socket_path_lengths(void)
{
	char value[200];

	memset(value, 'p', sizeof(value));
	value[107] = 0;
	CHECK_OK(parse_value("socket-path", value));
	CHECK_EQ(strlen(options.disk.listener.path), 107);
	value[107] = 'p';
	value[108] = 0;
	CHECK_REFUSED(parse_value("socket-path", value), "at most 107");
}

static const struct tap_case value_cases[] = {
	{"sizes", sizes},
	{"descriptors", descriptors},
	{"queues", queues},
	{"workers", workers},
	{"cpu_lists", cpu_lists},
	{"polling", polling},
	{"block_sizes", block_sizes},
	{"physical_block_sizes", physical_block_sizes},
	{"optimal_io_sizes", optimal_io_sizes},
	{"serials", serials},
	{"words_of_lists", words_of_lists},
	{"lock_options", lock_options},
	{"socket_modes", socket_modes},
	{"socket_path_lengths", socket_path_lengths},
	{0},
};

/* ---- what goes together ---- */

static void image_is_mandatory(void)
{
	CHECK_REFUSED(PARSE(), "--blk-file=PATH is missing");
	CHECK_REFUSED(PARSE("--socket-path=s", "--read-only"), "--blk-file=PATH is missing");
}

static void null_engine_needs_a_size(void)
{
	CHECK_REFUSED(PARSE("--engine=null"), "--size");
	CHECK_OK(PARSE("--engine=null", "--size=1G"));
	CHECK(options.disk.image.path == NULL);
	CHECK_EQ(options.disk.image.null_size, 1073741824);
	CHECK_OK(PARSE("--engine=null", "--blk-file=img"));
	CHECK_EQ(options.disk.image.null_size, 0);
}

static void what_only_io_uring_has(void)
{
	static const char *const alone[] = {"--fixed-buffers", "--iopoll", "--sqpoll"};

	CHECK_OK(PARSE_WITH("--read-only"));
	CHECK(!options.daemon.workers.uring.fixed_buffers && !options.daemon.workers.uring.iopoll &&
	      !options.daemon.workers.uring.sqpoll);
	for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++) {
		CHECK_OK(PARSE_WITH(alone[i]));
		CHECK_OK(PARSE_WITH(alone[i], "--engine=io_uring"));
		CHECK_REFUSED(PARSE_WITH(alone[i], "--engine=libaio"), "--engine=io_uring");
		CHECK_REFUSED(PARSE_WITH("--engine=null", alone[i]), "--engine=io_uring");
	}
	CHECK_OK(PARSE_WITH("--fixed-buffers", "--iopoll", "--cache=none"));
	CHECK(options.daemon.workers.uring.fixed_buffers && options.daemon.workers.uring.iopoll);
	CHECK_REFUSED(PARSE_WITH("--iopoll", "--cache=writeback"), "--cache=none");
	CHECK_REFUSED(PARSE_WITH("--iopoll", "--cache=writethrough"), "--cache=none");
	CHECK_REFUSED(PARSE_WITH("--iopoll", "--sqpoll"), "exclude each other");
	CHECK_OK(PARSE_WITH("--postcopy"));
	CHECK_REFUSED(PARSE_WITH("--postcopy", "--fixed-buffers"), "exclude each other");
}

static void submission_thread(void)
{
	CHECK_OK(PARSE_WITH("--sqpoll", "--fixed-buffers"));
	CHECK(options.daemon.workers.uring.sqpoll);
	CHECK_EQ(options.daemon.workers.uring.sqpoll_cpu, -1);
	CHECK_OK(PARSE_WITH("--sqpoll-cpu=3", "--sqpoll"));
	CHECK_EQ(options.daemon.workers.uring.sqpoll_cpu, 3);
	CHECK_REFUSED(PARSE_WITH("--sqpoll-cpu=3"), "--sqpoll-cpu goes only with --sqpoll");
	CHECK_REFUSED(PARSE_WITH("--sqpoll", "--sqpoll-cpu=-1"), "--sqpoll-cpu must be");
	CHECK_REFUSED(PARSE_WITH("--sqpoll", "--sqpoll-cpu=2147483648"), "--sqpoll-cpu must be");
}

static void size_goes_with_the_null_engine_only(void)
{
	CHECK_REFUSED(PARSE("--size=1G"), "--engine=null");
	CHECK_REFUSED(PARSE("--engine=libaio", "--size=1G"), "--engine=null");
	CHECK_REFUSED(PARSE_WITH("--size=1G"), "--blk-file");
	CHECK_REFUSED(PARSE_WITH("--engine=null", "--size=1G"), "--blk-file");
}

static void supervise_has_its_place(void)
{
	REQUIRE_OK(PARSE_WITH("--serial", "--supervise", "--supervise", "--no-lock"));
	CHECK(options.supervise);
	CHECK_EQ(options.supervise_place, 4);
	REQUIRE_OK(PARSE_WITH("--serial", "--supervise"));
	CHECK(!options.supervise);
	CHECK_REFUSED(PARSE_WITH("--supervise", "--fd=3"), "exclude each other");
	CHECK_REFUSED(PARSE_WITH("--supervise", "--supervise"), "given twice");
}

static void what_excludes_what(void)
{
	CHECK_REFUSED(PARSE_WITH("--no-lock", "--lock-timeout=3"), "exclude each other");
	CHECK_REFUSED(PARSE_WITH("--socket-path=s", "--fd=3"), "exclude each other");
	CHECK_REFUSED(PARSE_WITH("--fd=3", "--socket-path=s"), "exclude each other");
}

static void socket_rights_need_a_socket_path(void)
{
	CHECK_REFUSED(PARSE_WITH("--socket-mode=600"), "--socket-path");
	CHECK_REFUSED(PARSE_WITH("--fd=3", "--socket-mode=600"), "--socket-path");
	CHECK_REFUSED(PARSE_WITH("--fd=3", "--socket-group=kvm"), "--socket-path");
	CHECK_OK(PARSE_WITH("--socket-group=kvm", "--socket-path=s"));
}

static void geometry_must_agree(void)
{
	CHECK_REFUSED(PARSE_WITH("--block-size=4096", "--physical-block-size=512"),
		      "--physical-block-size is smaller");
	CHECK_REFUSED(PARSE_WITH("--optimal-io-size=512", "--block-size=4096"),
		      "--optimal-io-size is not a multiple");
	CHECK_REFUSED(PARSE("--engine=null", "--size=512", "--block-size=4096"),
		      "--size is not a multiple");
	CHECK_OK(PARSE_WITH("--block-size=4096", "--physical-block-size=4K",
			    "--optimal-io-size=8K"));
}

static void limits(void)
{
	const struct limits_config *config = &options.disk.limits;

	CHECK_OK(PARSE("--blk-file=img"));
	CHECK(!limits_config_any(config));
	CHECK_OK(PARSE_WITH("--iops-read=10", "--bps-write=20K", "--bps-write-max=30K",
			    "--bps-write-max-length=40", "--iops-size=4K"));
	CHECK_EQ(config->limit[LIMIT_IOPS_READ].average, 10);
	CHECK_EQ(config->limit[LIMIT_BPS_WRITE].average, 20480);
	CHECK_EQ(config->limit[LIMIT_BPS_WRITE].max, 30720);
	CHECK_EQ(config->limit[LIMIT_BPS_WRITE].max_length, 40);
	CHECK_EQ(config->iops_size, 4096);
	CHECK_REFUSED(PARSE_WITH("--iops-total=1000000000000001"), "--iops-total must be");
	CHECK_REFUSED(PARSE_WITH("--iops-total=1", "--iops-read=1"), "exclude each other");
}

static void parsing_again_begins_anew(void)
{
	CHECK_REFUSED(PARSE_WITH("--read-only", "word", "--fd=3"), "'word'");
	CHECK_OK(PARSE_WITH("--serial=x"));
	CHECK(!options.disk.image.read_only);
	CHECK_EQ(options.disk.listener.fd, -1);
	CHECK_TEXT(options.disk.serial, "x");
}

static const struct tap_case together_cases[] = {
	{"image_is_mandatory", image_is_mandatory},
	{"null_engine_needs_a_size", null_engine_needs_a_size},
	{"size_goes_with_the_null_engine_only", size_goes_with_the_null_engine_only},
	{"what_only_io_uring_has", what_only_io_uring_has},
	{"submission_thread", submission_thread},
	{"supervise_has_its_place", supervise_has_its_place},
	{"what_excludes_what", what_excludes_what},
	{"socket_rights_need_a_socket_path", socket_rights_need_a_socket_path},
	{"geometry_must_agree", geometry_must_agree},
	{"limits", limits},
	{"parsing_again_begins_anew", parsing_again_begins_anew},
	{0},
};

/* ---- --help ---- */

static void help_names_every_option_in_80_columns(void)
{
	char line[128];
	const char *text, *end;

	capture_begin(STDOUT_FILENO);
	options_print_help();
	text = capture_end();
	for (size_t i = 0; i < N_VALUED; i++) {
		snprintf(line, sizeof(line), "\n  %s=", valued[i][0]);
		CHECK(strstr(text, line) != NULL);
	}
	CHECK(strstr(text, "\n  --read-only  ") && strstr(text, "\n  --no-lock  "));
	CHECK(strstr(text, "\n  --print-capabilities  ") && strstr(text, "\n  --version  "));
	for (; *text; text = end + 1) {
		end = strchr(text, '\n');
		REQUIRE(end != NULL);
		CHECK(end - text <= 80);
		CHECK(end == text || end[-1] != ' ');
	}
}

static const struct tap_case help_cases[] = {
	{"help_names_every_option_in_80_columns", help_names_every_option_in_80_columns},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "options", .cases = general_cases},
	{.name = "options syntax", .cases = syntax_cases},
	{.name = "options values", .cases = value_cases},
	{.name = "options together", .cases = together_cases},
	{.name = "options help", .cases = help_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
