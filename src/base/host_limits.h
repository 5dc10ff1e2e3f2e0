/* SPDX-License-Identifier: BSD-3-Clause */
/* Which limit of the host an error speaks of, in words for the operator. Stateless, any thread. */
#ifndef BASE_HOST_LIMITS_H
#define BASE_HOST_LIMITS_H

/* What was being made or opened: the same error has other reasons for each. */
enum limits_of {
	LIMITS_DESCRIPTOR,
	LIMITS_IO_URING,
	LIMITS_LIBAIO,
	LIMITS_THREAD,
};

/*
 * Text to be appended to a message that ends in strerror(-err): "; the limit of ... is ...: raise
 * it ...", or "" if no limit is known that answers so. Valid until the thread's next call.
 */
const char *limits_advice(enum limits_of what, int err);

#endif
