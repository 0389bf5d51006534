#include "tracker/server/tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "engine/base/mem.h"

struct tls {
	pthread_mutex_t lock;
	SSL_CTX *context; /* LOCK; each session holds a reference of its own */
	char *cert_path, *key_path; /* owned */
};

struct tls_session {
	SSL *ssl; /* owned */
	bool wants_write;
	bool is_broken; /* an error: OpenSSL must not be asked again */
};

static int describe(const char *what, const char *path, char *why, size_t size)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;

	snprintf(why, size, "%s %s: %s", what, path,
		 reason ? reason : "cannot be used");
	ERR_clear_error();
	return -EINVAL;
}

static int load(const struct tls *t, SSL_CTX **out, char *why, size_t why_size)
{
	SSL_CTX *c = SSL_CTX_new(TLS_server_method());
	int r = 0;

	if (!c)
		return -ENOMEM;
	SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
	SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
				       SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE |
				    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				    SSL_MODE_RELEASE_BUFFERS);
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(c, t->cert_path) != 1)
		r = describe("certificate", t->cert_path, why, why_size);
	else if (SSL_CTX_use_PrivateKey_file(c, t->key_path,
					     SSL_FILETYPE_PEM) != 1)
		r = describe("key", t->key_path, why, why_size);
	else if (SSL_CTX_check_private_key(c) != 1)
		r = describe("key", t->key_path, why, why_size);
	if (r)
		SSL_CTX_free(c);
	else
		*out = c;
	return r;
}

int tls_new(const char *cert_path, const char *key_path, struct tls **out,
	    char *why, size_t why_size)
{
	struct tls *t = mem_alloc(sizeof(*t));
	int r;

	pthread_mutex_init(&t->lock, NULL);
	t->cert_path = mem_strdup(cert_path);
	t->key_path = mem_strdup(key_path);
	r = load(t, &t->context, why, why_size);
	if (r) {
		tls_free(t);
		return r;
	}
	*out = t;
	return 0;
}

int tls_reload(struct tls *t, char *why, size_t why_size)
{
	SSL_CTX *context, *old;
	int r = load(t, &context, why, why_size);

	if (r)
		return r;
	pthread_mutex_lock(&t->lock);
	old = t->context;
	t->context = context;
	pthread_mutex_unlock(&t->lock);
	SSL_CTX_free(old);
	return 0;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->context);
	pthread_mutex_destroy(&t->lock);
	free(t->cert_path);
	free(t->key_path);
	free(t);
}

struct tls_session *tls_session_new(struct tls *t, int fd)
{
	struct tls_session *s;
	SSL *ssl;

	pthread_mutex_lock(&t->lock);
	ssl = SSL_new(t->context);
	pthread_mutex_unlock(&t->lock);
	if (!ssl || !SSL_set_fd(ssl, fd)) {
		SSL_free(ssl);
		ERR_clear_error();
		return NULL;
	}
	SSL_set_accept_state(ssl);
	s = mem_alloc(sizeof(*s));
	s->ssl = ssl;
	return s;
}

void tls_session_free(struct tls_session *s)
{
	if (!s)
		return;
	SSL_free(s->ssl);
	free(s);
}

static ssize_t result_of(struct tls_session *s, int r)
{
	int error = SSL_get_error(s->ssl, r);

	s->wants_write = error == SSL_ERROR_WANT_WRITE;
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	if (error == SSL_ERROR_ZERO_RETURN)
		return 0;
	s->is_broken = true;
	ERR_clear_error();
	return -EPROTO;
}

ssize_t tls_read(struct tls_session *s, void *out, size_t len)
{
	size_t n;
	int r;

	if (s->is_broken)
		return -EPROTO;
	ERR_clear_error();
	r = SSL_read_ex(s->ssl, out, len, &n);
	return r == 1 ? (ssize_t)n : result_of(s, r);
}

ssize_t tls_write(struct tls_session *s, const void *bytes, size_t len)
{
	ssize_t got;
	size_t n;
	int r;

	if (s->is_broken)
		return -EPROTO;
	ERR_clear_error();
	r = SSL_write_ex(s->ssl, bytes, len, &n);
	if (r == 1)
		return (ssize_t)n;
	got = result_of(s, r);
	return got ? got : -EPIPE; /* the other end is closed */
}

bool tls_wants_write(const struct tls_session *s)
{
	return s->wants_write;
}

void tls_say_end(struct tls_session *s)
{
	if (s->is_broken || !SSL_is_init_finished(s->ssl))
		return;
	ERR_clear_error();
	if (SSL_shutdown(s->ssl) < 0)
		ERR_clear_error();
}
