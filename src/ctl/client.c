/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/client.h. One connection, which libcurl keeps and makes again as it needs it. */
#include "ctl/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

struct client {
	CURL *curl;
	const char *socket;
	int abort_fd;
	/* Of the last question. */
	char *text; /* the answer's body, and a NUL */
	size_t size, room;
	size_t head; /* bytes of headers */
	const char *trouble;
	char error[1024];
	/* While it is lines. */
	int (*take)(void *opaque, const char *line, size_t size);
	void *opaque;
	int taken;           /* what that has returned */
	int64_t quiet_until; /* CLOCK_MONOTONIC, ns: later something has to have come */
};

static int fail(struct client *client, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(struct client *client, int err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(client->error, sizeof(client->error), format, ap);
	va_end(ap);
	return err;
}

const char *client_error(const struct client *client)
{
	return client->error;
}

/* ---- what comes ---- */

static size_t take_body(char *data, size_t one, size_t size, void *opaque)
{
	struct client *client = opaque;
	const size_t needed = client->size + size + 1;

	(void)one;
	if (size > CLIENT_BODY_MAX - client->size) {
		client->trouble = "more than 64 MiB";
		return 0;
	}
	if (needed > client->room) {
		const size_t room = needed > 2 * client->room ? needed : 2 * client->room;
		char *text = realloc(client->text, room);

		if (!text) {
			client->trouble = "more than there is memory for";
			return 0;
		}
		client->text = text;
		client->room = room;
	}
	memcpy(client->text + client->size, data, size);
	client->size += size;
	client->text[client->size] = '\0';
	return size;
}

static bool is_success(const struct client *client)
{
	long status = 0;

	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 && status < 300;
}

/* More of a line: `size` bytes, and with `whole` that is all. */
static int take_part(struct client *client, char *data, size_t size, bool whole)
{
	if (size > CLIENT_LINE_MAX - client->size) {
		client->trouble = "a line without end";
		return -EPROTO;
	}
	if (take_body(data, 1, size, client) != size)
		return -EPROTO;
	if (!whole || !client->size)
		return 0;
	client->taken = client->take(client->opaque, client->text, client->size);
	client->size = 0;
	return client->taken;
}

static size_t take_lines(char *data, size_t one, size_t size, void *opaque)
{
	struct client *client = opaque;
	size_t left = size;

	/* Else it is a refusal. */
	if (!is_success(client))
		return take_body(data, one, size, client);
	client->quiet_until = now_ns() + CLIENT_SILENCE * NS_PER_S;
	while (left) {
		const char *end = memchr(data, '\n', left);
		const size_t n = end ? (size_t)(end - data) : left;

		if (take_part(client, data, n, end))
			return 0;
		data += end ? n + 1 : n;
		left -= end ? n + 1 : n;
	}
	return size;
}

static size_t take_head(char *data, size_t one, size_t size, void *opaque)
{
	struct client *client = opaque;

	(void)data, (void)one;
	client->head += size;
	if (client->head <= CLIENT_HEAD_MAX)
		return size;
	client->trouble = "headers without end";
	return 0;
}

static bool is_aborted(const struct client *client)
{
	struct pollfd fd = {.fd = client->abort_fd, .events = POLLIN};

	return client->abort_fd >= 0 && poll(&fd, 1, 0) > 0;
}

static int progress(void *opaque, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	(void)a, (void)b, (void)c, (void)d;
	return is_aborted(opaque);
}

/* ---- asking ---- */

int client_create(struct client **clientp, const char *socket)
{
	struct client *client = calloc(1, sizeof(*client));

	*clientp = NULL;
	if (!client)
		return -ENOMEM;
	client->socket = socket;
	client->abort_fd = -1;
	curl_global_init(CURL_GLOBAL_NOTHING);
	client->curl = curl_easy_init();
	if (!client->curl) {
		client_destroy(client);
		return -ENOMEM;
	}
	*clientp = client;
	return 0;
}

void client_destroy(struct client *client)
{
	if (!client)
		return;
	curl_easy_cleanup(client->curl);
	curl_global_cleanup();
	free(client->text);
	free(client);
}

void client_abort_on(struct client *client, int fd)
{
	client->abort_fd = fd;
}

static void prepare(struct client *client, const char *method, const char *url, const char *body,
		    int64_t ms)
{
	CURL *curl = client->curl;

	curl_easy_reset(curl); /* keeps the connection */
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)ms);
	/* The environment's proxies are for other addresses. */
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, client);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_head);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, client);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, client);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	if (body)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
}

/* What libcurl could not do, in our words. */
static int explain(struct client *client, CURLcode code)
{
	long number = 0;

	switch (code) {
	case CURLE_COULDNT_CONNECT:
		curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &number);
		return fail(client, -ENOTCONN, "no vublkd can be reached at %s: %s", client->socket,
			    number ? strerror((int)number) : "nobody listens there");
	case CURLE_OPERATION_TIMEDOUT:
		return fail(client, -ETIMEDOUT, "there was no answer at %s in time",
			    client->socket);
	case CURLE_ABORTED_BY_CALLBACK:
		return fail(client, -EINTR, "interrupted");
	case CURLE_OUT_OF_MEMORY:
		return fail(client, -ENOMEM, "%s", strerror(ENOMEM));
	default:
		return fail(client, -EPROTO, "who listens at %s is no vublkd: %s", client->socket,
			    client->trouble ? client->trouble : curl_easy_strerror(code));
	}
}

/* The daemon's own words of an answer that refuses. */
static int explain_refusal(struct client *client)
{
	json_t *object = client->text ? json_loadb(client->text, client->size, 0, NULL) : NULL;
	const char *words = json_string_value(json_object_get(object, "error"));
	long status = 0;
	int err;

	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	err = status == 404 ? -ENOENT : -EREMOTEIO;
	if (words)
		fail(client, err, "%s", words);
	else
		err = fail(client, -EPROTO, "vublkd at %s answers with the status %ld",
			   client->socket, status);
	json_decref(object);
	return err;
}

/* Forgets the last question's answer. The next one's address; NULL: no memory. */
static char *begin(struct client *client, const char *path)
{
	char *url = NULL;

	client->size = client->head = 0;
	client->trouble = NULL;
	if (client->text)
		*client->text = '\0';
	if (asprintf(&url, "http://localhost%s", path) < 0) {
		fail(client, -ENOMEM, "%s", strerror(ENOMEM));
		return NULL;
	}
	return url;
}

static int perform(struct client *client, const char *method, const char *path, const char *body,
		   int64_t deadline)
{
	const int64_t ms = (deadline - now_ns()) / NS_PER_MS;
	char *url = begin(client, path);
	CURLcode code;

	if (!url)
		return -ENOMEM;
	prepare(client, method, url, body, ms > 0 ? ms : 1);
	code = curl_easy_perform(client->curl);
	free(url);
	if (code)
		return explain(client, code);
	return is_success(client) ? 0 : explain_refusal(client);
}

int client_ask(struct client *client, const char *method, const char *path, const json_t *body,
	       int64_t deadline, json_type type, json_t **answer)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	json_error_t error;
	int err;

	*answer = NULL;
	if (body && !text)
		return fail(client, -ENOMEM, "%s", strerror(ENOMEM));
	err = perform(client, method, path, text, deadline);
	free(text);
	if (err)
		return err;
	*answer = json_loadb(client->text ? client->text : "", client->size, JSON_REJECT_DUPLICATES,
			     &error);
	if (!*answer)
		return fail(client, -EPROTO, "what is answered at %s is no JSON: %s",
			    client->socket, error.text);
	if (json_typeof(*answer) == type)
		return 0;
	json_decref(*answer);
	*answer = NULL;
	return fail(client, -EPROTO, "what is answered at %s is no %s", client->socket,
		    type == JSON_ARRAY ? "list" : "object");
}

int client_ask_text(struct client *client, const char *path, int64_t deadline, char **text)
{
	int err = perform(client, "GET", path, NULL, deadline);

	*text = err ? NULL : strdup(client->text ? client->text : "");
	if (!err && !*text)
		return fail(client, -ENOMEM, "%s", strerror(ENOMEM));
	return err;
}

/* ---- lines ---- */

/* What has become of the transfer that is over. */
static CURLcode outcome(CURLM *multi)
{
	const CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(multi, &left)))
		if (message->msg == CURLMSG_DONE)
			return message->data.result;
	return CURLE_OUT_OF_MEMORY;
}

/* curl_easy_perform(), which hears at once that it is interrupted, and of silence. */
static CURLcode follow(struct client *client, CURLM *multi)
{
	struct curl_waitfd fd = {.fd = client->abort_fd, .events = CURL_WAIT_POLLIN};
	int running;

	while (!curl_multi_perform(multi, &running)) {
		const int64_t ns = client->quiet_until - now_ns();

		if (!running)
			return outcome(multi);
		if (is_aborted(client))
			return CURLE_ABORTED_BY_CALLBACK;
		if (ns <= 0)
			return CURLE_OPERATION_TIMEDOUT;
		curl_multi_poll(multi, &fd, fd.fd >= 0, (int)(ns / NS_PER_MS) + 1, NULL);
	}
	return CURLE_OUT_OF_MEMORY;
}

static CURLcode perform_lines(struct client *client)
{
	CURLM *multi = curl_multi_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;

	if (multi && !curl_multi_add_handle(multi, client->curl)) {
		code = follow(client, multi);
		curl_multi_remove_handle(multi, client->curl);
	}
	curl_multi_cleanup(multi);
	return code;
}

static bool has_ended(CURLcode code)
{
	return code == CURLE_OK || code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR;
}

int client_follow(struct client *client, const char *path, int64_t deadline,
		  int (*take)(void *opaque, const char *line, size_t size), void *opaque)
{
	char *url = begin(client, path);
	CURLcode code;

	if (!url)
		return -ENOMEM;
	client->take = take;
	client->opaque = opaque;
	client->taken = 0;
	client->quiet_until = deadline;
	prepare(client, "GET", url, NULL, 0);
	curl_easy_setopt(client->curl, CURLOPT_WRITEFUNCTION, take_lines);
	code = perform_lines(client);
	free(url);
	if (client->taken)
		return client->taken;
	if (!has_ended(code))
		return explain(client, code);
	if (!is_success(client))
		return explain_refusal(client);
	return fail(client, -ENOTCONN, "vublkd at %s has ended", client->socket);
}

char *client_disk_path(const char *name, const char *rest)
{
	char *escaped = curl_easy_escape(NULL, name, 0);
	char *path = NULL;

	if (!escaped || asprintf(&path, "/v1/disks/%s%s", escaped, rest) < 0)
		path = NULL;
	curl_free(escaped);
	return path;
}
