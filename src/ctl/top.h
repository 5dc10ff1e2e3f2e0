/* SPDX-License-Identifier: BSD-3-Clause */
/* The command top: what disks and workers do, again and again. Main thread. */
#ifndef CTL_TOP_H
#define CTL_TOP_H

struct ctl;

/* See ctl_ask(). */
int top_run(const struct ctl *ctl);

#endif
