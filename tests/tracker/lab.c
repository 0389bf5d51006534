#include "tests/tracker/lab.h"

#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/clock.h"
#include "engine/base/hex.h"
#include "engine/base/mem.h"

#define WAIT_MS      15000
#define START_TRIES  250
#define START_NAP_MS 20

static const struct addr any4 = { .family = 4 };
static const struct addr any6 = { .family = 6 };

/* --- the place --- */

static bool loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo" };
	struct sockaddr_storage sa;
	struct addr a;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool is_up;

	if (fd < 0)
		return false;
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	is_up = !ioctl(fd, SIOCSIFFLAGS, &r);
	/* lo:1, a second address beside 127.0.0.1 */
	snprintf(r.ifr_name, sizeof(r.ifr_name), "lo:1");
	is_up = is_up && !addr_parse(LAB_GLOBAL_IP, 0, &a);
	addr_to_sockaddr(&a, &sa);
	memcpy(&r.ifr_addr, &sa, sizeof(r.ifr_addr));
	is_up = is_up && !ioctl(fd, SIOCSIFADDR, &r);
	close(fd);
	return is_up;
}

/* What stands under /etc/NAME for us alone. */
static bool replace_file(const char *tmp, const char *name, const char *text)
{
	char *path = mem_printf("%s/%s", tmp, name);
	char *real = mem_printf("/etc/%s", name);
	FILE *f = fopen(path, "w");
	bool is_there = f && fputs(text, f) >= 0;

	is_there = f && !fclose(f) && is_there &&
		   !mount(path, real, NULL, MS_BIND, NULL);
	free(path);
	free(real);
	return is_there;
}

static bool own_names(const char *tmp)
{
	return !unshare(CLONE_NEWNS) &&
	       !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       replace_file(tmp, "hosts",
			    "127.0.0.1 localhost both.test\n::1 both.test\n") &&
	       replace_file(tmp, "resolv.conf",
			    "nameserver " LAB_NAME_SERVER "\n");
}

bool lab_open(struct lab *lab)
{
	memset(lab, 0, sizeof(*lab));
	snprintf(lab->tmp, sizeof(lab->tmp), "/tmp/weirfs-interop.XXXXXX");
	/* opentracker, which drops its rights, must be able to look inside. */
	if (!mkdtemp(lab->tmp) || chmod(lab->tmp, 0755) < 0)
		return false;
	lab->has_netns = !unshare(CLONE_NEWNET) && loopback_up();
	lab->has_names = lab->has_netns && own_names(lab->tmp);
	return true;
}

void lab_close(struct lab *lab)
{
	char *command;

	if (lab->has_names) {
		umount("/etc/hosts");
		umount("/etc/resolv.conf");
	}
	command = mem_printf("rm -rf '%s'", lab->tmp);
	if (system(command))
		fprintf(stderr, "cannot remove %s\n", lab->tmp);
	free(command);
}

int lab_mute_port(const char *ip, int type, uint16_t *port)
{
	struct sockaddr_storage sa;
	socklen_t len;
	struct addr a;
	int fd;

	if (addr_parse(ip, *port, &a))
		return -1;
	len = addr_to_sockaddr(&a, &sa);
	fd = socket(sa.ss_family, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 ||
	    (type == SOCK_STREAM && listen(fd, 16) < 0) ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
	    !addr_from_sockaddr(&a, (struct sockaddr *)&sa, len)) {
		close(fd);
		return -1;
	}
	*port = a.port;
	return fd;
}

/* --- processes --- */

void proc_stop(struct proc *p)
{
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
		close(p->out);
	}
	p->pid = 0;
}

static bool proc_start(struct proc *p, char *const argv[])
{
	int fds[2];

	memset(p, 0, sizeof(*p));
	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	fflush(stdout);
	p->pid = fork();
	if (!p->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fds[1], 1);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(fds[1]);
	p->out = fds[0];
	fcntl(p->out, F_SETFL, O_NONBLOCK);
	return p->pid > 0;
}

char *proc_output(struct proc *p)
{
	struct buf b;
	ssize_t n = 1;

	buf_init(&b, 0);
	while (n > 0) {
		uint8_t *at = buf_reserve(&b, 65536);

		n = read(p->out, at, 65536);
		b.len += n > 0 ? (size_t)n : 0;
	}
	buf_add(&b, "", 1);
	return (char *)b.ptr;
}

bool pytracker_start(struct proc *p, const char *ip, const char *tls)
{
	const char *top = getenv("WEIRFS_SOURCE");
	char *script = mem_printf("%s/tests/lib/pytracker.py", top ? top : ".");
	char *argv[] = {
		"python3",   script, "--bind", (char *)ip, tls ? "--tls" : NULL,
		(char *)tls, NULL
	};
	struct pollfd pfd = { .events = POLLIN };
	char line[16] = "";
	bool is_up = proc_start(p, argv);

	free(script);
	if (!is_up)
		return false;
	pfd.fd = p->out;
	for (size_t n = 0; n < sizeof(line) - 1; n++) {
		if (poll(&pfd, 1, WAIT_MS) != 1 ||
		    read(p->out, line + n, 1) != 1 || line[n] == '\n')
			break;
	}
	p->port = (uint16_t)strtoul(line, NULL, 10);
	if (!p->port)
		proc_stop(p);
	return p->port != 0;
}

static bool can_connect(const char *ip, uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t len;
	struct addr a;
	bool is_up;
	int fd;

	if (addr_parse(ip, port, &a))
		return false;
	len = addr_to_sockaddr(&a, &sa);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	is_up = fd >= 0 && !connect(fd, (struct sockaddr *)&sa, len);
	if (fd >= 0)
		close(fd);
	return is_up;
}

static bool write_whitelist(const struct lab *lab, const struct infohash *hash)
{
	char hex[41], *path = mem_printf("%s/whitelist", lab->tmp);
	FILE *f = fopen(path, "w");

	free(path);
	if (!f)
		return false;
	fprintf(f, "%s\n", hex_encode(hash->b, sizeof(hash->b), hex));
	return !fclose(f);
}

const char *opentracker_start(struct proc *p, const struct lab *lab,
			      const char *ip, const struct infohash *hash)
{
	char port[8];
	char *argv[] = { "opentracker", "-i",        (char *)ip,
			 "-p",          port,        "-P",
			 port,          "-d",        (char *)lab->tmp,
			 "-w",          "whitelist", NULL };
	uint16_t number = 0;
	int status, fd = lab_mute_port(ip, SOCK_STREAM, &number);

	if (fd < 0)
		return "no such address";
	close(fd); /* free a moment ago; in our namespace it stays so */
	snprintf(port, sizeof(port), "%u", number);
	if (!write_whitelist(lab, hash) || !proc_start(p, argv))
		return "no process";
	p->port = number;
	for (int i = 0; i < START_TRIES; i++) {
		if (can_connect(ip, p->port))
			return NULL;
		if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
			close(p->out);
			p->pid = 0;
			return WEXITSTATUS(status) == 127
				       ? "opentracker is not installed"
				       : "opentracker was built without it";
		}
		(void)poll(NULL, 0, START_NAP_MS);
	}
	proc_stop(p);
	return "opentracker does not listen";
}

/* --- the client --- */

static struct client *client_of(struct swarm_face *face)
{
	return container_of(face, struct client, face);
}

static void face_stats(struct swarm_face *face, struct peersource_stats *out)
{
	*out = client_of(face)->stats;
}

static void face_on_peers(struct swarm_face *face, enum peer_origin origin,
			  const struct addr *addrs, size_t n)
{
	struct client *c = client_of(face);

	if (!c->peers)
		c->first_peer_ms = clock_now_ms() - c->started_ms;
	for (size_t i = 0; i < n && c->peers < LAB_PEERS; i++)
		c->peer[c->peers++] = addrs[i];
}

static void face_on_message(struct swarm_face *face, const char *text)
{
	struct client *c = client_of(face);

	snprintf(c->message, sizeof(c->message), "%s", text ? text : "");
}

static void face_on_round_done(struct swarm_face *face)
{
	client_of(face)->rounds++;
}

void client_open(struct client *c, uint16_t port, const char *announce_ip)
{
	struct tracker_options o = { .port = port,
				     .bind4 = &any4,
				     .bind6 = &any6 };

	memset(c, 0, sizeof(*c));
	c->loop = loop_new();
	c->workers = workers_new(c->loop);
	c->http = http_new(c->loop, "weirfs-test/1");
	if (udp_open(c->loop, &any4, &any6, 0, &c->udp))
		c->udp = NULL;
	if (announce_ip && addr_parse(announce_ip, 0, &o.announce_ip4))
		o.announce_ip4.family = 0;
	memcpy(o.peerid.b, "-WF0000-", 8);
	memset(o.peerid.b + 8, 'a' + port % 26, 12);
	c->tracker =
		tracker_client_new(c->loop, c->workers, c->http, c->udp, &o);
	c->source = tracker_client_source(c->tracker);
	c->stats.left = 1000;
	c->stats.wanted = 50;
	memset(c->face.infohash.b, 0x42, sizeof(c->face.infohash.b));
	c->face.urls = (const char *const *)c->urls;
	c->face.tier_of = c->tier_of;
	c->face.stats = face_stats;
	c->face.on_peers = face_on_peers;
	c->face.on_message = face_on_message;
	c->face.on_round_done = face_on_round_done;
}

void client_close(struct client *c)
{
	if (c->job)
		c->source->ops->stop(c->job, false);
	tracker_client_free(c->tracker);
	http_free(c->http);
	udp_close(c->udp);
	workers_free(c->workers);
	loop_free(c->loop);
	for (int i = 0; i < LAB_URLS; i++)
		free(c->urls[i]);
}

void client_add_url(struct client *c, const char *format, ...)
{
	size_t i = c->face.num_urls++;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&c->urls[i], format, ap) < 0)
		abort();
	va_end(ap);
	c->tier_of[i] = (unsigned)i;
}

void client_start(struct client *c)
{
	c->started_ms = clock_now_ms();
	c->job = c->source->ops->start(c->source, &c->face);
}

bool client_run_until(struct client *c, const int *n, int want)
{
	int64_t end_ms = clock_now_ms() + WAIT_MS;

	while (*n < want && clock_now_ms() < end_ms)
		loop_run_once(c->loop, 20);
	return *n >= want;
}

void client_run_ms(struct client *c, int ms)
{
	int64_t end_ms = clock_now_ms() + ms;

	while (clock_now_ms() < end_ms)
		loop_run_once(c->loop, 10);
}

static void on_drained(void *arg)
{
	((struct client *)arg)->drained++;
}

bool client_stop_and_drain(struct client *c)
{
	c->source->ops->stop(c->job, true);
	c->job = NULL;
	tracker_client_drain(c->tracker, on_drained, c);
	return client_run_until(c, &c->drained, 1);
}

const char *client_describe(struct client *c)
{
	static char out[8192];

	c->source->ops->describe(c->job, out, sizeof(out));
	return out;
}

bool client_has_peer(const struct client *c, const char *addr)
{
	char s[ADDR_STR_MAX];

	for (int i = 0; i < c->peers; i++) {
		if (!strcmp(addr_str(&c->peer[i], s), addr))
			return true;
	}
	return false;
}
