/* SPDX-License-Identifier: BSD-3-Clause */
/* src/base/log.c: the form of a line, levels, hostile text, the journal's prefix, rate limits. */
#include "src/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tests/tap.h"
#include "tests/unit/support/capture.h"

static void setup(void)
{
	unsetenv("JOURNAL_STREAM");
	log_set_level(LOG_LEVEL_DEBUG);
}

static void line_has_prefix_level_and_newline(void)
{
	capture_begin(STDERR_FILENO);
	log_error("disk %d", 1);
	log_warning("two");
	log_info("three");
	log_debug("four");
	CHECK_TEXT(capture_end(), "vublkd: error: disk 1\nvublkd: warning: two\n"
				  "vublkd: info: three\nvublkd: debug: four\n");
}

static void less_urgent_is_dropped(void)
{
	static const char *const lines[] = {"vublkd: error: x\n", "vublkd: warning: x\n",
					    "vublkd: info: x\n", "vublkd: debug: x\n"};
	char expected[256] = "";

	for (int threshold = LOG_LEVEL_ERROR; threshold <= LOG_LEVEL_DEBUG; threshold++) {
		log_set_level((enum log_level)threshold);
		strcat(expected, lines[threshold]);
		capture_begin(STDERR_FILENO);
		for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++)
			log_write((enum log_level)level, "x");
		CHECK_TEXT(capture_end(), expected);
	}
}

static void control_characters_are_replaced(void)
{
	capture_begin(STDERR_FILENO);
	log_error("a\nb\rc\033[2Jd\te\177f\x01 caf\xc3\xa9 %s", "\n\n");
	CHECK_TEXT(capture_end(), "vublkd: error: a?b?c?[2Jd?e?f? caf\xc3\xa9 ??\n");
}

static void empty_text_is_a_line(void)
{
	capture_begin(STDERR_FILENO);
	log_write(LOG_LEVEL_INFO, "%s", "");
	CHECK_TEXT(capture_end(), "vublkd: info: \n");
}

/* Each length around the limit: whole as long as it fits, else cut, marked and still a line. */
static void long_line_is_cut_and_marked(void)
{
	static const char prefix[] = "vublkd: error: ";
	char text[2048], expected[4096];
	unsigned cut = 0;

	for (size_t length = 900; length < 1200; length++) {
		const char *got;
		size_t n;

		memset(text, 'x', length);
		text[length] = 0;
		snprintf(expected, sizeof(expected), "%s%s\n", prefix, text);
		capture_begin(STDERR_FILENO);
		log_error("%s", text);
		got = capture_end();
		n = strlen(got);
		if (!strcmp(got, expected)) {
			CHECK_EQ(cut, 0);
			continue;
		}
		cut++;
		CHECK(n > 1000 && n <= 1024);
		CHECK(!strncmp(got, expected, n - strlen("...\n")));
		CHECK_TEXT(got + n - strlen("...\n"), "...\n");
	}
	CHECK(cut > 100 && cut < 300);
}

/* A datagram socket keeps the writes apart. */
static void line_is_one_write(void)
{
	char line[2048];
	int pair[2];

	REQUIRE_OK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair));
	capture_begin_with(STDERR_FILENO, pair[1]);
	log_error("first %0500d", 1);
	log_info("second");
	capture_end();
	CHECK_EQ(recv(pair[0], line, sizeof(line), 0), strlen("vublkd: error: first \n") + 500);
	CHECK_EQ(recv(pair[0], line, sizeof(line), 0), strlen("vublkd: info: second\n"));
	CHECK_EQ(recv(pair[0], line, sizeof(line), 0), -1);
	close(pair[0]);
}

static void errno_is_left_alone(void)
{
	capture_begin(STDERR_FILENO);
	close(STDERR_FILENO); /* so that the write fails */
	errno = ENOTTY;
	log_error("nobody reads this");
	CHECK_EQ(errno, ENOTTY);
	capture_end();
}

/* Standard error becomes a file that JOURNAL_STREAM names, or not quite. */
static const char *log_to_journal(uint64_t wrong_by)
{
	struct stat st;
	char stream[64];

	capture_begin(STDERR_FILENO);
	REQUIRE_OK(fstat(STDERR_FILENO, &st));
	snprintf(stream, sizeof(stream), "%" PRIu64 ":%" PRIu64, (uint64_t)st.st_dev,
		 (uint64_t)st.st_ino + wrong_by);
	setenv("JOURNAL_STREAM", stream, 1);
	log_set_level(LOG_LEVEL_DEBUG);
	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++)
		log_write((enum log_level)level, "x");
	return capture_end();
}

static void journal_gets_priorities(void)
{
	CHECK_TEXT(log_to_journal(0), "<3>vublkd: error: x\n<4>vublkd: warning: x\n"
				      "<6>vublkd: info: x\n<7>vublkd: debug: x\n");
}

static void other_streams_get_no_priorities(void)
{
	CHECK_TEXT(log_to_journal(1), "vublkd: error: x\nvublkd: warning: x\n"
				      "vublkd: info: x\nvublkd: debug: x\n");
}

/* How many of `tries` calls may write now. */
static unsigned allowed(struct log_limit *limit, unsigned tries)
{
	unsigned n = 0;

	while (tries--)
		n += log_limit_ok(limit, LOG_LEVEL_WARNING, "disk0");
	return n;
}

static void limit_allows_a_burst(void)
{
	struct log_limit limit = {0};

	capture_begin(STDERR_FILENO);
	CHECK_EQ(allowed(&limit, 100), LOG_LIMIT_BURST);
	CHECK_TEXT(capture_end(), "");
}

static void limit_tells_what_it_held_back(void)
{
	struct log_limit limit = {0};

	allowed(&limit, LOG_LIMIT_BURST + 57);
	limit.last_ns -= LOG_LIMIT_INTERVAL_NS; /* as if a second had passed */
	capture_begin(STDERR_FILENO);
	CHECK_EQ(allowed(&limit, 3), 1);
	CHECK_TEXT(capture_end(), "vublkd: warning: disk0: 57 similar messages suppressed\n");
	limit.last_ns -= LOG_LIMIT_INTERVAL_NS;
	capture_begin(STDERR_FILENO);
	CHECK_EQ(allowed(&limit, 1), 1);
	CHECK_TEXT(capture_end(), "vublkd: warning: disk0: 2 similar messages suppressed\n");
}

static void limit_refills_no_further_than_a_burst(void)
{
	struct log_limit limit = {0};

	capture_begin(STDERR_FILENO);
	allowed(&limit, LOG_LIMIT_BURST);
	limit.last_ns -= 3 * LOG_LIMIT_INTERVAL_NS;
	CHECK_EQ(allowed(&limit, 100), 3);
	limit.last_ns -= 1000 * LOG_LIMIT_INTERVAL_NS;
	CHECK_EQ(allowed(&limit, 100), LOG_LIMIT_BURST);
	capture_end();
}

static void limit_keeps_fractions_of_an_interval(void)
{
	struct log_limit limit = {0};

	capture_begin(STDERR_FILENO);
	allowed(&limit, LOG_LIMIT_BURST);
	limit.last_ns -= LOG_LIMIT_INTERVAL_NS + LOG_LIMIT_INTERVAL_NS * 3 / 4;
	CHECK_EQ(allowed(&limit, 100), 1);
	limit.last_ns -= LOG_LIMIT_INTERVAL_NS * 3 / 4;
	CHECK_EQ(allowed(&limit, 100), 1);
	capture_end();
}

static void limit_ignores_dropped_levels(void)
{
	struct log_limit limit = {0};

	log_set_level(LOG_LEVEL_ERROR);
	CHECK_EQ(allowed(&limit, 100), 0);
	log_set_level(LOG_LEVEL_WARNING);
	capture_begin(STDERR_FILENO);
	CHECK_EQ(allowed(&limit, 100), LOG_LIMIT_BURST);
	CHECK_TEXT(capture_end(), "");
}

static const struct tap_case line_cases[] = {
	{"line_has_prefix_level_and_newline", line_has_prefix_level_and_newline},
	{"less_urgent_is_dropped", less_urgent_is_dropped},
	{"control_characters_are_replaced", control_characters_are_replaced},
	{"empty_text_is_a_line", empty_text_is_a_line},
	{"long_line_is_cut_and_marked", long_line_is_cut_and_marked},
	{"line_is_one_write", line_is_one_write},
	{"errno_is_left_alone", errno_is_left_alone},
	{"journal_gets_priorities", journal_gets_priorities},
	{"other_streams_get_no_priorities", other_streams_get_no_priorities},
	{0},
};

static const struct tap_case limit_cases[] = {
	{"limit_allows_a_burst", limit_allows_a_burst},
	{"limit_tells_what_it_held_back", limit_tells_what_it_held_back},
	{"limit_refills_no_further_than_a_burst", limit_refills_no_further_than_a_burst},
	{"limit_keeps_fractions_of_an_interval", limit_keeps_fractions_of_an_interval},
	{"limit_ignores_dropped_levels", limit_ignores_dropped_levels},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "log", .setup = setup, .cases = line_cases},
	{.name = "log limit", .setup = setup, .cases = limit_cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
