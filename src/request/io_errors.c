/* SPDX-License-Identifier: BSD-3-Clause */
/* See request/io_errors.h. */
#include "request/io_errors.h"

#include <stdio.h>
#include <string.h>

#include "base/container.h"
#include "base/log.h"

#define PERIOD_NS UINT64_C(60000000000)

/* What has been added since `before`, which becomes what there is now. */
static void tell(struct io_errors *errors, uint64_t before[IO_ERRORS_KINDS], const char *when)
{
	unsigned long long n[IO_ERRORS_KINDS], all = 0;

	for (int i = 0; i < IO_ERRORS_KINDS; i++) {
		const uint64_t now = atomic_load(&errors->failed[i]);

		n[i] = now - before[i];
		all += n[i];
		before[i] = now;
	}
	if (all)
		log_error("%s: %llu requests failed %s: %llu reads, %llu writes, %llu flushes, "
			  "%llu others",
			  errors->name, all, when, n[IO_ERRORS_READ], n[IO_ERRORS_WRITE],
			  n[IO_ERRORS_FLUSH], n[IO_ERRORS_OTHER]);
}

static void first_failed(struct call *call)
{
	static const char *const kinds[] = {
		[IO_ERRORS_READ] = "read",
		[IO_ERRORS_WRITE] = "write",
		[IO_ERRORS_FLUSH] = "flush",
		[IO_ERRORS_OTHER] = "discard or write_zeroes",
	};
	struct io_errors *errors = container_of(call, struct io_errors, call);
	char what[128];

	loop_set_timer(errors->loop, &errors->timer, PERIOD_NS);
	snprintf(what, sizeof(what), "%s: %s", kinds[errors->first_kind],
		 strerror(-errors->first_err));
	errors->begin(errors, what);
}

static void minute_is_over(struct loop_timer *timer)
{
	struct io_errors *errors = container_of(timer, struct io_errors, timer);

	/* Who fails from now on begins another minute. */
	atomic_store(&errors->posted, false);
	tell(errors, errors->told, "in the last minute");
}

void io_errors_init(struct io_errors *errors, const char *name, struct loop *loop,
		    void (*begin)(struct io_errors *errors, const char *what))
{
	*errors = (struct io_errors){
		.name = name,
		.loop = loop,
		.begin = begin,
		.call = {.run = first_failed},
		.timer = {.fire = minute_is_over},
	};
}

void io_errors_count(struct io_errors *errors, enum io_errors_kind kind, int err)
{
	atomic_fetch_add(&errors->failed[kind], 1);
	if (atomic_exchange(&errors->posted, true))
		return;
	errors->first_kind = kind;
	errors->first_err = err;
	mailbox_post(loop_mailbox(errors->loop), &errors->call);
}

void io_errors_end_session(struct io_errors *errors)
{
	/* What the timer would tell is told now. */
	for (int i = 0; i < IO_ERRORS_KINDS; i++)
		errors->told[i] = atomic_load(&errors->failed[i]);
	tell(errors, errors->begun, "in this session");
}

void io_errors_end(struct io_errors *errors)
{
	loop_clear_timer(errors->loop, &errors->timer);
}
