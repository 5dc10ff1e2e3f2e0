/* SPDX-License-Identifier: BSD-3-Clause */
/* Files of settings, and the options of a disk that are made of them: what is taken, or refused. */
#include "config/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/disk_options.h"
#include "tests/tap.h"

static struct settings settings;
static char error[512];

static int parse_bytes(const void *data, size_t length)
{
	settings_free(&settings);
	strcpy(error, "(none)");
	return settings_parse(&settings, "x.conf", data, length, error, sizeof(error));
}

static int parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

/* What the file says of an option, or "(not given)". */
static const char *said(const char *name)
{
	const int row = disk_options_find(name);

	REQUIRE(row >= 0);
	return settings.text[row] ? settings.text[row] : "(not given)";
}

static void check_refused(int err, const char *message, const char *file, unsigned line)
{
	tap_check(err == -EINVAL && strstr(error, message), false, file, line,
		  "result %d, message '%s', not '%s'", err, error, message);
}

#define CHECK_REFUSED(err, message) check_refused(err, message, __FILE__, __LINE__)

/* ---- files ---- */

static void lines_are_names_and_values(void)
{
	REQUIRE_OK(parse("# a comment\n"
			 "\n"
			 "; another = one\n"
			 "blk-file = /srv/a disk.img ; # \"1\"\n"
			 "\t serial=A=B\r\n"
			 "   read-only   =   true   \n"
			 "socket-path=/run/x"));
	CHECK_EQ(strcmp(said("blk-file"), "/srv/a disk.img ; # \"1\""), 0);
	CHECK_EQ(strcmp(said("serial"), "A=B"), 0);
	CHECK_EQ(strcmp(said("read-only"), "true"), 0);
	CHECK_EQ(strcmp(said("socket-path"), "/run/x"), 0);
	CHECK_EQ(strcmp(said("cache"), "(not given)"), 0);
}

static void values_are_not_cut(void)
{
	char text[5000] = "blk-file = /";

	memset(text + strlen(text), 'x', 4500);
	REQUIRE_OK(parse(text));
	CHECK_EQ(strlen(said("blk-file")), 4501);
}

static void empty_files_say_nothing(void)
{
	CHECK_OK(parse(""));
	CHECK_OK(parse("\n\n  \n#"));
	CHECK_OK(parse("\xef\xbb\xbf"));
	CHECK_OK(parse("\xef\xbb\xbf"
		       "serial = 1\n"));
	CHECK_EQ(strcmp(said("serial"), "1"), 0);
}

static void mistakes_are_named_with_their_line(void)
{
	CHECK_REFUSED(parse("serial = 1\nseriall = 2\n"), "x.conf:2: 'seriall'");
	CHECK_REFUSED(parse("serial = 1\n\nserial = 1"), "x.conf:3: serial is given twice");
	CHECK_REFUSED(parse("serial"), "x.conf:1: 'serial' is no line of the form name = value");
	CHECK_REFUSED(parse("serial ="), "x.conf:1: serial has no value");
	CHECK_REFUSED(parse("= 1"), "x.conf:1: ''");
	CHECK_REFUSED(parse("--serial = 1"), "x.conf:1: '--serial'");
	CHECK_REFUSED(parse("Serial = 1"), "x.conf:1: 'Serial'");
	CHECK_REFUSED(parse("[disk]\nserial = 1"), "x.conf:1: there are no sections");
	CHECK_REFUSED(parse("num-workers = 2"), "x.conf:1: 'num-workers'");
	CHECK_REFUSED(parse_bytes("serial = 1\n\0x", 13), "NUL");
	/* What could make a terminal do things stays out of messages. */
	CHECK_REFUSED(parse("\x1b[2J = 1"), "'?[2J'");
}

static void only_regular_files_are_read(void)
{
	char path[64] = "/tmp/test-settings.XXXXXX", fifo[80];

	REQUIRE(mkdtemp(path));
	snprintf(fifo, sizeof(fifo), "%s/fifo", path);
	REQUIRE(!mkfifo(fifo, 0600));
	CHECK_EQ(settings_read(&settings, fifo, error, sizeof(error)), -EINVAL);
	CHECK(strstr(error, "not a regular file"));
	CHECK_EQ(settings_read(&settings, path, error, sizeof(error)), -EINVAL);
	CHECK_EQ(settings_read(&settings, "/dev/zero", error, sizeof(error)), -EINVAL);
	remove(fifo);
	CHECK_EQ(settings_read(&settings, fifo, error, sizeof(error)), -ENOENT);
	remove(path);
}

static void files_have_a_limit(void)
{
	char path[64] = "/tmp/test-settings.XXXXXX";
	const int fd = mkstemp(path);
	FILE *file = fdopen(fd, "w");

	REQUIRE(fd >= 0 && file);
	for (int i = 0; i < SETTINGS_MAX; i++)
		putc('\n', file);
	fflush(file);
	CHECK_OK(settings_read(&settings, path, error, sizeof(error)));
	settings_free(&settings);
	putc('\n', file);
	fflush(file);
	CHECK_EQ(settings_read(&settings, path, error, sizeof(error)), -EFBIG);
	fclose(file);
	remove(path);
}

/* ---- options ---- */

static struct disk_options *options;
static struct disk_host host;

/* Of the disk "d". */
static int make(const char *text)
{
	int err = parse(text);

	disk_options_destroy(options);
	options = NULL;
	return err ? err
		   : disk_options_create(&options, "d", settings.text, &host, error, sizeof(error));
}

#define BASE "blk-file=/i\nsocket-path=/s\n"

static void options_are_made_of_a_file(void)
{
	REQUIRE_OK(make(BASE "read-only=true\nno-lock=false\ncache=writeback\nnum-queues=3\n"
			     "lock-timeout=7\n"));
	/* They are its own. */
	memset(settings.buffer, 'x', strlen(settings.buffer));
	CHECK_EQ(strcmp(options->id, "d"), 0);
	CHECK_EQ(strcmp(options->config.name, "d"), 0);
	CHECK_EQ(strcmp(options->config.image.path, "/i"), 0);
	CHECK_EQ(strcmp(options->config.listener.path, "/s"), 0);
	CHECK_EQ(options->config.listener.fd, -1);
	CHECK_EQ(options->config.listener.mode, 0600);
	CHECK_EQ(options->config.listener.timeout, 7);
	CHECK(options->config.image.read_only && options->config.image.discard);
	CHECK(options->config.lock);
	CHECK_EQ(options->config.image.cache, IMAGE_CACHE_WRITEBACK);
	CHECK_EQ(options->config.num_queues, 3);
	CHECK_EQ(strcmp(options->config.serial, ""), 0);
}

static void the_disk_of_the_command_line_is_called_as_its_image(void)
{
	REQUIRE_OK(parse("blk-file=/i"));
	REQUIRE_OK(disk_options_create(&options, NULL, settings.text, &host, error, sizeof(error)));
	CHECK(options->id == NULL);
	CHECK_EQ(strcmp(options->config.name, "/i"), 0);
}

static void what_does_not_go_together_is_refused(void)
{
	CHECK_REFUSED(make("socket-path=/s"), "blk-file=PATH is missing");
	CHECK_REFUSED(make("blk-file=/i"), "socket-path = PATH is missing");
	CHECK_REFUSED(make(BASE "fd=3"), "exclude each other");
	CHECK_REFUSED(make("blk-file=/i\nfd=3"), "fd goes only with");
	CHECK_REFUSED(make(BASE "name=x"), "name goes only with");
	CHECK_REFUSED(make(BASE "size=1M"), "size does not go with blk-file");
	CHECK_REFUSED(make("socket-path=/s\nsize=1M"), "size goes only with --engine=null");
	CHECK_REFUSED(make(BASE "no-lock=true\nlock-timeout=3"), "no-lock and lock-timeout");
	CHECK_OK(make(BASE "no-lock=false\nlock-timeout=3"));
	CHECK_REFUSED(make(BASE "read-only=yes"), "read-only must be true or false, not 'yes'");
	CHECK_REFUSED(make(BASE "num-queues=0"), "num-queues must be a number from 1 to 256");
	CHECK_REFUSED(make(BASE "serial=123456789012345678901"), "serial is 21 bytes long");
	CHECK_REFUSED(make(BASE "optimal-io-size=3"), "optimal-io-size must be");
	CHECK_REFUSED(make(BASE "block-size=4K\nphysical-block-size=512"), "is smaller than");
	CHECK(options == NULL);
}

static void what_the_process_is_counts(void)
{
	host = (struct disk_host){.null_engine = true};
	CHECK_OK(make("socket-path=/s\nsize=1M"));
	host = (struct disk_host){.fixed_buffers = true};
	CHECK_REFUSED(make(BASE "postcopy=true"), "--fixed-buffers and postcopy");
	CHECK_OK(make(BASE "postcopy=false"));
	host = (struct disk_host){.many = true};
	CHECK_REFUSED(make(BASE "postcopy=true"), "postcopy goes only with a single disk");
	host = (struct disk_host){.iopoll = true};
	CHECK_REFUSED(make(BASE "cache=writeback"), "--iopoll goes only with cache=none");
}

static void workers_are_those_that_there_are(void)
{
	host = (struct disk_host){.num_workers = 4};
	REQUIRE_OK(make(BASE));
	CHECK_EQ(options->config.workers, 0);
	REQUIRE_OK(make(BASE "workers=0,2-3"));
	CHECK_EQ(options->config.workers, 0xd);
	REQUIRE_OK(make(BASE "workers=1,1,1"));
	CHECK_EQ(options->config.workers, 2);
	CHECK_REFUSED(make(BASE "workers=1,4"),
		      "workers names 4, but there are 4, from 0 on: name others, or start vublkd "
		      "with more of them (--num-workers)");
	CHECK_REFUSED(make(BASE "workers=63"), "workers names 63");
	host = (struct disk_host){.num_workers = 1};
	CHECK_REFUSED(make(BASE "workers=0-1"), "workers names 1, but there is 1,");
	host = (struct disk_host){.num_workers = 64};
	REQUIRE_OK(make(BASE "workers=0-63"));
	CHECK_EQ(options->config.workers, UINT64_MAX);
	REQUIRE_OK(make(BASE "workers=63"));
	CHECK_EQ(options->config.workers, UINT64_C(1) << 63);
	CHECK_REFUSED(make(BASE "workers=64"), "workers must be a list of numbers from 0 to 63");
	CHECK_REFUSED(make(BASE "workers=3-1"), "workers must be");
	CHECK_REFUSED(make(BASE "workers=1,"), "workers must be");
	CHECK_REFUSED(make(BASE "workers=-1"), "workers must be");
	CHECK_REFUSED(make(BASE "workers=any"), "not 'any'");
}

static void names_are_such_as_go_everywhere(void)
{
	char name[102];

	CHECK(disk_options_may_call("vm-1_root.a"));
	CHECK(disk_options_may_call("-"));
	CHECK(!disk_options_may_call(""));
	CHECK(!disk_options_may_call(".hidden"));
	CHECK(!disk_options_may_call(".."));
	CHECK(!disk_options_may_call("a/b"));
	CHECK(!disk_options_may_call("a b"));
	CHECK(!disk_options_may_call("\xc3\xa4"));
	memset(name, 'x', 101);
	name[101] = '\0';
	CHECK(!disk_options_may_call(name));
	CHECK(disk_options_may_call(name + 1));
}

static void what_has_changed_is_found(void)
{
	struct disk_options *a;
	unsigned changed[DISK_OPTIONS_MAX];

	REQUIRE_OK(make(BASE "serial=1\ncache=none\nread-only=false\n"));
	a = options;
	options = NULL;
	REQUIRE_OK(make(BASE "serial=2\nnum-queues=4\ncache=none\n"));
	REQUIRE_EQ(disk_options_compare(a, options, changed), 2);
	CHECK_EQ(strcmp(disk_options_row(changed[0])->name, "serial"), 0);
	CHECK_EQ(strcmp(disk_options_row(changed[1])->name, "num-queues"), 0);
	CHECK_EQ(disk_options_compare(a, a, changed), 0);
	disk_options_destroy(a);
}

/* The texts, too, or the next change would be compared with what is not so any more. */
static void live_options_are_taken_over(void)
{
	struct disk_options *a;
	unsigned changed[DISK_OPTIONS_MAX];
	char names[256];

	host = (struct disk_host){.num_workers = 4};
	REQUIRE_OK(make(BASE "workers=1\nno-poll=true\niops-read=5\nserial=1\n"));
	a = options;
	options = NULL;
	REQUIRE_OK(make(BASE "workers=2-3\nserial=1\n"));
	disk_options_name_changes(a, options, names, sizeof(names));
	CHECK_EQ(strcmp(names, "workers, no-poll, iops-read"), 0);
	disk_options_name_changes(a, options, names, 4);
	CHECK_EQ(strcmp(names, "wor"), 0);
	for (unsigned i = 0; i < disk_options_compare(a, options, changed); i++)
		CHECK(disk_options_is_live(changed[i]));
	disk_options_take_live(a, options);
	CHECK_EQ(a->config.workers, 0xc);
	CHECK(!a->config.no_poll);
	CHECK_EQ(a->config.limits.limit[LIMIT_IOPS_READ].average, 0);
	disk_options_destroy(options);
	options = NULL;
	REQUIRE_OK(make(BASE "workers=2-3\nserial=1\n"));
	CHECK_EQ(disk_options_compare(a, options, changed), 0);
	CHECK(!disk_options_is_live((unsigned)disk_options_find("serial")));
	disk_options_destroy(a);
}

static void teardown(void)
{
	settings_free(&settings);
	disk_options_destroy(options);
}

static const struct tap_case file_cases[] = {
	{"lines are names and values", lines_are_names_and_values},
	{"values are not cut", values_are_not_cut},
	{"empty files say nothing", empty_files_say_nothing},
	{"mistakes are named with their line", mistakes_are_named_with_their_line},
	{"only regular files are read", only_regular_files_are_read},
	{"files have a limit", files_have_a_limit},
	{0},
};

static const struct tap_case option_cases[] = {
	{"options are made of a file", options_are_made_of_a_file},
	{"the disk of the command line is called as its image",
	 the_disk_of_the_command_line_is_called_as_its_image},
	{"what does not go together is refused", what_does_not_go_together_is_refused},
	{"what the process is counts", what_the_process_is_counts},
	{"workers are those that there are", workers_are_those_that_there_are},
	{"names are such as go everywhere", names_are_such_as_go_everywhere},
	{"what has changed is found", what_has_changed_is_found},
	{"live options are taken over", live_options_are_taken_over},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "files", .teardown = teardown, .cases = file_cases},
	{.name = "options", .teardown = teardown, .cases = option_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
