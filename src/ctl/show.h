/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands that show disks: list, show. Main thread. */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

struct ctl;

/* See ctl_ask(). */
int show_list(const struct ctl *ctl);
int show_disk(const struct ctl *ctl);

#endif
