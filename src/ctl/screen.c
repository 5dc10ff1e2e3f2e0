/* SPDX-License-Identifier: BSD-3-Clause */
/* See ctl/screen.h. */
#include "ctl/screen.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/interrupt.h"

#define NS_PER_MS INT64_C(1000000)

/* VT100: lines are not wrapped, or are again; the screen is cleared. */
#define NO_WRAP "\033[?7l"
#define WRAP    "\033[?7h"
#define CLEAR   "\033[H\033[2J"

static void read_keys(struct screen *screen)
{
	struct termios raw;

	/* In the background we would be stopped for it. */
	if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
	    tcgetattr(STDIN_FILENO, &screen->before))
		return;
	raw = screen->before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	screen->has_keys = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

int screen_open(struct screen *screen)
{
	*screen = (struct screen){.is_terminal = isatty(STDOUT_FILENO)};
	screen->signal_fd = interrupt_open();
	if (screen->signal_fd < 0)
		return screen->signal_fd;
	if (screen->is_terminal) {
		read_keys(screen);
		fputs(NO_WRAP, stdout);
	}
	return 0;
}

void screen_close(struct screen *screen)
{
	if (screen->is_terminal) {
		fputs(WRAP, stdout);
		fflush(stdout);
	}
	if (screen->has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &screen->before);
	close(screen->signal_fd);
}

void screen_clear(const struct screen *screen)
{
	if (screen->is_terminal)
		fputs(CLEAR, stdout);
}

unsigned screen_lines(const struct screen *screen)
{
	struct winsize size;

	if (!screen->is_terminal || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row)
		return UINT_MAX;
	return size.ws_row;
}

/* Was it a q, or the end of all keys? */
static bool key_ends(void)
{
	char key;

	return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q';
}

bool screen_wait(const struct screen *screen, int64_t until)
{
	struct pollfd fd[] = {
		{.fd = screen->signal_fd, .events = POLLIN},
		{.fd = screen->has_keys ? STDIN_FILENO : -1, .events = POLLIN},
	};
	int64_t ms;

	do {
		ms = (until - now_ns() + NS_PER_MS - 1) / NS_PER_MS;
		if (poll(fd, 2, ms < 0 ? 0 : (int)ms) > 0 &&
		    (fd[0].revents || (fd[1].revents && key_ends())))
			return false;
	} while (ms > 0);
	return true;
}
