/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's image locks: who may write an image, agreed by OFD read locks on single bytes of it.
 * Byte 100 + p says "I use permission p", byte 200 + p "I share permission p with nobody"
 * (p: 0 consistent read, 1 write, 3 resize). Since the lock belongs to the open file, it also
 * stands until the last I/O of a killed process has ended: that makes it the fence behind which
 * a restarted daemon waits.
 */
#ifndef IMAGE_LOCK_H
#define IMAGE_LOCK_H

#include <stdbool.h>

/*
 * Tries to lock the open image, once and without waiting: takes bytes 100, 201 and 203, with
 * `write` also 101, then looks whether another one's locks contradict. `fd` must be open for
 * reading, and stands for its open file: a duplicate shares the lock, the last close drops it.
 * 0; -EAGAIN when somebody else's locks contradict (then nothing stays locked, and *holder says
 * what contradicts, as "in use for writing", a static string); -errno from fcntl otherwise (a
 * file system without OFD locks: -EINVAL, -ENOLCK, -EOPNOTSUPP), with *holder NULL. Two that
 * try at the same moment may both be refused (each sees the bytes that the other has just taken),
 * so who waits tries again at irregular intervals. Any thread.
 */
int image_lock(int fd, bool write, const char **holder);

/* Releases all of it; without a lock it does nothing. */
void image_unlock(int fd);

#endif
