/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See ctl/change.h. The daemon answers before a disk has come or gone, so what becomes of it is
 * asked again and again.
 */
#include "ctl/change.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/text.h"
#include "ctl/view.h"

#define FIRST_NS   INT64_C(5000000) /* between two looks; doubles up to: */
#define LONGEST_NS INT64_C(200000000)

static const char *name_of(const struct ctl *ctl)
{
	return ctl->options->word[1];
}

/* ---- waiting ---- */

/* Before the next look. -ETIMEDOUT, having complained, if there is no time for one. */
static int pause_for(const struct ctl *ctl, int64_t *ns, const char *what)
{
	if (!ctl_pause(ctl, *ns)) {
		complain("the disk '%s' is not %s after %g s", name_of(ctl), what,
			 ctl->options->timeout);
		return -ETIMEDOUT;
	}
	*ns = 2 * *ns < LONGEST_NS ? 2 * *ns : LONGEST_NS;
	return 0;
}

/* Replaces *answer by a new look at the disk. */
static int look(const struct ctl *ctl, json_t **answer)
{
	json_decref(*answer);
	return ctl_ask_disk(ctl, "GET", name_of(ctl), "", NULL, answer);
}

/* *answer is the disk, and in the end what it has become. */
static int await_served(const struct ctl *ctl, json_t **answer)
{
	int64_t pause = FIRST_NS;
	struct view_disk disk;
	int err;

	while (true) {
		err = view_disk(&disk, *answer);
		if (err || !strcmp(disk.state, "served"))
			return err;
		if (!strcmp(disk.state, "failed") || !strcmp(disk.state, "ended")) {
			complain("the disk '%s' has %s: %s", name_of(ctl), disk.state,
				 disk.error ? disk.error : "vublkd's log says why");
			return -EREMOTEIO;
		}
		err = pause_for(ctl, &pause, "served");
		if (!err)
			err = ctl_complain(ctl, look(ctl, answer));
		if (err)
			return err;
	}
}

static int await_gone(const struct ctl *ctl)
{
	int64_t pause = FIRST_NS;
	json_t *answer = NULL;
	struct view_disk disk;
	int err = look(ctl, &answer);

	while (!err) {
		err = view_disk(&disk, answer);
		/* In another state it is another disk, which somebody has added since. */
		if (err || strcmp(disk.state, "leaving") != 0)
			break;
		err = pause_for(ctl, &pause, "gone");
		if (err)
			break;
		err = look(ctl, &answer);
		if (err && err != -ENOENT)
			ctl_complain(ctl, err);
	}
	json_decref(answer);
	return err == -ENOENT ? 0 : err;
}

/* ---- options of a disk ---- */

static int mistaken(const char *word, const char *why)
{
	complain("'%s' %s", word, why);
	return -EINVAL;
}

/* "NAME=VALUE", "NAME" (true); with `null`, "NAME=" takes away. */
static int add_option(json_t *object, const char *word, bool null)
{
	const size_t length = strcspn(word, "=");
	char *name = strndup(word, length);
	json_t *value;
	int err = 0;

	if (!name)
		return -ENOMEM;
	if (!word[length])
		value = json_true();
	else if (!word[length + 1] && null)
		value = json_null();
	else
		value = json_string(word + length + 1);
	if (!length)
		err = mistaken(word, "names no option");
	else if (json_object_get(object, name))
		err = mistaken(name, "is given twice");
	else if (!value || json_object_set(object, name, value))
		err = mistaken(word, "is not UTF-8, which JSON has to be");
	json_decref(value);
	free(name);
	return err;
}

static int read_options(const struct ctl *ctl, bool null, json_t **object)
{
	int err = 0;

	*object = json_object();
	if (!*object)
		return -ENOMEM;
	for (unsigned i = 2; !err && i < ctl->options->n_words; i++)
		err = add_option(*object, ctl->options->word[i], null);
	return err;
}

/* ---- commands ---- */

/* That it is done says all. */
static int print_nothing(const json_t *answer)
{
	(void)answer;
	return 0;
}

static int change(const struct ctl *ctl, const char *method, bool null)
{
	json_t *object, *answer = NULL;
	int err = read_options(ctl, null, &object);

	if (!err)
		err = ctl_complain(ctl,
				   ctl_ask_disk(ctl, method, name_of(ctl), "", object, &answer));
	if (!err && !ctl->options->no_wait)
		err = await_served(ctl, &answer);
	json_decref(object);
	return ctl_finish(ctl, err, answer, print_nothing);
}

int change_add(const struct ctl *ctl)
{
	return change(ctl, "PUT", false);
}

int change_set(const struct ctl *ctl)
{
	return change(ctl, "PATCH", true);
}

int change_remove(const struct ctl *ctl)
{
	json_t *answer;
	int err = ctl_complain(ctl, ctl_ask_disk(ctl, "DELETE", name_of(ctl),
						 ctl->options->force ? "?force=true" : "", NULL,
						 &answer));

	if (!err && !ctl->options->no_wait)
		err = await_gone(ctl);
	return ctl_finish(ctl, err, answer, print_nothing);
}

static int print_size(const json_t *answer)
{
	struct view_disk disk;
	char text[TEXT_FIGURE];
	const int err = view_disk(&disk, answer);

	if (!err)
		printf("%s (%ju bytes)\n", figure_bytes(text, disk.size), (uintmax_t)disk.size);
	return err;
}

int change_resize(const struct ctl *ctl)
{
	json_t *answer;
	int err = ctl_complain(ctl,
			       ctl_ask_disk(ctl, "POST", name_of(ctl), "/resize", NULL, &answer));

	return ctl_finish(ctl, err, answer, print_size);
}
