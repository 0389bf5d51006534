/* OpenSSL looks an algorithm up by name under a lock, and allocates a context
 * for each use. Both are paid once here: the algorithms once per process, the
 * contexts of the one-shot calls once per thread and kind. */
#include "engine/base/sha.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"

#define KINDS 2

struct hasher {
	EVP_MD_CTX *ctx; /* owned */
	enum hash_kind kind;
};

struct sha_thread {
	EVP_MD_CTX *ctx[KINDS]; /* owned; NULL until first used */
};

static pthread_once_t sha_once = PTHREAD_ONCE_INIT;
static pthread_key_t sha_key;
static EVP_MD *sha_md[KINDS]; /* written once, under sha_once */

static void sha_thread_free(void *arg)
{
	struct sha_thread *t = arg;
	int i;

	for (i = 0; i < KINDS; i++)
		EVP_MD_CTX_free(t->ctx[i]);
	free(t);
}

static void sha_init(void)
{
	sha_md[HASH_SHA1] = EVP_MD_fetch(NULL, "SHA1", NULL);
	sha_md[HASH_SHA256] = EVP_MD_fetch(NULL, "SHA256", NULL);
	CHECK(sha_md[HASH_SHA1] && sha_md[HASH_SHA256]);
	CHECK(!pthread_key_create(&sha_key, sha_thread_free));
}

static void sha_start(EVP_MD_CTX *ctx, enum hash_kind kind)
{
	CHECK(EVP_DigestInit_ex(ctx, sha_md[kind], NULL) == 1);
}

static EVP_MD_CTX *sha_ctx_new(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	CHECK(ctx);
	return ctx;
}

static EVP_MD_CTX *sha_thread_ctx(enum hash_kind kind)
{
	struct sha_thread *t;

	CHECK(!pthread_once(&sha_once, sha_init));
	t = pthread_getspecific(sha_key);
	if (!t) {
		t = mem_alloc(sizeof(*t));
		CHECK(!pthread_setspecific(sha_key, t));
	}
	if (!t->ctx[kind])
		t->ctx[kind] = sha_ctx_new();
	return t->ctx[kind];
}

static void sha_oneshot(enum hash_kind kind, const void *ptr, size_t len,
			uint8_t *out)
{
	EVP_MD_CTX *ctx = sha_thread_ctx(kind);

	sha_start(ctx, kind);
	CHECK(EVP_DigestUpdate(ctx, ptr, len) == 1);
	CHECK(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
}

void sha1(const void *ptr, size_t len, uint8_t out[SHA1_LEN])
{
	sha_oneshot(HASH_SHA1, ptr, len, out);
}

void sha256(const void *ptr, size_t len, uint8_t out[SHA256_LEN])
{
	sha_oneshot(HASH_SHA256, ptr, len, out);
}

struct hasher *hasher_new(enum hash_kind kind)
{
	struct hasher *h = mem_alloc(sizeof(*h));

	CHECK(!pthread_once(&sha_once, sha_init));
	h->ctx = sha_ctx_new();
	h->kind = kind;
	hasher_reset(h);
	return h;
}

void hasher_reset(struct hasher *h)
{
	sha_start(h->ctx, h->kind);
}

void hasher_update(struct hasher *h, const void *ptr, size_t len)
{
	CHECK(EVP_DigestUpdate(h->ctx, ptr, len) == 1);
}

void hasher_final(struct hasher *h, uint8_t *out)
{
	CHECK(EVP_DigestFinal_ex(h->ctx, out, NULL) == 1);
	hasher_reset(h);
}

void hasher_free(struct hasher *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}
