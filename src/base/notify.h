/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A service manager's notification socket, as sd_notify(3) describes it: a datagram of
 * assignments, maybe with a descriptor. Unlike libsystemd's it does not wait for ever for a
 * manager that does not read. Any thread.
 */
#ifndef BASE_NOTIFY_H
#define BASE_NOTIFY_H

#define NOTIFY_TIMEOUT_MS 1000

/*
 * Sends `text`, lines of NAME=value, to `address`, as NOTIFY_SOCKET has it: a path, or "@" and an
 * abstract name. A copy of `fd` goes along, unless it is -1. Waits NOTIFY_TIMEOUT_MS at most. 0
 * (the manager has it in its queue), -EINVAL or -ENAMETOOLONG for an address that is none, -EAGAIN
 * if the queue stays full, -ECONNREFUSED or -ENOENT if there is no manager any more, or another
 * -errno of sendmsg(2).
 */
int notify_send(const char *address, const char *text, int fd);

#endif
