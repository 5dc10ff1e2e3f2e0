/* SPDX-License-Identifier: BSD-3-Clause */
/* The command events: what happens to disks, as it happens. Main thread. */
#ifndef CTL_EVENTS_H
#define CTL_EVENTS_H

struct ctl;

/* See ctl_ask(). To be interrupted is the usual end; that the daemon ends is -ENOTCONN. */
int events_run(const struct ctl *ctl);

#endif
