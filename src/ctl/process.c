/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/process.h. */
#include "ctl/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ctl/ctl.h"
#include "ctl/table.h"
#include "ctl/text.h"
#include "ctl/view.h"

static int mistaken(const json_error_t *error)
{
	complain("who answers is no vublkd: %s", error->text);
	return -EPROTO;
}

static int print_status(const json_t *answer)
{
	struct view_status status;
	const int err = view_status(&status, answer);
	char version[64];

	if (err)
		return err;
	snprintf(version, sizeof(version), "%s", status.version);
	make_harmless(version, 0);
	printf("version   %s\nprocess   %" PRIu64 "%s\n", version, status.pid,
	       status.stopping ? ", which is stopping" : "");
	printf("disks     %" PRIu64 ": %" PRIu64 " served, %" PRIu64 " being opened, %" PRIu64
	       " failed\n",
	       status.all, status.served, status.opening, status.failed);
	return 0;
}

int process_status(const struct ctl *ctl)
{
	return ctl_show(ctl, "/v1/status", JSON_OBJECT, print_status);
}

static int print_worker(struct table *table, const json_t *value)
{
	char cpu[TEXT_FIGURE], polling[TEXT_FIGURE], asleep[TEXT_FIGURE];
	struct view_worker worker;
	const int err = view_worker(&worker, value);

	if (err)
		return err;
	table_cell(table, "%" PRIu64, worker.index);
	table_cell(table, "%" PRIu64, worker.queues);
	table_cell(table, "%s", figure_time(cpu, (double)worker.cpu_ns));
	table_cell(table, "%s", figure_time(polling, (double)worker.polling_ns));
	table_cell(table, "%s", figure_time(asleep, (double)worker.asleep_ns));
	table_cell(table, "%" PRIu64, worker.iterations);
	table_cell(table, "%" PRIu64, worker.sleeps);
	return 0;
}

static int print_workers(const json_t *list)
{
	return table_list("WORKER|>QUEUES|>CPU TIME|>POLLING|>ASLEEP|>ITERATIONS|>SLEEPS", list,
			  print_worker);
}

int process_workers(const struct ctl *ctl)
{
	return ctl_show(ctl, "/v1/workers", JSON_ARRAY, print_workers);
}

int process_metrics(const struct ctl *ctl)
{
	char *text;
	int err = ctl_complain(ctl, client_ask_text(ctl->client, "/metrics", ctl->deadline, &text));

	if (!err) {
		make_harmless(text, 1);
		fputs(text, stdout);
	}
	free(text);
	return err;
}

static int judge_reload(const json_t *answer, bool json)
{
	json_error_t error;
	int errors;

	if (json_unpack_ex((json_t *)answer, &error, 0, "{s:i}", "errors", &errors))
		return mistaken(&error);
	if (json)
		ctl_print_json(answer);
	if (errors)
		complain("%d thing%s wrong: vublkd's log says which", errors,
			 errors == 1 ? " is" : "s are");
	return errors ? -EREMOTEIO : 0;
}

int process_reload(const struct ctl *ctl)
{
	json_t *answer;
	int err = ctl_ask(ctl, "POST", "/v1/reload", NULL, JSON_OBJECT, &answer);

	if (!err)
		err = judge_reload(answer, ctl->options->json);
	json_decref(answer);
	return err;
}
