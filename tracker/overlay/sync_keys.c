#include "tracker/overlay/sync_keys.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/check.h"
#include "engine/base/mem.h"
#include "engine/base/sha.h"

struct sync_signer {
	EVP_PKEY *key; /* owned */
	uint8_t pk[SYNC_KEY_BYTES];
};

struct sync_signer *sync_signer_new(const uint8_t seed[SYNC_KEY_BYTES])
{
	struct sync_signer *s = mem_alloc(sizeof(*s));
	size_t len = SYNC_KEY_BYTES;

	s->key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed,
					      SYNC_KEY_BYTES);
	CHECK(s->key && EVP_PKEY_get_raw_public_key(s->key, s->pk, &len) == 1);
	return s;
}

void sync_signer_free(struct sync_signer *s)
{
	if (!s)
		return;
	EVP_PKEY_free(s->key);
	free(s);
}

const uint8_t *sync_signer_pk(const struct sync_signer *s)
{
	return s->pk;
}

void sync_sign(struct sync_signer *s, const uint8_t *msg, size_t len,
	       uint8_t sig[SYNC_SIG_BYTES])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t sig_len = SYNC_SIG_BYTES;

	CHECK(ctx);
	CHECK(EVP_DigestSignInit(ctx, NULL, NULL, NULL, s->key) == 1);
	CHECK(EVP_DigestSign(ctx, sig, &sig_len, msg, len) == 1);
	EVP_MD_CTX_free(ctx);
}

bool sync_verify(const uint8_t pk[SYNC_KEY_BYTES], const uint8_t *msg,
		 size_t len, const uint8_t sig[SYNC_SIG_BYTES])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, pk,
						    SYNC_KEY_BYTES);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = key && ctx &&
		  EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
		  EVP_DigestVerify(ctx, sig, SYNC_SIG_BYTES, msg, len) == 1;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return ok;
}

/* --- a secret for two --- */

static EVP_PKEY *dh_key(const uint8_t secret[SYNC_KEY_BYTES])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL,
						     secret, SYNC_KEY_BYTES);

	CHECK(key);
	return key;
}

void sync_dh_public(const uint8_t secret[SYNC_KEY_BYTES],
		    uint8_t out[SYNC_KEY_BYTES])
{
	EVP_PKEY *key = dh_key(secret);
	size_t len = SYNC_KEY_BYTES;

	CHECK(EVP_PKEY_get_raw_public_key(key, out, &len) == 1);
	EVP_PKEY_free(key);
}

bool sync_dh(const uint8_t secret[SYNC_KEY_BYTES],
	     const uint8_t theirs[SYNC_KEY_BYTES], uint8_t out[SYNC_KEY_BYTES])
{
	EVP_PKEY *key = dh_key(secret);
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL,
						     theirs, SYNC_KEY_BYTES);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	size_t len = SYNC_KEY_BYTES;
	bool ok = peer && ctx && EVP_PKEY_derive_init(ctx) == 1 &&
		  EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
		  EVP_PKEY_derive(ctx, out, &len) == 1;

	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(peer);
	EVP_PKEY_free(key);
	return ok;
}

/* --- on every packet --- */

struct sync_mac {
	EVP_MAC_CTX *ctx; /* owned; keeps the key */
};

struct sync_mac *sync_mac_new(const uint8_t key[SYNC_KEY_BYTES])
{
	struct sync_mac *m = mem_alloc(sizeof(*m));
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest,
						 0),
		OSSL_PARAM_END,
	};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

	CHECK(mac);
	m->ctx = EVP_MAC_CTX_new(mac);
	EVP_MAC_free(mac);
	CHECK(m->ctx && EVP_MAC_init(m->ctx, key, SYNC_KEY_BYTES, params) == 1);
	return m;
}

void sync_mac_free(struct sync_mac *m)
{
	if (!m)
		return;
	EVP_MAC_CTX_free(m->ctx);
	free(m);
}

void sync_mac_of(struct sync_mac *m, const uint8_t *bytes, size_t len,
		 uint8_t out[SYNC_MAC_BYTES])
{
	uint8_t full[SHA256_LEN];
	size_t n = 0;

	CHECK(EVP_MAC_init(m->ctx, NULL, 0, NULL) == 1);
	CHECK(EVP_MAC_update(m->ctx, bytes, len) == 1);
	CHECK(EVP_MAC_final(m->ctx, full, &n, sizeof(full)) == 1);
	memcpy(out, full, SYNC_MAC_BYTES);
}

bool sync_mac_is(struct sync_mac *m, const uint8_t *bytes, size_t len,
		 const uint8_t mac[SYNC_MAC_BYTES])
{
	uint8_t good[SYNC_MAC_BYTES];

	sync_mac_of(m, bytes, len, good);
	return !CRYPTO_memcmp(good, mac, SYNC_MAC_BYTES);
}
