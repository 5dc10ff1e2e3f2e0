/* SPDX-License-Identifier: BSD-3-Clause */
/* See api/routes.h. */
#include "config.h"

#include "api/routes.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/disk_json.h"
#include "api/events.h"
#include "api/metrics.h"
#include "api/view.h"
#include "worker/worker.h"

#define DISKS        "/v1/disks"
#define METRICS_PATH "/metrics"

/* A request on its way to an answer. */
struct exchange {
	const struct api_view *view;
	const struct http_request *request;
	struct http_answer *answer;
	const char *name; /* of the disk that the path names, or NULL */
};

/* ---- answers ---- */

/* Takes the reference over. */
static void answer_json(const struct exchange *x, unsigned status, json_t *value)
{
	char *text = value ? json_dumps(value, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;
	const size_t length = text ? strlen(text) : 0;
	char *line = text ? realloc(text, length + 2) : NULL;

	json_decref(value);
	if (!line) {
		free(text);
		x->answer->status = 503;
		return;
	}
	memcpy(line + length, "\n", 2);
	x->answer->status = status;
	x->answer->type = "application/json";
	x->answer->text = line;
}

static void refuse(const struct exchange *x, unsigned status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void refuse(const struct exchange *x, unsigned status, const char *format, ...)
{
	char text[512];
	va_list ap;
	json_t *string;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	string = json_string(text);
	answer_json(x, status,
		    json_pack("{s:o}", "error", string ? string : json_string("(not UTF-8)")));
}

/* What disks.h has refused. */
static void refuse_errno(const struct exchange *x, int err, const char *error)
{
	const bool conflict = err == -EEXIST || err == -EADDRINUSE || err == -EBUSY;

	refuse(x, conflict ? 409 : err == -EINVAL ? 400 : 503, "%s", error);
}

static struct disks_entry *find(const struct exchange *x)
{
	struct disks_entry *entry = disks_find(x->view->disks, x->name);

	if (!entry)
		refuse(x, 404, "there is no disk '%s'", x->name);
	return entry;
}

static bool flag(const struct exchange *x, const char *name)
{
	const char *value = http_argument(x->request, name);

	return value && !strcmp(value, "true");
}

/* ---- disks ---- */

static void list_disks(const struct exchange *x)
{
	json_t *list = json_array();

	for (const struct disks_entry *entry = x->view->disks->first; entry; entry = entry->next)
		json_array_append_new(list, disk_json(entry, false));
	answer_json(x, 200, list);
}

static void show_disk(const struct exchange *x)
{
	const struct disks_entry *entry = find(x);

	if (entry)
		answer_json(x, 200, disk_json(entry, true));
}

/*
 * Options made of the body, which go over those of `before` (or NULL). NULL: refused already.
 */
static struct disk_options *read_options(const struct exchange *x, const char *id,
					 const struct disk_options *before)
{
	const char *text[DISK_OPTIONS_MAX] = {0};
	struct disk_options *options = NULL;
	struct disk_json_room room;
	json_error_t json_error;
	char error[512];
	json_t *object =
		json_loadb(x->request->body, x->request->size, JSON_REJECT_DUPLICATES, &json_error);
	int err = -EINVAL;

	for (unsigned i = 0; before && disk_options_row(i); i++)
		text[i] = before->text[i];
	if (!object)
		snprintf(error, sizeof(error), "line %d of the body: %s", json_error.line,
			 json_error.text);
	else if (!json_is_object(object))
		snprintf(error, sizeof(error), "the body must be a JSON object");
	else
		err = disk_json_read(object, text, &room, error, sizeof(error));
	if (!err)
		err = disk_options_create(&options, id, text, x->view->host, error, sizeof(error));
	json_decref(object);
	if (err)
		refuse_errno(x, err, error);
	return options;
}

/* Takes the options over. */
static void change(const struct exchange *x, struct disks_entry *entry,
		   struct disk_options *options)
{
	unsigned changed[DISK_OPTIONS_MAX];
	char error[512];
	int err = 0;

	if (entry->state != DISKS_FAILED && disks_wanted(entry) &&
	    !disk_options_compare(disks_wanted(entry), options, changed))
		disk_options_destroy(options);
	else
		err = disks_replace(entry, options, error, sizeof(error));
	if (err)
		refuse_errno(x, err, error);
	else
		answer_json(x, entry->state == DISKS_SERVED ? 200 : 202, disk_json(entry, false));
}

static void put_disk(const struct exchange *x)
{
	struct disks_entry *entry = disks_find(x->view->disks, x->name);
	struct disk_options *options;
	char error[512];
	int err;

	if (!disk_options_may_call(x->name)) {
		refuse(x, 400, "a disk's name has up to 100 letters, digits, and . _ -");
		return;
	}
	if (entry && entry->origin == DISKS_COMMAND_LINE) {
		refuse(x, 409, "the disk of the command line cannot be changed");
		return;
	}
	options = read_options(x, x->name, NULL);
	if (!options)
		return;
	if (entry) {
		change(x, entry, options);
		return;
	}
	err = disks_add(x->view->disks, options, DISKS_API, error, sizeof(error));
	if (err)
		refuse_errno(x, err, error);
	else
		answer_json(x, 202, disk_json(disks_find(x->view->disks, x->name), false));
}

static void patch_disk(const struct exchange *x)
{
	struct disks_entry *entry = find(x);
	struct disk_options *options;

	if (!entry)
		return;
	if (!disks_wanted(entry)) {
		refuse(x, 409, "the disk '%s' is about to go", x->name);
		return;
	}
	options = read_options(x, entry->options->id, disks_wanted(entry));
	if (options)
		change(x, entry, options);
}

static void delete_disk(const struct exchange *x)
{
	struct disks_entry *entry = find(x);

	if (!entry)
		return;
	if (disks_remove(entry, flag(x, "force")))
		refuse(x, 409,
		       "a front-end is connected to the disk '%s'; with ?force=true it goes "
		       "all the same",
		       x->name);
	else
		answer_json(x, 202, json_pack("{s:s, s:s}", "name", x->name, "state", "leaving"));
}

static void resize_disk(const struct exchange *x)
{
	struct disks_entry *entry = find(x);

	if (!entry)
		return;
	if (!entry->disk || entry->state != DISKS_SERVED) {
		refuse(x, 409, "the disk '%s' is not served", x->name);
		return;
	}
	disk_check_size(entry->disk, true);
	answer_json(x, 200, disk_json(entry, false));
}

/* ---- the process ---- */

static void show_status(const struct exchange *x)
{
	unsigned n[DISKS_LEAVING + 1] = {0}, all = 0;

	for (const struct disks_entry *entry = x->view->disks->first; entry; entry = entry->next) {
		n[entry->state]++;
		all++;
	}
	answer_json(x, 200,
		    json_pack("{s:s, s:i, s:s, s:b, s:b, s:b, s:{s:i, s:i, s:i, s:i}}", "version",
			      PACKAGE_VERSION, "pid", (int)getpid(), "instance", x->view->instance,
			      "fallback", getenv("VUBLKD_FALLBACK") != NULL, "ready",
			      x->view->is_ready(x->view), "stopping", x->view->disks->stopping,
			      "disks", "all", all, "served", n[DISKS_SERVED], "opening",
			      n[DISKS_OPENING], "failed", n[DISKS_FAILED]));
}

static void reload(const struct exchange *x)
{
	answer_json(x, 200, json_pack("{s:i}", "errors", (int)x->view->reload(x->view)));
}

/* The answer is about the process that goes. */
static void upgrade(const struct exchange *x)
{
	const int err = x->view->upgrade(x->view);

	if (err == -EOPNOTSUPP)
		refuse(x, 409,
		       "nobody is there who would start this process again (--supervise, or "
		       "systemd with FileDescriptorStoreMax=)");
	else if (err == -EBUSY)
		refuse(x, 409, "the process is about to end");
	else if (err == -EAGAIN)
		refuse(x, 409, "the process is not ready yet: disks are being opened");
	else if (err)
		refuse(x, 503, "%s", strerror(-err));
	else
		answer_json(x, 202,
			    json_pack("{s:s, s:i, s:s}", "version", PACKAGE_VERSION, "pid",
				      (int)getpid(), "instance", x->view->instance));
}

static void list_workers(const struct exchange *x)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < x->view->num_workers; i++) {
		struct worker_counters c;

		worker_counters(x->view->worker[i], &c);
		json_array_append_new(list, json_pack("{s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I}",
						      "index", (int)i, "queues", (int)c.tasks,
						      "load", (int)worker_load(x->view->worker[i]),
						      "iterations", (json_int_t)c.iterations,
						      "sleeps", (json_int_t)c.sleeps, "cpu-ns",
						      (json_int_t)c.cpu_ns, "polling-ns",
						      (json_int_t)c.polling_ns, "asleep-ns",
						      (json_int_t)c.asleep_ns));
	}
	answer_json(x, 200, list);
}

static void stream_events(const struct exchange *x)
{
	x->answer->stream = x->view->events ? events_stream(x->view->events) : NULL;
	x->answer->type = "application/x-ndjson";
	if (!x->answer->stream)
		refuse(x, 503, "so many are told of events that no more can be");
}

static void show_metrics(const struct exchange *x)
{
	x->answer->text = metrics_text(x->view);
	x->answer->type = METRICS_TYPE;
	if (!x->answer->text)
		x->answer->status = 503;
}

/* ---- the table ---- */

struct route {
	const char *method, *path; /* "*" stands for a disk's name */
	void (*run)(const struct exchange *x);
};

static const struct route routes[] = {
	{"GET", "/v1/status", show_status},  {"GET", "/v1/workers", list_workers},
	{"GET", METRICS_PATH, show_metrics}, {"GET", "/v1/events", stream_events},
	{"POST", "/v1/reload", reload},      {"POST", "/v1/upgrade", upgrade},
	{"GET", DISKS, list_disks},          {"GET", DISKS "/*", show_disk},
	{"PUT", DISKS "/*", put_disk},       {"PATCH", DISKS "/*", patch_disk},
	{"DELETE", DISKS "/*", delete_disk}, {"POST", DISKS "/*/resize", resize_disk},
};
#define N_ROUTES (sizeof(routes) / sizeof(*routes))

#define NAME_ROOM 128 /* more than a disk's name has */

/* Is the path one of this pattern's? Then what the star stands for is in `name` ("": none). */
static bool matches(const char *pattern, const char *path, char name[NAME_ROOM])
{
	const char *star = strchr(pattern, '*');
	const size_t before = star ? (size_t)(star - pattern) : strlen(pattern);
	size_t length;

	*name = '\0';
	if (!star)
		return !strcmp(pattern, path);
	if (strncmp(pattern, path, before) != 0)
		return false;
	path += before;
	length = strcspn(path, "/");
	if (!length || length >= NAME_ROOM || strcmp(path + length, star + 1) != 0)
		return false;
	memcpy(name, path, length);
	name[length] = '\0';
	return true;
}

static void answer_by(const struct route *table, size_t n_routes, void *opaque,
		      const struct http_request *request, struct http_answer *answer)
{
	static char allow[64]; /* libmicrohttpd copies it */
	struct exchange x = {.view = opaque, .request = request, .answer = answer};
	/* What has a body with GET has it with HEAD: the library leaves it out. */
	const char *method = strcmp(request->method, "HEAD") ? request->method : "GET";
	char name[NAME_ROOM];
	size_t n = 0;

	*allow = '\0';
	for (size_t i = 0; i < n_routes; i++) {
		if (!matches(table[i].path, request->path, name))
			continue;
		x.name = *name ? name : NULL;
		if (!strcmp(method, table[i].method)) {
			table[i].run(&x);
			return;
		}
		n += (size_t)snprintf(allow + n, sizeof(allow) - n, "%s%s", n ? ", " : "",
				      table[i].method);
	}
	if (n) {
		refuse(&x, 405, "%.20s goes not with this path; %s do", request->method, allow);
		answer->allow = allow;
	} else {
		refuse(&x, 404, "there is nothing at this path");
	}
}

void routes_answer(void *opaque, const struct http_request *request, struct http_answer *answer)
{
	answer_by(routes, N_ROUTES, opaque, request, answer);
}

void routes_answer_metrics(void *opaque, const struct http_request *request,
			   struct http_answer *answer)
{
	static const struct route metrics = {"GET", METRICS_PATH, show_metrics};

	answer_by(&metrics, 1, opaque, request, answer);
}
