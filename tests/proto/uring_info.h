/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel tells of another process's io_uring, in /proc/PID/fdinfo (since Linux 5.10). */
#ifndef URING_INFO_H
#define URING_INFO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Has the process one that can be looked at? */
bool uring_of(pid_t pid);

/* How many operations its first one has been given, modulo 2^32. REQUIREs that it can be seen. */
uint32_t uring_submitted(pid_t pid);

#endif
