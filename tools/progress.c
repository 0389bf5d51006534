#include "tools/progress.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "tools/command.h"
#include "tools/transfer.h"

#define BAR_WIDTH       24
#define TTY_EVERY_MS    100
#define NO_TTY_EVERY_MS 10000

/* A signal handler can reach nothing but what is at file scope. */
static volatile sig_atomic_t is_stopped;

static void on_signal(int number)
{
	if (is_stopped)
		_exit(EXIT_STOPPED);
	is_stopped = 1;
}

void progress_start(struct progress *p, const char *verb, bool is_quiet)
{
	struct sigaction action = { .sa_handler = on_signal };

	*p = (struct progress){
		.verb = verb,
		.is_quiet = is_quiet,
		.is_tty = isatty(STDERR_FILENO),
		.began_ms = clock_now_ms(),
	};
	p->said_ms = p->is_tty ? 0 : p->began_ms;
	is_stopped = 0;
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static void show_bar(uint64_t done, uint64_t total)
{
	int full = (int)((double)done / (double)total * BAR_WIDTH);

	fputc('[', stderr);
	for (int i = 0; i < BAR_WIDTH; i++)
		fputc(i < full ? '=' : i == full ? '>' : ' ', stderr);
	fputs("] ", stderr);
}

bool progress_show(struct progress *p, uint64_t done, uint64_t total)
{
	int64_t now = clock_now_ms(), took = now - p->began_ms;
	char have[32], all[32], rate[32], eta[32];
	uint64_t bps = took > 0 ? done * 1000 / (uint64_t)took : 0;

	if (p->is_quiet ||
	    now - p->said_ms < (p->is_tty ? TTY_EVERY_MS : NO_TTY_EVERY_MS))
		return !is_stopped;
	p->said_ms = now;
	if (p->is_tty)
		fputs("\r\033[K", stderr);
	if (total) {
		if (p->is_tty)
			show_bar(done, total);
		fprintf(stderr, "%s %.1f%%  %s of %s  %s/s  ETA %s", p->verb,
			100.0 * (double)done / (double)total,
			format_bytes(done, have), format_bytes(total, all),
			format_bytes(bps, rate),
			format_eta(total - done, bps, eta));
	} else {
		fputs("looking at files", stderr);
	}
	if (!p->is_tty)
		fputc('\n', stderr);
	p->has_line = p->is_tty;
	fflush(stderr);
	return !is_stopped;
}

void progress_end(struct progress *p)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	if (p->has_line)
		fputs("\r\033[K", stderr);
	p->has_line = false;
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}
