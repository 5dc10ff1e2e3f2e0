/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The common main() of every C test program: CUnit suites from a static table, TAP on stdout.
 *
 *	static const struct tap_case cases[] = {{"empty_cursor", test_empty_cursor}, {0}};
 *	static const struct tap_suite suites[] = {{.name = "iov", .cases = cases}, {0}};
 *
 *	int main(int argc, char **argv)
 *	{
 *		return tap_main(argc, argv, suites);
 *	}
 *
 * Each case runs in a process of its own, with a time limit and with a private TMPDIR (on the
 * file system of ${TMPDIR:-/var/tmp}) that is removed afterwards. So a crash, a hang or a leak
 * (LeakSanitizer looks when that process exits) is one failed case, and nothing stays behind.
 *
 *	test-iov             all cases          test-iov short      only names with "short" in them
 *	test-iov --list      names only         TEST_SLOW_FACTOR=10 stretches time limits (valgrind)
 *
 * A case uses CUnit's own assertions, or the macros below, which show the values. Those whose
 * name begins with REQUIRE end the case when they fail (its teardown still runs), CHECK goes on.
 * All of them belong to the case's own thread.
 */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>
#include <stdint.h>

#include <CUnit/CUnit.h>

struct tap_case {
	const char *name;
	void (*run)(void);
};

struct tap_suite {
	const char *name;
	void (*setup)(void);    /* before each case, may be NULL */
	void (*teardown)(void); /* after each case, also a failed one; may be NULL */
	unsigned int seconds;   /* a case's time limit, 0: 30 */
	const struct tap_case *cases;
};

/* Both tables end with an entry whose name is NULL. Returns main()'s status: 1 on any failure. */
int tap_main(int argc, char **argv, const struct tap_suite *suites);

/* Ends the running case as skipped; the reason stands in its TAP line. */
void tap_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line for people, shown as "# ..." below the case's result. */
void tap_diag(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Has an assertion of the running case failed so far? For a teardown that wants to say more. */
bool tap_failed(void);

/* seconds or ms, stretched by TEST_SLOW_FACTOR */
unsigned int tap_stretch(unsigned int time);

void tap_check(bool good, bool fatal, const char *file, unsigned int line, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

#define TAP_EQ(fatal, actual, expected) \
	do { \
		long long tap_a = (long long)(actual), tap_e = (long long)(expected); \
		tap_check(tap_a == tap_e, fatal, __FILE__, __LINE__, "%s is %lld, not %lld (%s)", \
			  #actual, tap_a, tap_e, #expected); \
	} while (0)

#define CHECK(cond)                  tap_check(cond, false, __FILE__, __LINE__, "%s", #cond)
#define REQUIRE(cond)                tap_check(cond, true, __FILE__, __LINE__, "%s", #cond)
#define CHECK_EQ(actual, expected)   TAP_EQ(false, actual, expected)
#define REQUIRE_EQ(actual, expected) TAP_EQ(true, actual, expected)
/* For calls that answer 0 or -errno. */
#define REQUIRE_OK(call) REQUIRE_EQ(call, 0)
#define CHECK_OK(call)   CHECK_EQ(call, 0)

#endif
