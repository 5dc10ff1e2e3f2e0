/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a disk can be told, as one table, whoever tells it: the command line, or a file of
 * settings. Knows nothing of the host: whether a thing asked for can be had is for others to find
 * out. Control thread.
 */
#ifndef CONFIG_DISK_OPTIONS_H
#define CONFIG_DISK_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "config/option_table.h"
#include "disk/disk_config.h"

#define DISK_OPTIONS_MAX OPTION_TABLE_MAX

/* The rows, which fill in a struct disk_config. */
extern const struct option_part disk_option_part;

/* What of the process decides whether a disk's options go. */
struct disk_host {
	bool null_engine, fixed_buffers, iopoll;
	bool many;            /* it may have several disks */
	unsigned num_workers; /* 1 to WORKERS_MOST */
};

/* What a disk was told. */
struct disk_options {
	char *id;                     /* what operators call it; NULL: see `config.name` */
	char *text[DISK_OPTIONS_MAX]; /* as it was given, by row; NULL: it was not */
	struct disk_config config;    /* made of it; strings point to the above */
};

/* Before anything is parsed into it; and afterwards: what follows from the rest. */
void disk_config_init(struct disk_config *config);
void disk_config_complete(struct disk_config *config);

/*
 * Do a disk's options (`given` by its rows) go with what the process is? 0, or what option_fail()
 * returns.
 */
int disk_options_check_host(struct option_parser *parser, const char *const *given,
			    const struct disk_config *config, const struct disk_host *host);

/* The row of that name, or -1; and the other way round, NULL: there are no more. */
int disk_options_find(const char *name);
const struct option_row *disk_options_row(unsigned i);

/* May a disk be called so? Letters, digits, and . _ - (no . at first), up to 100. */
bool disk_options_may_call(const char *id);

/*
 * Makes options of texts by row (NULL: not given; "true" or "false" for what takes no value), which
 * are copied, as is `id` (or NULL: the disk of the command line). 0, or -errno with one line in
 * `error`.
 */
int disk_options_create(struct disk_options **optionsp, const char *id, const char *const *text,
			const struct disk_host *host, char *error, size_t size);

/* NULL is allowed. */
void disk_options_destroy(struct disk_options *options);

/* May the row change while a front-end is connected? What it says counts from then on. */
bool disk_options_is_live(unsigned row);

/* Takes over from `other` what it says of rows that may. */
void disk_options_take_live(struct disk_options *options, struct disk_options *other);

/* The rows in which they differ, as they were given; returns how many. */
unsigned disk_options_compare(const struct disk_options *a, const struct disk_options *b,
			      unsigned changed[DISK_OPTIONS_MAX]);

/* The same in words: their names, as far as `size` bytes of text hold them. */
void disk_options_name_changes(const struct disk_options *a, const struct disk_options *b,
			       char *text, size_t size);

#endif
