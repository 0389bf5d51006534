#include "dht/item.h"

#include <openssl/evp.h>

#include "engine/base/cursor.h"
#include "engine/base/limits.h"
#include "engine/base/sha.h"

#include "dht/dht_msg.h"

/* What is signed: salt, seq and v as they would stand in a dict. */
#define SIGNED_MAX                                                             \
	(LIMIT_DHT_ITEM_BYTES + LIMIT_DHT_SALT_BYTES + 6 + 4 + 5 + 22 + 3)

int item_check_sizes(const struct item *item)
{
	if (item->v.len > LIMIT_DHT_ITEM_BYTES)
		return DHT_TOO_BIG;
	if (item->salt.len > LIMIT_DHT_SALT_BYTES)
		return DHT_SALT_TOO_BIG;
	return 0;
}

void item_target(const struct item *item, uint8_t out[20])
{
	uint8_t b[32 + LIMIT_DHT_SALT_BYTES];

	if (!item->is_mutable) {
		sha1(item->v.ptr, item->v.len, out);
		return;
	}
	memcpy(b, item->pk, 32);
	if (item->salt.len)
		memcpy(b + 32, item->salt.ptr, item->salt.len);
	sha1(b, 32 + item->salt.len, out);
}

static size_t to_be_signed(const struct item *item, uint8_t out[SIGNED_MAX])
{
	struct wcursor c = wcursor_of(out, SIGNED_MAX);

	if (item->salt.len)
		dht_key_str(&c, "salt", item->salt.ptr, item->salt.len);
	dht_put_key(&c, "seq");
	dht_put_int(&c, item->seq);
	dht_put_key(&c, "v");
	dht_put_raw(&c, item->v.ptr, item->v.len);
	return c.is_bad ? 0 : wcursor_len(&c);
}

bool item_verify(const struct item *item)
{
	uint8_t b[SIGNED_MAX];
	size_t len;
	EVP_PKEY *key;
	EVP_MD_CTX *ctx;
	bool ok;

	if (item_check_sizes(item))
		return false;
	if (!item->is_mutable)
		return true;
	len = to_be_signed(item, b);
	key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, item->pk, 32);
	ctx = EVP_MD_CTX_new();
	ok = len && key && ctx &&
	     EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
	     EVP_DigestVerify(ctx, item->sig, 64, b, len) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return ok;
}

bool item_sign(struct item *item, const uint8_t seed[32])
{
	uint8_t b[SIGNED_MAX];
	size_t len, pk_len = 32, sig_len = 64;
	EVP_PKEY *key;
	EVP_MD_CTX *ctx;
	bool ok;

	if (item_check_sizes(item))
		return false;
	len = to_be_signed(item, b);
	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
	ctx = EVP_MD_CTX_new();
	ok = len && key && ctx &&
	     EVP_PKEY_get_raw_public_key(key, item->pk, &pk_len) == 1 &&
	     EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
	     EVP_DigestSign(ctx, item->sig, &sig_len, b, len) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return ok;
}
