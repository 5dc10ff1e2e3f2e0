/* SPDX-License-Identifier: BSD-3-Clause */
/* What epoll(7) can say of a descriptor. */
#ifndef IO_EPOLL_H
#define IO_EPOLL_H

/* Can it be watched? 0 or -errno: -EPERM as for a regular file, -EBADF. Any thread. */
int epoll_supports(int fd);

#endif
