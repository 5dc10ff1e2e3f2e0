/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/ctl.h. */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "ctl/text.h"

int ctl_complain(const struct ctl *ctl, int err)
{
	/* Who has interrupted it knows. */
	if (err && err != -EINTR)
		complain("%s", client_error(ctl->client));
	return err;
}

int ctl_ask(const struct ctl *ctl, const char *method, const char *path, const json_t *body,
	    json_type type, json_t **answer)
{
	return ctl_complain(
		ctl, client_ask(ctl->client, method, path, body, ctl->deadline, type, answer));
}

int ctl_ask_disk(const struct ctl *ctl, const char *method, const char *name, const char *rest,
		 const json_t *body, json_t **answer)
{
	char *path = client_disk_path(name, rest);
	int err;

	*answer = NULL;
	if (!path)
		return -ENOMEM;
	err = client_ask(ctl->client, method, path, body, ctl->deadline, JSON_OBJECT, answer);
	free(path);
	return err;
}

int ctl_finish(const struct ctl *ctl, int err, json_t *answer, int (*print)(const json_t *answer))
{
	if (!err)
		err = ctl->options->json ? ctl_print_json(answer) : print(answer);
	json_decref(answer);
	return err;
}

bool ctl_pause(const struct ctl *ctl, int64_t ns)
{
	const struct timespec ts = {.tv_nsec = (long)ns};

	if (now_ns() + ns >= ctl->deadline)
		return false;
	nanosleep(&ts, NULL);
	return true;
}

int ctl_show(const struct ctl *ctl, const char *path, json_type type,
	     int (*print)(const json_t *answer))
{
	json_t *answer;
	const int err = ctl_ask(ctl, "GET", path, NULL, type, &answer);

	return ctl_finish(ctl, err, answer, print);
}

int ctl_print_json_as(const json_t *value, size_t flags)
{
	char *text = json_dumps(value, flags | JSON_ENSURE_ASCII);

	if (!text)
		return no_memory();
	/* All is escaped already but DEL. */
	make_harmless(text, 1);
	puts(text);
	free(text);
	return 0;
}

int ctl_print_json(const json_t *value)
{
	return ctl_print_json_as(value, JSON_INDENT(2));
}
