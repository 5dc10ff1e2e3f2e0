/* SPDX-License-Identifier: BSD-3-Clause */
/* See disk/listening.h: a list behind a lock. */
#include "disk/listening.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct listening *first;

void listening_begin(struct listening *listening, const struct stat *st, const char *disk)
{
	*listening = (struct listening){.dev = st->st_dev, .ino = st->st_ino};
	snprintf(listening->who, sizeof(listening->who), "%s%s", disk ? "the disk " : "the API",
		 disk ? disk : "");
	pthread_mutex_lock(&lock);
	listening->next = first;
	first = listening;
	pthread_mutex_unlock(&lock);
}

void listening_end(struct listening *listening)
{
	struct listening **at = &first;

	if (!*listening->who)
		return;
	pthread_mutex_lock(&lock);
	while (*at != listening)
		at = &(*at)->next;
	*at = listening->next;
	pthread_mutex_unlock(&lock);
	*listening->who = '\0';
}

bool listening_find(const char *path, char who[LISTENING_WHO])
{
	const struct listening *at;
	struct stat st;

	if (stat(path, &st))
		return false;
	pthread_mutex_lock(&lock);
	for (at = first; at && (at->dev != st.st_dev || at->ino != st.st_ino);)
		at = at->next;
	if (at)
		memcpy(who, at->who, LISTENING_WHO);
	pthread_mutex_unlock(&lock);
	return at;
}
