/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors that a front-end sent. It keeps copies and may do with them what it likes at any
 * time, clear O_NONBLOCK for one, so none of these calls rests on what was found out before.
 * Any thread.
 */
#ifndef SHARED_FD_H
#define SHARED_FD_H

#include <stdbool.h>
#include <stddef.h>

/* Closes it without waiting for anything, as a socket that lingers would. -1 is allowed. */
void vhu_fd_close(int fd);

/*
 * Can it carry notifications: is it an eventfd, a pipe, or one of a pair of Unix sockets (which is
 * what User-mode Linux calls a pipe)? Not the other end of a connection to us, which would keep it
 * alive; not a signalfd, which would give its reader the reader's signals.
 */
bool vhu_fd_can_notify(int fd);

/* Can frames be written to it: is it a pipe, or one of such a pair? An eventfd takes numbers. */
bool vhu_fd_is_stream(int fd);

/*
 * Reads at most `size` bytes (below 2 GiB) without waiting. How many; 0: it is at its end; -EAGAIN:
 * there is nothing now; other -errno of read(2).
 */
int vhu_fd_read(int fd, void *to, size_t size);

/* Reads it empty, or nearly so. 0, or -errno when it is no use any more (-EPIPE: closed). */
int vhu_fd_drain(int fd);

/*
 * Writes all of it, 4096 bytes at most, or nothing. 0; -EAGAIN: there is no room now; other -errno:
 * nothing can be written any more. Who owns the process ignores SIGPIPE.
 */
int vhu_fd_write(int fd, const void *bytes, size_t size);

/* Writes 1; what is full is signalled already, and other errors leave nothing to be done. */
void vhu_fd_signal(int fd);

#endif
