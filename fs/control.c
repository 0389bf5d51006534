/* A client asks, waits for the answer, asks again: no line is read while its
 * answer is due or while more than OUT_HIGH bytes of answers wait to be
 * fetched. Who says nothing for a minute is closed. */
#include "fs/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "fs/status.h"

#define SOCKET_NAME "control.sock"
#define OUT_HIGH    (1u << 20) /* bytes */
#define IDLE_S      60

struct control {
	struct session *s; /* borrowed */
	int fd, dir_fd;
	struct event accept;
	struct list clients;
	unsigned num_clients;
};

struct client {
	struct list node;
	struct control *control;
	struct bufferevent *bev; /* owned, with its socket */
	struct pending *pending; /* an answer is due; or NULL */
	bool is_ended;           /* the other side says no more */
};

/* An addition under way, which may outlive its client. */
struct pending {
	struct client *client; /* NULL: gone */
	struct session *s;
};

static void client_free(struct client *c)
{
	if (c->pending)
		c->pending->client = NULL;
	list_remove(&c->node);
	c->control->num_clients--;
	bufferevent_free(c->bev);
	free(c);
}

/* ---- answers ---- */

static void reply(struct client *c, json_t *answer)
{
	char *text = json_dumps(answer, JSON_COMPACT | JSON_REAL_PRECISION(6));
	struct evbuffer *out = bufferevent_get_output(c->bev);

	if (text) {
		evbuffer_add(out, text, strlen(text));
		evbuffer_add(out, "\n", 1);
	}
	free(text);
	json_decref(answer);
}

static void reply_error(struct client *c, const char *why)
{
	reply(c, json_pack("{s:b,s:o}", "ok", 0, "error", status_text(why)));
}

/* ---- commands ---- */

static void reply_no_torrent(struct client *c, const char *text)
{
	char shown[200], why[300];

	log_vis(text, strlen(text), shown, sizeof(shown));
	snprintf(why, sizeof(why),
		 "%s: no torrent, or more than one, has that name or begins "
		 "its infohash so",
		 shown);
	reply_error(c, why);
}

static struct entry *find_torrent(struct client *c, json_t *request)
{
	const char *text =
		json_string_value(json_object_get(request, "torrent"));
	struct entry *e =
		text ? library_find(c->control->s->library, text) : NULL;

	if (!text)
		reply_error(c, "which torrent?");
	else if (!e)
		reply_no_torrent(c, text);
	return e;
}

static void client_work(struct client *c);

static void on_add(void *arg, int r, int64_t id, const char *why)
{
	struct pending *p = arg;
	struct client *c = p->client;
	struct entry *e = library_by_id(p->s->library, id);

	free(p);
	if (!c)
		return;
	c->pending = NULL;
	if (r < 0)
		reply_error(c, why);
	else
		reply(c, json_pack("{s:b,s:o,s:s}", "ok", 1, "name",
				   status_text(e ? e->name : ""), "infohash",
				   e ? e->hash : ""));
	client_work(c);
}

static void do_add(struct client *c, json_t *request)
{
	const char *source =
		json_string_value(json_object_get(request, "source"));

	if (!source || !*source) {
		reply_error(c, "add what?");
		return;
	}
	c->pending = mem_alloc(sizeof(*c->pending));
	c->pending->client = c;
	c->pending->s = c->control->s;
	session_add(c->control->s, source, on_add, c->pending);
}

static void do_rm(struct client *c, json_t *request)
{
	struct entry *e = find_torrent(c, request);
	bool delete_data =
		json_is_true(json_object_get(request, "delete_data"));

	if (!e)
		return;
	log_info("torrent=%.8s removed by control socket", e->hash);
	engine_remove(c->control->s->engine, e->torrent, delete_data);
	reply(c, json_pack("{s:b}", "ok", 1));
}

static json_t *short_line(struct entry *e)
{
	struct torrent_stats st = { 0 };

	torrent_stats(e->torrent, &st);
	return json_pack("{s:o,s:s,s:s,s:I,s:I,s:I,s:i}", "name",
			 status_text(e->name), "infohash", e->hash, "state",
			 torrent_phase_name(st.phase), "have_bytes",
			 (json_int_t)st.have_bytes, "total_bytes",
			 (json_int_t)st.total_bytes, "down_bps",
			 (json_int_t)st.down_bps, "peers", (int)st.peers);
}

static void do_ls(struct client *c, json_t *request)
{
	json_t *list = json_array();
	struct entry *e;

	for (size_t i = 0; (e = library_at(c->control->s->library, i)); i++)
		json_array_append_new(list, short_line(e));
	reply(c, json_pack("{s:b,s:o}", "ok", 1, "torrents", list));
}

static void do_status(struct client *c, json_t *request)
{
	struct entry *e = NULL;

	if (json_object_get(request, "torrent")) {
		e = find_torrent(c, request);
		if (!e)
			return;
	}
	reply(c, json_pack("{s:b,s:o}", "ok", 1, "status",
			   e ? status_torrent(c->control->s, e)
			     : status_library(c->control->s)));
}

static void do_peers(struct client *c, json_t *request)
{
	struct entry *e = find_torrent(c, request);

	if (e)
		reply(c, json_pack("{s:b,s:o}", "ok", 1, "peers",
				   status_peers(e)));
}

static void client_do(struct client *c, const char *line, size_t len)
{
	static const struct {
		const char *name;
		void (*fn)(struct client *c, json_t *request);
	} commands[] = {
		{ "add", do_add },       { "rm", do_rm },       { "ls", do_ls },
		{ "status", do_status }, { "peers", do_peers },
	};
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(request, "cmd"));
	unsigned i = 0;

	while (i < ARRAY_LEN(commands) && name &&
	       strcmp(commands[i].name, name))
		i++;
	if (!name)
		reply_error(c, "not a JSON object with a \"cmd\"");
	else if (i == ARRAY_LEN(commands))
		reply_error(c, "unknown command");
	else
		commands[i].fn(c, request);
	json_decref(request);
}

/* ---- the connection ---- */

/* Does what can be done now; may free C. */
static void client_work(struct client *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct evbuffer *out = bufferevent_get_output(c->bev);
	char *line;
	size_t len;

	while (!c->pending && evbuffer_get_length(out) < OUT_HIGH &&
	       (line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF))) {
		client_do(c, line, len);
		free(line);
	}
	if (!c->pending &&
	    evbuffer_get_length(in) >= LIMIT_CONTROL_LINE_BYTES &&
	    !memchr(evbuffer_pullup(in, LIMIT_CONTROL_LINE_BYTES), '\n',
		    LIMIT_CONTROL_LINE_BYTES))
		c->is_ended = true; /* a line without end */
	if (c->is_ended && !c->pending && !evbuffer_get_length(out))
		client_free(c);
}

static void on_readable(struct bufferevent *bev, void *arg)
{
	client_work(arg);
}

static void on_drained(struct bufferevent *bev, void *arg)
{
	client_work(arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *c = arg;

	if (!(what & BEV_EVENT_EOF)) {
		client_free(c); /* error or idle */
		return;
	}
	c->is_ended = true; /* what it asked before is still answered */
	client_work(c);
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct control *control = arg;
	struct timeval idle = { IDLE_S, 0 };
	struct client *c;
	int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (control->num_clients == LIMIT_CONTROL_CLIENTS) {
		close(fd);
		return;
	}
	c = mem_alloc(sizeof(*c));
	c->control = control;
	c->bev = bufferevent_socket_new(loop_base(control->s->loop), fd,
					BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		close(fd);
		free(c);
		return;
	}
	list_push_back(&control->clients, &c->node);
	control->num_clients++;
	bufferevent_setcb(c->bev, on_readable, on_drained, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, LIMIT_CONTROL_LINE_BYTES);
	bufferevent_set_timeouts(c->bev, &idle, &idle);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* ---- the socket ---- */

int control_address(const char *dir, struct sockaddr_un *addr, int *dir_fd)
{
	int n;

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	*dir_fd = -1;
	n = snprintf(addr->sun_path, sizeof(addr->sun_path), "%s/%s", dir,
		     SOCKET_NAME);
	if (n > 0 && (size_t)n < sizeof(addr->sun_path))
		return 0;
	*dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dir_fd < 0)
		return -errno;
	snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d/%s",
		 *dir_fd, SOCKET_NAME);
	return 0;
}

static int listen_at(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = 0;

	if (fd < 0)
		return -errno;
	(void)unlink(addr->sun_path); /* of a process that is no more */
	/* Linux: bind gives the file the mode of the socket. */
	if (fchmod(fd, 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ||
	    listen(fd, LIMIT_CONTROL_CLIENTS) < 0)
		r = -errno;
	if (r < 0)
		close(fd);
	return r < 0 ? r : fd;
}

int control_open(struct session *s, struct control **out)
{
	struct control *c = mem_alloc(sizeof(*c));
	struct sockaddr_un addr;
	int r;

	c->s = s;
	list_init(&c->clients);
	r = control_address(s->opts->state_dir, &addr, &c->dir_fd);
	if (!r)
		r = c->fd = listen_at(&addr);
	if (r < 0) {
		if (c->dir_fd >= 0)
			close(c->dir_fd);
		free(c);
		return r;
	}
	event_assign(&c->accept, loop_base(s->loop), c->fd,
		     EV_READ | EV_PERSIST, on_accept, c);
	event_add(&c->accept, NULL);
	*out = c;
	return 0;
}

void control_close(struct control *c)
{
	struct sockaddr_un addr;
	int fd;

	if (!c)
		return;
	list_foreach_safe(client, &c->clients, struct client, node)
		client_free(client);
	event_del(&c->accept);
	close(c->fd);
	if (!control_address(c->s->opts->state_dir, &addr, &fd)) {
		(void)unlink(addr.sun_path); /* gone is as good */
		if (fd >= 0)
			close(fd);
	}
	if (c->dir_fd >= 0)
		close(c->dir_fd);
	free(c);
}
