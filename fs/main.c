/* weirfs: the mount daemon.
 *
 *   command line, configuration -> checks that need a person's ear
 *   -> fork; the parent waits at a pipe -> session -> sources -> mount
 *   -> the parent leaves with 0 -> loop until SIGTERM or unmount
 *   -> unmount, save, end: at most 5 s
 *
 * Exit: 0 mounted (or, with -f, ended cleanly); 1 failed, said why; 2 wrong
 * usage. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "fs/control.h"
#include "fs/mount.h"

#define EXIT_FAILED  1
#define EXIT_USAGE   2
#define HARD_STOP_MS 4800 /* whatever hangs, the process is gone by then */

struct program {
	struct opts opts;
	char **sources; /* borrowed from argv, or owned if absolute */
	size_t num_sources, num_pending;
	char *point; /* owned */
	bool is_foreground, is_stopping, has_failed;
	int ready_fd; /* the parent waits for a byte; -1: nobody does */

	struct session *s;
	struct control *control;
	struct mount *m;
	int64_t single_id;
	struct event on_term, on_int, on_hup;
	struct timer hard_stop;
	int64_t stopping_ms; /* when it began */
	struct task start;
};

/* ---- command line ---- */

static void usage(FILE *f)
{
	fputs("usage: weirfs [SOURCE...] MOUNTPOINT [-f] [-d] [-o OPT,...]\n"
	      "\n"
	      "Mounts torrents as files. SOURCE is a .torrent file, a magnet "
	      "link, an\n"
	      "infohash or the URL of a .torrent; none: the library as it was "
	      "left.\n"
	      "Unmount with: fusermount3 -u MOUNTPOINT\n"
	      "\n"
	      "  -f             stay in the foreground\n"
	      "  -d             the same, and say what is decided and why\n"
	      "  -o OPT,...     options, see below\n"
	      "  -h, --help     this text\n"
	      "  -V, --version  the version\n"
	      "\n",
	      f);
	opts_print_help(f, true);
	fputs("Exit status: 0 mounted, 1 failed, 2 wrong usage. See weirfs(1)."
	      "\n",
	      f);
}

/* A name that fstab needs where there is no source. */
static bool is_no_source(const char *text)
{
	return !strcmp(text, "none") || !strcmp(text, "weirfs") || !*text;
}

/* The daemon leaves this folder: paths must not depend on it. */
static char *absolute(const char *path)
{
	char *full = realpath(path, NULL), *parent, *slash;

	if (full || errno != ENOTCONN)
		return full ? full : mem_strdup(path);
	/* A dead mount has no real path, the folder above it has. */
	parent = mem_strdup(path);
	while ((slash = strrchr(parent, '/')) && slash > parent && !slash[1])
		*slash = '\0';
	if (slash) {
		*slash = '\0';
		full = realpath(*parent ? parent : "/", NULL);
		path = slash + 1;
	} else {
		full = realpath(".", NULL);
		path = parent;
	}
	if (full) {
		char *joined = mem_printf("%s/%s",
					  strcmp(full, "/") ? full : "", path);

		free(full);
		full = joined;
	} else {
		full = mem_strdup(path);
	}
	free(parent);
	return full;
}

static int take_positional(struct program *p, int argc, char **argv)
{
	if (optind == argc) {
		fprintf(stderr, "weirfs: no mount point; try weirfs --help\n");
		return EXIT_USAGE;
	}
	p->point = !strncmp(argv[argc - 1], "/dev/fd/", 8)
			   ? mem_strdup(argv[argc - 1])
			   : absolute(argv[argc - 1]);
	p->sources = mem_alloc_array((size_t)argc, sizeof(char *));
	for (int i = optind; i < argc - 1; i++) {
		if (is_no_source(argv[i]))
			continue;
		p->sources[p->num_sources++] = absolute(argv[i]);
	}
	if (p->opts.is_single && p->num_sources != 1) {
		fprintf(stderr, "weirfs: -o single takes exactly one SOURCE\n");
		return EXIT_USAGE;
	}
	return 0;
}

static int parse_args(struct program *p, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ 0 },
	};
	char why[OPTS_WHY_SIZE];
	int c, r = opts_read_config(&p->opts, why);

	while (!r &&
	       (c = getopt_long(argc, argv, "o:fdhVnsv", longs, NULL)) != -1) {
		switch (c) {
		case 'o':
			r = opts_parse(&p->opts, optarg, why);
			break;
		case 'd':
			log_set_level(LOG_LEVEL_DEBUG);
			p->is_foreground = true;
			break;
		case 'f':
			p->is_foreground = true;
			break;
		case 'n': /* mount(8): no mtab, sloppy, verbose */
		case 's':
		case 'v':
			break;
		case 'h':
			usage(stdout);
			exit(0);
		case 'V':
			printf("weirfs %s\n", WEIRFS_VERSION);
			exit(0);
		default:
			fputs("Try: weirfs --help\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (r < 0) {
		fprintf(stderr, "weirfs: %s\n", why);
		return EXIT_USAGE;
	}
	if (p->opts.is_debug) {
		log_set_level(LOG_LEVEL_DEBUG);
		p->is_foreground = true;
	}
	return take_positional(p, argc, argv);
}

/* The kernel aborts a mount with a request older than this; we give up at
 * half of it. */
static void clamp_read_timeout(struct opts *o)
{
	FILE *f = fopen("/proc/sys/fs/fuse/max_request_timeout", "re");
	long seconds = 0;

	if (f && fscanf(f, "%ld", &seconds) == 1 && seconds > 0 &&
	    (!o->read_timeout_ms || o->read_timeout_ms > seconds * 500)) {
		o->read_timeout_ms = seconds * 500;
		log_warn("read_timeout is %.1f s, half of the kernel's "
			 "fs.fuse.max_request_timeout",
			 (double)o->read_timeout_ms / 1000);
	}
	if (f)
		fclose(f);
}

static int prepare(struct program *p)
{
	char why[SESSION_WHY_SIZE];
	char *instance = NULL;
	int r = mount_check(&p->opts, p->point, why);

	if (!r && p->opts.is_single && !p->opts.has_state) {
		instance = source_instance(p->sources[0], why);
		r = instance ? 0 : -EINVAL;
	}
	if (!r)
		r = opts_finish(&p->opts, instance, why);
	free(instance);
	if (r < 0) {
		log_error("%s", why);
		return EXIT_FAILED;
	}
	clamp_read_timeout(&p->opts);
	return 0;
}

/* ---- into the background ---- */

/* In the parent: ends the process with what the child has to say. */
static void wait_for_child(pid_t pid, int fd)
{
	char byte = EXIT_FAILED;
	int status;

	if (read(fd, &byte, 1) != 1) {
		(void)waitpid(pid, &status, 0);
		byte = WIFEXITED(status) && WEXITSTATUS(status)
			       ? (char)WEXITSTATUS(status)
			       : EXIT_FAILED;
	}
	_exit(byte);
}

static int go_background(struct program *p)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		log_error("cannot go to the background: %s", strerror(errno));
		return EXIT_FAILED;
	}
	if (pid) {
		close(fds[1]);
		wait_for_child(pid, fds[0]);
	}
	close(fds[0]);
	log_set_level(LOG_LEVEL_WARN); /* a person hears of trouble only */
	p->ready_fd = fds[1];
	(void)setsid();
	(void)!chdir("/");
	return 0;
}

static void tell_parent(struct program *p)
{
	int null;
	char byte = 0;

	if (p->ready_fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	log_to_syslog();
	log_set_level(LOG_LEVEL_INFO);
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		(void)dup2(null, fd);
	if (null > 2)
		close(null);
	(void)!write(p->ready_fd, &byte, 1); /* it may have been killed */
	close(p->ready_fd);
	p->ready_fd = -1;
}

/* ---- stopping ---- */

static void on_session_stopped(void *arg)
{
	struct program *p = arg;

	loop_stop(p->s->loop);
}

static void on_mount_stopped(void *arg)
{
	struct program *p = arg;

	session_stop(p->s, on_session_stopped, p);
}

static void on_hard_stop(struct timer *timer)
{
	log_error("something hangs, giving up");
	_exit(EXIT_FAILED);
}

static void stop(struct program *p)
{
	if (p->is_stopping)
		return;
	p->is_stopping = true;
	p->stopping_ms = clock_now_ms();
	timer_set_ms(&p->hard_stop, HARD_STOP_MS);
	control_close(p->control);
	p->control = NULL;
	if (p->m)
		mount_stop(p->m, on_mount_stopped, p);
	else
		on_mount_stopped(p);
}

static void fail(struct program *p, const char *why)
{
	log_error("%s", why);
	p->has_failed = true;
	stop(p);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	log_info("signal %d, stopping", (int)number);
	stop(arg);
}

static void on_gone(void *arg)
{
	log_info("unmounted from outside, stopping");
	stop(arg);
}

/* ---- starting ---- */

static void start_mount(struct program *p)
{
	struct mount_config c = {
		.point = p->point,
		.source = p->num_sources ? p->sources[0] : NULL,
		.single_id = p->single_id,
		.gone = on_gone,
		.arg = p,
	};
	char why[SESSION_WHY_SIZE];

	if (mount_open(p->s, &c, &p->m, why) < 0) {
		fail(p, why);
		return;
	}
	log_info("mounted at %s", p->point);
	tell_parent(p);
}

static void on_source(void *arg, int r, int64_t id, const char *why)
{
	struct program *p = arg;

	p->num_pending--;
	if (p->is_stopping)
		return;
	if (r < 0) {
		fail(p, why);
		return;
	}
	if (p->opts.is_single && !id) {
		fail(p, "nothing was found under this key: is its owner, or"
			" anybody who follows it, in the same DHT?");
		return;
	}
	if (p->opts.is_single)
		p->single_id = id;
	if (!p->num_pending)
		start_mount(p);
}

static void on_start(struct task *task)
{
	struct program *p = container_of(task, struct program, start);

	p->num_pending = p->num_sources;
	for (size_t i = 0; i < p->num_sources; i++)
		session_add(p->s, p->sources[i], on_source, p);
	if (!p->num_sources)
		start_mount(p);
}

static void add_signal(struct program *p, struct event *event, int number)
{
	event_assign(event, loop_base(p->s->loop), number,
		     EV_SIGNAL | EV_PERSIST, on_signal, p);
	event_add(event, NULL);
}

static int run(struct program *p)
{
	const struct session_config config = {
		.publishes = !p->opts.is_single,
	};
	char why[SESSION_WHY_SIZE];
	int64_t left;
	int r = session_open(&p->opts, &config, &p->s, why);

	if (r < 0) {
		log_error("%s", why);
		return EXIT_FAILED;
	}
	r = control_open(p->s, &p->control);
	if (r < 0)
		log_warn("no control socket: %s", strerror(-r));
	add_signal(p, &p->on_term, SIGTERM);
	add_signal(p, &p->on_int, SIGINT);
	add_signal(p, &p->on_hup, SIGHUP);
	timer_init(&p->hard_stop, p->s->loop, on_hard_stop);
	p->start.run = on_start;
	loop_post(p->s->loop, &p->start);
	loop_run(p->s->loop);

	event_del(&p->on_term);
	event_del(&p->on_int);
	event_del(&p->on_hup);
	/* Without the loop no timer fires: an alarm takes over. */
	timer_stop(&p->hard_stop);
	left = HARD_STOP_MS - (clock_now_ms() - p->stopping_ms);
	(void)alarm(left > 1000 ? (unsigned)(left / 1000) : 1);
	session_close(p->s);
	mount_free(p->m);
	return p->has_failed ? EXIT_FAILED : 0;
}

int main(int argc, char **argv)
{
	static const struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct program p = { .ready_fd = -1 };
	int r;

	log_start("weirfs", LOG_LEVEL_INFO);
	opts_init(&p.opts);
	(void)sigaction(SIGPIPE, &ignore, NULL);
	r = parse_args(&p, argc, argv);
	if (!r)
		r = prepare(&p);
	if (!r && !p.is_foreground)
		r = go_background(&p);
	if (!r)
		r = run(&p);
	for (size_t i = 0; i < p.num_sources; i++)
		free(p.sources[i]);
	free(p.sources);
	free(p.point);
	opts_release(&p.opts);
	return r;
}
