/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open file description locks, fcntl(2): they belong to the open file, and so stand until its last
 * operation has ended, also that of a process that was killed. Any thread.
 */
#ifndef BASE_OFD_LOCK_H
#define BASE_OFD_LOCK_H

#include <fcntl.h>
#include <stdint.h>

/*
 * One fcntl (F_OFD_SETLK or F_OFD_GETLK) for a lock of this type on `size` bytes from `start` on;
 * 0: all from there. l_type afterwards (F_RDLCK, F_WRLCK and F_UNLCK are >= 0), or -errno;
 * -EAGAIN: another one's stands against it.
 */
int ofd_lock(int fd, int command, short type, uint64_t start, uint64_t size);

#endif
