#include "tools/control_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "engine/base/buf.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "fs/control.h"

#define ANSWER_MAX   (64u << 20) /* bytes: the status of a whole library */
#define ANSWER_S     60          /* a .torrent from a slow URL takes its time */
#define SOCKET_XATTR "user.weirfs.control"

/* The folder that holds the socket. Owned by the caller; NULL: said why. */
static char *find_dir(struct control_place *place)
{
	char path[LIMIT_PATH_BYTES + 64], why[OPTS_WHY_SIZE], *slash;
	ssize_t n;

	if (!place->mount) {
		if (opts_finish(&place->opts, NULL, why) < 0) {
			log_error("%s", why);
			return NULL;
		}
		return mem_strdup(place->opts.state_dir);
	}
	n = getxattr(place->mount, SOCKET_XATTR, path, sizeof(path) - 1);
	if (n < 0) {
		log_error("%s: %s", place->mount,
			  errno == ENODATA || errno == ENOTSUP
				  ? "weirfs is not mounted there"
				  : strerror(errno));
		return NULL;
	}
	path[n] = '\0';
	slash = strrchr(path, '/');
	return slash ? mem_strndup(path, (size_t)(slash - path))
		     : mem_strdup(".");
}

static int connect_to(const char *dir)
{
	struct timeval limit = { ANSWER_S, 0 };
	struct sockaddr_un addr;
	int dir_fd = -1, fd, r = control_address(dir, &addr, &dir_fd);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 ||
	    connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		fd = r;
	}
	if (dir_fd >= 0)
		close(dir_fd);
	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit,
				 sizeof(limit));
	return fd;
}

static int send_line(int fd, json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT);
	size_t len, sent = 0;
	int r = 0;

	if (!text)
		return -EINVAL;
	len = strlen(text);
	text[len++] = '\n'; /* in place of the NUL */
	if (len > LIMIT_CONTROL_LINE_BYTES)
		r = -E2BIG;
	while (!r && sent < len) {
		ssize_t n = send(fd, text + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			r = -errno;
		sent += n > 0 ? (size_t)n : 0;
	}
	free(text);
	return r;
}

/* Up to the newline. -ECONNRESET: the other side ended before it. */
static int receive_line(int fd, struct buf *out)
{
	for (;;) {
		uint8_t *p = buf_reserve(out, 65536);
		ssize_t n = p ? recv(fd, p, 65536, 0) : 0;

		if (!p)
			return -E2BIG;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (!n)
			return -ECONNRESET;
		out->len += (size_t)n;
		if (memchr(p, '\n', (size_t)n))
			return 0;
	}
}

static json_t *check_answer(const struct buf *line)
{
	json_t *answer = json_loadb((const char *)line->ptr, line->len,
				    JSON_DISABLE_EOF_CHECK, NULL);
	const char *why = json_string_value(json_object_get(answer, "error"));

	if (json_is_true(json_object_get(answer, "ok"))) {
		json_object_del(answer, "ok");
		return answer;
	}
	log_error("%s", why ? why : "weirfs gave an answer without sense");
	json_decref(answer);
	return NULL;
}

json_t *control_ask(struct control_place *place, json_t *request)
{
	char *dir = find_dir(place);
	json_t *answer = NULL;
	struct buf line;
	int fd = -1, r = 0;

	buf_init(&line, ANSWER_MAX);
	if (!dir)
		goto out;
	fd = connect_to(dir);
	if (fd < 0) {
		log_error("no weirfs is running with its state in %s (%s); "
			  "say which mount you mean with -o state=DIR or "
			  "--mount MOUNTPOINT",
			  dir, strerror(-fd));
		goto out;
	}
	r = send_line(fd, request);
	if (!r)
		r = receive_line(fd, &line);
	if (r < 0)
		log_error("weirfs does not answer: %s", strerror(-r));
	else
		answer = check_answer(&line);
out:
	if (fd >= 0)
		close(fd);
	buf_release(&line);
	free(dir);
	json_decref(request);
	return answer;
}
