/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See step-recorder.h. The processor's trap flag has a SIGTRAP come after each instruction; its
 * handler compares memory with the last picture.
 */
#include "tests/unit/support/step-recorder.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tap.h"

#define TRAP_FLAG 0x100ull

static struct {
	uint8_t *guest, *region;
	size_t guest_size, region_size;
	struct pictures *pictures; /* of the run that is recorded */
} recorder;

void recorder_watch(void *guest, size_t guest_size, void *region, size_t region_size)
{
	REQUIRE(guest_size <= RECORDER_BYTES);
	REQUIRE(region_size <= RECORDER_BYTES);
	recorder.guest = guest;
	recorder.guest_size = guest_size;
	recorder.region = region;
	recorder.region_size = region_size;
}

static void take_picture(struct picture *p)
{
	memcpy(p->guest, recorder.guest, recorder.guest_size);
	memcpy(p->region, recorder.region, recorder.region_size);
}

/* Does memory look as on this picture? */
static bool is_like(const struct picture *p)
{
	return !memcmp(p->guest, recorder.guest, recorder.guest_size) &&
	       !memcmp(p->region, recorder.region, recorder.region_size);
}

void recorder_restore(const struct picture *p)
{
	memcpy(recorder.guest, p->guest, recorder.guest_size);
	memcpy(recorder.region, p->region, recorder.region_size);
}

static void trapped(int signal)
{
	struct pictures *pictures = recorder.pictures;

	(void)signal;
	if (is_like(&pictures->p[pictures->n - 1]))
		return;
	if (pictures->n == RECORDER_MOST)
		abort();
	take_picture(&pictures->p[pictures->n++]);
}

void recorder_run(struct pictures *pictures, void (*run)(void))
{
#ifdef __x86_64__
	const struct sigaction action = {.sa_handler = trapped};

	recorder.pictures = pictures;
	pictures->n = 1;
	take_picture(&pictures->p[0]);
	REQUIRE_OK(sigaction(SIGTRAP, &action, NULL));
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | TRAP_FLAG);
	run();
	__builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~TRAP_FLAG);
	if (!is_like(&pictures->p[pictures->n - 1]))
		tap_skip("nothing runs one instruction at a time here");
#else
	(void)pictures;
	(void)run;
	(void)trapped;
	tap_skip("only x86-64 runs one instruction at a time");
#endif
}
