/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The API, and the list of disks behind it: the input is steps, each a byte, and with some a text
 * that ends with a NUL. Requests come at any time; a disk (there is nothing behind it here) opens,
 * fails or ends when a step says so. Each answer is one that can be: a known status, and JSON,
 * which names the error if there is one. No two disks have one name, or one socket; and when all is
 * stopped none is left.
 *
 *	0-5	a request of that method: path, body
 *	6	the same to the metrics
 *	8+i	the i-th disk that opens has opened; 40+i: has failed
 *	72+i	the i-th disk that was stopped has ended; 104+i: one that was not
 *	136+i	a front-end comes to the i-th disk, or leaves it
 *	255	all disks are stopped
 */
#include <errno.h>
#include <jansson.h>

#include "src/api/events.h"
#include "src/api/http.h"
#include "src/api/routes.h"
#include "src/api/view.h"
#include "src/base/log.h"
#include "src/disk/counters.h"
#include "src/disks/disks.h"
#include "tests/fuzz/fuzz.h"

/* ---- disks without anything behind ---- */

struct disk {
	const struct disk_config *config;
	const struct disk_events *events;
	void *opaque;
	bool open, stopped, connected, ended;
	struct disk *next;
};

static struct disk *first;

int disk_create(struct disk **diskp, const struct disk_config *config,
		const struct disk_process *process, const struct disk_events *events, void *opaque)
{
	struct disk *disk = calloc(1, sizeof(*disk));

	(void)process;
	disk->config = config;
	disk->events = events;
	disk->opaque = opaque;
	disk->next = first;
	first = disk;
	*diskp = disk;
	return 0;
}

void disk_destroy(struct disk *disk)
{
	struct disk **at = &first;

	if (!disk)
		return;
	while (*at != disk)
		at = &(*at)->next;
	*at = disk->next;
	free(disk);
}

static void end(struct disk *disk, int status)
{
	disk->ended = true;
	disk->connected = false;
	disk->events->ended(disk->opaque, status);
}

void disk_stop(struct disk *disk, bool leave_session)
{
	(void)leave_session;
	if (disk->stopped)
		return;
	disk->stopped = true;
	/* The real one calls from within, too, when nobody is connected. */
	if (disk->open && !disk->connected && !disk->ended)
		end(disk, 0);
}

const char *disk_why(const struct disk *disk)
{
	(void)disk;
	return "it cannot";
}

bool disk_look(const struct disk *disk, struct disk_facts *facts)
{
	*facts = (struct disk_facts){.connected = disk->connected, .target = "none"};
	return disk->open;
}

bool disk_is_connected(const struct disk *disk)
{
	return disk->connected && !disk->stopped;
}

void disk_counters(const struct disk *disk, struct disk_counters *counters)
{
	(void)disk;
	*counters = (struct disk_counters){.totals.held_now = 1};
}

bool disk_holds(const struct disk *disk, const struct image *image)
{
	(void)disk, (void)image;
	return false;
}

const char *disk_waited_for(const struct disk *disk)
{
	return disk->open ? "iops-total" : NULL;
}

bool disk_ring_counters(const struct disk *disk, unsigned index, struct ring_counters *counters)
{
	(void)disk;
	*counters = (struct ring_counters){.state = "running", .why_broken = "it is"};
	return index == 3;
}

void disk_check_size(struct disk *disk, bool asked)
{
	(void)asked;
	FUZZ_CHECK(disk->open);
}

void disk_config_changed(struct disk *disk)
{
	FUZZ_CHECK(disk->config->limits.iops_size <= UINT64_C(1000000000000000));
}

void disk_report(struct disk *disk)
{
	(void)disk;
}

void disk_check_memory(struct disk *disk)
{
	(void)disk;
}

void disk_unlink(struct disk *disk)
{
	FUZZ_CHECK(disk->config->listener.path);
}

/* ---- the process ---- */

static struct loop *loop;
static struct disk_process process;
static struct disks disks;

static void changed(struct disks *all)
{
	FUZZ_CHECK(all == &disks);
}

static unsigned reload(const struct api_view *view)
{
	(void)view;
	return 0;
}

static bool is_ready(const struct api_view *view)
{
	return disks_are_settled(view->disks);
}

/* Each of its answers in turn. */
static int upgrade(const struct api_view *view)
{
	static const int answers[] = {0, -EOPNOTSUPP, -EBUSY, -EAGAIN};
	static unsigned next;

	(void)view;
	return answers[next++ % (sizeof(answers) / sizeof(*answers))];
}

static struct api_view view;
static struct http_stream *listener; /* to events, or NULL */

static void told(const struct disk_process *of, const struct disk_config *config, const char *event,
		 const char *detail)
{
	FUZZ_CHECK(of == &process);
	events_add(view.events, disks_id_of(&disks, config), event, detail);
}

/* What has been told is lines of JSON. */
static void check_events(void)
{
	char line[8192];
	size_t n = 0, more;

	while ((more = listener->read(listener, line + n, 1 + n % 7))) {
		n += more;
		FUZZ_CHECK(n < sizeof(line) - 8);
		if (line[n - 1] != '\n')
			continue;
		if (n > 1) {
			json_t *value = json_loadb(line, n, 0, NULL);

			FUZZ_CHECK(json_object_get(value, "event"));
			json_decref(value);
		}
		n = 0;
	}
	FUZZ_CHECK(!n);
}

static void listen_to(struct http_stream *stream)
{
	if (listener)
		listener->close(listener);
	listener = stream;
}

static const struct disk_host host = {.num_workers = 4};

static const char *socket_of(const struct disks_entry *entry)
{
	return disks_wanted(entry) ? disks_wanted(entry)->config.listener.path : NULL;
}

static void check_list(void)
{
	for (const struct disks_entry *a = disks.first; a; a = a->next) {
		FUZZ_CHECK(disk_options_may_call(a->id));
		FUZZ_CHECK((a->state == DISKS_FAILED || a->state == DISKS_ENDED) == !a->disk ||
			   (a->disk && a->disk->ended));
		for (const struct disks_entry *b = a->next; b; b = b->next) {
			FUZZ_CHECK(strcmp(a->id, b->id) != 0);
			FUZZ_CHECK(!socket_of(a) || !socket_of(b) ||
				   strcmp(socket_of(a), socket_of(b)) != 0);
		}
	}
}

static void check_answer(const struct http_answer *answer)
{
	static const unsigned known[] = {200, 202, 400, 404, 405, 409};
	json_t *value;
	size_t i = 0;

	while (i < sizeof(known) / sizeof(*known) && known[i] != answer->status)
		i++;
	FUZZ_CHECK(i < sizeof(known) / sizeof(*known));
	FUZZ_CHECK(answer->text && *answer->text);
	if (strcmp(answer->type, "application/json") != 0)
		return;
	value = json_loads(answer->text, 0, NULL);
	FUZZ_CHECK(value);
	FUZZ_CHECK((answer->status >= 400) ==
		   (json_object_get(value, "error") && !json_object_get(value, "state")));
	json_decref(value);
}

static void ask(bool metrics, const char *method, const char *path, const char *body)
{
	const struct http_request request = {
		.method = method, .path = path, .body = body, .size = strlen(body)};
	struct http_answer answer = {.status = 200};

	if (metrics)
		routes_answer_metrics(&view, &request, &answer);
	else
		routes_answer(&view, &request, &answer);
	if (answer.stream) {
		listen_to(answer.stream);
		return;
	}
	check_answer(&answer);
	free(answer.text);
}

/* ---- steps ---- */

static bool is_opening(const struct disk *disk)
{
	return !disk->open;
}

static bool is_stopped(const struct disk *disk)
{
	return disk->open && disk->stopped && !disk->ended;
}

static bool is_served(const struct disk *disk)
{
	return disk->open && !disk->stopped && !disk->ended;
}

static struct disk *nth(bool (*is)(const struct disk *disk), unsigned n)
{
	struct disk *disk = first;

	while (disk && (!is(disk) || n--))
		disk = disk->next;
	return disk;
}

static void opened(struct disk *disk, bool good)
{
	if (!disk)
		return;
	disk->open = good && !disk->stopped;
	disk->events->opened(disk->opaque, disk->stopped ? -ECANCELED : good ? 0 : -ENOENT);
}

static const char *text(const uint8_t **data, const uint8_t *end)
{
	const char *start = (const char *)*data;
	const uint8_t *nul = memchr(*data, 0, (size_t)(end - *data));

	*data = nul ? nul + 1 : end;
	return start;
}

static void step(const uint8_t **data, const uint8_t *end_of_data)
{
	static const char *const methods[] = {"GET", "PUT", "PATCH", "DELETE", "POST", "HEAD"};
	const unsigned op = *(*data)++;

	if (op < 7) {
		const char *path = text(data, end_of_data);
		const char *body = text(data, end_of_data);

		ask(op == 6, op == 6 ? "GET" : methods[op], path, body);
	} else if (op >= 8 && op < 72) {
		opened(nth(is_opening, (op - 8) % 32), op < 40);
	} else if (op >= 72 && op < 136) {
		struct disk *disk = nth(op < 104 ? is_stopped : is_served, (op - 72) % 32);

		if (disk)
			end(disk, op & 1);
	} else if (op >= 136 && op < 168) {
		struct disk *disk = nth(is_served, op - 136);

		if (disk)
			disk->connected = !disk->connected;
	} else if (op == 255) {
		disks_stop(&disks, false);
	}
	mailbox_run(loop_mailbox(loop));
	check_list();
	if (listener && op & 1)
		check_events();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* With a NUL behind, so that the last text has an end. */
	uint8_t *copy = calloc(1, size + 1);
	const uint8_t *at = copy;
	struct disk *disk;

	memcpy(copy, data, size);
	log_set_level(LOG_LEVEL_ERROR);
	if (!loop)
		FUZZ_CHECK(!loop_create(&loop));
	process = (struct disk_process){.loop = loop, .tell = told};
	view = (struct api_view){.loop = loop,
				 .disks = &disks,
				 .host = &host,
				 .events = events_create(loop),
				 .instance = "0123456789abcdef",
				 .reload = reload,
				 .is_ready = is_ready,
				 .upgrade = upgrade};
	disks_init(&disks, &process, changed);
	while (at < copy + size)
		step(&at, copy + size);
	disks_stop(&disks, false);
	while ((disk = nth(is_opening, 0)) || (disk = nth(is_stopped, 0))) {
		if (disk->open)
			end(disk, 0);
		else
			opened(disk, true);
		mailbox_run(loop_mailbox(loop));
	}
	mailbox_run(loop_mailbox(loop));
	FUZZ_CHECK(!disks.first && !first);
	if (listener)
		check_events();
	listen_to(NULL);
	events_destroy(view.events);
	disks_destroy(&disks);
	free(copy);
	return 0;
}
