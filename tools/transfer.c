#include "tools/transfer.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "tools/command.h"

#define LOOK_MS      250
#define SAY_EVERY_MS 10000 /* where stderr is no terminal */

struct running {
	struct transfer *x;
	struct timer look;
	struct event on_int, on_term;
	struct task start;
	struct session_listener listener;
	bool is_stopping, is_tty, has_line;
	int64_t said_ms;
};

static void stop(struct transfer *x);

static void look(struct transfer *x)
{
	struct torrent_stats stats;

	if (!x->torrent || ((struct running *)x->private)->is_stopping)
		return;
	torrent_stats(x->torrent, &stats);
	x->look(x, &stats);
	if (x->is_done)
		stop(x);
}

static void on_look(struct timer *timer)
{
	struct running *run = container_of(timer, struct running, look);

	look(run->x);
	if (!run->is_stopping)
		timer_set_ms(timer, LOOK_MS);
}

static void on_complete(struct session_listener *l, struct entry *e)
{
	struct running *run = container_of(l, struct running, listener);

	if (e->torrent == run->x->torrent)
		timer_set_ms(&run->look, 0);
}

static void on_removed(struct session_listener *l, struct entry *e)
{
	struct running *run = container_of(l, struct running, listener);

	if (e->torrent == run->x->torrent)
		run->x->torrent = NULL;
}

static void on_stopped(void *arg)
{
	struct transfer *x = arg;
	struct torrent_stats stats;

	if (x->torrent && x->finish) {
		torrent_stats(x->torrent, &stats);
		x->finish(x, &stats);
	}
	loop_stop(x->session->loop);
}

static void stop(struct transfer *x)
{
	struct running *run = x->private;

	if (run->is_stopping)
		return;
	run->is_stopping = true;
	timer_stop(&run->look);
	session_stop(x->session, on_stopped, x);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct transfer *x = arg;

	if (((struct running *)x->private)->is_stopping)
		_exit(EXIT_STOPPED); /* the second ^C */
	x->exit_code = EXIT_STOPPED;
	stop(x);
}

static void on_added(void *arg, int r, int64_t id, const char *why)
{
	struct transfer *x = arg;
	struct entry *e = library_by_id(x->session->library, id);

	if (((struct running *)x->private)->is_stopping)
		return;
	if (r < 0 || !e) {
		transfer_say_end(x);
		log_error("%s", why);
		x->exit_code = EXIT_REFUSED;
		stop(x);
		return;
	}
	x->torrent = e->torrent;
	look(x);
}

static void on_start(struct task *task)
{
	struct running *run = container_of(task, struct running, start);

	session_add(run->x->session, run->x->source, on_added, run->x);
	timer_set_ms(&run->look, LOOK_MS);
}

static int open_session(struct transfer *x)
{
	char why[SESSION_WHY_SIZE] = "";
	int r = opts_set(&x->opts, "data", x->data_dir, why);

	/* Without a state folder of its own a transfer remembers nothing: the
	 * default one belongs to the mount. */
	x->config.is_stateless = !x->opts.has_state;
	if (!r)
		r = opts_finish(&x->opts, NULL, why);
	if (!r)
		r = session_open(&x->opts, &x->config, &x->session, why);
	if (r < 0)
		log_error("%s", why);
	return r;
}

int transfer_run(struct transfer *x)
{
	struct running run = { .x = x, .is_tty = isatty(STDERR_FILENO) };
	struct event_base *base;

	x->private = &run;
	if (open_session(x) < 0) {
		opts_release(&x->opts);
		return EXIT_REFUSED;
	}
	base = loop_base(x->session->loop);
	timer_init(&run.look, x->session->loop, on_look);
	evsignal_assign(&run.on_int, base, SIGINT, on_signal, x);
	evsignal_assign(&run.on_term, base, SIGTERM, on_signal, x);
	event_add(&run.on_int, NULL);
	event_add(&run.on_term, NULL);
	run.listener.on_complete = on_complete;
	run.listener.on_removed = on_removed;
	session_listen(x->session, &run.listener);
	run.start.run = on_start;
	loop_post(x->session->loop, &run.start);
	loop_run(x->session->loop);
	transfer_say_end(x);
	session_unlisten(&run.listener);
	event_del(&run.on_int);
	event_del(&run.on_term);
	session_close(x->session);
	opts_release(&x->opts);
	return x->exit_code;
}

/* --- words --- */

void transfer_say(struct transfer *x, bool force, const char *format, ...)
{
	struct running *run = x->private;
	int64_t now = clock_now_ms();
	va_list ap;

	if (x->is_quiet ||
	    (!run->is_tty && !force && now - run->said_ms < SAY_EVERY_MS))
		return;
	run->said_ms = now;
	if (run->is_tty)
		fputs("\r\033[K", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	if (!run->is_tty)
		fputc('\n', stderr);
	run->has_line = run->is_tty;
	fflush(stderr);
}

void transfer_say_end(struct transfer *x)
{
	struct running *run = x->private;

	if (run->has_line)
		fputc('\n', stderr);
	run->has_line = false;
}

const char *format_bytes(uint64_t bytes, char out[32])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1024 && u + 1 < ARRAY_LEN(units)) {
		v /= 1024;
		u++;
	}
	snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
	return out;
}

const char *format_eta(uint64_t bytes, uint64_t bps, char out[32])
{
	uint64_t s = bps ? bytes / bps : 0;

	if (!bps || s > 100 * 3600)
		snprintf(out, 32, "--");
	else if (s >= 3600)
		snprintf(out, 32, "%u:%02u:%02u", (unsigned)(s / 3600),
			 (unsigned)(s / 60 % 60), (unsigned)(s % 60));
	else
		snprintf(out, 32, "%u:%02u", (unsigned)(s / 60),
			 (unsigned)(s % 60));
	return out;
}
