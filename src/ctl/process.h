/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands that ask and tell the process: status, workers, metrics, reload. Main thread. */
#ifndef CTL_PROCESS_H
#define CTL_PROCESS_H

struct ctl;

/* See ctl_ask(). */
int process_status(const struct ctl *ctl);
int process_workers(const struct ctl *ctl);
int process_metrics(const struct ctl *ctl);
int process_reload(const struct ctl *ctl);

#endif
