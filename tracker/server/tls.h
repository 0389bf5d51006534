/* tracker/server/tls.h: TLS 1.2 and 1.3 on sockets that do not block, with a
 * certificate that can be exchanged under way.
 *
 * struct tls: any thread. A session: one thread at a time; threads that use
 * one have SIGPIPE blocked. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct tls;
struct tls_session;

/* PEM files: the certificate with its chain, and its key. Returns 0, or -errno
 * with WHY for people. */
int tls_new(const char *cert_path, const char *key_path, struct tls **out,
	    char *why, size_t why_size);
/* The files are read again. Sessions that are open keep what they have. Returns
 * 0, or -errno and all as before. */
int tls_reload(struct tls *t, char *why, size_t why_size);
void tls_free(struct tls *t); /* NULL is harmless */

/* The server's end on FD, which is borrowed. NULL: no memory. */
struct tls_session *tls_session_new(struct tls *t, int fd);
void tls_session_free(struct tls_session *s); /* NULL is harmless */

/* The handshake is done by the way. Return bytes; 0 from tls_read: the end;
 * -EAGAIN: when tls_wants_write says so, wait to write, else to read; or
 * another -errno. */
ssize_t tls_read(struct tls_session *s, void *out, size_t len);
ssize_t tls_write(struct tls_session *s, const void *bytes, size_t len);
bool tls_wants_write(const struct tls_session *s);
/* Says that nothing more will be sent, if that can be said at once. */
void tls_say_end(struct tls_session *s);
