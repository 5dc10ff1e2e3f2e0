/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: what it prints, what it refuses and how, and how the process ends. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/proto/proto.h"

#define USAGE 2 /* exit status: wrong options */
#define FAIL  1 /* exit status: something asked for cannot be had */

static char out[16384], err[16384];

/* Runs it and expects this status, nothing on stdout and one line on stderr with `word` in it. */
static void expect_refusal(int status, const char *word, const char *const args[])
{
	char line[1024] = "";

	for (unsigned int i = 0; args[i]; i++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " %s", args[i]);

	int got = proto_run(args);

	fe_daemon_stdout(&server, out, sizeof(out));
	fe_daemon_stderr(&server, err, sizeof(err));
	if (got == -ETIMEDOUT) /* it runs; end it for the next one */
		fe_daemon_stop(&server, SIGKILL, NULL);

	tap_check(got == status, false, __FILE__, __LINE__, "vublkd%s: status %d, not %d", line,
		  got, status);
	tap_check(one_clear_line(err), false, __FILE__, __LINE__, "vublkd%s: not one line: '%s'",
		  line, err);
	tap_check(strstr(err, word), false, __FILE__, __LINE__, "vublkd%s: no '%s' in: %s", line,
		  word, err);
	tap_check(!*out, false, __FILE__, __LINE__, "vublkd%s: on stdout: %s", line, out);
}

#define refuse(status, word, ...) \
	expect_refusal(status, word, (const char *const[]){__VA_ARGS__, NULL})

/* The same with a socket and an image that are in order. */
#define refuse_option(word, ...) \
	refuse(USAGE, word, option("--socket-path", server.socket), \
	       option("--blk-file", server.image), __VA_ARGS__)

static void help(void)
{
	static const char *const options[] = {
		"--socket-path",     "--fd",          "--print-capabilities",
		"--blk-file",        "--read-only",   "--num-queues",
		"--engine",          "--size",        "--cache",
		"--serial",          "--block-size",  "--physical-block-size",
		"--optimal-io-size", "--discard",     "--no-lock",
		"--lock-timeout",    "--socket-mode", "--socket-group",
		"--log-level",       "--help",        "--version"};

	CHECK_EQ(run("--help"), 0);
	fe_daemon_stdout(&server, out, sizeof(out));
	for (unsigned int i = 0; i < sizeof(options) / sizeof(*options); i++)
		tap_check(strstr(out, options[i]), false, __FILE__, __LINE__, "no %s in --help",
			  options[i]);
	CHECK_EQ(fe_daemon_stderr(&server, err, sizeof(err)), 0);
}

static void version(void)
{
	CHECK_EQ(run("--version"), 0);
	fe_daemon_stdout(&server, out, sizeof(out));
	CHECK(strstr(out, "vublkd"));
	CHECK(strpbrk(out, "0123456789"));
}

static void expect_capabilities(const char *const args[])
{
	char *to = out;

	CHECK_EQ(proto_run(args), 0);
	fe_daemon_stdout(&server, out, sizeof(out));
	for (const char *from = out; *from; from++)
		if (!isspace((unsigned char)*from))
			*to++ = *from;
	*to = 0;
	/* vhost-user.json: VHostUserBackendCapabilities; members of an object have no order */
	CHECK(!strcmp(out, "{\"type\":\"block\",\"features\":[\"read-only\",\"blk-file\"]}") ||
	      !strcmp(out, "{\"features\":[\"read-only\",\"blk-file\"],\"type\":\"block\"}"));
}

#define capabilities(...) expect_capabilities((const char *const[]){__VA_ARGS__, NULL})

static void print_capabilities(void)
{
	capabilities("--print-capabilities");
	capabilities("--print-capabilities", "--blk-file=/nonexistent", "--socket-path=/no/where");
	capabilities("--fd=77", "--print-capabilities", "--read-only");
	capabilities("--print-capabilities", "--no-such-option", "word");
	capabilities("--no-such-option=3", "word", "--num-queues=x", "--print-capabilities");
}

static void unknown_options(void)
{
	REQUIRE_OK(fe_image_make(server.image, MIB));
	refuse_option("--no-such-option", "--no-such-option");
	refuse_option("--no-such-option", "--no-such-option=3");
	refuse_option("-x", "-x");
	refuse_option("word", "word");
	refuse_option("--read-only", "--read-only=yes");
	refuse_option("--no-lock", "--no-lock=");
}

static void wrong_values(void)
{
	static const char *const wrong[] = {"--num-queues=0",
					    "--num-queues=-1",
					    "--num-queues=257",
					    "--num-queues=x",
					    "--num-queues=1x",
					    "--num-queues=",
					    "--num-queues=99999999999999999999",
					    "--num-queues",
					    "--seg-max=0",
					    "--seg-max=1023",
					    "--seg-max=x",
					    "--seg-max=",
					    "--engine=posix",
					    "--engine=",
					    "--engine",
					    "--cache=unsafe",
					    "--cache=",
					    "--block-size=1024",
					    "--block-size=0",
					    "--block-size=513",
					    "--block-size=8192",
					    "--block-size=512x",
					    "--physical-block-size=1000",
					    "--physical-block-size=0",
					    "--optimal-io-size=1000",
					    "--optimal-io-size=x",
					    "--discard=on",
					    "--discard=",
					    "--log-level=loud",
					    "--log-level=",
					    "--lock-timeout=x",
					    "--lock-timeout=-1",
					    "--lock-timeout=",
					    "--socket-mode=9",
					    "--socket-mode=0888",
					    "--socket-mode=rw",
					    "--socket-mode=10000",
					    "--socket-group=",
					    "--serial=123456789012345678901"};

	REQUIRE_OK(fe_image_make(server.image, MIB));
	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		char name[64];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(wrong[i], "="), wrong[i]);
		refuse_option(name, wrong[i]);
	}
	/* these are well said, but cannot be had */
	refuse(FAIL, "no-such-group", option("--socket-path", server.socket),
	       option("--blk-file", server.image), "--socket-group=no-such-group");
	refuse(USAGE, "--fd", "--fd=x", option("--blk-file", server.image));
	refuse(USAGE, "--fd", "--fd=-1", option("--blk-file", server.image));
	refuse(USAGE, "--socket-path", "--socket-path=", option("--blk-file", server.image));
	refuse(USAGE, "--blk-file", option("--socket-path", server.socket), "--blk-file=");
	static const char *const sizes[] = {"--size=0",  "--size=x",   "--size=12Q",
					    "--size=-1", "--size=1KK", "--size=99999999T",
					    "--size="};

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		refuse(USAGE, "--size", option("--socket-path", server.socket), "--engine=null",
		       sizes[i]);
}

static void doubled_options(void)
{
	static const char *const twice[] = {"--read-only",
					    "--num-queues=2",
					    "--engine=libaio",
					    "--cache=none",
					    "--serial=a",
					    "--block-size=512",
					    "--physical-block-size=4096",
					    "--optimal-io-size=4096",
					    "--discard=unmap",
					    "--no-lock",
					    "--lock-timeout=3",
					    "--socket-mode=0600",
					    "--socket-group=0",
					    "--log-level=info"};

	REQUIRE_OK(fe_image_make(server.image, MIB));
	for (unsigned int i = 0; i < sizeof(twice) / sizeof(*twice); i++) {
		char name[64];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(twice[i], "="), twice[i]);
		refuse_option(name, twice[i], twice[i]);
	}
	refuse_option("--socket-path", option("--socket-path", server.socket));
	refuse_option("--blk-file", option("--blk-file", server.image));
}

static void contradictory_options(void)
{
	const char *socket_arg = option("--socket-path", server.socket);
	const char *image_arg = option("--blk-file", server.image);

	REQUIRE_OK(fe_image_make(server.image, MIB));
	refuse_option("--fd", "--fd=3");
	refuse_option("--size", "--size=1M");
	refuse_option("--size", "--size=1M", "--engine=io_uring");
	refuse_option("--blk-file", "--engine=null", "--size=1M");
	refuse_option("--lock-timeout", "--no-lock", "--lock-timeout=3");
	refuse_option("--physical-block-size", "--block-size=4096", "--physical-block-size=512");
	refuse(USAGE, "--size", socket_arg, "--engine=null");
	refuse(USAGE, "--blk-file", socket_arg);
	refuse(USAGE, "--socket-path", image_arg); /* systemd has passed none */
	refuse(USAGE, "--socket-mode", "--fd=3", image_arg, "--socket-mode=0600");
	refuse(USAGE, "", "--read-only");
}

#define refuse_image(...) \
	refuse(FAIL, server.image, option("--socket-path", server.socket), \
	       option("--blk-file", server.image) __VA_OPT__(, ) __VA_ARGS__)

static void image_missing(void)
{
	refuse_image();
	CHECK(access(server.socket, F_OK) < 0);
}

static void image_empty(void)
{
	REQUIRE_OK(fe_image_make(server.image, 0));
	refuse_image();
}

static void image_is_a_directory(void)
{
	REQUIRE_OK(mkdir(server.image, 0755));
	refuse_image();
	refuse_image("--read-only");
}

static void image_is_a_fifo(void)
{
	REQUIRE_OK(mkfifo(server.image, 0644));
	refuse_image();
	refuse_image("--read-only");
}

static void image_is_a_character_device(void)
{
	REQUIRE_OK(symlink("/dev/zero", server.image));
	refuse_image();
}

static void image_without_permission(void)
{
	if (!geteuid())
		tap_skip("root may read everything");
	REQUIRE_OK(fe_image_make(server.image, MIB));
	REQUIRE_OK(chmod(server.image, 0));
	refuse_image();
	REQUIRE_OK(chmod(server.image, 0444));
	refuse_image();
	serve_again("--read-only");
	check_serves();
}

static void image_size_no_multiple_of_block_size(void)
{
	REQUIRE_OK(fe_image_make(server.image, MIB + 512));
	refuse_image("--block-size=4096");
	/* rounded up to sectors first: MIB + 512 it is */
	REQUIRE_OK(fe_image_make(server.image, MIB + 100));
	refuse_image("--block-size=4096");
}

/* What a log line about the image may be on stderr is not asked: only that it runs, and stops. */
static void ends_quickly(int sig)
{
	unsigned int ms;

	CHECK_EQ(fe_daemon_stop(&server, sig, &ms), 0);
	tap_check(ms < tap_stretch(100), false, __FILE__, __LINE__, "it took %u ms", ms);
}

static void sigterm_before_any_front_end(void)
{
	needs_vublkd();
	serve(MIB);
	ends_quickly(SIGTERM);
}

static void sigint_before_any_front_end(void)
{
	needs_vublkd();
	serve(MIB);
	ends_quickly(SIGINT);
}

static void sigterm_with_an_idle_front_end(void)
{
	needs_vublkd();
	serve(MIB);
	attach(.n_queues = 2);
	check_round_trip(&blk, 0, 4096);
	ends_quickly(SIGTERM);
	CHECK_OK(fe_wait_closed(&dev.conn));
}

static void sigterm_after_a_front_end(void)
{
	needs_vublkd();
	serve(MIB);
	check_serves();
	ends_quickly(SIGTERM);
}

static void sigterm_with_io_in_flight(void)
{
	needs_vublkd();
	serve(64 * MIB);
	attach();
	write_all_slots(7);
	CHECK_EQ(fe_daemon_stop(&server, SIGTERM, NULL), 0);
}

static const struct tap_case cases[] = {
	{"help", help},
	{"version", version},
	{"print_capabilities", print_capabilities},
	{"unknown_options", unknown_options},
	{"wrong_values", wrong_values},
	{"doubled_options", doubled_options},
	{"contradictory_options", contradictory_options},
	{"image_missing", image_missing},
	{"image_empty", image_empty},
	{"image_is_a_directory", image_is_a_directory},
	{"image_is_a_fifo", image_is_a_fifo},
	{"image_is_a_character_device", image_is_a_character_device},
	{"image_without_permission", image_without_permission},
	{"image_size_no_multiple_of_block_size", image_size_no_multiple_of_block_size},
	{"sigterm_before_any_front_end", sigterm_before_any_front_end},
	{"sigint_before_any_front_end", sigint_before_any_front_end},
	{"sigterm_with_an_idle_front_end", sigterm_with_an_idle_front_end},
	{"sigterm_after_a_front_end", sigterm_after_a_front_end},
	{"sigterm_with_io_in_flight", sigterm_with_io_in_flight},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "command", .setup = proto_setup, .teardown = proto_teardown, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
