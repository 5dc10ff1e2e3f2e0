/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lib/guest.h and lib/shared/gate.h: in builds with --enable-guest-gate a store into guest memory
 * that does not pass the gate ends the program, and one that passes arrives. In others there is
 * nothing in the way.
 */
#include <signal.h>
#include <sys/wait.h>

#include "lib/guest.h"
#include "lib/shared/gate.h"
#include "tests/unit/support/ring.h"

static void setup(void)
{
	ring_run(16, 0);
}

/* Does a store at this address kill? */
static bool kills(void *at)
{
	const pid_t pid = fork();
	int status;

	REQUIRE(pid >= 0);
	if (!pid) {
		/* Whatever a sanitizer would say of it. */
		signal(SIGSEGV, SIG_DFL);
		*(volatile uint8_t *)at = 1;
		_exit(0);
	}
	REQUIRE_EQ(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static bool guarded(void)
{
	return VHU_GATE_PROT == PROT_READ;
}

static void stores_past_the_gate(void)
{
	CHECK_EQ(kills(ring_host(RING_DATA)), guarded());
	CHECK_EQ(kills(ring_host(RING_END - 1)), guarded());
	CHECK_EQ(kills(ring.vq.ring.split.used), guarded());
	CHECK(!kills(vublk_guest_writable(ring_host(RING_DATA))));
	CHECK(!kills(vublk_guest_writable(ring_host(RING_END - 1))));
}

static void check_at(uint64_t gpa, const void *expected, size_t size)
{
	uint8_t got[32];

	REQUIRE_OK(fe_mem_read(&ring.mem, gpa, got, size));
	CHECK(!memcmp(got, expected, size));
	CHECK(!memcmp(ring_host(gpa), expected, size));
}

static void stores_by_the_gate(void)
{
	struct iovec list[2] = {{ring_host(RING_DATA), 3}, {ring_host(RING_DATA + 100), 5}};
	const struct vring_used_elem used = {7, 9};
	const uint16_t number = 0x1234;

	vublk_iov_write(list, 2, 0, "abcdefgh", 8);
	check_at(RING_DATA, "abc", 3);
	check_at(RING_DATA + 100, "defgh", 5);
	vublk_iov_zero(list, 2, 2, 2);
	check_at(RING_DATA, "ab", 3);
	check_at(RING_DATA + 100, "\0efgh", 5);
	vublk_guest_store8(ring_host(RING_DATA + 1), 'x');
	check_at(RING_DATA, "ax", 3);
	guest_store16(ring_host(RING_DATA + 8), number);
	check_at(RING_DATA + 8, &number, 2);
	guest_release16(ring_host(RING_DATA + 10), number);
	check_at(RING_DATA + 10, &number, 2);
	guest_store_used(ring_host(RING_DATA + 16), 7, 9);
	check_at(RING_DATA + 16, &used, sizeof(used));
}

/* What is not guest memory has one address. */
static void memory_of_our_own(void)
{
	char own;

	CHECK(vublk_guest_writable(&own) == &own);
}

static const struct tap_case cases[] = {
	{"stores_past_the_gate", stores_past_the_gate},
	{"stores_by_the_gate", stores_by_the_gate},
	{"memory_of_our_own", memory_of_our_own},
	{0},
};

static const struct tap_suite suites[] = {
	{.name = "gate", .setup = setup, .teardown = ring_free, .cases = cases},
	{0},
};

int main(int argc, char **argv)
{
	return tap_main(argc, argv, suites);
}
