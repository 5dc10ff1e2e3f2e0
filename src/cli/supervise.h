/* SPDX-License-Identifier: BSD-3-Clause */
/* --supervise: this process becomes vublkd-keeper, which starts vublkd as its child. */
#ifndef CLI_SUPERVISE_H
#define CLI_SUPERVISE_H

#include "base/log.h"

/*
 * Executes vublkd-keeper: the one beside our own executable if there is one, as where both were
 * built, else the one at `installed`. The child's command line is argv without argv[place], which
 * is taken out. Before anything is opened. Returns only if that fails: EXIT_FAILURE (logged).
 */
int supervise(const char *installed, enum log_level level, char **argv, int place);

#endif
