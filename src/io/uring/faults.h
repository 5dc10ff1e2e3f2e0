/* SPDX-License-Identifier: BSD-3-Clause */
/* For tests only, zero otherwise: what the reactor on io_uring is to do without, or to suffer. */
#ifndef IO_URING_FAULTS_H
#define IO_URING_FAULTS_H

/* As on an older kernel, so that its fall-backs run everywhere. Read when it is opened. */
#define URING_WITHOUT_DEFER_TASKRUN 0x01u /* before 6.1 */
#define URING_WITHOUT_COOP_TASKRUN  0x02u /* before 5.19 */
#define URING_WITHOUT_FIXED_FILES   0x04u /* sparse tables: before 5.19 */
#define URING_WITHOUT_RING_FD       0x08u /* before 5.18 */
#define URING_WITHOUT_MULTISHOT     0x10u /* before 5.13 */
#define URING_WITHOUT_LARGE_RINGS   0x20u /* rings of a few entries, so that they overflow */
#define URING_WITHOUT_FIXED_BUFFERS 0x40u /* sparse tables: before 5.19 */
extern unsigned uring_without;

/* What is to go wrong. */
#define URING_FAULT_POISON  0x01u /* the entries of a new ring are full of ones */
#define URING_FAULT_WATCHES 0x02u /* the kernel takes no watch */
extern unsigned uring_faults;

#endif
