/* SPDX-License-Identifier: BSD-3-Clause */
/* See keeper/hearing.h. Hostile: anybody can send a message. */
#include "keeper/hearing.h"

#include "base/log.h"

#define QUEUE_MOST 65536u /* more than any socket's queue has (net.unix.max_dgram_qlen) */

/* NULL, or what is wrong about its descriptors. */
static const char *check_descriptors(const struct message *message, const struct notice *notice)
{
	if (notice->lost_fds)
		return "it has descriptors that we cannot have";
	if (message->barrier && notice->n_fds != 1)
		return "it has a BARRIER=1, and not one descriptor";
	if (message->keep && !notice->n_fds)
		return "it has an FDSTORE=1, and no descriptor";
	if (notice->n_fds && !message->barrier && !message->keep)
		return "it has descriptors that are for nothing";
	return NULL;
}

static void obey(struct hearing *hearing, const struct message *message, struct notice *notice)
{
	/* From the last one to the first would change their order. */
	for (unsigned i = 0; message->keep && i < notice->n_fds; i++)
		store_add(hearing->store, notice->fd[i], message->name, message->poll);
	if (message->keep)
		notice->n_fds = 0;
	if (message->remove)
		store_remove(hearing->store, message->name);
	hearing->heard(hearing, message);
}

static void take_notice(struct hearing *hearing, struct notice *notice)
{
	static struct log_limit strangers, wrong;
	struct message message;
	const char *error;

	if (!hearing->child || notice->pid != hearing->child) {
		if (log_limit_ok(&strangers, LOG_LEVEL_WARNING, "messages of strangers"))
			log_warning("a message of process %d is ignored: only %d is listened to",
				    notice->pid, hearing->child);
		return;
	}
	error = notice->cut ? "it is longer than 4096 bytes"
			    : message_parse(&message, notice->text, notice->size);
	if (!error)
		error = check_descriptors(&message, notice);
	if (!error)
		obey(hearing, &message, notice);
	else if (log_limit_ok(&wrong, LOG_LEVEL_WARNING, "messages that are wrong"))
		log_warning("a message of process %d is ignored: %s", notice->pid, error);
}

void hearing_take(struct hearing *hearing, unsigned most)
{
	static struct notice notice;

	while (most-- && notices_take(&hearing->notices, &notice)) {
		take_notice(hearing, &notice);
		notice_close(&notice);
	}
}

void hearing_take_last(struct hearing *hearing)
{
	hearing_take(hearing, QUEUE_MOST);
}
