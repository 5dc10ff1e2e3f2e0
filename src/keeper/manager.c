/* SPDX-License-Identifier: BSD-3-Clause */
/* See keeper/manager.h. */
#include "keeper/manager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/notify.h"

static void send_text(const char *text)
{
	static struct log_limit limit;
	const char *address = getenv("NOTIFY_SOCKET");
	const int err = address ? notify_send(address, text, -1) : 0;

	if (err && log_limit_ok(&limit, LOG_LEVEL_WARNING, "the service manager"))
		log_warning("cannot tell the service manager at %s: %s", address, strerror(-err));
}

/* Adds "NAMEvalue" as a line, if there is a value. */
static char *add(char *end, const char *name, const char *value)
{
	return value ? stpcpy(stpcpy(stpcpy(end, name), value), "\n") : end;
}

void manager_tell(const struct message *message)
{
	char text[MESSAGE_MAX + 128]; /* all that is in a message, and more */
	char *end = text;

	if (!message->ready && !message->reloading && !message->status &&
	    !message->extend_timeout_usec)
		return;
	end = add(end, "READY=1", message->ready ? "" : NULL);
	end = add(end, "RELOADING=1", message->reloading ? "" : NULL);
	end = add(end, "STATUS=", message->status);
	end = add(end, "MONOTONIC_USEC=", message->monotonic_usec);
	end = add(end, "EXTEND_TIMEOUT_USEC=", message->extend_timeout_usec);
	sprintf(end, "MAINPID=%d", getpid());
	send_text(text);
}

void manager_tell_stopping(void)
{
	send_text("STOPPING=1");
}
