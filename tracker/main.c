/* weir-tracker: a tracker that does not stop.
 *
 *   command line -> lists and state -> ports -> another user -> loop until
 *   SIGTERM or SIGINT -> threads end -> save
 *
 * SIGHUP reads lists and certificate again, SIGUSR1 logs statistics. Exit: 0
 * ended when told to; 1 failed, said why; 2 wrong usage. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "tracker/cluster.h"
#include "tracker/notify.h"
#include "tracker/privileges.h"
#include "tracker/realm.h"

#define EXIT_FAILED 1
#define EXIT_USAGE  2
#define ARENAS      2  /* of malloc: many would each keep what is free */
#define HARD_STOP_S 20 /* whatever hangs, SIGALRM ends it */

struct program {
	struct tracker_options options;
	struct loop *loop;
	struct server *server;
	struct cluster *cluster; /* NULL: alone */
	bool is_ending;
	struct event on_term, on_int, on_hup, on_usr1;
};

/* ---- signals ---- */

static void on_left(void *arg)
{
	loop_stop(((struct program *)arg)->loop);
}

static void on_end(evutil_socket_t number, short what, void *arg)
{
	struct program *p = arg;

	if (p->is_ending) /* a second one: at once */
		loop_stop(p->loop);
	if (p->is_ending)
		return;
	p->is_ending = true;
	log_info("signal %d, stopping", (int)number);
	alarm(HARD_STOP_S);
	notify_manager("STOPPING=1");
	server_leave(p->server);
	if (p->cluster)
		cluster_leave(p->cluster, on_left, p);
	else
		loop_stop(p->loop);
}

static void on_reload(evutil_socket_t number, short what, void *arg)
{
	struct program *p = arg;

	notify_reloading();
	server_reload(p->server);
	notify_ready();
}

static void on_usr1(evutil_socket_t number, short what, void *arg)
{
	struct program *p = arg;

	server_log_stats(p->server);
}

static void take_signal(struct program *p, struct event *e, int number,
			event_callback_fn fn)
{
	evsignal_assign(e, loop_base(p->loop), number, fn, p);
	evsignal_add(e, NULL);
}

static void take_signals(struct program *p)
{
	take_signal(p, &p->on_term, SIGTERM, on_end);
	take_signal(p, &p->on_int, SIGINT, on_end);
	take_signal(p, &p->on_hup, SIGHUP, on_reload);
	take_signal(p, &p->on_usr1, SIGUSR1, on_usr1);
}

static void leave_signals(struct program *p)
{
	evsignal_del(&p->on_term);
	evsignal_del(&p->on_int);
	evsignal_del(&p->on_hup);
	evsignal_del(&p->on_usr1);
}

/* ---- life ---- */

/* Each connection is a file. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		log_debug("the limit of open files stays as it is");
}

static int start(struct program *p, char why[SERVER_WHY_SIZE])
{
	struct server_plugs plugs = { 0 };
	int r = server_new(p->loop, &p->options, &p->server, why);

	if (!r && cluster_is_wanted(&p->options)) {
		r = cluster_new(p->loop, &p->options, p->server, &p->cluster,
				why);
		if (!r)
			cluster_plug(p->cluster, &plugs);
	}
	if (!r)
		r = server_start(p->server, &plugs, why);
	if (!r && p->cluster)
		r = cluster_start(p->cluster, why);
	if (!r && p->options.user) {
		r = privileges_drop(p->options.user, why, SERVER_WHY_SIZE);
		if (!r)
			r = server_check_state(p->server, why);
	}
	return r;
}

static int run(struct program *p)
{
	char why[SERVER_WHY_SIZE] = "";
	int r;

	p->loop = loop_new();
	if (!p->loop) {
		log_error("no file descriptors left");
		return EXIT_FAILED;
	}
	take_signals(p);
	raise_file_limit();
	r = start(p, why);
	if (!r) {
		log_info("ready version=%s", WEIRFS_VERSION);
		notify_ready();
		loop_run(p->loop);
	} else {
		log_error("%s", why);
	}
	server_free(p->server);
	cluster_free(p->cluster);
	leave_signals(p);
	loop_free(p->loop);
	return r ? EXIT_FAILED : 0;
}

static enum log_level level_of(unsigned verbosity)
{
	if (verbosity > 1)
		return LOG_LEVEL_TRACE;
	return verbosity ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

int main(int argc, char **argv)
{
	char why[OPTIONS_WHY_SIZE];
	struct program p = { 0 };

	(void)mallopt(M_ARENA_MAX, ARENAS);
	log_start("weir-tracker", LOG_LEVEL_INFO);
	if (options_parse(argc, argv, &p.options, why)) {
		fprintf(stderr, "weir-tracker: %s\nTry: weir-tracker --help\n",
			why);
		return EXIT_USAGE;
	}
	if (p.options.wants_help) {
		options_print_help(stdout);
		return 0;
	}
	if (p.options.wants_version) {
		printf("weir-tracker %s\n", WEIRFS_VERSION);
		return 0;
	}
	log_set_level(level_of(p.options.verbosity));
	if (p.options.new_realm_key)
		return realm_new(p.options.new_realm_key) ? EXIT_FAILED : 0;
	if (p.options.certify)
		return realm_certify(&p.options) ? EXIT_FAILED : 0;
	return run(&p);
}
