/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A message of the child's, as sd_notify(3) describes it: lines of NAME=value. Hostile: what is
 * not exactly as it should be is refused as a whole. Pure: no state, no system call.
 */
#ifndef KEEPER_MESSAGE_H
#define KEEPER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#define MESSAGE_MAX      4096 /* bytes */
#define MESSAGE_NAME_MAX 255  /* characters of FDNAME */

/* Strings lie in the text that was parsed; NULL: not there. */
struct message {
	bool ready, reloading, stopping;
	bool keep;    /* FDSTORE=1; there is a name */
	bool remove;  /* FDSTOREREMOVE=1; there is a name, and `keep` is not set */
	bool barrier; /* it stands alone */
	bool poll;    /* drop it when it hangs up: no FDPOLL=0 */
	const char *name;
	const char *status;
	const char *monotonic_usec, *extend_timeout_usec; /* for the service manager */
};

/*
 * Takes `text` apart, of `size` bytes with room for one more, which it overwrites. NULL, or what
 * is wrong, as "it ..." for a line of the log. Names that are not known here are skipped.
 */
const char *message_parse(struct message *message, char *text, size_t size);

#endif
